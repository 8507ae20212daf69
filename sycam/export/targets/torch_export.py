"""Network and heatmaps as one program of torch.export."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from sycam.export.graph import GraphTarget, Run, exported, quiet
from sycam.export.summaries import SUMMARIES


def to_file(whole: nn.Module, noise: Tensor, path: Path, facts: dict[str, str]) -> Run:
    """Write the program; what runs it."""
    program = exported(whole, noise)
    lines = {f"{name}.txt": text for name, text in facts.items()}
    with quiet():
        torch.export.save(program, path, extra_files=lines)
        return torch.export.load(path).module()


TARGET = GraphTarget(
    "torch-export",
    ".pt2",
    "a program of torch.export",
    SUMMARIES["torch-export"],
    to_file,
)
