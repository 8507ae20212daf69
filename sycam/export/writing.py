"""The winner of a run written as a file, by the target that is asked for."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

from torch import nn

from sycam.errors import OptionError, RunError, unknown_name
from sycam.export.provenance import provenance_of
from sycam.export.target import Winner, classes
from sycam.export.targets import TARGETS
from sycam.language import parse_weights
from sycam.language.expression import unnamed
from sycam.runs.result import Formula, Result
from sycam.runs.trust import file_of_network
from sycam.support.permission import reading_a_run


def export(
    result: Result,
    path: str | Path,
    name: str = "SynthesisedCAM",
    base: str = "torch",
    network: nn.Module | str | None = None,
    trust: bool = False,
    new: bool = False,
) -> Path:
    """Write the winner of a run as a Python module with one class, or as one graph.

    The class agrees with :class:`sycam.CAM` of the same expression, and its module says formula,
    figures and provenance.

    Args:
        result: of :func:`sycam.synthesize` or :func:`sycam.load`.
        path: the file to write: ``.py``, or ``.onnx`` or ``.pt2`` for a graph.
        name: of the class.
        base: one of :data:`sycam.export.TARGETS`: ``"torch"`` or the library that the class is
            for, like ``"grad-cam"``; ``"onnx"`` or ``"torch-export"``, which write the network
            with the heatmaps as one graph; or ``"adaptive"``, the choice of a formula image by
            image, whose file needs SyCAM.
        network: for a graph of a run that was started from Python, the network.
        trust: for a graph, import the Python file that the run names as its network.
        new: write the best new formula (``result.best_new``), also where a published CAM won.

    Returns:
        The path written.

    Raises:
        UnknownNameError: there is no such base.
        OptionError: ``name`` is no Python identifier or the name of something else in the module,
            ``path`` has another ending, or the formula cannot be said in this form.
        TrustError: a graph needs a Python file that the run names, and it is not trusted.
        RunError: the run has no winner, is of several layers or of a transformer where the base
            cannot say that, or the file cannot be written.
    """
    path = Path(path)
    if base not in TARGETS:
        raise unknown_name("base", base, TARGETS)
    target = TARGETS[base]
    if path.suffix != target.suffix:
        raise OptionError(
            f"export path '{path}' of base {base!r} must end in {target.suffix}{_hint(path.suffix)}"
        )
    formula = result.best_new if new else result.best
    if formula is None:
        raise RunError(f"the run has no {'new formula' if new else 'winner'} to export")
    winner = _winner(result, formula, name, network)
    if (reason := target.supports(winner, TARGETS)) is not None:
        raise reason
    reads_network = target.writes_network
    files = filter(None, [file_of_network(network)])
    with reading_a_run(files, trust) if reads_network else nullcontext():
        target.write(winner, path, provenance_of(result, formula))
    return path


def suggested_base(result: Result) -> str | None:
    """Name of the first target of the table that can write the winner as a class; None where none
    can."""
    if result.best is None:
        return None
    winner = _winner(result, result.best)
    able = classes(TARGETS)
    return next((name for name in able if TARGETS[name].supports(winner, TARGETS) is None), None)


def _winner(
    result: Result,
    formula: Formula,
    name: str = "SynthesisedCAM",
    network: nn.Module | str | None = None,
) -> Winner:
    expression = parse_weights(formula.expression)
    layer = None
    if len(expression.sites) == 1:  # it is a formula of one layer, there
        (layer,), expression = expression.sites, unnamed(expression)
    return Winner(result, expression, name, network, layer)


def _hint(suffix: str) -> str:
    """The target that writes files with this ending, where there is one alone."""
    found = [target for target in TARGETS.values() if target.suffix == suffix]
    if len(found) != 1:
        return ""
    return f"; for {found[0].file} say base {found[0].name!r}"
