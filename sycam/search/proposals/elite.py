"""What is scored so far, and the best of it: the expressions that proposals set out from."""

from __future__ import annotations

from bisect import insort
from dataclasses import dataclass
from itertools import compress

import numpy as np
from scipy.stats import rankdata

from sycam.language import Expression
from sycam.search.selection.dominance import dominates

Values = tuple[float, ...]


@dataclass(frozen=True)
class Entry:
    """An expression and its figures, higher being better.

    Attributes:
        expression: what was scored.
        values: its figures.
        complete: whether they are of all images.
        seen: share of the images that they are of.
    """

    expression: Expression
    values: Values
    complete: bool = True
    seen: float = 1.0


class Archive:
    """Scored expressions.

    Args:
        top: expressions that belong to the elite by a single value alone.
        sample: see :meth:`sample`.
    """

    def __init__(self, top: int, sample: int):
        self.top, self.size = top, sample
        self.known: dict[Expression, Entry] = {}
        self._front: list[Entry] = []
        self._ranked: list[tuple[tuple, Entry]] = []

    def __len__(self) -> int:
        return len(self.known)

    def add(self, entry: Entry) -> None:
        """Add an expression; what is known completely is not replaced."""
        before = self.known.get(entry.expression)
        if before is not None and (before.complete or not entry.complete):
            return
        self.known.pop(entry.expression, None)  # so that it is the latest
        self.known[entry.expression] = entry
        if not entry.complete:
            return
        point = _goals(entry)
        front = np.reshape([_goals(other) for other in self._front], (-1, len(point)))
        if not dominates(front, point).any():
            self._front = [*compress(self._front, ~dominates(point, front)), entry]
        insort(self._ranked, (_best_first(entry), entry), key=lambda ranked: ranked[0])
        del self._ranked[max(self.top, self.size // 2) :]

    def elite(self) -> list[Entry]:
        """Those that no other matches at a lower cost and, of a single value, the top.

        Best first value first.
        """
        elite = {s.expression: s for s in self._front}
        if self._front and len(self._front[0].values) == 1:
            elite |= {s.expression: s for _, s in self._ranked[: self.top]}
        return sorted(elite.values(), key=_best_first)

    def ranked(self) -> list[Expression]:
        """All that are known, the best first.

        Before those that are not complete come those that are, and of them those that have seen
        more, as what was dropped later lost by less. Of several values the ranks are added up.
        """
        if not self.known:
            return []
        entries = list(self.known.values())
        ranks = rankdata([entry.values for entry in entries], axis=0).sum(1)
        order = sorted(
            zip(entries, ranks.tolist(), strict=True),
            key=lambda one: (
                not one[0].complete, -one[0].seen, -one[1], one[0].expression.sort_key()
            ),
        )  # fmt: skip
        return [entry.expression for entry, _ in order]

    def sample(self) -> list[Entry]:
        """The best by the first value, and the latest: half of the sample's size of each."""
        sampled = {s.expression: s for _, s in self._ranked[: self.size // 2]}
        for expression in reversed(self.known):
            if len(sampled) >= self.size:
                break
            sampled[expression] = self.known[expression]
        return list(sampled.values())


def _best_first(entry: Entry) -> tuple:
    return (tuple(-v for v in entry.values), entry.expression.sort_key())


def _goals(entry: Entry) -> Values:
    """Its figures and its cost, higher is better."""
    return *entry.values, -entry.expression.cost
