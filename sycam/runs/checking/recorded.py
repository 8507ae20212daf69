"""What a run was started with, as far as its record says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from sycam.data.images import ImageSet, ImageSource, open_images
from sycam.data.names import DEMO
from sycam.errors import RunError
from sycam.grammar import Grammar
from sycam.metrics import Metric, find_metric
from sycam.metrics.requirement import Requirement
from sycam.networks import open_network
from sycam.problem.images import Images, divide, read_images
from sycam.problem.options import DataOptions, ExplainOptions
from sycam.problem.request import Request
from sycam.runs.record import DEMO_ORIGIN
from sycam.runs.result import Result
from sycam.targets.resolve import Target


@dataclass(frozen=True)
class Given:
    """What is given again because it is not on record, or has moved; None for what is on record.

    Attributes:
        network, images, heldout, metric, target: as for :func:`sycam.verify`.
    """

    network: nn.Module | str | None = None
    images: Images | None = None
    heldout: ImageSet | None = None
    metric: Metric | None = None
    target: Target | None = None


def recorded_request(
    result: Result, grammar: Grammar, given: Given, device: str | torch.device | None = None
) -> Request:
    """What a run was asked, from what is on record and what is given.

    Args:
        result: of the run.
        grammar: read from its record.
        given: what was given from Python.
        device: where to run.

    Raises:
        RunError: something is in neither.
    """
    record = result.record
    settings, data = record.settings, record.data
    network = given.network or record.network.source
    images = _read(data.search_origin) if given.images is None else given.images
    heldout: Images | None = given.heldout
    if heldout is None and data.heldout_origin != data.search_origin:
        heldout = _read(data.heldout_origin)
    missing = [name for name, value in (("network", network), ("images", images)) if value is None]
    if given.target is None and not settings.target_recorded:
        missing.append("target")
    if not record.network.reshape_recorded:
        missing.append("reshape")
    if missing or network is None or images is None:
        raise RunError(
            f"the run was started from Python, so its {' and '.join(missing)} are not on record; "
            "give them to sycam.verify"
        )
    return Request(
        network=network,
        layer=record.network.layers,
        images=images,
        metric=given.metric or settings.metrics,
        grammar=grammar,
        require=record.required,
        data=DataOptions(
            search_images=data.search_images,
            heldout=heldout if heldout is not None else data.heldout_images,
            correct_only=settings.correct_only,
        ),
        explain=ExplainOptions(
            target=settings.target if given.target is None else given.target,
            output=settings.reading,
            reshape=record.network.reshape,
            fusion=record.network.fusion,
            precision=settings.precision,
        ),
        guesses=settings.options.guessed,
        seed=settings.seed,
        device=device,
    )


def _read(origin: Mapping[str, Any] | None) -> ImageSource | str | None:
    if origin is None:
        return None
    return DEMO if origin == DEMO_ORIGIN else open_images(**origin)


def recorded_heldout(result: Result, network: nn.Module | str) -> ImageSet:
    """The images that a run held out, read again.

    Args:
        result: of the run.
        network: of the run.

    Raises:
        RunError: they were given from Python.
        DataError: they are no longer where they were.
    """
    settings, data = result.record.settings, result.record.data
    if data.search_origin is None or data.heldout_origin is None:
        raise RunError("the run's images were given from Python: name at least one image file")
    known = open_network(network)
    images: ImageSet | ImageSource | str = DEMO
    if data.search_origin != DEMO_ORIGIN:
        images = read_images(open_images(**data.search_origin), network=known)
    apart: int | ImageSet | ImageSource = data.heldout_images
    if data.search_origin != data.heldout_origin:
        apart = read_images(open_images(**data.heldout_origin), network=known)
    needs_masks = settings.needs_masks
    if needs_masks is None:  # a run of before this was on record
        required = [Requirement.parse(text).metric for text in result.record.required]
        metrics = [*map(find_metric, settings.metrics), *required]
        needs_masks = any(metric.needs_masks for metric in metrics)
    only = known.module if settings.correct_only else None
    return divide(
        images, apart, data.search_images, settings.seed, needs_masks, only, settings.reading
    )[1]
