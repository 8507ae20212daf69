"""What a method is: an expression of the language, or a computation of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from sycam.errors import DataError, ExpressionError
from sycam.evidence import Evidence, Stack
from sycam.heatmaps import Heatmaps, combine, from_sums, fuse, maps_of, norm01
from sycam.language import Expression, apply, heatmap_latex
from sycam.language.signatures import HEAT, WEIGHT, WEIGHTING
from sycam.language.sites import cam_at
from sycam.metrics import Context

PUBLISHED, BASELINE, CONTROL = "published", "baseline", "control"
BLURRED = "blurred"
RIVALS = (PUBLISHED, BLURRED, BASELINE)  # what a winner has to beat
ANSWERS = (PUBLISHED, BLURRED)  # those that may win themselves
VARIANT, OWN = "variant", "expression"
KINDS = {
    PUBLISHED: "CAMs from papers and libraries that are expressions of the language",
    BLURRED: "published CAMs, blurred: rivals under metrics that reward blur whatever it shows",
    BASELINE: "CAMs that are no such expressions: computed directly, scored beside a search",
    CONTROL: "what a CAM must beat to say anything: random weights, edges, a blob",
    VARIANT: "what a library computes where it departs from the paper, for comparison",
    OWN: "an expression of your own",
}
Direct = Callable[[Evidence, Context], Heatmaps]
Joint = Callable[[Sequence[Evidence], Context], Heatmaps]


@dataclass(frozen=True)
class Method:
    """A way to make heatmaps.

    Attributes:
        name: what ``sycam methods`` lists.
        kind: one of :data:`KINDS`.
        expression: the weights, where the language can say them.
        direct: computes the heatmaps, where it cannot.
        paper: authors, title, venue and year; or the software that it comes from.
        note: what a user should know.
        measures: names of the leaves that a direct method reads.
        runs: whether a direct method runs the network itself.
        unasked: whether it is shown where nobody names it, if its leaves are measured; not a
            direct method that makes many passes.
        most_places: of a layer (height times width) at which it is shown where nobody names it;
            None for any number.
        definition: the formula of a direct method, for people.
        definition_latex: the same in LaTeX.
        site: name of the layer that a direct method looks at; empty for each one there is.
        fusion: how a direct method that reads all layers at once joins their heatmaps, see
            :func:`sycam.heatmaps.fuse`; empty for one of a layer, whose heatmaps are joined as
            the evidence says.
        joint: computes the heatmaps from the evidence of all layers, where neither language nor
            fusion can say how they are joined.
    """

    name: str
    kind: str
    expression: Expression | None = None
    direct: Direct | None = None
    paper: str = ""
    note: str = ""
    measures: frozenset[str] = frozenset()
    runs: bool = False
    unasked: bool = True
    most_places: int | None = None
    definition: str = ""
    definition_latex: str = ""
    site: str = ""
    fusion: str = ""
    joint: Joint | None = None

    def at(self, site: str) -> Method:
        """The method at the layer of a name, called ``NAME@LAYER``; itself where it looks at
        none, or at all of them."""
        if self.expression is not None:
            expression = apply(cam_at(site).name, self.expression)
            return replace(self, name=f"{self.name}@{site}", expression=expression)
        if self.fusion or self.joint is not None or not self.measures:
            return self
        return replace(self, name=f"{self.name}@{site}", site=site)

    def blurred(self) -> Method:
        """The method with its weighted sum blurred by 3x3, called ``blurred-NAME``.

        Raises:
            ExpressionError: a method that is computed directly.
        """
        if self.expression is None:
            raise ExpressionError(f"{self.name!r} is computed directly: it is not blurred here")
        expression = apply("smooth", self.expression)
        return replace(self, name=f"{BLURRED}-{self.name}", kind=BLURRED, expression=expression)

    @property
    def leaves(self) -> frozenset[str]:
        """Names of the leaves that must be measured for its heatmaps."""
        if self.expression is None:
            return self.measures
        return self.expression.leaves | {"activations"}  # which every weight multiplies

    @property
    def has_weights(self) -> bool:
        """Whether its heatmap is a sum of channels times weights of the language."""
        return self.expression is not None and self.expression.sort in WEIGHTING

    @property
    def formula(self) -> str:
        """The expression, or a direct method's definition."""
        return self.definition if self.expression is None else str(self.expression)

    @property
    def latex(self) -> str:
        """LaTeX of the heatmap before upsampling and scaling."""
        return self.definition_latex if self.expression is None else heatmap_latex(self.expression)

    @property
    def sort(self) -> str:
        """Sort of the expression; a direct method makes heats."""
        return HEAT if self.expression is None else self.expression.sort

    @property
    def sites(self) -> tuple[str, ...]:
        """Names of the layers that it reads; empty where it reads whichever is given."""
        if self.expression is not None:
            return self.expression.sites
        return (self.site,) if self.site else ()

    @property
    def cost(self) -> int | None:
        """Cost of the expression; None for a direct method, which no grammar holds."""
        return None if self.expression is None else self.expression.cost

    def is_cheap(self, evidence: Evidence | Stack) -> bool:
        """Whether the layers that it looks at are small enough for it to be shown unasked."""
        if self.most_places is None:
            return True
        layers = [evidence.at(self.site)] if self.site else evidence.layers
        return all(one.activations[0, 0].numel() <= self.most_places for one in layers)

    def heatmaps(self, evidence: Evidence | Stack, context: Context) -> Heatmaps:
        """Heatmaps of this one method, P = 1, on the N images of the evidence.

        Raises:
            DataError: a leaf that the method reads was not measured.
        """
        missing = self.leaves - evidence.layers[0].leaves.keys()
        if missing:
            raise DataError(
                f"method {self.name!r} reads {', '.join(sorted(missing))}, which was not measured; "
                "name the leaves when the evidence is measured"
            )
        if self.joint is not None:
            return self.joint(evidence.layers, context)
        if self.direct is None:
            return maps_of([self.expression], evidence, context.size)
        if not self.measures:  # it does not look at the layer: once is enough
            return self.direct(evidence.layers[0], context)
        if self.site:
            return self.direct(evidence.at(self.site), context)
        parts = [self.direct(layer, context) for layer in evidence.layers]
        return fuse(parts, self.fusion or evidence.fusion)


def from_weights(weights: Tensor, evidence: Evidence, context: Context) -> Heatmaps:
    """Heatmaps from channel weights ``[N,K]``."""
    sums = combine(weights[..., None, None], evidence.activations, WEIGHT)
    return from_sums(sums[None], context.size, evidence.depth)


def from_maps(maps: Tensor) -> Heatmaps:
    """Heatmaps ``[N,H,W]`` or ``[N,D,H,W]`` of the images' size; what overflowed counts as 0."""
    finite = torch.isfinite(maps).all()[None]
    maps = norm01(torch.nan_to_num(maps, nan=0.0, posinf=0.0, neginf=0.0), maps.ndim - 1)[None]
    return Heatmaps(maps, maps.flatten(2).amax(-1) <= 0, finite)
