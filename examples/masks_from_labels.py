"""Somebody who knows which images show the object, not where, learns masks (AME-CAM).

    python examples/masks_from_labels.py [--cam layer-cam] [--epochs 20] [--out digits]

On the demo's scenes, with a digit or without, so that it takes a minute: exits and attention are
trained on image labels, judged by true masks beside CAMs of the same classifier, and masks of new
scenes are kept. With images of your own: ``sycam segment train --images FOLDER``, and so on.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from sycam.applications import (
    SegmentationScores,
    Segmenter,
    segment,
    segmentation_scores,
    train_segmenter,
)


def main(arguments: list[str] | None = None) -> SegmentationScores:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cam", default="layer-cam", help="a method, a formula, a run's folder")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--train", type=int, default=512)
    parser.add_argument("--test", type=int, default=128)
    parser.add_argument("--out", type=Path, default=Path("digits"))
    given = parser.parse_args(arguments)

    trained = train_segmenter(
        "demo", "demo", "digit", count=given.train, epochs=given.epochs,
        attention_epochs=max(1, given.epochs // 2), out=given.out,
    )  # fmt: skip
    print(trained, end="\n\n")
    scores = segmentation_scores(given.out, "demo", ["grad-cam", given.cam], count=given.test)
    print(scores, end="\n\n")
    scores.plot().save(given.out / "judged.png")

    # Whoever has the folder has the segmenter.
    again = Segmenter.load(given.out)
    print(segment(again, "demo", count=8, seed=1, out=given.out / "found"))
    return scores


if __name__ == "__main__":
    main()
