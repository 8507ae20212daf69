"""Expensive leaves: one number per channel that takes many passes, measured where it is used."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from sycam.errors import LayerError
from sycam.evidence.cache import Cache, key_of
from sycam.evidence.capture import BATCH, Evidence, measure
from sycam.evidence.layers import Layer
from sycam.evidence.leaves.ablation import ablation_drops
from sycam.evidence.leaves.head import class_weights
from sycam.evidence.leaves.information import mutual_information
from sycam.evidence.leaves.masked import masked_scores
from sycam.networks.forward import forward
from sycam.networks.passes import hooked
from sycam.networks.reshaping import Reshape, zero_channels
from sycam.networks.untouched import device_of, untouched
from sycam.support.content_digest import network_digest, tensor_digest
from sycam.targets.resolve import Target, resolve
from sycam.targets.resolved import Resolved

CPU_BATCH, GPU_BATCH = 64, 256  # rows a forward pass, at most
ROOM = 2**27  # bytes of altered images and layer outputs a forward pass, about
Progress = Callable[[str, int, int], None]
GRADIENTS = frozenset({"gradients", "hessian_product"})  # leaves that take a backward pass


def measure_leaves(  # noqa: PLR0913
    network: nn.Module,
    layer: Layer,
    images: Tensor,
    leaves: Collection[str],
    target: Target = "predicted",
    labels: Tensor | None = None,
    batch: int = BATCH,
    cache: Cache | None = None,
    digests: Sequence[str] | None = None,
    measured: Callable[[int], None] | None = None,
    progress: Progress | None = None,
    gradients: bool = True,
) -> Evidence:
    """Evidence at a layer with all the leaves named: :func:`measure`, then :func:`add_leaves`.

    Args:
        network, images, target, labels, batch, gradients: as for :func:`measure`; ``measured`` is
            its ``progress``.
        layer: of :func:`sycam.evidence.find_layer`.
        leaves, cache, digests, progress: as for :func:`add_leaves`.
    """
    evidence = measure(
        network,
        layer.module,
        images,
        target,
        labels,
        batch,
        measured,
        layer.reshape,
        hessian="hessian_product" in leaves,
        gradients=gradients or not GRADIENTS.isdisjoint(leaves),
    )
    return add_leaves(
        evidence,
        leaves,
        network,
        layer.module,
        images,
        target,
        labels,
        layer.reshape,
        layer.name,
        cache,
        digests,
        progress,
    )


@torch.inference_mode(False)  # a reshape is differentiated to find a channel's entries
def add_leaves(  # noqa: PLR0913
    evidence: Evidence,
    names: Collection[str],
    network: nn.Module,
    layer: nn.Module,
    images: Tensor,
    target: Target = "predicted",
    labels: Tensor | None = None,
    reshape: Reshape = None,
    layer_name: str = "",
    cache: Cache | None = None,
    digests: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> Evidence:
    """The evidence with further leaves of the same images.

    Memory is bounded: channels are taken in micro-batches, one image at a time, so that results
    do not depend on the other images. A finished image is kept in the cache at once.

    Args:
        evidence: of :func:`sycam.evidence.measure` with the same arguments.
        names: leaves to have; those that are there already cost nothing.
        layer_name: of the layer, for the cache.
        cache: where measurements are kept; nowhere if None, or where a callable is explained.
        digests: content hash of each image.
        progress: called with the leaf's name, the images done and their number.

    Raises:
        LayerError: the network has no such leaf at this layer.
    """
    wanted = [name for name in names if name not in evidence.leaves]
    if not wanted:
        return evidence
    found = dict(evidence.others)
    if "class_weights" in wanted:
        found["class_weights"] = _class_weights(network, evidence)
    slow = [name for name in _MEASURES if name in wanted]
    unknown = set(wanted) - set(slow) - {"class_weights"}
    if unknown:
        raise LayerError(f"leaf {min(unknown)!r} was not measured")
    if slow:
        explained = resolve(target, evidence.outputs, len(images), labels)
        with untouched(network):  # what forward changes of the buffers enters the network's digest
            cached = _Cached(cache or Cache(None), network, layer_name, reshape, explained)
        for name in slow:
            columns = []
            for i, image in enumerate(images):
                rerun = _Rerun(network, layer, reshape, image, evidence, explained, i)
                digest = digests[i] if digests is not None else None
                # Image by image: other threads need not wait for all, and a network that samples
                # gives each image what it gives it alone.
                with untouched(network), torch.no_grad():
                    columns.append(cached.get(name, digest, rerun))
                if progress:
                    progress(name, i + 1, len(images))
            found[name] = torch.stack(columns).to(evidence.activations)[..., None, None]
    return replace(evidence, others=found)


def _class_weights(network: nn.Module, evidence: Evidence) -> Tensor:
    if evidence.outputs is None:
        raise LayerError("leaf C needs a network that returns class scores (N, classes)")
    weights = class_weights(network, evidence.activations, evidence.outputs, evidence.targets)
    return weights.to(evidence.activations)[..., None, None]


class _Rerun:
    """The network on altered copies of one image."""

    def __init__(
        self,
        network: nn.Module,
        layer: nn.Module,
        reshape: Reshape,
        image: Tensor,
        evidence: Evidence,
        explained: Resolved,
        index: int,
    ):
        self.network, self.layer, self.reshape = network, layer, reshape
        self.image = image.to(device_of(network))
        self.explained, self.index = explained, index
        maps = evidence.activations[index]
        self.activations = maps.unflatten(1, (evidence.depth, -1)) if self.image.ndim == 4 else maps
        self.clean = evidence.others["score"][index].flatten()[0]
        if explained.logarithmic:
            self.clean_logarithm = self._scores(evidence.outputs[index][None], 1, True)[0]
        most = GPU_BATCH if self.image.device.type == "cuda" else CPU_BATCH
        row = (self.image.numel() + self.activations.numel()) * self.image.element_size()
        self.batch = max(1, min(most, ROOM // row))
        self._narrow = True  # whether what lies before the layer can run on a single image

    def score(self, images: Tensor) -> Tensor:
        """The target's score of altered images ``[B,C,H,W]``."""
        return self._scores(self._forward(images), len(images))

    def drops(self) -> Tensor:
        """Ablation-CAM's drops, without loss where probabilities near 1 are compared."""
        logarithmic = self.explained.logarithmic
        return ablation_drops(
            self.clean_logarithm if logarithmic else self.clean,
            len(self.activations),
            lambda channels: self.score_without(channels, logarithmic=logarithmic),
            self.batch,
            logarithmic,
        )

    def score_without(
        self,
        channels: Tensor,
        alter: Callable[[Tensor, Tensor], Tensor] | None = None,
        logarithmic: bool = False,
    ) -> Tensor:
        """The target's score, or its logarithm, with one channel a row set to zero, or altered."""
        count = len(channels)

        def replaced(_module: nn.Module, _inputs: tuple, output: Tensor) -> Tensor:
            output = output[:1].repeat(count, *(1,) * (output.ndim - 1))
            if alter is not None:
                return alter(output, channels)
            return zero_channels(output, channels, self.reshape, self.layer)

        with hooked((self.layer.register_forward_hook, replaced)):
            if self._narrow:
                # Up to the layer all rows are alike: run it once, and spread the rows there.
                try:
                    outputs = self._forward(self.image[None])
                    return self._scores(outputs, count, logarithmic)
                except (LayerError, torch.OutOfMemoryError):
                    raise
                except Exception:
                    self._narrow = False  # the network looks at its input's batch elsewhere
            whole = self.image[None].expand(count, *self.image.shape)
            return self._scores(self._forward(whole), count, logarithmic)

    def _forward(self, images: Tensor) -> object:
        return forward(self.network, images, self.explained.reading)

    def _scores(self, outputs: object, count: int, logarithmic: bool = False) -> Tensor:
        rows = torch.full((count,), self.index, device=self.explained.index.device)
        if logarithmic:
            return self.explained.logarithms(outputs, rows).detach()
        return self.explained.scores(outputs, rows).detach()


