"""How formulas found on one network, layer and data set do on others: a matrix.

    python benchmarks/transfer.py [--winner busi="smooth(G)" ...] ["mean(G) * max(A)" ...]
        [--subjects demo,busi] [--metrics road,iou] [--count 100] [--search-images 50]
        [--search-metric road] [--out FILE.json]

Each cell is the mean difference of a formula's score to that of the best published CAM or baseline
on the same images (the best after the fact, a hard rival), with its 95 % bootstrap interval over
images; better is positive whatever the metric's direction. Bold: the interval lies above 0; in
brackets: below. A dagger marks the subject that the formula was found on.

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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import torch

import sycam
from sycam.data.images import ImageSet, choose, load_files, load_images
from sycam.errors import unknown_name
from sycam.inputs import demo_images, with_masks
from sycam.methods import find_method, scored_along
from sycam.metrics import Metric, find_metric
from sycam.validation import PUBLISHED, Interval, mean_interval

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT / os.environ.get("SYCAM_DATA", "../shared/data")
WINNERS: dict[str, str] = {"demo": "smooth(G)"}
"""Subject to the formula that ``sycam synthesize`` found there under ROAD."""


@dataclass(frozen=True)
class Subject:
    """A network at a layer, with images.

    Attributes:
        network: ``demo``, or ``FILE:FACTORY`` of ``benchmarks/networks``.
        layer: its target layer.
        load: makes the images.
        searched: whether searches take their images from the same file.
    """

    network: str
    layer: str
    load: Callable[[], ImageSet]
    searched: bool = True

    @property
    def source(self) -> str:
        """As ``--network`` takes it."""
        if self.network == "demo":
            return self.network
        file, factory = self.network.split(":")
        return f"{ROOT / 'benchmarks' / 'networks' / file}.py:{factory}"

    def images(self, count: int, search_images: int, seed: int, with_object: bool) -> ImageSet:
        """At most ``count`` images that no search has seen; ``with_object`` says whether searches
        left out the images whose mask is empty."""
        found = self.load()
        seen = found.subset([])
        if self.searched:
            seen = choose(with_masks(found, with_object), search_images, seed)
        left = len(set(found.digests) - set(seen.digests))
        return choose(found, min(count, left), seed, apart_from=seen)


def archive(path: str) -> ImageSet:
    """Images of a ``.npz`` file of the data folder."""
    return load_images(DATA / path)


def validation_images(side: int) -> ImageSet:
    """The 200 ImageNet validation images, warped to ``side``, with their boxes as masks."""
    folder = DATA / "imagenet"
    with (folder / "val_boxes.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    files = [folder / row["file"] for row in rows]
    images = load_files(files, mean=(0, 0, 0), std=(1, 1, 1), size=side)
    masks = torch.zeros(len(rows), side, side, dtype=torch.bool)
    for mask, row in zip(masks, rows, strict=True):
        for box in row["boxes_xyxy_in_227px"].split(";"):
            x0, y0, x1, y1 = (round(float(corner) * side / 227) for corner in box.split())
            mask[y0:y1, x0:x1] = True
    labels = [int(row["label"]) for row in rows]
    return ImageSet.from_arrays(images.images, labels, masks, images.names)


CIFAR = partial(archive, "cifar10/test_lossless_500.npz")
SUBJECTS: dict[str, Subject] = {
    "demo": Subject("demo", "auto", partial(demo_images, "heldout", 256, 0), searched=False),
    "resnet20-layer2": Subject("cifar10:resnet20", "layer2", CIFAR, searched=False),
    "resnet20-layer3": Subject("cifar10:resnet20", "layer3", CIFAR, searched=False),
    "resnet32-layer2": Subject("cifar10:resnet32", "layer2", CIFAR, searched=False),
    "mobilenet": Subject("mobilenet:mobilenet", "blocks.10", partial(validation_images, 160)),
    "squeezenet": Subject("squeezenet:squeezenet", "fire8", partial(validation_images, 227)),
    **{
        name: Subject(f"small_cnn:{name}", "bn5_relu", partial(archive, f"{name}/images_128.npz"))
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
        found_on: the subject that it was found on, or empty.
        images: number of images.
        mean: the formula's figure.
        published: the published CAM or baseline with the best figure.
        published_mean: its figure.
        difference: formula minus published, oriented so that positive favours the formula.
    """

    metric: str
    subject: str
    formula: str
    found_on: str
    images: int
    mean: float
    published: str
    published_mean: float
    difference: Interval


