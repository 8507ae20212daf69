"""What every metric promises: it describes itself, keeps its range and its bound."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from sycam.data.images import ImageSet
from sycam.errors import OptionError, UnknownNameError
from sycam.language import parse
from sycam.metrics import METRICS, find_metric
from sycam.problem.explained_network import ExplainedNetwork
from sycam.problem.options import ExplainOptions
from sycam.scoring.scorer import Scorer


def masks_of(images: Tensor) -> Tensor:
    return torch.rand(images[:, 0].shape, generator=torch.Generator().manual_seed(1)) > 0.6


@pytest.mark.parametrize("name", sorted(METRICS))
def test_every_metric_describes_itself_and_keeps_its_range_and_bound(
    name, small_network: nn.Module, small_images
):
    metric = find_metric(name)
    for text in (metric.summary, metric.source, metric.definition, metric.formula, metric.traps):
        assert text.strip()
    images = ImageSet.from_arrays(small_images[:4], masks=masks_of(small_images[:4]))
    explained = ExplainedNetwork.prepare(small_network, "3", images)
    expressions = [parse(text) for text in ("mean(G)", "relu(G)", "mean(relu(G)) * max(A)")]
    leaves = metric.leaves.union(*(e.leaves for e in expressions))
    evidence, context = explained.measure(images, leaves=leaves)
    low, high = metric.range
    for score in Scorer(metric, evidence, context).score(expressions):
        assert len(score.values) == 4
        if metric.components:
            assert score.values.shape == (4, len(metric.components))
            figure = metric.reduce(score.values)
            assert np.isnan(figure) or low - 1e-6 <= figure <= high + 1e-6
            continue
        assert (low - 1e-6 <= score.values).all()
        assert (score.values <= high + 1e-6).all()
        bound = metric.bound(context).numpy()
        assert (metric.oriented(score.values) <= metric.oriented(bound) + 1e-6).all()


def test_an_unknown_metric_is_refused_with_the_nearest_name():
    with pytest.raises(UnknownNameError, match="did you mean 'road'"):
        find_metric("raod")


@pytest.mark.parametrize("name", sorted(METRICS))
def test_bounds_hold_where_a_callable_is_explained(name, small_network, small_images):
    """A callable's value has no ends, unlike a probability: five bounds were none."""
    metric = find_metric(name)
    images = ImageSet.from_arrays(small_images[:4], masks=masks_of(small_images[:4]))
    explained = ExplainedNetwork.prepare(
        small_network, "3", images, explain=ExplainOptions(target=lambda row: 30 * row[1] - 5)
    )
    evidence, context = explained.measure(images, leaves=metric.leaves | {"score"})
    try:
        metric.check(context)
    except OptionError:
        return
    if metric.components:
        return
    bound = metric.bound(context).numpy()
    for score in Scorer(metric, evidence, context).score([parse("mean(G)"), parse("-relu(G)")]):
        assert (metric.oriented(score.values - bound) <= 1e-4).all()
