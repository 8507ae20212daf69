"""ROAD against a loop that follows the paper literally, and against pytorch-grad-cam."""

from __future__ import annotations

import importlib
import math
import sys
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter
from torch import nn

from sycam.data.images import ImageSet
from sycam.errors import OptionError
from sycam.heatmaps import norm01
from sycam.inference import Classifier
from sycam.methods import find_method
from sycam.metrics import Context, Road, RoadLerf, RoadMorf, find_metric
from sycam.metrics.imputation.impute import impute_exact
from sycam.metrics.removal.road import plateau_bounds
from sycam.problem.explained_network import ExplainedNetwork
from sycam.problem.images import demo_images
from sycam.problem.options import ExplainOptions

QUIET = {"solver": "exact", "noise": 0.0}
STRICT = {**QUIET, "ties": "plateau"}
PERCENTILES = range(10, 100, 10)


def probability(network, image, target):
    return float(network(image[None]).softmax(1)[0, target])


def literal_curves(network, ctx, heatmap, i, fill=impute_exact):
    """MoRF and LeRF of one map as the reference defines them, where there are no ties."""
    flat, found = heatmap.flatten().numpy(), {"morf": [], "lerf": []}
    clean = probability(network, ctx.images[i], ctx.targets[i])
    for q in PERCENTILES:
        for side, ranking in (("morf", flat), ("lerf", -flat)):
            keep = ranking < np.percentile(ranking, q)
            removed = torch.from_numpy(~keep).view(1, *heatmap.shape)
            image = fill(ctx.images[i : i + 1], removed)[0]
            found[side].append(probability(network, image, ctx.targets[i]) - clean)
    return found


@pytest.mark.parametrize("ties", ["blur", "plateau"])
@torch.no_grad()
def test_road_is_the_papers_curve_area_image_by_image(network12, context12, maps12, ties):
    ctx, maps = context12(), maps12(2)
    road, morf, lerf = (
        metric(**QUIET, ties=ties).score(maps, ctx) for metric in (Road, RoadMorf, RoadLerf)
    )
    for p in range(2):
        for i in range(3):
            curves = literal_curves(network12, ctx, maps[p, i], i)
            assert morf[p, i] == pytest.approx(np.mean(curves["morf"]), abs=1e-5)
            assert lerf[p, i] == pytest.approx(np.mean(curves["lerf"]), abs=1e-5)
            expected = (np.mean(curves["lerf"]) - np.mean(curves["morf"])) / 2
            assert road[p, i] == pytest.approx(expected, abs=1e-5)


def blurred(images, removed):
    # A Gaussian of 22 pixels where a side has 224, cut off at 44: of 12 pixels at 2.
    shown = gaussian_filter(
        images.double().numpy(), 22 * 12 / 224, mode="mirror", radius=2, axes=(2, 3)
    )
    return torch.where(removed[:, None], torch.from_numpy(shown).float(), images)


def averaged(images, removed):
    return torch.where(removed[:, None], images.mean((2, 3), keepdim=True), images)


def inpainted(images, removed):
    cv2 = pytest.importorskip("cv2")
    hole = removed[0].numpy().astype(np.uint8)
    mean = images.where(~removed, torch.nan).nanmean((2, 3), keepdim=True)
    shown = images.where(~removed, mean)[0]  # of what is removed it must know nothing
    colours = [cv2.inpaint(c.numpy(), hole, 3, cv2.INPAINT_TELEA) for c in shown]
    return torch.from_numpy(np.stack(colours))[None]


@pytest.mark.parametrize(
    ("imputer", "fill"), [("blur", blurred), ("mean", averaged), ("telea", inpainted)]
)
@torch.no_grad()
def test_another_imputer_fills_what_is_removed_otherwise(
    network12, context12, maps12, imputer, fill
):
    ctx, maps = context12(), maps12(1)
    found = Road(imputer=imputer, noise=0.0).score(maps, ctx)[0]
    for i in range(3):
        curves = literal_curves(network12, ctx, maps[0, i], i, fill)
        expected = (np.mean(curves["lerf"]) - np.mean(curves["morf"])) / 2
        assert found[i] == pytest.approx(expected, abs=1e-5)
    assert (found - Road(noise=0.0).score(maps, ctx)[0]).abs().max() > 1e-3
    assert (found - Road(imputer=imputer).score(maps, ctx)[0]).abs().max() > 1e-6  # its noise


