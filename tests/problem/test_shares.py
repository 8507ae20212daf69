"""How many images are searched on and held out where nobody says."""

from __future__ import annotations

import pytest
import torch

import sycam
from sycam.data.images import ImageSet
from sycam.errors import DataError
from sycam.problem.images import divide
from sycam.problem.shares import LEAST, shares


def images(count, **options):
    pixels = torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    return ImageSet.from_arrays(pixels, **options)


@pytest.mark.parametrize(
    ("there", "searched", "held_out", "expected"),
    [
        (1000, None, None, (64, 256)),
        (320, None, None, (64, 256)),
        (200, None, None, (64, 136)),
        (100, None, None, (50, 50)),
        (148, 48, None, (48, 100)),
        (148, None, 100, (48, 100)),
        (1000, 48, 100, (48, 100)),
        (10, 48, 100, (48, 100)),
        (10, None, None, (64, 256)),  # too few: the error names what is usual
        (0, None, None, (64, 256)),
    ],
)
def test_what_is_tried_first(there, searched, held_out, expected):
    tried = list(shares(there, searched, held_out))
    assert tried[0] == expected
    assert len(set(tried)) == len(tried)
    given = searched is not None and held_out is not None
    assert given or len(tried) == 1 or min(tried[-1]) >= LEAST


def test_a_small_set_is_divided_and_says_so():
    searched, held_out = divide(images(60), None, None, 0, False)
    assert (len(searched), len(held_out)) == (30, 30)
    assert "of 60 images 30 are searched on and 30 held out" in searched.notes
    assert not set(searched.digests) & set(held_out.digests)


def test_groups_that_do_not_divide_so_leave_fewer():
    groups = ["a"] * 22 + [f"{i}" for i in range(30)]  # the large group is on one side
    searched, held_out = divide(images(52, groups=groups), None, None, 0, False)
    assert min(len(searched), len(held_out)) >= LEAST
    assert not set(searched.groups) & set(held_out.groups)


def test_numbers_that_are_asked_for_are_had_or_refused():
    with pytest.raises(DataError, match="60 images asked for"):
        divide(images(50), 30, 30, 0, False)
    with pytest.raises(DataError, match=r"only 11 images.*search_images=5 and heldout=6"):
        divide(images(11), None, None, 0, False)
    searched, held_out = divide(images(11), 6, 5, 0, False)
    assert (len(searched), len(held_out)) == (5, 6)
    with pytest.raises(DataError, match=r"320 images asked for.*only 3"):
        divide(images(3), None, None, 0, False)


def test_a_run_on_few_images_needs_no_numbers(tmp_path):
    network = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(144, 2)
    ).eval()
    result = sycam.synthesize(
        network, "1", images(40), "deletion", budget=4, max_cost=1, out=tmp_path / "run"
    )
    assert (result.record.data.search_images, result.record.data.heldout_images) == (20, 20)
    assert sycam.verify(result.path, network, images(40)).holds
