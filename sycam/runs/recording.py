"""A finished search put on record."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import optuna
import scipy
import torch

from sycam.data.images import ImageSet
from sycam.inference.threads import allowed_threads
from sycam.metrics import Metric
from sycam.problem.as_text import reshape_text
from sycam.problem.explained_network import ExplainedNetwork
from sycam.problem.problem import Problem, Question
from sycam.runs.certificate import certificate_of
from sycam.runs.record import (
    Checkpoint,
    DataRecord,
    GrammarRecord,
    KnownRecord,
    NetworkRecord,
    RunRecord,
    SearchRecord,
    Settings,
)
from sycam.search import Candidate, Outcome, SearchOptions
from sycam.search.racing.race import FLAT, OVERFLOW
from sycam.search.run import SearchResult
from sycam.search.selection.pareto import Front
from sycam.support.content_digest import tensor_digest
from sycam.targets.resolve import is_callable
from sycam.validation.adaptive import Adaptive
from sycam.validation.per_class import Specialisation
from sycam.version import __version__


def record_of(
    problem: Problem,
    options: SearchOptions,
    found: SearchResult,
    goals: Front | None = None,
    classes: Specialisation | None = None,
    adaptive: Adaptive | None = None,
) -> RunRecord:
    """All that is needed to understand and repeat a run.

    Args:
        problem: what was searched.
        options: how.
        found: by the search.
        goals: the front of several goals.
        classes: what a formula per class gains.
        adaptive: what the choice of a formula image by image gains.
    """
    confidence = found.confidence
    return RunRecord(
        **asked_of(problem, options),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        environment=_environment(problem.explained),
        search=_search(found.outcome, problem.metric),
        refused=tuple(found.refused),
        certificate=certificate_of(problem, options, found),
        stability=None if confidence is None else confidence.stability,
        resolution=None if confidence is None else confidence.power,
        goals=goals,
        classes=classes,
        adaptive=adaptive,
    )


def asked_of(question: Question, options: SearchOptions) -> dict[str, Any]:
    """What of a record is known before anything is measured: all that decides what a run finds, but
    the machine and the versions.

    Args:
        question: what is searched.
        options: how.
    """
    grammar = question.grammar
    return {
        "identity": question.identity,
        "settings": settings_of(question, options),
        "network": _network(question.explained),
        "data": _data(question),
        "grammar": GrammarRecord(grammar.name, grammar.digest, grammar.text),
        "required": tuple(map(str, question.requirements)),
    }


def settings_of(problem: Question, options: SearchOptions) -> Settings:
    """What was asked for, as a run records it."""
    explained, metric = problem.explained, problem.metric
    return Settings(
        metric=metric.text,
        metrics=tuple(goal.text for goal in problem.goals),
        metric_options=metric.options,
        grammar=problem.grammar.name,
        target=explained.target_text,
        output="auto" if is_callable(explained.target) else str(explained.reading),
        seed=explained.seed,
        precision=problem.precision,
        correct_only=problem.correct_only,
        needs_masks=problem.needs_masks,
        search=options.to_dict(),
    )


def _environment(explained: ExplainedNetwork) -> dict[str, str | int]:
    return {
        "sycam": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "optuna": optuna.__version__,
        "device": str(explained.classifier.device),
        "threads": allowed_threads(),
        "machine": platform.machine(),
    }


def _network(explained: ExplainedNetwork) -> NetworkRecord:
    known = explained.known
    return NetworkRecord(
        name=explained.name,
        source=explained.source,
        weights=known.weights,
        checkpoint=known.checkpoint and Checkpoint(*map(str, known.checkpoint)),
        preprocessing=None if known.preprocessing is None else known.preprocessing.to_dict(),
        class_names=explained.class_names and tuple(explained.class_names),
        digest=explained.digest,
        layer=explained.layer_names,
        layers=tuple(layer.name for layer in explained.layers),
        layer_note=explained.layer.note,
        fusion=explained.fusion,
        reshape=reshape_text(explained.layers),
    )


def _data(problem: Question) -> DataRecord:
    searched, unseen = problem.searched, problem.unseen
    return DataRecord(
        search_images=len(searched),
        heldout_images=len(unseen),
        search_origin=searched.origin,
        heldout_origin=unseen.origin,
        shape=tuple(searched.images.shape[1:]),
        mean=tuple(searched.mean),
        std=tuple(searched.std),
        skipped=_distinct(searched.skipped, unseen.skipped),
        notes=_distinct(searched.notes, unseen.notes),
        heldout_digest=images_digest(unseen),
    )


def images_digest(images: ImageSet) -> str:
    """Digest of images with their labels and masks."""
    labels, masks = images.labels, images.masks
    facts = [
        images.digests,
        None if labels is None else labels.tolist(),
        None if masks is None else tensor_digest(masks),
    ]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _distinct(some: Sequence[str], others: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*some, *others)))


def _search(outcome: Outcome, metric: Metric) -> SearchRecord:
    return SearchRecord(
        candidates=sum(outcome.phases.values()),
        finished=len(outcome.candidates),
        complete_cost=outcome.complete_cost,
        stopped=outcome.stopped,
        seconds=round(outcome.seconds, 3),
        resumed=outcome.resumed,
        passes=outcome.passes,
        ineligible=sum(s.dropped in (FLAT, OVERFLOW) for s in outcome.dropped),
        guided=outcome.guided,
        levels=tuple(outcome.levels),
        known=tuple(
            _known(candidate, metric) for candidate in (*outcome.known, *outcome.known_partly)
        ),
    )


def _known(candidate: Candidate, metric: Metric) -> KnownRecord:
    return KnownRecord(
        name=candidate.name,
        kind=candidate.kind,
        expression=None if candidate.expression is None else str(candidate.expression),
        score=candidate.mean,
        degenerate=candidate.score.degenerate,
        scores=tuple(metric.per_image(candidate.score.values).tolist()),
    )
