"""How formulas found on one network, layer and data set do on others: a matrix.

    python benchmarks/transfer.py --find 150 [--search-metric road] [--subjects demo,busi]
    python benchmarks/transfer.py --winner busi="smooth(G)" ... ["mean(G) * max(A)" ...]
        [--metrics road,iou] [--count 100] [--search-images 50] [--out FILE.json]
        [--image FILE.png]

``--find BUDGET`` first searches each subject for its winner (guided, so many candidates or seconds,
the rule of selection as by default); ``--winner`` takes what a search has found elsewhere.

Each cell is the mean difference of a formula's score to that of the best published CAM or baseline
on the same images (the best after the fact, a hard rival), with its 95 % bootstrap interval over
images; better is positive whatever the metric's direction. Bold: the interval lies above 0; in
brackets: below. A dagger marks the subject that the formula was found on. A second table says what
specialisation pays: each subject's own winner against the winners of the others.

No image that a search has seen is scored: on CIFAR-10 searches use ``train_lossless_500.npz``, on
the demo the search scenes; of the other sets ``sycam synthesize --search-images N --seed S`` takes
its N images first, and these are left out here for the same N, S and ``--search-metric`` (a metric
that needs masks searches on images with an object only). Localisation metrics are for subjects
with masks or boxes; an image without an object does not count there.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

import sycam
from sycam.data.images import ImageSet, choose, load_files, load_images
from sycam.data.near_copies import near
from sycam.data.preprocessing import Preprocessing
from sycam.errors import unknown_name
from sycam.methods import find_method, shown_methods
from sycam.methods.method import RIVALS
from sycam.metrics import Metric, find_metric
from sycam.problem.images import demo_images, with_masks
from sycam.problem.options import DataOptions
from sycam.problem.problem import Problem
from sycam.problem.request import GRADIENT, Request
from sycam.scoring.statistics import Interval, mean_interval
from sycam.search import SearchOptions
from sycam.search.run import run_search

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT / os.environ.get("SYCAM_DATA", "../shared/data")
WINNERS: dict[str, str] = {
    "demo": "smooth(G / symsqrt(sum(abs(G)) / symlog(0.536 * std(normalize(G)))))",
    "resnet20-layer2": "smooth(smooth(max(G) * relu(G / sum(A) * A)))",
    "resnet20-layer3": "symsqrt(G / max(A) / abs(min(G) + 0.536 * A))",
    "resnet32-layer2": "topmean(square(symlog(G))) * (relu(G) + symlog(cube(G)))",
    "mobilenet": "relu(min(G / sum(G)) + 11.6 * G) + 13.1 * G",
    "squeezenet": "smooth(" * 10 + "G" + ")" * 10,
    "brain_tumour": "symlog(mean(relu(G)) * G + G / max(symlog(A)))",
    "busi": "topmean(mean(G) + 1.1 * neg(mean(A) * G)) / mean(A)",
    "magnetic_tile": "G + (10.2 * mean(relu(G)) + 3.74 * G + (3.2 * mean(G) + 13.2 * G))",
}
"""Subject to the formula found there by ``--find 120 --search-images 40`` under ROAD at percentiles
30 and 70."""


@dataclass(frozen=True)
class ExplainedNetwork:
    """A network at a layer, with images.

    Attributes:
        network: ``demo``, or ``FILE:FACTORY`` of ``benchmarks/networks``.
        layer: its target layer.
        load: makes the images.
        search: makes those to search on, where these are of another part; None where searches
            take their images from the same file.
    """

    network: str
    layer: str
    load: Callable[[], ImageSet]
    search: Callable[[], ImageSet | str] | None = None

    @property
    def source(self) -> str:
        """As ``--network`` takes it."""
        if self.network == "demo":
            return self.network
        file, factory = self.network.split(":")
        return f"{ROOT / 'benchmarks' / 'networks' / file}.py:{factory}"

    def images(
        self, count: int, search_images: int, seed: int, with_object: bool, filled: bool = False
    ) -> ImageSet:
        """At most ``count`` images that no search has seen.

        Args:
            count: at most.
            search_images, seed: of the searches.
            with_object: whether these left out the images whose mask is empty.
            filled: whether such images are left out here.
        """
        found = self.load()
        seen = found.subset([])
        if self.search is None:
            seen = choose(with_masks(found, with_object), search_images, seed)
        found = with_masks(found, filled)
        unlike = ~near(found.looks, seen.looks)
        left = len(set(np.array(found.digests)[unlike]) - set(seen.digests))
        return choose(found, min(count, left), seed, apart_from=seen)

    def winner(self, metric: str, budget: str, search_images: int, seed: int) -> str | None:
        """The expression that a guided search finds here; None if it finds no eligible one."""
        images = (self.search or self.load)()
        data = DataOptions(search_images=search_images, heldout=2)
        problem = Problem.of(
            Request(self.source, self.layer, images, metric, GRADIENT, data=data, seed=seed)
        )
        with tempfile.TemporaryDirectory() as folder:
            options = SearchOptions(budget=budget, mode="guided")
            found = run_search(problem, options, Path(folder)).winner
        return found and found.name


def archive(path: str) -> ImageSet:
    """Images of a ``.npz`` file of the data folder."""
    return load_images(DATA / path)


def validation_images(side: int) -> ImageSet:
    """The 200 validation images of ImageNet at ``side``, with boxes, and their union as mask."""
    folder = DATA / "imagenet"
    with (folder / "val_boxes.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    files = [folder / row["file"] for row in rows]
    images = _as_pixels(files, side)
    masks = torch.zeros(len(rows), side, side, dtype=torch.bool)
    boxes = []
    for mask, row in zip(masks, rows, strict=True):
        corners = [box.split() for box in row["boxes_xyxy_in_227px"].split(";")]
        boxes.append(np.round(np.array(corners, float) * side / 227).astype(int))
        for x0, y0, x1, y1 in boxes[-1]:
            mask[y0:y1, x0:x1] = True
    labels = [int(row["label"]) for row in rows]
    found = ImageSet.from_arrays(images.images, labels, masks, images.names)
    return replace(found, boxes=tuple(boxes))


def sample_images(side: int) -> ImageSet:
    """300 images of ImageNet at ``side``, one a class, without boxes; of the networks' training."""
    return _as_pixels(sorted((DATA / "imagenet" / "samples").iterdir()), side)


