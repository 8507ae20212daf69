"""Does ``--layer auto`` find a map in any architecture, and is its Grad-CAM the right one?

    python benchmarks/architectures.py [--only vit,swin] [--out FILE]

Networks of timm and torchvision, with random weights, are given to ``sycam.CAM(network, "auto",
"mean(G)")`` without a word on layers or layouts. The reference is Grad-CAM with hooks at the layer
that was chosen, its output brought to (N,K,h,w) by a line that is written here by hand for each
architecture. Lines of glue are those that a user writes for it: none. ``--out results`` writes
``results.json`` and ``results.md``.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import sycam
from sycam.errors import SycamError
from sycam.evidence import find_layer

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
CLASSES = 10
NOISE = 0.02  # added to weights: layer scales, and gates of MLPs, start at about 0


def first(output: Tensor) -> Tensor:
    """Channels first already."""
    return output


def last(output: Tensor) -> Tensor:
    """Channels last."""
    return output.permute(0, 3, 1, 2)


def tokens(prefix: int, height: int, width: int) -> Callable[[Tensor], Tensor]:
    """(N,T,K), with some tokens in front."""

    def by_hand(output: Tensor) -> Tensor:
        places = output[:, prefix : prefix + height * width]
        return places.reshape(len(output), height, width, -1).permute(0, 3, 1, 2)

    return by_hand


@dataclass(frozen=True)
class Architecture:
    """A network, and how the layer that one would choose lies over the image, by hand."""

    name: str
    by_hand: Callable[[Tensor], Tensor] = first
    size: tuple[int, int] = (64, 64)
    options: dict[str, Any] = field(default_factory=dict)

    def build(self) -> nn.Module:
        """The network with random weights, the same each time."""
        torch.manual_seed(0)
        library, _, name = self.name.rpartition(":")
        if library:
            import torchvision

            network = torchvision.models.get_model(
                name, weights=None, num_classes=CLASSES, **self.options
            )
        else:
            import timm

            network = timm.create_model(name, num_classes=CLASSES, **self.options)
        with torch.no_grad():
            for weights in network.parameters():
                weights.add_(torch.randn_like(weights), alpha=NOISE)
        return network.eval()


@dataclass(frozen=True)
class Row:
    """What came out for an architecture.

    Attributes:
        layer: that was chosen; the error where none was.
        note: what a user is told.
        difference: largest difference of a heatmap's values to the reference, heatmaps being in
            [0, 1]; None where there is none.
        blank: how many of the ten heatmaps are blank.
        glue: lines that a user must write.
        seconds: of the first call, finding the layer included.
    """

    name: str
    size: str
    layer: str
    note: str
    difference: float | None
    blank: int
    glue: int
    seconds: float


SQUARE = {"img_size": 64}
TIMM = [
    Architecture("resnet18"),
    Architecture("resnet50"),
    Architecture("vgg11_bn"),
    Architecture("densenet121"),
    Architecture("regnetx_002"),
    Architecture("regnety_002"),
    Architecture("efficientnet_b0"),
    Architecture("mobilenetv2_050"),
    Architecture("mobilenetv3_small_050"),
    Architecture("ghostnet_050"),
    Architecture("hrnet_w18_small"),
    Architecture("repvgg_a0"),
    Architecture("convnext_atto"),
    Architecture("convnextv2_atto"),
    Architecture("poolformer_s12"),
    Architecture("fastvit_t8"),
    Architecture("mobilevit_xxs"),
    Architecture("mobilevitv2_050"),
    Architecture("maxvit_rmlp_pico_rw_256", options=SQUARE),
    Architecture("coatnet_nano_rw_224", options=SQUARE),
    Architecture("edgenext_xx_small"),
    Architecture("mambaout_femto", last),
    Architecture("swin_tiny_patch4_window7_224", last, options={**SQUARE, "window_size": 2}),
    Architecture("swinv2_tiny_window8_256", last, options={**SQUARE, "window_size": 2}),
    Architecture("davit_tiny"),
    Architecture("pvt_v2_b0", tokens(0, 2, 2)),
    Architecture("twins_pcpvt_small", tokens(0, 2, 2)),
    Architecture("levit_128s", tokens(0, 7, 7), (224, 224)),
    Architecture("mixer_s32_224", tokens(0, 2, 2), options=SQUARE),
    Architecture("resmlp_12_224", tokens(0, 4, 4), options=SQUARE),
    Architecture("gmlp_ti16_224", tokens(0, 4, 4), options=SQUARE),
    Architecture("xcit_nano_12_p16_224", tokens(1, 4, 4), options=SQUARE),
    Architecture("cait_xxs24_224", tokens(0, 4, 4), options=SQUARE),
    Architecture("convit_tiny", tokens(1, 4, 4), options=SQUARE),
    Architecture("vit_tiny_patch16_224", tokens(1, 4, 4), options=SQUARE),
    Architecture(
        "vit_tiny_patch16_224", tokens(1, 8, 16), (128, 128),
        {"img_size": 128, "patch_size": (16, 8), "depth": 2},
    ),
    Architecture("vit_tiny_patch16_224", tokens(1, 6, 4), (96, 64), {"img_size": (96, 64)}),
    Architecture("vit_relpos_small_patch16_224", tokens(0, 4, 4), options=SQUARE),
    Architecture("deit_tiny_distilled_patch16_224", tokens(2, 4, 4), options=SQUARE),
    Architecture("deit3_small_patch16_224", tokens(1, 4, 4), options=SQUARE),
    Architecture("beit_base_patch16_224", tokens(1, 4, 4), options={**SQUARE, "depth": 3}),
    Architecture("eva02_tiny_patch14_224", tokens(1, 4, 4), (56, 56), {"img_size": 56}),
    Architecture("vit_small_patch14_dinov2", tokens(1, 4, 4), (56, 56), {"img_size": 56}),
    Architecture("vit_small_patch14_reg4_dinov2", tokens(5, 2, 2), (28, 28), {"img_size": 28}),
    Architecture("vit_small_patch16_dinov3", tokens(5, 4, 4), options=SQUARE),
    Architecture("tnt_s_legacy_patch16_224", tokens(0, 4, 4), options=SQUARE),
    Architecture("pit_ti_224", tokens(1, 4, 4), (128, 128), {"img_size": 128}),
]  # fmt: skip
TORCHVISION = [
    Architecture("torchvision:resnet18"),
    Architecture("torchvision:mobilenet_v3_small"),
    Architecture("torchvision:shufflenet_v2_x0_5"),
    Architecture("torchvision:convnext_tiny"),
    Architecture("torchvision:swin_t", last),
    Architecture("torchvision:vit_b_16", tokens(1, 4, 4), options={"image_size": 64}),
]
ARCHITECTURES = TIMM + TORCHVISION


def measure(architecture: Architecture) -> Row:
    """A row of the table: an architecture, on two images of noise, each class once."""
    height, width = architecture.size
    network = architecture.build()
    images = torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(1))
    images = images.repeat(CLASSES // 2, 1, 1, 1)
    start, glue = time.perf_counter(), 0
    cam = sycam.CAM(network, "auto", "mean(G)")
    difference, blank, note = None, 0, ""
    try:
        heatmaps = cam(images, list(range(CLASSES)))
    except SycamError as error:
        layer, glue = f"{type(error).__name__}: {error}", 1
    else:
        layer = cam.layer
    seconds = time.perf_counter() - start
    if not glue:
        note = find_layer(network, "auto", images[:2]).note
        expected = grad_cam(network, layer, images, architecture.by_hand)
        difference = float((heatmaps - expected).abs().max())
        blank = int((heatmaps.flatten(1).amax(1) == 0).sum())
    size = f"{height}x{width}"
    return Row(architecture.name, size, layer, note, difference, blank, glue, seconds)


def grad_cam(
    network: nn.Module, layer: str, images: Tensor, by_hand: Callable[[Tensor], Tensor]
) -> Tensor:
    """Grad-CAM of each class by hooks, in [0, 1]."""
    taken: list[Tensor] = []

    def hook(_module: nn.Module, _inputs: tuple, output: Tensor) -> Tensor:
        taken.append(output.detach().clone().requires_grad_())
        return taken[0].clone()

    handle = network.get_submodule(layer).register_forward_hook(hook)
    try:
        score = network(images).diagonal().sum()
    finally:
        handle.remove()
    (gradients,) = torch.autograd.grad(score, taken[0])
    activations, gradients = by_hand(taken[0].detach()), by_hand(gradients)
    sums = (gradients.mean((2, 3), keepdim=True) * activations).sum(1, keepdim=True).relu()
    size = images.shape[2:]
    heat = F.interpolate(sums, size, mode="bilinear", align_corners=False)[:, 0]
    low, high = heat.amin((1, 2), keepdim=True), heat.amax((1, 2), keepdim=True)
    return torch.where(high > low, (heat - low) / (high - low), torch.zeros_like(heat))


def layout_in(note: str, layer: str) -> str:
    """How the layer's output was read, as the note says it."""
    return note.rpartition(f"layer {layer}: ")[2] if f"; layer {layer}: " in note else "(N,K,h,w)"


