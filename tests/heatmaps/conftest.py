"""Random leaves of every name, for the two forms of what an expression computes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from sycam.language.operators import OPERATORS


def _random_leaves(*grid: int, dtype: torch.dtype = torch.float64) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(sum(grid))
    shapes = {
        "map": (3, 6, *grid),
        "weight": (3, 6, 1, 1),
        "heat": (3, 1, *grid),
        "scalar": (3, 1, 1, 1),
    }
    leaves = {
        op.name: torch.randn(
            shapes[op.overloads[0].result], generator=generator, dtype=torch.float64
        ).to(dtype)
        for op in OPERATORS.values()
        if op.is_leaf and op.value is None
    }
    leaves["activations"] = leaves["activations"].clamp(min=0)  # as after a ReLU
    leaves["probability"] = leaves["probability"].sigmoid()
    return leaves


@pytest.fixture
def random_leaves() -> Callable[..., dict[str, Tensor]]:
    """``random_leaves(h, w, dtype=...)``: every leaf of the table on 3 images and 6 channels."""
    return _random_leaves
