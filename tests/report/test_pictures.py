"""Pictures of heatmaps with the ground truth in them, and heatmaps as plain files."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image
from typer.testing import CliRunner

import sycam
from sycam.cli import app
from sycam.data import demo
from sycam.data.images import load_files, open_images
from sycam.data.preprocessing import Preprocessing
from sycam.drawing.headings import in_lines, shortened
from sycam.drawing.overlays import PLAIN, draw_image, overlay
from sycam.drawing.style import Style
from sycam.errors import OptionError, UnknownNameError
from sycam.problem.explained_network import ExplainedNetwork
from sycam.problem.images import demo_images
from sycam.report.pictures.explain import columns_of, explain
from sycam.report.pictures.image_rows import image_rows, recorded_figures
from sycam.report.pictures.saved import distinct_stems
from sycam.runs.checking.recorded import recorded_heldout

GREY = 128
READING = Preprocessing(mean=demo.MEAN, std=demo.STD, channels=len(demo.MEAN))


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    """A folder of images and one of their masks; that of ``2.png`` marks nothing."""
    folder = tmp_path_factory.mktemp("scenes")
    images = demo_images("search", 16, 0)
    for i, mask in enumerate(images.masks.numpy()):
        for name, pixels in (("images", images.picture(i)), ("masks", mask * np.uint8(255))):
            (folder / name).mkdir(exist_ok=True)
            Image.fromarray(pixels * (name == "images" or i != 2)).save(folder / name / f"{i}.png")
    return folder


@pytest.fixture(scope="module")
def run(scenes, tmp_path_factory):
    """The folder of a small run on them, and its command."""
    out = tmp_path_factory.mktemp("run") / "run"
    command = ["synthesize", "--network", "demo", "--images", str(scenes / "images")]
    command += ["--masks", str(scenes / "masks"), "--metric", "iou", "--budget", "6"]
    command += ["--max-cost", "1", "--search-images", "7", "--heldout-images", "8", "--quiet"]
    command += ["--out", str(out)]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    return out, command


def outlined(mask):
    """A grey image of 64×64 with a mask's contour on it, 4 pixels of the drawing to one."""
    figure = Figure(figsize=(2.56, 2.56), dpi=100)
    FigureCanvasAgg(figure)
    axis = figure.add_axes((0, 0, 1, 1), **PLAIN)
    draw_image(axis, np.full((64, 64, 3), GREY, np.uint8), mask)
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba())[..., 0].astype(int)


def test_the_contour_lies_on_the_edges_of_each_part_in_dark_and_light():
    mask = np.zeros((64, 64), bool)
    mask[8:24, 8:24] = mask[40:56, 30:64] = True
    mask[12:16, 12:16] = False
    drawn = outlined(mask)
    changed = np.abs(drawn - GREY) > 8
    large = mask.repeat(4, 0).repeat(4, 1)
    edges = np.zeros_like(large)
    for axis in (0, 1):
        flips = np.diff(large.astype(int), axis=axis) != 0
        edges |= np.pad(flips, [(0, 1) if a == axis else (0, 0) for a in (0, 1)])
    near = np.lib.stride_tricks.sliding_window_view(np.pad(edges, 4), (9, 9)).any((2, 3))
    near[:, -4:] |= large[:, -4:]  # what reaches the image's edge is closed there
    assert not (changed & ~near).any()
    for y, x in ((32, 60), (60, 32), (96, 60), (60, 96), (50, 56), (160, 200), (190, 253)):
        around = drawn[y - 4 : y + 5, x - 4 : x + 5]
        assert around.min() < 100 < 170 < around.max(), (y, x)
    assert (outlined(np.zeros((64, 64), bool)) == GREY).all()
    whole = outlined(np.ones((64, 64), bool))
    assert (whole[16:-16, 16:-16] == GREY).all()
    for side in (whole[0], whole[-1], whole[:, 0], whole[:, -1]):
        assert (np.abs(side - GREY) > 8).mean() > 0.95


