"""Candidates on other inputs: what metrics that change the images, or the network, look at."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from sycam.errors import OptionError
from sycam.evidence import MEASURED, Evidence, Stack
from sycam.heatmaps import Heatmaps
from sycam.inference import Classifier
from sycam.methods import ALWAYS
from sycam.metrics import Context
from sycam.support.bounded_cache import BoundedCache
from sycam.support.content_digest import tensor_digest
from sycam.targets.resolve import Target
from sycam.targets.resolved import Resolved

Make = Callable[[Evidence | Stack, Context], Heatmaps]
Totals = Callable[[Mapping[str, Tensor]], Tensor]


# Evidence of changed inputs of one set of images, by what was changed.
KeptEvidence = BoundedCache[str, tuple[Evidence | Stack, Context]]


class ChangedInputs:
    """P candidates of one set of images; see :class:`sycam.metrics.context.Candidates`.

    Args:
        makers: the heatmaps of each candidate alone.
        together: the heatmaps of all.
        totals: their channel totals ``[P,N,K]`` from one layer's leaves.
        leaves: names of the leaves that they read.
        runs: whether they run the network themselves.
        evidence: of the images.
        context: of the same images, with a source.
        kept: evidence of changed inputs.
    """

    def __init__(
        self,
        makers: Sequence[Make],
        together: Make,
        totals: Totals,
        leaves: frozenset[str],
        runs: bool,
        evidence: Evidence | Stack,
        context: Context,
        kept: KeptEvidence,
    ):
        self._makers, self._together, self._totals = makers, together, totals
        self._leaves, self._evidence, self._context = leaves, evidence, context
        self._runs, self._kept = runs, kept

    def heatmaps(
        self,
        key: str,
        images: Tensor | Callable[[], Tensor],
        target: Target | Resolved | None = None,
        network: nn.Module | Callable[[], nn.Module] | None = None,
    ) -> Tensor:
        """Heatmaps ``[P,N,H,W]`` of inputs that all candidates share."""
        # What was measured for other leaves does not serve, nor without the network's copy.
        key = f"{key} {sorted(self._leaves - ALWAYS)} {self._runs and network is not None}"
        if key in self._kept.values:
            return self._zeroed(self._together(*self._kept.values[key]))
        if not isinstance(images, Tensor):
            images = images()
        if network is not None and not isinstance(network, nn.Module):
            network = network()
        evidence, context = self._measure(images, target, network)
        self._kept.offer(key, (evidence, context), _size(evidence) + context.images.nbytes)
        return self._zeroed(self._together(evidence, context))

    def heatmaps_each(self, images: Tensor) -> Tensor:
        """Heatmaps ``[P,N,H,W]`` of each candidate's own inputs ``[P,N,C,H,W]``."""
        maps = [
            self._zeroed(make(*self._measure(own, None, None, keep=False)))
            for make, own in zip(self._makers, images, strict=True)
        ]
        return torch.cat(maps)

    def heatmap_of(
        self,
        candidate: int,
        image: int,
        pixels: Tensor,
        target: int | None = None,
        network: nn.Module | None = None,
    ) -> Tensor:
        """Heatmap ``[H,W]`` of one candidate on a variant ``[1,C,H,W]`` of one image."""
        own = self._context.explained
        asked: Target | Resolved | None = target
        if target is None and own is not None:
            asked = own.subset(slice(image, image + 1))
        context = self._context.subset(slice(image, image + 1))
        measured = self._measure(pixels, asked, network, keep=False, context=context)
        return self._zeroed(self._makers[candidate](*measured))[0, 0]

    def channel_totals(self) -> Tensor:
        """``[P,N,K]`` sum over places of ``w_k A_k``; NaN where there are no weights."""
        return self._totals(self._layer().leaves)

    def leaf(self, name: str) -> Tensor:
        """A leaf of the images: ``[N,K]``, or ``[N]`` where it is one number per image."""
        return MEASURED[name].numbers(self._layer())

    def _layer(self) -> Evidence:
        if len(self._evidence.layers) > 1:
            raise OptionError(
                "a metric of channel weights is defined at one layer, not for several that are "
                f"fused ({len(self._evidence.layers)} were given)"
            )
        return self._evidence.layers[0]

    def _measure(
        self,
        images: Tensor,
        target: Target | Resolved | None,
        network: nn.Module | None,
        keep: bool = True,
        context: Context | None = None,
    ) -> tuple[Evidence | Stack, Context]:
        context = self._context if context is None else context
        explained = context.explained if target is None else target
        evidence = context.source.remeasure(
            images, self._leaves, explained, network, keep, self._evidence.layers[0].differentiated
        )
        classifier = context.classifier
        if network is not None and self._runs:
            classifier = Classifier(
                network,
                classifier.device,
                score=classifier.score,
                precision=classifier.precision,
            )
        # Methods that run the network themselves, or that are no function of the layer, look here.
        changed = replace(
            context.subset(slice(None)),
            images=images,
            targets=evidence.targets,
            clean=evidence.probability,
            classifier=classifier,
            digests=[tensor_digest(image) for image in images],
            outputs=evidence.layers[0].outputs,
            explained=explained if isinstance(explained, Resolved) else None,
        )
        return evidence, changed

    @staticmethod
    def _zeroed(heatmaps: Heatmaps) -> Tensor:
        sides = (None,) * (heatmaps.maps.ndim - 2)
        return heatmaps.maps.masked_fill(heatmaps.degenerate[(..., *sides)], 0.0)


def _size(evidence: Evidence | Stack) -> int:
    """Bytes of what was measured."""
    return sum(t.nbytes for layer in evidence.layers for t in layer.leaves.values())
