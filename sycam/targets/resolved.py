"""What is explained, fixed image by image: a class, and a scalar of the network's outputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Integral

import torch
from torch import Tensor

from sycam.errors import DataError, OptionError
from sycam.networks.readings import USUAL, Reading

Classes = str | int | Sequence | Tensor | None


@dataclass(frozen=True)
class Resolved:
    """The scalar explained in each of N images, fixed for all perturbed copies of an image.

    Attributes:
        index: ``[N]`` int64, the class whose probability metrics watch (the predicted one for
            callables; zeros where the network has no classes).
        keys: one text per image that decides the scalar together with network and image, for
            caches; None where a callable does.
        reading: what the network's outputs are; class scores are taken of their logits.
    """

    index: Tensor
    keys: tuple[str | None, ...]
    _score: Callable[[object, Tensor], Tensor]
    _logarithm: Callable[[object, Tensor], Tensor] | None = None
    reading: Reading = USUAL

    def scores(self, outputs: object, images: Tensor | None = None) -> Tensor:
        """The scalars ``[B]`` of B rows of outputs, differentiable in them.

        Args:
            outputs: what the network returned for B inputs.
            images: ``[B]`` which of the N images each row is a copy of; row i of image i if None.
        """
        if images is None:
            images = torch.arange(len(self.index), device=self.index.device)
        return self._score(outputs, images)

    @property
    def by_callable(self) -> bool:
        """Whether a callable decides the scalar, so that the network may return anything."""
        return bool(self.keys) and self.keys[0] is None

    @property
    def logarithmic(self) -> bool:
        """Whether differences of scores are taken on a logarithmic scale, see :meth:`logarithms`:
        those of probabilities near 1 would be lost in rounding."""
        return self._logarithm is not None

    def logarithms(self, outputs: object, images: Tensor) -> Tensor:
        """The logarithms ``[B]`` of :meth:`scores`, with digits that the scores themselves lack."""
        assert self._logarithm is not None
        return self._logarithm(outputs, images)

    def subset(self, part: slice) -> Resolved:
        """The scalars of some of the images."""
        return self._of(torch.arange(len(self.index), device=self.index.device)[part])

    def copies(self, image: int, count: int) -> Resolved:
        """The scalar of one of the images, for as many copies of it."""
        return self._of(torch.full((count,), image, device=self.index.device))

    def _of(self, whole: Tensor) -> Resolved:
        logarithm = self._logarithm
        return Resolved(
            self.index[whole],
            tuple(self.keys[i] for i in whole.tolist()),
            lambda outputs, images: self._score(outputs, whole[images]),
            None
            if logarithm is None
            else lambda outputs, images: logarithm(outputs, whole[images]),
            self.reading,
        )


def class_indices(target: Classes, outputs: Tensor, labels: Tensor | None = None) -> Tensor:
    """The class explained in each image, ``[N]`` int64.

    Args:
        target: ``"predicted"`` (or None), ``"label"``, one class for all images, or one per image.
        outputs: ``[N, classes]`` class scores on the clean images.
        labels: ``[N]``, for ``"label"``.

    Raises:
        DataError: a wrong number of targets, classes that the network does not have, or any
            class but the predicted one of a network with one output.
    """
    count, classes = outputs.shape
    if target is None or (isinstance(target, str) and target == "predicted"):
        return outputs.argmax(1)
    if isinstance(target, str):
        if target != "label":
            raise OptionError(
                f"target {target!r} is not known; expected 'predicted', 'label' or class indices"
            )
        if labels is None:
            raise DataError("target 'label' needs labels, but the images have none")
        target = labels
    if isinstance(target, Integral) and not isinstance(target, bool):
        if classes == 1 or not 0 <= target < classes:
            raise _no_such_class(int(target), classes)
        target = torch.tensor(int(target))
    try:
        chosen = torch.as_tensor(target).clone()  # autograd refuses one made in inference mode
    except (TypeError, ValueError, RuntimeError, OverflowError):
        raise DataError(f"targets must be class indices or callables, got {target!r}") from None
    if chosen.ndim == 0:
        chosen = chosen.expand(count)
    if chosen.ndim != 1 or len(chosen) != count:
        raise DataError(
            f"{count} images need {count} targets, got targets of shape {tuple(chosen.shape)}"
        )
    if chosen.is_floating_point() or chosen.dtype == torch.bool:
        raise DataError(f"targets must be integers, got {chosen.dtype}")
    chosen = chosen.to(outputs.device, torch.int64)
    if classes == 1 and len(chosen):
        raise _no_such_class(int(chosen[0]), classes)
    if len(chosen) and (int(chosen.min()) < 0 or int(chosen.max()) >= classes):
        raise _no_such_class(int(chosen[(chosen < 0) | (chosen >= classes)][0]), classes)
    return chosen


def _no_such_class(wrong: int, classes: int) -> DataError:
    if classes == 1:
        # It would be 1 by labels and 0 by columns: an answer would be the wrong map for somebody.
        return DataError(
            f"target class {wrong} cannot be told: the network has one output, which is what "
            "target 'predicted' explains (the positive class, whose probability is the sigmoid); "
            "for the other class explain the callable lambda row: -row[0]"
        )
    return DataError(
        f"target class {wrong} is out of range: the network has {classes} classes, "
        f"0 to {classes - 1}"
    )
