"""Masks and their scores: against definitions by hand, and whole commands."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

import sycam
from sycam.applications import segment, segmentation_scores
from sycam.applications.segmentation.options import MaskOptions
from sycam.applications.segmentation.prediction import masks_of
from sycam.applications.segmentation.scores import best_threshold, overlaps, rows_of
from sycam.applications.segmentation.segmenter import AME
from sycam.cli import app
from sycam.errors import DataError, OptionError, RunError, SycamError


def borders(mask: np.ndarray) -> list[tuple[int, int]]:
    """Pixels of a mask with a neighbour outside, or at the edge of the image."""
    height, width = mask.shape
    return [
        (y, x)
        for y, x in zip(*mask.nonzero(), strict=True)
        if any(
            not (0 <= y + dy < height and 0 <= x + dx < width and mask[y + dy, x + dx])
            for dy, dx in ((0, 1), (1, 0), (0, -1), (-1, 0))
        )
    ]


def test_overlaps_are_those_of_their_definitions():
    rng = np.random.default_rng(0)
    found = rng.random((6, 9, 11)) < 0.3
    masks = rng.random((6, 9, 11)) < 0.3
    found[0] = False  # nothing found: as far away as can be
    ours = overlaps(found, masks)
    for i in range(6):
        both, either = (found[i] & masks[i]).sum(), (found[i] | masks[i]).sum()
        assert ours["dice"][i] == pytest.approx(2 * both / (found[i].sum() + masks[i].sum()))
        assert ours["iou"][i] == pytest.approx(both / either)
        a, b = borders(found[i]), borders(masks[i])
        expected = math.hypot(9, 11)
        if a:
            expected = max(
                np.percentile([min(math.dist(p, q) for q in there) for p in here], 95)
                for here, there in ((a, b), (b, a))
            )
        assert ours["hd95"][i] == pytest.approx(expected, rel=1e-6)


def test_the_gate_empties_masks_where_no_object_is_seen():
    heat, logits = np.full((2, 3, 3), 0.6), np.array([0.1, -0.1])
    assert masks_of(heat, logits, MaskOptions()).all((1, 2)).tolist() == [True, False]
    assert masks_of(heat, logits, MaskOptions(gated=False)).all()
    assert not masks_of(heat, logits, MaskOptions(threshold=0.7)).any()


def test_the_best_threshold_is_found():
    masks = np.zeros((3, 8, 8), bool)
    masks[:, 2:5, 2:5] = True
    heat = np.where(masks, 0.33, 0.21)
    assert best_threshold(heat, np.ones(3), masks, True) == (1.0, 0.25)


def test_rows_compare_with_ame_cam_image_by_image():
    rng = np.random.default_rng(1)
    masks = np.zeros((20, 8, 8), bool)
    masks[:, 2:6, 2:6] = True
    good = np.where(masks, 0.9, 0.1)
    bad = np.where(rng.random(masks.shape) < 0.3, 1 - good, good)
    rows = rows_of(
        {"bad": ("cam", bad), AME: ("exits", good)}, np.ones(20), masks, MaskOptions(), 0
    )
    assert [row.method for row in rows] == [AME, "bad"]
    assert rows[0].dice.mean == 1
    assert rows[0].against is None
    apart = rows[1].against
    assert apart.difference.mean == pytest.approx(1 - rows[1].dice.mean)
    assert apart.p_holm < 0.001
    assert rows[1].iou.mean < rows[1].dice.mean
    assert rows[1].scores == pytest.approx(overlaps(bad >= 0.5, masks)["dice"])


def test_scores_are_of_unseen_images_with_masks(trained, images, unseen, tmp_path):
    both = sycam.ImageSet.from_arrays(
        torch.cat([images.images, unseen.images]), masks=torch.cat([images.masks, unseen.masks])
    )
    cams = ["grad-cam", "layer-cam@stage1", "cam[stage1](relu(G)) + cam[stage2](G)"]
    result = segmentation_scores(trained, both, cams, out=tmp_path)
    assert (result.images, result.unmarked) == (10, 10)  # the others were trained on
    titles = {row.method for row in result.rows}
    assert {"grad-cam@stage2", *cams[1:], AME, "mean of exits", "exit at stage1"} <= titles
    shown = unseen.subset(unseen.marked)
    masks = segment(trained, shown).masks
    assert result.rows[0].dice.mean == pytest.approx(
        overlaps(masks, shown.masks.numpy())["dice"].mean()
    )
    cam = sycam.CAM(trained.classifier, "encoder.stage1", "layer-cam")(shown.images)
    seen = (trained.logits(shown.images) > 0)[:, None, None]
    theirs = overlaps(((cam >= 0.5) & seen).numpy(), shown.masks.numpy())["dice"]
    row = next(row for row in result.rows if row.method == "layer-cam@stage1")
    assert row.scores == pytest.approx(tuple(theirs))
    kept = json.loads((tmp_path / "segmentation.json").read_text())
    assert kept == json.loads(json.dumps(result.to_dict()))
    assert (tmp_path / "segmentation.png").stat().st_size > 5000
    assert len((tmp_path / "segmentation.csv").read_text().splitlines()) == 1 + 4 + 3
    assert "sees the object in" in str(result)


def test_masks_by_any_cam_are_kept(trained, unseen, tmp_path):
    result = segment(trained, unseen, "cam[stage1](relu(G))", threshold=0.3, out=tmp_path)
    assert result.method == "cam[stage1](relu(G))"
    with np.load(tmp_path / "masks.npz") as arrays:
        np.testing.assert_array_equal(arrays["masks"], result.masks)
    files = sorted((tmp_path / "masks").iterdir())
    assert len(files) == len(unseen)
    areas = sorted((np.asarray(Image.open(file)) == 255).mean() for file in files)
    assert areas == pytest.approx(sorted(row["area"] for row in result.table()))
    direct = segment(trained, unseen, "eigen-cam@stage1").heatmaps
    assert direct.shape == (len(unseen), 16, 16)


def test_what_cannot_be_used_is_said(trained, images, unseen):
    with pytest.raises(DataError, match="all 24 images were trained on"):
        segmentation_scores(trained, images)
    with pytest.raises(DataError, match="masks are what is judged by"):
        segmentation_scores(trained, unseen.images)
    with pytest.raises(DataError, match="trained on"):
        segment(trained, torch.rand(2, 3, 20, 20))
    with pytest.raises(OptionError, match="one CAM"):
        segment(trained, unseen, ["grad-cam", "layer-cam"])
    with pytest.raises(SycamError, match="stage9"):
        segment(trained, unseen, "grad-cam@stage9")
    with pytest.raises(RunError, match="no trained segmenter"):
        segment("nowhere", unseen)


def test_the_commands_train_predict_and_evaluate(tmp_path):
    """On the demo's scenes, with and without a digit."""

    def run(*arguments: str) -> dict:
        shown = CliRunner().invoke(app, ["segment", *arguments, "--json", "--quiet"])
        assert shown.exit_code == 0, shown.output
        return json.loads(shown.stdout)

    folder = str(tmp_path / "digits")
    trained = run("train", "--count", "24", "--epochs", "1", "--attention-epochs", "1",
                  "--simclr-epochs", "1", "--no-fine-tune", "--out", folder)  # fmt: skip
    assert [row["phase"] for row in trained["epochs"]] == ["simclr", "exits", "attention"]
    assert trained["settings"]["simclr_epochs"] == 1
    assert trained["layers"] == ["features.1", "features.5", "features"]
    assert (trained["images"], trained["shown"]) == (24, 12)
    found = run("predict", folder, "--count", "4", "--out", str(tmp_path / "found"))
    assert [one["image"] for one in found["images"]] == [f"heldout[{i}]" for i in range(4)]
    assert len(list((tmp_path / "found" / "masks").iterdir())) == 4
    csv = tmp_path / "t.csv"
    judged = run("evaluate", folder, "--count", "6", "--cam", "layer-cam@features.5",
                 "--csv", str(csv))  # fmt: skip
    assert (judged["images"], judged["unmarked"]) == (3, 3)
    methods = [row["method"] for row in judged["rows"]]
    assert methods[0] == AME
    assert "layer-cam@features.5" in methods
    assert len(csv.read_text().splitlines()) == 1 + len(methods)


def test_the_command_says_its_own_words(tmp_path):
    shown = CliRunner().invoke(app, ["segment", "train", "--batch", "1"])
    assert isinstance(shown.exception, OptionError)
    assert "--batch must" in str(shown.exception)
