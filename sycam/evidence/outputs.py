"""What a network returns: class scores that are checked, or anything that has a row an image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from sycam.errors import NetworkError
from sycam.evidence.readings import SIGMOID, SOFTMAX


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


def probabilities(outputs: Tensor, link: str = SOFTMAX) -> Tensor:
    """Class probabilities ``[N, classes]`` of logits: softmax, or sigmoid as ``link`` says and
    where there is one output."""
    return outputs.sigmoid() if _apart(outputs, link) else outputs.softmax(1)


def class_probability(outputs: Tensor, index: Tensor, link: str = SOFTMAX) -> Tensor:
    """Probability of one class an image, ``[N]``, differentiable as often as wanted.

    ``softmax`` and ``sigmoid`` return p, and their backward pass takes 1 - p of it, which nothing
    is left of in float32 where the network is confident. Here p is a function of the margin, and
    1 - p the sigmoid of its negative.

    Args:
        outputs: ``[N, classes]`` class scores.
        index: ``[N]`` the class of each image.
        link: as for :func:`probabilities`.
    """
    return _Sigmoid.apply(margin(outputs, index, link))


def class_log_probability(outputs: Tensor, index: Tensor, link: str = SOFTMAX) -> Tensor:
    """Logarithm of :func:`class_probability`: near p = 1 it has digits that p has lost."""
    return _LogSigmoid.apply(margin(outputs, index, link))


def margin(outputs: Tensor, index: Tensor, link: str = SOFTMAX) -> Tensor:
    """``[N]`` log odds of a class: its score less the logarithm of the others' summed weights
    (of a sigmoid its score)."""
    own = outputs.gather(1, index[:, None])[:, 0]
    if _apart(outputs, link):
        return own
    return own - outputs.scatter(1, index[:, None], -torch.inf).logsumexp(1)


def _apart(outputs: Tensor, link: str) -> bool:
    """Whether the outputs do not exclude each other."""
    return link == SIGMOID or outputs.shape[1] == 1


class _Sigmoid(torch.autograd.Function):
    """The sigmoid, with the derivative ``sigmoid(t) * sigmoid(-t)``."""

    @staticmethod
    def forward(ctx: Any, t: Tensor) -> Tensor:
        ctx.save_for_backward(t)
        return t.sigmoid()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (t,) = ctx.saved_tensors
        return gradient * _Sigmoid.apply(t) * _Sigmoid.apply(-t)


class _LogSigmoid(torch.autograd.Function):
    """Its logarithm, with the derivative ``sigmoid(-t)``."""

    @staticmethod
    def forward(ctx: Any, t: Tensor) -> Tensor:
        ctx.save_for_backward(t)
        return F.logsigmoid(t)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (t,) = ctx.saved_tensors
        return gradient * _Sigmoid.apply(-t)


def _entry(value: object, count: int) -> list:
    """One entry of several, cut by image; what is no batch (None, a loss) is handed on whole."""
    if value is None or isinstance(value, str | int | float):
        return [value] * count
    if isinstance(value, Tensor) and value.ndim == 0:
        return [value] * count
    return rows(value, count)


def rows(outputs: object, count: int) -> list:
    """The outputs of each image, for callable targets.

    Detection networks return a list with an entry an image, segmentation networks a mapping of
    tensors, encoders a tensor of features, networks with auxiliary heads a tuple of tensors: a
    list is taken entry by entry, each tensor is cut along its first dimension.

    Raises:
        NetworkError: the outputs have no row an image.
    """
    if isinstance(outputs, Mapping):
        columns = {key: _entry(value, count) for key, value in outputs.items()}
        return [{key: column[i] for key, column in columns.items()} for i in range(count)]
    if isinstance(outputs, tuple):
        columns = [_entry(value, count) for value in outputs]
        whole = outputs._make if hasattr(outputs, "_make") else tuple  # named tuples stay so
        return [whole(column[i] for column in columns) for i in range(count)]
    if isinstance(outputs, Tensor) and outputs.ndim and len(outputs) == count:
        return list(outputs)
    if isinstance(outputs, list):
        batches = all(isinstance(v, Tensor) and v.ndim and len(v) == count for v in outputs)
        if not batches and len(outputs) == count:
            return outputs
        if outputs and batches and len(outputs) != count:
            return [[value[i] for value in outputs] for i in range(count)]
        if outputs and batches and count > 1:
            raise NetworkError(
                f"the network returned a list of {count} tensors with {count} rows each for {count}"
                " images: whether an entry is an image or a head cannot be told; wrap it in a "
                "module that returns a tuple of heads, or explain another number of images"
            )
        if batches:
            return outputs
    shape = tuple(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
    raise NetworkError(f"the network returned {shape} for {count} images: not one row an image")
