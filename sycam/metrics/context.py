"""What metrics may look at beside heatmaps, the same for all candidates."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Collection, Hashable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor, nn

from sycam.errors import DataError, OptionError
from sycam.evidence import Evidence, Layer, Stack
from sycam.inference import Classifier
from sycam.targets.resolve import Target
from sycam.targets.resolved import Resolved

Made = TypeVar("Made")


class Candidates(Protocol):
    """The P candidates whose heatmaps are being scored, on other inputs than the images."""

    def heatmaps(
        self,
        key: str,
        images: Tensor | Callable[[], Tensor],
        target: Target | Resolved | None = None,
        network: nn.Module | Callable[[], nn.Module] | None = None,
    ) -> Tensor:
        """Their heatmaps where the inputs are the same for all candidates.

        Args:
            key: names the inputs; what is measured under a key is shared by all candidates.
            images: ``[N,C,H,W]``, a variant of each image of the context; or a function that makes
                them, called only where nothing is kept under the key.
            target: what is explained; what the context explains if None.
            network: a copy of the network with other weights, or a function that makes one; the
                network itself if None.

        Returns:
            Tensor[P,N,H,W] in [0, 1]; a degenerate map is zero.
        """

    def heatmaps_each(self, images: Tensor) -> Tensor:
        """Their heatmaps where each candidate has inputs of its own: one forward and one backward
        pass per candidate and image.

        Args:
            images: ``[P,N,C,H,W]``.

        Returns:
            Tensor[P,N,H,W] in [0, 1]; a degenerate map is zero.
        """

    def heatmap_of(
        self,
        candidate: int,
        image: int,
        pixels: Tensor,
        target: int | None = None,
        network: nn.Module | None = None,
    ) -> Tensor:
        """The heatmap of one candidate on a variant of one image.

        Args:
            candidate: which of the P.
            image: which of the N.
            pixels: ``[1,C,H,W]``, the variant.
            target: class explained; what the context explains of the image if None.
            network: a copy of the network with other weights; the network itself if None.

        Returns:
            Tensor[H,W] in [0, 1]; zeros if degenerate.
        """

    def channel_totals(self) -> Tensor:
        """``[P,N,K]`` sum over places of ``w_k A_k``, before the ReLU; NaN for a candidate that is
        no weight or map of the language."""

    def leaf(self, name: str) -> Tensor:
        """``[N,K]`` or ``[N]``: a leaf that the metric declares in ``Metric.leaves``."""


class Source(Protocol):
    """The network as it was given, to be measured again at its target layers."""

    @property
    def network(self) -> nn.Module:
        """As it was given."""

    @property
    def layers(self) -> Sequence[Layer]:
        """The target layers."""

    def remeasure(
        self,
        images: Tensor,
        leaves: Collection[str],
        target: Target | Resolved | None = None,
        network: nn.Module | None = None,
        keep: bool = True,
        gradients: bool = True,
    ) -> Evidence | Stack:
        """Evidence of other images, or of another network of the same structure."""


@dataclass(frozen=True)
class Scale:
    """How large the values are that metrics watch: 1 for probabilities.

    Attributes:
        largest: the largest absolute value on the images and on an empty one; rounding errors are
            a share of it.
        spread: from the 5 % to the 95 % quantile of these values; what counts as a small
            difference is a share of it.
    """

    largest: float = 1.0
    spread: float = 1.0

    @classmethod
    def of(cls, values: Tensor) -> Scale:
        """Of a callable target's values; 1 where they tell nothing (all 0, or not finite)."""
        finite = values.double().flatten()
        finite = finite[finite.isfinite()]
        if not len(finite) or not finite.any():
            return cls()
        low, high = finite.quantile(finite.new_tensor([0.05, 0.95])).tolist()
        return cls(float(finite.abs().max()), high - low)


