"""Evidence with any leaves: the pass that all share, then what takes passes of its own."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from sycam.errors import LayerError
from sycam.evidence.cache import Cache, key_of
from sycam.evidence.capture import BATCH, Evidence, measure_layers
from sycam.evidence.layer import Layer
from sycam.evidence.leaves.rerun import Rerun
from sycam.evidence.leaves.table import MEASURED, Leaf
from sycam.language.mirroring import mirrored, split_mirrored
from sycam.language.signatures import HEAT, MAP, WEIGHT
from sycam.networks.untouched import untouched
from sycam.support.content_digest import network_digest, tensor_digest
from sycam.support.mapped_tensor import blank
from sycam.targets.resolve import Target, resolve
from sycam.targets.resolved import Resolved

Progress = Callable[[str, str, int, int], None]  # leaf, layer, images done and their number


@dataclass(frozen=True)
class Examples:
    """Images to be measured, with what is known of them.

    Attributes:
        images: ``[N,C,H,W]`` or ``[N,C,D,H,W]`` in the network's input scale.
        labels: ``[N]``, for target ``"label"``.
        digests: content hash of each image, by which measurements are kept; None to take it where
            it is needed.
    """

    images: Tensor
    labels: Tensor | None = None
    digests: Sequence[str] | None = None

    def __len__(self) -> int:
        return len(self.images)


def measure_leaves(
    network: nn.Module,
    layers: Sequence[Layer],
    examples: Examples,
    leaves: Collection[str],
    target: Target = "predicted",
    batch: int = BATCH,
    cache: Cache | None = None,
    progress: Progress | None = None,
) -> tuple[Evidence, ...]:
    """Evidence at each layer with all the leaves named: :func:`measure_layers`, then
    :func:`add_leaves`.

    Args:
        network, target, batch: as for :func:`measure_layers`.
        layers: of :func:`sycam.evidence.find_layer`.
        examples: the images.
        leaves: what to measure beside the activations; the score is differentiated as often as
            they need it, not at all where none does. Those of the images flipped left-right, by
            names of :mod:`sycam.language.mirroring`, are of what is explained of the images.
        cache: as for :func:`add_leaves`.
        progress: as there; what the pass gives that all share counts as ``"activations"``, of no
            layer.
    """

    def measured(done: int) -> None:
        if progress:
            progress("activations", "", done, len(examples))

    leaves, flipped = split_mirrored(leaves)
    derivatives = max((MEASURED[n].derivatives for n in leaves if n in MEASURED), default=0)
    evidence = measure_layers(
        network, layers, examples.images, target, examples.labels, batch, measured, derivatives
    )
    evidence = tuple(
        add_leaves(one, leaves, network, layer, examples, target, cache, progress)
        for layer, one in zip(layers, evidence, strict=True)
    )
    if not flipped:
        return evidence

    def measured_flipped(leaf: str, layer: str, done: int, count: int) -> None:
        if progress:
            progress(mirrored(leaf), layer, done, count)

    explained = resolve(target, evidence[0].outputs, len(examples), examples.labels)
    mirror_images = Examples(examples.images.flip(-1))
    partners = measure_leaves(
        network, layers, mirror_images, flipped, explained, batch, cache, measured_flipped
    )
    return tuple(
        replace(one, others={**one.others, **{mirrored(n): partner.leaves[n] for n in flipped}})
        for one, partner in zip(evidence, partners, strict=True)
    )


@torch.inference_mode(False)  # a reshape is differentiated to find a channel's entries
def add_leaves(
    evidence: Evidence,
    names: Collection[str],
    network: nn.Module,
    layer: Layer,
    examples: Examples,
    target: Target = "predicted",
    cache: Cache | None = None,
    progress: Progress | None = None,
) -> Evidence:
    """The evidence with further leaves of the same images.

    Memory is bounded: altered copies are taken in micro-batches, one image at a time, so that
    results do not depend on the other images. A finished image is kept in the cache at once.

    Args:
        evidence: of :func:`sycam.evidence.measure` with the same arguments.
        names: leaves to have; those that are there already cost nothing.
        network, layer, examples, target: of the evidence.
        cache: where measurements are kept; nowhere if None, or where a callable is explained.
        progress: called with the leaf's name, the layer's, the images done and their number.

    Raises:
        LayerError: the network has no such leaf at this layer.
    """
    wanted = [name for name in names if name not in evidence.leaves]
    if not wanted:
        return evidence
    found, like = dict(evidence.others), evidence.activations
    asked = [leaf for leaf in MEASURED.values() if leaf.name in wanted]
    for leaf in asked:
        if leaf.of_evidence is not None:
            found[leaf.name] = _spread(leaf.of_evidence(network, evidence).to(like), leaf)
    slow = [leaf for leaf in asked if leaf.of_image is not None]
    unknown = set(wanted) - found.keys() - {leaf.name for leaf in slow}
    if unknown:
        raise LayerError(f"leaf {min(unknown)!r} was not measured")
    if slow:
        explained = resolve(target, evidence.outputs, len(examples), examples.labels)
        with untouched(network):  # what forward changes of the buffers enters the network's digest
            cached = _Cached(cache or Cache(None), network, layer, explained)
        for leaf in slow:
            values = blank((len(examples), *_shape(leaf, evidence)), like.dtype, like.device)
            for i, image in enumerate(examples.images):
                rerun = Rerun(network, layer, image, evidence, explained, i)
                digest = examples.digests[i] if examples.digests is not None else None
                # Image by image: other threads need not wait for all, and a network that samples
                # gives each image what it gives it alone.
                with untouched(network), torch.no_grad():
                    values[i] = cached.get(leaf, digest, rerun)
                if progress:
                    progress(leaf.name, layer.name, i + 1, len(examples))
            found[leaf.name] = _spread(values, leaf)
    return replace(evidence, others=found)


def _shape(leaf: Leaf, evidence: Evidence) -> tuple[int, ...]:
    """Of a leaf's values on one image."""
    channels, *grid = evidence.activations.shape[1:]
    return {WEIGHT: (channels,), MAP: (channels, *grid), HEAT: tuple(grid)}[leaf.sort]


