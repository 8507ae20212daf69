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
from sycam.networks.layouts.reshaping import UserReshape
from sycam.networks.readings import USUAL
from sycam.problem.as_text import reshape_text, target_text
from sycam.problem.explained_network import ExplainedNetwork
from sycam.support.content_digest import tensor_digest


def identity_of(
    explained: ExplainedNetwork,
    searched: ImageSet,
    metric: Metric,
    grammar: Grammar | None,
    requirements: Sequence[Requirement] = (),
    precision: str = FLOAT32,
) -> str:
    """Digest of all that the scores of a run depend on; neither the budget nor the cost bound.

    Args:
        explained: the network.
        searched: the images.
        metric: that scores.
        grammar: the space that is searched; None where candidates are of no grammar.
        requirements: what a winner must be as well.
        precision: of the network.
    """
    labels, masks = searched.labels, searched.masks
    compares_masks = need_masks(metric, requirements)
    explains_labels = "label" in explained.target_text
    facts = {
        "network": explained.digest,
        "layer": [layer.name for layer in explained.layers],
        "reshape": reshape_text(explained.layers),
        "fusion": explained.fusion,
        "images": searched.digests,
        "shape": list(searched.images.shape[1:]),
        "labels": labels.tolist() if explains_labels and labels is not None else None,
        "masks": tensor_digest(masks) if compares_masks and masks is not None else None,
        "target": explained.target_text,
        "metric": [metric.text, metric.options, metric.version],
        "grammar": None if grammar is None else grammar.digest,
        "seed": explained.seed,
    }
    if requirements:
        facts["required"] = [[str(r), r.metric.options, r.metric.version] for r in requirements]
    if precision != FLOAT32:
        facts["precision"] = precision
    if isinstance(written := explained.layer.reshape, UserReshape):
        facts["reshaping"] = target_text(written.function)  # the file may change
    if explained.reading != USUAL:
        facts["output"] = str(explained.reading)
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
