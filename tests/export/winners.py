"""A winner to export, of a run that never was."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from torch import nn

from sycam.export import Winner
from sycam.language import parse
from sycam.runs.record import Settings
from sycam.support.content_digest import network_digest


def winner_of(
    text: str,
    layers: Sequence[str],
    network: nn.Module | None = None,
    *,
    fusion: str = "mean",
    reshape: str | None = None,
    shape: tuple[int, ...] = (3, 16, 16),
    **settings: Any,
) -> Winner:
    """The winner that a formula is.

    Args:
        text: the formula.
        layers: names of the explained layers.
        network: the explained one; of those that name none none is at hand.
        fusion, reshape: as on record.
        shape: of the images.
        settings: of the run, where they are not the usual ones.
    """
    asked = Settings(
        metric="road", metrics=("road",), metric_options={}, grammar="network", seed=0,
        precision="float32", search={}, **{"target": "predicted", **settings},
    )  # fmt: skip
    known = SimpleNamespace(
        source=None, layers=tuple(layers), fusion=fusion, reshape=reshape, reshape_recorded=True,
        digest=None if network is None else network_digest(network),
    )  # fmt: skip
    data = SimpleNamespace(shape=shape)
    record = SimpleNamespace(network=known, data=data, settings=asked, adaptive=None)
    return Winner(SimpleNamespace(record=record, path=None), parse(text), network=network)
