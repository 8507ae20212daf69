"""Export targets that write a Python module with a class for any network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from sycam.errors import OptionError, RunError, SycamError
from sycam.export.class_template import ClassTemplate
from sycam.export.python_file import write_source
from sycam.export.reshape_text import NAME, reshape_source
from sycam.export.target import ExportTarget, Winner, listed
from sycam.language import Expression
from sycam.networks.output_forms import LOGITS, PROBABILITIES, SIGMOID
from sycam.support.arguments import argument


@dataclass(frozen=True)
class ClassTarget:
    """A library that a class is written for; it is an :class:`ExportTarget`.

    Attributes:
        name: how users choose it.
        summary: what is written, for people.
        template: the text of the class.
        of_layers: the text of the class of a formula that reads several layers by name.
        several_layers: whether it averages the maps of several layers.
        reshapes: whether it takes a ``reshape_transform``, for formulas of A and G.
    """

    suffix: ClassVar[str] = ".py"
    file: ClassVar[str] = "a Python module"
    writes_network: ClassVar[bool] = False
    needs_sycam: ClassVar[bool] = False

    name: str
    summary: str
    template: ClassTemplate
    of_layers: ClassTemplate
    several_layers: bool = False
    reshapes: bool = False

    def source(
        self,
        expression: Expression,
        name: str,
        provenance: str = "",
        layer: str = "layer4",
        reshape: str | None = None,
    ) -> str:
        """The module's text, see :func:`sycam.export.module.module_source`."""
        from sycam.export.module import module_source  # which imports sympy

        template = self.of_layers if len(expression.sites) > 1 else self.template
        return module_source(expression, name, template, provenance, layer, reshape)

    def supports(self, winner: Winner, targets: Mapping[str, ExportTarget]) -> SycamError | None:
        """Why the class cannot say the formula on the run's layers and outputs, if so."""
        if winner.network is not None:
            graphs = [name for name, target in targets.items() if target.writes_network]
            return OptionError(
                f"base {self.name!r} writes a class for any network: {argument('network')} is "
                f"for {listed(graphs)}"
            )
        record = winner.result.record
        layers, fusion = winner.layers, record.network.fusion
        fused = len(layers) > 1 and not winner.expression.sites
        if fused and not (self.several_layers and fusion == "mean"):
            able = _able(targets, "several_layers", "takes", "take")
            return RunError(
                f"the run explains several layers ({', '.join(layers)}; fusion {fusion}), and a "
                f"class of base {self.name!r} takes one; {able} several with fusion "
                "mean, result.best.cam(network, layers, fusion=...) in Python any"
            )
        recorded = winner.expression.leaves <= {"activations", "gradients"}
        if (reshape := record.network.reshape) and not (self.reshapes and recorded):
            able = _able(targets, "reshapes", "has", "have")
            return RunError(
                f"the run explains a layer under reshape {reshape!r}, and a class of base "
                f"{self.name!r} takes a convolutional one; {able} a "
                "reshape_transform (for formulas of A and G), result.best.cam(network, layer, "
                "reshape=...) works in Python"
            )
        form, link = _outputs(winner)
        several = link == SIGMOID and form == LOGITS
        if several and "probability" in winner.expression.leaves:
            return RunError(
                "the formula reads p, which is a sigmoid in the run (output 'logits:sigmoid') and "
                "the softmax in an exported class; use result.best.cam(network, layer, "
                "output='logits:sigmoid') in Python"
            )
        return None

    def write(self, winner: Winner, path: Path, provenance: str) -> None:
        """Write the module."""
        layer = winner.layers[0]
        said = _asked(winner) + provenance
        reshape = winner.result.record.network.reshape
        source = self.source(winner.expression, winner.name, said, layer, reshape)
        write_source(winner, path, source)


def _able(targets: Mapping[str, ExportTarget], what: str, one: str, more: str) -> str:
    """Which targets can do something, as in "bases 'a' and 'b' have"."""
    names = [repr(name) for name, target in targets.items() if getattr(target, what, False)]
    return f"base{'s' * (len(names) > 1)} {listed(names)} {one if len(names) == 1 else more}"


def _outputs(winner: Winner) -> tuple[str, str]:
    """What the run's network returns, and its last step."""
    form, _, link = winner.result.record.settings.reading.partition(":")
    return form, link


def _asked(winner: Winner) -> str:
    """What the docstring has to say of several layers, a transformer's, and of outputs that the
    class takes for logits."""
    network, (form, link) = winner.result.record.network, _outputs(winner)
    said = ""
    if len(layers := winner.layers) > 1 and not winner.expression.sites:
        said += f"It was found for the mean of layers {', '.join(layers)}: give all of them.\n"
    if reshape := network.reshape:
        given = (
            f"{NAME} below, which is taken unless another is given"
            if reshape_source(reshape)
            else "give that function as reshape_transform"
        )
        said += f"It was found with reshape {reshape!r}: {given}.\n"
    if form == PROBABILITIES:
        said += (
            "The run's network returns probabilities, and was explained by what comes before its "
            f"last {link}: give a network without that step.\n"
        )
    return said
