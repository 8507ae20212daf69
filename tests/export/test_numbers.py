"""Numbers in exported modules: the engine's own heatmaps, eager and from the printed source."""

from __future__ import annotations

import importlib.util

import pytest
import torch

import sycam
from sycam.export import TARGETS
from sycam.language import parse


@pytest.mark.parametrize(
    "text",
    [
        "0.37 * mean(G) + max(A)",
        "mean(above(A, 1.7)) - 0.37 * std(G) / 3",
        "-1e-3 * G + 0.5 * A",
        "exp(12.5 * mean(G)) * 0.37 + 0.37",
    ],
)
def test_an_exported_formula_with_numbers_agrees_with_the_engine(
    text, tmp_path, small_network, small_images
):
    path = tmp_path / "some_cam.py"
    path.write_text(TARGETS["torch"].source(parse(text), "SomeCAM"))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found = module.SomeCAM(small_network, "3")(small_images)
    expected = sycam.CAM(small_network, "3", text)(small_images)
    assert expected.amax((1, 2)).gt(0).any()
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    assert str(parse(text)) in module.__doc__