def test_pictures_that_fail_are_one_warning_and_lose_no_table(run, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(run[0], folder)
    shutil.rmtree(folder / "gallery")
    (folder / "gallery").write_text("in the way")
    (folder / "overview.png").unlink()
    (folder / "overview.png").mkdir()
    (folder / "report.html").unlink()  # a finished run is drawn again where it has no page
    done = CliRunner().invoke(app, [*run[1][:-1], str(folder)])
    assert done.exit_code == 0, done.output
    (warning,) = [line for line in done.stderr.splitlines() if "warning" in line]
    assert "not drawn: heatmaps on held-out images" in warning
    assert "the gallery" in warning
    assert "grad-cam" in done.stdout
    assert (folder / "report.html").is_file()


def test_overlays_heatmaps_and_numbers_are_files_named_after_the_image(run, scenes, tmp_path):
    files = [str(scenes / "images" / f"{i}.png") for i in (0, 3)]
    command = ["explain", str(run[0]), *files, "--save", "overlay,heatmap,npy"]
    done = CliRunner().invoke(app, [*command, "--colour-map", "gray", "--out", str(tmp_path)])
    assert done.exit_code == 0, done.output
    made = sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*.*"))
    kinds = ("heatmap/{}.png", "npy/{}.npy", "overlay/{}.png")
    assert made == [kind.format(i) for kind in kinds for i in (0, 3)]
    assert done.stdout.split() == [str(tmp_path / k.format(i)) for i in (0, 3) for k in
                                   ("overlay/{}.png", "heatmap/{}.png", "npy/{}.npy")]  # fmt: skip
    result = sycam.load(run[0])
    images = load_files(files, READING)
    cam = result.best.cam(demo.network(), result.record.network.layers[0])
    expected = cam(images.images).numpy()
    for i, name in enumerate((0, 3)):
        heatmap = np.load(tmp_path / "npy" / f"{name}.npy", allow_pickle=False)
        assert (heatmap.dtype, heatmap.shape) == (np.float32, (64, 64))
        np.testing.assert_allclose(heatmap, expected[i], atol=1e-4)
        grey = np.asarray(Image.open(tmp_path / "heatmap" / f"{name}.png"))
        np.testing.assert_allclose(grey[..., 0] / 255, heatmap, atol=1 / 255)
        shown = np.asarray(Image.open(tmp_path / "overlay" / f"{name}.png"))
        style = Style("gray")
        np.testing.assert_array_equal(shown, overlay(images.picture(i), heatmap, style))


def test_several_methods_are_saved_in_a_folder_each(run, scenes, tmp_path):
    result, file = sycam.load(run[0]), scenes / "images" / "0.png"
    methods = ["grad-cam", "relu(G) * A"]
    made = explain(result, [file], out=tmp_path, methods=methods, save=["npy"])
    assert made == [tmp_path / "npy" / name / "0.npy" for name in ("grad-cam", "relu_G_A")]
    for wrong, said in ((["pdf"], "'pdf'"), ([], "names no kind of file")):
        with pytest.raises((OptionError, UnknownNameError), match=said):
            explain(result, [file], out=tmp_path, save=wrong)
    with pytest.raises(OptionError, match=r"together=True is one picture .* add comparison"):
        explain(result, [file], out=tmp_path, together=True, save=["npy"])


def test_masks_of_the_runs_own_folder_are_drawn_on_files_of_it(run, scenes, tmp_path):
    source = open_images(scenes / "images", masks=scenes / "masks")
    files = [scenes / "images" / f"{i}.png" for i in (0, 2)]
    told = load_files(files, READING, [source])
    assert told.marked == [0]
    torch.testing.assert_close(told.masks[0], demo_images("search", 1, 0).masks[0])
    (tmp_path / "elsewhere.png").write_bytes(files[0].read_bytes())
    mixed = [files[0], tmp_path / "elsewhere.png"]
    assert load_files(mixed, READING, [source]).masks is None
    result, notes = sycam.load(run[0]), []
    broken, file = scenes / "masks" / "1.png", scenes / "images" / "1.png"
    whole = broken.read_bytes()
    try:
        Image.new("L", (9, 9)).save(broken)
        made = explain(result, [file], out=tmp_path, notify=lambda event: notes.append(event.text))
    finally:
        broken.write_bytes(whole)
    assert made[0].is_file()
    assert len(notes) == 1
    assert "no ground truth is drawn: mask" in notes[0]


def test_a_note_says_that_the_network_is_not_the_runs(run, scenes, tmp_path):
    result, file, notes = sycam.load(run[0]), scenes / "images" / "0.png", []
    other = demo.network()
    with torch.no_grad():
        next(other.parameters()).mul_(1.01)
    for network in (None, other):
        explain(result, [file], network, out=tmp_path, save=["npy"], notify=notes.append)
    assert ["something else than the run's network" in note.text for note in notes] == [True]


def test_figures_on_pictures_are_those_of_the_run(run):
    """What is measured again agrees with what is on record."""
    result = sycam.load(run[0])
    images = recorded_heldout(result, "demo")
    explained = ExplainedNetwork.prepare("demo", result.record.network.layers, images)
    columns, places = columns_of(result), [0, 1, 5]
    kept = recorded_figures(result, columns, places)
    assert kept.keys() == {"iou"}
    some = images.subset(places)
    recorded = image_rows(explained, some, columns, result, kept)
    measured = image_rows(explained, some, columns, result)
    assert [row.figures for row in recorded] == [row.figures for row in measured]
    assert recorded[0].figures["grad-cam"].startswith("iou 0.")
    assert [row.truth for row in measured] == ["contour: ground truth"] * 3
    assert recorded_figures(result, {"relu(G)": "relu(G)"}, places) is None
    assert recorded_figures(result, columns, [1000]) is None


@pytest.mark.slow
def test_explain_draws_all_images_together_and_their_removal(run, tmp_path):
    command = ["explain", str(run[0]), "--out", str(tmp_path), "--together", "--animate"]
    done = CliRunner().invoke(app, [*command, "--method", "grad-cam", "--colour-map", "viridis"])
    assert done.exit_code == 0, done.output
    names = recorded_heldout(sycam.load(run[0]), "demo").names[:6]
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        *sorted(f"{Path(name).stem}.gif" for name in names),
        "images.png",
    ]
    with Image.open(tmp_path / f"{Path(names[0]).stem}.gif") as picture:
        assert (picture.n_frames, picture.info["loop"]) == (10, 0)  # 0 to 90 % removed, for ever
        frames = []
        for k in range(picture.n_frames):
            picture.seek(k)
            frames.append(np.asarray(picture.convert("RGB")).astype(int))
    for before, after in itertools.pairwise(frames):
        assert np.abs(before - after).max() > 50


def test_a_result_plots_itself(run, tmp_path):
    result = sycam.load(run[0])
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


def test_long_names_are_cut_between_words_and_shortened_in_the_middle():
    formula = "smooth(cam[layer4.2.conv3](relu(mean(G) * symlog(A))))"
    assert in_lines(formula).split("\n")[0] == "smooth("
    assert "".join(in_lines(formula).split()) == formula.replace(" ", "")
    layer = "blocks.8._project_conv.static_padding"
    assert max(map(len, in_lines(f"grad-cam@{layer}").split("\n"))) < 26
    assert "".join(in_lines(f"grad-cam@{layer}").split()) == f"grad-cam@{layer}"
    assert in_lines("mean(relu(G)) * max(A)", 16) == "mean(relu(G)) *\nmax(A)"
    assert shortened("ILSVRC2012_val_00000347_0001.JPEG", 20) == "ILSVRC2012…0001.JPEG"
    assert shortened("short.png", 20) == "short.png"


def test_no_two_images_share_a_file():
    """The third would have been ``a-2`` as well."""
    assert distinct_stems(["x/a.png", "a-2.png", "y/a.png", "a.jpg"]) == ["a", "a-2", "a-3", "a-4"]