def _as_pixels(files: Sequence[Path], side: int) -> ImageSet:
    return load_files(files, Preprocessing(mean=(0, 0, 0), std=(1, 1, 1), size=side))


def cifar_images() -> ImageSet:
    """1,000 test images of CIFAR-10 that the networks have not seen: half exact, half JPEG copies.

    The copies are of other images, and cost the networks ten points of accuracy.
    """
    parts = [archive(f"cifar10/test_{part}_500.npz") for part in ("lossless", "jpeg75")]
    return ImageSet.from_arrays(
        torch.cat([part.images for part in parts]), torch.cat([part.labels for part in parts])
    )


CIFAR = tuple(partial(archive, f"cifar10/{part}_lossless_500.npz") for part in ("test", "train"))
SUBJECTS: dict[str, ExplainedNetwork] = {
    "demo": ExplainedNetwork(
        "demo", "auto", partial(demo_images, "heldout", 256, 0), lambda: "demo"
    ),
    "resnet20-layer2": ExplainedNetwork("cifar10:resnet20", "layer2", *CIFAR),
    "resnet20-layer3": ExplainedNetwork("cifar10:resnet20", "layer3", *CIFAR),
    "resnet32-layer2": ExplainedNetwork("cifar10:resnet32", "layer2", *CIFAR),
    "mobilenet": ExplainedNetwork(
        "mobilenet:mobilenet", "blocks.10", partial(validation_images, 160)
    ),
    "squeezenet": ExplainedNetwork(
        "squeezenet:squeezenet", "fire8", partial(validation_images, 227)
    ),
    **{
        name: ExplainedNetwork(
            f"small_cnn:{name}", "bn5_relu", partial(archive, f"{name}/images_128.npz")
        )
        for name in ("brain_tumour", "busi", "magnetic_tile")
    },
}


@dataclass(frozen=True)
class Cell:
    """A formula on one subject under one metric.

    Attributes:
        metric: its text.
        subject: of :data:`SUBJECTS`.
        formula: expression text.
        found_on: the subjects that it was found on.
        images: number of images.
        mean: the formula's figure.
        published: the published CAM or baseline with the best figure.
        published_mean: its figure.
        difference: formula minus published, oriented so that positive favours the formula.
        differences: ``[N]`` the same of each image.
    """

    metric: str
    subject: str
    formula: str
    found_on: tuple[str, ...]
    images: int
    mean: float
    published: str
    published_mean: float
    difference: Interval
    differences: tuple[float, ...]


