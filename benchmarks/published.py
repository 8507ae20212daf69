"""Our figures beside tables that papers published, wherever weights and images are given.

    python benchmarks/published.py [opti-cam adcc wsol] [--weights resnet50.pth]
        [--images ILSVRC/val --boxes boxes.csv] [--count 5000] [--device cuda]
    python benchmarks/published.py --network lite0|squeezenet --images val227
        [--methods grad-cam,score-cam]

The tables are of ResNet-50 (torchvision's first weights, ``--weights IMAGENET1K_V1`` where they can
be fetched) on the 50,000 validation images of ILSVRC 2012: a folder with a folder for each class,
or a ``.csv`` table of files and labels. Boxes are a table ``file,x0,y0,x1,y1``. Without weights
they are random, without images noise is shown: then the figures say no more than that this runs.
The second command has real ones of other networks, on 200 validation images (``SYCAM_DATA``),
which are not to be compared with the tables one by one. ``--count`` draws the same images first,
however many: those of a long method are the first of a short one's.

Three things move such figures, and are said with each table: where the mask multiplies (in pixels,
the normalisation following inside the network, or in the network's normalised input), which
class is explained, and how images were cut. ``--scale`` takes the other space than the paper's.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from box_accuracy import max_box_accuracy
from imputation import natural_images
from torch import Tensor, nn
from transfer import validation_images

import sycam
from sycam.data.images import ImageSet, load_images

ROOT = Path(__file__).resolve().parents[1]
SIDE, SHORT = 224, 256  # of the crop in the centre, and of the short side before
RESNET50 = "resnet50"
SMALL = {"lite0": ("head", 224), "squeezenet": ("fire9", 227)}  # of pixels: last layer, side
VAL227 = Path("val227")  # the 200 images
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
PIXELS, NORMALISED = "pixels", "normalised"
BOXES = "boxes"  # the column that box_accuracy.py computes


@dataclass(frozen=True)
class Published:
    """A table of a paper.

    Attributes:
        title: paper and setting, as far as they are known.
        scale: what the mask multiplies there, ``PIXELS`` or ``NORMALISED``.
        target: the class explained there, ``"label"`` or ``"predicted"``.
        columns: title to metric.
        rows: method to its figures in percent, in the order of the columns.
        unsure: what of the setting is not known.
    """

    title: str
    scale: str
    target: str
    columns: Mapping[str, str]
    rows: Mapping[str, Sequence[float]]
    unsure: str = ""


_GRADIENT = (12.2, 17.6, 44.4, 66.3, 14.7)  # one figure for three methods that coincide there
TABLES = {
    "opti-cam": Published(
        "Zhang et al., Opti-CAM, CVIU 2024: ResNet-50, 50,000 images, the label's probability",
        PIXELS,
        "label",
        {
            "AD ↓": "average-drop",
            "AG ↑": "average-gain",
            "AI ↑": "increase-in-confidence",
            "insertion ↑": "insertion",
            "deletion ↓": "deletion",
        },
        {
            "grad-cam": _GRADIENT,
            "xgrad-cam": _GRADIENT,
            "hirescam": _GRADIENT,
            "grad-cam++": (12.9, 16.0, 42.1, 66.0, 14.7),
            "score-cam": (8.6, 26.6, 56.7, 65.7, 16.3),
            "layer-cam": (15.6, 15.0, 38.8, 67.0, 14.2),
            "opti-cam": (1.5, 68.8, 92.8, 62.0, 19.7),
        },
        "what deletion shows in place of removed pixels",
    ),
    "adcc": Published(
        "ADCC of ResNet-50, as Recipro-CAM's paper (Byun and Lee 2024) prints it",
        NORMALISED,
        "predicted",
        {"ADCC ↑": "adcc", "ADCC of means ↑": "adcc:reduction=of-means"},
        {
            "grad-cam": (75.27, 75.27),
            "grad-cam++": (75.86, 75.86),
            "score-cam": (78.14, 78.14),
            "recipro-cam": (80.84, 80.84),
        },
        "the space, the class, and over what the harmonic mean is taken: both are printed",
    ),
    "wsol": Published(
        "Choe et al., TPAMI 2023: MaxBoxAccV2 on ImageNet, mean of VGG, Inception and ResNet-50, "
        "which were trained for it; the label's CAM",
        NORMALISED,
        "label",
        {"MaxBoxAccV2 ↑": BOXES},
        {"cam": (62.4,), "centre-prior": (52.5,)},
    ),
}
EXPENSIVE = ("score-cam", "opti-cam", "recipro-cam")  # hundreds of passes an image


class Normalising(nn.Module):
    """A network that takes pixels in 0..1, and normalises them itself."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(MEAN)[:, None, None])
        self.register_buffer("std", torch.tensor(STD)[:, None, None])

    def forward(self, pixels: Tensor) -> Tensor:
        return self.network((pixels - self.mean) / self.std)


