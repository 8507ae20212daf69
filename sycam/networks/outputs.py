"""What a network returns: class scores that are checked, or anything that has a row per image."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sycam.errors import NetworkError
from sycam.networks.output_forms import SIGMOID, SOFTMAX


def tensors(outputs: object) -> Iterator[Tensor]:
    """The tensors in what a network or module returned: one, or in tuples, lists and mappings."""
    if isinstance(outputs, Tensor):
        yield outputs
    elif isinstance(outputs, Mapping):
        for value in outputs.values():
            yield from tensors(value)
    elif isinstance(outputs, list | tuple):
        for value in outputs:
            yield from tensors(value)


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
    """Probability of one class per image, ``[N]``, differentiable as often as wanted.

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


LEVELS = 4  # of containers and objects in one another: an object may lead to the whole program


class Heads(list):
    """A list of heads, a tensor of all images each."""


class Images(list):
    """A list with an entry per image."""


def either(outputs: object) -> bool:
    """Whether a list may be one of heads or one of images: an entry has as many rows as it has
    entries."""
    if not isinstance(outputs, list) or isinstance(outputs, Heads | Images):
        return False
    return any(_may_be_cut(entry, len(outputs)) for entry in outputs)


def _may_be_cut(entry: object, count: int, levels: int = LEVELS) -> bool:
    if isinstance(entry, Tensor):
        return entry.ndim > 0 and len(entry) == count
    if not levels:
        return False
    inner = enumerate(entry) if isinstance(entry, list) else (entries(entry) or {}).items()
    return any(_may_be_cut(one, count, levels - 1) for _, one in inner)


def rows(outputs: object, count: int) -> list:
    """The outputs of each image, for callable targets.

    Detection networks return a list with an entry per image, segmentation networks a mapping of
    tensors, encoders a tensor of features, networks with auxiliary heads a tuple or list of
    tensors, transformers an object with named tensors. Each tensor is cut along its first
    dimension. A row has the type and the attributes of the whole; entries that are no batch (None,
    a loss, a text) are handed on as they are.

    Raises:
        NetworkError: the outputs have no row per image.
    """
    cut = _cut(outputs, count)
    if cut is None:
        shape = tuple(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
        raise NetworkError(
            f"the network returned {shape} for {count} images: not one row per image; wrap it in a "
            "module that returns tensors with the images first, or a tuple, list, mapping or "
            "object of such"
        )
    return cut


def _cut(outputs: object, count: int, levels: int = LEVELS) -> list | None:
    """The rows of what is a batch, else None."""
    if isinstance(outputs, Tensor):
        return list(outputs) if outputs.ndim and len(outputs) == count else None
    if not levels:
        return None
    if isinstance(outputs, list):
        return _of_list(outputs, count, levels)
    columns = _columns(entries(outputs) or {}, count, levels)
    if columns is None:
        return None
    return [rebuilt(outputs, {k: column[i] for k, column in columns.items()}) for i in range(count)]


def _columns(entries: dict, count: int, levels: int) -> dict | None:
    """The entries cut by image; None where none of them is a batch."""
    cut = {key: _cut(value, count, levels - 1) for key, value in entries.items()}
    if all(column is None for column in cut.values()):
        return None
    return {k: [entries[k]] * count if c is None else c for k, c in cut.items()}


def _of_list(outputs: list, count: int, levels: int) -> list | None:
    if len(outputs) == count and not isinstance(outputs, Heads):
        if count > 1 and either(outputs):
            raise NetworkError(
                f"the network returned a list of {count} entries, of which some have {count} rows, "
                f"for {count} images: whether an entry is an image or a head cannot be told; wrap "
                "it in a module that returns a tuple of heads, or explain another number of images"
            )
        return list(outputs)
    columns = _columns(dict(enumerate(outputs)), count, levels)
    if columns is None:
        return None
    return [[column[i] for column in columns.values()] for i in range(count)]


def entries(outputs: object) -> dict | None:
    """What a tuple, mapping or object holds, by place, key or attribute; None of anything else."""
    if isinstance(outputs, tuple):
        return dict(enumerate(outputs))
    if isinstance(outputs, Mapping):
        return dict(outputs)
    if isinstance(outputs, type | nn.Module | str | bytes | Tensor | list) or callable(outputs):
        return None
    return _attributes(outputs) or None


def rebuilt(outputs: Any, entries: dict) -> Any:
    """A tuple, mapping or object of the same type and attributes with other entries.

    Constructors of objects are not run: they may want other arguments.
    """
    if isinstance(outputs, tuple):
        whole = outputs._make if hasattr(outputs, "_make") else tuple  # named tuples stay so
        return whole(entries.values())
    if isinstance(outputs, Mapping) and (type(outputs) is dict or not isinstance(outputs, dict)):
        return entries
    made = type(outputs).__new__(type(outputs))
    if not isinstance(outputs, dict):
        for name, value in entries.items():
            object.__setattr__(made, name, value)  # frozen ones, too
        return made
    for name, value in _attributes(outputs).items():
        same = name in outputs and value is outputs[name]
        object.__setattr__(made, name, entries[name] if same else value)
    for key, value in entries.items():
        made[key] = value
    return made


def _attributes(thing: object) -> dict:
    """An object's own attributes, and those that its class has slots for."""
    attributes = dict(getattr(thing, "__dict__", {}))
    for kind in type(thing).__mro__:
        slots = vars(kind).get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if name not in ("__dict__", "__weakref__") and hasattr(thing, name):
                attributes[name] = getattr(thing, name)
    return attributes
