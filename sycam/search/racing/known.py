"""Published CAMs and controls on the search images: all of them, or as many as the time allows."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from sycam.methods import Method
from sycam.methods.method import ANSWERS, RIVALS
from sycam.scoring.journaled_scorer import JournaledScorer, recorded_name
from sycam.search.selection.select import Candidate

LEAST = 1  # methods that see all images, however short the time


@dataclass(frozen=True)
class Known:
    """Published CAMs and controls with their scores.

    Attributes:
        whole: those that saw all images, in the order in which they were given.
        partly: those that fell behind on fewer.
        counts: how many saw each stage's images; None where all saw all.
    """

    whole: tuple[Candidate, ...]
    partly: tuple[Candidate, ...] = ()
    counts: tuple[int, ...] | None = None


def score_known(
    methods: Sequence[Method],
    board: JournaledScorer,
    left: Callable[[], float],
    counts: Sequence[int] | None = None,
    done: Callable[[int], None] = lambda count: None,
) -> Known:
    """Score methods stage by stage; where the time does not suffice for all, those that are ahead.

    After each stage as many go on as can see all images in the time that is left, the best on the
    images seen first, and at least ``LEAST``. The first stage is for all, in their order, while
    what it takes to bring ``LEAST`` of them to the end is still left.

    Args:
        methods: in the order in which they matter.
        board: their scores.
        left: seconds that are left for it; infinite without a limit.
        counts: how many saw each stage in a recorded search, instead of the time.
        done: is told how many have come through, of all.
    """
    order = {id(method): place for place, method in enumerate(methods)}
    ends = [stage.end for stage in board.stages]
    going, seen, through = list(methods), {}, []

    def oriented(method: Method) -> float:
        score = board.of(recorded_name(method), seen[id(method)])
        mean = float(board.metric.oriented(score.mean))
        return mean if score.finite and mean == mean else -math.inf

    def cost(method: Method, stage: int) -> float:
        return 0.0 if board.has(recorded_name(method), stage) else board.pace * _width(board, stage)

    for stage in range(len(ends)):
        if stage:
            going.sort(key=lambda m: (-oriented(m), order[id(m)]))
        rest = sum(_width(board, s) for s in range(stage + 1, len(ends))) * board.pace
        entered = 0
        for place, method in enumerate(going):
            if counts is not None:
                if place >= counts[stage]:
                    break
            elif place >= LEAST:
                # Those who enter a later stage are brought to the end, those of the first are not.
                after = rest * (place + 1 if stage else LEAST)
                now = cost(method, stage)
                if now and now + after > left():
                    break
            board.score_method(method, stage)
            seen[id(method)] = stage
            entered += 1
            done(place + 1)
        through.append(entered)
        going = going[:entered]
    whole = tuple(
        Candidate(m.name, m.kind, m.expression, board.of(recorded_name(m), len(ends) - 1))
        for m in methods
        if seen.get(id(m)) == len(ends) - 1
    )
    partly = tuple(
        Candidate(m.name, m.kind, m.expression, board.of(recorded_name(m), seen[id(m)]))
        for m in methods
        if id(m) in seen and seen[id(m)] < len(ends) - 1
    )
    complete = len(whole) == len(methods)
    return Known(whole, partly, None if complete else tuple(through))


def answers(known: Sequence[Candidate]) -> list[Candidate]:
    """Those of the known that may win, called by their expressions as new formulas are, each
    expression once."""
    able = (c for c in known if c.kind in ANSWERS and c.expression is not None)
    by_text = {str(c.expression): c for c in able}
    return [replace(c, name=text) for text, c in by_text.items()]


def in_order(methods: Sequence[Method]) -> list[Method]:
    """Rivals before controls."""
    return sorted(methods, key=lambda method: method.kind not in RIVALS)


def _width(board: JournaledScorer, stage: int) -> int:
    return board.stages[stage].cells
