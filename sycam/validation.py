"""Held-out evidence: means with intervals, paired tests, and metrics that were not optimised."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy import stats

from sycam.errors import OptionError
from sycam.evidence import Evidence
from sycam.methods import ALWAYS, Method
from sycam.metrics import Context, Metric
from sycam.search import Scorer
from sycam.search.events import Note, Notify, Stage, Step, ignore
from sycam.search.scoring import Score

PUBLISHED = ("published", "baseline")  # kinds of methods that a winner has to beat
NEW = "new"  # kind of the best new formula, where the winner is a published CAM
RESAMPLES = 9999
GUARDED = 64  # held-out images on which the sanity guards are measured
_AT_ONCE = 333  # resamples of a figure that is no mean, computed together
CONFIDENCE = 0.95


_CONCERNS = {
    "class-sensitivity": (lambda v: v < 0.05, "it hardly changes with the class explained"),
    "randomisation": (lambda v: v > 0.95, "it hardly changes with the network's weights"),
}


@dataclass(frozen=True)
class Interval:
    """A figure, for most metrics a mean, with its 95 % bootstrap interval over images."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Comparison:
    """The winner against another method on the same held-out images.

    Attributes:
        difference: winner minus other, oriented so that positive favours the winner.
        p: two-sided sign-flip test of the mean difference.
        p_holm: the same, Holm-corrected over all published CAMs and controls, and all goals.
        p_wilcoxon: two-sided Wilcoxon signed-rank test, uncorrected.
    """

    difference: Interval
    p: float
    p_holm: float
    p_wilcoxon: float


@dataclass(frozen=True)
class Further:
    """One method on the held-out images under a goal besides the first.

    Attributes:
        heldout: its figure.
        against: the winner compared with it, for published CAMs and controls.
        scores: ``[N]`` what each held-out image adds.
    """

    heldout: Interval
    against: Comparison | None
    scores: tuple[float, ...] = field(repr=False)


@dataclass(frozen=True)
class Verdict:
    """Whether the winner holds under one goal.

    Attributes:
        goal: text of the metric.
        best_published: name of the published method that is best under it on the held-out images.
        beats_published: whether the winner exceeds it with Holm-corrected p < 0.05.
    """

    goal: str
    best_published: str
    beats_published: bool


@dataclass(frozen=True)
class Row:
    """One method on the held-out images.

    Attributes:
        name: method name or expression text.
        kind: ``winner``; ``new``, the best new formula where the winner is a published CAM; or
            one of :data:`sycam.methods.KINDS`.
        expression: its text, or None where it is computed directly.
        cost: of the expression.
        search: mean on the search images.
        heldout: mean on the held-out images.
        sound: mean on the held-out images where no compared map is degenerate; NaN if none.
        degenerate: number of held-out images on which its map ranks nothing.
        panel: figures under metrics that were not optimised.
        guards: figures of the sanity guards on some of the images; empty where none was measured.
        against: the winner compared with it, for published CAMs and controls.
        scores: ``[N]`` held-out scores, an image each.
        further: figures and tests under the goals besides the first.
    """

    name: str
    kind: str
    expression: str | None
    cost: int | None
    search: float
    heldout: Interval
    sound: float
    degenerate: int
    panel: Mapping[str, float]
    against: Comparison | None
    scores: tuple[float, ...] = field(repr=False)
    guards: Mapping[str, float] = field(default_factory=dict)
    further: Mapping[str, Further] = field(default_factory=dict)

    def under(self, goal: str) -> Row | Further:
        """Figure, test and scores under a goal; the row itself has those of the first."""
        return self.further.get(goal, self)


