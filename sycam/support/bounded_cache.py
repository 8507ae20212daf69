"""Values kept in memory up to a number of bytes."""

from __future__ import annotations

from typing import Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class BoundedCache(Generic[Key, Value]):
    """Keeps values while there is room; what came first stays, and nothing is evicted.

    For values that can be computed again, where early ones are used most: cheap candidates come
    first, and more expensive ones are built from them.

    Args:
        room: bytes.

    Attributes:
        room: bytes that are left.
        values: what is kept, by key.

    >>> cache = BoundedCache(10)
    >>> for name, size in (("a", 8), ("b", 4), ("c", 2)):
    ...     cache.offer(name, name.upper(), size)
    >>> cache.values, cache.room
    ({'a': 'A', 'c': 'C'}, 0)
    """

    def __init__(self, room: int):
        self.room = room
        self.values: dict[Key, Value] = {}

    def offer(self, key: Key, value: Value, size: int) -> None:
        """Keep a value of so many bytes if they fit; one that is kept already stays.

        Args:
            key, value: what to keep.
            size: bytes of the value.
        """
        if size <= self.room and key not in self.values:
            self.room -= size
            self.values[key] = value
