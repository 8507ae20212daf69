"""What a formula can be exported to: the contract of all targets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from torch import nn

from sycam.errors import SycamError
from sycam.language import Expression
from sycam.runs.result import Result


@dataclass(frozen=True)
class Winner:
    """The formula of a run that is exported.

    Attributes:
        result: the run.
        expression: the formula.
        name: of the class that is written.
        network: for targets that write the network as well: of a run started from Python.
        layer: that the formula reads, where a run over several layers chose one for it; one of
            several layers names them.
    """

    result: Result
    expression: Expression
    name: str = "SynthesisedCAM"
    network: nn.Module | str | None = None
    layer: str | None = None

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers that the formula reads."""
        if self.expression.sites:
            return self.expression.sites
        return self.result.record.network.layers if self.layer is None else (self.layer,)


class ExportTarget(Protocol):
    """A form in which a formula can be handed over.

    A target is declared in a file of :mod:`sycam.export.targets` and listed in
    :data:`sycam.export.targets.TARGETS`, and nowhere else.

    Attributes:
        name: how users choose it, the ``base`` of an export.
        suffix: how the name of the written file ends.
        file: what is written, with its article, for people.
        summary: what it is for, for people.
        writes_network: whether the network goes into the file, too.
        needs_sycam: whether the file runs only where SyCAM is installed.
    """

    @property
    def name(self) -> str: ...

    @property
    def suffix(self) -> str: ...

    @property
    def file(self) -> str: ...

    @property
    def summary(self) -> str: ...

    @property
    def writes_network(self) -> bool: ...

    @property
    def needs_sycam(self) -> bool: ...

    def supports(self, winner: Winner, targets: Mapping[str, ExportTarget]) -> SycamError | None:
        """Why the target cannot say this formula, as the error to raise; None where it can.

        Args:
            winner: the formula and its run.
            targets: all that there are, of which the reason may name those that can.
        """

    def write(self, winner: Winner, path: Path, provenance: str) -> None:
        """Write the file of a formula that the target supports.

        Args:
            winner: the formula and its run.
            path: the file, which ends in the target's suffix.
            provenance: where the formula comes from; it goes into the file.

        Raises:
            OptionError: the formula or the class's name cannot be written down.
            RunError: the file cannot be written, or the network cannot be exported.
        """


def classes(targets: Mapping[str, ExportTarget]) -> list[str]:
    """Names of the targets that write a class for any network, which runs without SyCAM."""
    alone = (n for n, target in targets.items() if not target.needs_sycam)
    return [name for name in alone if not targets[name].writes_network]


def listed(names: list[str], last: str = "and") -> str:
    """
    >>> listed(["a", "b", "c"], "or")
    'a, b or c'
    """
    return f" {last} ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))
