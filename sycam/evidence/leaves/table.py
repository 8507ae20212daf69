"""The table of leaves: how each is measured, and where outside SyCAM it can be had.

Symbol, sort, LaTeX, meaning and price of a leaf stand in the operator table of
:mod:`sycam.language.operators`; all else that differs from leaf to leaf stands here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from torch import Tensor, nn

from sycam.errors import LayerError
from sycam.evidence.capture import Evidence
from sycam.evidence.leaves.ablation import ablation_drops, set_below_the_minimum
from sycam.evidence.leaves.copies import noisy_copies, path_copies
from sycam.evidence.leaves.head import class_weights_source, measured_class_weights
from sycam.evidence.leaves.information import mutual_information
from sycam.evidence.leaves.masked import masked_scores
from sycam.evidence.leaves.places import place_scores
from sycam.evidence.leaves.rerun import Rerun
from sycam.language.operators import OPERATORS
from sycam.language.signatures import SCALAR, Operator
from sycam.language.sources import standalone_source


@dataclass(frozen=True)
class Leaf:
    """A leaf, or what a library measures in its place.

    One that is neither measured ``of_image`` nor ``of_evidence`` comes with the evidence's own
    forward and backward pass.

    Attributes:
        name: the operator's; of what no formula can name, a name of its own.
        stands_in_for: the leaf of the language that a library measures so; empty for the
            language's own.
        derivatives: how often the score is differentiated for it, see
            :func:`sycam.evidence.measure`.
        of_target: whether it depends on what is explained.
        of_image: measures it on one image by passes of its own: a weight ``[K]``, a map
            ``[K,d*h,w]`` or a heat ``[d*h,w]``, by its sort.
        of_evidence: measures it on all images from what is known of them: ``[N,K]``; LayerError
            where the network has no such leaf.
        absent: for a leaf that not every network has, what is missing then, for people.
        no_graph: why network and heatmaps cannot be one graph for inference where a formula reads
            it, as what it is; empty where they can (see :class:`sycam.export.explained.Explained`).
        source: text that defines, in an exported module, what ``call`` uses.
        call: what measures it there, by the arguments and functions of ``channel_leaves`` in
            :mod:`sycam.export.templates.channels`; empty where nothing can.
    """

    name: str
    stands_in_for: str = ""
    derivatives: int = 0
    of_target: bool = True
    of_image: Callable[[Rerun], Tensor] | None = None
    of_evidence: Callable[[nn.Module, Evidence], Tensor] | None = None
    absent: str = ""
    no_graph: str = ""
    source: Callable[[], str] | None = None
    call: str = ""

    @property
    def in_one_pass(self) -> bool:
        """Whether it comes with the evidence's own pass."""
        return self.of_image is None and self.of_evidence is None

    @property
    def always(self) -> bool:
        """Whether one forward and one backward pass give it, which all evidence takes."""
        return self.in_one_pass and self.derivatives < 2

    @property
    def exportable(self) -> bool:
        """Whether exported modules can measure it."""
        return not self.stands_in_for and (self.in_one_pass or bool(self.call))

    @property
    def operator(self) -> Operator:
        """The leaf in the operator table; of a stand-in, what it stands in for."""
        return OPERATORS[self.stands_in_for or self.name]

    @property
    def symbol(self) -> str:
        """How formulas name the leaf."""
        return self.operator.symbol

    @property
    def sort(self) -> str:
        """Of the leaf in formulas."""
        return self.operator.overloads[0].result

    def numbers(self, evidence: Evidence) -> Tensor:
        """A weight of the images, ``[N,K]``, or a scalar, ``[N]``."""
        tensor = evidence.leaves[self.name][..., 0, 0]
        return tensor[:, 0] if self.sort == SCALAR else tensor

    def had_by(self, network: nn.Module, evidence: Evidence) -> bool:
        """Whether the network has the leaf, as the evidence of any of its images tells."""
        if self.of_evidence is None:
            return True
        try:
            self.of_evidence(network, evidence)
        except LayerError:
            return False
        return True


