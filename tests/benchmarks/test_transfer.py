"""The transfer matrix: unseen images, paired differences to the best published, a table."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

import sycam
from sycam.data.near_copies import near
from sycam.errors import UnknownNameError
from sycam.methods import shown_methods
from sycam.methods.method import RIVALS
from sycam.problem.images import demo_images, divide
from sycam.scoring.statistics import mean_interval

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / os.environ.get("SYCAM_DATA", "../shared/data")
needs_data = pytest.mark.skipif(
    not DATA.is_dir(), reason=f"no real networks and images at {DATA}; set SYCAM_DATA"
)


@pytest.fixture(scope="module")
def transfer(benchmark_file):
    return benchmark_file("transfer")


@pytest.mark.slow
def test_cells_are_paired_differences_to_the_best_published(transfer, tmp_path, capsys):
    transfer.main(
        ["--subjects", "demo", "--metrics", "deletion,energy-pointing-game", "--count", "6",
         "--winner", "demo=smooth(G)", "--out", str(tmp_path / "cells.json"), "mean(G)"]
    )  # fmt: skip
    cells = json.loads((tmp_path / "cells.json").read_text())
    assert [(c["metric"], c["formula"], c["found_on"]) for c in cells] == [
        ("deletion", "smooth(G)", ["demo"]), ("deletion", "mean(G)", []),
        ("energy-pointing-game", "smooth(G)", ["demo"]), ("energy-pointing-game", "mean(G)", []),
    ]  # fmt: skip
    images = transfer.SUBJECTS["demo"].images(6, 50, 0, False)
    rivals = [m for m in shown_methods() if m.kind in RIVALS]
    table = sycam.evaluate("demo", "auto", images, [*rivals, "smooth(G)"], ["deletion"])
    best = min(rivals, key=lambda m: table.cells[m.name, "deletion"].mean).name  # lower is better
    assert cells[0]["published"] == best
    gain = table.scores[best, "deletion"] - table.scores["smooth(G)", "deletion"]
    assert cells[0]["difference"]["mean"] == pytest.approx(mean_interval(gain).mean, abs=1e-6)
    assert cells[0]["differences"] == pytest.approx(gain.tolist(), abs=1e-6)
    said = capsys.readouterr().out
    assert "| deletion | demo (n=6) | better, worse |" in said
    assert said.count("\n| `smooth(G)` |") == 2  # once per metric
    assert said.count("| demo | `smooth(G)` |") == 2


def cell(transfer, subject, formula, low, high, found_on=(), differences=()):
    difference = transfer.Interval((low + high) / 2, low, high)
    return transfer.Cell(
        "road", subject, formula, found_on, 9, 0.3, "cam", 0.25, difference, differences
    )


def test_the_table_marks_what_is_better_worse_and_at_home(transfer, tmp_path):
    cells = [
        cell(transfer, "demo", "G", 0.1, 0.2, ("demo",)),
        cell(transfer, "busi", "G", -0.2, -0.1, ("demo",)),
        cell(transfer, "demo", "A", -0.1, 0.1), cell(transfer, "busi", "A", 0.1, 0.2),
    ]  # fmt: skip
    rows = transfer.matrix(cells, "road").splitlines()
    assert rows[0] == "| road | demo (n=9) | busi (n=9) | better, worse |"
    assert rows[2] == "| best published | cam 0.250 | cam 0.250 |  |"
    assert rows[3].split(" | ")[1:] == [
        "**+0.150 (+0.100 to +0.200)** †", "[-0.150 (-0.200 to -0.100)]", "1, 1 of 2 |"
    ]  # fmt: skip
    assert rows[4].split(" | ")[1:] == [
        "+0.000 (-0.100 to +0.100)", "**+0.150 (+0.100 to +0.200)**", "1, 0 of 2 |"
    ]  # fmt: skip

    transfer.draw(cells, ["road"], tmp_path / "heat.png")
    assert (tmp_path / "heat.png").stat().st_size > 5000


def test_the_own_winner_is_compared_with_the_mean_of_others_image_by_image(transfer):
    home = np.array([0.3, 0.1, 0.2, 0.4])
    others = np.array([[0.2, 0.0, 0.0, 0.2], [0.0, 0.0, 0.2, 0.2]])
    cells = [
        cell(transfer, "demo", "G", 0.2, 0.3, ("demo", "busi"), tuple(home)),
        cell(transfer, "demo", "A", 0.0, 0.2, ("squeezenet",), tuple(others[0])),
        cell(transfer, "demo", "A * G", 0.5, 0.6, ("mobilenet",), tuple(others[1])),
        cell(transfer, "demo", "exp(G)", 0.9, 1.0, (), (1.0,) * 4),  # found nowhere: no winner
    ]
    row = transfer.at_home(cells, "road", seed=0).splitlines()[2].split(" | ")
    gain = mean_interval(home - others.mean(0), 0)
    assert row[0] == "| demo"
    assert row[1:] == [
        "`G`", "**+0.250 (+0.200 to +0.300)**",
        f"{gain.mean:+.3f} ({gain.low:+.3f} to {gain.high:+.3f})", "2 of 3 |",  # of four images
    ]  # fmt: skip


@pytest.mark.slow
def test_a_winner_is_searched_for_on_search_images(transfer, capsys):
    arguments = ["--find", "12", "--subjects", "demo", "--search-metric", "iou", "--metrics", "iou"]
    transfer.main([*arguments, "--search-images", "8", "--count", "6"])
    said = capsys.readouterr().out
    winner = transfer.SUBJECTS["demo"].winner("iou", "12", 8, 0)
    assert said.startswith(f"demo: {winner}, found in ")
    assert f"| demo | `{winner}` |" in said
    assert "| no other winner | 1 of 1 |" in said


def test_formulas_are_read_and_subjects_known(transfer):
    given = transfer.formulas_of(["busi=mean( G )", "demo=mean(G)"], ["relu(G)", "mean(G)"])
    assert given == {"mean(G)": ("busi", "demo"), "relu(G)": ()}
    for subjects in transfer.formulas_of([], []).values():
        assert set(subjects) <= set(transfer.SUBJECTS)
    with pytest.raises(UnknownNameError, match="did you mean 'busi'"):
        transfer.formulas_of(["bussi=G"], [])
    with pytest.raises(UnknownNameError, match="did you mean 'demo'"):
        transfer.main(["--subjects", "dem", "G"])


@pytest.mark.data
@needs_data
@pytest.mark.parametrize("with_object", [False, True])
def test_no_image_that_a_search_has_seen_is_scored(transfer, with_object):
    subject = transfer.SUBJECTS["magnetic_tile"]
    searched, _ = divide(subject.load(), 4, 20, 3, with_object)
    unseen = subject.images(1000, 20, 3, with_object)
    assert not set(unseen.digests) & set(searched.digests)
    assert not near(unseen.looks, searched.looks).any()
    images = subject.load()
    copies = near(images.looks, searched.looks)  # of themselves, too
    distinct = {d for d, copy in zip(images.digests, copies, strict=True) if not copy}
    assert set(unseen.digests) == distinct


@pytest.mark.slow
def test_the_demos_held_out_scenes_are_not_its_search_scenes(transfer):
    scored = set(transfer.SUBJECTS["demo"].images(256, 50, 0, False).digests)
    assert len(scored) == 256
    assert not scored & set(demo_images("search", 256, 0).digests)


@pytest.mark.data
@needs_data
def test_boxes_become_masks_at_the_networks_size(transfer):
    images = transfer.validation_images(160)
    assert images.images.shape == (200, 3, 160, 160)
    assert images.masks.flatten(1).any(1).all()
    second = images.masks[1].nonzero()  # its only box: 76.7 4.8 215.6 226.4 on 227 pixels
    assert second.min(0).values.tolist() == [3, 54]
    assert (second.max(0).values + 1).tolist() == [160, 152]
    assert int(images.masks[1].sum()) == 157 * 98
    assert torch.equal(images.labels[:2], torch.tensor([472, 355]))
