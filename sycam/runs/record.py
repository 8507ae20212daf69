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
from sycam.problem.explained_network import ExplainedNetwork, reshape_text
from sycam.problem.problem import Problem
from sycam.search import SearchOptions
from sycam.search.racing.race import FLAT, OVERFLOW
from sycam.search.run import SearchResult
from sycam.targets.resolve import is_callable
from sycam.version import __version__


def _checkpoint(explained: ExplainedNetwork) -> dict[str, str] | None:
    """The file of the network's weights."""
    if explained.known.checkpoint is None:
        return None
    file, digest = explained.known.checkpoint
    return {"file": str(file), "sha256": digest}


def record_of(problem: Problem, options: SearchOptions, found: SearchResult) -> dict:
    """All that is needed to understand and repeat the run, as plain data."""
    explained, metric, outcome = problem.explained, problem.metric, found.outcome
    searched, unseen, grammar = problem.searched, problem.unseen, problem.grammar
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "identity": problem.identity,
        "settings": {
            "metric": metric.text,
            "metrics": [goal.text for goal in problem.goals],
            "metric_options": metric.options,
            "grammar": grammar.name,
            "target": explained.target_text,
            "output": "auto" if is_callable(explained.target) else str(explained.reading),
            "seed": explained.seed,
            "precision": problem.precision,
            "correct_only": problem.correct_only,
            "needs_masks": problem.needs_masks,
            "search": options.to_dict(),
        },
        "environment": {
            "sycam": __version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
            "scipy": scipy.__version__,
            "optuna": optuna.__version__,
            "device": str(explained.classifier.device),
            "threads": allowed_threads(),
            "machine": platform.machine(),
        },
        "network": {
            "name": explained.name,
            "source": explained.source,
            "weights": explained.known.weights,
            "checkpoint": _checkpoint(explained),
            "preprocessing": explained.known.preprocessing
            and explained.known.preprocessing.to_dict(),
            "class_names": explained.class_names and list(explained.class_names),
            "digest": explained.digest,
            "layer": explained.layer_names,
            "layers": [layer.name for layer in explained.layers],
            "layer_note": explained.layer.note,
            "fusion": explained.fusion,
            "reshape": reshape_text(explained.layer.reshape),
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
        "required": [str(r) for r in problem.requirements],
        "refused": [asdict(r) for r in found.refused],
    }