def markdown(rows: Sequence[Row]) -> str:
    """The table in Markdown."""
    lines = [
        "| architecture | image | layer | read as | difference | blank | glue |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        difference = "" if row.difference is None else f"{row.difference:.1e}"
        layer = row.layer if row.glue else f"`{row.layer}`"
        read = layout_in(row.note, row.layer)
        lines.append(
            f"| {row.name} | {row.size} | {layer} | {read} | {difference} "
            f"| {row.blank} | {row.glue} |"
        )
    return "\n".join(lines)


def make_parser() -> argparse.ArgumentParser:
    """What the command takes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="beginnings of names, with commas between")
    parser.add_argument("--out", type=Path, help="FILE.json and FILE.md are written")
    return parser


def main(arguments: Sequence[str] | None = None) -> list[Row]:
    from torchvision_ops import import_torchvision

    import_torchvision()  # its compiled operators may not load
    options = make_parser().parse_args(arguments)
    wanted = tuple(options.only.split(","))
    rows = []
    for architecture in ARCHITECTURES:
        if architecture.name.startswith(wanted):
            rows.append(measure(architecture))
            print(f"{rows[-1].seconds:6.1f} s  {markdown(rows[-1:]).splitlines()[-1]}", flush=True)
    print(f"\n{markdown(rows)}")
    if options.out:
        options.out.with_suffix(".md").write_text(markdown(rows) + "\n")
        found = json.dumps([asdict(row) for row in rows], indent=1)
        options.out.with_suffix(".json").write_text(found + "\n")
    return rows


if __name__ == "__main__":
    main()
