"""How many cores this process may use."""

from __future__ import annotations


def cores() -> int:
    """Those that the machine has, less what affinity and a container's quota of CPU time withhold.

    >>> cores() >= 1
    True
    """
    from joblib import cpu_count  # a tenth of a second, for which no page of help waits

    return int(cpu_count())
