"""What a search gains on real networks: network x metric, on images that no search saw.

    python benchmarks/cells.py --out FOLDER [--networks demo,resnet20] [--metrics road,iou]
        [--budget 10m] [--search-images 64] [--heldout-images 256] [--seed 0] [--adapt 3]
        [--rivals 12] [--sampled]

Each cell is one ``sycam.synthesize`` over all layers that ``auto`` finds, with default options, in
a folder of its own under ``--out``: what is there already is not run again, and what was
interrupted goes on.

The winner is compared with published CAMs (baselines among them, plain and blurred): *habit*,
Grad-CAM at the deepest layer, what everybody runs; *chosen*, the best one and layer by the search
images; *hindsight*, the best on the held-out images, which nobody could have known; *blurred*, the
best of the blurred ones. Differences are winner minus rival, positive favours the winner whatever
the metric's direction. Bold: significantly ahead, in brackets: significantly behind (sign-flip
test, Holm-corrected over the cells of a column).

Other metrics, of which a run reports its rivals' figures as well, are not in the table and so not
measured: they take most of the time. A budget in candidates makes the table independent of what
else the machine does.

Most of a cell's time is published CAMs on the held-out images. With ``--rivals N`` only the first N
methods by the search images are measured there (the winner and *habit* always are), so that more
images fit; *hindsight* and *blurred* are then the best of these.

Where images that the networks have not seen are few and a metric needs no masks, ``--sampled``
searches on training images, 300 of ImageNet and 500 of CIFAR-10, and holds out the others alone.

With ``--adapt K`` the cells of metrics that can choose are runs of their own, and three columns
more compare the choice from K formulas image by image, by the levels that did not choose, with the
winner alone (*adaptive winner*), the chosen published CAM alone (*adaptive chosen*) and the choice
from K published CAMs (*adaptive published*).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from unittest.mock import patch

from transfer import CIFAR, ROOT, archive, cifar_images, sample_images, validation_images

import sycam
from sycam.data.images import ImageSet, choose
from sycam.errors import RunError, unknown_name
from sycam.metrics import Metric, find_metric
from sycam.runs.result import Result, load
from sycam.scoring.statistics import holm
from sycam.validation import entrants, heldout_scores, measures
from sycam.validation.adaptive import AdaptiveRow
from sycam.validation.entrants import Entrant
from sycam.validation.findings import Row

HABIT, CHOSEN, HINDSIGHT, BLURRED = "habit", "chosen", "hindsight", "blurred"
RIVALS = (HABIT, CHOSEN, HINDSIGHT, BLURRED)
ADAPTIVE = {  # by the kind of the row that the choice image by image is compared with
    "winner": "adaptive winner",
    "rival": "adaptive chosen",
    "published-choice": "adaptive published",
}
METRICS = ("road", "insertion", "deletion", "adcc", "iou", "energy-pointing-game")
SIGNIFICANT = 0.05


def network(file: str, factory: str) -> str:
    """As ``--network`` takes it."""
    return f"{ROOT / 'benchmarks' / 'networks' / file}.py:{factory}"


SIDES = {"squeezenet": 227, "mobilenet": 160, "lite0": 160}  # of ImageNet's images, in pixels
SEEN: dict[str, Callable[[], ImageSet]] = {  # images of the networks' training
    **dict.fromkeys(("resnet20", "resnet32"), CIFAR[1]),
    **{name: partial(sample_images, side) for name, side in SIDES.items()},
}
NETWORKS: dict[str, tuple[str, Callable[[], ImageSet | str]]] = {
    "demo": ("demo", lambda: "demo"),
    "resnet20": (network("cifar10", "resnet20"), cifar_images),
    "resnet32": (network("cifar10", "resnet32"), cifar_images),
    **{n: (network(n, n), partial(validation_images, side)) for n, side in SIDES.items()},
    **{
        name: (network("small_cnn", name), partial(archive, f"{name}/images_128.npz"))
        for name in ("busi", "brain_tumour", "magnetic_tile")
    },
}


@dataclass(frozen=True)
class Rival:
    """A published CAM beside the winner.

    Attributes:
        name: with its layer.
        mean: on the held-out images.
        difference, low, high: winner minus rival, positive favours the winner, with its interval.
        p: two-sided sign-flip test, of this comparison alone.
    """

    name: str
    mean: float
    difference: float
    low: float
    high: float
    p: float


@dataclass(frozen=True)
class Cell:
    """One search.

    Attributes:
        network, metric: of it.
        winner: the formula.
        known_as: the published CAM that it is, or None.
        mean: its figure on the held-out images.
        images: number of these.
        candidates: scored by the search.
        whole: whether all rivals were validated.
        rivals: by kind; a kind that was not validated is left out.
    """

    network: str
    metric: str
    winner: str
    known_as: str | None
    mean: float
    images: int
    candidates: int
    whole: bool
    rivals: dict[str, Rival]


def cell_of(network: str, result: Result) -> Cell:
    """What a finished run says."""
    validation = result.validation
    verdict = validation.verdicts[0]
    names = {
        HABIT: f"grad-cam@{result.record.network.layers[0]}",
        CHOSEN: verdict.chosen_published,
        HINDSIGHT: verdict.best_published,
        BLURRED: verdict.blurred,
    }
    rows = {row.name: row for row in validation.rows if row.kind != "winner"}
    rows.setdefault(names[HABIT], rows.get("grad-cam"))  # of one layer
    return Cell(
        network=network,
        metric=result.metric,
        winner=result.best.expression,
        known_as=result.best.known_as,
        mean=validation.winner.heldout.mean,
        images=validation.images,
        candidates=result.record.search.candidates,
        whole=validation.left_out is None,
        rivals={kind: _rival(rows[name]) for kind, name in names.items() if rows.get(name)}
        | _beside_the_choice(result),
    )


def _beside_the_choice(result: Result) -> dict[str, Rival]:
    """What the choice image by image is compared with; nothing without one."""
    adaptive = result.record.adaptive
    rows = adaptive.rows if adaptive else ()
    return {ADAPTIVE[row.kind]: _rival(row) for row in rows if row.against}


def _rival(row: Row | AdaptiveRow) -> Rival:
    found = row.against
    return Rival(
        row.name,
        row.heldout.mean,
        found.difference.mean,
        found.difference.low,
        found.difference.high,
        found.p,
    )


def run(name: str, metric: str, options: argparse.Namespace) -> Cell | None:
    """A cell from its folder, or made; None where the images have no masks for the metric."""
    source, images_of = NETWORKS[name]
    images = images_of()
    kind = find_metric(metric)
    if kind.needs_masks and isinstance(images, ImageSet) and images.masks is None:
        return None
    heldout = options.heldout_images
    seen = SEEN.get(name) if options.sampled and not kind.needs_masks else None
    if seen is not None and isinstance(images, ImageSet):
        judged = choose(images, heldout or len(images), options.seed)
        heldout = ImageSet.from_arrays(judged.images)  # no labels nor boxes, as the others
        images = ImageSet.from_arrays(seen().images)
    adapt = options.adapt if kind.levels > 1 else None
    out = options.out / (f"{name}-{metric}" + (f"-adapt{adapt}" if adapt else ""))
    try:
        found = load(out)
    except RunError:
        found = None
    if found is None or found.validation.left_out is not None:
        found = sycam.synthesize(
            source, "auto", images, metric, budget=options.budget, seed=options.seed,
            search_images=options.search_images, heldout=heldout, out=out,
            adapt=adapt, report=False,
        )  # fmt: skip
    return cell_of(name, found) if found.best is not None else None


def table(cells: Sequence[Cell]) -> str:
    """Markdown, a row a cell."""
    corrected: dict[tuple[int, str], float] = {}
    kinds = [*RIVALS, *(k for k in ADAPTIVE.values() if any(k in c.rivals for c in cells))]
    for kind in kinds:
        there = [i for i, cell in enumerate(cells) if kind in cell.rivals]
        p_values = holm([cells[i].rivals[kind].p for i in there])
        corrected |= {(i, kind): p for i, p in zip(there, p_values, strict=True)}

    def compared(i: int, kind: str) -> str:
        if kind not in cells[i].rivals:
            return "–"
        rival = cells[i].rivals[kind]
        text = f"{rival.difference:+.3f}"
        if corrected[i, kind] < SIGNIFICANT:
            text = f"**{text}**" if rival.difference > 0 else f"[{text}]"
        return f"{text} {rival.name} {rival.mean:.3f}"

    lines = [
        f"| network | metric | images | winner | held out | {' | '.join(kinds)} |",
        f"|{'---|' * (5 + len(kinds))}",
    ]
    for i, cell in enumerate(cells):
        known = f" ({cell.known_as})" if cell.known_as else ""
        lines.append(
            f"| {cell.network} | {cell.metric} | {cell.images} | `{cell.winner}`{known} | "
            f"{cell.mean:.3f} | {' | '.join(compared(i, kind) for kind in kinds)} |"
        )
    lines.append("")
    for kind in kinds:
        there = [i for i, cell in enumerate(cells) if kind in cell.rivals]
        ahead, behind = (
            sum(
                corrected[i, kind] < SIGNIFICANT and sign * cells[i].rivals[kind].difference > 0
                for i in there
            )
            for sign in (1, -1)
        )
        lines.append(
            f"{kind}: significantly ahead in {ahead} of {len(there)} cells, behind in {behind}"
        )
    return "\n".join(lines)


def make_parser() -> argparse.ArgumentParser:
    """What the command takes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs and the table")
    parser.add_argument("--networks", default=",".join(NETWORKS))
    parser.add_argument("--metrics", default=",".join(METRICS))
    parser.add_argument("--budget", default="10m")
    parser.add_argument("--search-images", type=int, default=None)
    parser.add_argument("--heldout-images", type=int, default=None)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--adapt", type=int, default=None)
    parser.add_argument("--rivals", type=int, default=None)
    parser.add_argument("--sampled", action="store_true")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    options = make_parser().parse_args(arguments)
    names = options.networks.split(",")
    for name in names:
        if name not in NETWORKS:
            raise unknown_name("network", name, NETWORKS)
    options.out.mkdir(parents=True, exist_ok=True)
    # Under panel and guards the table compares nobody.
    with (
        patch.multiple(measures, PANEL=(), GUARDS=()),
        patch.object(heldout_scores, "by_importance", _first(options.rivals)),
    ):
        print("\n" + table(_cells(names, options)))


def _first(count: int | None) -> Callable[[Sequence[Entrant], Metric], list[int]]:
    """Places of the most important methods, no more than ``count`` of them."""
    return lambda those, metric: entrants.by_importance(those, metric)[:count]


def _cells(names: Sequence[str], options: argparse.Namespace) -> list[Cell]:
    """Each network under each metric that its images are good for; the table grows with them."""
    cells: list[Cell] = []
    for name in names:
        for metric in options.metrics.split(","):
            cell = run(name, metric, options)
            if cell is not None:
                cells.append(cell)
                print(f"{name} {metric}: {cell.winner} {cell.mean:.4f}", flush=True)
                written = json.dumps([asdict(one) for one in cells], indent=1)
                (options.out / "cells.json").write_text(written + "\n")
                (options.out / "cells.md").write_text(table(cells) + "\n")
    return cells


if __name__ == "__main__":
    main()
