"""Points in several goals: which dominate which, how crowded they lie, what volume they cover.

Points are ``[n,g]``, oriented: higher is better in every column.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from sycam.errors import OptionError


def covers(ones: ArrayLike, others: ArrayLike) -> np.ndarray:
    """Whether points are nowhere worse than others, which may be the same.

    Args:
        ones, others: ``[...,g]``, which broadcast; one point against many, too.

    Returns:
        ndarray[...] bool.
    """
    return np.asarray((np.asarray(ones) >= np.asarray(others)).all(-1))


def dominates(ones: ArrayLike, others: ArrayLike) -> np.ndarray:
    """Whether points are nowhere worse than others and somewhere better; as :func:`covers`."""
    return covers(ones, others) & ~covers(others, ones)


def non_dominated(points: np.ndarray) -> np.ndarray:
    """Whether each point is on the front.

    A point is dominated by another that is nowhere worse and somewhere better; of equal points
    the first counts.

    Args:
        points: ``[n,g]``, finite.

    Returns:
        ndarray[n] bool.
    """
    count, goals = points.shape
    # Whatever dominates a point, or equals it and stands before it, comes before it in this order.
    order = np.lexsort((np.arange(count), *(-points[:, j] for j in reversed(range(goals)))))
    front, size = np.empty_like(points), 0
    kept = np.zeros(count, dtype=bool)
    for i in order:
        if not covers(front[:size], points[i]).any():
            front[size] = points[i]
            size += 1
            kept[i] = True
    return kept


def hypervolume(points: np.ndarray, reference: Sequence[float]) -> float:
    """The volume that points dominate above a reference point, exactly.

    By slices (While, Bradstreet and Barone, "A fast way of calculating exact hypervolumes", IEEE
    Transactions on Evolutionary Computation 2012): a point adds its own box, less what those
    better in the last goal cover of it, which is a volume of one goal fewer.

    Args:
        points: ``[n,g]``, finite; those that are not above the reference in every goal add
            nothing.
        reference: g numbers.

    >>> hypervolume(np.array([[2.0, 1.0], [1.0, 2.0]]), (0, 0))
    3.0
    """
    points = np.asarray(points, dtype=float)
    if points.ndim != 2 or points.shape[1] != len(reference):
        raise OptionError(
            f"points of shape {list(points.shape)} with a reference of {len(reference)} numbers; "
            "expected [n, g] with g numbers"
        )
    sides = points - np.asarray(reference, dtype=float)
    return _volume(sides[(sides > 0).all(1)])


def _volume(sides: np.ndarray) -> float:
    """The volume of the union of boxes with a corner at 0 and sides ``[n,g]``."""
    if not len(sides):
        return 0.0
    if sides.shape[1] == 1:
        return float(sides.max())
    if sides.shape[1] == 2:
        wide = sides[np.argsort(-sides[:, 0], kind="stable")]
        steps = -np.diff(wide[:, 0], append=0.0)
        return float(steps @ np.maximum.accumulate(wide[:, 1]))
    rising = sides[np.argsort(sides[:, -1], kind="stable")]
    flat, heights = rising[:, :-1], rising[:, -1]
    total = 0.0
    for i, (base, height) in enumerate(zip(flat, heights, strict=True)):
        covered = np.minimum(flat[i + 1 :], base)
        total += height * (float(np.prod(base)) - _volume(covered))
    return total


def ranks(points: np.ndarray) -> np.ndarray:
    """``[n]`` 0 on the front, 1 on the front of the rest, and so on (non-dominated sorting)."""
    ranked = np.zeros(len(points), dtype=int)
    left, rank = np.arange(len(points)), 0
    while len(left):
        front = non_dominated(points[left])
        ranked[left[front]] = rank
        left, rank = left[~front], rank + 1
    return ranked


def crowding(points: np.ndarray) -> np.ndarray:
    """``[n]`` how alone each point of one front is: the sum over goals of the distance between its
    two neighbours, in units of the front's extent; infinite at the ends.

    Deb et al., "A fast and elitist multiobjective genetic algorithm: NSGA-II", IEEE Transactions
    on Evolutionary Computation 2002.
    """
    distances = np.zeros(len(points))
    for column in points.T:
        order = np.argsort(column, kind="stable")
        extent = column[order[-1]] - column[order[0]] if len(order) else 0.0
        if extent > 0:
            distances[order[1:-1]] += (column[order[2:]] - column[order[:-2]]) / extent
            distances[order[[0, -1]]] = np.inf
    return distances


def by_rank_and_crowding(points: np.ndarray) -> np.ndarray:
    """``[n]`` indices in the order of NSGA-II: by rank, the less crowded first, then as given."""
    rank, alone = ranks(points), np.zeros(len(points))
    for front in range(rank.max(initial=-1) + 1):
        members = rank == front
        alone[members] = crowding(points[members])
    return np.lexsort((-alone, rank))
