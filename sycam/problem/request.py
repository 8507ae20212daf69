"""What is asked of a search, as it was given: nothing is loaded or read yet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import nn

from sycam.evidence import Layers
from sycam.grammar import Grammar
from sycam.language import Expression
from sycam.metrics import Metric
from sycam.networks import NamedNetwork
from sycam.problem.images import Images
from sycam.problem.options import DataOptions, ExplainOptions


@dataclass(frozen=True, eq=False)
class Request:
    """What is asked, as it was given.

    Attributes:
        network, layer, images, metric, grammar, require, seed, device: as for
            :func:`sycam.synthesize`.
        data: which images.
        explain: what of the network.
        guesses: expressions whose leaves must be measured beside those of the grammar.
    """

    network: nn.Module | str | NamedNetwork
    layer: Layers
    images: Images
    metric: str | Metric | Sequence[str | Metric] = "road"
    grammar: str | Grammar = "gradient"
    require: Sequence[str] | str = ()
    data: DataOptions = field(default_factory=DataOptions)
    explain: ExplainOptions = field(default_factory=ExplainOptions)
    guesses: tuple[Expression, ...] = ()
    seed: int = 0
    device: str | torch.device | None = None
