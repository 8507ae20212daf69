"""What a network returns: class scores that are checked, or anything that has a row an image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

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


class Heads(list):
    """A list of heads, a tensor of all images each."""


class Images(list):
    """A list with an entry an image."""


def either(outputs: object) -> bool:
    """Whether a list may be one of heads or one of images: as many tensors as each has rows."""
    if not isinstance(outputs, list) or isinstance(outputs, Heads | Images) or not outputs:
        return False
    return all(isinstance(v, Tensor) and v.ndim and len(v) == len(outputs) for v in outputs)


def rows(outputs: object, count: int) -> list:
    """The outputs of each image, for callable targets.

    Detection networks return a list with an entry an image, segmentation networks a mapping of
    tensors, encoders a tensor of features, networks with auxiliary heads a tuple or list of
    tensors, transformers an object with named tensors. Each tensor is cut along its first
    dimension. A row has the type and the attributes of the whole; entries that are no batch (None,
    a loss, a text) are handed on as they are.

    Raises:
        NetworkError: the outputs have no row an image.
    """
    found = _cut(outputs, count)
    if found is None:
        shape = tuple(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
        raise NetworkError(f"the network returned {shape} for {count} images: not one row an image")
    return found


def _cut(outputs: object, count: int) -> list | None:
    """The rows of what is a batch, else None."""
    if isinstance(outputs, Tensor):
        return list(outputs) if outputs.ndim and len(outputs) == count else None
    if isinstance(outputs, list):
        return _of_list(outputs, count)
    if isinstance(outputs, tuple):
        columns = _columns(dict(enumerate(outputs)), count)
        whole = outputs._make if hasattr(outputs, "_make") else tuple  # named tuples stay so
        return columns and [whole(c[i] for c in columns.values()) for i in range(count)]
    if isinstance(outputs, Mapping):
        columns = _columns(dict(outputs), count)
        return columns and [_mapping(outputs, columns, i) for i in range(count)]
    if isinstance(outputs, type | nn.Module) or not (is_dataclass(outputs) or _attributes(outputs)):
        return None
    named = _attributes(outputs)
    if is_dataclass(outputs):  # which may have slots
        named |= {one.name: getattr(outputs, one.name) for one in fields(outputs)}
    columns = _columns(named, count)
    return columns and [_with(outputs, columns, i) for i in range(count)]


def _columns(entries: dict, count: int) -> dict | None:
    """The entries cut by image; None where none of them is a batch."""
    found = {key: _cut(value, count) for key, value in entries.items()}
    if all(column is None for column in found.values()):
        return None
    return {k: [entries[k]] * count if c is None else c for k, c in found.items()}


def _of_list(outputs: list, count: int) -> list | None:
    heads = all(isinstance(v, Tensor) and v.ndim and len(v) == count for v in outputs)
    if heads and outputs and not isinstance(outputs, Images):
        if count > 1 and either(outputs):
            raise NetworkError(
                f"the network returned a list of {count} tensors with {count} rows each for {count}"
                " images: whether an entry is an image or a head cannot be told; wrap it in a "
                "module that returns a tuple of heads, or explain another number of images"
            )
        if isinstance(outputs, Heads) or len(outputs) != count:
            return [[value[i] for value in outputs] for i in range(count)]
    return list(outputs) if len(outputs) == count else None


def _attributes(thing: object) -> dict:
    """An object's own attributes."""
    return dict(getattr(thing, "__dict__", {}))


def _with(outputs: object, columns: dict, i: int) -> object:
    """An object of the same type with the entries of one image and its other attributes.

    Its constructor is not run, which may want other arguments.
    """
    row = type(outputs).__new__(type(outputs))
    entries = _attributes(outputs) | {name: column[i] for name, column in columns.items()}
    for name, value in entries.items():
        object.__setattr__(row, name, value)  # frozen ones, too
    return row


def _mapping(outputs: Mapping, columns: dict, i: int) -> Mapping:
    """A mapping with the entries of one image; a dict of the same type, also its attributes."""
    entries = {key: column[i] for key, column in columns.items()}
    if type(outputs) is dict or not isinstance(outputs, dict):
        return entries
    row = type(outputs).__new__(type(outputs))
    for name, value in _attributes(outputs).items():
        same = name in outputs and value is outputs[name]
        object.__setattr__(row, name, entries[name] if same else value)
    for key, value in entries.items():
        row[key] = value
    return row
