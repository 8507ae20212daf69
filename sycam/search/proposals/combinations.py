"""Products and sums of what leads at several layers."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from itertools import combinations, product

from sycam.language import Expression, apply
from sycam.language.sites import cam_at
from sycam.search.proposals.derivations import Derivations

LEADERS = 8  # formulas of a layer that are combined with those of another
RESHAPING = ("symsqrt", "square")  # wider and narrower regions of the same order of places
EXTENDED = 3  # combinations that a further layer is added to
COMBINED_BY = ("mul", "add")  # on real networks products won more often than sums

Leaders = Mapping[str, Sequence[Expression]]


class Combinations:
    """What combines formulas of several layers, always within the grammar.

    On every network looked at, a product or sum of the map of a fine layer and that of a deep one
    was better than any map of one layer, and a third factor added a little.

    Args:
        derivations: of the space; no combination is more expensive than its bound.
    """

    def __init__(self, derivations: Derivations):
        self.derivations = derivations
        # Two of them and what joins them fit into the bound, so that each layer's can be joined.
        self._most = (derivations.max_cost - 1) // 2

    def leaders(self, ranked: Iterable[Expression]) -> dict[str, list[Expression]]:
        """The best formulas of each layer, of those that read it alone and are of the grammar.

        Args:
            ranked: any, the best first.
        """
        found: dict[str, list[Expression]] = {}
        for expression in ranked:
            if len(expression.sites) != 1 or expression.cost > self._most:
                continue
            of_layer = found.setdefault(expression.sites[0], [])
            if len(of_layer) == LEADERS or expression in of_layer:
                continue
            if self.derivations.holds(expression):
                of_layer.append(expression)
        return found

    def untried(
        self, ranked: Sequence[Expression], leaders: Leaders, offered: Container[Expression] = ()
    ) -> list[Expression]:
        """What is worth a try before anything else: layers that were not combined yet.

        The leader of each layer with that of each other; once all were, the best pair of layers
        with the leader of each further one. Each multiplied, and added.

        Args:
            ranked: all that were scored, the best first.
            leaders: of each layer.
            offered: what was proposed before, and may have turned out to be known.
        """
        tried = {(e.operator.name, frozenset(e.sites)) for e in ranked if len(e.sites) > 1}
        heads = {site: formulas[:1] for site, formulas in leaders.items()}
        best = next((e for e in ranked if len(e.sites) == 2), None)
        for made in (self.pairs(heads), self.extended([best] if best else [], heads)):
            new = [e for e in made if (e.operator.name, frozenset(e.sites)) not in tried]
            if new := [e for e in new if e not in offered]:
                return new
        return []

    def moved(self, leaders: Leaders, site: str) -> list[Expression]:
        """The formulas that lead at other layers, at this one."""
        made = [
            apply(cam_at(site).name, *formula.children)
            for other, formulas in leaders.items()
            if other != site
            for formula in formulas
            if formula.operator.site
        ]
        return list(self._within(dict.fromkeys(made)))

    def pairs(self, leaders: Leaders) -> list[Expression]:
        """Each two formulas of different layers, leaders with leaders first."""
        ranked = [
            (i + j, name, one, other)
            for some, others in combinations(leaders.values(), 2)
            for (i, one), (j, other) in product(enumerate(some), enumerate(others))
            for name in COMBINED_BY
        ]
        # Stable: which layer comes first does not change from round to round.
        ranked.sort(key=lambda pair: pair[0])
        return list(self._within(apply(name, one, other) for _, name, one, other in ranked))

    def extended(self, best: Sequence[Expression], leaders: Leaders) -> list[Expression]:
        """Combinations with the formulas of one more layer each, leaders first.

        Args:
            best: combinations, the best first.
            leaders: of each layer.
        """
        ranked = [
            (i + j, name, whole, formula)
            for i, whole in enumerate(best[:EXTENDED])
            for site, formulas in leaders.items()
            if site not in whole.sites
            for j, formula in enumerate(formulas)
            for name in COMBINED_BY
        ]
        ranked.sort(key=lambda triple: triple[0])
        return list(self._within(apply(name, whole, one) for _, name, whole, one in ranked))

    def reshaped(self, those: Iterable[Expression]) -> list[Expression]:
        """Saliency maps with wider and with narrower regions, of the same order of places.

        A metric that sees the order alone cannot tell them apart, and an overlap at a threshold
        may depend on little else.
        """
        return list(self._within(apply(name, one) for one in those for name in RESHAPING))

    def _within(self, made: Iterable[Expression]) -> Iterator[Expression]:
        d = self.derivations
        return (e for e in made if e.cost <= d.max_cost and d.holds(e))