def cells_of(
    name: str,
    formulas: Mapping[str, tuple[str, ...]],
    metrics: Sequence[Metric],
    count: int,
    search_images: int,
    seed: int,
    with_object: bool = False,
) -> list[Cell]:
    """All formulas on one subject.

    Args:
        name: of the subject.
        formulas: expression text to the subjects that it was found on.
        metrics: those that need masks are left out where there are none.
        count: images, at most.
        search_images, seed: of the searches that found the formulas.
        with_object: whether these were under a metric that needs masks.
    """
    subject = SUBJECTS[name]
    rivals = [m for m in shown_methods() if m.kind in RIVALS]
    found = []
    for needs_masks in (False, True):  # with masks needed, images without an object are left out
        chosen = [m for m in metrics if m.needs_masks == needs_masks]
        if not chosen or (needs_masks and subject.load().masks is None):
            continue
        images = subject.images(count, search_images, seed, with_object, filled=needs_masks)
        table = sycam.evaluate(
            subject.source, subject.layer, images, [*formulas, *rivals], chosen, seed=seed
        )
        for metric in chosen:
            best = max(rivals, key=lambda m: metric.oriented(table.cells[m.name, metric.text].mean))
            of_best = table.scores[best.name, metric.text]
            for formula, found_on in formulas.items():
                gains = metric.oriented(table.scores[formula, metric.text] - of_best)
                found.append(
                    Cell(
                        metric=metric.text,
                        subject=name,
                        formula=formula,
                        found_on=found_on,
                        images=table.images,
                        mean=table.cells[formula, metric.text].mean,
                        published=best.name,
                        published_mean=table.cells[best.name, metric.text].mean,
                        difference=mean_interval(gains, seed),
                        differences=tuple(gains.tolist()),
                    )
                )
    return found


def matrix(cells: Sequence[Cell], metric: str) -> str:
    """The cells of one metric as a Markdown table, a row a formula, a column a subject."""
    cells = [cell for cell in cells if cell.metric == metric]
    subjects = list(dict.fromkeys(cell.subject for cell in cells))
    formulas = list(dict.fromkeys(cell.formula for cell in cells))
    at = {(cell.formula, cell.subject): cell for cell in cells}
    first = {subject: at[formulas[0], subject] for subject in subjects}
    rivals = [f"{first[s].published} {first[s].published_mean:.3f}" for s in subjects]
    rows = [
        [metric, *(f"{s} (n={first[s].images})" for s in subjects), "better, worse"],
        ["---"] * (len(subjects) + 2),
        ["best published", *rivals, ""],
    ]
    for formula in formulas:
        row = [at[formula, s] for s in subjects]
        better = sum(cell.difference.low > 0 for cell in row)
        worse = sum(cell.difference.high < 0 for cell in row)
        rows.append([f"`{formula}`", *map(_shown, row), f"{better}, {worse} of {len(row)}"])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _shown(cell: Cell) -> str:
    return marked(cell.difference) + (" †" if cell.subject in cell.found_on else "")


def marked(d: Interval) -> str:
    """Bold where the interval lies above 0, in brackets where it lies below."""
    text = f"{d.mean:+.3f} ({d.low:+.3f} to {d.high:+.3f})"
    return f"**{text}**" if d.low > 0 else f"[{text}]" if d.high < 0 else text


