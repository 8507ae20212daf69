"""Pictures of heatmaps: true to them, readable in grey, and the same images that are measured."""

from __future__ import annotations

import itertools

import matplotlib
import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

import sycam
from sycam.cli import app
from sycam.data import demo
from sycam.data.images import ImageSet
from sycam.drawing.overlays import overlay
from sycam.drawing.style import COLOUR_MAPS, Style
from sycam.errors import OptionError, RunError
from sycam.metrics.removal.road import RoadMorf
from sycam.problem.explained_network import ExplainedNetwork
from sycam.problem.images import demo_images
from sycam.report.explain import explain

LUMA = np.array([0.2126, 0.7152, 0.0722])  # Rec. 709


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a small run."""
    folder = tmp_path_factory.mktemp("pictures") / "run"
    command = ["synthesize", "--metric", "iou", "--budget", "8", "--max-cost", "2", "--quiet"]
    command += ["--search-images", "12", "--heldout-images", "8", "--out", str(folder)]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    return folder


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


@pytest.mark.slow
def test_explain_draws_all_images_together_and_their_removal(run, tmp_path):
    command = ["explain", str(run), "--out", str(tmp_path), "--together", "--animate"]
    done = CliRunner().invoke(app, [*command, "--method", "grad-cam", "--colour-map", "viridis"])
    assert done.exit_code == 0, done.output
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        *(f"heldout-{i}.gif" for i in range(6)),
        "images.png",
    ]
    with Image.open(tmp_path / "heldout-0.gif") as picture:
        assert (picture.n_frames, picture.info["loop"]) == (10, 0)  # 0 to 90 % removed, for ever
        frames = []
        for k in range(picture.n_frames):
            picture.seek(k)
            frames.append(np.asarray(picture.convert("RGB")).astype(int))
    for before, after in itertools.pairwise(frames):
        assert np.abs(before - after).max() > 50


def test_a_result_plots_itself(run, tmp_path):
    result = sycam.load(run)
    for kind in ("leaderboard", "front", "heldout"):
        assert result.plot(kind)._repr_png_().startswith(b"\x89PNG")
    assert result.plot().save(tmp_path / "board.svg").read_text().startswith("<?xml")
    (axis,) = result.plot().figure.axes
    shown = [label.get_text() for label in axis.get_yticklabels()]
    assert shown == [row.name for row in result.validation.rows]
    with pytest.raises(OptionError, match=r"ends in '.bmp2', .* expected one of .*\.png"):
        result.plot().save(tmp_path / "board.bmp2")
    with pytest.raises(OptionError, match="'pie' is not known; expected leaderboard, front"):
        result.plot("pie")


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
