"""A cache that never holds more bytes than it may."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sycam.support.bounded_cache import BoundedCache


@given(st.integers(0, 50), st.lists(st.tuples(st.integers(0, 5), st.integers(0, 30))))
def test_the_first_value_of_a_key_that_fits_is_kept_and_the_room_is_never_exceeded(room, offers):
    cache, kept = BoundedCache(room), {}
    for turn, (key, size) in enumerate(offers):
        before = cache.room
        cache.offer(key, turn, size)
        if size <= before and key not in kept:
            kept[key] = turn, size
        assert cache.room == room - sum(size for _, size in kept.values()) >= 0
    assert cache.values == {key: turn for key, (turn, _) in kept.items()}


def test_a_value_offered_again_takes_no_more_room():
    cache = BoundedCache(10)
    cache.offer("a", "first", 6)
    cache.offer("a", "second", 4)
    assert cache.values == {"a": "first"}
    assert cache.room == 4
