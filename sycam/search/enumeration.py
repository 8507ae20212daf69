"""Every expression of a grammar, cheapest first, each meaning once.

Bottom-up, in buckets of integer cost, with two levels of observational equivalence on a few probe
images. Subexpressions merge only where their *values* agree, which is safe in every context.
Complete candidates merge further, where the chosen metric cannot tell their *heatmaps* apart.
"Every" is therefore relative to the probe images; what the second set of images contradicts is
kept apart and counted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice, product

import torch
from torch import Tensor

from sycam.kernels import combine, is_degenerate
from sycam.kernels.program import leaf_value
from sycam.language import Expression, Grammar, Production, apply
from sycam.language.grammar import splits
from sycam.language.signatures import COMMUTATIVE, IDEMPOTENT, INVOLUTION
from sycam.metrics import WEIGHTS
from sycam.search.equivalence import fingerprints, heat_keys, same, value_keys

BLOCK = 256  # trees evaluated at once
KEPT_BYTES = 3 * 2**30  # values kept for reuse; beyond, they are computed again when needed


@dataclass
class Level:
    """What enumeration did at one cost.

    Attributes:
        cost: of the expressions.
        trees: derivation trees of this cost, by recurrence over the grammar.
        built: expressions evaluated (the rest was covered by merged subexpressions and laws).
        values: distinct values among them.
        candidates: complete expressions that the metric can tell apart from all earlier ones.
        flat: complete expressions whose heatmap is flat on every probe image.
        overflowed: expressions dropped because a value was not finite.
        disagreements: equal on the probe images, different on the confirming ones: kept apart.
        complete: whether the whole level was enumerated.
    """

    cost: int
    trees: int
    built: int = 0
    values: int = 0
    candidates: int = 0
    flat: int = 0
    overflowed: int = 0
    disagreements: int = 0
    complete: bool = False


class Enumerator:
    """Enumerates a grammar on probe images.

    Args:
        grammar: the space.
        leaves: measurements on the probe images, ``[n,K,h,w]``; the last ``confirm`` of the n
            images only confirm or contradict an equality seen on the others.
        invariance: the coarsest difference between candidates that the metric cannot see.
        size: (H, W) of the images, or (D, H, W) of volumes.
        confirm: number of confirming images.
        depth: of the layer's grid, 1 for images.
    """

    def __init__(
        self,
        grammar: Grammar,
        leaves: Mapping[str, Tensor],
        invariance: str,
        size: tuple[int, ...],
        confirm: int = 1,
        depth: int = 1,
    ):
        self.grammar = grammar
        self.invariance, self.size, self.depth = invariance, size, depth
        self.leaves = {name: t.detach().double().cpu() for name, t in leaves.items()}
        self.probes = len(self.leaves["activations"]) - confirm
        self.levels: list[Level] = []
        self._bank: dict[str, dict[int, list[Expression]]] = {s: {} for s in grammar.symbols}
        self._number: dict[Expression, int] = {}  # order of discovery, for commutative pairs
        self._values: dict[Expression, Tensor] = {}
        self._kept = 0
        self._seen: dict[str, dict[int, list[Tensor]]] = {s: {} for s in grammar.symbols}
        self._heats: dict[int, list[Tensor]] = {}

    def candidates(self, max_cost: int) -> Iterator[Expression | Level]:
        """Yield each new complete expression, and its :class:`Level` when a cost is finished."""
        trees = self.grammar.tree_counts(max_cost)
        for cost in range(1, max_cost + 1):
            level = Level(cost, trees[cost - 1])
            self.levels.append(level)
            for production_ in self.grammar.productions:
                combos = self._combinations(production_, cost)
                while block := list(islice(combos, BLOCK)):
                    yield from self._admit(production_, block, level)
            level.complete = True
            yield level

    def _combinations(self, p: Production, cost: int) -> Iterator[tuple[Expression, ...]]:
        laws = p.operator.laws
        ordered = COMMUTATIVE in laws and len(set(p.arguments)) == 1
        nests = IDEMPOTENT in laws or INVOLUTION in laws
        for split in splits(cost - p.operator.cost, len(p.arguments)):
            levels = [self._bank[a].get(c, []) for a, c in zip(p.arguments, split, strict=True)]
            for children in product(*levels):
                if ordered and self._number[children[0]] > self._number[children[1]]:
                    continue
                if nests and children[0].operator is p.operator:
                    continue
                yield children

    def _admit(
        self, p: Production, block: list[tuple[Expression, ...]], level: Level
    ) -> Iterator[Expression]:
        expressions = [apply(p.operator.name, *children) for children in block]
        values = self._evaluate(expressions)
        level.built += len(expressions)
        finite = torch.isfinite(values).flatten(1).all(1)
        keys = value_keys(values[:, : self.probes])
        prints = fingerprints(values[:, self.probes :])
        fresh: list[int] = []
        complete: list[int] = []
        for i, (expression, key) in enumerate(zip(expressions, keys.tolist(), strict=True)):
            if not finite[i]:
                level.overflowed += 1
                continue
            for owner in sorted(p.owners):
                others = self._seen[owner].setdefault(key, [])
                if any(same(prints[i], other) for other in others):
                    continue
                level.disagreements += bool(others)
                others.append(prints[i])
                self._bank[owner].setdefault(level.cost, []).append(expression)
                self._number.setdefault(expression, len(self._number))
                if not fresh or fresh[-1] != i:
                    fresh.append(i)
                if owner == self.grammar.start:
                    complete.append(i)
        level.values += len(fresh)
        self._keep([expressions[i] for i in fresh], values[fresh])
        if complete:
            chosen = [expressions[i] for i in complete]
            yield from self._distinct(chosen, values[complete], level)

    def _distinct(
        self, expressions: list[Expression], values: Tensor, level: Level
    ) -> Iterator[Expression]:
        sums = combine(values, self.leaves["activations"], expressions[0].sort)
        seen = values if self.invariance == WEIGHTS else sums
        keys = heat_keys(seen[:, : self.probes], self.invariance, self.size, self.depth)
        confirming = heat_keys(seen[:, self.probes :], self.invariance, self.size, self.depth)
        flat = is_degenerate(sums).all(1)
        for i, expression in enumerate(expressions):
            if flat[i]:
                level.flat += 1
                continue
            others = self._heats.setdefault(int(keys[i]), [])
            if int(confirming[i]) in others:
                continue
            level.disagreements += bool(others)
            others.append(int(confirming[i]))
            level.candidates += 1
            yield expression

    def _evaluate(self, expressions: list[Expression]) -> Tensor:
        """Values of expressions of one production, ``[B, n, ...]``."""
        first = expressions[0]
        if first.operator.is_leaf:
            like = self.leaves["activations"]
            value = leaf_value(first, self.leaves, like)
            return value.expand(len(like), *value.shape[-3:])[None]
        arguments = [
            torch.stack([self._value(e.children[i]) for e in expressions])
            for i in range(first.operator.arity)
        ]
        return first.overload.compute(arguments, self.leaves["activations"], self.depth)

    def _value(self, expression: Expression) -> Tensor:
        value = self._values.get(expression)
        return self._evaluate([expression])[0] if value is None else value

    def _keep(self, expressions: list[Expression], values: Tensor) -> None:
        if self._kept < KEPT_BYTES:
            self._kept += values.numel() * values.element_size()
            self._values.update(zip(expressions, values, strict=True))
