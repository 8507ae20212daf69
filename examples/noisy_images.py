"""Somebody whose camera is noisy asks which CAM holds still, and moves when the prediction does.

    python examples/noisy_images.py [--network demo] [--layer features.8] [--images demo]
        [--methods grad-cam layer-cam ...] [--count 32] [--out noise]

Four kinds of noise, weak to strong: consistency where the prediction stays, responsiveness where it
changes, both with intervals over images; which CAMs cannot be told apart; and two pictures, the
figures over the levels of noise and the critical-difference diagram.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from sycam.applications import RobustnessResult, robustness


def main(arguments: list[str] | None = None) -> RobustnessResult:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", default="demo", help="FILE.py:FACTORY, timm:NAME, ...")
    parser.add_argument("--layer", default="features.8")
    parser.add_argument("--images", default="demo", help="a folder, a table or an .npz file")
    parser.add_argument(
        "--methods", nargs="+", help="methods, formulas, folders of runs",
        default=["grad-cam", "layer-cam", "hirescam", "random-weights"],
    )  # fmt: skip
    parser.add_argument("--noises", default="gaussian,salt-and-pepper,speckle,blur")
    parser.add_argument("--count", type=int, default=32)
    parser.add_argument("--out", type=Path, default=Path("noise"))
    given = parser.parse_args(arguments)

    found = robustness(
        given.network, given.layer, given.images, given.methods, count=given.count,
        noises=given.noises, out=given.out,
    )  # fmt: skip
    print(found)

    # Of the CAMs that hold still, the one that answers best to a changed prediction.
    steady = [row for row in found.pooled if row.consistency.mean > 0.5]
    if steady:
        best = max(steady, key=lambda row: row.responsiveness.mean)
        print(f"\nSteady and most responsive: {best.method}")
    found.plot("ranks", "consistency").save(given.out / "consistency_ranks.png")
    print(f"Pictures are in {given.out}")
    return found


if __name__ == "__main__":
    main()
