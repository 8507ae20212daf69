"""The losses of TRADES and MART against their equations, in double precision."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import log_softmax, rel_entr, softmax

from sycam.applications.adversarial_training import losses
from sycam.applications.adversarial_training.attacks import divergence, wrongness
from sycam.applications.adversarial_training.losses import mart, plain, trades
from sycam.applications.adversarial_training.options import OBJECTIVES, TrainingOptions


def drawn(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(5, 4)) * 3, rng.normal(size=(5, 4)) * 3, rng.integers(4, size=5)


def tensors(*arrays: np.ndarray) -> list[torch.Tensor]:
    return [torch.from_numpy(array) for array in arrays]


@given(seed=st.integers(0, 10_000), beta=st.floats(0, 10))
def test_losses_are_those_of_the_papers(seed, beta):
    natural, attacked, labels = drawn(seed)
    rows = np.arange(5)
    p, q = softmax(natural, 1), softmax(attacked, 1)
    kl = rel_entr(p, q).sum(1)
    entropy, attacked_entropy = (-log_softmax(x, 1)[rows, labels] for x in (natural, attacked))
    others = q.copy()
    others[rows, labels] = 0
    boosted = attacked_entropy - np.log(1 - others.max(1))
    given_ = tensors(natural, attacked, labels)
    assert plain(None, given_[1], given_[2], beta).item() == pytest.approx(attacked_entropy.mean())
    assert trades(*given_, beta).item() == pytest.approx((entropy + beta * kl).mean())
    assert mart(*given_, beta).item() == pytest.approx(
        (boosted + beta * kl * (1 - p[rows, labels])).mean()
    )
    assert wrongness(given_[1], given_[2]).item() == pytest.approx(attacked_entropy.sum())
    assert divergence(given_[1], given_[0]).item() == pytest.approx(kl.sum(), abs=1e-12)


@pytest.mark.parametrize("loss", [trades, mart])
def test_a_sure_network_has_a_finite_loss_with_finite_gradients(loss):
    natural = torch.tensor([[90.0, -90.0, 0.0], [-90.0, 90.0, 0.0]], requires_grad=True)
    attacked = torch.tensor([[-90.0, 90.0, 0.0], [-90.0, 90.0, 0.0]], requires_grad=True)
    made = loss(natural, attacked, torch.tensor([0, 1]), 6.0)
    made.backward()
    assert made.isfinite()
    assert natural.grad.isfinite().all()
    assert attacked.grad.isfinite().all()


def test_help_names_the_objectives_that_there_are():
    assert tuple(losses.OBJECTIVES) == OBJECTIVES


def test_the_learning_rate_falls_twice():
    how = TrainingOptions(epochs=20, learning_rate=0.5)
    rates = [how.rate(epoch) for epoch in range(20)]
    assert rates == pytest.approx([0.5] * 15 + [0.05] * 3 + [0.005] * 2)
