"""Splits: disjoint, repeatable, and dependent on content only."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sycam.data.images import ImageSet, choose, split
from sycam.errors import DataError, OptionError

VALUES = torch.rand(12, 1, 3, 3, generator=torch.Generator().manual_seed(0))


def numbered(order: list[int]) -> ImageSet:
    """Images of VALUES in some order (numbers may repeat), named and labelled by number."""
    return ImageSet.from_arrays(
        VALUES[order], labels=order, names=[f"{number}.png" for number in order]
    )


@settings(deadline=None, max_examples=30)
@given(order=st.permutations(range(12)), seed=st.integers(0, 3))
def test_split_does_not_depend_on_order(order, seed):
    counts = {"search": 5, "heldout": 4}
    expected = split(numbered(list(range(12))), counts, seed)
    found = split(numbered(order), counts, seed)
    for one, other in zip(expected, found, strict=True):
        assert one.digests == other.digests
        assert one.names == other.names
        assert one.labels.tolist() == other.labels.tolist()


@settings(deadline=None, max_examples=30)
@given(order=st.lists(st.integers(0, 11), min_size=8, max_size=40))
def test_equal_images_never_fall_into_both_sides(order):
    distinct = len(set(order))
    if distinct < 2:
        return
    held_out = distinct // 2
    counts = {"search": distinct - held_out, "heldout": held_out}
    search, rest = split(numbered(order), counts, seed=1)
    assert not set(search.digests) & set(rest.digests)
    assert len(set(search.digests)) == len(search) == counts["search"]
    assert len(set(rest.digests)) == len(rest) == counts["heldout"]
    repeated = len(order) - distinct
    assert bool(search.skipped) == bool(repeated)
    if repeated:
        assert search.skipped[0].startswith(f"{repeated} image")


def test_seed_zero_is_a_seed_like_any_other():
    image_set = numbered(list(range(12)))
    counts = {"search": 6, "heldout": 6}
    drawn = [split(image_set, counts, seed)[0].names for seed in (0, 0, 1, 2)]
    assert drawn[0] == drawn[1]
    assert len(set(drawn)) == 3


def test_more_held_out_images_leave_the_search_images_alone():
    image_set = numbered(list(range(12)))
    few, many = (split(image_set, {"search": 4, "heldout": m}, 0) for m in (2, 8))
    assert few[0].names == many[0].names
    assert few[1].names == many[1].names[:2]


def test_one_of_equal_images_is_kept_whatever_the_order():
    images = VALUES[[0, 0, 1]]
    one = ImageSet.from_arrays(images, labels=[3, 2, 1], names=["a", "b", "c"])
    drawn = {choose(one.subset(order), 2, 0).names for order in ([0, 1, 2], [1, 0, 2], [2, 1, 0])}
    assert len(drawn) == 1
    assert set(drawn.pop()) == {"b", "c"}  # the smaller label


def test_choose_stays_apart_from_another_set():
    search = choose(numbered(list(range(8))), 5, seed=0)
    other = numbered(list(range(12)))
    held_out = choose(other, 7, seed=0, apart_from=search)
    assert not set(held_out.digests) & set(search.digests)
    assert held_out.skipped == ("5 images that the other set holds left out",)
    with pytest.raises(DataError, match="there are only 7"):
        choose(other, 8, seed=0, apart_from=search)


def test_too_few_images_are_counted():
    with pytest.raises(DataError, match=r"9 images asked for \(5 to search on, 4 held out\)") as e:
        split(numbered([0, 1, 2, 2, 2]), {"search": 5, "heldout": 4}, 0)
    assert "there are only 3" in str(e.value)
    assert "2 images identical to another one" in str(e.value)


@pytest.mark.parametrize("counts", [{"search": 0, "heldout": 4}, {"search": 4, "heldout": -1}])
def test_counts_start_at_one(counts):
    with pytest.raises(OptionError, match="at least 1"):
        split(numbered([0, 1, 2]), counts, 0)