def test_an_image_without_a_known_pixel_shows_the_blur(context12):
    ctx, heat = context12(), torch.ones(1, 3, 12, 12)
    everything = torch.ones(3, 12, 12, dtype=torch.bool)
    empty = ctx.classifier.probability(blurred(ctx.images, everything), ctx.targets)
    found = RoadMorf(imputer="blur", ties="plateau", noise=0.0).score(heat, ctx)[0]
    torch.testing.assert_close(found.float(), empty - ctx.clean, atol=1e-6, rtol=0)


def test_another_imputer_than_the_one_in_use():
    assert find_metric("road-morf:noise=0").by_another_imputer().text == (
        "road-morf:noise=0,imputer=blur"
    )
    assert find_metric("road:imputer=telea").by_another_imputer().text == "road:imputer=blur"
    assert find_metric("road:imputer=blur").by_another_imputer().text == "road"


@pytest.fixture
def of_volumes():
    """Three random volumes ``[3,2,4,5,6]`` under a small network, and a heatmap for each."""
    torch.manual_seed(3)
    network = nn.Sequential(nn.Conv3d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(96, 3)).eval()
    volumes = torch.randn(3, 2, 4, 5, 6, generator=torch.Generator().manual_seed(7))
    targets, classifier = network(volumes).argmax(1), Classifier(network)
    with torch.no_grad():
        clean = classifier.probability(volumes, targets)
    ctx = Context(volumes, targets, clean, classifier, ["a", "b", "c"])
    return network, ctx, torch.rand(1, 3, 4, 5, 6, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("ties", ["blur", "plateau"])
@torch.no_grad()
def test_road_of_volumes_is_the_papers_curve_area(of_volumes, ties):
    network, ctx, maps = of_volumes
    found = Road(**QUIET, ties=ties).score(maps, ctx)[0]
    for i in range(3):
        curves = literal_curves(network, ctx, maps[0, i], i)
        expected = (np.mean(curves["lerf"]) - np.mean(curves["morf"])) / 2
        assert found[i] == pytest.approx(expected, abs=1e-5)
    close = Road(noise=0.0, ties=ties).score(maps, ctx)[0]
    torch.testing.assert_close(close, found, atol=1e-3, rtol=0)


@torch.no_grad()
def test_volumes_without_a_known_voxel_become_zero(of_volumes):
    _, ctx, maps = of_volumes
    found = RoadMorf(ties="plateau", noise=0.0).score(torch.ones_like(maps), ctx)[0]
    empty = ctx.classifier.probability(torch.zeros_like(ctx.images), ctx.targets)
    torch.testing.assert_close(found.float(), empty - ctx.clean, atol=1e-6, rtol=0)


def test_telea_says_that_it_fills_images_only(of_volumes):
    pytest.importorskip("cv2")
    with pytest.raises(OptionError, match=r"'telea' of metric 'road' fills images, not volumes"):
        Road(imputer="telea").check(of_volumes[1])


@pytest.mark.parametrize("name", ["road", "arcc"])
def test_without_opencv_it_is_said_what_to_install(context12, monkeypatch, name):
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(OptionError, match=r"pip install 'sycam\[inpainting\]'"):
        find_metric(f"{name}:imputer=telea").check(context12())


def test_road_with_multigrid_is_that_of_the_exact_solution_within_a_thousandth(context12, maps12):
    ctx, maps = context12(8), maps12(4, 8)
    fast, exact = Road().score(maps, ctx), Road(solver="exact").score(maps, ctx)
    assert (fast - exact).abs().mean() < 1e-3


@pytest.fixture
def package(grad_cam, monkeypatch):
    """pytorch-grad-cam's ROAD module, with no noise."""
    road = importlib.import_module("pytorch_grad_cam.metrics.road")
    imputer = road.NoisyLinearImputer
    monkeypatch.setattr(imputer.__init__, "__defaults__", (0.0, road.neighbors_weights))
    return road


@pytest.fixture
def theirs(package, grad_cam):
    """Scores ``[N]`` of one of the package's ROAD metrics."""
    softmax = grad_cam.utils.model_targets.ClassifierOutputSoftmaxTarget

    def score(metric, ctx, maps) -> np.ndarray:
        targets = [softmax(int(target)) for target in ctx.targets]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of scipy's singular matrices and numpy's types
            return metric(ctx.images, maps.numpy(), targets, ctx.classifier.network)

    return score


def with_plateaus(maps):
    """A heatmap, the same with five levels, and with its hottest tenth and half set to 1."""
    hottest = [
        (maps >= maps.flatten(2).quantile(1 - share, dim=2)[..., None, None]).float()
        for share in (0.1, 0.5)
    ]
    return torch.cat([maps, (maps * 4).round() / 4, *hottest])


def test_plateaus_are_the_packages(small_network, small_images, package, theirs):
    image_set = ImageSet.from_arrays(small_images[:3])
    small_network[-1].weight.data *= 10  # probabilities that differ by more than solvers do
    # Of this class the ReLU leaves a third of the map at 0.
    evidence, ctx = ExplainedNetwork.prepare(
        small_network, "3", image_set, explain=ExplainOptions(target=3)
    ).measure(image_set)
    grad_cam = find_method("grad-cam").heatmaps(evidence, ctx).maps
    assert (grad_cam == 0).float().mean() > 0.25
    maps = with_plateaus(grad_cam)
    road, curves = Road(**STRICT).score(maps, ctx), Road(**STRICT).curves(maps, ctx)
    sides = {
        "morf": package.ROADMostRelevantFirst,
        "lerf": package.ROADLeastRelevantFirst,
    }
    for kind, heatmaps in enumerate(maps):
        combined = theirs(package.ROADCombined(list(PERCENTILES)), ctx, heatmaps)
        np.testing.assert_allclose(road[kind], combined, atol=1e-4)
        for side, metric in sides.items():
            single = [theirs(metric(q), ctx, heatmaps) for q in (10, 50, 90)]
            found = curves[side][kind, :, [0, 4, 8]].T
            np.testing.assert_allclose(found, single, atol=1e-4)
    # On these maps the default removes other pixels.
    assert (Road(**QUIET).score(maps, ctx) - road).abs().max() > 0.01


def test_the_package_loses_small_heats_where_it_turns_the_map(context12, package, theirs):
    """It ranks 1 - L, in which float32 cannot tell 1e-9 from 0; -L can."""
    ctx = context12(1)
    heat = torch.linspace(0.5, 1, 144).view(1, 1, 12, 12).clone()
    heat.view(-1)[:40], heat.view(-1)[40:80] = 0, 1e-9
    merged = heat.where(heat > 1e-6, 0)
    ours = [RoadLerf(percentiles=(90,), **STRICT).score(m, ctx)[0] for m in (heat, merged)]
    package_says = theirs(package.ROADLeastRelevantFirst(90), ctx, heat[0])
    np.testing.assert_allclose(ours[1], package_says, atol=1e-5)
    assert abs(float(ours[0] - ours[1])) > 5e-4


@pytest.mark.parametrize("metric", [RoadMorf, RoadLerf])
def test_an_image_without_a_known_pixel_becomes_zero(context12, metric):
    ctx = context12()
    heat = torch.ones(1, 3, 12, 12)
    empty = ctx.classifier.probability(torch.zeros_like(ctx.images), ctx.targets)
    for settings_ in (STRICT, {"ties": "plateau", "noise": 0.0}):
        found = metric(**settings_).score(heat, ctx)[0]
        torch.testing.assert_close(found.float(), empty - ctx.clean, atol=1e-6, rtol=0)
    noisy = metric(ties="plateau", noise=0.5).score(heat, ctx)[0]
    shown = ctx.classifier.probability(0.5 * ctx.noise, ctx.targets)
    torch.testing.assert_close(noisy.float(), shown - ctx.clean, atol=1e-6, rtol=0)


def test_the_packages_singular_system_is_zero_or_nan(package):
    """Rounding makes its matrix regular, with the solution 0, but for a few sizes."""
    imputer = package.NoisyLinearImputer()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        regular = imputer(torch.randn(3, 12, 12), torch.zeros(12, 12))
        singular = imputer(torch.randn(3, 4, 4), torch.zeros(4, 4))
    assert (regular == 0).all()
    assert singular.isnan().all()


@given(st.integers(0, 10_000), st.integers(1, 40))
@settings(max_examples=50, deadline=None)
def test_plateau_bounds_are_those_of_numpys_percentile(seed, levels):
    generator = torch.Generator().manual_seed(seed)
    maps = norm01(torch.randint(0, levels, (1, 2, 7, 9), generator=generator).double())
    kept = [math.ceil(q * 62 / 100) for q in PERCENTILES]
    bounds = plateau_bounds(maps, kept)
    for i, flat in enumerate(maps[0].flatten(1).numpy()):
        for place, q in enumerate(PERCENTILES):
            morf = 63 - (flat < np.percentile(flat, q)).sum()
            lerf = (-flat < np.percentile(-flat, q)).sum()
            assert bounds["morf"][0, i, place].tolist() == [0, morf]
            assert bounds["lerf"][0, i, place].tolist() == [lerf, 63]


def test_binarising_a_map_gains_nothing_that_a_plateau_would_give():
    """Regression: with plateaus removed at once, a binarised map gained 74 %."""
    explained = ExplainedNetwork.prepare("demo", "features", demo_images("heldout", 24, 5))
    evidence, ctx = explained.measure(demo_images("heldout", 24, 5))
    maps = find_method("grad-cam").heatmaps(evidence, ctx).maps
    tenth = maps.flatten(2).quantile(0.9, dim=2)[..., None, None]
    binary = (maps >= tenth).float()
    scores = Road().score(torch.cat([maps, binary]), ctx)
    gain = scores[1] - scores[0]
    error = gain.std() / math.sqrt(len(gain))
    assert gain.mean() <= 2 * error


def test_plateaus_reward_a_binarised_map_and_the_default_does_not():
    """A network that knows its object by any part of it loses it only where all is removed: the
    plateau of zeros does that at every percentile."""
    distance = (torch.cartesian_prod(*2 * [torch.arange(16) - 7.5])).square().sum(1).sqrt()
    image = (distance < 7.5).float().view(1, 1, 16, 16)
    network = nn.Sequential(nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(1, 2))
    network[2].weight.data, network[2].bias.data = (
        torch.tensor([[9.0], [0]]),
        torch.tensor([-5.0, 0]),
    )
    classifier, targets = Classifier(network), torch.zeros(1, dtype=torch.int64)
    ctx = Context(image, targets, classifier.probability(image, targets), classifier, ["disc"])
    heat = norm01(-distance.view(1, 1, 16, 16))
    binary = (heat >= heat.flatten().quantile(0.9)).float()
    default, plateau = (
        Road(ties=ties).score(torch.cat([heat, binary]), ctx)[:, 0] for ties in ("blur", "plateau")
    )
    assert abs(default[1] - default[0]) < 0.01
    assert plateau[1] - plateau[0] > 0.2


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"percentiles": (0, 50)}, "between 0 and 100"),
        ({"percentiles": ()}, "between 0 and 100"),
        ({"percentiles": 50}, "between 0 and 100, got 50"),
        ({"solver": "magic"}, "solver 'magic' is not known; expected 'multigrid' or 'exact'"),
        ({"ties": "random"}, "ties 'random' is not known; expected 'blur' or 'plateau'"),
        ({"imputer": "magic"}, "imputer 'magic' is not known; expected 'linear' or 'blur' or"),
        ({"noise": -1}, "noise must be 0 or a positive number, got -1"),
        ({"tolerance": 0}, "tolerance must be a positive number, got 0"),
    ],
)
def test_bad_options_are_named(options, words):
    with pytest.raises(OptionError, match=words):
        Road(**options)
