"""What a run leaves on record: its folder, what decides its scores, and how it was made."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import optuna
import scipy
import torch

from sycam.data.images import ImageSet
from sycam.errors import RunError
from sycam.grammar import Grammar
from sycam.inference import FLOAT32
from sycam.inference.threads import allowed_threads
from sycam.metrics import Metric
from sycam.networks.readings import USUAL
from sycam.problem.explained_network import Subject, reshape_text
from sycam.runs.result import JOURNAL_FILE, RESULT_FILE, STUDY_FILE
from sycam.search import Requirement, SearchOptions, need_masks
from sycam.search.racing.race import FLAT, OVERFLOW
from sycam.support.content_digest import tensor_digest
from sycam.support.files import check_target
from sycam.targets.resolve import is_callable
from sycam.version import __version__

if TYPE_CHECKING:
    from sycam.problem.problem import Task
    from sycam.search.run import Hunt


def identity_of(
    subject: Subject,
    searched: ImageSet,
    metric: Metric,
    grammar: Grammar,
    requirements: Sequence[Requirement] = (),
    precision: str = FLOAT32,
) -> str:
    """Digest of all that the scores of a run depend on; neither the budget nor the cost bound."""
    labels, masks = searched.labels, searched.masks
    explains_labels = "label" in subject.target_text
    facts = {
        "network": subject.digest,
        "layer": [layer.name for layer in subject.layers],
        "reshape": reshape_text(subject.layer.reshape),
        "fusion": subject.fusion,
        "images": searched.digests,
        "shape": list(searched.images.shape[1:]),
        "labels": labels.tolist() if explains_labels and labels is not None else None,
        "masks": tensor_digest(masks) if need_masks(metric, requirements) else None,
        "target": subject.target_text,
        "metric": [metric.text, metric.options, metric.version],
        "grammar": grammar.digest,
        "seed": subject.seed,
    }
    if requirements:
        facts["required"] = [[str(r), r.metric.options, r.metric.version] for r in requirements]
    if precision != FLOAT32:
        facts["precision"] = precision
    if subject.reading != USUAL:
        facts["output"] = str(subject.reading)
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _checkpoint(subject: Subject) -> dict[str, str] | None:
    """The file of the network's weights."""
    if subject.known.checkpoint is None:
        return None
    file, digest = subject.known.checkpoint
    return {"file": str(file), "sha256": digest}


def open_folder(out: str | Path | None, name: str) -> Path:
    """The run's folder, ``runs/<name>`` if None; RunError where it holds anything but a run."""
    folder = Path(out or Path("runs") / name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        check_target(folder / RESULT_FILE, within=folder)
        for file in (JOURNAL_FILE, STUDY_FILE):
            check_target(folder / file, within=folder, appended=True)
    except OSError as error:
        raise RunError(f"cannot use the run's folder '{folder}': {error}") from None
    strangers = [p.name for p in folder.iterdir()] if not (folder / JOURNAL_FILE).exists() else []
    if strangers:
        raise RunError(
            f"'{folder}' holds other files ({', '.join(sorted(strangers)[:3])}); "
            "choose an empty or new folder with --out"
        )
    return folder


def record_of(task: Task, options: SearchOptions, found: Hunt) -> dict:
    """All that is needed to understand and repeat the run, as plain data."""
    subject, metric, outcome = task.subject, task.metric, found.outcome
    searched, unseen, grammar = task.searched, task.unseen, task.grammar
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "identity": task.identity,
        "settings": {
            "metric": metric.text,
            "metrics": [goal.text for goal in task.goals],
            "metric_options": metric.options,
            "grammar": grammar.name,
            "target": subject.target_text,
            "output": "auto" if is_callable(subject.target) else str(subject.reading),
            "seed": subject.seed,
            "precision": task.precision,
            "correct_only": task.correct_only,
            "needs_masks": task.needs_masks,
            "search": options.to_dict(),
        },
        "environment": {
            "sycam": __version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
            "scipy": scipy.__version__,
            "optuna": optuna.__version__,
            "device": str(subject.classifier.device),
            "threads": allowed_threads(),
            "machine": platform.machine(),
        },
        "network": {
            "name": subject.name,
            "source": subject.source,
            "weights": subject.known.weights,
            "checkpoint": _checkpoint(subject),
            "preprocessing": subject.known.preprocessing and subject.known.preprocessing.to_dict(),
            "class_names": subject.class_names and list(subject.class_names),
            "digest": subject.digest,
            "layer": subject.layer_names,
            "layers": [layer.name for layer in subject.layers],
            "layer_note": subject.layer.note,
            "fusion": subject.fusion,
            "reshape": reshape_text(subject.layer.reshape),
        },
        "data": {
            "search_images": len(searched),
            "heldout_images": len(unseen),
            "search_origin": searched.origin,
            "heldout_origin": unseen.origin,
            "shape": list(searched.images.shape[1:]),
            "mean": list(searched.mean),
            "std": list(searched.std),
            "skipped": list(dict.fromkeys((*searched.skipped, *unseen.skipped))),
            "notes": list(dict.fromkeys((*searched.notes, *unseen.notes))),
        },
        "grammar": {"name": grammar.name, "digest": grammar.digest, "text": grammar.text},
        "search": {
            "candidates": sum(outcome.phases.values()),
            "finished": len(outcome.candidates),
            "complete_cost": outcome.complete_cost,
            "stopped": outcome.stopped,
            "seconds": round(outcome.seconds, 3),
            "resumed": outcome.resumed,
            "passes": outcome.passes,
            "ineligible": sum(s.dropped in (FLAT, OVERFLOW) for s in outcome.dropped),
            "guided": outcome.guided,
            "levels": [asdict(level) for level in outcome.levels],
            "known": [
                {
                    "name": c.name,
                    "kind": c.kind,
                    "expression": c.expression and str(c.expression),
                    "score": c.mean,
                    "degenerate": c.score.degenerate,
                    "scores": metric.per_image(c.score.values).tolist(),
                }
                for c in outcome.known
            ],
        },
        "required": [str(r) for r in task.requirements],
        "refused": [asdict(r) for r in found.refused],
    }
