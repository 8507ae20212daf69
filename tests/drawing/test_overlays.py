"""Pictures of heatmaps: true to them, readable in grey, and the same images that are measured."""

from __future__ import annotations

from itertools import combinations

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

import sycam
from sycam.data import demo
from sycam.data.images import ImageSet
from sycam.drawing.overlays import PLAIN, ImageRow, draw_image, grid_figure, overlay
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


def test_the_title_touches_no_heading_and_no_row_another():
    """It stood on a heading of three lines, and the name of a layer went beyond the picture."""
    layer = "grad-cam@blocks.8._project_conv.static_padding"
    long = "smooth(smooth(relu(symsqrt(G / (abs(min(G)) * sum(A)))))) + smooth(relu(G) * max(A))"
    row = ImageRow(
        np.zeros((32, 32, 3), np.uint8), "heldout[3]\nclass 4 (99%)",
        {name: np.zeros((32, 32), np.float32) for name in (long, layer)},
        {layer: "iou 1"},
    )  # fmt: skip
    for title in ("iou of the winner on held-out images: 0.487", "a long title " * 20):
        figure = grid_figure([row, row], title)
        figure.draw_without_rendering()
        axes = figure.axes
        titles = [text for text in figure.texts if text.get_text().startswith(title[:20])]
        texts = [*titles, *(t for a in axes for t in (a.title, a._left_title, a.xaxis.label))]
        boxes = [text.get_window_extent() for text in texts if text.get_text()]
        assert len(titles) == 1
        assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))
        assert all(box.y0 >= 0 and box.y1 <= figure.bbox.height for box in boxes)
        assert all(box.x0 >= 0 and box.x1 <= figure.bbox.width for box in boxes)


def test_each_box_has_an_outline_of_its_own():
    """Boxes that overlap were drawn as their union."""
    boxes = np.array([(4.0, 4.0, 20.0, 20.0), (10.0, 10.0, 28.0, 30.0)])
    mask = np.zeros((32, 32), bool)
    mask[4:20, 4:20] = mask[10:30, 10:28] = True
    picture = np.full((32, 32, 3), 128, np.uint8)

    def drawn(boxes):
        figure = Figure(figsize=(3.2, 3.2), dpi=100)  # ten pixels of the drawing to one
        FigureCanvasAgg(figure)
        axis = figure.add_axes((0, 0, 1, 1), **PLAIN)
        draw_image(axis, picture, mask, "", boxes)
        figure.canvas.draw()
        return np.asarray(figure.canvas.buffer_rgba())[..., 0]

    apart, union = drawn(boxes), drawn(None)
    within = np.s_[195:205, 140:160]  # the lower edge of the first, inside the second
    assert np.ptp(apart[within].astype(int)) > 100
    assert np.ptp(union[within].astype(int)) == 0
    outer = np.s_[35:45, 60:100]  # an edge that both have
    for one in (apart[outer], union[outer]):
        assert one.min() < 100 < 170 < one.max()  # as tests/report/test_pictures.py has it
    row = ImageRow(picture, "", {}, mask=mask, boxes=boxes)
    assert row.truth == "outlines: ground truth, 2 boxes"
    assert ImageRow(picture, "", {}, mask=mask).truth == "contour: ground truth"
