"""The transfer matrix: unseen images, paired differences to the best published, a table."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from pathlib import Path

import pytest
import torch

import sycam
from sycam.errors import UnknownNameError
from sycam.inputs import demo_images, divide
from sycam.methods import scored_along
from sycam.validation import PUBLISHED, mean_interval

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / os.environ.get("SYCAM_DATA", "../shared/data")
needs_data = pytest.mark.skipif(
    not DATA.is_dir(), reason=f"no real networks and images at {DATA}; set SYCAM_DATA"
)


@pytest.fixture(scope="module")
def transfer():
    spec = importlib.util.spec_from_file_location("transfer", ROOT / "benchmarks" / "transfer.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["transfer"] = module  # where its dataclasses look their annotations up
    spec.loader.exec_module(module)
    yield module
    del sys.modules["transfer"]


def test_cells_are_paired_differences_to_the_best_published(transfer, tmp_path, capsys):
    transfer.main(
        ["--subjects", "demo", "--metrics", "deletion,energy-pointing-game", "--count", "6",
         "--winner", "demo=smooth(G)", "--out", str(tmp_path / "cells.json"), "mean(G)"]
    )  # fmt: skip
    cells = json.loads((tmp_path / "cells.json").read_text())
    assert [(c["metric"], c["formula"], c["found_on"]) for c in cells] == [
        ("deletion", "smooth(G)", "demo"), ("deletion", "mean(G)", ""),
        ("energy-pointing-game", "smooth(G)", "demo"), ("energy-pointing-game", "mean(G)", ""),
    ]  # fmt: skip
    images = transfer.SUBJECTS["demo"].images(6, 50, 0, False)
    rivals = [m for m in scored_along() if m.kind in PUBLISHED]
    table = sycam.evaluate("demo", "auto", images, [*rivals, "smooth(G)"], ["deletion"])
    best = min(rivals, key=lambda m: table.cells[m.name, "deletion"].mean).name  # lower is better
    assert cells[0]["published"] == best
    gain = table.scores[best, "deletion"] - table.scores["smooth(G)", "deletion"]
    assert cells[0]["difference"]["mean"] == pytest.approx(mean_interval(gain).mean, abs=1e-6)
    said = capsys.readouterr().out
    assert "| deletion | demo (n=6) | better, worse |" in said
    assert said.count("`smooth(G)`") == 2


def test_the_table_marks_what_is_better_worse_and_at_home(transfer):
    def cell(subject, formula, low, high, found_on=""):
        difference = transfer.Interval((low + high) / 2, low, high)
        return transfer.Cell("road", subject, formula, found_on, 9, 0.3, "cam", 0.25, difference)

    rows = transfer.matrix(
        [cell("demo", "G", 0.1, 0.2, "demo"), cell("busi", "G", -0.2, -0.1, "demo"),
         cell("demo", "A", -0.1, 0.1), cell("busi", "A", 0.1, 0.2)], "road"
    ).splitlines()  # fmt: skip
    assert rows[0] == "| road | demo (n=9) | busi (n=9) | better, worse |"
    assert rows[2] == "| best published | cam 0.250 | cam 0.250 |  |"
    assert rows[3].split(" | ")[1:] == [
        "**+0.150 (+0.100 to +0.200)** †", "[-0.150 (-0.200 to -0.100)]", "1, 1 of 2 |"
    ]  # fmt: skip
    assert rows[4].split(" | ")[1:] == [
        "+0.000 (-0.100 to +0.100)", "**+0.150 (+0.100 to +0.200)**", "1, 0 of 2 |"
    ]  # fmt: skip


def test_formulas_are_read_and_subjects_known(transfer):
    given = transfer.formulas_of(["busi=mean( G )"], ["relu(G)"])
    assert given == {"mean(G)": "busi", "relu(G)": ""}
    assert set(transfer.formulas_of([], []).values()) <= set(transfer.SUBJECTS)
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
    assert len(unseen) == len(set(subject.load().digests)) - 20


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
