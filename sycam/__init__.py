"""SyCAM: metric-guided synthesis of class activation maps.

Name the property that a heatmap should have; SyCAM searches the formulas of a grammar for the one
that has it most on your network and images, and shows held-out evidence for it.
"""

from importlib import import_module
from importlib.util import find_spec
from typing import Any

import lazy_loader

# The names are in __init__.pyi. Each is imported when it is first used, so that the command's help
# does not wait for torch.
_named, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> Any:
    try:
        return _named(name)
    except AttributeError:
        if name.startswith("_") or find_spec(f"{__name__}.{name}") is None:
            raise
    return import_module(f"{__name__}.{name}")  # a room, like sycam.errors