@dataclass(frozen=True)
class Validation:
    """The evidence on images that the search never saw.

    Attributes:
        metric: the optimised metric.
        images: number of held-out images.
        sound_images: how many of them have no degenerate map among the methods compared.
        rows: winner first, then by held-out mean.
        best_published: name of the published method (baselines too) with the best held-out mean.
        chosen_published: name of the published method that the search images would have chosen.
        beats_published: whether the winner's mean exceeds the best published one's with
            Holm-corrected p < 0.05.
        directions: metric, panel and guards to whether higher is better.
        guarded_images: number of images on which the guards were measured.
    """

    metric: str
    images: int
    sound_images: int
    rows: tuple[Row, ...]
    best_published: str | None
    chosen_published: str | None
    beats_published: bool
    directions: Mapping[str, bool] = field(default_factory=dict)
    guarded_images: int = 0

    @property
    def goals(self) -> tuple[str, ...]:
        """The goals, the first being the metric."""
        return self.metric, *(self.rows[0].further if self.rows else ())

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """Of each goal; none without a winner or without published methods."""
        found = []
        for goal in self.goals:
            sign = 1 if self.directions[goal] else -1
            rivals = [r for r in self.rows if r.kind in PUBLISHED and r.against is not None]
            if rivals:
                best = max(rivals, key=lambda r: _known(sign * r.under(goal).heldout.mean))
                found.append(Verdict(goal, best.name, _beats(best.under(goal).against)))
        return tuple(found)

    def row(self, name: str) -> Row:
        """The row of a method by name."""
        return next(row for row in self.rows if row.name == name)

    @property
    def winner(self) -> Row | None:
        """The winner's row."""
        return next((row for row in self.rows if row.kind == "winner"), None)

    @property
    def concerns(self) -> tuple[str, ...]:
        """What is wrong with the winner whatever it scores: sanity guards that it fails."""
        guards = self.winner.guards if self.winner else {}
        return tuple(
            f"{said} ({name} {guards[name]:.3f})"
            for name, (fails, said) in _CONCERNS.items()
            if name in guards and fails(guards[name])
        )


@dataclass(frozen=True)
class Entrant:
    """A method to validate.

    Attributes:
        method: the method.
        kind: as in :class:`Row`.
        search: its figure on the search images.
        fitted: what these decided for it, see :meth:`sycam.metrics.Metric.fit`.
        fitted_further: the same under the goals besides the first.
    """

    method: Method
    kind: str
    search: float
    fitted: Any = None
    fitted_further: Sequence[Any] = ()


Settle = Callable[[Entrant, Metric, Score], Score]  # what counts as an entrant's held-out score


def as_measured(entrant: Entrant, metric: Metric, score: Score) -> Score:
    """The score itself."""
    return score


def _figure(metric: Metric, values: np.ndarray, fitted: Any) -> float:
    return float(metric.reduce(values, fitted)) if len(values) else float("nan")


