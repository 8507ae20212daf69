"""What was searched, and what the winner's claim rests on: plain data that can be derived again."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict

from sycam.problem.problem import Problem
from sycam.scoring.blocks import image_blocks
from sycam.search.options import EXACT, SearchOptions
from sycam.search.racing.race import Standing
from sycam.search.run import SearchResult
from sycam.search.selection.select import Candidate
from sycam.search.space import probe_images


def certificate_of(problem: Problem, options: SearchOptions, found: SearchResult) -> dict:
    """The certificate of a search.

    Its keys: ``mode``; ``grammar`` (digest); ``equivalence`` and ``invariance``, which tell
    candidates apart, seen on ``probe_images``; ``levels`` (a line each complete cost: trees by
    recurrence, expressions built, values, candidates, flat, overflowed, probe collisions as
    ``disagreements``); ``complete_cost``: every distinct candidate up to it entered; ``entered``
    by phase; ``finished``: saw all images; ``dropped`` by rule; ``scores``: of one candidate on one
    image that were needed, and ``scores_without``: dropping none; ``stages``; ``delta`` and
    ``tolerance`` of a race; ``leaders``, in turn; ``rule`` of selection; ``winner``,
    ``best_new`` (the best formula that is no published CAM) and ``runner_up`` with their figures;
    ``averages``: the (first) metric's figure is a mean over images; ``candidates``: digest of
    who entered and how far each got.
    """
    metric, outcome = problem.metric, found.outcome
    entered = len(outcome.candidates) + len(outcome.dropped)
    images = len(problem.context)
    stated = {
        "mode": options.mode,
        "grammar": problem.grammar.digest,
        "equivalence": options.equivalence,
        "invariance": metric.invariance,
        "probe_images": probe_images(problem),
        # How far a level was enumerated that was not finished depends on the time that was left.
        "levels": [asdict(v) for v in outcome.levels if v.cost <= outcome.complete_cost],
        "complete_cost": outcome.complete_cost,
        "entered": dict(outcome.phases),
        "finished": len(outcome.candidates),
        "dropped": dict(sorted(Counter(s.dropped for s in outcome.dropped).items())),
        "settling": outcome.settling,
        "brought_back": outcome.brought_back,
        "unsettled": outcome.unsettled,
        "scores": outcome.spent,
        "scores_without": entered * images,
        "stages": [stage.stop for stage in image_blocks(images, metric)],
        "leaders": outcome.leaders,
        "rule": options.rule,
        "winner": _named(found.winner),
        "best_new": _named(found.new),
        "runner_up": _named(found.runner_up),
        "candidates": _digest(outcome.candidates, outcome.dropped),
        "averages": not problem.goals[0].components,
        "stopped": outcome.stopped,
    }
    if options.mode != EXACT:
        tolerance = options.tolerance_of(metric, problem.context.scale.spread)
        stated |= {"delta": options.delta, "tolerance": tolerance}
    return stated


def _named(candidate: Candidate | None) -> dict | None:
    if candidate is None:
        return None
    return {"expression": candidate.name, "figure": candidate.mean}


def _digest(finished: Iterable[Candidate], dropped: Sequence[Standing]) -> str:
    lines = [f"{c.name} finished {c.mean!r}" for c in finished]
    lines += [f"{s.expression} {s.dropped} {s.stage} {s.mean!r}" for s in dropped]
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()
