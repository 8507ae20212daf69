"""Whether scores in a lower precision rank candidates as float32 does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from sycam.errors import OptionError
from sycam.evidence import Evidence, Stack
from sycam.inference import Classifier
from sycam.methods import Method
from sycam.metrics import Context, Metric
from sycam.scoring.scorer import DIGITS, Scorer

IMAGES = 32  # scored in both precisions
LEADERS = 3  # candidates whose places must not change


def verify_precision(
    fast: Classifier,
    metric: Metric,
    evidence: Evidence | Stack,
    context: Context,
    methods: Sequence[Method],
    images: int = IMAGES,
    leaders: int = LEADERS,
) -> None:
    """Check that a classifier of lower precision ranks candidates as the context's own does.

    The methods are scored in both precisions on the first images. Each of the leaders in float32
    must keep its place before every method that it beats there; equal figures may go either way.

    Args:
        fast: the same network, e.g. ``Classifier(network, precision="bfloat16")``.
        metric: what ranks them.
        evidence, context: of at least one image; ``context.classifier`` runs in float32.
        methods: at least two candidates, e.g. the published CAMs.
        images: how many of the images are scored, at most.
        leaders: how many methods must keep their places.

    Raises:
        OptionError: two methods swap places; the message names them with their figures.
    """
    part = slice(0, images)
    evidence, slow_context = evidence.subset(part), context.subset(part)
    slow = _figures(metric, evidence, slow_context, methods)
    quick = _figures(metric, evidence, in_precision(slow_context, fast), methods)
    order = sorted(range(len(methods)), key=lambda i: -slow[i])
    least = 10**-DIGITS * metric.unit(context.scale.largest)
    for place, first in enumerate(order[:leaders]):
        for second in order[place + 1 :]:
            if slow[first] - slow[second] > least and quick[first] < quick[second]:
                before, after = methods[first].name, methods[second].name
                raise OptionError(
                    f"precision {fast.precision!r} changes the ranking under {metric.text!r}: "
                    f"{before!r} ({slow[first]:.5f}) comes before {after!r} "
                    f"({slow[second]:.5f}) in float32, and after it ({quick[first]:.5f} and "
                    f"{quick[second]:.5f}) in {fast.precision} on {len(slow_context)} images; "
                    "use float32"
                )


def in_precision(context: Context, fast: Classifier) -> Context:
    """The context with another classifier, which says what is lost of clean images, too."""
    clean = fast.probability(context.images, context.targets)
    return replace(context, classifier=fast, clean=clean, kept={})


def _figures(
    metric: Metric, evidence: Evidence | Stack, context: Context, methods: Sequence[Method]
) -> list[float]:
    """Each method's figure, higher being better."""
    scorer = Scorer(metric, evidence, context)
    with torch.no_grad():
        return [metric.oriented(scorer.score_method(method).mean) for method in methods]