def validate(
    entrants: Sequence[Entrant],
    metric: Metric,
    panel: Sequence[Metric],
    guards: Sequence[Metric],
    evidence: Evidence,
    context: Context,
    seed: int = 0,
    notify: Notify = ignore,
    further: Sequence[Metric] = (),
    settle: Settle = as_measured,
) -> Validation:
    """Score methods on held-out images and compare the winner with every other.

    Args:
        entrants: the methods; at most one of kind ``"winner"``.
        metric: the optimised metric.
        panel: other metrics, reported so that a winner that games its metric is seen.
        guards: what every explanation should pass; measured for the winner, published CAMs and
            controls on the first ``GUARDED`` images, and left out where they cannot be.
        evidence: measurements on the held-out images.
        context: of the same images.
        seed: of bootstrap and sign flips.
        notify: watches the progress.
        further: goals besides the first, under which the winner is compared too.
        settle: from each score that was measured, the one that counts: on record it may be
            rounded otherwise.
    """
    scorer, columns = Scorer(metric, evidence, context), []
    notify(Stage("Preparing the network"))
    measured = [metric, *further, *panel]
    scorer.prepare(len(entrants), measured)
    notify(Stage("Validating on held-out images", len(entrants)))
    places = _first_alike(entrants)
    for done, (entrant, first) in enumerate(zip(entrants, places, strict=True), 1):
        if first < len(columns):  # a published CAM that is the winner is scored once
            columns.append(columns[first])
        else:
            fresh = scorer.score_under(measured, entrant.method)
            columns.append([settle(entrant, m, s) for m, s in zip(measured, fresh, strict=True)])
        notify(Step(done))
    scores = [column[0] for column in columns]
    means = {m.text: [c[i].mean for c in columns] for i, m in enumerate(panel, 1 + len(further))}
    guarded = _guarded(entrants, guards, scorer, notify)
    # Images on which no method's map is degenerate.
    sound = ~np.any([score.flat for score in scores], axis=0)
    winner = next((i for i, e in enumerate(entrants) if e.kind == "winner"), None)
    goals = [metric, *further]
    # By goal and entrant.
    fitted = [[e.fitted, *e.fitted_further][: len(goals)] for e in entrants]
    values = [[column[g].values for column in columns] for g in range(len(goals))]
    added = [
        [goal.per_image(v, f[g]) for v, f in zip(values[g], fitted, strict=True)]
        for g, goal in enumerate(goals)
    ]
    oriented = [list(map(goal.oriented, a)) for goal, a in zip(goals, added, strict=True)]
    comparisons = _compare(winner, entrants, oriented, seed)
    rows = [
        Row(
            name=entrant.method.name,
            kind=entrant.kind,
            expression=None if e is None else str(e),
            cost=None if e is None else e.cost,
            search=entrant.search,
            heldout=interval(score.values, metric, seed, entrant.fitted),
            sound=_figure(metric, score.values[sound], entrant.fitted),
            degenerate=score.degenerate,
            panel={name: figures[i] for name, figures in means.items()},
            against=comparisons.get((0, i)),
            scores=tuple(added[0][i].tolist()),
            guards=guarded.get(i, {}),
            further={
                goal.text: Further(
                    interval(values[g][i], goal, seed, fitted[i][g]),
                    comparisons.get((g, i)),
                    tuple(added[g][i].tolist()),
                )
                for g, goal in enumerate(goals)
                if g
            },
        )
        for i, (entrant, score) in enumerate(zip(entrants, scores, strict=True))
        for e in [entrant.method.expression]
    ]
    rows.sort(key=lambda r: (r.kind != "winner", -_known(metric.oriented(r.heldout.mean))))
    published = [r for r in rows if r.kind in PUBLISHED]
    best = max(published, key=lambda r: _known(metric.oriented(r.heldout.mean)), default=None)
    chosen = max(published, key=lambda r: _known(metric.oriented(r.search)), default=None)
    return Validation(
        metric=metric.text,
        images=len(context),
        sound_images=int(sound.sum()),
        rows=tuple(rows),
        best_published=best and best.name,
        chosen_published=chosen and chosen.name,
        beats_published=bool(best and _beats(best.against)),
        directions={m.text: m.higher_is_better for m in (*measured, *guards)},
        guarded_images=min(GUARDED, len(context)) if guarded else 0,
    )


def _guarded(
    entrants: Sequence[Entrant],
    guards: Sequence[Metric],
    scorer: Scorer,
    notify: Notify,
) -> dict[int, dict[str, float]]:
    """Figures of the guards by the place of the entrant."""
    part = slice(0, GUARDED)
    context = scorer.context.subset(part)
    usable = []
    for guard in guards:
        try:
            guard.check(context)
        except OptionError as error:
            notify(Note(f"sanity guard {guard.name} is left out: {error}"))
        else:
            usable.append(guard)
    asked = ("winner", NEW, "published", "control")
    wanted = [i for i, e in enumerate(entrants) if e.kind in asked]
    dear = [i for i in wanted if not entrants[i].method.leaves <= ALWAYS]
    if dear and usable:
        # Their leaves would be measured anew for each other class and network.
        said = ", ".join(entrants[i].method.name for i in dear)
        notify(Note(f"sanity guards are left out for what reads dear leaves: {said}"))
    wanted = [i for i in wanted if i not in dear]
    if not usable or not wanted:
        return {}
    notify(Stage("Checking sanity", len(wanted)))
    small, found = Scorer(scorer.metric, scorer.evidence.subset(part), context), {}
    places = _first_alike(entrants)
    for done, i in enumerate(wanted, 1):
        if places[i] in found:
            found[i] = found[places[i]]
        else:
            scores = small.score_under(usable, entrants[i].method)
            found[i] = {m.text: s.mean for m, s in zip(usable, scores, strict=True)}
        notify(Step(done))
    return found


def _first_alike(entrants: Sequence[Entrant]) -> list[int]:
    """For each entrant the place of the first with the same expression, be it itself."""
    first: dict[Any, int] = {}
    return [first.setdefault(e.method.expression or i, i) for i, e in enumerate(entrants)]


