"""Three claims of the papers on real data: Finer-CAM, XGrad-CAM and MI-CAM.

    python benchmarks/claims.py [finer axioms counterfactual] [--settings resnet20,demo]
        [--images N] [--seed 0] [--pages docs]

``finer``: does a contrast with the nearest classes raise the relative drop at 5 % of the pixels?
``axioms``: which CAMs keep sensitivity and conservation, under a pooled and a fully connected head?
``counterfactual``: is more probability lost without the hottest q percent of the pixels than
without the same regions moved elsewhere, and more for MI-CAM than for other CAMs?

Printed are the tables. ``--pages`` writes them into docs/finer_cam.md, docs/xgrad_cam.md and
docs/mi_cam.md, where rows of settings that were not measured stay.
"""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import torch
from cells import NETWORKS
from torch import Tensor, nn
from transfer import CIFAR, validation_images

import sycam
from sycam.applications import ablate
from sycam.applications.hot_spots.ablation import DROP, PARTS, SHIFTED_DROP
from sycam.data.images import ImageSet
from sycam.methods import shown_methods
from sycam.networks import open_network
from sycam.problem.images import demo_images
from sycam.scoring.statistics import Interval, compared

PAGES = Path(__file__).resolve().parents[1] / "docs"
BEGIN, END = "<!-- measured by benchmarks/claims.py -->", "<!-- as far as here -->"
RELATIVE_DROP = "relative-drop"  # at 5 % of the pixels
AXIOMS = ("sensitivity-axiom", "conservation-axiom")
PERCENTS = (5, 10, 20)
Row = tuple[str, ...]


class TwoLayers(nn.Module):
    """ResNet-20 with a head of two fully connected layers on its last map, as VGG has one."""

    def __init__(self, trunk: nn.Module) -> None:
        super().__init__()
        self.trunk = trunk
        self.head = nn.Sequential(nn.Linear(64 * 64, 128), nn.ReLU(), nn.Linear(128, 10))

    def maps(self, images: Tensor) -> Tensor:
        """``[N,4096]`` the last map."""
        trunk = self.trunk
        x = trunk.relu(trunk.bn1(trunk.conv1((images - trunk.mean) / trunk.std)))
        return trunk.layer3(trunk.layer2(trunk.layer1(x))).flatten(1)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.maps(images))


@cache
def two_layers() -> nn.Module:
    """The head is trained here, on the CIFAR-10 training images that are at hand; the trunk is that
    of ResNet-20, frozen."""
    torch.manual_seed(0)
    found = TwoLayers(open_network(NETWORKS["resnet20"][0]).module.eval())
    images, unseen = (load() for load in reversed(CIFAR))
    with torch.no_grad():
        maps = found.maps(images.images)
    optimiser = torch.optim.Adam(found.head.parameters(), lr=1e-3, weight_decay=1e-3)
    for _ in range(200):
        chosen = torch.randperm(len(images))[:128]
        thinned = nn.functional.dropout(maps[chosen], 0.3)
        loss = nn.functional.cross_entropy(found.head(thinned), images.labels[chosen])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    found.eval().requires_grad_(False)
    right = (found(unseen.images).argmax(1) == unseen.labels).float().mean()
    print(f"ResNet-20 with two fully connected layers: {right:.1%} of {len(unseen)} test images")
    return found


@dataclass(frozen=True)
class Setting:
    """A network at a layer, with images.

    Attributes:
        network: makes what ``sycam.evaluate`` takes.
        layer: its target layer.
        images: makes as many as are wanted.
        count: how many are measured where nobody says.
        said: network and layer, for people.
        pooled: whether global average pooling and a linear layer follow.
    """

    network: Callable[[], nn.Module | str]
    layer: str
    images: Callable[[int], ImageSet]
    count: int
    said: str
    pooled: bool = False


def some(load: Callable[[], ImageSet]) -> Callable[[int], ImageSet]:
    """The first so many of the images."""

    def images(count: int) -> ImageSet:
        found = load()
        return found.subset(range(min(count, len(found))))

    return images


def cell(name: str) -> tuple[Callable[[], str], Callable[[int], ImageSet]]:
    """Network and images of :data:`cells.NETWORKS`."""
    source, load = NETWORKS[name]
    return lambda: source, some(load)


