"""The ensemble on held-out images, beside single CAMs with and without thresholds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from sycam.applications.ensembles.choosing import Chosen
from sycam.applications.ensembles.rows import (
    ENSEMBLE,
    FORMULA,
    MEMBER,
    SINGLE,
    THRESHOLDED,
    WINNER,
    ChosenThreshold,
    EnsembleRow,
    title,
)
from sycam.applications.ensembles.scores import CHOOSING, HELDOUT, JUDGING, SEARCH, Part, Scores
from sycam.applications.ensembles.votes import WHOLE, Members, Vote
from sycam.data.images import ImageSet
from sycam.drawing.overlays import ImageRow
from sycam.methods import Method, find_method
from sycam.metrics import Metric
from sycam.metrics.composition.levels import best_member
from sycam.report.pictures.image_rows import image_row
from sycam.scoring.scorer import Score
from sycam.scoring.statistics import Scored, compared, interval, swap_p, swappable

_SHOWN = 5  # members in a picture, the best of them
Entry = tuple[str, str, float, Method]  # name, kind, percent


def judged(
    chosen: Chosen, members: Members, rivals: Sequence[Method], scores: Scores, seed: int
) -> tuple[tuple[EnsembleRow, ...], tuple[str, ...]]:
    """The ensemble, then all that it is compared with, best held out first; and what there was no
    time for.

    The ensemble and the single CAM that the search images choose are judged whatever the time.

    Args:
        chosen: on the search images.
        members: that may vote.
        rivals: further methods.
        scores: where scores come from.
        seed: of bootstrap and permutations.
    """
    metric = scores.parts[HELDOUT].metric
    wanted = _entries(chosen, members, rivals)
    scores.begin("Judging on held-out images", 2 * len(wanted))
    measured: dict[int, tuple[float, Score]] = {}
    for place in _most_important_first(wanted, scores):
        method = wanted[place][-1]
        if len(measured) < 2 or not any(scores.late(method, p) for p in (SEARCH, HELDOUT)):
            measured[place] = scores.of(method, SEARCH).mean, scores.of(method, HELDOUT)
    entries = [wanted[place] for place in sorted(measured)]
    searched, found = zip(*(measured[place] for place in sorted(measured)), strict=True)
    per_image = [metric.per_image(score.values) for score in found]
    scored = [
        Scored(metric.oriented(one), metric, score.values)
        for one, score in zip(per_image, found, strict=True)
    ]
    ours, *others = scored
    against = compared(
        [ours.oriented - other.oriented for other in others],
        seed,
        [swap_p(ours, other, seed) if swappable(ours, other) else None for other in others],
        [metric.span] * len(others),
    )
    rows = [
        EnsembleRow(
            name, kind, percent, figure, interval(score.values, metric, seed), comparison,
            score.degenerate, tuple(one.tolist()),
        )
        for (name, kind, percent, _), figure, score, comparison, one in zip(
            entries, searched, found, [None, *against], per_image, strict=True
        )
    ]  # fmt: skip
    ordered = rows[0], *sorted(rows[1:], key=lambda row: -_known(metric, row.heldout.mean))
    left = [title(*one[:3]) for place, one in enumerate(wanted) if place not in measured]
    return ordered, tuple(left)


def _most_important_first(entries: Sequence[Entry], scores: Scores) -> list[int]:
    """Places of the ensemble, the best single CAM, winners of searches, other single CAMs, and of
    the ensemble as a formula."""
    metric = scores.parts[SEARCH].metric

    def rank(place: int) -> tuple[int, float]:
        _, kind, _, method = entries[place]
        if kind not in SINGLE:
            return {ENSEMBLE: 0, WINNER: 2, FORMULA: 4}[kind], 0.0
        return 3, -_known(metric, scores.of(method, SEARCH).mean)

    first, *others = sorted(range(len(entries)), key=rank)
    best = next(place for place in others if entries[place][1] in SINGLE)
    return [first, best, *(place for place in others if place != best)]


def _entries(chosen: Chosen, members: Members, rivals: Sequence[Method]) -> list[Entry]:
    vote = chosen.vote
    name = " + ".join(members.names[place] for place in vote.places)
    entries = [(name, ENSEMBLE, vote.percent, members.vote(vote))]
    expression = members.expression(vote)
    if expression is not None:
        entries.append((str(expression), FORMULA, vote.percent, find_method(expression)))
    for place, method in enumerate(members.methods):
        entries.append((method.name, MEMBER, WHOLE, members.vote(Vote((place,), WHOLE))))
    for place, single in enumerate(chosen.singles):
        if single.percent < WHOLE:
            name = members.names[place]
            entries.append((name, THRESHOLDED, single.percent, members.vote(single)))
    entries += [(method.name, WINNER, WHOLE, method) for method in rivals]
    return entries


def _known(metric: Metric, figure: float) -> float:
    """A figure to sort by, higher is better; one that is not defined is below all."""
    return metric.oriented(figure) if figure == figure else -np.inf


def thresholds(
    chosen: Chosen, members: Members, scores: Scores, seed: int
) -> tuple[tuple[ChosenThreshold, ...], tuple[str, ...]]:
    """Each single CAM with a threshold chosen image by image, against the one for all images; and
    the names of those that there was no time for.

    Args:
        chosen, members, scores, seed: as for :func:`judged`.
    """
    metric, percents = scores.parts[CHOOSING].metric, chosen.percents
    scores.begin("Judging thresholds image by image", 2 * len(members) * len(percents))
    found, left = [], []
    for single in chosen.singles:
        votes = [members.vote(Vote(single.places, percent)) for percent in percents]
        if any(scores.late(vote, part) for vote in votes for part in (CHOOSING, JUDGING)):
            left.append(members.names[single.places[0]])
            continue
        choice, judgement = (
            np.stack([scores.of(vote, part).values for vote in votes])
            for part in (CHOOSING, JUDGING)
        )
        taken = best_member(metric.oriented(choice))
        by_image = judgement[taken, np.arange(len(taken))]
        found.append((single, judgement[percents.index(single.percent)], by_image, taken))
    differences = [metric.oriented(a) - metric.oriented(f) for _, f, a, _ in found]
    gains = compared(differences, seed, spans=[metric.span] * len(differences))
    judged = tuple(
        ChosenThreshold(
            members.names[single.places[0]],
            single.percent,
            interval(fixed, metric, seed),
            interval(by_image, metric, seed),
            gain,
            tuple(np.bincount(taken, minlength=len(percents)).tolist()),
        )
        for (single, fixed, by_image, taken), gain in zip(found, gains, strict=True)
    )
    return judged, tuple(left)


def examples(
    rows: Sequence[EnsembleRow],
    vote: Vote,
    members: Members,
    heldout: Part,
    images: ImageSet,
    count: int,
) -> tuple[ImageRow, ...]:
    """Held-out images from the ensemble's best to its worst, evenly spread by rank, with the
    heatmaps of its best members and its own.

    Args:
        rows: of :func:`judged`.
        vote: the ensemble.
        members: that may vote.
        heldout: the images, measured.
        images: the same.
        count: how many.
    """
    if not count:
        return ()
    metric = heldout.metric
    figures = {row.name: row.scores for row in rows if row.kind == MEMBER}
    places = [place for place in vote.places if members.names[place] in figures]
    shown = sorted(
        places, key=lambda place: -_known(metric, float(np.mean(figures[members.names[place]])))
    )[:_SHOWN]
    columns = {members.names[place]: Vote((place,), WHOLE) for place in sorted(shown)}
    voted = f"ensemble: top {vote.percent:g} % of {len(vote.places)}"
    order = np.argsort(rows[0].scores, kind="stable")[::-1]
    chosen = order[np.linspace(0, len(order) - 1, min(count, len(order))).round().astype(int)]
    found = []
    for i in map(int, chosen):
        part = slice(i, i + 1)
        measured = heldout.evidence.subset(part), heldout.context.subset(part)
        with torch.no_grad():
            heat = {
                name: members.vote(one).heatmaps(*measured).maps[0, 0].float().cpu().numpy()
                for name, one in {**columns, voted: vote}.items()
            }
        texts = {name: f"{figures[name][i]:.3f}" for name in columns}
        texts[voted] = f"{rows[0].scores[i]:.3f}"
        found.append(image_row(images, i, str(images.names[i]), heat, texts))
    return tuple(found)