def cells_of(
    name: str,
    formulas: Mapping[str, str],
    metrics: Sequence[Metric],
    count: int,
    search_images: int,
    seed: int,
    with_object: bool = False,
) -> list[Cell]:
    """All formulas on one subject.

    Args:
        name: of the subject.
        formulas: expression text to the subject that it was found on, or to nothing.
        metrics: those that need masks are left out where there are none.
        count: images, at most.
        search_images, seed: of the searches that found the formulas.
        with_object: whether these were under a metric that needs masks.
    """
    subject = SUBJECTS[name]
    images = subject.images(count, search_images, seed, with_object)
    rivals = [m for m in scored_along() if m.kind in PUBLISHED]
    found = []
    for needs_masks in (False, True):  # with masks needed, images without an object are left out
        chosen = [m for m in metrics if m.needs_masks == needs_masks]
        if not chosen or (needs_masks and images.masks is None):
            continue
        table = sycam.evaluate(
            subject.source, subject.layer, images, [*formulas, *rivals], chosen, seed=seed
        )
        for metric in chosen:
            best = max(rivals, key=lambda m: metric.oriented(table.cells[m.name, metric.text].mean))
            of_best = table.scores[best.name, metric.text]
            for formula, found_on in formulas.items():
                ours = table.scores[formula, metric.text]
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
                        difference=mean_interval(metric.oriented(ours - of_best), seed),
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
    d = cell.difference
    text = f"{d.mean:+.3f} ({d.low:+.3f} to {d.high:+.3f})"
    if d.low > 0:
        text = f"**{text}**"
    elif d.high < 0:
        text = f"[{text}]"
    return text + (" †" if cell.subject == cell.found_on else "")


def formulas_of(winners: Sequence[str], others: Sequence[str]) -> dict[str, str]:
    """Expression text to the subject that it was found on, from ``SUBJECT=EXPRESSION`` and
    expressions alone; the built-in winners where none is given."""
    found = {}
    for winner in winners:
        subject, _, text = winner.partition("=")
        if subject not in SUBJECTS:
            raise unknown_name("subject", subject, SUBJECTS)
        found[find_method(text).name] = subject
    if not winners and not others:
        found = {find_method(text).name: subject for subject, text in WINNERS.items()}
    return found | {find_method(text).name: "" for text in others}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("formulas", nargs="*", help="expressions")
    parser.add_argument("--winner", action="append", default=[], metavar="SUBJECT=EXPRESSION")
    parser.add_argument("--subjects", default=",".join(SUBJECTS))
    parser.add_argument("--metrics", default="road,iou,energy-pointing-game")
    parser.add_argument("--count", type=int, default=100, help="images of a subject, at most")
    parser.add_argument("--search-images", type=int, default=50)
    parser.add_argument("--search-metric", default="road", help="that the formulas were found by")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args(arguments)
    formulas = formulas_of(options.winner, options.formulas)
    metrics = [find_metric(text) for text in options.metrics.split(",")]
    with_object = find_metric(options.search_metric).needs_masks
    cells: list[Cell] = []
    for name in options.subjects.split(","):
        if name not in SUBJECTS:
            raise unknown_name("subject", name, SUBJECTS)
        of_search = (options.search_images, options.seed, with_object)
        cells += cells_of(name, formulas, metrics, options.count, *of_search)
        print(f"{name}: {len(cells)} cells so far", flush=True)
        if options.out:  # after each subject, as some take long
            options.out.write_text(json.dumps([asdict(cell) for cell in cells], indent=1) + "\n")
    for metric in metrics:
        if any(cell.metric == metric.text for cell in cells):
            print(f"\n{matrix(cells, metric.text)}")


if __name__ == "__main__":
    main()