RESNET, CIFAR_IMAGES = cell("resnet20")
SQUEEZENET, PHOTOGRAPHS = cell("squeezenet")
SETTINGS = {
    "demo": Setting(
        lambda: "demo", "features", lambda count: demo_images("heldout", count, 0), 200,
        "demo, two fully connected layers",
    ),
    "resnet20": Setting(
        RESNET, "layer3", CIFAR_IMAGES, 200, "ResNet-20, pooled head", pooled=True
    ),
    "resnet20-fc": Setting(
        two_layers, "trunk.layer3", CIFAR_IMAGES, 200, "ResNet-20, two fully connected layers"
    ),
    "resnet20-layer2": Setting(RESNET, "layer2", CIFAR_IMAGES, 200, "ResNet-20, layer2"),
    "squeezenet": Setting(SQUEEZENET, "fire9", PHOTOGRAPHS, 32, "SqueezeNet, fire9"),
    "lite0": Setting(
        lambda: NETWORKS["lite0"][0], "blocks.14", some(partial(validation_images, 224)), 32,
        "EfficientNet-Lite0, blocks.14",
    ),
}  # fmt: skip


def finer(setting: Setting, images: ImageSet, options: argparse.Namespace) -> Iterator[Row]:
    """Relative drop of the class alone, and of two contrasts."""
    targets = ("predicted", "contrast:gamma=0.6", "contrast:nearest=1,gamma=1.0")
    methods = ("grad-cam", "grad-cam++", "layer-cam", "hirescam", "xgrad-cam")
    scores = {
        target: sycam.evaluate(
            setting.network(), setting.layer, images, methods, [RELATIVE_DROP],
            target=target, seed=options.seed, progress=False,
        ).scores
        for target in targets
    }  # fmt: skip
    usual, *others = targets
    gains = [
        scores[target][method, RELATIVE_DROP] - scores[usual][method, RELATIVE_DROP]
        for method in methods
        for target in others
    ]
    found = iter(compared(gains, options.seed))
    for method in methods:
        cells = [f"{scores[usual][method, RELATIVE_DROP].mean():+.3f}"]
        for target in others:
            gain = next(found)
            cells.append(f"{scores[target][method, RELATIVE_DROP].mean():+.3f}")
            cells.append(_difference(gain.difference, gain.p_holm))
        yield (setting.said, str(len(images)), method, *cells)


def axioms(setting: Setting, images: ImageSet, options: argparse.Namespace) -> Iterator[Row]:
    """Both axioms of every CAM that weighs activations, the best by sensitivity first."""
    model = open_network(setting.network())
    leaves = {"masked_scores", "ablation_drops", "mutual_information"}
    if setting.pooled:
        leaves.add("class_weights")
    methods = [method for method in shown_methods(leaves) if method.has_weights]
    table = sycam.evaluate(
        model, setting.layer, images, methods, AXIOMS, seed=options.seed, progress=False
    )
    best = sorted(table.methods, key=lambda method: table.cells[method, AXIOMS[0]].mean)
    for method in best:
        cells = [table.cells[method, axiom] for axiom in AXIOMS]
        yield (setting.said, str(len(images)), method, *map(_axiom, cells))


def counterfactual(
    setting: Setting, images: ImageSet, options: argparse.Namespace
) -> Iterator[Row]:
    """What is lost without the hottest pixels, and without as many elsewhere."""
    methods = ("mi-cam", "mi-grad-cam", "grad-cam", "layer-cam", "random-weights", "centre-prior")
    for percent in PERCENTS:
        result = ablate(
            setting.network(), setting.layer, images, methods, top=percent, smallest=0.0,
            shifts=4, examples=0, seed=options.seed, progress=False,
        )  # fmt: skip
        more = {
            method: of[:, PARTS.index(DROP)] - of[:, PARTS.index(SHIFTED_DROP)]
            for method, of in result.parts.items()
        }
        leads = compared([more[methods[0]] - more[other] for other in methods[1:]], options.seed)
        for row, lead in zip(result.rows, [None, *leads], strict=True):
            yield (
                setting.said, str(len(images)), f"{percent} %", row.method,
                f"{100 * row.drop.mean:+.1f}", f"{100 * row.shifted_drop.mean:+.1f}",
                _difference(row.excess.difference, row.excess.p_holm, 100, 1),
                "" if lead is None else _difference(lead.difference, lead.p_holm, 100, 1),
            )  # fmt: skip


