"""Attacks stay within the budget of each pixel, and find what a linear network's formula says."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from sycam.applications import adversarial_images
from sycam.applications.adversarial_training.attacks import (
    attacked_by,
    minimum_margin,
    pgd,
    starts,
    wrongness,
)
from sycam.applications.adversarial_training.budgets import budget_map, marked_pixels
from sycam.applications.adversarial_training.options import BY_STEPS, BudgetOptions
from sycam.applications.pixels import PixelScale
from sycam.applications.randomness import generator_of
from sycam.data.images import ImageSet

MEAN, STD = (0.4, 0.6), (0.2, 0.3)


@given(
    seed=st.integers(0, 10_000),
    eps=st.floats(0.001, 1.0),
    share=st.floats(0.0, 1.0),
    steps=st.integers(1, 4),
    attack=st.sampled_from(BY_STEPS),
)
def test_no_pixel_leaves_its_budget(network_of, seed, eps, share, steps, attack):
    """Nor the range of pixels; where the budget is 0 every bit stays."""
    generator = torch.Generator().manual_seed(seed)
    scale = PixelScale(MEAN, STD)
    pixels = torch.rand(2, 2, 8, 8, generator=generator)
    pixels[torch.rand(pixels.shape, generator=generator) < 0.2] = 1.0
    images = scale.inputs(pixels)
    marked = torch.rand(2, 8, 8, generator=generator) < 0.5
    budget = budget_map(marked, BudgetOptions(eps=eps, eps_low=eps * share))
    budget[torch.rand(budget.shape, generator=generator) < 0.3] = 0
    box = scale.box(images, budget)
    start = starts(images, scale.distance(budget, images), box, generator)
    labels = torch.tensor([0, 2])
    step = scale.distance(eps, images)
    moved = attacked_by(attack, network_of, images, labels, start, box, step, steps)
    for found in (start, moved):
        away = (scale.pixels(found) - scale.pixels(images)).abs()
        assert (away <= budget[:, None] + 1e-6).all()
        assert scale.pixels(found).min() >= -1e-6
        assert scale.pixels(found).max() <= 1 + 1e-6
        still = (budget == 0)[:, None].expand_as(images)
        assert torch.equal(found[still], images[still])


@pytest.fixture(scope="module")
def network_of():
    torch.manual_seed(3)
    return nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3)).eval()


def test_of_a_linear_network_the_attack_is_the_best_one():
    """Of two classes: every pixel goes to the end of its box that speaks for the other class."""
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(2, 2 * 5 * 5)).astype(np.float32)
    linear = nn.Linear(50, 2, bias=False)
    linear.weight.data = torch.from_numpy(weights)
    pixels = rng.random((3, 2, 5, 5)).astype(np.float32)
    budget = rng.choice([0.0, 0.05, 0.2], size=(3, 5, 5)).astype(np.float32)
    labels = np.array([0, 1, 1])
    towards = np.sign(weights[1 - labels] - weights[labels]).reshape(pixels.shape)
    best = np.clip(pixels + towards * budget[:, None], 0, 1)

    scale = PixelScale(MEAN, STD)
    images = scale.inputs(torch.from_numpy(pixels))
    box = scale.box(images, torch.from_numpy(budget))
    moved = pgd(
        lambda x: wrongness(linear(x.flatten(1)), torch.from_numpy(labels)),
        images, box, 8, scale.distance(0.05, images),
    )  # fmt: skip
    np.testing.assert_allclose(scale.pixels(moved).numpy(), best, atol=1e-6)


def test_an_image_for_which_the_network_has_no_number_is_lost_by_margins_as_well():
    """Where a step leads to logits that are no numbers, that is what the attack returns."""
    weights = torch.tensor([[1.0], [-1.0], [0.0]])

    def network(x):
        logits = x.flatten(1) @ weights.T
        return torch.where(x.flatten(1) < 0.45, torch.nan, logits)

    images, labels = torch.full((1, 1, 1, 1), 0.5), torch.tensor([0])
    box = PixelScale((0.0,), (1.0,)).box(images, 0.1)
    moved = minimum_margin(network, images, labels, images, box, torch.tensor(0.1), 1)
    assert network(moved).isnan().all()


def test_as_another_library_attacks(network_of):
    peer = pytest.importorskip("torchattacks")
    pixels, labels = torch.rand(4, 2, 8, 8), torch.tensor([0, 1, 2, 0])
    theirs = peer.PGD(network_of, eps=0.1, alpha=0.03, steps=7, random_start=False)(pixels, labels)
    scale = PixelScale((0.0, 0.0), (1.0, 1.0))
    ours = pgd(
        lambda x: wrongness(network_of(x), labels), pixels, scale.box(pixels, 0.1), 7,
        scale.distance(0.03, pixels),
    )  # fmt: skip
    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=0)


def test_starts_fill_the_box_and_depend_on_no_neighbour():
    scale = PixelScale((0.0,), (1.0,))
    images = torch.full((2, 1, 40, 40), 0.5)
    box, away = scale.box(images, 0.1), scale.distance(0.1, images)
    both = starts(images, away, box, [generator_of("a"), generator_of("b")])
    alone = starts(images[1:], away, scale.box(images[1:], 0.1), [generator_of("b")])
    assert torch.equal(both[1:], alone)
    moved = (both - images).flatten()
    assert moved.std().item() == pytest.approx(0.2 / 12**0.5, rel=0.05)  # uniform
    assert moved.mean().abs() < 0.005


def test_marked_are_the_pixels_whose_z_score_is_above_the_threshold():
    heat = torch.tensor([[[0.0, 1.0], [2.0, 5.0]], [[0.3, 0.3], [0.3, 0.3]]])
    values = np.array([0.0, 1.0, 2.0, 5.0])
    z = (values - values.mean()) / values.std()  # -1.07, -0.53, 0, 1.60
    for threshold in (-1.0, -0.1, 0.1, 1.0, 2.0):
        found = marked_pixels(heat, threshold)
        assert found[0].flatten().tolist() == (z > threshold).tolist()
        assert found[1].all()  # flat: nothing is said of it, and all of it keeps the full budget


@pytest.mark.parametrize("attack", BY_STEPS)
@pytest.mark.parametrize("scaled", [False, True])
def test_equal_budgets_attack_as_without_a_cam_bit_for_bit(network, images, scaled, attack):
    pixels, labels = images
    given = ImageSet.from_arrays(pixels, labels)
    if scaled:
        inputs = PixelScale(MEAN, STD).inputs(pixels)
        given = ImageSet.from_arrays(inputs, labels, mean=MEAN, std=STD)
    how = {"eps": 0.1, "steps": 5, "layer": "4", "attack": attack, "progress": False}
    plain = adversarial_images(network, given, None, **how)
    same = adversarial_images(network, given, "grad-cam", eps_low=0.1, **how)
    assert same.marked.float().mean() < 0.9
    assert torch.equal(plain.adversarial, same.adversarial)
    low = adversarial_images(network, given, "grad-cam", eps_low=0, **how)
    rest = ~low.marked[:, None].expand_as(low.adversarial)
    assert torch.equal(low.adversarial[rest], given.images[rest])
    assert not torch.equal(low.adversarial, given.images)
    assert max(row.largest for row in low.rows) <= 0.1 + 1e-6
    assert plain.robust <= low.robust <= low.natural
    assert plain.attack == f"{attack}-5"


def test_attacked_images_are_the_same_whatever_the_batch(network, images):
    pixels, labels = images
    how = {"eps": 0.1, "eps_low": 0.02, "steps": 3, "layer": "4", "progress": False}
    whole = adversarial_images(network, pixels, "layer-cam", labels=labels, **how)
    parts = adversarial_images(network, pixels, "layer-cam", labels=labels, batch=5, **how)
    torch.testing.assert_close(whole.adversarial, parts.adversarial, atol=1e-6, rtol=0)
    assert [row.after for row in whole.rows] == [row.after for row in parts.rows]


def test_what_is_kept_of_an_attack_is_read_again(network, images, tmp_path):
    """By the attacked network, which is as wrong on it."""
    from sycam.applications import robust_accuracy

    pixels, labels = images
    grey = (pixels * 255).round() / 255
    made = adversarial_images(
        network, grey, labels=labels, eps="16/255", steps=5, out=tmp_path, progress=False
    )
    kept = np.load(tmp_path / "adversarial.npz")
    assert kept["images"].dtype == np.uint8
    assert np.array_equal(kept["adversarial"], made.adversarial.numpy())
    away = kept["images"].astype(int) - (grey * 255).round().int().permute(0, 2, 3, 1).numpy()
    assert np.abs(away).max() == 16
    again = robust_accuracy(network, tmp_path / "adversarial.npz", eps=1e-6, steps=1,
                            progress=False)  # fmt: skip
    right = np.mean([row.after == row.label for row in made.rows])
    assert again.natural == pytest.approx(right, abs=1 / 24)
    assert (tmp_path / "attack.png").stat().st_size > 5000
    assert len((tmp_path / "attack.csv").read_text().splitlines()) == 25
