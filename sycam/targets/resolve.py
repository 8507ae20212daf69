"""What is explained: one scalar of the network's outputs for each image.

A target says *which class* (the predicted one, the label, a given one) and *which scalar* of it:
its logit, its probability, its contrast with similar classes. A callable from one row of outputs
to a scalar explains anything else: a detection, a segmented region, a similarity.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from numbers import Integral

import torch
from torch import Tensor

from sycam.errors import DataError, SycamError
from sycam.networks.outputs import check_outputs, rows
from sycam.networks.readings import USUAL, Reading
from sycam.targets.class_targets import ClassTarget, Logit
from sycam.targets.resolved import Classes, Resolved

Target = Classes | Callable | Sequence[Callable] | ClassTarget | Resolved


def resolve(target: Target, outputs: object, count: int, labels: Tensor | None = None) -> Resolved:
    """Fix what is explained by what the network returned for the N clean images.

    Args:
        target: a :class:`ClassTarget`, classes (their logits are meant), or callables from one
            row of outputs to a scalar (as pytorch-grad-cam's targets are). One that is resolved
            already, on other copies of the same images, stays as it is.
        outputs: what the network returned; not needed for callables.
        count: N.
        labels: ``[N]``, for classes ``"label"``.

    Raises:
        DataError, NetworkError, OptionError: targets that do not fit images or outputs.
    """
    if isinstance(target, Resolved):
        return target
    callables = _callable_targets(target, count)
    if callables is None:
        kind = target if isinstance(target, ClassTarget) else _logit(target)
        return kind.resolve(check_outputs(outputs, count), labels)
    classes = isinstance(outputs, Tensor) and outputs.ndim == 2 and outputs.shape[1] > 1
    index = outputs.detach().argmax(1) if classes else torch.zeros(count, dtype=torch.int64)

    def score(given: object, images: Tensor) -> Tensor:
        made = []
        for i, row in zip(images.tolist(), rows(given, len(images)), strict=True):
            try:
                made.append(callables[i](row))
            except (SycamError, torch.OutOfMemoryError):
                raise
            except Exception as error:
                said = tuple(row.shape) if isinstance(row, Tensor) else type(row).__name__
                raise DataError(
                    f"the callable target failed on one row of the outputs ({said}): "
                    f"{type(error).__name__}: {error}"
                ) from error
        for one in made:
            if not isinstance(one, Tensor) or one.numel() != 1:
                raise DataError(
                    "a callable target must return one scalar tensor for one output row"
                )
        return torch.stack([one.reshape(()) for one in made])

    return Resolved(index, (None,) * count, score)


def reading_of(target: Target) -> Reading:
    """How the outputs are read, as the target says; callables take them as they are."""
    return target.reading if isinstance(target, ClassTarget | Resolved) else USUAL


def read_as(target: Target, reading: Reading) -> Target:
    """The target of a network whose outputs are read so; one that is resolved stays as it is."""
    if isinstance(target, Resolved) or is_callable(target) or reading == reading_of(target):
        return target
    if isinstance(target, ClassTarget):
        return replace(target, reading=reading)
    return _logit(target, reading)


def _logit(classes: Classes | Callable | Sequence[Callable], reading: Reading = USUAL) -> Logit:
    assert not callable(classes)  # which explain something else, as the callers have asked
    return Logit(classes, reading=reading)


def is_callable(target: Target) -> bool:
    """Whether callables say what is explained, so that the network may return anything."""
    if isinstance(target, Resolved):
        return target.by_callable
    if isinstance(target, Sequence) and not isinstance(target, str):
        return any(map(callable, target))
    return callable(target)


def part_of(target: Target, count: int, part: slice) -> Target:
    """The target of some of N images.

    Raises:
        DataError: targets of another number than the images.
    """
    if isinstance(target, Resolved):
        return target.subset(part)
    classes = target.of if isinstance(target, ClassTarget) else target
    if classes is None or callable(classes) or isinstance(classes, str | int | Integral):
        return target
    if getattr(classes, "ndim", 1) == 0:
        return target
    try:
        given = len(classes)
    except TypeError:
        raise DataError(f"targets must be class indices or callables, got {target!r}") from None
    if isinstance(classes, Mapping | set):
        raise DataError(f"targets must be class indices or callables, got {target!r}")
    if given != count:
        raise DataError(f"{count} images need {count} targets, got {given}")
    return replace(target, of=classes[part]) if isinstance(target, ClassTarget) else classes[part]


def _callable_targets(target: Target, count: int) -> list[Callable] | None:
    """One callable an image, or None where the targets are classes."""
    if callable(target):
        return [target] * count
    if isinstance(target, Sequence) and not isinstance(target, str) and any(map(callable, target)):
        if len(target) != count or not all(map(callable, target)):
            raise DataError(
                f"{count} images need {count} callable targets, got {len(target)} "
                f"({sum(map(callable, target))} of them callable)"
            )
        return list(target)
    return None
