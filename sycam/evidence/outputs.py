"""What a network returns: class scores that are checked, or anything that has a row an image."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from sycam.errors import NetworkError


def check_outputs(outputs: object, count: int) -> Tensor:
    """The network's outputs ``[N, classes]``, or a NetworkError that says what came instead."""
    if not isinstance(outputs, Tensor):
        raise NetworkError(
            f"the network returned {type(outputs).__name__}, expected a tensor (N, classes); "
            "wrap it in a module that returns the class scores, or explain a callable target"
        )
    if outputs.ndim != 2 or outputs.shape[0] != count:
        raise NetworkError(
            f"the network returned a tensor of shape {tuple(outputs.shape)} for {count} images, "
            f"expected ({count}, classes); wrap it in a module that returns the class scores, or "
            "explain a callable target"
        )
    if not torch.isfinite(outputs).all():
        raise NetworkError("the network returned NaN or infinite class scores; check its input")
    return outputs


def probabilities(outputs: Tensor) -> Tensor:
    """Class probabilities ``[N, classes]``: softmax; sigmoid where there is one output."""
    return outputs.sigmoid() if outputs.shape[1] == 1 else outputs.softmax(1)


def rows(outputs: object, count: int) -> list:
    """The outputs of each image, for callable targets.

    Detection networks return a list with an entry an image, segmentation networks a mapping of
    tensors, encoders a tensor of features, networks with auxiliary heads a tuple of tensors: a
    list is taken entry by entry, each tensor is cut along its first dimension.

    Raises:
        NetworkError: the outputs have no row an image.
    """
    if isinstance(outputs, Mapping):
        columns = {key: rows(value, count) for key, value in outputs.items()}
        return [{key: column[i] for key, column in columns.items()} for i in range(count)]
    if isinstance(outputs, tuple):
        columns = [rows(value, count) for value in outputs]
        return [tuple(column[i] for column in columns) for i in range(count)]
    if isinstance(outputs, Tensor | list) and len(outputs) == count:
        return list(outputs)
    shape = tuple(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
    raise NetworkError(f"the network returned {shape} for {count} images: not one row an image")
