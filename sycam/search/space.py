"""The candidates of a problem: its grammar's expressions, told apart on a few search images."""

from __future__ import annotations

import torch
from torch import Tensor

from sycam.evidence import Evidence
from sycam.heatmaps.pairs import pairs_of
from sycam.problem.problem import Problem
from sycam.search.enumeration.enumerator import Enumerator
from sycam.targets.resolve import is_callable

PROBE_BYTES = 1 << 20  # of one map's values on all probe images, which are two to five


def probe_images(problem: Problem) -> int:
    """How many of the search images tell candidates apart."""
    first = problem.evidence.layers[0]
    one = max(layer.activations[0].numel() for layer in _read(problem)) * 8
    return min(len(first), max(2, min(5, PROBE_BYTES // one)))


def enumerator_of(problem: Problem, equivalence: str) -> Enumerator:
    """The candidates of the grammar, told apart on a few of the search images."""
    layers, pairs = _probes(problem), problem.grammar.pairs
    return Enumerator(
        problem.grammar,
        next(iter(layers.values())),
        problem.metric.invariance,
        problem.context.size,
        confirm=2 if pairs else 1,
        depth=problem.evidence.layers[0].depth,
        equivalence=equivalence,
        sites=layers if problem.grammar.sites else None,
    )


def _probes(problem: Problem) -> dict[str, dict[str, Tensor]]:
    """Measurements of some of the search images at the layers that formulas read, by their names.

    Where the metric looks at other inputs, also those of each image's least likely class,
    whose score has mostly another sign.
    """
    first, leaves = problem.evidence.layers[0], problem.grammar.leaves
    count = probe_images(problem)
    layers = _read(problem)
    probes = [{name: tensor[:count] for name, tensor in e.leaves.items()} for e in layers]
    several = first.outputs is not None and first.outputs.shape[1] > 1
    if problem.metric.looks_elsewhere and several and not is_callable(problem.explained.target):
        classes = first.outputs.scatter(1, first.targets[:, None], torch.inf).argmin(1)
        images = problem.context.images[:count]
        others = problem.explained.remeasure(images, leaves, classes[:count]).layers
        probes = [
            {name: torch.cat([other.leaves[name], tensor]) for name, tensor in probe.items()
             if name in other.leaves}
            for other, probe in zip(others, probes, strict=False)
        ]  # fmt: skip
    if problem.grammar.pairs:
        probes = [pairs_of(leaves, probe) for probe in probes]
    return {layer.name: probe for layer, probe in zip(layers, probes, strict=True)}


def _read(problem: Problem) -> tuple[Evidence, ...]:
    """The evidence that candidates are told apart on: of the first layer where all read the same
    ones."""
    layers = problem.evidence.layers
    return layers if problem.grammar.sites else layers[:1]
