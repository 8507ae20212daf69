"""The recipes of networks that return no classes, at small size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "detectors_segmentation_clip.py"


@pytest.fixture
def photos(tmp_path) -> list[str]:
    draw = np.random.default_rng(0)
    files = [tmp_path / f"{i}.png" for i in range(2)]
    for file in files:
        pixels = draw.integers(0, 255, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((96, 96)).save(file)
    return [str(file) for file in files]


def explained(load, recipe: str, photos: list[str], out: Path) -> None:
    options = ["--size", "64", "--out", str(out)]
    table = load(EXAMPLE).main([recipe, *photos, *options])
    grad_cam = table.scores["grad-cam", "top-k-drop"]
    assert np.isfinite(grad_cam).all()
    assert np.abs(grad_cam).max() > 0  # the target answers to what is removed
    with Image.open(out) as picture:
        assert picture.size == (128, 64)


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["yolo", "clip"])
def test_a_small_module_of_the_form(load, photos, tmp_path, recipe):
    explained(load, recipe, photos, tmp_path / "out.png")


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["faster-rcnn", "deeplab"])
def test_a_network_of_torchvision(load, torchvision, photos, tmp_path, recipe):
    explained(load, recipe, photos, tmp_path / "out.png")


def test_the_box_is_the_surest_of_its_class_at_its_place(load, torchvision):
    row = {
        "boxes": torch.tensor([[0.0, 0, 10, 10], [50, 50, 60, 60], [1, 0, 11, 10]]),
        "labels": torch.tensor([1, 1, 2]),
        "scores": torch.tensor([0.4, 0.7, 0.9], requires_grad=True),
    }
    best_box, place = load(EXAMPLE).best_box, torch.tensor([2.0, 0, 12, 10])
    assert best_box(1)(row).item() == pytest.approx(0.7)
    assert best_box(1, place)(row).item() == pytest.approx(0.4)
    assert best_box(1, place, overlap=0.9)(row).item() == 0
    assert best_box(3)(row).requires_grad  # no box, yet a heatmap, blank


def test_non_maximum_suppression_of_these_tests(torchvision):
    """Against the definition, box by box; a build that fits has its own."""
    draw = torch.Generator().manual_seed(0)
    low = torch.rand(40, 2, generator=draw) * 20
    boxes = torch.cat([low, low + 1 + torch.rand(40, 2, generator=draw) * 12], 1)
    scores = torch.rand(40, generator=draw)
    overlaps, expected = torchvision.ops.box_iou(boxes, boxes), []
    for i in scores.argsort(descending=True).tolist():
        if all(overlaps[i, j] <= 0.3 for j in expected):
            expected.append(i)
    assert torchvision.ops.nms(boxes, scores, 0.3).tolist() == expected
    assert 3 < len(expected) < 40
