"""The ensemble that the search images choose, with thresholds of single CAMs and effects."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from sycam.applications.ensembles.effects import Effect, effects
from sycam.applications.ensembles.options import EnsembleOptions
from sycam.applications.ensembles.scores import SEARCH, Scores
from sycam.applications.ensembles.subsets import climb, every, explore, screening, size_of_space
from sycam.applications.ensembles.votes import Members, Vote
from sycam.errors import RunError
from sycam.methods.method import OWN
from sycam.metrics import Metric
from sycam.scoring.scorer import Score
from sycam.search.selection.rules import ordering
from sycam.search.selection.select import Candidate, paired_scores
from sycam.support.arguments import argument


@dataclass(frozen=True, eq=False)
class Chosen:
    """What the search images say.

    Attributes:
        vote: the ensemble.
        singles: of each member the threshold that is best for it.
        percents: that could be chosen.
        effects: what each member adds; none where the time was over before that could be told.
        effects_percent: at which threshold that was measured.
        scored: number of ensembles of two or more members.
        cut: whether the time was over before all was scored that the search asked for.
    """

    vote: Vote
    singles: tuple[Vote, ...]
    percents: tuple[float, ...]
    effects: tuple[Effect, ...]
    effects_percent: float
    scored: int
    cut: bool


class Chooser:
    """Scores single CAMs and ensembles on the search images until the budget is spent.

    Args:
        members: that may vote.
        metric: that chooses.
        scores: where scores come from.
        how: thresholds and budget.
        seed: of the design and the bootstrap.
    """

    def __init__(
        self, members: Members, metric: Metric, scores: Scores, how: EnsembleOptions, seed: int
    ):
        self._members, self._metric, self._scores, self._how = members, metric, scores, how
        self._seed = seed
        self._known: dict[Vote, Score] = {}
        self._figures: dict[Vote, float] = {}  # higher is better, NaN where it may not win
        self._cut = False

    def chosen(self) -> Chosen:
        """Search.

        Raises:
            RunError: no ensemble can win, as all are flat on many images or overflow, or the time
                was over before one was scored.
        """
        count, percents = len(self._members), self._how.shares
        self._scores.begin("Scoring single CAMs", count * len(percents))
        for place in range(count):
            for percent in percents:
                if self._try(Vote((place,), percent)) is None:
                    raise self._too_short(f"{len(self._known)} single CAMs with a threshold")
        # Where thresholds tie, that which leaves most of the heatmap.
        singles = [
            self._best([Vote((place,), percent) for percent in reversed(percents)])
            for place in range(count)
        ]
        usual = max(percents, key=lambda q: (self._average(q), q))
        possible = size_of_space(count, len(percents))
        foreseen = self._how.foreseen(possible)
        known = foreseen == possible or self._how.limit.candidates is not None
        self._scores.begin("Scoring ensembles", foreseen if known else None)
        found = self._effects(usual)
        if foreseen == possible:
            self._all(every(count, percents))
        elif not self._cut:
            for start in self._starts(singles, found, usual):
                climb(start, count, percents, self._figures, self._try)
            explore(count, percents, self._figures, self._try)
        ensembles = [vote for vote in self._known if not vote.single]
        if not ensembles:
            raise self._too_short("single CAMs alone")
        best = self._best(sorted(ensembles, key=lambda vote: (len(vote.places), vote)), True)
        return Chosen(best, tuple(singles), percents, found, usual, len(ensembles), self._cut)

    def _effects(self, percent: float) -> tuple[Effect, ...]:
        """What each member adds, by the whole design; nothing where there is no time for it."""
        design = screening(len(self._members), percent, self._seed)
        if not self._all(design):
            return ()
        by_vote = {vote: self._metric.per_image(self._known[vote].values) for vote in design}
        return effects(self._members.names, by_vote, self._metric.higher_is_better, self._seed)

    def _all(self, votes: Iterable[Vote]) -> bool:
        """Score them one after the other; whether there was time for all."""
        return all(self._try(vote) is not None for vote in votes)

    def _measure(self, vote: Vote) -> float:
        if vote not in self._known:
            score = self._scores.of(self._members.vote(vote), SEARCH)
            self._known[vote] = score
            able = self._candidate(vote).eligible
            self._figures[vote] = float(self._metric.oriented(score.mean)) if able else np.nan
        return self._figures[vote]

    def _try(self, vote: Vote) -> float | None:
        """The figure, or None where the budget is spent."""
        if vote in self._known:
            return self._figures[vote]
        most, spent = self._how.limit.candidates, sum(not one.single for one in self._known)
        if not vote.single and most is not None and spent >= most:
            return None
        if self._scores.late(self._members.vote(vote), SEARCH):
            self._cut = True
            return None
        return self._measure(vote)

    def _too_short(self, done: str) -> RunError:
        return RunError(
            f"the time of {self._how.limit} was over when {done} were scored, and no ensemble: "
            f"their scores are kept, and the same goes on from there; or give a longer "
            f"{argument('budget')}, fewer {argument('percents')} or {argument('search_images')}"
        )

    def _average(self, percent: float) -> float:
        """Of all single CAMs with one threshold."""
        figures = [
            f for vote, f in self._figures.items() if vote.single and vote.percent == percent
        ]
        known = [figure for figure in figures if figure == figure]
        return sum(known) / len(known) if known else -np.inf

    def _starts(
        self, singles: Sequence[Vote], found: Sequence[Effect], usual: float
    ) -> Iterable[Vote]:
        """From the best single CAM, and from all members that add something."""
        yield max(singles, key=lambda vote: float(np.nan_to_num(self._figures[vote], nan=-np.inf)))
        adding = [one.member for one in found if one.effect.mean > 0]
        adding = adding if len(adding) > 1 else [one.member for one in found[:2]]
        places = sorted(self._members.names.index(name) for name in adding)
        yield Vote(tuple(places), usual)

    def _candidate(self, vote: Vote) -> Candidate:
        return Candidate(str(vote), OWN, None, self._known[vote])

    def _best(self, votes: Sequence[Vote], needed: bool = False) -> Vote:
        """The one that a search's usual rule of selection chooses, which allows for luck; the first
        of those that tie."""
        candidates = [(vote, self._candidate(vote)) for vote in votes]
        able = [one for one in candidates if one[1].eligible]
        if not able:
            if needed:
                raise RunError(
                    "no ensemble can be chosen: the heatmaps of all are flat on more than a "
                    "twentieth of the search images, or overflow; choose other members or an "
                    "earlier layer"
                )
            return votes[0]
        scores = paired_scores([candidate for _, candidate in able], self._metric)
        costs = np.array([len(vote.places) for vote, _ in able])
        return able[int(ordering(scores, costs)[0])][0]
