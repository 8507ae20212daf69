"""Masks from image labels alone (AME-CAM): what attention over exits adds, on unseen images.

    python benchmarks/segment.py [NAME ...] [--images N] [--heldout N] [--simclr-epochs N]
        [--epochs N] [--attention-epochs N] [--seeds 3] [--threshold 0.5] [--cams A,B]
        [--out FOLDER]

For each seed an encoder gets exits, is trained on labels (object or none), and its attended map is
judged by true masks, beside single exits, their mean, and CAMs of the same classifier. The seed
decides split, first weights and order. Printed are the tables, and lines for RESULTS.md: means over
the seeds, with the least and the greatest. Images of ultrasound that look alike are kept on one
side of the split. The formulas of the zoo that stand among the CAMs were found by searches on
images of the same sets: ``busi-iou`` with masks, so that it has seen more than the labels.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from cells import NETWORKS

from sycam.applications import SegmentationScores, segmentation_scores, train_segmenter
from sycam.applications.segmentation.scores import FIGURES, MethodRow
from sycam.applications.segmentation.subjects import scenes
from sycam.data.images import ImageSet, split

Split = Callable[[int, int, int], tuple[ImageSet, ImageSet]]


@dataclass(frozen=True)
class Setting:
    """What is segmented.

    Attributes:
        network: of :data:`cells.NETWORKS`, the encoder with the weights that it has.
        divided: images to train on and others, by their numbers and a seed.
        foreground: classes that show the object.
        images, heldout: how many, where the command does not say.
        cams: beside it.
        options: of the training.
    """

    network: str
    divided: Split
    foreground: str
    images: int
    heldout: int
    cams: str
    options: dict[str, object]


def _scenes(images: int, heldout: int, seed: int) -> tuple[ImageSet, ImageSet]:
    return scenes("train", images, seed), scenes("heldout", heldout, seed)


def _ultrasound(images: int, heldout: int, seed: int) -> tuple[ImageSet, ImageSet]:
    return split(NETWORKS["busi"][1](), {"search": images, "heldout": heldout}, seed)


SETTINGS = {
    "demo": Setting(
        "demo", _scenes, "digit", 1024, 256,
        "grad-cam,layer-cam,layer-cam@features.5,zoo:demo-road", {},
    ),
    "busi": Setting(
        "busi", _ultrasound, "benign,malignant", 75, 75,
        "grad-cam,layer-cam,layer-cam@bn5_relu,zoo:busi-road,zoo:busi-iou",
        {"epochs": 40, "flip": True},
    ),
}  # fmt: skip
HEAD = (
    "| images | heatmap | Dice | IoU | HD95, pixels | best Dice | AME-CAM's Dice less it | "
    "seeds with p < 0.05, for / against |\n" + "|---" * 8 + "|"
)


def judged(name: str, seed: int, options: argparse.Namespace) -> SegmentationScores:
    """One training of a setting, and its scores."""
    setting = SETTINGS[name]
    network, _ = NETWORKS[setting.network]
    train, heldout = setting.divided(
        options.images or setting.images, options.heldout or setting.heldout, seed
    )
    out = None if options.out is None else options.out / f"{name}-{seed}"
    trained = train_segmenter(
        network, train, setting.foreground, seed=seed, out=out, progress=False,
        **{**setting.options, **_given(options)},
    )  # fmt: skip
    print(f"{trained}\n", flush=True)
    cams = (options.cams or setting.cams).split(",")
    return segmentation_scores(
        trained, heldout, cams, threshold=options.threshold, seed=seed, out=out, progress=False
    )


def _given(options: argparse.Namespace) -> dict[str, int]:
    names = ("simclr_epochs", "epochs", "attention_epochs")
    given = {name: getattr(options, name) for name in names}
    return {name: number for name, number in given.items() if number is not None}


def lines(name: str, results: Sequence[SegmentationScores]) -> list[str]:
    """Of the table in RESULTS.md, AME-CAM first, then the best mean Dice first."""
    by_method = {
        row.method: [one for r in results for one in r.rows if one.method == row.method]
        for row in results[0].rows
    }
    first, *others = by_method.items()
    others = sorted(others, key=lambda one: -np.mean([row.dice.mean for row in one[1]]))
    # A formula's brackets would be read as a link.
    shown = {m: f"`{m}`" if "(" in m else m for m, _ in (first, *others)}
    return [f"| {name} | {shown[m]} | {_cells(rows)} |" for m, rows in (first, *others)]


def _cells(rows: Sequence[MethodRow]) -> str:
    cells = [_range([getattr(row, one).mean for row in rows], 1 if one == "hd95" else 3)
             for one in FIGURES]  # fmt: skip
    cells.append(_range([row.best_dice for row in rows]))
    against = [row.against for row in rows if row.against is not None]
    if not against:
        return " | ".join((*cells, "–", "–"))
    apart = [one.difference.mean for one in against]
    clear = [one.difference.mean for one in against if one.p_holm < 0.05]
    counts = f"{sum(d > 0 for d in clear)} / {sum(d < 0 for d in clear)} of {len(against)}"
    return " | ".join((*cells, _range(apart, signed=True), counts))


def _range(figures: Sequence[float], digits: int = 3, signed: bool = False) -> str:
    form = f"{'+' if signed else ''}.{digits}f"
    mean = format(np.mean(figures), form)
    if len(figures) == 1:
        return mean
    return f"{mean} ({min(figures):{form}} to {max(figures):{form}})"


def make_parser() -> argparse.ArgumentParser:
    """What the command takes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", help=f"of {', '.join(SETTINGS)}")
    parser.add_argument("--images", type=int, default=None)
    parser.add_argument("--heldout", type=int, default=None)
    parser.add_argument("--simclr-epochs", type=int, default=None)
    parser.add_argument("--epochs", type=int, default=None)
    parser.add_argument("--attention-epochs", type=int, default=None)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threshold", type=float, default=0.5)
    parser.add_argument("--cams", default=None)
    parser.add_argument("--out", type=Path, default=None)
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    options = make_parser().parse_args(arguments)
    table = [HEAD]
    for name in options.names or SETTINGS:
        started, results = time.process_time(), []
        for seed in range(options.seeds):
            results.append(judged(name, seed, options))
            print(f"{name}, seed {seed}\n{results[-1]}\n", flush=True)
        table += lines(name, results)
        print(f"{name}: {time.process_time() - started:.0f} CPU seconds\n", flush=True)
    print("\n".join(table))


if __name__ == "__main__":
    main()
