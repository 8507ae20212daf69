"""What decides the scores of a run, as one digest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

from sycam.data.images import ImageSet
from sycam.grammar import Grammar
from sycam.inference import FLOAT32
from sycam.metrics import Metric
from sycam.metrics.requirement import Requirement, need_masks
from sycam.networks.readings import USUAL
from sycam.problem.explained_network import Subject, reshape_text
from sycam.support.content_digest import tensor_digest


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
