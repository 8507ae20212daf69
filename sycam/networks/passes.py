"""Passes of several threads through one network, kept apart.

Torch alone: exported modules carry a copy, from the marker on.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import nn
from torch.utils.hooks import RemovableHandle

# --- exported from here on ---


def alone() -> threading.RLock:
    """The lock that a thread holds while it explains.

    One for the process, not one a network: networks share modules, and all share torch's
    generators. It lies where SyCAM and the modules that it exports find the same one.
    """
    return vars(nn).setdefault("_one_explanation_at_a_time", threading.RLock())


class _Here:
    """A hook for the passes of the thread that made it; a copy of it, with a network's, is idle."""

    def __init__(self, hook: Callable | None = None):
        self._hook, self._thread = hook, threading.get_ident()

    def __call__(self, *arguments: object) -> object:
        if self._hook is not None and threading.get_ident() == self._thread:
            return self._hook(*arguments)
        return None

    def __reduce__(self) -> tuple:
        return _Here, ()


@contextmanager
def hooked(*hooks: tuple[Callable[[Callable], RemovableHandle], Callable]) -> Iterator[None]:
    """Hooks that see this thread's passes, not those of others through the same network.

    To be entered where :func:`alone` is held, so that no other thread that explains copies them.

    Args:
        hooks: pairs of what registers a hook, like ``layer.register_forward_hook``, and the hook.
    """
    handles: list[RemovableHandle] = []
    try:
        handles.extend(register(_Here(hook)) for register, hook in hooks)
        yield
    finally:
        for handle in handles:
            handle.remove()
