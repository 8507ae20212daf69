"""Published CAMs and controls on the search images: all of them, or as many as the time allows."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from sycam.methods import Method, is_habit
from sycam.methods.method import ANSWERS, RIVALS
from sycam.methods.rivals import best_rival
from sycam.metrics import Metric
from sycam.scoring.journaled_scorer import JournaledScorer, recorded_name
from sycam.scoring.scorer import Score
from sycam.search.selection.select import Candidate

LEAST = 2  # methods that see all images, however short the time: the habit and the best other


@dataclass(frozen=True)
class Known:
    """Published CAMs and controls with their scores.

    Attributes:
        whole: those that saw all images, in the order in which they were given.
        partly: those that fell behind on fewer.
        counts: how many saw each stage's images, round by round; None where all saw all.
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

    The first stage is for all, in their order, while there is time. After each as many go on as can
    see all images in the time that is left, what everybody uses first and then the best on the
    images seen, and at least ``LEAST``, however long that takes. Where less was taken than
    expected, those that fell behind get another round, and so on.

    Args:
        methods: in the order in which they matter.
        board: their scores.
        left: seconds that are left for it; infinite without a limit.
        counts: how many saw each stage, round by round, in a recorded search, instead of the time.
        done: is told how many have come through, of all.
    """
    rounds = _Rounds(methods, board, left, done)
    while True:
        before, played = rounds.ended, len(rounds.through)
        recorded = None if counts is None else counts[played : played + len(board.stages)]
        if recorded is not None and len(recorded) < len(board.stages):
            break
        rounds.play(0 if played else LEAST, recorded)
        if rounds.ended == len(methods) or (counts is None and rounds.ended == before):
            break
    complete = rounds.ended == len(methods)
    return Known(
        rounds.candidates(True), rounds.candidates(False), None if complete else rounds.through
    )


class _Rounds:
    """Rounds of all stages; the arguments are those of :func:`score_known`.

    Attributes:
        through: how many saw each stage, round by round.
    """

    def __init__(
        self,
        methods: Sequence[Method],
        board: JournaledScorer,
        left: Callable[[], float],
        done: Callable[[int], None],
    ):
        self.methods, self.board, self.left, self.done = methods, board, left, done
        self.through: tuple[int, ...] = ()
        self._usual = next(filter(is_habit, methods), None)
        self._order = {id(method): place for place, method in enumerate(methods)}
        self._seen: dict[int, int] = {}  # last stage of each

    @property
    def ended(self) -> int:
        """How many have seen all images."""
        return sum(map(self._has_ended, self.methods))

    def candidates(self, ended: bool) -> tuple[Candidate, ...]:
        """Those that have seen all images, or those that have seen some; in their order."""
        return tuple(
            Candidate(m.name, m.kind, m.expression, self._score(m))
            for m in self.methods
            if id(m) in self._seen and self._has_ended(m) is ended
        )

    def play(self, least: int, recorded: Sequence[int] | None) -> None:
        """Bring those that have not seen all images on, stage by stage.

        Args:
            least: so many of each stage need not fit into the time.
            recorded: how many saw each stage, instead of the time.
        """
        before = self.ended
        going = [method for method in self.methods if not self._has_ended(method)]
        for stage in range(len(self.board.stages)):
            if stage:
                going.sort(key=self._rank)
            entered = 0
            for place, method in enumerate(going):
                if recorded is not None:
                    if place >= recorded[stage]:
                        break
                elif place >= least and not self._fits(method, stage, place, least):
                    break
                self.board.score_method(method, stage)
                self._seen[id(method)] = max(stage, self._seen.get(id(method), 0))
                entered += 1
                self.done(min(len(self.methods), before + place + 1))
            self.through += (entered,)
            going = going[:entered]

    def _has_ended(self, method: Method) -> bool:
        return self._seen.get(id(method)) == len(self.board.stages) - 1

    def _score(self, method: Method) -> Score:
        return self.board.of(recorded_name(method), self._seen[id(method)])

    def _rank(self, method: Method) -> tuple:
        """The usual one first, then the best on the images seen, then by their order."""
        score = self._score(method)
        mean = float(self.board.metric.oriented(score.mean))
        worth = mean if score.finite and mean == mean else -math.inf
        return method is not self._usual, -worth, self._order[id(method)]

    def _fits(self, method: Method, stage: int, place: int, least: int) -> bool:
        """Whether the time suffices for one, and for bringing those to the end that come through.

        Of the first stage that is none in the first round, where it is worth more to have seen all,
        and one in later rounds; of the later stages it is all.
        """
        if self.board.has(recorded_name(method), stage):
            return True
        if not self.board.is_timed:
            return self.left() > 0
        rest = sum(block.cells for block in self.board.stages[stage + 1 :])
        ends = place + 1 if stage else int(not least)
        return self.board.pace * (self.board.stages[stage].cells + ends * rest) <= self.left()


def answers(known: Sequence[Candidate]) -> list[Candidate]:
    """Those of the known that may win, called by their expressions as new formulas are, each
    expression once."""
    able = (c for c in known if c.kind in ANSWERS and c.expression is not None)
    by_text = {str(c.expression): c for c in able}
    return [replace(c, name=text) for text, c in by_text.items()]


def in_order(methods: Sequence[Method]) -> list[Method]:
    """Rivals before controls."""
    return sorted(methods, key=lambda method: method.kind not in RIVALS)


def chosen_rival(known: Sequence[Candidate], metric: Metric) -> Candidate | None:
    """The published CAM or baseline that the search images would choose without a search, be it a
    formula or not. None where none has a figure."""
    return best_rival([c for c in known if c.score.finite], lambda c: metric.oriented(c.mean))
