"""Functions of several figures, as formulas of metrics name them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor


def harmonic_mean(parts: Tensor) -> Tensor:
    """Of c numbers in [0, 1], ``[..., c]`` to ``[...]``; 0 where one of them is 0."""
    positive = parts > 0
    inverse = parts.where(positive, parts.new_ones(())).reciprocal().mean(-1)
    return torch.where(positive.all(-1), inverse.reciprocal(), 0.0)


def harmonic(values: Sequence[Tensor]) -> Tensor:
    """The harmonic mean; 0 where one of the values is 0 or less, NaN where one is undefined."""
    stacked = torch.stack(list(values), -1)
    return torch.where(stacked.isnan().any(-1), torch.nan, harmonic_mean(stacked))


def least(values: Sequence[Tensor]) -> Tensor:
    """The least of the values."""
    return reduce(torch.minimum, values)


@dataclass(frozen=True)
class Function:
    """A function of scores that rises with each."""

    compute: Callable[[Sequence[Tensor]], Tensor]
    latex: str
    meaning: str


FUNCTIONS = {
    "harmonic": Function(
        harmonic, r"\operatorname{H}", "harmonic mean, 0 where one of them is 0 or less"
    ),
    "min": Function(least, r"\min", "the least of them"),
}
