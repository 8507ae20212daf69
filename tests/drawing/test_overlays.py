"""Pictures of heatmaps: true to them, readable in grey, and the same images that are measured."""

from __future__ import annotations

import matplotlib
import numpy as np
import pytest
import torch
from PIL import Image

import sycam
from sycam.data import demo
from sycam.data.images import ImageSet
from sycam.drawing.overlays import overlay
from sycam.drawing.style import COLOUR_MAPS, Style
from sycam.errors import OptionError, RunError
from sycam.metrics.removal.road import RoadMorf
from sycam.problem.explained_network import ExplainedNetwork
from sycam.problem.images import demo_images
from sycam.report.pictures.explain import explain

LUMA = np.array([0.2126, 0.7152, 0.0722])  # Rec. 709


@pytest.mark.parametrize("name", COLOUR_MAPS)
def test_more_heat_is_lighter_in_grey(name):
    colours = matplotlib.colormaps[name](np.linspace(0, 1, 101))[:, :3]
    assert (np.diff(colours @ LUMA) > 0).all()
    heat = np.linspace(0, 1, 51)[None]
    picture = np.full((1, 51, 3), 90, dtype=np.uint8)
    drawn = overlay(picture, heat, Style(name, opacity=1.0))
    assert (np.diff(drawn[0] @ LUMA) > -1).all()  # rounded to whole numbers


def test_opacity_says_how_much_of_the_image_is_left():
    pictures = np.zeros((4, 4, 3), dtype=np.uint8), np.full((4, 4, 3), 255, dtype=np.uint8)
    left = []
    for opacity in (0.3, 1.0):
        dark, bright = (overlay(p, np.ones((4, 4)), Style(opacity=opacity)) for p in pictures)
        left.append(int(bright.max()) - int(dark.max()))
    assert left[0] > left[1]
    np.testing.assert_array_equal(bright, dark)  # where it is hottest nothing is left
    for wrong in ({"opacity": 0.0}, {"opacity": 1.5}, {"opacity": float("nan")}):
        with pytest.raises(OptionError, match="opacity must be above 0 and at most 1"):
            Style(**wrong)
    with pytest.raises(OptionError, match=r"colour map 'jet' is not known; expected .* viridis"):
        Style("jet")


def test_the_images_shown_are_those_that_the_network_saw():
    """What ``images_without`` shows has the probabilities of the curve."""
    images = demo_images("heldout", 3, 0)
    explained = ExplainedNetwork.prepare("demo", demo.LAYER, images)
    _, context = explained.measure(images)
    generator = torch.Generator().manual_seed(0)
    maps = torch.rand(2, 3, *context.size, generator=generator)
    metric = RoadMorf()
    shown = metric.images_without(maps, context)
    assert shown.shape == (2, 3, 9, *images.images.shape[1:])
    targets = context.targets[None, :, None].expand(2, 3, 9).flatten()
    again = context.classifier.probability(shown.flatten(0, 2), targets).view(2, 3, 9)
    fades = metric.curves(maps, context)["morf"]
    torch.testing.assert_close(again - context.clean[:, None], fades, rtol=0, atol=1e-5)
    changed = (shown != images.images[:, None]).any(3).flatten(3).float().mean(-1)
    expected = torch.tensor([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1])
    torch.testing.assert_close(changed, expected.expand(2, 3, 9), rtol=0, atol=0.01)


def test_files_are_not_explained_by_a_run_on_tensors(tmp_path):
    """How a file becomes one of its images is not on record: the heatmap would be another's."""
    images = ImageSet.from_arrays(demo_images("search", 16, 0).images)
    network = demo.network()
    result = sycam.synthesize(
        network, demo.LAYER, images, metric="average-drop", budget=5, max_cost=1,
        search_images=8, heldout=8, out=tmp_path / "run",
    )  # fmt: skip
    Image.new("RGB", (64, 64)).save(tmp_path / "photo.png")
    with pytest.raises(RunError, match="how a file becomes one of them is not on record"):
        explain(result, [tmp_path / "photo.png"], network)
    with pytest.raises(RunError, match="given from Python: name at least one image file"):
        explain(result, network=network)