@dataclass(frozen=True)
class Given:
    """What the figures are of.

    Attributes:
        network: which takes normalised images; those of ``SMALL`` pixels, whatever the scale.
        layer: the last of its convolutions, as in all three tables.
        images: pixels in 0..1, with labels, and with boxes where these are known.
        real: whether network and images are.
        device: where the passes run.
        pixels: whether the network takes pixels.
    """

    network: nn.Module
    layer: str
    images: ImageSet
    real: bool
    device: str | None = None
    pixels: bool = False

    def subject(self, scale: str) -> tuple[nn.Module, str, ImageSet]:
        """Network, layer and images for a mask that multiplies in a space."""
        if self.pixels:
            return self.network, self.layer, self.images
        if scale == PIXELS:
            return Normalising(self.network).eval(), f"network.{self.layer}", self.images
        mean, std = (torch.tensor(values)[:, None, None] for values in (MEAN, STD))
        found = ImageSet.from_arrays(
            (self.images.images - mean) / std, self.images.labels, names=self.images.names,
            mean=MEAN, std=STD,
        )  # fmt: skip
        return self.network, self.layer, found


def given(options: argparse.Namespace) -> Given:
    """Network and images that the command names, or stand-ins."""
    sys.path.insert(0, str(ROOT / "tests"))
    from torchvision_ops import import_torchvision  # its compiled operators may not load

    import_torchvision()
    small = options.network in SMALL
    layer, expected = SMALL.get(options.network, ("layer4", SIDE))
    side = options.side or expected
    source = (
        f"{ROOT / 'benchmarks' / 'networks' / options.network}.py:{options.network}" if small
        else f"torchvision:resnet50@{options.weights or 'random'}"
    )  # fmt: skip
    if options.images == VAL227:
        images = validation_images(side)
    elif options.images is None:
        pixels = (natural_images(options.count or 8, side) * 0.2 + 0.5).clamp(0, 1)
        images = ImageSet.from_arrays(pixels, torch.arange(len(pixels)))
    else:
        images = load_images(
            options.images, size=side, resize=SHORT * side // SIDE,
            interpolation="bilinear", labels=options.labels, boxes=options.boxes, classes=1000,
        )  # fmt: skip
    if options.count is not None:
        order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
        images = images.subset(order[: options.count].tolist())
    return Given(
        sycam.open_network(source).module,
        layer,
        images,
        (small or options.weights is not None) and options.images is not None,
        options.device,
        small,
    )


def measured(
    table: Published, methods: Sequence[str], subject: Given, scale: str
) -> dict[tuple[str, str], float]:
    """Ours, method and column title to per cent; what cannot be measured is left out."""
    network, layer, images = subject.subject(scale)
    metrics = {title: metric for title, metric in table.columns.items() if metric != BOXES}
    found = {}
    if metrics:
        scores = sycam.evaluate(
            network, layer, images, list(methods), list(metrics.values()),
            target=table.target, device=subject.device,
        )  # fmt: skip
        for title, metric in metrics.items():
            found |= {(m, title): 100 * scores.cells[m, metric].mean for m in methods}
    for title in table.columns.keys() - metrics.keys():
        found |= {(m, title): 100 * s for m, s in _boxes(methods, subject, scale).items()}
    return found


