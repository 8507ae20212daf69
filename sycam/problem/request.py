"""What is asked of a search, as it was given: nothing is loaded or read yet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import nn

from sycam.errors import OptionError
from sycam.evidence import AUTO, Layers, as_layers
from sycam.grammar import Grammar, load_grammar
from sycam.language import Expression
from sycam.metrics import Metric
from sycam.networks import NamedNetwork
from sycam.problem.images import Images
from sycam.problem.options import DataOptions, ExplainOptions
from sycam.support.arguments import argument

GRADIENT, NETWORK = "gradient", "network"  # grammars of a layer, and of all that are found


@dataclass(frozen=True, eq=False)
class Request:
    """What is asked, as it was given.

    Attributes:
        network, layer, images, metric, grammar, require, seed, device: as for
            :func:`sycam.synthesize`.
        data: which images.
        explain: what of the network.
        guesses: expressions whose leaves must be measured beside those of the grammar.
        adapt: of how many formulas one is chosen image by image, which not every metric can do.
        streams: whether images that lie elsewhere stay there, as workers read what they score.
    """

    network: nn.Module | str | NamedNetwork
    layer: Layers
    images: Images
    metric: str | Metric | Sequence[str | Metric] = "road"
    grammar: str | Grammar | None = None
    require: Sequence[str] | str = ()
    data: DataOptions = field(default_factory=DataOptions)
    explain: ExplainOptions = field(default_factory=ExplainOptions)
    guesses: tuple[Expression, ...] = ()
    seed: int = 0
    device: str | torch.device | None = None
    adapt: int | None = None
    streams: bool = False

    def space(self, volumes: bool = False) -> Grammar:
        """The grammar; where none is given, formulas of the whole network if its layers are sought,
        and of a layer if layers are named or the images are volumes.

        Raises:
            GrammarError: it cannot be used.
            OptionError: it is one of several layers, and the images are volumes.
        """
        grammar = self.grammar
        if grammar is None:
            grammar = NETWORK if as_layers(self.layer) == [AUTO] and not volumes else GRADIENT
        grammar = grammar if isinstance(grammar, Grammar) else load_grammar(grammar)
        if grammar.spans_layers and volumes:
            raise OptionError(
                f"{argument('grammar', grammar.name)} has formulas of several layers, which are "
                f"defined for images, not for volumes: take another, such as {GRADIENT!r}"
            )
        return grammar
