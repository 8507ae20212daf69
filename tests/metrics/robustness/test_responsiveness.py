"""RM: rank-biased overlap by its sum, superpixels, and the two groups by hand."""

from __future__ import annotations

import itertools
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from skimage.segmentation import quickshift
from torch import nn

import sycam
from sycam.data.images import ImageSet
from sycam.data.noise_kinds import LEVELS
from sycam.errors import OptionError
from sycam.metrics import Context, Noise, Responsiveness
from sycam.metrics.robustness.responsiveness import Regions, rank_biased_overlap


def literal_overlap(first, second, p):
    """The published sum over depths, of lists of items from first to last."""
    k, total = len(first), 0.0
    for d in range(1, k + 1):
        total += len(set(first[:d]) & set(second[:d])) / d * p**d
    return p**k + (1 - p) / p * total


def overlap(first, second, p=0.9, room=0):
    """Ours, of the same lists; ``room`` items are not there."""
    k = len(first)

    def ranks(items):
        found = torch.arange(k + room)
        found[torch.tensor(items)] = torch.arange(k)
        return found[None]

    return rank_biased_overlap(ranks(first), ranks(second), torch.tensor([k]), p).item()


def test_rank_biased_overlap_by_hand():
    # [a b c] and [b a c] share 0, 2 and 3 items: p^3 + (1-p)/p (0 + p^2 + p^3) at p = 0.5.
    assert overlap([0, 1, 2], [1, 0, 2], 0.5) == pytest.approx(0.125 + 0.25 + 0.125)
    assert overlap([0, 1, 2], [0, 1, 2]) == pytest.approx(1, abs=1e-15)


@given(
    st.permutations(range(9)), st.permutations(range(9)), st.floats(0.05, 0.95), st.integers(0, 3)
)
@settings(max_examples=40, deadline=None)
def test_rank_biased_overlap_is_the_published_sum(first, second, p, room):
    found = overlap(list(first), list(second), p, room)
    assert found == pytest.approx(literal_overlap(first, second, p), abs=1e-12)
    assert 0 <= found <= 1 + 1e-12


def test_superpixels_are_scikit_images_and_ranked_by_mean_heat(small_images):
    regions = Regions.of(small_images * 5 - 2)  # in any scale
    maps = torch.rand(2, 7, 16, 16, generator=torch.Generator().manual_seed(0))
    ranks = regions.ranks(maps)
    for i, image in enumerate(small_images.double()):
        scaled = (image - image.min()) / (image.max() - image.min())
        expected = quickshift(scaled.permute(1, 2, 0).numpy(), rng=0)
        assert np.array_equal(regions.labels[i].view(16, 16).numpy(), expected)
        count = expected.max() + 1
        assert regions.counts[i] == count
        for p in range(2):
            means = [maps[p, i].numpy()[expected == r].mean() for r in range(count)]
            hottest_first = ranks[p, i].argsort()[:count].tolist()
            assert hottest_first == np.argsort(-np.round(means, 6), kind="stable").tolist()


def test_volumes_have_supervoxels_of_neighbours_that_look_alike():
    """Two bright balls in the dark: no region has much of both, and each is in one piece."""
    places = torch.stack(torch.meshgrid(*map(torch.arange, (8, 16, 16)), indexing="ij")).float()
    bright = torch.zeros(8, 16, 16, dtype=torch.bool)
    for centre in ((3, 4, 4), (4, 11, 11)):
        bright |= (places - torch.tensor(centre)[:, None, None, None]).square().sum(0) < 10
    noise = 0.05 * torch.rand(8, 16, 16, generator=torch.Generator().manual_seed(0))
    regions = Regions.of((bright.float() + noise)[None, None] * 700 - 200)  # in any scale
    labels, count = regions.labels[0].view(8, 16, 16), int(regions.counts[0])
    assert 50 < count < 400
    assert sorted(labels.unique().tolist()) == list(range(count))
    shares = torch.stack([bright[labels == label].float().mean() for label in range(count)])
    assert ((shares < 0.2) | (shares > 0.8)).float().mean() > 0.8
    assert all(ndimage.label((labels == label).numpy())[1] == 1 for label in range(count))


def test_grey_and_constant_images_have_superpixels():
    images = torch.cat([torch.rand(1, 1, 12, 12), torch.zeros(1, 1, 12, 12)])
    regions = Regions.of(images)
    assert regions.counts[0] > 1
    assert regions.counts[1] >= 1


class Halves(nn.Module):
    """Class 0 where the left half is brighter, 1 where the right half is; one channel a half."""

    def __init__(self):
        super().__init__()
        self.split = nn.Identity()
        self.head = nn.Linear(2, 2, bias=False)
        self.head.weight.data = torch.eye(2)

    def forward(self, images):
        grey = images.mean(1)
        left, right = grey.clone(), grey.clone()
        left[..., 8:], right[..., :8] = 0, 0
        return self.head(self.split(torch.stack([left, right], 1)).mean((2, 3)))


