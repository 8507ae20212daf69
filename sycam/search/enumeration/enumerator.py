"""Every expression of a grammar, cheapest first, each meaning once.

Bottom-up, in buckets of integer cost, with two levels of observational equivalence on a few probe
images. Subexpressions merge only where their *values* agree, which is safe in every context.
Complete candidates merge further, where the chosen metric cannot tell their *heatmaps* apart.
"Every" is therefore relative to the probe images; what the second set of images contradicts is
kept apart and counted.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, product
from typing import Annotated

import numpy as np
import torch
from torch import Tensor

from sycam.errors import OptionError
from sycam.grammar import Grammar, Production
from sycam.grammar.grammar import splits
from sycam.heatmaps import is_degenerate
from sycam.heatmaps.evaluate import Pairs
from sycam.language import Expression, apply
from sycam.language.signatures import COMMUTATIVE, IDEMPOTENT, INVOLUTION
from sycam.metrics import WEIGHTS
from sycam.search.enumeration.equivalence import fingerprints, heat_keys, portraits, value_keys
from sycam.search.enumeration.equivalence_classes import HeatClasses, ValueClasses
from sycam.search.enumeration.probe import Probe
from sycam.search.options import BY_BOTH, BY_VALUES, EQUIVALENCES
from sycam.support.schema import Bounds

BLOCK = 256  # trees evaluated at once


@dataclass
class Level:
    """What enumeration did at one cost.

    Attributes:
        cost: of the expressions.
        trees: derivation trees of this cost, by recurrence over the grammar.
        built: expressions evaluated (the rest was covered by merged subexpressions and laws).
        values: distinct values among them.
        candidates: complete expressions that the metric can tell apart from all earlier ones.
        anticipated: complete expressions of a class that :meth:`Enumerator.represent` was asked
            about before; they are not candidates again.
        flat: complete expressions whose heatmap is flat on every probe image.
        overflowed: expressions dropped because a value was not finite.
        disagreements: equal on the probe images, different on the confirming ones: kept apart.
        forgotten: expressions that build no larger ones, since the metric scored them as others.
        complete: whether the whole level was enumerated.
    """

    cost: int
    trees: Annotated[int, Bounds(0, math.inf)]  # grows fast with the cost
    built: int = 0
    values: int = 0
    candidates: int = 0
    anticipated: int = 0
    flat: int = 0
    overflowed: int = 0
    disagreements: int = 0
    forgotten: int = 0
    complete: bool = False


class Enumerator:
    """Enumerates a grammar on probe images.

    Args:
        grammar: the space.
        leaves: measurements on the probe images, ``[n,K,h,w]``; the last ``confirm`` of the n
            images only confirm or contradict an equality seen on the others. Of a grammar with
            ``mirror``: :class:`~sycam.heatmaps.evaluate.Pairs`.
        invariance: the coarsest difference between candidates that the metric cannot see.
        size: (H, W) of the images, or (D, H, W) of volumes.
        confirm: number of confirming images.
        depth: of the layer's grid, 1 for images.
        equivalence: what merges. ``"values"``: as above. ``"none"``: nothing, each distinct
            expression is a candidate. ``"metric"``: nothing by itself; whoever scores calls
            :meth:`forget` for what scores as an earlier one did. ``"both"``: values, and what is
            forgotten.
        sites: of a grammar at several layers, the leaves of each; ``leaves`` are those of any.

    Raises:
        OptionError: no such equivalence, or a grammar with ``mirror`` and no pairs of images.
    """

    def __init__(
        self,
        grammar: Grammar,
        leaves: Mapping[str, Tensor],
        invariance: str,
        size: tuple[int, ...],
        confirm: int = 1,
        depth: int = 1,
        equivalence: str = BY_VALUES,
        sites: Mapping[str, Mapping[str, Tensor]] | None = None,
    ):
        if equivalence not in EQUIVALENCES:
            raise OptionError(
                f"equivalence {equivalence!r} is not known; expected one of "
                + ", ".join(EQUIVALENCES)
            )
        if grammar.pairs and not isinstance(leaves, Pairs):
            raise OptionError(
                f"grammar {grammar.name!r} has mirror(...), whose candidates are told apart on "
                "images in pairs: sycam.heatmaps.pairs.pairs_of(grammar.leaves, leaves)"
            )
        self.grammar, self.equivalence = grammar, equivalence
        self.invariance, self.size = invariance, size
        sites = sites or {}
        share = 1 / (len(sites) + 1)
        layers = {name: Probe(one, confirm, depth, share=share) for name, one in sites.items()}
        self.probe = Probe(leaves, confirm, depth, layers, share)
        self.levels: list[Level] = []
        self._merges = equivalence in (BY_VALUES, BY_BOTH)
        self._bank: dict[str, dict[int, dict[Expression, None]]] = {s: {} for s in grammar.symbols}
        self._number: dict[Expression, int] = {}  # order of discovery, for commutative pairs
        self._values = {s: ValueClasses() for s in grammar.symbols}
        self._heats = HeatClasses()

    def candidates(self, max_cost: int) -> Iterator[Expression | Level]:
        """Yield each new complete expression, and its :class:`Level` when a cost is finished.

        Classes that :meth:`represent` was asked about before are not yielded again.
        """
        trees = self.grammar.tree_counts(max_cost)
        for cost in range(1, max_cost + 1):
            level = Level(cost, trees[cost - 1])
            self.levels.append(level)
            for production_ in self.grammar.productions:
                combos = self._combinations(production_, cost)
                while block := list(islice(combos, BLOCK)):
                    for part in self._on_same_grids(production_, block):
                        yield from self._admit(production_, part, level)
            level.complete = True
            yield level

    def represent(self, expression: Expression) -> Expression | None:
        """What stands for the class of any complete expression of the grammar.

        An expression of a new class stands for it from now on.

        Returns:
            An expression that this method or :meth:`candidates` returned before, the expression
            itself where its class is new, or None where a value overflows or the heatmap is flat
            on every probe image.
        """
        if expression not in self._heats:
            values = self.probe.remembered(expression)[None]
            twin = self._twin(expression, values) if self._merges else None
            if not torch.isfinite(values).all():
                self._heats.put(expression, None)
            # A twin of the block that is being enumerated may not have had its turn: then this
            # begins the class.
            elif twin is not None and twin in self._heats:
                self._heats.put(expression, self._heats.representative(twin))
            else:
                list(self._distinct([expression], values, Level(expression.cost, 0), True))
        return self._heats.representative(expression)

    def represent_all(self, expressions: Sequence[Expression]) -> list[Expression | None]:
        """:meth:`represent` for each of several expressions, in their order."""
        return [self.represent(expression) for expression in expressions]

    def portrait(self, expression: Expression) -> np.ndarray | None:
        """What the heatmaps of a complete expression look like on all probe images.

        Returns:
            ``[F]`` float64 that are near each other where metrics score alike (see
            :func:`~sycam.search.enumeration.equivalence.portraits`); None as for
            :meth:`represent`. It begins no class.
        """
        values = self.probe.remembered(expression)[None]
        sums = self.probe.sums(values, expression.sort)
        if not torch.isfinite(values).all() or is_degenerate(sums).all():
            return None
        return portraits(sums, self.probe.finest)[0]

    def simplest(self, expression: Expression) -> Expression:
        """The cheapest expression seen so far of the class that an expression represents."""
        return self._heats.simplest(expression)

    def forget(self, expression: Expression) -> bool:
        """Build no larger expressions from a candidate that scores as an earlier one did.

        It must be called before the candidate's :class:`Level` is taken from :meth:`candidates`,
        or at least before anything after it.

        Returns:
            Whether the candidate was there to be forgotten.
        """
        cost = expression.cost
        banks = [bank[cost] for bank in self._bank.values() if expression in bank.get(cost, ())]
        for bank in banks:
            del bank[expression]
        if banks:
            self.levels[cost - 1].forgotten += 1
        return bool(banks)

    def _combinations(self, p: Production, cost: int) -> Iterator[tuple[Expression, ...]]:
        laws = p.operator.laws if self._merges else frozenset()
        ordered = COMMUTATIVE in laws and len(set(p.arguments)) == 1
        nests = IDEMPOTENT in laws or INVOLUTION in laws
        for split in splits(cost - p.operator.cost, len(p.arguments)):
            levels = [self._bank[a].get(c, ()) for a, c in zip(p.arguments, split, strict=True)]
            for children in product(*levels):
                if ordered and self._number[children[0]] > self._number[children[1]]:
                    continue
                if nests and children[0].operator is p.operator:
                    continue
                yield children

    def _on_same_grids(
        self, p: Production, block: list[tuple[Expression, ...]]
    ) -> list[list[Expression]]:
        """The expressions of a block, those together whose arguments lie on the same grids."""
        parts: dict[tuple, list[Expression]] = {}
        for children in block:
            expression = apply(p.operator.name, *children)
            grids = () if p.site else self.probe.grids(expression)
            parts.setdefault(grids, []).append(expression)
        return list(parts.values())

    def _admit(
        self, p: Production, expressions: list[Expression], level: Level
    ) -> Iterator[Expression]:
        probe = self.probe.sites.get(p.site, self.probe)
        values = probe.values_alike(expressions)
        level.built += len(expressions)
        finite = torch.isfinite(values).flatten(1).all(1)
        keys = value_keys(values[:, : self.probe.first])
        prints = fingerprints(values[:, self.probe.first :])
        fresh: list[int] = []
        complete: list[int] = []
        for i, (expression, key) in enumerate(zip(expressions, keys.tolist(), strict=True)):
            if not finite[i]:
                level.overflowed += 1
                continue
            for owner in sorted(p.owners):
                bank = self._bank[owner].setdefault(level.cost, {})
                if expression in bank:
                    continue
                if self._merges:
                    if self._values[owner].find(key, prints[i]) is not None:
                        continue
                    level.disagreements += self._values[owner].begin(key, prints[i], expression)
                bank[expression] = None
                self._number.setdefault(expression, len(self._number))
                if not fresh or fresh[-1] != i:
                    fresh.append(i)
                if owner == self.grammar.start:
                    complete.append(i)
        level.values += len(fresh)
        probe.keep([expressions[i] for i in fresh], values[fresh])
        if complete:
            chosen = [expressions[i] for i in complete]
            yield from self._distinct(chosen, values[complete], level)

    def _distinct(
        self, expressions: list[Expression], values: Tensor, level: Level, proposed: bool = False
    ) -> Iterator[Expression]:
        """Find or begin the class of each expression; those that begin one are yielded."""
        sums = self.probe.sums(values, expressions[0].sort)
        seen = values if self.invariance == WEIGHTS else sums
        sides = (slice(None, self.probe.first), slice(self.probe.first, None))
        keys, confirming = (
            heat_keys(seen[:, side], self.invariance, self.size, self.probe.depth).tolist()
            for side in sides
        )
        flat = is_degenerate(sums).all(1)
        for i, expression in enumerate(expressions):
            heat = keys[i], confirming[i]
            if flat[i]:
                level.flat += 1
                self._heats.put(expression, None)
                continue
            if expression in self._heats:
                representative = self._heats.representative(expression)
            else:
                representative = self._heats.find(*heat) if self._merges else None
            if representative is not None:
                self._heats.put(expression, representative)
                level.anticipated += not proposed and self._heats.meet(representative)
                continue
            level.disagreements += self._heats.index(*heat, expression) and self._merges
            self._heats.begin(expression, proposed)
            level.candidates += 1
            yield expression

    def _twin(self, expression: Expression, values: Tensor) -> Expression | None:
        """The complete expression of the same values that was enumerated."""
        (key,) = value_keys(values[:, : self.probe.first]).tolist()
        (confirming,) = fingerprints(values[:, self.probe.first :])
        return self._values[self.grammar.start].find(key, confirming)
