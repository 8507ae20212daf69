"""What each member adds: the mean score of ensembles with it less that of ensembles without it.

MetaCAM's paper calls a summary of that kind Cumulative Residual Effect, which is not public; this
one is ours, and is like it at best.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sycam.applications.ensembles.votes import Vote
from sycam.scoring.statistics import Interval, mean_interval
from sycam.support.schema import Count, Figure


@dataclass(frozen=True)
class Effect:
    """What one member adds.

    Attributes:
        member: its name.
        effect: with it less without it, turned so that positive is better; the 95 % interval is
            over images.
        with_it, without_it: mean figures of the ensembles, in the metric's own direction.
        ensembles: how many there are with and without it.
    """

    member: str
    effect: Interval
    with_it: Figure
    without_it: Figure
    ensembles: tuple[Count, Count]


def effects(
    names: Sequence[str],
    scores: Mapping[Vote, np.ndarray],
    higher_is_better: bool = True,
    seed: int = 0,
) -> tuple[Effect, ...]:
    """The effect of each member, the largest first.

    Args:
        names: of the M members.
        scores: ``[N]`` what each image adds to the figure of each ensemble, in the metric's own
            direction: of a balanced design, see :mod:`sycam.applications.ensembles.subsets`.
        higher_is_better: the metric's direction.
        seed: of the bootstrap.
    """
    found = []
    for place, name in enumerate(names):
        held = [one for vote, one in scores.items() if place in vote.places]
        others = [one for vote, one in scores.items() if place not in vote.places]
        with_it, without_it = np.mean(held, axis=0), np.mean(others, axis=0)
        gain = with_it - without_it if higher_is_better else without_it - with_it
        found.append(
            Effect(
                name,
                mean_interval(gain, seed),
                float(with_it.mean()),
                float(without_it.mean()),
                (len(held), len(others)),
            )
        )
    return tuple(sorted(found, key=lambda one: -one.effect.mean))
