"""What a run leaves on record: how it was made, and what was searched."""

from __future__ import annotations

import platform
from dataclasses import asdict
from datetime import UTC, datetime

import numpy as np
import optuna
import scipy
import torch

from sycam.inference.threads import allowed_threads
from sycam.problem.explained_network import Subject, reshape_text
from sycam.problem.problem import Task
from sycam.search import SearchOptions
from sycam.search.racing.race import FLAT, OVERFLOW
from sycam.search.run import Hunt
from sycam.targets.resolve import is_callable
from sycam.version import __version__


def _checkpoint(subject: Subject) -> dict[str, str] | None:
    """The file of the network's weights."""
    if subject.known.checkpoint is None:
        return None
    file, digest = subject.known.checkpoint
    return {"file": str(file), "sha256": digest}


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
