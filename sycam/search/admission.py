"""Which candidates may win."""

from __future__ import annotations

from sycam.evidence import ignores_target
from sycam.grammar import Grammar
from sycam.methods import find_method
from sycam.methods.method import ANSWERS
from sycam.search.options import CLASS_AGNOSTIC, SearchOptions
from sycam.search.selection.rediscovery import Rediscovery
from sycam.search.selection.requirements import Gate
from sycam.search.selection.select import Candidate
from sycam.search.selection.sensitivity import SensitivityGuard


def may_ignore_target(options: SearchOptions, grammar: Grammar) -> bool:
    """Whether formulas may win that show the same whatever is explained: where they are allowed,
    and where the grammar has no others."""
    return CLASS_AGNOSTIC in options.allow or ignores_target(grammar.leaves)


class Admission:
    """Which candidates may win: those that depend on what is explained, meet the requirements and
    are no known method again.

    Each is asked once, and only when it might win: the answer may be expensive.

    Args:
        gate: of the requirements.
        known_again: of the known methods; published CAMs themselves may win.
        guard: measures whether those that read what depends on the target change with the class;
            None where those may win, too, that show the same whatever is explained.

    Attributes:
        agnostic: names of those that were asked and show the same whatever is explained, as they
            read nothing that depends on it, where these may not win.
    """

    def __init__(self, gate: Gate, known_again: Rediscovery, guard: SensitivityGuard | None):
        self._gate, self._known_again, self._guard = gate, known_again, guard
        self._admitted: dict[tuple[str, str], bool] = {}
        self.agnostic: list[str] = []

    def __call__(self, candidate: Candidate) -> bool:
        """Whether a candidate may win."""
        asked = candidate.kind, candidate.name
        if asked not in self._admitted:
            self._admitted[asked] = self._admits(candidate)
        return self._admitted[asked]

    def _admits(self, candidate: Candidate) -> bool:
        expression = candidate.require_expression()
        if self._guard is not None and ignores_target(expression.leaves):
            self.agnostic.append(candidate.name)
            return False
        if candidate.kind not in ANSWERS and self._known_again(candidate):
            return False
        method = find_method(expression)
        return self._gate(method) and (self._guard is None or self._guard(method))

    @property
    def refused(self) -> frozenset[str]:
        """Names of those that were asked and may not win."""
        return frozenset(name for (_, name), good in self._admitted.items() if not good)
