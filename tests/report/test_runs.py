"""The list of runs keeps names whole, at any width of the console."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from sycam.report.runs import runs_table
from sycam.runs.summary import FINISHED, INCOMPLETE, UNFINISHED, RunSummary
from sycam.scoring.statistics import Interval

NAMES = ("resnet50-road-1a2b3c4d", *(f"{'a-long-name-of-somebody-' * 3}seed-{i}" for i in (1, 2)))
FORMULAS = (
    "smooth(relu(G))",
    "smooth(smooth(relu(symsqrt(G / (std(G) * sum(A))))))",
    "smooth(smooth(relu(symsqrt(G / (abs(min(G)) * sum(A))))))",
)
NETWORKS = ("torchvision:resnet50", "networks/small_cnn.py:busi", "demo")


def printed(width: int) -> list[str]:
    runs = [
        RunSummary(
            f"/runs/{name}", INCOMPLETE if name == NAMES[0] else FINISHED, "2026-11-30T00:00:00",
            network=network, metric="insertion:steps=50", search_images=64, heldout_images=256,
            candidates=9, winner=formula, gain=Interval(0.05, 0.04, 0.06), p=0.0001,
        )
        for name, network, formula in zip(NAMES, NETWORKS, FORMULAS, strict=True)
    ]  # fmt: skip
    runs.append(RunSummary("/runs/begun", UNFINISHED, "2026-11-29T00:00:00"))
    console = Console(width=width, file=io.StringIO(), color_system=None)
    console.print(runs_table(runs))
    return console.file.getvalue().splitlines()


@pytest.mark.parametrize("width", [60, 80, 120, 300])
def test_no_name_is_broken_and_each_stands_in_full_somewhere(width):
    lines = printed(width)
    assert max(map(len, lines)) <= width
    text = "\n".join(lines)
    for whole in ("64+256", "+0.0500, < 0.001", "2026-11-30", "begun"):
        assert whole in text
    squeezed = re.sub(r"\s", "", text)
    for name in (*NAMES, *NETWORKS, *FORMULAS):
        assert re.sub(r"\s", "", name) in squeezed
        assert name in text or len(name) > width - 40
    rows = [line.split()[0] for line in lines if "+0.0500" in line]
    assert len(set(rows)) == len(NAMES)  # distinct where they are shortened
    assert (len([line for line in lines if "…" in line]) > 0) is (width < 200)


def test_names_of_usual_length_are_whole_in_their_rows_at_80_columns():
    (row,) = (line for line in printed(80) if line.strip().startswith(NAMES[0]))
    assert row.split() == [NAMES[0], INCOMPLETE, FORMULAS[0], "+0.0500,", "<", "0.001"]