def _axiom(held: Interval) -> str:
    mean, low, high = (
        f"{one:.{3 if one < 10 else 1}f}" for one in (held.mean, held.low, held.high)
    )
    return f"{mean} [{low}, {high}]"


def _difference(held: Interval, p: float, scale: float = 1, digits: int = 3) -> str:
    mean, low, high = (f"{scale * one:+.{digits}f}" for one in (held.mean, held.low, held.high))
    return f"{mean} [{low}, {high}], p {p:.2g}"


@dataclass(frozen=True)
class Claim:
    """One of the three.

    Attributes:
        measure: makes the rows of a setting, each beginning with what is said of it.
        page: where they stand.
        settings: that are measured where nobody says.
        head: of the table.
    """

    measure: Callable[[Setting, ImageSet, argparse.Namespace], Iterator[Row]]
    page: str
    settings: tuple[str, ...]
    head: Row


CLAIMS = {
    "finer": Claim(
        finer, "finer_cam.md", ("demo", "resnet20", "resnet20-layer2", "squeezenet", "lite0"),
        ("network, layer", "images", "method", "class alone", "contrast, 0.6", "gain",
         "nearest class, 1.0", "gain"),
    ),
    "axioms": Claim(
        axioms, "xgrad_cam.md", ("demo", "resnet20-fc", "resnet20", "squeezenet", "lite0"),
        ("network", "images", "method", "sensitivity ↓", "conservation ↓"),
    ),
    "counterfactual": Claim(
        counterfactual, "mi_cam.md", ("demo", "resnet20", "resnet20-layer2", "squeezenet", "lite0"),
        ("network, layer", "images", "removed", "method", "points lost", "elsewhere",
         "more than elsewhere", "MI-CAM's less that"),
    ),
}  # fmt: skip


def table(claim: Claim, rows: Sequence[Row]) -> str:
    """As Markdown."""
    lines = [claim.head, ("---",) * len(claim.head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def rows_of(page: str) -> list[Row]:
    """The rows that stand in a page's table."""
    found = re.search(f"{re.escape(BEGIN)}\n(.*?){re.escape(END)}", page, re.DOTALL)
    lines = found[1].strip().splitlines()[2:] if found else []
    return [tuple(cell.strip() for cell in line.split("|")[1:-1]) for line in lines]


def write(claim: Claim, rows: Sequence[Row], folder: Path) -> None:
    """Put rows in the place of those of the same settings."""
    path = folder / claim.page
    text = path.read_text(encoding="utf-8")
    measured = {row[0] for row in rows}
    known = [SETTINGS[name].said for name in dict.fromkeys((*claim.settings, *SETTINGS))]
    kept = [row for row in rows_of(text) if row[0] not in measured and row[0] in known]
    ordered = sorted([*kept, *rows], key=lambda row: known.index(row[0]))
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    told = f"{before}{BEGIN}\n\n{table(claim, ordered)}\n\n{END}{after}"
    path.write_text(told, encoding="utf-8")


def make_parser() -> argparse.ArgumentParser:
    """What the command takes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("claims", nargs="*", help=f"of {', '.join(CLAIMS)}")
    parser.add_argument("--settings", default=None, help=f"of {','.join(SETTINGS)}")
    parser.add_argument("--images", type=int, default=None)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pages", type=Path, default=None)
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    options = make_parser().parse_args(arguments)
    for name in options.claims or CLAIMS:
        claim, rows = CLAIMS[name], []
        settings = options.settings.split(",") if options.settings else claim.settings
        for one in settings:
            setting, started = SETTINGS[one], time.process_time()
            images = setting.images(options.images or setting.count)
            found = list(claim.measure(setting, images, options))
            if options.pages is not None:
                write(claim, found, options.pages)
            rows += found
            print(f"{name}, {one}: {time.process_time() - started:.0f} CPU seconds", flush=True)
        print(f"{table(claim, rows)}\n", flush=True)


if __name__ == "__main__":
    main()
