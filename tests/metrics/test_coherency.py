"""Coherency, ADCC and ARCC through the engine, against pytorch-grad-cam and by hand."""

from __future__ import annotations

import importlib
import warnings

import numpy as np
import pytest
import torch
from torch import nn

import sycam
from sycam.data.images import ImageSet
from sycam.errors import OptionError
from sycam.methods import find_method
from sycam.metrics import ADCC, ARCC, AverageDrop, Coherency, Complexity, Road
from sycam.problem.explained_network import ExplainedNetwork
from sycam.problem.options import ExplainOptions
from sycam.scoring.scorer import Scorer
from sycam.targets import Probability

QUIET = {"solver": "exact", "noise": 0.0, "ties": "plateau"}


@pytest.fixture
def sharp(small_network) -> nn.Module:
    """The small network with probabilities that differ from image to image."""
    small_network[-1].weight.data *= 10
    return small_network


def prepared(network, images, **settings):
    image_set = ImageSet.from_arrays(images)
    explain = ExplainOptions(**settings)
    return ExplainedNetwork.prepare(network, "3", image_set, explain).measure(image_set)


def scored(metric, evidence, ctx, method="grad-cam"):
    return Scorer(metric, evidence, ctx).score_method(find_method(method)).values


def test_coherency_is_the_correlation_with_the_map_of_the_masked_image(sharp, small_images):
    evidence, ctx = prepared(sharp, small_images, target=2)
    maps = find_method("grad-cam").heatmaps(evidence, ctx).maps[0]
    again, masked = prepared(sharp, small_images * maps[:, None], target=2)
    others = find_method("grad-cam").heatmaps(again, masked).maps[0]
    expected = [
        (np.corrcoef(one.flatten(), other.flatten())[0, 1] + 1) / 2
        for one, other in zip(maps.numpy(), others.numpy(), strict=True)
    ]
    assert np.ptp(expected) > 0.001
    np.testing.assert_allclose(scored(Coherency(), evidence, ctx), expected, atol=1e-5)


def test_the_class_explained_stays_where_the_masked_image_is_another(sharp, small_images):
    """The class predicted on the image, whatever is predicted on what the heatmap leaves."""
    images = 4 * small_images - 2
    evidence, ctx = prepared(sharp, images)
    maps = find_method("grad-cam").heatmaps(evidence, ctx).maps[0]
    left = sharp(images * maps[:, None]).argmax(1)
    assert (left != ctx.targets).any()
    labelled = ImageSet.from_arrays(images, ctx.targets)
    by_class = ExplainedNetwork.prepare(
        sharp, "3", labelled, explain=ExplainOptions(target="label")
    ).measure(labelled)
    np.testing.assert_allclose(
        scored(Coherency(), evidence, ctx), scored(Coherency(), *by_class), atol=1e-6
    )


def test_candidates_of_a_batch_see_their_own_masked_images(sharp, small_images, score):
    texts = ["mean(G)", "mean(relu(G))", "relu(G)"]
    together = score("coherency", sharp, small_images, texts)
    alone = [score("coherency", sharp, small_images, [text])[0] for text in texts]
    torch.testing.assert_close(together, torch.stack(alone), atol=1e-6, rtol=0)


def test_arcc_is_the_packages(grad_cam, sharp, small_images, monkeypatch):
    """It explains, and perturbs, one target: comparable where the probability is explained."""
    arcc = importlib.import_module("pytorch_grad_cam.metrics.arcc")
    road = importlib.import_module("pytorch_grad_cam.metrics.road")
    defaults = (0.0, road.neighbors_weights)
    monkeypatch.setattr(road.NoisyLinearImputer.__init__, "__defaults__", defaults)
    evidence, ctx = prepared(sharp, small_images, target=Probability())
    softmax = grad_cam.utils.model_targets.ClassifierOutputSoftmaxTarget
    targets = [softmax(int(target)) for target in ctx.targets]
    with grad_cam.GradCAM(sharp, [sharp[3]]) as cam, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of numpy's types
        maps = cam(small_images, targets=targets)
        package = arcc.ARCC(cam)
        expected = package(small_images, maps, targets, sharp)
        coherency = package.coherency(small_images, maps, targets, sharp, cam)
    assert (expected > 0.01).any()
    np.testing.assert_allclose(scored(Coherency(), evidence, ctx), coherency, atol=1e-4)
    np.testing.assert_allclose(scored(ARCC(**QUIET), evidence, ctx), expected, atol=1e-4)


