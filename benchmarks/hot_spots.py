"""What networks say without the regions that CAMs mark, on photographs with object masks.

    python benchmarks/hot_spots.py [NAME ...] [--methods grad-cam,layer-cam] [--images 68]
        [--fills mean,blur,road] [--shifts 4] [--allowed] [--seed 0] [--out FOLDER]
    python benchmarks/hot_spots.py --attention [--folds 5] [--steps 60] [--images 156]

Each setting is one ``sycam.applications.ablate`` for each fill; printed are its tables and
headlines, and lines of the table in RESULTS.md. With ``--allowed`` regions count only where a mask
marks an object of any kind. With ``--out`` tables and pictures are kept in a folder each.

``--attention`` trains the gates of ``AttentionNetwork`` on the frozen ultrasound network, on all
folds but one, and tells its accuracy and that of the bare backbone on that one. The paper says that
attention makes networks more accurate; whether it does here is what is measured.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from cells import NETWORKS, network
from torch import nn
from transfer import DATA

from sycam.applications import AblationResult, AttentionNetwork, ablate
from sycam.data.images import ImageSet, load_images
from sycam.networks import NamedNetwork, open_network


def coco(side: int, count: int | None = None) -> ImageSet:
    """The COCO images, a square from the centre of each, with everything in their masks."""
    folder = DATA / "coco_masks"
    images = load_images(
        folder / "images", masks=folder / "masks", size=side, mean=(0, 0, 0), std=(1, 1, 1)
    )
    return images if count is None else images.subset(range(min(count, len(images))))


def with_imagenet_names(network: NamedNetwork) -> NamedNetwork:
    """The network with the first name of each of ImageNet's classes."""
    lines = (DATA / "imagenet" / "synset_words.txt").read_text(encoding="utf-8").splitlines()
    return network.with_class_names([line.split(" ", 1)[1].split(",")[0] for line in lines])


Images = Callable[[int | None], ImageSet | str]
SETTINGS: dict[str, tuple[str, str, Images]] = {
    "squeezenet": (network("squeezenet", "squeezenet"), "fire9", partial(coco, 227)),
    "lite0": (network("lite0", "lite0"), "blocks.14", partial(coco, 224)),
    "demo": ("demo", "features.8", lambda count: "demo"),
}
MEASURED = ("squeezenet", "lite0")
METHODS = "grad-cam,layer-cam,random-weights"
HEAD = (
    "| network, layer | fill | method | area, % | points lost | elsewhere | more than elsewhere | "
    "p, Holm | predictions changed, % | elsewhere |\n" + "|---" * 10 + "|"
)


def lines(name: str, layer: str, result: AblationResult) -> Iterator[str]:
    """Of the table in RESULTS.md, a line per method."""
    for row in result.rows:
        more = row.excess.difference
        cells = [
            f"{100 * row.area.mean:.1f}",
            *(f"{100 * one.mean:+.1f}" for one in (row.drop, row.shifted_drop)),
            f"{100 * more.mean:+.1f} [{100 * more.low:+.1f}, {100 * more.high:+.1f}]",
            f"{row.excess.p_holm:.2g}",
            *(f"{100 * one.mean:.0f}" for one in (row.flips, row.shifted_flips)),
        ]
        yield f"| {name}, {layer} | {result.fill} | {row.method} | {' | '.join(cells)} |"


def regions(options: argparse.Namespace) -> None:
    """The settings that are named, one after the other."""
    table = [HEAD]
    for name in options.names or MEASURED:
        source, layer, images = SETTINGS[name]
        opened = open_network(source)
        for fill in options.fills.split(","):
            started = time.process_time()
            result = ablate(
                opened if name == "demo" else with_imagenet_names(opened),
                layer,
                images(options.images),
                options.methods.split(","),
                count=options.images if name == "demo" else None,
                fill=fill,
                allowed=options.allowed,
                shifts=options.shifts,
                seed=options.seed,
                out=None if options.out is None else options.out / f"{name}-{fill}",
                progress=False,
            )
            table += lines(name, layer, result)
            seconds = time.process_time() - started
            print(f"{name}, {seconds:.0f} CPU seconds\n{result}\n", flush=True)
    print("\n".join(table))


def trained(backbone: nn.Module, images: ImageSet, options: argparse.Namespace) -> AttentionNetwork:
    """The gates, learnt on these images; the backbone stays as it is."""
    torch.manual_seed(options.seed)
    found = AttentionNetwork(backbone, "bn5_relu", images.images[:1])
    optimiser = torch.optim.Adam(found.learnt(), lr=1e-3, weight_decay=1e-4)
    found.train()
    for _ in range(options.steps):
        chosen = torch.randperm(len(images))[:32]
        loss = nn.functional.cross_entropy(found(images.images[chosen]), images.labels[chosen])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return found.eval()


@torch.no_grad()
def right(network: nn.Module, images: ImageSet) -> np.ndarray:
    """``[N]`` whether each image is classified correctly."""
    return (network(images.images).argmax(1) == images.labels).numpy()


def attention(options: argparse.Namespace) -> None:
    """Accuracy with and without gates, on the fold that trained neither."""
    source, load = NETWORKS["busi"]
    images = load()
    images = images.subset(range(min(options.images or len(images), len(images))))
    backbone = open_network(source).module.eval()
    folds = np.arange(len(images)) % options.folds
    bare, gated = np.zeros(len(images), bool), np.zeros(len(images), bool)
    for fold in range(options.folds):
        unseen, rest = (np.flatnonzero((folds == fold) == held) for held in (True, False))
        network = trained(backbone, images.subset(rest), options)
        gated[unseen] = right(network, images.subset(unseen))
        bare[unseen] = right(backbone, images.subset(unseen))
    won, lost = int((gated & ~bare).sum()), int((bare & ~gated).sum())
    print(
        f"{len(images)} ultrasound images in {options.folds} folds: the backbone classifies "
        f"{bare.mean():.1%} correctly, with gates {gated.mean():.1%} ({won} more, {lost} fewer)"
    )


def make_parser() -> argparse.ArgumentParser:
    """What the command takes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", help=f"of {', '.join(SETTINGS)}")
    parser.add_argument("--methods", default=METHODS)
    parser.add_argument("--images", type=int, default=None)
    parser.add_argument("--fills", default="mean,blur,road")
    parser.add_argument("--shifts", type=int, default=4)
    parser.add_argument("--allowed", action="store_true")
    parser.add_argument("--attention", action="store_true")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=None)
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    options = make_parser().parse_args(arguments)
    if options.attention:
        attention(options)
    else:
        regions(options)


if __name__ == "__main__":
    main()
