"""Whether there are enough images to tell the winner from its rivals, and how many would do."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from sycam.metrics import Metric
from sycam.search.selection.rules import DEFAULT_RULE, ordering
from sycam.search.selection.select import Candidate, in_order, paired_scores

RIVALS = 5  # distinct leaders that the winner is compared with
LOOKED_AT = 100  # candidates of the ranking among which they are sought
LEVEL, POWER = 0.05, 0.8
MOST = 10_000  # images; who would need more to be told from the winner is as good as it
APART, UNDECIDED, ALIKE = "apart", "undecided", "alike"


@dataclass(frozen=True)
class Rival:
    """The winner against another leader, paired image by image on the search images.

    Attributes:
        expression: the other's text.
        cost: of it.
        difference: winner's figure minus the other's, positive where the winner is better
            whatever the metric's direction.
        error: standard error of the difference.
        p: two-sided paired t-test, not corrected for how the two were found.
        images: number of images that would tell a true difference of this size from none in four
            cases of five, at 5 %; None where it is above :data:`MOST`.
        verdict: ``"apart"`` (p below 5 %), ``"undecided"``, or ``"alike"``: undecided, and no
            practical number of images would change that.
    """

    expression: str
    cost: int
    difference: float
    error: float
    p: float
    images: int | None
    verdict: str


@dataclass(frozen=True)
class Power:
    """What the search images can tell.

    Attributes:
        images: number of search images.
        rivals: the next leaders that are not alike with the winner, in the rule's order.
        alike: expressions among the leaders that no practical number of images tells from the
            winner.
        enough: whether every rival is told apart from the winner.
        needed: number of images that would tell all rivals apart, where they are not; None where
            they are.
        warning: a sentence for people, empty where there is nothing to warn of.
    """

    images: int
    rivals: tuple[Rival, ...]
    alike: tuple[str, ...]
    enough: bool
    needed: int | None
    warning: str


def power(
    candidates: Sequence[Candidate],
    metric: Metric,
    winner: Candidate,
    is_known: Callable[[Candidate], bool],
    rule: str = DEFAULT_RULE,
    seed: int = 0,
) -> Power:
    """Compare the winner with the next leaders on the search images.

    Many formulas mean nearly the same; to be told from those is not asked of the images, and they
    are listed apart. The winner was found on the same images, so that "apart" is a hint, not a
    finding; findings are made on held-out images.

    Args:
        candidates: as given to :func:`sycam.search.selection.select.select`, on two images or more.
        metric: that scored them.
        winner: what was selected among them.
        is_known: as given to ``select``; asked only of leaders.
        rule: of ``RULES``.
        seed: of the folds of ``cross-fit``.
    """
    field = in_order(candidates)
    scores = paired_scores(field, metric)
    order = ordering(scores, np.array([c.cost for c in field]), rule, seed)
    ours = next(scores[i] for i in order if field[i].name == winner.name)
    rivals: list[Rival] = []
    alike: list[str] = []
    for i in order[:LOOKED_AT]:
        if field[i].name == winner.name or is_known(field[i]):
            continue
        rival = compared(field[i], ours - scores[i])
        if rival.verdict == ALIKE:
            alike.append(rival.expression)
        else:
            rivals.append(rival)
        if len(rivals) == RIVALS:
            break
    undecided = [r for r in rivals if r.verdict == UNDECIDED]
    needed = max((r.images for r in undecided), default=None)
    return Power(
        images=len(ours),
        rivals=tuple(rivals),
        alike=tuple(alike),
        enough=not undecided,
        needed=needed,
        warning=_warning(winner, undecided, len(rivals), len(ours), needed),
    )


def compared(other: Candidate, differences: np.ndarray) -> Rival:
    """A rival, from what the winner is better by on each image.

    Args:
        other: the rival.
        differences: ``[N]``, N at least 2.
    """
    count = len(differences)
    difference = float(differences.mean())
    error = float(differences.std(ddof=1) / math.sqrt(count))
    images, p = images_for(difference, error * math.sqrt(count)), 1.0
    if error == 0:
        p = 1.0 if difference == 0 else 0.0
    else:
        p = float(2 * stats.t.sf(abs(difference) / error, count - 1))
    verdict = APART if p < LEVEL else UNDECIDED if images is not None else ALIKE
    cost = other.require_expression().cost
    return Rival(other.name, cost, difference, error, p, images, verdict)


def images_for(difference: float, deviation: float) -> int | None:
    """Images that show a mean difference of this size with 80 % power at 5 %, two-sided.

    ``((z(0.975) + z(0.8)) * deviation / difference) ** 2``, the normal approximation.

    Args:
        difference: true mean of the paired differences.
        deviation: their standard deviation.

    Returns:
        2 or more; None above :data:`MOST`, or where there is no difference.

    >>> images_for(0.01, 0.05)
    197
    """
    if difference == 0:
        return None
    quantiles = stats.norm.ppf(1 - LEVEL / 2) + stats.norm.ppf(POWER)
    ratio = quantiles * deviation / abs(difference)
    return max(2, math.ceil(ratio**2)) if ratio**2 <= MOST else None


def _warning(
    winner: Candidate, undecided: list[Rival], rivals: int, images: int, needed: int | None
) -> str:
    if not undecided:
        return ""
    first = undecided[0]
    return (
        f"{images} search images cannot tell {winner.name} from {len(undecided)} of its "
        f"{rivals} next rivals, such as {first.expression} (difference {first.difference:.3g}, "
        f"standard error {first.error:.2g}); about {needed} would"
    )
