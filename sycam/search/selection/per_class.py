"""One winner per class explained, beside the one winner of all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from sycam.errors import OptionError
from sycam.metrics import Metric
from sycam.scoring.scorer import Score
from sycam.search.selection.select import Candidate, select

MINIMUM = 8  # search images of a class: of fewer, no two-sided sign-flip test gets below 0.01

Known = Callable[[Candidate], bool]
Choose = Callable[[Sequence[Candidate], Metric, Known], Candidate | None]


@dataclass(frozen=True)
class Choice:
    """What explains one class.

    Attributes:
        label: the class explained.
        candidate: with its scores on the class's search images only; None where neither the class
            nor the whole has a winner.
        baseline: the winner of all, on the same images.
        images: how many these are.
        note: why the winner of all stands in; empty where the class has its own.
    """

    label: int
    candidate: Candidate | None
    baseline: Candidate | None
    images: int
    note: str = ""

    @property
    def own(self) -> bool:
        """Whether the class chose for itself (be it the winner of all)."""
        return not self.note


def class_winners(
    candidates: Sequence[Candidate],
    metric: Metric,
    classes: Sequence[int] | np.ndarray,
    winner: Candidate | None,
    is_known: Known,
    choose: Choose = select,
    minimum: int = MINIMUM,
) -> tuple[Choice, ...]:
    """The winner of each class by the rule that chooses the winner of all.

    On record is how many of a candidate's maps are degenerate, not always which: for each class
    all of them count as if they were its own, so that none wins there that should not.

    Args:
        candidates: with scores on all N search images: a race over all images may drop what is
            best on one class, so run it off.
        metric: what they are scored by.
        classes: ``[N]`` the class explained in each search image.
        winner: of all images, which stands in where a class has too few.
        is_known: whether a candidate is refused, as a published CAM or otherwise; asked at most
            once for each candidate.
        choose: the selection rule.
        minimum: search images that a class needs to choose for itself.

    Returns:
        One choice per class, in the order of the classes.

    Raises:
        OptionError: another number of classes than of images, or a minimum below 2.
    """
    classes = np.asarray(classes)
    if minimum < 2:
        raise OptionError(f"minimum of images per class must be at least 2, got {minimum}")
    for candidate in candidates[:1]:
        if classes.shape != (len(candidate.score.values),):
            raise OptionError(
                f"classes of shape {list(classes.shape)} for {len(candidate.score.values)} search "
                "images; expected one class per image"
            )
    answers: dict[str, bool] = {}

    def refused(candidate: Candidate) -> bool:
        if candidate.name not in answers:
            answers[candidate.name] = is_known(candidate)
        return answers[candidate.name]

    choices = []
    for label in np.unique(classes).tolist():
        part = np.flatnonzero(classes == label)
        baseline = None if winner is None else _restricted(winner, metric, part)
        chosen, note = None, ""
        if len(part) < minimum:
            note = f"{len(part)} search images, fewer than {minimum}"
        else:
            chosen = choose([_restricted(c, metric, part) for c in candidates], metric, refused)
            note = "" if chosen else "no eligible candidate differs from the published CAMs"
        choices.append(Choice(label, chosen or baseline, baseline, len(part), note))
    return tuple(choices)


def _restricted(candidate: Candidate, metric: Metric, part: np.ndarray) -> Candidate:
    """A candidate as only some of the images show it."""
    score = candidate.score
    return replace(
        candidate, score=Score.of(metric, score.values[part], score.degenerate, score.finite)
    )
