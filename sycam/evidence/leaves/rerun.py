"""One image shown to the network again, it or the layer's output altered."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from sycam.errors import LayerError
from sycam.evidence.capture import Evidence, measure
from sycam.evidence.layer import Layer
from sycam.evidence.leaves.ablation import ablation_drops
from sycam.evidence.leaves.fitted import fitted_weights
from sycam.evidence.leaves.places import keep_places
from sycam.networks.forward import forward
from sycam.networks.layouts.reshaping import rows_of, to_map, zero_channels
from sycam.networks.outputs import check_outputs, class_probability
from sycam.networks.passes import hooked
from sycam.networks.untouched import device_of
from sycam.targets.resolved import Resolved

CPU_BATCH, GPU_BATCH = 64, 256  # rows a forward pass, at most
ROOM = 2**27  # bytes of altered images and layer outputs a forward pass, about


class Rerun:
    """The network on altered copies of one image.

    Args:
        network: in evaluation mode.
        layer: the target layer.
        image: ``[C,H,W]`` or ``[C,D,H,W]``.
        evidence: of all images.
        explained: of all images.
        index: of the image among them.

    Attributes:
        image: on the network's device.
        activations: ``[K,h,w]`` or ``[K,d,h,w]`` of the image.
        clean: the target's score, a scalar.
        batch: altered copies a forward pass.
    """

    def __init__(
        self,
        network: nn.Module,
        layer: Layer,
        image: Tensor,
        evidence: Evidence,
        explained: Resolved,
        index: int,
    ):
        self.network, self.layer = network, layer
        self.image = image.to(device_of(network))
        self.evidence, self.explained, self.index = evidence, explained, index
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

    def fitted_weights(self) -> Tensor:
        """Opti-CAM's weights ``[K]``."""
        row = torch.tensor([self.index], device=self.explained.index.device)

        def score(image: Tensor) -> Tensor:
            return self.explained.scores(self._forward(image), row)

        return fitted_weights(self.image, self.activations, score)

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

    def score_without(self, channels: Tensor, logarithmic: bool = False) -> Tensor:
        """The target's score, or its logarithm, with one channel a row set to zero."""

        def zeroed(output: Tensor, channels: Tensor) -> Tensor:
            return zero_channels(output, channels, self.layer.reshape, self.layer.module)

        return self._altered(channels, zeroed, partial(self._scores, logarithmic=logarithmic))

    def score_altered(self, channels: Tensor, alter: Callable[[Tensor, Tensor], object]) -> Tensor:
        """The target's score with one channel a row altered in the map ``[B,K,h,w]``, in place."""

        def altered(output: Tensor, channels: Tensor) -> Tensor:
            maps = to_map(output, self.layer.reshape, self.layer.module)
            if maps.untyped_storage().data_ptr() != output.untyped_storage().data_ptr():
                raise LayerError(
                    "what alters single channels needs a reshape that returns a view of the "
                    "layer's output (permute, unflatten, slices), got a copy"
                )
            alter(maps, channels)
            return output

        return self._altered(channels, altered, self._scores)

    def probability_with(self, places: Tensor) -> Tensor:
        """Probability of the class explained (a callable's score) with all places of the layer
        zero but one a row."""

        def kept(output: Tensor, places: Tensor) -> Tensor:
            return keep_places(output, places, self.layer.reshape, self.layer.module)

        return self._altered(places, kept, self._probabilities)

    def mean_gradients(self, copies: Tensor) -> Tensor:
        """Gradients of the target's score ``[K,d*h,w]``, mean over altered copies of the image."""
        target = self.explained.copies(self.index, len(copies))
        measured = measure(self.network, self.layer, copies, target, batch=self.batch)
        return measured.gradients.mean(0)

    def _altered(
        self,
        which: Tensor,
        alter: Callable[[Tensor, Tensor], Tensor],
        read: Callable[[object, int], Tensor],
    ) -> Tensor:
        """What is read of the outputs where the layer's output is altered in each row.

        Args:
            which: ``[B]`` channel or place to alter in each row.
            alter: the layer's output for B images and these to the altered output; it may change
                its argument.
            read: from the outputs and B to numbers ``[B]``.
        """
        count = len(which)

        def replaced(_module: nn.Module, _inputs: tuple, output: Tensor) -> Tensor:
            return alter(rows_of(output, count, self.layer.reshape), which)

        with hooked((self.layer.module.register_forward_hook, replaced)):
            if self._narrow:
                # Up to the layer all rows are alike: run it once, and spread the rows there.
                try:
                    return read(self._forward(self.image[None]), count)
                except (LayerError, torch.OutOfMemoryError):
                    raise
                except Exception:
                    self._narrow = False  # the network looks at its input's batch elsewhere
            whole = self.image[None].expand(count, *self.image.shape)
            return read(self._forward(whole), count)

    def _forward(self, images: Tensor) -> object:
        return forward(self.network, images, self.explained.reading)

    def _scores(self, outputs: object, count: int, logarithmic: bool = False) -> Tensor:
        rows = torch.full((count,), self.index, device=self.explained.index.device)
        if logarithmic:
            return self.explained.logarithms(outputs, rows).detach()
        return self.explained.scores(outputs, rows).detach()

    def _probabilities(self, outputs: object, count: int) -> Tensor:
        if self.explained.by_callable:
            return self._scores(outputs, count)
        index = self.explained.index[self.index].expand(count)
        link = self.explained.reading.link
        return class_probability(check_outputs(outputs, count), index, link).detach()
