"""The conformance test of metrics: it finds every fault, and every metric passes it."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

import sycam
from sycam.errors import UnknownNameError
from sycam.metrics import METRICS, Context, Metric, find_metric
from sycam.testing import check_metric, isolated_metrics

FORMULAS = (
    "0.7*road + 0.3*iou",
    "road - 0.5*deletion",
    "harmonic(insertion, 1 - deletion, 1 - complexity)",
    "min(auc, 0.5) - 0.1*max-sensitivity",
    "0.5*iou-best-threshold + adcc:reduction=of-means",
)


@pytest.fixture(autouse=True)
def fresh():
    with isolated_metrics():
        yield


@pytest.mark.parametrize("name", [*METRICS, *FORMULAS])
def test_every_metric_conforms(name):
    if name == "rm":
        pytest.importorskip("skimage")
    report = check_metric(name)
    assert report.metric == name
    assert report.invariance == find_metric(name).invariance
    assert str(report).startswith(f"{name}: no fault on ")


# --- faults --------------------------------------------------------------------------------------


def mean(maps: Tensor) -> Tensor:
    return maps.flatten(2).mean(-1)


def undefined_on_zeros(maps, context):
    return maps.amax((-2, -1)) / maps.sum((-2, -1))


def undefined_on_one_pixel(maps, context):
    return 1 / ((maps > 0).flatten(2).sum(-1) - 1)


def changes_heatmaps(maps, context):
    return mean(maps.mul_(0.5))


def changes_images(maps, context):
    context.images.add_(1)
    return mean(maps)


def is_random(maps, context):
    return mean(maps) + torch.rand(())


def sees_other_candidates(maps, context):
    return mean(maps) - mean(maps).mean(0)


def sees_other_images(maps, context):
    return mean(maps) - mean(maps).mean(1, keepdim=True)


def sees_the_place(maps, context):
    return mean(maps) * torch.arange(1.0, maps.shape[1] + 1)


def runs_the_network(maps, context):
    found = [context.classifier.probability(context.images, context.targets) for _ in maps]
    return torch.stack(found)


def fails(maps, context):
    raise ValueError("no")


FAULTS = [
    (undefined_on_zeros, r" on zero heatmaps: gave NaN or infinity"),
    (undefined_on_one_pixel, r" on one-pixel heatmaps: gave NaN or infinity"),
    (changes_heatmaps, r": the heatmaps were changed in place"),
    (changes_images, r": the context's tensors were changed in place"),
    (is_random, r": gave another score the second time: .* on 'random'"),
    (sees_other_candidates, r": one candidate's score sees another's"),
    (sees_other_images, r": the score of an image depends on the other images"),
    (sees_the_place, r": the score of an image depends on .* its place"),
    (runs_the_network, r": 33 images went through the network, but at most 0 are declared"),
    (fails, r": raised ValueError: no"),
    (lambda maps, context: mean(maps)[0], r": gave \[3\], expected scores \[11, 3\]"),
    (lambda maps, context: 1.0, r": gave float, expected scores"),
    (lambda maps, context: mean(maps).long(), r": gave torch.int64, expected floating point"),
]


def metric_of(function, **facts) -> Metric:
    body = {"name": "faulty", "summary": "", "source": "", "family": "custom", "volumes": False,
            "range": (-math.inf, math.inf)}  # fmt: skip
    score = lambda self, maps, context: function(maps, context)  # noqa: E731
    return type("Faulty", (Metric,), {**body, "score": score, **facts})()


@pytest.mark.parametrize(("function", "said"), FAULTS)
def test_every_fault_is_found_and_named(function, said):
    with pytest.raises(AssertionError, match=rf"metric 'faulty'{said}"):
        check_metric(metric_of(function))


def test_a_sound_metric_passes():
    report = check_metric(metric_of(lambda maps, context: mean(maps), invariance="exact"))
    assert (report.kinds, report.invariance, report.hint) == (11, "exact", "positive-scale")
    assert "not declared, but seen to hold: invariance='positive-scale'" in str(report)


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"range": (0, 0.9)}, r" on full heatmaps: gave 1 to 1, its range is 0 to 0.9"),
        ({"invariance": "ranking"}, r"it is declared ranking but is not: .* on 'random'"),
        ({"bound": lambda self, c: torch.full((3,), 0.4)}, r"better than the bound 0.4"),
        ({"bound": lambda self, c: torch.tensor(1.0)}, r"its bound has shape \[\], expected \[3\]"),
        ({"reduce": lambda self, v, f=None: v.mean()}, r"reduce gave shape \(\)"),
        ({"components": ("a", "b")}, r"gave \[11, 3\], expected scores \[11, 3, 2\]"),
        ({"options": {"f": mean}}, r"options .* cannot be written as JSON"),
        ({"volumes": True, "score": lambda self, m, c: m.mean((-2, -1))},
         r" of volumes: gave \[11, 3, 4\], expected scores \[11, 3\]"),
    ],
)  # fmt: skip
def test_what_is_declared_must_hold(facts, said):
    with pytest.raises(AssertionError, match=rf"metric 'faulty'.*{said}"):
        check_metric(metric_of(lambda maps, context: mean(maps), **facts))


def test_a_scale_that_is_declared_unseen():
    """Of the weights, as a heatmap's own scale is gone when a metric sees it."""

    def totals(maps: Tensor, context: Context) -> Tensor:
        return context.again("faulty").channel_totals().abs().sum(-1).tanh()

    assert check_metric(metric_of(totals, invariance="exact")).hint is None
    with pytest.raises(AssertionError, match=r"declared positive-scale but is not: .* 'mean\(G\)'"):
        check_metric(metric_of(totals))


def test_a_text_that_finds_another_metric():
    metric = metric_of(lambda maps, context: mean(maps), options={"share": 0.5})
    metric.origin = "road"
    with pytest.raises(AssertionError, match=r"its text finds 'road' with options .*instead of"):
        check_metric(metric)


def test_a_function_of_a_user():
    @sycam.metric
    def bad(heatmaps, context):
        return heatmaps.mean((-2, -1)) / heatmaps.amax((-2, -1))

    with pytest.raises(AssertionError, match=r"metric 'bad': metric 'bad' gave 3 of 33 scores"):
        check_metric(bad)
    with pytest.raises(UnknownNameError, match="did you mean 'bad'"):
        check_metric("bat")