@dataclass(frozen=True)
class Context:
    """What metrics may look at, the same for all candidates.

    Attributes:
        images: ``[N,C,H,W]`` in the network's input scale, or volumes ``[N,C,D,H,W]``.
        targets: ``[N]`` class explained, fixed for all perturbed copies.
        clean: ``[N]`` probability of that class on the clean images.
        classifier: the network as a fast function from images to probabilities.
        digests: content hash of each image; noise and permutations of an image are seeded by it,
            so that they do not depend on the other images.
        masks: ``[N,H,W]`` bool ground truth, or None.
        seed: of everything random.
        explained: the scalar that heatmaps explain, where it is not the class's logit.
        outputs: ``[N,classes]`` class scores on the clean images; None where nobody measured them,
            or where a callable explains a network that returns something else.
        source: measures the network again; None where nothing can be measured.
        candidates: those being scored, on other inputs; None outside an engine.
        scale: of the values that metrics watch, see :class:`Scale`.
        degenerate: ``[P,N]`` bool, whose heatmaps ranked nothing (and were replaced by a random
            one); None outside an engine.
        kept: what was drawn or measured once for these images, see :meth:`once`.
        work: what the metrics of one batch of heatmaps share, see :meth:`shared`.
    """

    images: Tensor
    targets: Tensor
    clean: Tensor
    classifier: Classifier
    digests: Sequence[str]
    masks: Tensor | None = None
    seed: int = 0
    explained: Resolved | None = None
    outputs: Tensor | None = None
    source: Source | None = None
    candidates: Candidates | None = None
    degenerate: Tensor | None = None
    scale: Scale = Scale()
    kept: dict[Hashable, Any] = field(default_factory=dict, repr=False, compare=False)
    work: dict[Hashable, Any] | None = field(default=None, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.images)

    @property
    def size(self) -> tuple[int, ...]:
        """Height and width of the images; depth, height and width of volumes."""
        return tuple(self.images.shape[2:])

    @property
    def ground_truth(self) -> Tensor:
        """``[N,H,W]`` bool, the masks.

        Raises:
            DataError: there are none.
        """
        if self.masks is None:
            raise DataError(
                "the metric needs ground-truth masks, and the context holds none; give masks "
                "beside the images, or set Context.masks"
            )
        return self.masks

    @property
    def extremes(self) -> tuple[float, float]:
        """The least and the most that the network can say: of a probability 0 and 1; a callable
        target has no ends."""
        return (0.0, 1.0) if self.classifier.score is None else (-math.inf, math.inf)

    def subset(self, part: slice) -> Context:
        """The context of some of the images; it keeps nothing of what this one has kept."""
        return replace(
            self,
            images=self.images[part],
            targets=self.targets[part],
            clean=self.clean[part],
            digests=self.digests[part],
            masks=None if self.masks is None else self.masks[part],
            explained=None if self.explained is None else self.explained.subset(part),
            outputs=None if self.outputs is None else self.outputs[part],
            candidates=None,
            degenerate=None,
            kept={},
            work=None,
        )

    def scoring(self, candidates: Candidates, degenerate: Tensor) -> Context:
        """The context of one batch of heatmaps; what is kept is shared with this one."""
        return replace(self, candidates=candidates, degenerate=degenerate, work={})

    def once(self, key: Hashable, make: Callable[[], Made]) -> Made:
        """What ``make`` returns, made at most once for these images, whatever the candidates.

        All metrics share the keys; those of SyCAM's own are tuples that begin with a module's name.
        """
        if key not in self.kept:
            self.kept[key] = make()
        return self.kept[key]

    def shared(self, key: Hashable, maps: Tensor, make: Callable[[], Made]) -> Made:
        """What ``make`` returns, made at most once for one batch of heatmaps by an engine; keys as
        for :meth:`once`."""
        if self.work is None:
            return make()
        entry = self.work.get((key, id(maps)))
        if entry is None:
            # The maps are kept beside it, so that no other tensor takes their id.
            entry = self.work[key, id(maps)] = (maps, make())
        return entry[1]

    def class_scores(self, metric: str) -> Tensor:
        """``[N,classes]`` the outputs.

        Raises:
            OptionError: they were not measured.
        """
        if self.outputs is None:
            raise OptionError(
                f"metric {metric!r} compares classes, and the context holds no outputs of the "
                "network; use sycam.evaluate or sycam.synthesize, or set Context.outputs"
            )
        return self.outputs

    def again(self, metric: str) -> Candidates:
        """The candidates on other inputs.

        Raises:
            OptionError: heatmaps were given without what made them.
        """
        if self.candidates is None or self.source is None:
            raise OptionError(
                f"metric {metric!r} looks at the heatmaps of changed inputs, so it cannot score "
                "heatmaps alone; use sycam.evaluate or sycam.synthesize"
            )
        return self.candidates

    def generators(self, purpose: str) -> list[torch.Generator]:
        """One CPU generator an image, seeded by purpose, seed and the image's content."""
        made = []
        for digest in self.digests:
            text = f"{purpose}/{self.seed}/{digest}"
            number = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
            made.append(torch.Generator().manual_seed(number))
        return made

    def drawn(self, purpose: str, draw: Callable[[torch.Generator], Tensor]) -> Tensor:
        """``draw`` called with each image's generator, stacked, on the images' device."""
        made = [draw(generator) for generator in self.generators(purpose)]
        return torch.stack(made).to(self.images.device)

    @property
    def noise(self) -> Tensor:
        """``[N,C,H,W]`` standard normal noise, common to all candidates."""
        shape = self.images.shape[1:]
        return self.once(
            (__name__, "noise"),
            lambda: self.drawn("noise", lambda g: torch.randn(shape, generator=g)),
        )

    @property
    def shuffles(self) -> Tensor:
        """``[N,H*W]`` a permutation of the pixels, common to all candidates."""
        pixels = math.prod(self.size)
        return self.once(
            (__name__, "shuffle"),
            lambda: self.drawn("shuffle", lambda g: torch.randperm(pixels, generator=g)),
        )

    @property
    def random_maps(self) -> Tensor:
        """``[N,H,W]`` uniform in [0, 1]: what a map that ranks nothing is scored as."""
        return self.once(
            (__name__, "random map"),
            lambda: self.drawn("random map", lambda g: torch.rand(self.size, generator=g)),
        )
