"""Lower precision is used only where it leaves the ranking of the leaders alone."""

from __future__ import annotations

import contextlib

import pytest
import torch
from torch import nn

from sycam.errors import OptionError
from sycam.inference import Classifier
from sycam.methods import find_method
from sycam.metrics import find_metric
from sycam.problem.explained_network import ExplainedNetwork
from sycam.problem.images import demo_images
from sycam.scoring.precision import in_precision, verify_precision

METHODS = [find_method(name) for name in ("grad-cam", "hirescam", "layer-cam", "xgrad-cam")]


@pytest.fixture(scope="module")
def measured():
    images = demo_images("heldout", 6, 0)
    explained = ExplainedNetwork.prepare("demo", "auto", images)
    return explained, *explained.measure(images, leaves=frozenset())


def test_bfloat16_keeps_the_ranking_on_the_demo(measured):
    explained, evidence, context = measured
    fast = Classifier(explained.network, precision="bfloat16")
    metric = find_metric("deletion")
    verify_precision(fast, metric, evidence, context, METHODS, images=4, leaders=1)
    assert fast.passes > 0


def test_a_swap_of_leaders_is_refused(measured):
    """A network of another sign, as an extreme of imprecision: the best becomes the worst."""
    explained, evidence, context = measured

    class Opposite(nn.Module):
        def __init__(self):
            super().__init__()
            self.network = explained.network

        def forward(self, x):
            return -self.network(x)

    fast = Classifier(Opposite(), precision="bfloat16")
    message = r"precision 'bfloat16' changes the ranking under 'deletion': '\w+' \(-?0\.\d+\) comes"
    with pytest.raises(OptionError, match=message):
        verify_precision(fast, find_metric("deletion"), evidence, context, METHODS, images=4)


def test_equal_figures_may_go_either_way(measured):
    _, evidence, context = measured
    twins = [METHODS[0], METHODS[0]]
    fast = Classifier(nn.Sequential(nn.Flatten(), nn.Linear(3 * 64 * 64, 10)))
    verify_precision(fast, find_metric("deletion"), evidence, context, twins, images=2)
    assert torch.is_grad_enabled()


def test_the_search_and_its_verification_see_the_same_clean_scores(measured):
    """The clean images were verified in float32 and searched in the lower precision."""
    explained, evidence, context = measured

    class Doubled(nn.Module):
        def __init__(self):
            super().__init__()
            self.network = explained.network

        def forward(self, x):
            return 2 * self.network(x)

    fast = Classifier(Doubled())
    used = in_precision(context, fast)
    torch.testing.assert_close(used.clean, fast.probability(context.images, context.targets))
    assert (used.clean - context.clean).abs().max() > 1e-3
    seen = []

    class Watched(type(find_metric("average-drop"))):
        def score(self, maps, context):
            seen.append((context.classifier, context.clean))
            return super().score(maps, context)

    with contextlib.suppress(OptionError):
        verify_precision(fast, Watched(), evidence, context, METHODS[:2], images=4)
    assert {id(classifier) for classifier, _ in seen} == {id(fast), id(context.classifier)}
    for classifier, clean in seen:
        expected = used if classifier is fast else context
        torch.testing.assert_close(clean, expected.clean[:4])
