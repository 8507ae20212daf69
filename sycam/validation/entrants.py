"""Who is scored on the held-out images, and who first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sycam.methods import Method, is_habit
from sycam.methods.method import BLURRED, CONTROL, RIVALS
from sycam.methods.rivals import descending, plainest
from sycam.metrics import Metric

WINNER = "winner"
NEW = "new"  # kind of the best new formula, where the winner is a published CAM
SIMPLEST = "simplest"  # kind of the simplest formula, where it is none of them nor published
LEADERS = 5  # published CAMs that come before the panel of the winner, and before the simplest


@dataclass(frozen=True)
class Entrant:
    """A method to validate.

    Attributes:
        method: the method.
        kind: ``winner``; ``new``, the best new formula where the winner is a published CAM;
            ``simplest``, where none of them is the simplest formula within noise; or one of
            :data:`sycam.methods.KINDS`.
        search: its figure on the search images.
        fitted: what these decided for it, see :meth:`sycam.metrics.Metric.fit`.
        fitted_further: the same under the goals beside the first.
    """

    method: Method
    kind: str
    search: float
    fitted: Any = None
    fitted_further: Sequence[Any] = ()


def by_importance(entrants: Sequence[Entrant], metric: Metric) -> list[int]:
    """Places of the entrants: the winner, the best new formula, then the published CAMs from the
    one that the search images choose on, with the simplest formula after the leaders, then
    controls."""

    def key(place: int) -> tuple:
        entrant = entrants[place]
        kinds = (WINNER, NEW)
        group = kinds.index(entrant.kind) if entrant.kind in kinds else 2
        figure = metric.oriented(entrant.search)
        return group, entrant.kind not in RIVALS, descending(figure), *plainest(entrant.method.name)

    order = sorted(range(len(entrants)), key=key)
    simple = [i for i in order if entrants[i].kind == SIMPLEST]
    others = [i for i in order if i not in simple]
    ours = sum(entrants[i].kind in (WINNER, NEW) for i in others)
    rivals = sum(entrants[i].kind in RIVALS for i in others)
    after = ours + min(1 + LEADERS, rivals)  # the first of them is essential, and no mere leader
    return [*others[:after], *simple, *others[after:]]


def first_alike(entrants: Sequence[Entrant]) -> list[int]:
    """For each entrant the place of the first with the same expression, be it itself."""
    first: dict[Any, int] = {}
    return [first.setdefault(e.method.expression or i, i) for i, e in enumerate(entrants)]


def essential(entrants: Sequence[Entrant], metric: Metric) -> list[int]:
    """Places of those without which nothing can be said: winner, best new formula, the published
    CAM that the search images choose, and what everybody runs."""
    order = by_importance(entrants, metric)
    ours = [i for i in order if entrants[i].kind in (WINNER, NEW)]
    rival = [i for i in order if entrants[i].kind in RIVALS][:1]
    return list(dict.fromkeys([*ours, *rival, *habitual(entrants)]))


def habitual(entrants: Sequence[Entrant]) -> list[int]:
    """The place of what everybody runs, Grad-CAM at the deepest layer; none where it is absent."""
    return [i for i, entrant in enumerate(entrants) if is_habit(entrant.method)][:1]


def looked_at(entrants: Sequence[Entrant], metric: Metric) -> list[int]:
    """Places of those that panel and guards are for: whom the verdict names, some leaders, and
    controls; so that at many layers a hundred rivals are not measured under what nobody reads."""
    order = by_importance(entrants, metric)
    first = essential(entrants, metric)
    # Blurred rivals are there for the goals alone.
    plain = [i for i in order if entrants[i].kind in RIVALS and entrants[i].kind != BLURRED]
    leaders = [i for i in plain if i not in first][:LEADERS]
    others = [i for i in order if entrants[i].kind in (SIMPLEST, CONTROL)]
    return [i for i in order if i in {*first, *leaders, *others}]


def at_most_looked_at(known: Sequence[Method]) -> int:
    """How many these are at most where such methods are known, with the best in hindsight."""
    ours, named = 3, 4  # chosen, habit, and the best of all and of those without a blur
    return ours + named + LEADERS + sum(method.kind == CONTROL for method in known)