@pytest.mark.parametrize(
    ("composed", "third", "kept"),
    [
        (ADCC, AverageDrop(), lambda drop: 1 - drop),
        (
            ARCC,
            Road(percentiles=(20, 40, 60, 80)),
            lambda road: np.clip(2 * road, 0, 1),
        ),
    ],
    ids=["adcc", "arcc"],
)
def test_they_are_harmonic_means_of_their_parts(sharp, small_images, composed, third, kept):
    evidence, ctx = prepared(sharp, small_images)
    coherency, complexity, other = (
        scored(metric, evidence, ctx) for metric in (Coherency(), Complexity(), third)
    )

    def harmonic(*parts):
        with np.errstate(divide="ignore"):
            return 3 / sum(1 / part for part in parts)

    each = harmonic(coherency, 1 - complexity, kept(other))
    np.testing.assert_allclose(scored(composed(), evidence, ctx), each, atol=1e-5)
    of_means = composed(reduction="of-means")
    score = Scorer(of_means, evidence, ctx).score_method(find_method("grad-cam"))
    assert score.values.shape == (7, 3)
    whole = harmonic(coherency.mean(), 1 - complexity.mean(), kept(other.mean()))
    assert score.mean == pytest.approx(whole, abs=1e-5)
    assert abs(whole - each.mean()) > 1e-4


@pytest.mark.parametrize("metric", [ADCC, ARCC])
def test_a_part_of_zero_makes_the_figure_zero(metric):
    of_means = metric(reduction="of-means")
    parts = np.array([[1.0, 1.0, 0.2], [1.0, 1.0, 0.2]])  # complexity 1: nothing is left
    assert of_means.reduce(parts) == 0
    parts[:, 0], parts[:, 1] = 0, 0.5
    assert of_means.reduce(parts) == 0


def test_a_map_that_says_nothing_correlates_with_nothing():
    """Convolutions of a single pixel see a black image as one constant."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 4, 1),
        nn.ReLU(),
        nn.Conv2d(4, 4, 1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(144, 3),
    )
    evidence, ctx = prepared(network.eval(), torch.zeros(2, 3, 6, 6))
    score = Scorer(Coherency(), evidence, ctx).score_method(find_method("grad-cam"))
    assert score.degenerate == 2
    assert score.values.tolist() == [0.5, 0.5]


def test_metrics_of_one_evaluation_measure_the_masked_images_once(sharp, small_images, measured):
    names = ["coherency", "adcc", "arcc", "average-drop", "complexity"]
    table = sycam.evaluate(sharp, "3", small_images, ["grad-cam", "hirescam"], names)
    assert sum(measured) == 2 * 7  # each image once per method
    for name in ("coherency", "adcc", "arcc"):
        alone = sycam.evaluate(sharp, "3", small_images, ["grad-cam"], [name])
        np.testing.assert_allclose(table.scores["grad-cam", name], alone.scores["grad-cam", name])


def test_heatmaps_alone_are_not_enough(context12, maps12):
    with pytest.raises(OptionError, match="'adcc' looks at the heatmaps of changed inputs"):
        ADCC().score(maps12(1), context12())


@pytest.mark.parametrize(
    ("metric", "options", "words"),
    [
        (ADCC, {"reduction": "mean"}, "reduction 'mean' is not known; expected 'per-image' or"),
        (ARCC, {"ties": "none"}, "ties 'none' is not known; expected 'blur' or 'plateau'"),
    ],
)
def test_bad_options_are_named(metric, options, words):
    with pytest.raises(OptionError, match=words):
        metric(**options)
