"""Arrays that are kept: in memory up to a number of bytes, then in files, with the same values."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from sycam.support import shelf
from sycam.support.shelf import Shelf, blocks, stacked


def is_in_file(values: np.ndarray) -> bool:
    """Whether an array's memory is a mapped file of the folder for temporary files."""
    place = values.__array_interface__["data"][0]
    with open("/proc/self/maps") as maps:
        for line in maps:
            span, *_, name = line.split(maxsplit=5)
            first, last = (int(end, 16) for end in span.split("-"))
            if first <= place < last:
                return "sycam-" in name
    return False


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks Linux where memory lies")
def test_what_has_no_room_lies_in_files_with_the_same_values():
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=size) for size in ((40, 3), (5,), (700, 9), (3, 0), (2, 2))]
    arrays += [rng.random(33) < 0.5, rng.integers(0, 9, 77, np.int32)]
    kept_by = Shelf(room=1000)
    kept = [kept_by.put(one) for one in arrays]
    for one, there in zip(arrays, kept, strict=True):
        np.testing.assert_array_equal(there, one)
        assert (there.dtype, there.shape) == (one.dtype, one.shape)
    assert kept[0] is arrays[0]  # 960 bytes
    assert is_in_file(kept[2])
    blank = kept_by.zeros((300, 4))
    assert not blank.any()
    blank[:] = 1.0  # others stay as they are
    np.testing.assert_array_equal(kept[2], arrays[2])
    del kept_by
    np.testing.assert_array_equal(kept[2], arrays[2])


@pytest.mark.parametrize("most", [1 << 22, 8])
def test_arrays_are_stacked_one_at_a_time(monkeypatch, most):
    monkeypatch.setattr(shelf, "IN_MEMORY", most)
    rows = np.random.default_rng(1).normal(size=(5, 4, 3))
    np.testing.assert_array_equal(stacked(iter(rows), 5), rows)
    assert stacked([], 0).shape == (0, 0)


@pytest.mark.parametrize(
    ("count", "each", "most"), [(10, 3, 100), (10, 3, 9), (10, 30, 9), (0, 1, 9)]
)
def test_blocks_cover_all_once_and_are_no_larger_than_allowed(monkeypatch, count, each, most):
    monkeypatch.setattr(shelf, "AT_ONCE", most)
    parts = blocks(count, each)
    assert [i for part in parts for i in range(count)[part]] == list(range(count))
    assert all((p.stop - p.start) * each <= max(most, each) for p in parts)
    assert len(parts) <= 1 or count * each > most
