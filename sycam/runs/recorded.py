"""What a run was started with, as far as its record says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from sycam.data.images import ImageSet, ImageSource, open_images
from sycam.errors import RunError
from sycam.grammar import Grammar
from sycam.metrics import Metric, find_metric
from sycam.metrics.requirement import Requirement
from sycam.networks import open_network
from sycam.networks.readings import AUTO, LOGITS
from sycam.problem.images import DEMO, Images, divide, read_images
from sycam.problem.options import DataOptions, ExplainOptions
from sycam.problem.request import Request
from sycam.runs.result import Result
from sycam.search import SearchOptions
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
    settings, data = record["settings"], record["data"]
    network = given.network or record["network"]["source"]
    images = _read(data["search_origin"]) if given.images is None else given.images
    heldout: Images | None = given.heldout
    if heldout is None and data["heldout_origin"] != data["search_origin"]:
        heldout = _read(data["heldout_origin"])
    missing = [name for name, value in (("network", network), ("images", images)) if value is None]
    for name, text in (("target", settings["target"]), ("reshape", record["network"]["reshape"])):
        if str(text).startswith("callable") and (name == "reshape" or given.target is None):
            missing.append(name)
    if missing:
        raise RunError(
            f"the run was started from Python, so its {' and '.join(missing)} are not on record; "
            "give them to sycam.verify"
        )
    names = settings["metrics"]
    return Request(
        network=network,
        layer=record["network"]["layers"],
        images=images,
        metric=given.metric or (names[0] if len(names) == 1 else names),
        grammar=grammar,
        require=record["required"],
        data=DataOptions(
            search_images=data["search_images"],
            heldout=heldout if heldout is not None else data["heldout_images"],
            correct_only=settings.get("correct_only", False),
        ),
        explain=ExplainOptions(
            target=settings["target"] if given.target is None else given.target,
            output=output_of(settings),
            reshape=record["network"]["reshape"],
            fusion=_fusion(record["network"]["fusion"]),
            precision=settings["precision"],
        ),
        guesses=SearchOptions.from_dict(settings["search"]).guesses,
        seed=settings["seed"],
        device=device,
    )


def _read(origin: dict | None) -> ImageSource | str | None:
    if origin is None:
        return None
    return DEMO if origin == {"source": DEMO} else open_images(**origin)


def output_of(settings: dict[str, Any]) -> str:
    """What the run's network returns; runs of before it was on record took it for logits."""
    callable_target = str(settings["target"]).startswith("callable")
    return settings.get("output", AUTO if callable_target else LOGITS)


def _fusion(fusion: str | list[float]) -> str | tuple[float, ...]:
    return fusion if isinstance(fusion, str) else tuple(fusion)


def recorded_heldout(result: Result, network: nn.Module | str) -> ImageSet:
    """The images that a run held out, read again.

    Args:
        result: of the run.
        network: of the run.

    Raises:
        RunError: they were given from Python.
        DataError: they are no longer where they were.
    """
    settings, data = result.record["settings"], result.record["data"]
    origins = data["search_origin"], data["heldout_origin"]
    if None in origins:
        raise RunError("the run's images were given from Python: name at least one image file")
    known = open_network(network)
    images, heldout = (
        DEMO if origin == {"source": DEMO} else read_images(open_images(**origin), network=known)
        for origin in origins
    )
    apart = data["heldout_images"] if origins[0] == origins[1] else heldout
    needs_masks = settings.get("needs_masks")
    if needs_masks is None:  # a run of before this was on record
        required = [Requirement.parse(text).metric for text in result.record["required"]]
        metrics = [*map(find_metric, settings["metrics"]), *required]
        needs_masks = any(metric.needs_masks for metric in metrics)
    only = known.module if settings.get("correct_only", False) else None
    return divide(
        images,
        apart,
        data["search_images"],
        settings["seed"],
        needs_masks,
        only,
        output_of(settings),
    )[1]
