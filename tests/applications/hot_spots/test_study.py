"""The whole call and the command: figures by hand, by another metric, and what is told of them."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from typer.testing import CliRunner

import sycam
from sycam.applications import AblationResult, ablate
from sycam.applications.hot_spots.ablation import DROP, FLIP, PARTS, SHIFTED_DROP
from sycam.applications.hot_spots.options import FILLS
from sycam.cli import app
from sycam.data.images import ImageSet, load_images
from sycam.errors import DataError, OptionError, RunError, UnknownNameError
from sycam.metrics.imputation.impute import impute_exact

ROOT = Path(__file__).resolve().parents[3]
METHODS = ("layer-cam", "mean(relu(G)) * max(A)")
QUICK = {"examples": 0, "shifts": 2}


def found(network, images, methods=METHODS, **options) -> AblationResult:
    return ablate(network, "3", images, methods, **{**QUICK, **options})


def column(result: AblationResult, name: str, method: str = METHODS[0]) -> np.ndarray:
    return result.parts[method][:, PARTS.index(name)]


def heatmaps(network, images, method=METHODS[0]) -> Tensor:
    return sycam.CAM(network, "3", method)(images)


@torch.no_grad()
def test_figures_are_those_of_a_plain_loop(small_network, small_images):
    result = found(small_network, small_images, threshold=0.4, smallest=0)
    hot = heatmaps(small_network, small_images) >= 0.4
    mean = small_images.mean((2, 3), keepdim=True)
    before = small_network(small_images).softmax(1)
    after = small_network(torch.where(hot[:, None], mean, small_images)).softmax(1)
    classes = before.argmax(1)
    lost = (before - after).gather(1, classes[:, None])[:, 0]
    np.testing.assert_allclose(column(result, DROP), lost, atol=1e-6)
    np.testing.assert_allclose(column(result, "area"), hot.float().mean((1, 2)), atol=1e-6)
    np.testing.assert_array_equal(column(result, FLIP), after.argmax(1) != classes)
    row = result.row("layer-cam")
    assert row.drop.mean == pytest.approx(float(lost.mean()), abs=1e-6)
    assert row.ablated.mean == pytest.approx(result.before - row.drop.mean)
    assert row.excess.difference.mean == pytest.approx(row.drop.mean - row.shifted_drop.mean)


@pytest.mark.parametrize("top", [5, 20])
def test_the_top_share_is_that_of_top_k_drop(small_network, small_images, top):
    result = found(small_network, small_images, top=top, smallest=0)
    metric = f"top-k-drop:share={top / 100},baseline=mean"
    table = sycam.evaluate(small_network, "3", small_images, METHODS, [metric])
    for method in METHODS:
        assert result.row(method).drop.mean == pytest.approx(
            table.cells[method, metric].mean, abs=1e-6
        )


@torch.no_grad()
def test_road_fills_as_its_linear_system_says(small_network, small_images, monkeypatch):
    monkeypatch.setattr("sycam.applications.hot_spots.ablation._NOISE", 0.0)
    result = found(small_network, small_images, fill="road", threshold=0.4, smallest=0)
    hot = heatmaps(small_network, small_images) >= 0.4
    before = small_network(small_images).softmax(1)
    after = small_network(impute_exact(small_images, hot)).softmax(1)
    lost = (before - after).gather(1, before.argmax(1)[:, None])[:, 0]
    np.testing.assert_allclose(column(result, DROP), lost, atol=2e-3)


def test_fills_differ_and_an_image_counts_on_its_own(small_network, small_images):
    drops = {}
    for fill in FILLS:
        result = found(small_network, small_images, fill=fill)
        drops[fill] = tuple(column(result, DROP))
        alone = found(small_network, small_images[3:5], fill=fill)
        for name in PARTS:
            np.testing.assert_allclose(column(alone, name), column(result, name)[3:5], atol=2e-6)
    assert len(set(drops.values())) == len(FILLS)


def test_an_image_without_regions_loses_nothing(small_network, small_images):
    result = found(small_network, small_images, smallest=60)
    assert result.row("layer-cam").without_regions == len(small_images)
    for name in PARTS:
        assert not column(result, name).any()
    assert "marks no region on 7 of 7 images" in str(result)


def test_a_map_of_one_place_loses_more_there_than_elsewhere():
    """A network that reads a single corner."""

    class Corner(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Identity()
            self.relu = nn.ReLU()

        def forward(self, images: Tensor) -> Tensor:
            seen = self.relu(self.body(images))[..., :4, :4].mean((1, 2, 3))
            return torch.stack([8 * seen - 2, 0 * seen], 1)

    images = 0.2 * torch.rand(9, 3, 16, 16, generator=torch.Generator().manual_seed(2))
    images[..., :4, :4] += 0.8
    result = ablate(Corner(), "relu", images, "hirescam", **QUICK)
    row = result.row("hirescam")
    assert row.drop.mean > 0.5
    assert abs(row.shifted_drop.mean) < 0.05
    assert row.flips.mean == 1
    assert row.excess.p_holm < 0.05
    assert column(result, SHIFTED_DROP, "hirescam").shape == (9,)


def test_of_a_callable_target_values_are_told_and_no_predictions(small_network, small_images):
    result = found(small_network, small_images, target=lambda row: row[1])
    assert np.isnan(column(result, FLIP)[column(result, "regions") > 0]).all()
    assert "changes the value by" in result.headlines[0]
    assert "predictions" not in str(result)
    assert json.dumps(result.to_dict())


def test_volumes(tmp_path):
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv3d(1, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 6 * 8 * 8, 3)
    )
    result = ablate(
        network, "1", torch.rand(3, 1, 6, 8, 8), "layer-cam", shifts=2, examples=2, out=tmp_path
    )
    assert 0 < result.row("layer-cam").area.mean < 1
    assert len(list((tmp_path / "images").glob("*.png"))) == 2


def test_masks_say_what_is_allowed(small_network, small_images):
    masks = torch.zeros(7, 16, 16, dtype=torch.bool)
    masks[:, :, 8:] = True
    result = found(small_network, small_images, masks=masks, allowed=True, smallest=0)
    hot = (heatmaps(small_network, small_images) >= 0.5) & masks
    np.testing.assert_allclose(column(result, "area"), hot.float().mean((1, 2)), atol=1e-6)
    with pytest.raises(DataError, match="mask"):
        found(small_network, small_images, allowed=True)


def test_a_picture_per_image(small_network, small_images, tmp_path):
    images = ImageSet.from_arrays(
        small_images, names=[f"a/{i}.png" for i in range(6)] + ["b/0.png"]
    )
    result = found(small_network, images, "layer-cam", examples=7, out=tmp_path)
    assert len(list((tmp_path / "images").glob("*.png"))) == 7
    drops = dict(zip(result.names, column(result, DROP), strict=True))
    shown = [drops[example.name] for example in result.examples]
    assert shown == sorted(shown, reverse=True)
    assert result.plot("a/3.png")._repr_png_()[:4] == b"\x89PNG"
    with pytest.raises(UnknownNameError, match="a/3"):
        result.plot("a/3")
    with pytest.raises(OptionError, match="examples"):
        found(small_network, images).plot()
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot write into"):
        result.save(tmp_path / "file")


def test_the_pictures_show_what_the_network_saw(small_network, small_images):
    result = found(small_network, small_images, methods="layer-cam", examples=1)
    view = result.examples[0].views["layer-cam"]
    changed = (view.picture != view.ablated).any(-1)
    assert changed[view.regions].mean() > 0.9
    assert not changed[~view.regions].any()
    assert view.moved.sum() == view.regions.sum()
    moved = (view.picture != view.shifted).any(-1)
    assert not moved[~view.moved].any()


def test_the_command_prints_and_keeps_what_the_call_returns(tmp_path):
    arguments = [
        "ablate", "layer-cam", "random-weights", "--count", "6", "--layer", "features.8",
        "--threshold", "0.6", "--shifts", "2", "--examples", "2", "--out", str(tmp_path / "a"),
        "--csv", str(tmp_path / "t.csv"), "--json", "--quiet",
    ]  # fmt: skip
    shown = CliRunner().invoke(app, arguments)
    assert shown.exit_code == 0, shown.output
    told = json.loads(shown.stdout)
    assert told == json.loads((tmp_path / "a" / "ablation.json").read_text())
    called = ablate(
        "demo", "features.8", "demo", ("layer-cam", "random-weights"), count=6, threshold=0.6,
        shifts=2, examples=0,
    )  # fmt: skip
    assert told == called.to_dict()
    with (tmp_path / "t.csv").open() as file:
        assert [row["method"] for row in csv.DictReader(file)] == ["layer-cam", "random-weights"]
    with (tmp_path / "a" / "ablation_images.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 2 * 6
    assert len(list((tmp_path / "a" / "images").glob("*.png"))) == 2
    assert (tmp_path / "a" / "ablation.png").stat().st_size > 5000


def test_the_winner_of_a_run_is_a_method_like_others(
    small_run, small_network, small_images, tmp_path
):
    assert small_run(tmp_path / "run", pictures=False).exit_code == 0
    formula = sycam.load(tmp_path / "run").best.expression
    result = found(small_network, small_images, [tmp_path / "run", formula])
    assert [row.method for row in result.rows] == ["run", formula]
    np.testing.assert_array_equal(*result.parts.values())
    assert "run was chosen on images that may be among these" in str(result)


def test_a_misspelt_option_is_said_as_it_is_typed():
    shown = CliRunner().invoke(app, ["ablate", "--count", "2", "--threshold", "2"])
    assert "--threshold" in str(shown.exception)


def test_a_result_is_text_and_a_table(small_network, small_images):
    pytest.importorskip("pandas")
    result = found(small_network, small_images)
    assert str(result).count("ablating") == 2
    assert "% of the area changes the probability by" in result.headlines[0]
    assert len(result.to_pandas()) == 2
    assert len(result.to_pandas(each_image=True)) == 2 * 7
    assert "ablating" in result._repr_html_()
    with pytest.raises(UnknownNameError, match="layer-cam"):
        result.row("layercam")


@pytest.mark.slow
@pytest.mark.data
def test_on_photographs_the_regions_count_more_than_others(real_data):
    """SqueezeNet on COCO: what LayerCAM marks, anywhere and on objects alone."""
    network = f"{ROOT / 'benchmarks' / 'networks' / 'squeezenet.py'}:squeezenet"
    folder = real_data / "coco_masks"
    images = load_images(
        folder / "images", masks=folder / "masks", size=227, mean=(0, 0, 0), std=(1, 1, 1)
    ).subset(range(16))
    result = ablate(network, "fire9", images, "layer-cam", examples=0)
    row = result.row("layer-cam")
    assert row.drop.low > 0
    assert row.excess.p < 0.05
    assert row.flips.mean > row.shifted_flips.mean
    within = ablate(network, "fire9", images, "layer-cam", examples=0, shifts=1, allowed=True)
    assert 0 < within.row("layer-cam").area.mean < row.area.mean
