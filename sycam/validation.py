"""Held-out evidence: means with intervals, paired tests, and metrics that were not optimised."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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

PUBLISHED = ("published", "baseline")  # kinds of methods that a winner has to beat
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
        p_holm: the same, Holm-corrected over all published CAMs and controls.
        p_wilcoxon: two-sided Wilcoxon signed-rank test, uncorrected.
    """

    difference: Interval
    p: float
    p_holm: float
    p_wilcoxon: float


@dataclass(frozen=True)
class Row:
    """One method on the held-out images.

    Attributes:
        name: method name or expression text.
        kind: ``winner``, or one of :data:`sycam.methods.KINDS`.
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
    """

    method: Method
    kind: str
    search: float
    fitted: Any = None


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
    """
    scorer, columns = Scorer(metric, evidence, context), []
    notify(Stage("Preparing the network"))
    scorer.prepare(len(entrants), [metric, *panel])
    notify(Stage("Validating on held-out images", len(entrants)))
    for done, entrant in enumerate(entrants, 1):
        columns.append(scorer.score_under([metric, *panel], entrant.method))
        notify(Step(done))
    scores = [column[0] for column in columns]
    others = {m.text: [column[i].mean for column in columns] for i, m in enumerate(panel, 1)}
    guarded = _guarded(entrants, guards, scorer, notify)
    # Images on which no method's map is degenerate.
    sound = ~np.any([score.flat for score in scores], axis=0)
    winner = next((i for i, e in enumerate(entrants) if e.kind == "winner"), None)
    added = [metric.per_image(s.values, e.fitted) for s, e in zip(scores, entrants, strict=True)]
    comparisons = _compare(winner, entrants, list(map(metric.oriented, added)), seed)
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
            panel={name: means[i] for name, means in others.items()},
            against=comparisons.get(i),
            scores=tuple(added[i].tolist()),
            guards=guarded.get(i, {}),
        )
        for i, (entrant, score) in enumerate(zip(entrants, scores, strict=True))
        for e in [entrant.method.expression]
    ]
    rows.sort(key=lambda r: (r.kind != "winner", -metric.oriented(r.heldout.mean)))
    published = [r for r in rows if r.kind in PUBLISHED]
    best = max(published, key=lambda r: metric.oriented(r.heldout.mean), default=None)
    chosen = max(published, key=lambda r: metric.oriented(r.search), default=None)
    return Validation(
        metric=metric.text,
        images=len(context),
        sound_images=int(sound.sum()),
        rows=tuple(rows),
        best_published=best and best.name,
        chosen_published=chosen and chosen.name,
        beats_published=bool(
            best
            and best.against
            and best.against.difference.mean > 0
            and best.against.p_holm < 1 - CONFIDENCE
        ),
        directions={m.text: m.higher_is_better for m in (metric, *panel, *guards)},
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
    wanted = [i for i, e in enumerate(entrants) if e.kind in ("winner", "published", "control")]
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
    for done, i in enumerate(wanted, 1):
        scores = small.score_under(usable, entrants[i].method)
        found[i] = {m.text: s.mean for m, s in zip(usable, scores, strict=True)}
        notify(Step(done))
    return found


def _compare(
    winner: int | None,
    entrants: Sequence[Entrant],
    scores: Sequence[np.ndarray],
    seed: int,
) -> dict[int, Comparison]:
    if winner is None:
        return {}
    others = [i for i, e in enumerate(entrants) if e.kind in (*PUBLISHED, "control")]
    differences = {i: scores[winner] - scores[i] for i in others}
    raw = [sign_flip_p(differences[i], seed) for i in others]
    corrected = holm(raw)
    return {
        i: Comparison(mean_interval(differences[i], seed), p, p_holm, wilcoxon_p(differences[i]))
        for i, p, p_holm in zip(others, raw, corrected, strict=True)
    }


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
