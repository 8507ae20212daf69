"""What one formula per class gains over one for all, on images that the search never saw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sycam.errors import OptionError
from sycam.metrics import Metric
from sycam.scoring.statistics import Interval, holm, mean_interval, sign_flip_p
from sycam.search.selection.per_class import Choice
from sycam.search.selection.select import Candidate


@dataclass(frozen=True)
class ClassWinner:
    """One class's formula beside the formula of all.

    Attributes:
        label: the class explained.
        expression: its formula; None where there is none.
        cost: of the formula.
        own: whether the class chose it; else the formula of all stands in.
        note: why it stands in.
        search_images: of the class.
        search: the formula's figure on them: the best of many, so biased upwards.
        search_overall: that of the formula of all.
        heldout_images: of the class.
        heldout: the formula's figure on them; None where there are none.
        heldout_overall: that of the formula of all.
        gain: mean paired difference on them, oriented so that positive favours specialising; None
            where the class has no own formula, or no images.
        p: two-sided sign-flip test of the gain.
        p_holm: the same, Holm-corrected over the classes tested.
    """

    label: int
    expression: str | None
    cost: int | None
    own: bool
    note: str
    search_images: int
    search: float | None
    search_overall: float | None
    heldout_images: int
    heldout: float | None
    heldout_overall: float | None
    gain: Interval | None
    p: float | None
    p_holm: float | None


@dataclass(frozen=True)
class Specialisation:
    """What specialising to classes gains.

    Attributes:
        metric: the optimised metric.
        overall: the formula of all; None where there is none.
        classes: one row per class of the search images.
        images: held-out images of the classes that have a formula of their own.
        unexplained: held-out images of classes that no search image has; they count nowhere.
        gain: mean paired difference over ``images``, oriented so that positive favours
            specialising; None where there are none.
        p: two-sided sign-flip test of it.
    """

    metric: str
    overall: str | None
    classes: tuple[ClassWinner, ...]
    images: int
    unexplained: int
    gain: Interval | None
    p: float | None


def specialisation(
    choices: Sequence[Choice],
    metric: Metric,
    winner: Candidate | None,
    classes: Sequence[int] | np.ndarray,
    values: Mapping[str, np.ndarray],
    seed: int = 0,
) -> Specialisation:
    """Compare the winners of the classes with the winner of all.

    Where the metric's figure is no mean, differences are those of jackknife pseudo-values within
    each class (see :meth:`sycam.metrics.Metric.per_image`), and what the search images decide
    (:meth:`~sycam.metrics.Metric.fit`) is decided by those of the class for its winner, by all for
    the winner of all.

    Args:
        choices: of :func:`sycam.search.selection.per_class.class_winners`.
        metric: what is scored.
        winner: of all, with its scores on all search images.
        classes: ``[N]`` the class explained in each held-out image.
        values: name of each candidate of the choices, and of the winner, to its scores on the
            held-out images, ``[N]`` or ``[N,c]``.
        seed: of bootstrap and sign flips.

    Raises:
        OptionError: a formula without held-out scores, or another number of them than of images.
    """
    classes = np.asarray(classes)
    for name in {c.name for choice in choices for c in (choice.candidate, winner) if c}:
        if name not in values or len(values[name]) != len(classes):
            raise OptionError(
                f"{name} has {len(values.get(name, ()))} held-out scores for {len(classes)} "
                "images; score every winner on all held-out images"
            )
    fitted = None if winner is None else metric.fit(winner.score.values)
    rows, differences = [], []
    for choice in choices:
        part = classes == choice.label
        row, difference = _row(choice, metric, winner, fitted, values, part, seed)
        rows.append(row)
        differences.append(difference)
    tested = [i for i, d in enumerate(differences) if d is not None]
    for i, p in zip(tested, holm([rows[i]["p"] for i in tested]), strict=True):
        rows[i]["p_holm"] = p
    together = np.concatenate([differences[i] for i in tested]) if tested else None
    return Specialisation(
        metric=metric.text,
        overall=None if winner is None else winner.name,
        classes=tuple(ClassWinner(**row) for row in rows),
        images=0 if together is None else len(together),
        unexplained=int((~np.isin(classes, [c.label for c in choices])).sum()),
        gain=None if together is None else mean_interval(together, seed),
        p=None if together is None else sign_flip_p(together, seed),
    )


def _row(
    choice: Choice,
    metric: Metric,
    winner: Candidate | None,
    fitted: Any,
    values: Mapping[str, np.ndarray],
    part: np.ndarray,
    seed: int,
) -> tuple[dict[str, Any], np.ndarray | None]:
    """One class's row, and the differences ``[n]`` on its held-out images, where it is tested."""
    ours, count, difference = choice.candidate, int(part.sum()), None
    fits = {"heldout": (ours, ours and metric.fit(ours.score.values)),
            "heldout_overall": (winner, fitted)}  # fmt: skip
    if not choice.own:  # the winner of all stands in, with what all images decided
        fits["heldout"] = (ours, fitted)
    figures = {
        name: float(metric.reduce(values[c.name][part], f)) if c and count else None
        for name, (c, f) in fits.items()
    }
    if ours and winner and choice.own and count:
        added = [metric.per_image(values[c.name][part], f) for c, f in fits.values()]
        difference = metric.oriented(added[0]) - metric.oriented(added[1])
    row = {
        "label": choice.label,
        "expression": ours and ours.name,
        "cost": ours and ours.cost,
        "own": choice.own,
        "note": choice.note,
        "search_images": choice.images,
        "search": ours and ours.mean,
        "search_overall": choice.baseline and choice.baseline.mean,
        "heldout_images": count,
        **figures,
        "gain": None if difference is None else mean_interval(difference, seed),
        "p": None if difference is None else sign_flip_p(difference, seed),
        "p_holm": None,
    }
    return row, difference
