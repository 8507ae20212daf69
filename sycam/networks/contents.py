"""What a network's attributes hold, and how it is put back: lists, dicts, sets, arrays, objects."""

from __future__ import annotations

import sys
from collections import deque
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

OF_MODULES = frozenset(vars(nn.Module()))  # attributes of torch's own
Held = list[tuple[Any, Any]]


def contents(network: nn.Module) -> Held:
    """What ``forward`` may change in place of the modules' attributes, with copies of its entries.

    Containers (nested ones, too), tensors that are no parameters or buffers, arrays, random
    generators, and the attributes of objects that a module holds. Of those, objects further down
    are not followed: a module may know the whole program.
    """
    held: dict[int, tuple[Any, Any]] = {}
    waiting = []
    for module in network.modules():
        for name, value in vars(module).items():
            if name not in OF_MODULES and not isinstance(value, str | int | float | nn.Module):
                waiting.append(value)
                if _is_object(value):
                    waiting.append(vars(value))
    while waiting:
        value = waiting.pop()
        if id(value) in held:
            continue
        if isinstance(value, tuple):
            waiting.extend(value)
        elif isinstance(value, dict):
            held[id(value)] = value, dict(value)
            waiting.extend(value.values())
        elif isinstance(value, list | deque | set):
            held[id(value)] = value, list(value)
            waiting.extend(value)
        elif isinstance(value, Tensor) and not isinstance(value, nn.Parameter):
            if not value.is_meta:
                held[id(value)] = value, value.detach().clone()
        elif isinstance(value, np.ndarray):
            held[id(value)] = value, value.copy()
        elif isinstance(value, torch.Generator):
            held[id(value)] = value, value.get_state()
    return list(held.values())


def refill(held: Held) -> None:
    """Put back what :func:`contents` found, where it is something else now."""
    for value, before in held:
        if isinstance(value, Tensor):
            with torch.no_grad():
                if value.shape == before.shape and not torch.equal(value, before):
                    value.copy_(before)
        elif isinstance(value, np.ndarray):
            if value.shape == before.shape and value.flags.writeable:
                value[...] = before
        elif isinstance(value, torch.Generator):
            value.set_state(before)
        elif isinstance(value, dict):
            if len(value) != len(before) or any(
                k is not j or v is not w
                for (k, v), (j, w) in zip(value.items(), before.items(), strict=True)
            ):
                value.clear()
                value.update(before)
        elif len(value) != len(before) or any(
            a is not b for a, b in zip(value, before, strict=True)
        ):
            value.clear()
            value.update(before) if isinstance(value, set) else value.extend(before)


def _is_object(value: object) -> bool:
    """Whether it is somebody's own: queues and loggers are shared with other threads."""
    package = type(value).__module__.partition(".")[0]
    theirs = (package in sys.stdlib_module_names and package != "types") or package == "torch"
    return hasattr(value, "__dict__") and not theirs and not isinstance(value, type)
