"""The network as a fast, frozen function from images to probabilities."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from sycam.errors import NetworkError, OptionError
from sycam.evidence.capture import forward
from sycam.evidence.outputs import check_outputs, probabilities, rows
from sycam.evidence.untouched import device_of, untouched

CPU_BATCH = 64  # larger batches fall out of the cores' caches (measured on small networks)
GPU_BATCH = 512


class Classifier:
    """Forward passes on perturbed images, on a copy of the network (``network``).

    The copy is laid out channels last, unless the network cannot run so.

    Args:
        network: the user's network; it is copied, never changed.
        device: where to run; the network's own device if None.
        batch: images a forward pass; halved when memory runs out, then kept.
        score: where a callable target is explained, that callable: its value takes the place of
            the probability, and the network may return anything.
    """

    def __init__(
        self,
        network: nn.Module,
        device: torch.device | None = None,
        batch: int | None = None,
        score: Callable[[object], Tensor] | None = None,
    ):
        self.score = score
        self.device = torch.device(device) if device is not None else device_of(network)
        try:
            with untouched(network):
                twin = copy.deepcopy(network)
        except Exception as error:
            raise NetworkError(
                f"the network cannot be copied: {type(error).__name__}: {error}"
            ) from error
        volumes = any(parameter.ndim == 5 for parameter in twin.parameters())
        self._layout = torch.contiguous_format if volumes else torch.channels_last
        self.network = twin.to(self.device).eval().requires_grad_(False)
        self.network.to(memory_format=self._layout)
        self.batch = batch or (GPU_BATCH if self.device.type == "cuda" else CPU_BATCH)
        self.passes = 0

    def probability(self, images: Tensor, targets: Tensor) -> Tensor:
        """Probability of each image's target class.

        Args:
            images: ``[B,C,H,W]``, any B.
            targets: ``[B]`` class indices, or ``[B,T]`` several an image.

        Returns:
            Tensor float32 of the targets' shape.

        Raises:
            OptionError: several classes an image where a callable is explained.
        """
        if self.score is not None and targets.ndim > 1:
            raise OptionError("a callable target has one value an image, not one a class")
        targets = targets.to(self.device)
        found = targets.new_empty(targets.shape, dtype=torch.float32)
        for part, outputs in self._run(images):
            found[part] = self._confidence(outputs, targets[part])
        return found

    def predictions(self, images: Tensor) -> Tensor:
        """``[B]`` int64, the likeliest class of each image (of one output: whether it is
        positive).

        Raises:
            OptionError: a callable is explained, so that there are no classes.
        """
        if self.score is not None:
            raise OptionError("a callable target says nothing of classes, so none is predicted")
        found = torch.empty(len(images), dtype=torch.int64, device=self.device)
        for part, outputs in self._run(images):
            found[part] = outputs.argmax(1) if outputs.shape[1] > 1 else (outputs[:, 0] > 0).long()
        return found

    @torch.inference_mode()
    def _run(self, images: Tensor) -> Iterator[tuple[slice, object]]:
        """Outputs part by part; where memory runs out, in smaller parts."""
        start = 0
        while start < len(images):
            part = slice(start, start + self.batch)
            try:
                batch = images[part].to(self.device)
                if batch.ndim == 4:
                    batch = batch.contiguous(memory_format=self._layout)
                outputs = forward(self.network, batch)
                if self.score is None:
                    check_outputs(outputs, len(batch))
            except NetworkError as error:
                if self._layout is torch.contiguous_format or not isinstance(
                    error.__cause__, RuntimeError
                ):
                    raise
                # A network that calls view() on activations needs the usual layout.
                self._layout = torch.contiguous_format
                self.network.to(memory_format=self._layout)
                continue
            except torch.OutOfMemoryError:
                if self.batch == 1:
                    raise
                self.batch //= 2
                torch.cuda.empty_cache()
                continue
            self.passes += len(batch)
            start += len(batch)
            yield part, outputs

    def _confidence(self, outputs: object, targets: Tensor) -> Tensor:
        if self.score is not None:
            return torch.stack([self.score(row).reshape(()) for row in rows(outputs, len(targets))])
        found = probabilities(outputs).gather(1, targets.view(len(targets), -1)).float()
        return found.view(targets.shape)
