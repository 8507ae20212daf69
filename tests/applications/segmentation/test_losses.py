"""The losses, by hand on tiny tensors."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from sycam.applications.segmentation.losses import (
    contrastive_loss,
    exit_weights,
    exits_loss,
    ground_vectors,
    nt_xent,
)


def test_the_loss_of_simclr_by_hand():
    """Two images, each with two equal views, at right angles to the other's: for each view one
    exponential of 1 over the temperature against two of 0."""
    vectors = torch.tensor([[2.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, 3.0]])
    for temperature in (1.0, 0.5):
        loss, known = nt_xent(vectors, temperature)
        assert float(loss) == pytest.approx(math.log(1 + 2 * math.exp(-1 / temperature)), rel=1e-6)
        assert int(known) == 4
    loss, known = nt_xent(vectors.roll(1, 0), 1.0)  # now their halves pair with the wrong image's
    assert int(known) == 4
    loss, known = nt_xent(vectors[[0, 1, 3, 2]], 1.0)
    assert float(loss) == pytest.approx(math.log(2 + math.e), rel=1e-6)
    assert int(known) == 0


def test_the_loss_of_simclr_is_the_papers_equation():
    """Equation 1 of Chen et al., 2020, view by view, in double precision."""
    vectors = np.random.default_rng(0).normal(size=(10, 4))
    total = 0.0
    for i in range(10):
        j = (i + 5) % 10

        def s(k: int, i: int = i) -> float:
            return vectors[i] @ vectors[k] / np.linalg.norm(vectors[i]) / np.linalg.norm(vectors[k])

        below = sum(math.exp(s(k) / 0.3) for k in range(10) if k != i)
        total -= math.log(math.exp(s(j) / 0.3) / below)
    loss, _ = nt_xent(torch.from_numpy(vectors), 0.3)
    assert float(loss) == pytest.approx(total / 10, rel=1e-12)


def test_four_exits_weigh_as_in_the_paper():
    assert exit_weights(4).tolist() == [0.25, 0.5, 0.75, 1.0]


def test_loss_of_the_exits_by_hand():
    logits = torch.tensor([[0.0, 2.0], [1.0, -1.0]])
    present = torch.tensor([True, False])
    shallow = (3 * math.log(2) + math.log(1 + math.e)) / 2  # the first image counts three times
    deep = (3 * math.log(1 + math.exp(-2)) + math.log(1 + math.exp(-1))) / 2
    found = exits_loss(logits, present, exit_weights(2), balance=3.0)
    assert float(found) == pytest.approx(0.5 * shallow + 1.0 * deep, rel=1e-6)


def test_fore_and_background_by_hand():
    features = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]], [[0.0, 0.0], [0.0, 8.0]]]])
    heat = torch.zeros(1, 4, 4)
    heat[:, 2:, 2:] = 1.0  # the last of four places
    heat[:, :2, :2] = torch.tensor([[1.0, 0.0], [0.0, 0.0]])  # a quarter of the first
    front, back = ground_vectors(heat, features)
    assert front.tolist() == [[(0.25 * 1 + 4) / 4, 8 / 4]]
    assert back.tolist() == [[(0.75 * 1 + 2 + 3) / 4, 0.0]]


def test_contrast_by_hand():
    """Three images in the plane, so that cosines are those of angles."""
    angles = torch.tensor([0.0, 0.2, 0.7]), torch.tensor([1.0, 1.1, 1.5])
    front, back = (3.0 * torch.stack([a.cos(), a.sin()], 1) for a in angles)
    alpha, expected = 0.25, 0.0
    f, b = (a.tolist() for a in angles)
    expected -= sum(math.log(1 - math.cos(x - y)) for x in f for y in b) / 9
    for side in (f, b):
        for i, x in enumerate(side):
            others = sorted(abs(x - y) for j, y in enumerate(side) if j != i)
            for rank, apart in enumerate(others):
                expected -= math.exp(-alpha * rank) * math.log(math.cos(apart)) / 6
    assert float(contrastive_loss(front, back, alpha)) == pytest.approx(expected, rel=1e-4)


def test_contrast_cannot_tell_which_side_is_which_and_bears_one_image():
    front, back = torch.rand(2, 5, 4, generator=torch.Generator().manual_seed(0))
    one, other = contrastive_loss(front, back, 0.25), contrastive_loss(back, front, 0.25)
    assert float(one) == pytest.approx(float(other), rel=1e-6)
    alone = contrastive_loss(front[:1], front[:1], 0.25)  # alike: the worst there is
    assert torch.isfinite(alone)
    assert float(alone) > 10