def _compare(
    winner: int | None,
    entrants: Sequence[Entrant],
    scores: Sequence[Sequence[np.ndarray]],
    seed: int,
) -> dict[tuple[int, int], Comparison]:
    """By goal and entrant; ``scores`` are of each goal each entrant's, higher being better."""
    if winner is None:
        return {}
    differences = {
        (goal, i): each[winner] - each[i]
        for goal, each in enumerate(scores)
        for i, e in enumerate(entrants)
        if e.kind in (*PUBLISHED, NEW, "control")
    }
    return dict(zip(differences, compared(list(differences.values()), seed), strict=True))


def compared(differences: Sequence[np.ndarray], seed: int = 0) -> list[Comparison]:
    """Tests of one family, in the order given.

    Args:
        differences: winner minus other on each image, higher being better.
        seed: of bootstrap and sign flips.
    """
    raw = [sign_flip_p(d, seed) for d in differences]
    return [
        Comparison(mean_interval(d, seed), p, p_holm, wilcoxon_p(d))
        for d, p, p_holm in zip(differences, raw, holm(raw), strict=True)
    ]


def _known(figure: float) -> float:
    """A figure to sort by; one that is not defined is below all."""
    return figure if figure == figure else -math.inf


def _beats(against: Comparison | None) -> bool:
    return bool(against and against.difference.mean > 0 and against.p_holm < 1 - CONFIDENCE)


def interval(values: np.ndarray, metric: Metric, seed: int = 0, fitted: Any = None) -> Interval:
    """A metric's figure with its bootstrap interval over images.

    Args:
        values: ``[N]`` or ``[N,c]`` of one candidate.
        metric: reduces them. Means have a BCa interval, other figures a percentile interval.
        seed: of the resampling.
        fitted: what other images decided, see :meth:`sycam.metrics.Metric.fit`.
    """
    if not metric.components:
        return mean_interval(values, seed)
    figure, count = float(metric.reduce(values, fitted)), len(values)
    rng = np.random.default_rng(seed)
    resampled = [
        metric.reduce(values[rng.integers(count, size=(part, count))], fitted)
        for part in (_AT_ONCE,) * (RESAMPLES // _AT_ONCE) + (RESAMPLES % _AT_ONCE,)
    ]
    resampled = np.concatenate(resampled)
    resampled = resampled[np.isfinite(resampled)]
    if not len(resampled):
        return Interval(figure, figure, figure)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(resampled, (tail, 1 - tail))
    return Interval(figure, float(low), float(high))


def mean_interval(values: np.ndarray, seed: int = 0) -> Interval:
    """Mean of ``[N]`` values with its bootstrap interval; the mean alone where they are equal."""
    mean = float(np.mean(values))
    if len(values) < 2 or np.ptp(values) == 0 or not np.isfinite(mean):
        return Interval(mean, mean, mean)
    found = stats.bootstrap(
        (values,),
        np.mean,
        n_resamples=RESAMPLES,
        confidence_level=CONFIDENCE,
        method="BCa",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return Interval(mean, float(found.low), float(found.high))


def sign_flip_p(differences: np.ndarray, seed: int = 0) -> float:
    """Two-sided p of a mean difference of 0, by flipping the signs of paired differences; 1 where
    there is no difference, or one that is undefined."""
    if not np.any(differences) or not np.isfinite(differences).all():
        return 1.0
    return float(
        stats.permutation_test(
            (differences,),
            lambda d, axis: np.mean(d, axis=axis),
            permutation_type="samples",
            vectorized=True,
            n_resamples=RESAMPLES,
            rng=np.random.default_rng(seed),
        ).pvalue
    )


def wilcoxon_p(differences: np.ndarray) -> float:
    """Two-sided Wilcoxon signed-rank test; 1 where :func:`sign_flip_p` is."""
    if not np.any(differences) or not np.isfinite(differences).all():
        return 1.0
    return float(stats.wilcoxon(differences).pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction: family-wise error kept, in the order given.

    >>> [round(p, 3) for p in holm([0.01, 0.04, 0.03])]
    [0.03, 0.06, 0.06]
    """
    order = np.argsort(p_values, kind="stable")
    corrected, running = [0.0] * len(p_values), 0.0
    for place, i in enumerate(order):
        running = max(running, min(1.0, (len(p_values) - place) * p_values[i]))
        corrected[i] = float(running)
    return corrected