def at_home(cells: Sequence[Cell], metric: str, seed: int) -> str:
    """What specialisation pays, as a Markdown table: a row a subject that has a winner of its own.

    The winners of others are averaged image by image before they are compared with.
    """
    rows = [
        ["subject", "own winner", "minus best published", "minus the mean of other winners",
         "place among winners"],
        ["---"] * 5,
    ]  # fmt: skip
    of_metric = [cell for cell in cells if cell.metric == metric and cell.found_on]
    for own in (cell for cell in of_metric if cell.subject in cell.found_on):
        here = [cell for cell in of_metric if cell.subject == own.subject]
        others = [cell for cell in here if own.subject not in cell.found_on]
        place = 1 + sum(cell.difference.mean > own.difference.mean for cell in others)
        gain = "no other winner"
        if others:
            rest = np.mean([cell.differences for cell in others], axis=0)
            gain = marked(mean_interval(np.array(own.differences) - rest, seed))
        rows.append(
            [own.subject, f"`{own.formula}`", marked(own.difference), gain,
             f"{place} of {len(others) + 1}"]
        )  # fmt: skip
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def draw(cells: Sequence[Cell], metrics: Sequence[str], file: Path) -> None:
    """The matrices as heat tables: colour is the difference in half-widths of its interval, so
    that what is beyond 1 is more than chance."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    found = [[cell for cell in cells if cell.metric == metric] for metric in metrics]
    found = [group for group in found if group]
    tall = [len({cell.formula for cell in group}) for group in found]
    figure, axes = pyplot.subplots(
        len(found), figsize=(13, 1.6 * len(found) + 0.42 * sum(tall)), squeeze=False,
        layout="constrained", height_ratios=[n + 2 for n in tall],
    )  # fmt: skip
    for plane, group in zip(axes[:, 0], found, strict=True):
        formulas = list(dict.fromkeys(cell.formula for cell in group))
        subjects = list(dict.fromkeys(cell.subject for cell in group))
        colours = np.full((len(formulas), len(subjects)), np.nan)
        for cell in group:
            row, column = formulas.index(cell.formula), subjects.index(cell.subject)
            d = cell.difference
            half = (d.high - d.low) / 2
            colours[row, column] = d.mean / half if half else 0.0
            home = cell.subject in cell.found_on
            plane.text(column, row, f"{d.mean:+.3f}", ha="center", va="center", fontsize=8,
                       weight="bold" if home else "normal",
                       color="white" if abs(colours[row, column]) > 2.5 else "black")  # fmt: skip
            if home:
                box = pyplot.Rectangle((column - 0.48, row - 0.46), 0.96, 0.92, fill=False, lw=1.5)
                plane.add_patch(box)
        shown = plane.imshow(colours, cmap="RdBu", vmin=-4, vmax=4, aspect="auto")
        plane.set_xticks(range(len(subjects)), subjects, fontsize=8)
        homes = {cell.formula: ", ".join(cell.found_on) for cell in group}
        named = [_short(f"{homes[f]}: {f}" if homes[f] else f) for f in formulas]
        plane.set_yticks(range(len(formulas)), named, fontsize=8)
        plane.set_title(
            f"{group[0].metric}: difference to the best published CAM; framed: found there",
            fontsize=10,
        )
        figure.colorbar(shown, ax=plane, label="in half-widths of the 95 % interval")
    figure.savefig(file, dpi=90)


def _short(text: str, length: int = 44) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def formulas_of(winners: Sequence[str], others: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Expression text to the subjects that it was found on, from ``SUBJECT=EXPRESSION`` and
    expressions alone; the built-in winners where none is given."""
    given = [winner.partition("=") for winner in winners]
    pairs = [(subject, text) for subject, _, text in given]
    for subject, _ in pairs:
        if subject not in SUBJECTS:
            raise unknown_name("subject", subject, SUBJECTS)
    if not winners and not others:
        pairs = list(WINNERS.items())
    found: dict[str, tuple[str, ...]] = {}
    for subject, text in pairs:
        name = find_method(text).name
        found[name] = (*found.get(name, ()), subject)
    named = (find_method(text).name for text in others)
    return found | {name: () for name in named if name not in found}


def make_parser() -> argparse.ArgumentParser:
    """What the command takes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("formulas", nargs="*", help="expressions")
    parser.add_argument("--winner", action="append", default=[], metavar="SUBJECT=EXPRESSION")
    parser.add_argument("--find", metavar="BUDGET", help="search each subject for its winner first")
    parser.add_argument("--subjects", default=",".join(SUBJECTS))
    parser.add_argument("--metrics", default="road,iou,energy-pointing-game")
    parser.add_argument("--count", type=int, default=100, help="images of a subject, at most")
    parser.add_argument("--search-images", type=int, default=50)
    parser.add_argument("--search-metric", default="road", help="that the formulas were found by")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--image", type=Path, help="the matrices as a PNG")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    options = make_parser().parse_args(arguments)
    subjects = options.subjects.split(",")
    for name in subjects:
        if name not in SUBJECTS:
            raise unknown_name("subject", name, SUBJECTS)
    metrics = [find_metric(text) for text in options.metrics.split(",")]
    winners = list(options.winner)
    if options.find:
        winners += found_winners(subjects, options)
    formulas = formulas_of(winners, options.formulas)
    with_object = find_metric(options.search_metric).needs_masks
    cells: list[Cell] = []
    for name in subjects:
        of_search = (options.search_images, options.seed, with_object)
        cells += cells_of(name, formulas, metrics, options.count, *of_search)
        print(f"{name}: {len(cells)} cells so far", flush=True)
        if options.out:  # after each subject, as some take long
            options.out.write_text(json.dumps([asdict(cell) for cell in cells], indent=1) + "\n")
    measured = [m.text for m in metrics if any(cell.metric == m.text for cell in cells)]
    for metric in measured:
        print(f"\n{matrix(cells, metric)}\n\n{at_home(cells, metric, options.seed)}")
    if options.image:
        draw(cells, measured, options.image)


def found_winners(subjects: Sequence[str], options: argparse.Namespace) -> list[str]:
    """``SUBJECT=EXPRESSION`` of each subject where a search finds a winner."""
    found = []
    for name in subjects:
        started = time.perf_counter()
        search = options.search_metric, options.find, options.search_images, options.seed
        winner = SUBJECTS[name].winner(*search)
        print(f"{name}: {winner}, found in {time.perf_counter() - started:.0f} s", flush=True)
        if winner is not None:
            found.append(f"{name}={winner}")
    return found


if __name__ == "__main__":
    main()