def _spread(values: Tensor, leaf: Leaf) -> Tensor:
    """Values of all images, ``[N, ...]``, with a weight's places and a heat's channel."""
    if leaf.sort == WEIGHT:
        return values[..., None, None]
    return values[:, None] if leaf.sort == HEAT else values


def _within_memory(leaf: Leaf, rerun: Rerun) -> Tensor:
    """A leaf of one image; where memory runs out, in smaller batches."""
    while True:
        try:
            return leaf.of_image(rerun)
        except torch.OutOfMemoryError:
            if rerun.batch == 1:
                raise
            rerun.batch //= 2
            torch.cuda.empty_cache()


class _Cached:
    """Measurements of one network and layer through a cache."""

    def __init__(self, cache: Cache, network: nn.Module, layer: Layer, explained: Resolved):
        self.cache, self.explained, self.layer = cache, explained, layer
        # A function as reshape has no content that could be told apart from another's.
        named = layer.reshape is None or isinstance(layer.reshape, str)
        self.usable = cache.folder is not None and named
        self.network = network_digest(network) if self.usable else ""

    def get(self, leaf: Leaf, digest: str | None, rerun: Rerun) -> Tensor:
        target = self.explained.keys[rerun.index] if leaf.of_target else "any"
        if not self.usable or target is None:
            return _within_memory(leaf, rerun)
        key = key_of(
            leaf=leaf.name,
            network=self.network,
            layer=self.layer.name,
            reshape=str(self.layer.reshape),
            target=target,
            image=digest or tensor_digest(rerun.image),
            shape=list(rerun.image.shape),
        )
        kept = self.cache.read(key)
        if kept is None or kept.shape != _shape(leaf, rerun.evidence):
            kept = _within_memory(leaf, rerun)
            self.cache.write(key, kept)
        return kept.to(rerun.activations.device)
