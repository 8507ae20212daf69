"""Which CAMs bear noise: consistency, responsiveness and RM on real networks.

    python benchmarks/robustness.py [NAME ...] [--methods grad-cam,layer-cam] [--images 32]
        [--noises gaussian,blur] [--seed 0] [--out FOLDER]

Each setting is one ``sycam.applications.robustness``; printed are its tables and tests, and
lines of the table in RESULTS.md. With ``--out`` tables and pictures are kept in a folder each.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from cells import NETWORKS

from sycam.applications import RobustnessResult, robustness
from sycam.applications.noise_study.figures import FIGURES
from sycam.applications.noise_study.options import USUAL

LAYERS = {"resnet20": "layer2", "busi": "bn5_relu", "demo": "features.8"}
MEASURED = ("resnet20", "busi")
METHODS = "grad-cam,layer-cam,hirescam,eigen-cam,random-weights"
HEAD = (
    "| network | method | RM | consistency | responsiveness | mean rank by RM | "
    "by consistency | by responsiveness | kept / changed |\n" + "|---" * 9 + "|"
)


def lines(name: str, result: RobustnessResult) -> Iterator[str]:
    """Of the table in RESULTS.md, the best RM first."""
    for row in result.pooled:
        figures = (getattr(row, figure) for figure in FIGURES)
        ranks = (result.ranks[figure] for figure in FIGURES)
        cells = [f"{held.mean:.3f} [{held.low:.3f}, {held.high:.3f}]" for held in figures]
        cells += ["–" if one is None else f"{one.rank(row.method):.2f}" for one in ranks]
        cells.append(f"{row.kept} / {row.changed}")
        yield f"| {name} | {row.method} | {' | '.join(cells)} |"


def make_parser() -> argparse.ArgumentParser:
    """What the command takes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", help=f"of {', '.join(LAYERS)}")
    parser.add_argument("--methods", default=METHODS)
    parser.add_argument("--images", type=int, default=32)
    parser.add_argument("--noises", default=USUAL)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=None)
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    options = make_parser().parse_args(arguments)
    table = [HEAD]
    for name in options.names or MEASURED:
        started = time.process_time()
        source, images = NETWORKS[name]
        result = robustness(
            source,
            LAYERS[name],
            images(),
            options.methods.split(","),
            count=options.images,
            noises=options.noises,
            seed=options.seed,
            out=None if options.out is None else options.out / name,
            progress=False,
        )
        table += lines(name, result)
        print(f"{name}, {time.process_time() - started:.0f} CPU seconds\n{result}\n", flush=True)
    print("\n".join(table))


if __name__ == "__main__":
    main()
