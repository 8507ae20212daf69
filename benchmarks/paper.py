"""The setting of the paper that SyCAM comes from beside SyCAM's defaults, with what each costs.

    python benchmarks/paper.py --out FOLDER [--networks mobilenet,lite0] [--metrics deletion,iou]
        [--max-cost 3] [--budget 30m] [--search-images 32] [--heldout-images 96]
    python benchmarks/paper.py --out FOLDER --networks resnet50,vgg16,vgg19 --weights DEFAULT \\
        --images ILSVRC/val --boxes boxes.csv

Luque-Cerpa et al., Metric-Guided Synthesis of Class Activation Mapping, 2025, search formulas of
one layer, the last, by two oracles: formulas that the metric cannot tell apart on the images count
as one (``equivalence="metric"``), and the first that exceeds every published CAM ends the search
(``threshold="best-published"``). Their metrics: deletion, insertion, overlap with boxes (here
``iou``), robustness (here ``max-sensitivity``); one formula for all images, and one for each class.

Searches of a row in the table:

- *paper*: both oracles, every candidate on all images.
- *race to threshold*: the same end, but candidates are told apart by their values, and leave as
  soon as a test says that they lose.
- *default*: no end but the bound on the cost, and the budget.

Passes are forward passes on changed images; overlap needs none, and robustness gradients instead.
"Published" is the CAM that the search images choose; bold: the winner is ahead of it on held-out
images with Holm-corrected p under 0.05. Each search keeps its folder under ``--out`` and is not
made again.

Without ``--weights`` networks of torchvision are random, and without ``--images`` they are shown
the 200 validation images under ``SYCAM_DATA``.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from cells import network
from transfer import CIFAR, ROOT, validation_images

import sycam
from sycam.data.images import ImageSet
from sycam.errors import RunError, unknown_name
from sycam.problem.images import demo_images
from sycam.runs.result import Result, load
from sycam.validation import measures

SETTINGS: dict[str, Mapping[str, Any]] = {
    "paper": {"mode": "exact", "equivalence": "metric", "threshold": "best-published"},
    "race to threshold": {"threshold": "best-published"},
    "default": {},
}
METRICS = ("deletion", "insertion", "iou", "max-sensitivity")
PAPER = ("resnet50", "vgg16", "vgg19")  # of torchvision
SMALL = {  # name to network and images
    "demo": ("demo", partial(demo_images, "heldout", 256, 0)),
    "resnet20": (network("cifar10", "resnet20"), CIFAR[0]),
    "squeezenet": (network("squeezenet", "squeezenet"), partial(validation_images, 227)),
    "mobilenet": (network("mobilenet", "mobilenet"), partial(validation_images, 160)),
    "lite0": (network("lite0", "lite0"), partial(validation_images, 224)),
}


def subject(name: str, options: argparse.Namespace) -> tuple[str, ImageSet | str]:
    """A network and images, as ``sycam.synthesize`` takes them."""
    if name in SMALL:
        source, images_of = SMALL[name]
        return source, images_of()
    sys.path.insert(0, str(ROOT / "tests"))
    from torchvision_ops import import_torchvision  # its compiled operators may not load

    import_torchvision()
    source = f"torchvision:{name}@{options.weights or 'random'}"
    expected = sycam.open_network(source).preprocessing
    if options.images is not None:
        images = sycam.load_images(
            options.images, size=expected.size, resize=expected.resize, mean=expected.mean,
            std=expected.std, interpolation=expected.interpolation, boxes=options.boxes,
            labels=options.labels, classes=1000,
        )  # fmt: skip
        return source, images
    found = validation_images(expected.size)
    mean, std = expected.scale(3)
    centre, spread = (torch.tensor(values)[:, None, None] for values in (mean, std))
    pixels = (found.images - centre) / spread
    return source, ImageSet.from_arrays(pixels, found.labels, found.masks, found.names, mean, std)


def run(name: str, metric: str, setting: str, options: argparse.Namespace) -> Result:
    """One search, from its folder if it is there."""
    out = options.out / f"{name}-{metric}-{setting.replace(' ', '-')}"
    try:
        return load(out)
    except RunError:
        source, images = subject(name, options)
    return sycam.synthesize(
        source, options.layer, images, metric, options.grammar, max_cost=options.max_cost,
        budget=options.budget, scope="per-class", search_images=options.search_images,
        heldout=options.heldout_images, seed=options.seed, device=options.device, out=out,
        report=False, **SETTINGS[setting],
    )  # fmt: skip


def row(name: str, metric: str, setting: str, result: Result) -> str:
    """A row of the table, in Markdown."""
    search, best, validation = result.record.search, result.best, result.validation
    cells = [
        name, metric, setting, f"{search.candidates}", f"{search.finished}", search.stopped,
        f"{search.seconds:.0f} s", f"{search.passes:,}",
    ]  # fmt: skip
    if best is None or best.heldout is None:
        return f"| {' | '.join([*cells, 'no winner', '–', '–', '–', '–'])} |"
    rows = {one.name: one for one in validation.rows}
    rival = rows.get(validation.verdicts[0].chosen_published)
    figure = f"{best.heldout.mean:.3f}"
    if rival is not None and validation.verdicts[0].beats_chosen:
        figure = f"**{figure}**"
    known = f" ({best.known_as})" if best.known_as else ""
    beside = "–" if rival is None else f"{rival.heldout.mean:.3f} {rival.name}"
    cells += [f"`{best.expression}`{known}", f"{best.score:.3f}", figure, beside, per_class(result)]
    return f"| {' | '.join(cells)} |"


def per_class(result: Result) -> str:
    """How many classes have a formula of their own, and what it gains on held-out images."""
    found = result.record.classes
    own = 0 if found is None else sum(one.own for one in found.classes)
    if not own:
        return "none has enough images"
    gain = "" if found.gain is None else f", {found.gain.mean:+.3f} (p {found.p:.2f})"
    return f"{own} of {len(found.classes)}{gain}"


COLUMNS = (
    "network", "metric", "search", "candidates", "on all images", "ended by", "time", "passes",
    "winner", "search images", "held out", "published", "classes with their own",
)  # fmt: skip


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs and the table")
    parser.add_argument("--networks", default="squeezenet,mobilenet,lite0")
    parser.add_argument("--metrics", default=",".join(METRICS))
    parser.add_argument("--settings", default=",".join(SETTINGS))
    parser.add_argument("--layer", default="last", help="the paper's: the last convolution")
    parser.add_argument("--grammar", default="gradient")
    parser.add_argument("--max-cost", type=int, default=3)
    parser.add_argument("--budget", default="30m", help="of each search")
    parser.add_argument("--search-images", type=int, default=32)
    parser.add_argument("--heldout-images", type=int, default=96)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device")
    parser.add_argument("--weights", help="of torchvision's networks: DEFAULT, or a file")
    parser.add_argument("--images", type=Path, help="for torchvision's networks")
    parser.add_argument("--labels", default="auto", help="how folders are classes: sorted, names")
    parser.add_argument("--boxes", type=Path, help="table file,x0,y0,x1,y1")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    options = make_parser().parse_args(arguments)
    measures.PANEL = measures.GUARDS = ()  # under which the table compares nobody
    asked = [given.split(",") for given in (options.networks, options.metrics, options.settings)]
    for kind, names, known in (
        ("network", asked[0], [*SMALL, *PAPER]), ("search", asked[2], SETTINGS),
    ):  # fmt: skip
        for name in set(names) - set(known):
            raise unknown_name(kind, name, known)
    options.out.mkdir(parents=True, exist_ok=True)
    lines = [f"| {' | '.join(COLUMNS)} |", "|---" * len(COLUMNS) + "|"]
    print("\n".join(lines))
    for name, metric, setting in itertools.product(*asked):
        lines.append(row(name, metric, setting, run(name, metric, setting, options)))
        print(lines[-1], flush=True)
        (options.out / "paper.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