_PASS_PER_CHANNEL = (
    "one forward pass per channel, which would multiply the batch by the layer's channels"
)
_GRADIENTS_OF_COPIES = (
    "gradients of copies of the image, and a graph for inference has no backward pass"
)
# In the order of the operator table, the stand-ins last.
_TABLE = (
    Leaf("activations", of_target=False),
    Leaf(
        "gradients",
        derivatives=1,
        no_graph="a gradient, and a graph for inference has no backward pass",
    ),
    Leaf(
        "hessian_product",
        derivatives=2,
        no_graph="a second derivative, and a graph for inference has no backward pass",
    ),
    Leaf(
        "noisy_gradients",
        of_image=lambda r: r.mean_gradients(noisy_copies(r.image)),
        no_graph=_GRADIENTS_OF_COPIES,
    ),
    Leaf(
        "path_gradients",
        of_image=lambda r: r.mean_gradients(path_copies(r.image)),
        no_graph=_GRADIENTS_OF_COPIES,
    ),
    Leaf("score"),
    Leaf("probability"),
    Leaf(
        "masked_scores",
        of_image=lambda r: masked_scores(r.image, r.activations, r.score, r.batch),
        no_graph=_PASS_PER_CHANNEL,
        source=lambda: standalone_source(masked_scores),
        call="masked_scores(image, activations, score)",
    ),
    Leaf(
        "ablation_drops",
        of_image=Rerun.drops,
        no_graph=_PASS_PER_CHANNEL,
        source=lambda: standalone_source(ablation_drops),
        call="ablation_drops(clean, len(activations), score_without)",
    ),
    Leaf(
        "mutual_information",
        of_target=False,
        of_image=lambda r: mutual_information(r.image, r.activations, batch=r.batch),
        no_graph="a histogram of the image, which is taken on one image at a time",
        source=lambda: standalone_source(mutual_information),
        call="mutual_information(image, activations)",
    ),
    Leaf(
        "class_weights",
        of_evidence=measured_class_weights,
        absent="no linear head follows the layer's global average pooling",
        source=class_weights_source,
        call="""class_weights(
    network,
    activations[None].flatten(2, -2),
    outputs[None],
    torch.tensor([int(outputs.argmax()) if callable(target) else target]),
)[0]""",
    ),
    Leaf(
        "fitted_weights",
        of_image=Rerun.fitted_weights,
        no_graph="weights fitted by gradients, and a graph for inference has no backward pass",
    ),
    Leaf(
        "place_scores",
        of_image=lambda r: place_scores(
            r.activations.shape[1:], r.probability_with, r.batch
        ).flatten(0, -2),
        no_graph="one forward pass per place, which would multiply the batch by the layer's places",
    ),
    # What the grad-cam package measures, for the variants that compare with it.
    Leaf(
        "masked_scores_aligned",
        stands_in_for="masked_scores",
        of_image=lambda r: masked_scores(r.image, r.activations, r.score, r.batch, aligned=True),
    ),
    Leaf(
        "ablation_drops_lib",
        stands_in_for="ablation_drops",
        of_image=lambda r: ablation_drops(
            r.clean,
            len(r.activations),
            lambda channels: r.score_altered(channels, set_below_the_minimum),
            batch=32,
        ),
    ),
)

MEASURED: Mapping[str, Leaf] = MappingProxyType({leaf.name: leaf for leaf in _TABLE})


def ignores_target(leaves: Iterable[str]) -> bool:
    """Whether heatmaps made of these leaves are the same whatever is explained: a number for an
    image, as the probability is, only scales them.

    >>> ignores_target({"activations"}), ignores_target({"activations", "gradients"})
    (True, False)
    """
    measured = [MEASURED[name] for name in leaves if name in MEASURED]
    return not any(leaf.of_target and leaf.sort != SCALAR for leaf in measured)
