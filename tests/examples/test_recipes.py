"""The recipes of networks that return no classes, at small size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
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
def test_torchvisions_deeplab(load, torchvision, photos, tmp_path):
    explained(load, "deeplab", photos, tmp_path / "out.png")
