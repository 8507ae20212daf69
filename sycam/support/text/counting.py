"""Numbers of things in words."""

from __future__ import annotations


def counted(number: int, thing: str) -> str:
    """So many of a thing whose plural ends in s.

    >>> counted(1, "candidate"), counted(2000, "candidate")
    ('1 candidate', '2,000 candidates')
    """
    return f"{number:,} {thing}{'' if number == 1 else 's'}"
