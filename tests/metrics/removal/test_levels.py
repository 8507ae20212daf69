"""Levels of a metric: one by one they add up to the score, and their bounds to its bound."""

from __future__ import annotations

import pytest
import torch

from sycam.metrics import find_metric

METRICS = (
    "road", "road-morf", "road-lerf", "road:percentiles=30+70", "road:ties=plateau",
    "insertion", "deletion", "deletion:steps=4", "insertion:steps=400",
)  # fmt: skip


@pytest.mark.parametrize("text", METRICS)
@torch.no_grad()
def test_they_add_up_to_the_score(text, context12, maps12):
    """Each image sees them in another order, one first, then two, then the rest."""
    metric, ctx, maps = find_metric(text), context12(), maps12(2)
    turns = torch.stack([torch.arange(metric.levels).roll(-i) for i in range(len(ctx))])
    parts = [
        metric.score_at(maps, ctx, part) for part in turns.tensor_split([1, 3], 1) if part.numel()
    ]
    assert [part.shape[:2] for part in parts] == [(2, len(ctx))] * len(parts)
    whole = metric.score(maps, ctx).double()
    assert torch.cat(parts, -1).sum(-1).numpy() == pytest.approx(whole.numpy(), abs=1e-6)


@pytest.mark.parametrize("text", METRICS)
@torch.no_grad()
def test_no_heatmap_gets_more_at_a_level_than_its_bound(text, context12, maps12):
    metric, ctx = find_metric(text), context12()
    every = torch.arange(metric.levels).expand(len(ctx), -1)
    bounds, whole = metric.bound_at(ctx), metric.bound(ctx).double()
    assert bounds.sum(-1).numpy() == pytest.approx(whole.numpy(), abs=1e-6)
    scores = metric.oriented(metric.score_at(maps12(2), ctx, every))
    assert (scores <= metric.oriented(bounds) + 1e-6).all()
