"""Rules that choose among candidates by their scores image by image, as arrays.

Scores are ``[C,N]``, C candidates and N images, oriented so that higher is better. Images carry
weights ``[N,B]``: ones for the set itself, or how often each was drawn for B bootstrap samples of
it, so that a rule is applied to all samples at once. Where candidates tie, the first is chosen.
"""

from __future__ import annotations

import math

import numpy as np

from sycam.errors import unknown_name
from sycam.search.selection.rule_names import DEFAULT_RULE, RULES
from sycam.support.shelf import blocks, room_for

ERRORS = 1.0  # standard errors that one-se allows and lower-bound subtracts
LEADERS = 100  # candidates whose average lower-bound compares with
FOLDS = 5
REPEATS = 20  # divisions into folds; of a bootstrap sample, one
_CROSS_FIT_ERRORS = 2.0  # that a race allows
_DIGITS = 10  # decimals of the largest score that count: they have 7, what follows is rounding

Keys = tuple[np.ndarray, ...]


def ordering(
    scores: np.ndarray, costs: np.ndarray, rule: str = DEFAULT_RULE, seed: int = 0
) -> np.ndarray:
    """Candidates in the order in which they should win.

    Args:
        scores: ``[C,N]``.
        costs: ``[C]``.
        rule: of :data:`RULES`.
        seed: of the folds.

    Returns:
        int64 ``[C]``, indices. It does not depend on the order of the images, and on that of the
        candidates only where they tie.

    Raises:
        UnknownNameError: no such rule.
    """
    scores = in_own_order(scores)
    keys = standings(rule, scores, costs, np.ones((scores.shape[1], 1)), seed, REPEATS)
    return np.lexsort([-key[:, 0] for key in reversed(keys)])


def in_own_order(scores: np.ndarray) -> np.ndarray:
    """``[C,N]`` with the images in an order that only the scores decide, so that what is drawn by
    place is drawn by content."""
    if not scores.size:
        return scores
    ranked = room_for(scores.shape)
    for part in blocks(scores.shape[1], len(scores)):
        ranked[:, part] = np.sort(scores[:, part], axis=0)
    order = np.lexsort(ranked)
    ordered = room_for(scores.shape[::-1])
    for i, one in enumerate(scores):
        ordered[:, i] = one[order]
    return ordered.T


def winners(
    scores: np.ndarray,
    costs: np.ndarray,
    weights: np.ndarray,
    rule: str,
    seed: int | np.random.Generator = 0,
) -> np.ndarray:
    """``[B]`` which candidate wins on each sample.

    Args:
        scores: ``[C,N]``.
        costs: ``[C]``.
        weights: ``[N,B]`` whole numbers that add up to N in each column.
        rule: of :data:`RULES`.
        seed: of the folds, or what draws them: for samples in parts the same folds as for all.
    """
    still = np.ones((len(scores), weights.shape[1]), bool)
    for key in standings(rule, scores, costs, weights, seed):
        left = np.where(still, key, -np.inf)
        still &= left == left.max(0)
    return still.argmax(0)


def standings(
    rule: str,
    scores: np.ndarray,
    costs: np.ndarray,
    weights: np.ndarray,
    seed: int | np.random.Generator = 0,
    repeats: int = 1,
) -> Keys:
    """What a rule compares candidates by: arrays ``[C,B]``, the highest wins, the later decide
    where the earlier tie.

    Args:
        scores: ``[C,N]``.
        costs: ``[C]``.
        weights: ``[N,B]``, see :func:`winners`.
        rule: of :data:`RULES`.
        seed: of the folds, see :func:`winners`.
        repeats: divisions into folds of each sample.
    """
    if rule not in RULES:
        raise unknown_name("selection rule", rule, RULES)
    means = _means(scores, weights)
    if rule == "argmax" or scores.shape[1] < 2:  # one image tells nothing of the spread
        return (means,)
    if rule == "one-se":
        return _within_one_error(scores, costs, weights, means)
    if rule == "lower-bound":
        return _lower_bounds(scores, weights, means)
    return _cross_fitted(scores, weights, means, np.random.default_rng(seed), repeats)


def allowance(
    rule: str,
    best: np.ndarray,
    seen: np.ndarray,
    total: int,
    average: np.ndarray | None = None,
) -> float:
    """How far behind the best a candidate's mean over all images may lie for the rule to choose
    it still, estimated from the images seen.

    ``argmax`` allows nothing. ``one-se`` allows one standard error of the paired difference over
    all images, to candidates that are cheaper than the best. ``lower-bound`` allows what the
    best's standard error exceeds the candidate's by, both of the lead over the average; where the
    average is not given, one standard error of the difference, which is never less (a standard
    deviation is a norm: |a| - |b| <= |a - b|). ``cross-fit`` is given two standard errors of the
    difference: without one fold the difference of means has a spread of half an error, so that
    hardly a fold nominates a candidate that lies further behind.

    Args:
        rule: of :data:`RULES`.
        best: ``[n]`` scores of the candidate with the highest mean.
        seen: ``[n]`` the candidate's, on the same images.
        total: number of search images.
        average: ``[n]`` of :func:`leaders_average` on these images, for ``lower-bound``.

    Returns:
        In units of the mean; infinite where fewer than two images were seen.
    """
    if rule not in RULES:
        raise unknown_name("selection rule", rule, RULES)
    if rule == "argmax":
        return 0.0
    if len(seen) < 2:
        return float("inf")
    if rule == "lower-bound" and average is not None:
        excess = np.std(best - average, ddof=1) - np.std(seen - average, ddof=1)
    else:
        excess = np.std(best - seen, ddof=1)
    errors = _CROSS_FIT_ERRORS if rule == "cross-fit" else ERRORS
    return float(errors * max(0.0, excess) / np.sqrt(total))