def halves(left, right):
    image = torch.empty(1, 3, 16, 16)
    image[..., :8], image[..., 8:] = left, right
    return image


def test_a_map_that_follows_the_prediction_by_hand(score, monkeypatch):
    """Two regions, the halves; noise that swaps them changes the prediction and the ranking."""
    monkeypatch.setitem(LEVELS, "blur", (0.01, 0.02))

    def swapped(noise, context):
        return context.images.flip(-1) if noise.level == 0.02 else context.images * 1.1

    monkeypatch.setattr(Noise, "applied", swapped)
    images = torch.cat([halves(1.0, 0.2), halves(0.3, 0.9)])
    values = score(
        Responsiveness(("blur",)), Halves().eval(), images, ["mean(G)", "mean(A) - mean(A) + 1"],
        layer="split",
    )  # fmt: skip
    k = int(Regions.of(images).counts[0])
    assert k == 2
    # Grad-CAM shows the half of the class: kept alike, reversed where the prediction changed.
    # An overlap of 2 items that are exchanged: p^2 + (1 - p) / p * p^2 = p.
    assert torch.allclose(values[0], torch.tensor([[1.0, 1, 0.9, 1]] * 2, dtype=torch.float64))
    figure = Responsiveness(("blur",)).reduce(values[0].numpy())
    assert figure == pytest.approx(1 * (1 - 0.9))
    # The sum of activations shows the brighter half, which is the same here.
    assert torch.allclose(values[1], values[0])


STRONG = Responsiveness(("gaussian", "blur"), strength=2)


def test_groups_are_those_of_the_networks_predictions(wavering, small_images, score, heatmaps):
    values = score(STRONG, wavering, small_images, ["mean(G)"])[0]
    digests = ImageSet.from_arrays(small_images).digests
    ctx = Context(small_images, torch.zeros(7), torch.ones(7), None, digests)
    regions = Regions.of(small_images)
    clean = regions.ranks(heatmaps(wavering, small_images, "mean(G)")[None])[0]
    before, expected = wavering(small_images).argmax(1), torch.zeros(7, 4)
    for kind, level in itertools.chain(
        *(itertools.product([kind], LEVELS[kind]) for kind in ("gaussian", "blur"))
    ):
        noisy = Noise(kind, 2 * level).applied(ctx)
        ranks = regions.ranks(heatmaps(wavering, noisy, "mean(G)")[None])[0]
        after = wavering(noisy).argmax(1)
        for i in range(7):
            k = int(regions.counts[i])
            orders = [r[i].argsort()[:k].tolist() for r in (clean, ranks)]
            column = 0 if before[i] == after[i] else 2
            expected[i, column] += literal_overlap(*orders, 0.9)
            expected[i, column + 1] += 1
    assert (expected[:, [1, 3]].sum(0) > 3).all()
    assert torch.allclose(values.float(), expected, atol=1e-5)


def test_what_ignores_the_image_has_rm_0(wavering, small_images):
    table = sycam.evaluate(
        wavering, "3", small_images, ["centre-prior", "mean(A - A)", "grad-cam"], [STRONG]
    )
    assert table.cells["centre-prior", STRONG.text].mean == 0
    assert table.cells["mean(A - A)", STRONG.text].mean == 0
    assert table.cells["grad-cam", STRONG.text].mean > 0.01


def test_the_figure_is_pooled_over_images_and_undefined_if_a_group_is_empty():
    values = np.array([[3.0, 4, 0, 0], [0, 0, 0.5, 2]])
    assert Responsiveness().reduce(values) == pytest.approx(0.75 * 0.75)
    both = Responsiveness().reduce(np.stack([values[:1], values[1:]]))
    assert np.isnan(both).all()


def test_images_without_both_groups_are_refused_before_they_are_scored(
    small_network, small_images, score
):
    gentle = Responsiveness(("blur",), strength=1e-4)
    with pytest.raises(OptionError, match="none of the 3 noisy copies of each changes"):
        score(gentle, small_network, small_images, ["mean(G)"])


def test_callables_and_bad_options_are_refused(small_network, small_images, score, monkeypatch):
    with pytest.raises(OptionError, match="a callable is explained"):
        score("rm", small_network, small_images, ["mean(G)"], target=lambda row: row.sum())
    with pytest.raises(OptionError, match="noise 'fog' is not known; expected 'gaussian' or"):
        Responsiveness(("fog",))
    with pytest.raises(OptionError, match="one or several of"):
        Responsiveness(())
    with pytest.raises(OptionError, match="strength must be"):
        Responsiveness(strength=0)
    with pytest.raises(OptionError, match="persistence must lie between 0 and 1, got 1"):
        Responsiveness(persistence=1)
    monkeypatch.setitem(sys.modules, "skimage.segmentation", None)
    with pytest.raises(OptionError, match=r"pip install 'sycam\[superpixels\]'"):
        score("rm", small_network, small_images, ["mean(G)"])