def _ablated_by_the_package(output: Tensor, channels: Tensor) -> Tensor:
    """As the grad-cam package alters a batch: far below the batch's minimum, unless that is 0."""
    for row, channel in enumerate(channels.tolist()):
        least = output.min()
        output[row, channel] = 0 if least == 0 else least - 1e7
    return output


_MEASURES: dict[str, Callable[[_Rerun], Tensor]] = {
    "masked_scores": lambda r: masked_scores(r.image, r.activations, r.score, r.batch),
    "ablation_drops": _Rerun.drops,
    "mutual_information": lambda r: mutual_information(r.image, r.activations, batch=r.batch),
    # What the grad-cam package measures instead, for the variants that compare with it.
    "masked_scores_aligned": lambda r: masked_scores(
        r.image, r.activations, r.score, r.batch, aligned=True
    ),
    "ablation_drops_lib": lambda r: ablation_drops(
        r.clean,
        len(r.activations),
        lambda channels: r.score_without(channels, _ablated_by_the_package),
        batch=32,
    ),
}
_OF_THE_TARGET = set(_MEASURES) - {"mutual_information"}


def _within_memory(name: str, rerun: _Rerun) -> Tensor:
    """A leaf of one image; where memory runs out, in smaller batches."""
    while True:
        try:
            return _MEASURES[name](rerun)
        except torch.OutOfMemoryError:
            if rerun.batch == 1:
                raise
            rerun.batch //= 2
            torch.cuda.empty_cache()


class _Cached:
    """Measurements of one network and layer through a cache."""

    def __init__(
        self, cache: Cache, network: nn.Module, layer: str, reshape: Reshape, explained: Resolved
    ):
        self.cache, self.explained, self.layer = cache, explained, layer
        # A function as reshape has no content that could be told apart from another's.
        self.usable = cache.folder is not None and (reshape is None or isinstance(reshape, str))
        self.reshape = str(reshape)
        self.network = network_digest(network) if self.usable else ""

    def get(self, name: str, digest: str | None, rerun: _Rerun) -> Tensor:
        target = self.explained.keys[rerun.index] if name in _OF_THE_TARGET else "any"
        if not self.usable or target is None:
            return _within_memory(name, rerun)
        key = key_of(
            leaf=name,
            network=self.network,
            layer=self.layer,
            reshape=self.reshape,
            target=target,
            image=digest or tensor_digest(rerun.image),
            shape=list(rerun.image.shape),
        )
        kept = self.cache.read(key)
        if kept is None or kept.shape != (len(rerun.activations),):
            kept = _within_memory(name, rerun)
            self.cache.write(key, kept)
        return kept.to(rerun.activations.device)