def _boxes(methods: Sequence[str], subject: Given, scale: str) -> dict[str, float]:
    """MaxBoxAccV2 of methods; nothing where no boxes are known."""
    network, layer, images = subject.subject(scale)
    boxes = subject.images.boxes
    if boxes is None or images.labels is None:
        return {}
    marked = [i for i, one in enumerate(boxes) if one is not None and len(one)]
    known = [boxes[i] for i in marked]
    scores = {}
    for method in methods:
        cam = sycam.CAM(network, layer, method)
        maps = torch.cat([cam(images.images[[i]], targets=images.labels[[i]]) for i in marked])
        scores[method] = max_box_accuracy(maps.cpu().numpy(), known)
    return scores


def written(name: str, ours: Mapping[tuple[str, str], float], methods: Sequence[str]) -> str:
    """A table in Markdown: ours, and in brackets what was published."""
    table = TABLES[name]
    lines = [f"| method | {' | '.join(table.columns)} |", "|---|" + "---|" * len(table.columns)]
    for method in methods:
        cells = [
            f"{ours[method, title]:.1f} ({published:g})" if (method, title) in ours else
            f"– ({published:g})"
            for title, published in zip(table.columns, table.rows[method], strict=True)
        ]  # fmt: skip
        lines.append(f"| {method} | {' | '.join(cells)} |")
    return "\n".join(lines)


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tables", nargs="*", metavar="TABLE", help=", ".join(TABLES))
    parser.add_argument("--network", choices=(RESNET50, *SMALL), default=RESNET50)
    parser.add_argument("--weights", help="file of a state dict, or torchvision's name of them")
    parser.add_argument("--images", type=Path, help="folder, table, .npz file, or val227")
    parser.add_argument("--labels", default="auto", help="how folders are classes: sorted, names")
    parser.add_argument("--boxes", type=Path, help="table file,x0,y0,x1,y1, for wsol")
    parser.add_argument("--count", type=int, help="images, drawn; all if not said")
    parser.add_argument("--side", type=int, help="the network's if not said")
    parser.add_argument("--scale", choices=(PIXELS, NORMALISED), help="in place of the paper's")
    chosen = parser.add_mutually_exclusive_group()
    chosen.add_argument("--cheap", action="store_true", help=f"without {', '.join(EXPENSIVE)}")
    chosen.add_argument("--methods", help="rows of the tables, with commas; all if not said")
    parser.add_argument("--device")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    parser = make_parser()
    options = parser.parse_args(arguments)
    unknown = set(options.tables) - set(TABLES)
    if unknown:
        parser.error(f"no table {', '.join(sorted(unknown))}; expected {', '.join(TABLES)}")
    tables = {name: TABLES[name] for name in options.tables or TABLES}
    rows = {method for table in tables.values() for method in table.rows}
    wanted = set(options.methods.split(",")) if options.methods else rows
    if unknown := wanted - rows:
        parser.error(f"no row {', '.join(sorted(unknown))}; expected {', '.join(sorted(rows))}")
    if options.cheap:
        wanted -= set(EXPENSIVE)
    subject = given(options)
    if not subject.real:
        print("Without weights and images the figures say no more than that this runs.\n")
    for name, table in tables.items():
        scale = PIXELS if subject.pixels else options.scale or table.scale
        methods = [method for method in table.rows if method in wanted]
        if not methods:
            continue
        ours = measured(table, methods, subject, scale)
        said = [f"Ours on {len(subject.images)} images, in per cent, in brackets the published."]
        if BOXES not in table.columns.values():
            space = {PIXELS: "the pixels", NORMALISED: "the normalised input"}[scale]
            said.append(f"The mask multiplies {space}; the {table.target} class is explained.")
        elif not ours:
            said.append("Where no boxes are given (--boxes) there is nothing to measure.")
        if table.unsure:
            said.append(f"Not known of the paper: {table.unsure}.")
        print(f"{name}: {table.title}\n\n{' '.join(said)}\n\n{written(name, ours, methods)}\n")


if __name__ == "__main__":
    main()
