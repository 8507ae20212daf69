"""The choice of a formula image by image, which needs SyCAM."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from sycam.errors import OptionError, RunError, SycamError
from sycam.export.python_file import check_class_name, write_source
from sycam.export.summaries import SUMMARIES
from sycam.export.target import ExportTarget, Winner
from sycam.networks.output_forms import AUTO
from sycam.runs.result import without_portfolio
from sycam.runs.trust import file_of_network
from sycam.support.arguments import argument

_MODULE = '''r"""{name}: class activation maps by the best of {count} formulas on each image.

This file needs SyCAM: half of the levels of {metric} choose the formula, and a metric
written down again would be another one. Each image takes {passes} forward passes beside its
heatmaps.

    cam = {name}(network)
    heatmaps = cam(images)  # Tensor[N,H,W] in [0, 1]
    cam.chosen  # which of the formulas, for each image

{provenance}
"""

from torch import nn

from sycam import AdaptiveCAM, ExplainOptions

LAYERS = {layers}
FORMULAS = {formulas}
METRIC = {metric_text}
SEED = {seed}  # of the metric's noise
OUTPUT, RESHAPE, FUSION = {output}, {reshape}, {fusion}


class {name}(AdaptiveCAM):
    """Heatmaps by the formula that scores best on each image."""

    def __init__(self, network: nn.Module, layers=LAYERS):
        """
        Args:
            network: a classifier that returns ``(N, classes)``.
            layers: names of the target layers.
        """
        explain = ExplainOptions(output=OUTPUT, reshape=RESHAPE, fusion=FUSION)
        super().__init__(network, layers, FORMULAS, METRIC, seed=SEED, explain=explain)
'''


@dataclass(frozen=True)
class AdaptiveTarget:
    """A class that chooses a formula image by image; it is an :class:`ExportTarget`."""

    name: ClassVar[str] = "adaptive"
    suffix: ClassVar[str] = ".py"
    file: ClassVar[str] = "a Python module that needs SyCAM"
    summary: ClassVar[str] = SUMMARIES["adaptive"]
    writes_network: ClassVar[bool] = False
    needs_sycam: ClassVar[bool] = True

    def supports(self, winner: Winner, targets: Mapping[str, ExportTarget]) -> SycamError | None:
        """Why there is nothing to choose from, if so."""
        record = winner.result.record
        if record.adaptive is None or not record.adaptive.members:
            return OptionError(without_portfolio())
        if winner.network is not None:
            return OptionError(
                f"base {self.name!r} writes a class for any network; leave out "
                f"{argument('network')}"
            )
        given = record.settings.metric, record.network.reshape
        if not record.network.reshape_recorded or any(map(file_of_network, given)):
            return RunError(
                "the run's metric or reshape is of a user's own Python code, which no file brings "
                "along; use result.adaptive(network) in Python"
            )
        return None

    def write(self, winner: Winner, path: Path, provenance: str) -> None:
        """Write the module."""
        check_class_name(winner.name)
        if winner.name in ("AdaptiveCAM", "ExplainOptions", "nn"):
            raise OptionError(f"{winner.name!r} is the name of something else in the module")
        record = winner.result.record
        adaptive, settings = record.adaptive, record.settings
        # Literals and escapes alone: no text of the record becomes code.
        source = _MODULE.format(
            name=winner.name,
            count=len(adaptive.members),
            metric=_plain(settings.metric),
            passes=adaptive.passes,
            provenance=_plain(_evidence(winner) + provenance),
            layers=ascii(tuple(record.network.layers)),
            formulas=_listed(adaptive.members),
            metric_text=ascii(settings.metric),
            seed=int(settings.seed),
            output=ascii(settings.reading or AUTO),
            reshape=ascii(record.network.reshape),
            fusion=ascii(record.network.fusion),
        )
        write_source(winner, path, source)


def _listed(members: tuple[str, ...]) -> str:
    return "\n".join(["(", *(f"    {text!a}," for text in members), ")"])


def _plain(text: str) -> str:
    """Text that ends no docstring and holds nothing that an editor would not show."""
    shown = (c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in text)
    return "".join(shown).replace('"""', "'''").rstrip('"\\')


def _evidence(winner: Winner) -> str:
    """The figures of the choice, by the levels that judge."""
    adaptive, metric = winner.result.record.adaptive, winner.result.metric
    lines = [f"    {row.kind:16} {row.heldout.mean: .4f}" for row in adaptive.rows]
    if not lines:
        return ""
    judging = ", ".join(map(str, adaptive.judging))
    head = f"Mean {metric} on {adaptive.images} held-out images, by levels {judging} alone:"
    return "\n".join([head, "", *lines, "", 'Of the winner alone ("this class"):', "", ""])


TARGET = AdaptiveTarget()
