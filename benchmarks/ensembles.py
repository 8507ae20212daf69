"""What an ensemble of published CAMs gains over each of them, on images that chose nothing.

    python benchmarks/ensembles.py [NAME ...] [--members eleven] [--percents 20,50,100]
        [--budget 70] [--search-images 64] [--heldout-images N] [--seed 0] [--out FOLDER]

Each setting is one ``sycam.applications.ensemble``: the members are the eleven CAMs of
pytorch-grad-cam unless ``--members`` names others. Printed are its tables, and a line of the table
in RESULTS.md. The paper (MetaCAM, Kaczmarek et al., 2023) says that the best ensemble is above
every single CAM: whether it is here is what is measured.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cells import NETWORKS

from sycam.applications import EnsembleResult, ensemble
from sycam.applications.ensembles.rows import WINNER, EnsembleRow
from sycam.scoring.statistics import Interval


@dataclass(frozen=True)
class Setting:
    """What is measured.

    Attributes:
        network: of :data:`cells.NETWORKS`, with its images.
        layer: at which the members stand.
        metric: its text.
        heldout_images: how many, where the command does not say.
        against: formulas of searches that the ensemble is compared with.
    """

    network: str
    layer: str
    metric: str
    heldout_images: int = 128
    against: tuple[str, ...] = ()


# What cells.py found for ResNet-20 and road, on as many search images of the same seed.
FOUND = "cam[layer1](smooth(relu(G))) + cam[layer3.1](smooth(G))"
SETTINGS = {
    "resnet20-road": Setting(
        "resnet20", "layer2", "road:percentiles=10+30+50+70+90", against=(FOUND,)
    ),
    "busi-iou": Setting("busi", "bn5_relu", "iou", 60),
    "demo-iou": Setting("demo", "auto", "iou"),
}
MEASURED = ("resnet20-road", "busi-iou")
HEAD = (
    "| setting | images | ensemble | held out | chosen single | ensemble less it | "
    "best single in hindsight | ensemble less it | winner of a search | ensemble less it | "
    "scored | CPU seconds |\n" + "|---" * 12 + "|"
)


def run(setting: Setting, options: argparse.Namespace, out: Path) -> EnsembleResult:
    """The ensemble of a setting, its scores kept in a folder."""
    source, images = NETWORKS[setting.network]
    return ensemble(
        source,
        setting.layer,
        images(),
        setting.metric,
        options.members.split(","),
        against=setting.against,
        percents=options.percents,
        budget=options.budget,
        search_images=options.search_images,
        heldout=options.heldout_images or setting.heldout_images,
        seed=options.seed,
        out=out,
        progress=False,
    )


def line(name: str, result: EnsembleResult, seconds: float) -> str:
    """Of the table in RESULTS.md."""

    def single(row: EnsembleRow) -> str:
        difference = row.against.difference
        mark = "**" if row.against.p_holm < 0.05 else ""
        return (
            f"{row.title} {_figure(row.heldout)} | {mark}{difference.mean:+.3f}{mark} "
            f"[{difference.low:+.3f}, {difference.high:+.3f}], p {row.against.p_holm:.2g}"
        )

    searched = next((single(row) for row in result.rows if row.kind == WINNER), "– | –")
    return (
        f"| {name} | {result.search_images} + {result.heldout_images} | "
        f"top {result.percent:g} % of {', '.join(result.members)} | "
        f"{_figure(result.ensemble.heldout)} | {single(result.chosen_single)} | "
        f"{single(result.best_single)} | {searched} | "
        f"{result.scored} of {result.possible} | {seconds:.0f} |"
    )


def _figure(interval: Interval) -> str:
    return f"{interval.mean:.3f} [{interval.low:.3f}, {interval.high:.3f}]"


def make_parser() -> argparse.ArgumentParser:
    """What the command takes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", help=f"of {', '.join(SETTINGS)}")
    parser.add_argument("--members", default="eleven")
    parser.add_argument("--percents", default="20,50,100")
    parser.add_argument("--budget", type=int, default=70)
    parser.add_argument("--search-images", type=int, default=64)
    parser.add_argument("--heldout-images", type=int, default=None)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=None, help="folder to resume from")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    options = make_parser().parse_args(arguments)
    lines = [HEAD]
    with tempfile.TemporaryDirectory() as scratch:
        for name in options.names or MEASURED:
            started = time.process_time()
            result = run(SETTINGS[name], options, (options.out or Path(scratch)) / name)
            lines.append(line(name, result, time.process_time() - started))
            print(f"{name}\n{result}\n", flush=True)
    print("\n".join(lines))


if __name__ == "__main__":
    main()