def leaders_average(scores: np.ndarray) -> np.ndarray:
    """``[N]`` mean score of the :data:`LEADERS` candidates with the highest means."""
    means = scores.mean(1).round(_decimals(scores))
    leaders = np.argsort(-means, kind="stable")[:LEADERS]
    parts = blocks(scores.shape[1], len(leaders))
    return np.concatenate([scores[leaders, part].mean(0) for part in parts])


def within_noise(best: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """``[C]`` which candidates lie no further behind one of their number than ``one-se`` allows:
    one standard error of the paired difference.

    Args:
        best: ``[N]`` scores of the one that they are compared with, N at least 2.
        scores: ``[C,N]``.
    """
    weights = np.ones((len(best), 1))
    every = np.concatenate([best[None], scores])
    means = _means(every, weights)
    return _near(every, weights, means, 0)[1:, 0]


def _decimals(scores: np.ndarray) -> int:
    """Decimals that count of figures of these scores, whatever their unit."""
    largest = max((np.abs(one[np.isfinite(one)]).max(initial=0.0) for one in scores), default=0.0)
    return _DIGITS - (math.ceil(math.log10(largest)) if largest > 0 else 0)


def _means(scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """``[C,B]``"""
    return (scores @ weights / weights.sum(0)).round(_decimals(scores))


def _errors(scores: np.ndarray, weights: np.ndarray, origin: np.ndarray) -> np.ndarray:
    """``[C,B]`` standard errors of the means of what scores exceed those of ``[N]`` by."""
    count = weights.sum(0)
    squares = []
    for part in blocks(len(scores), scores.shape[1]):
        some = scores[part] - origin
        centred = some - some.mean(1, keepdims=True)  # so that squares do not cancel
        squares.append(centred**2 @ weights / count - (centred @ weights / count) ** 2)
    return np.sqrt(np.concatenate(squares).clip(0) / (count - 1))


def _lower_bounds(scores: np.ndarray, weights: np.ndarray, means: np.ndarray) -> Keys:
    """Paired with the leaders' average: how hard an image is for all does not count."""
    error = _errors(scores, weights, leaders_average(scores))
    return (means - ERRORS * error).round(_decimals(scores)), means


def _within_one_error(
    scores: np.ndarray, costs: np.ndarray, weights: np.ndarray, means: np.ndarray
) -> Keys:
    """Breiman et al., Classification and Regression Trees, 1984, section 3.4.3, with the error of
    the paired difference."""
    best, near = means.argmax(0), np.empty(means.shape)
    for one in np.unique(best):
        those = best == one
        near[:, those] = _near(scores, weights[:, those], means[:, those], one)
    return near, np.where(near, -costs[:, None], 0), means


def _near(scores: np.ndarray, weights: np.ndarray, means: np.ndarray, best: int) -> np.ndarray:
    """``[C,B]`` bool, which lie within one standard error of the paired difference to the best."""
    digits = _decimals(scores)
    error = _errors(scores, weights, scores[best])
    behind = means[best] - means
    return behind.round(digits) <= (ERRORS * error).round(digits)


def _cross_fitted(
    scores: np.ndarray,
    weights: np.ndarray,
    means: np.ndarray,
    rng: np.random.Generator,
    repeats: int,
) -> Keys:
    """Each fold is left out in turn; the highest mean on the others is nominated, and credited
    with its lead over the average of all candidates on the fold. What counts is a candidate's mean
    credit, taken together with as many nominations without any as there are folds."""
    count, samples = weights.shape
    folds = min(FOLDS, count)
    places = np.broadcast_to(np.arange(count)[:, None] % folds, (count, samples * repeats))
    place = rng.permuted(places, axis=0).reshape(count, samples, repeats)
    left_out = (place[..., None] == np.arange(folds)) * weights[:, :, None, None]
    leads = scores - scores.mean(0)
    inside = leads @ left_out.reshape(count, -1)
    held = left_out.sum(0).reshape(-1)
    whole = np.repeat(leads @ weights, repeats * folds, axis=1)
    trained = np.repeat(weights.sum(0), repeats * folds) - held
    # A bootstrap sample may hold no image of a fold, or none of the others.
    digits = _decimals(scores)
    nominee = ((whole - inside) / trained.clip(1)).round(digits).argmax(0)
    columns = np.arange(len(nominee))
    credit = inside[nominee, columns] / held.clip(1)
    sample = columns // (repeats * folds)
    times, credits = np.zeros((2, len(scores), samples))
    np.add.at(times, (nominee, sample), 1.0)
    np.add.at(credits, (nominee, sample), credit)
    nominated = (times > 0).astype(float)
    return nominated, (credits / (times + folds)).round(digits), means
