"""Mean ranks of methods over images or data sets, with Friedman's test and Nemenyi's critical
difference."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from sycam.errors import OptionError
from sycam.support.arguments import argument

LEVEL = 0.05


@dataclass(frozen=True)
class MeanRanks:
    """How methods rank over the items on which all of them were scored.

    J. Demšar, Statistical comparisons of classifiers over multiple data sets, JMLR 7, 2006.

    Attributes:
        names: of the k methods, the best mean rank first.
        ranks: the k mean ranks in the same order, 1 (the best on every item) to k; methods that tie
            on an item share the mean of their places.
        items: N, how many images or data sets were ranked.
        left_out: items that some method has no finite score of.
        statistic: Friedman's chi-squared, corrected for ties; 0 where all tie everywhere.
        p: that all methods rank alike, by Friedman's test.
        alpha: family-wise error of the critical difference.
        critical_difference: of two mean ranks from which on the methods differ by Nemenyi's test.
        cliques: groups of two methods or more within which none differ, as large as they get, the
            best first.
    """

    names: tuple[str, ...]
    ranks: tuple[float, ...]
    items: int
    left_out: int
    statistic: float
    p: float
    alpha: float
    critical_difference: float
    cliques: tuple[tuple[str, ...], ...]

    def rank(self, name: str) -> float:
        """The mean rank of a method by name."""
        return self.ranks[self.names.index(name)]

    def differ(self, one: str, other: str) -> bool:
        """Whether two methods differ by Nemenyi's test, which compares all pairs."""
        return abs(self.rank(one) - self.rank(other)) >= self.critical_difference


def mean_ranks(
    scores: np.ndarray | Sequence[Sequence[float]],
    names: Sequence[str],
    higher_is_better: bool = True,
    alpha: float = LEVEL,
) -> MeanRanks:
    """Ranks of methods on each item, and their means.

    Friedman's test says whether any methods differ, Nemenyi's, which is corrected for all pairs,
    which do. Both look at ranks alone: a method may lead in ranks and trail in the mean.

    Args:
        scores: ``[N,k]`` of k methods on N images, or data sets, or whatever else they were all
            scored on; items with a score that is not finite are left out.
        names: of the methods, each another.
        higher_is_better: the direction of the scores.
        alpha: of the critical difference, between 0 and 1.

    Raises:
        OptionError: scores of another shape, fewer than three methods or two items, names that
            repeat, or alpha out of range.

    Example:
        >>> found = mean_ranks([[0.9, 0.5, 0.1]] * 20, ["a", "b", "c"])
        >>> found.ranks, round(found.critical_difference, 2), found.differ("a", "b")
        ((1.0, 2.0, 3.0), 0.74, True)
    """
    table = np.asarray(scores, dtype=float)
    if table.ndim != 2 or table.shape[1] != len(names):
        raise OptionError(
            f"scores have shape {list(table.shape)} for {len(names)} names; expected [items, "
            "methods] with a name per method"
        )
    if len(set(names)) != len(names):
        twice = next(name for name in names if list(names).count(name) > 1)
        raise OptionError(f"name {twice!r} stands for two methods; give each one its own")
    if not 0 < alpha < 1:
        raise OptionError(f"{argument('alpha')} must be between 0 and 1, got {alpha!r}")
    kept = table[np.isfinite(table).all(1)]
    items, methods = kept.shape
    if methods < 3:
        raise OptionError(
            f"ranks of {methods} methods say nothing that a paired test of two does not; expected "
            "three or more"
        )
    if items < 2:
        raise OptionError(
            f"{items} of {len(table)} items have a finite score of every method; expected two or "
            "more to rank the methods on"
        )
    each = stats.rankdata(-kept if higher_is_better else kept, axis=1)
    means = each.mean(0)
    if (each == each[:, :1]).all():
        statistic, p = 0.0, 1.0  # where everything ties scipy divides by 0
    else:
        statistic, p = map(float, stats.friedmanchisquare(*each.T))
    critical = nemenyi_difference(methods, items, alpha)
    order = np.argsort(means, kind="stable")
    ordered, ranks = tuple(names[i] for i in order), means[order]
    return MeanRanks(
        names=ordered,
        ranks=tuple(map(float, ranks)),
        items=items,
        left_out=len(table) - items,
        statistic=statistic,
        p=p,
        alpha=alpha,
        critical_difference=critical,
        cliques=tuple(ordered[first : last + 1] for first, last in _groups(ranks, critical)),
    )


def nemenyi_difference(methods: int, items: int, alpha: float = LEVEL) -> float:
    """Nemenyi's critical difference of two mean ranks (Demšar 2006, section 3.2.2).

    Example:
        >>> round(nemenyi_difference(methods=4, items=14), 2)
        1.25
    """
    of_range = float(stats.studentized_range.ppf(1 - alpha, methods, math.inf))
    return of_range / math.sqrt(2) * math.sqrt(methods * (methods + 1) / (6 * items))


def _groups(ranks: np.ndarray, critical: float) -> list[tuple[int, int]]:
    """First and last place of each group that is no part of another; ranks ascend."""
    groups: list[tuple[int, int]] = []
    reached = 0
    for first in range(len(ranks)):
        last = int(np.searchsorted(ranks - ranks[first], critical, side="left")) - 1
        if last > first and last > reached:
            groups.append((first, last))
            reached = last
    return groups
