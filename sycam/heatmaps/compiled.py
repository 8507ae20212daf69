"""One expression as one graph, from the leaves to finished heatmaps, for a compiler.

For formulas that are evaluated often. While searching, thousands of candidates are evaluated a few
times each, and :func:`sycam.heatmaps.heatmaps` is the form: compiling one takes seconds.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import sympy
import torch
from torch import Tensor, fx

from sycam.errors import ExpressionError
from sycam.heatmaps.evaluate import Pairs, combine, evaluate
from sycam.heatmaps.heatmaps import Heatmaps, from_sums
from sycam.heatmaps.layers import fuse
from sycam.heatmaps.measured import Measured
from sycam.heatmaps.pairs import of_images, paired, pairs_of
from sycam.heatmaps.program import Program
from sycam.heatmaps.sites import check_measured, sited_heatmaps
from sycam.language import Expression
from sycam.language.expression import unnamed
from sycam.language.signatures import Operator
from sycam.language.sources import is_declared
from sycam.language.symbolic import leaf
from sycam.support.caches import keep_compiled_private

CompiledHeatmaps = Callable[..., Heatmaps]
CompiledMaps = Callable[[Measured, tuple[int, ...]], Heatmaps]
Finished = tuple[Tensor, Tensor, Tensor]  # maps, degenerate, finite


def compiled_heatmaps(expression: Expression, compile: bool = True) -> CompiledHeatmaps:
    """The heatmaps of one expression as a function of its leaves.

    The function takes ``(leaves, size, depth=1)`` and returns what
    :func:`sycam.heatmaps.heatmaps` does of this one expression, to rounding errors. It is one
    graph: weights, weighted sum, ReLU, test for flat maps, upsampling and scaling, with each
    distinct subexpression computed once.

    Args:
        expression: a weight, map or heat.
        compile: compile the graph by ``torch.compile`` at the first call, and again where shapes
            change. Where torch cannot compile (no C++ compiler, no Triton on a GPU) a warning says
            so and the graph runs as it is.

    Raises:
        ExpressionError: the expression is a scalar, or names layers; or, when called, a leaf is
            missing or a user's operator fails.

    Example:
        >>> from sycam.language import parse
        >>> leaves = {"activations": torch.rand(2, 4, 7, 7), "gradients": torch.rand(2, 4, 7, 7)}
        >>> compiled_heatmaps(parse("mean(G)"), compile=False)(leaves, (32, 32)).maps.shape
        torch.Size([1, 2, 32, 32])
    """
    program = Program(expression)
    if expression.sites:
        raise ExpressionError(
            f"{expression} names the layers that it reads: compile it by compiled_maps"
        )
    run, unwatched = _run(program, compile), _declared(expression)

    def heatmaps_of_one(
        leaves: Mapping[str, Tensor], size: tuple[int, ...], depth: int = 1
    ) -> Heatmaps:
        nonlocal unwatched
        if expression.pairs and not isinstance(leaves, Pairs):
            leaves = pairs_of(expression.leaves, leaves)
        taken = _taken(expression, program.leaves, leaves)
        with torch.no_grad():
            if unwatched:
                evaluate([expression], leaves, depth)
                unwatched = False
            return Heatmaps(*run(*taken, size, depth))

    return heatmaps_of_one


def compiled_maps(expression: Expression, compile: bool = True) -> CompiledMaps:
    """The heatmaps of one expression as a function of evidence of one or several layers.

    The function takes ``(evidence, size)`` and returns what :func:`sycam.heatmaps.maps_of` does of
    this one expression. An expression that names layers is one graph from the leaves of all of
    them; of another the heatmaps of the layers are fused.

    Args:
        expression: of any sort that makes a heatmap.
        compile: as for :func:`compiled_heatmaps`.

    Raises:
        ExpressionError: the expression is a scalar, or reads layers by name and one without; or,
            when called, a leaf is missing.
    """
    if len(expression.sites) < 2:
        run_one = compiled_heatmaps(unnamed(expression), compile)

        def maps_of_layers(evidence: Measured, size: tuple[int, ...]) -> Heatmaps:
            check_measured(expression, evidence)
            if expression.pairs:
                evidence = paired([expression], evidence)
            sites = expression.sites or [layer.name for layer in evidence.layers]
            layers = [layer for layer in evidence.layers if layer.name in sites]
            parts = [run_one(layer.leaves, size, layer.depth) for layer in layers]
            return fuse(parts, evidence.fusion)

        return maps_of_layers
    program = Program(expression)
    run, unwatched = _run(program, compile), _declared(expression)

    def maps_of_one(evidence: Measured, size: tuple[int, ...]) -> Heatmaps:
        nonlocal unwatched
        check_measured(expression, evidence)
        if expression.pairs:
            evidence = paired([expression], evidence)
        measured = {layer.name: layer for layer in evidence.layers}
        taken: list[Tensor] = []
        for name, leaves in program.layers.items():
            taken += _taken(expression, leaves, measured[name].leaves)
        with torch.no_grad():
            if unwatched:
                sited_heatmaps([expression], evidence, size)
                unwatched = False
            return Heatmaps(*run(*taken, size, evidence.layers[0].depth))

    return maps_of_one


def _declared(expression: Expression) -> bool:
    """Whether it holds operators of a user's: a graph does not watch what they do, so that the
    expression is first computed without one."""
    return any(is_declared(node.operator) for node in expression.nodes())


def _run(program: Program, compile: bool) -> Callable[..., Finished]:
    graph = graph_of(program)
    return _CompiledOrNot(graph) if compile else graph


def _taken(
    expression: Expression, wanted: Sequence[Operator], leaves: Mapping[str, Tensor]
) -> list[Tensor]:
    for op in wanted:
        if op.name not in leaves:
            raise ExpressionError(
                f"{expression} needs the leaf {op.symbol} ({op.name}), but only "
                f"{', '.join(leaves) or 'nothing'} was measured"
            )
    return [leaves[op.name] for op in wanted]


def graph_of(program: Program) -> fx.GraphModule:
    """The program as a module ``(leaves..., size, depth) -> (maps, degenerate, finite)``.

    A module generated for each expression, and no closure over its steps: torch keeps what it
    compiled with the code of a function, a few versions at most, and all closures share one code.
    """
    graph = fx.Graph()
    arguments = {name: graph.placeholder(name) for name in program.arguments}
    values: dict[sympy.Basic, fx.Node] = {
        sympy.Symbol(name, real=True): node for name, node in arguments.items()
    }
    activations = arguments[program.arguments[0]]
    size, depth = graph.placeholder("size"), graph.placeholder("depth")
    for op in program.constants.values():
        values[leaf(op.symbol)] = graph.call_method("new_full", (activations, (1, 1, 1), op.value))

    def value(node: sympy.Basic) -> fx.Node:
        if node not in values:
            overload = program.overload(node)
            given: list[Any] = [value(argument) for argument in node.args]
            given += [arguments[program.activations(node)]] if overload.weighs else []
            given += [depth] * overload.neighbours
            values[node] = graph.call_function(overload.function, tuple(given))
        return values[node]

    for name, tree in program.steps:
        values[name] = value(tree)
    read = (value(program.result), activations, program.expression.sort)
    sums = graph.call_function(combine, read)
    if program.expression.pairs:
        sums = graph.call_function(of_images, (sums,))
    graph.output(graph.call_function(_finished, (sums, size, depth)))
    return fx.GraphModule(torch.nn.Module(), graph, "Heatmaps")


def _finished(sums: Tensor, size: tuple[int, ...], depth: int) -> Finished:
    heatmaps = from_sums(sums[None], size, depth)
    return heatmaps.maps, heatmaps.degenerate, heatmaps.finite


class _CompiledOrNot:
    """A graph compiled at its first call; once that has failed, the graph itself."""

    def __init__(self, graph: fx.GraphModule):
        self._graph = graph
        keep_compiled_private()
        self._run: Callable[..., Finished] = torch.compile(graph, fullgraph=True)

    def __call__(self, *arguments: Any) -> Finished:
        if self._run is self._graph:
            return self._graph(*arguments)
        try:
            value = self._run(*arguments)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:
            value = self._graph(*arguments)  # raises as well, if the arguments are what is wrong
            self._run = self._graph
            reason = (str(error).strip() or "no reason given").splitlines()[0]
            warnings.warn(
                f"torch cannot compile here ({type(error).__name__}: {reason}); heatmaps are "
                "computed without",
                RuntimeWarning,
                stacklevel=3,
            )
        return value
