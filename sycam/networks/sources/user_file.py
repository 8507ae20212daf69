"""Users' Python files, and networks from them: ``FILE.py:FACTORY``."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from sycam.errors import NetworkError, SycamError, unknown_name
from sycam.support.permission import permit


def import_file(file: str | Path, kind: str, refusal: type[SycamError]) -> ModuleType:
    """The user's own Python file as a module; it is run as a program of theirs.

    Args:
        file: the ``.py`` file.
        kind: what it is for, in words, e.g. ``"network"``.
        refusal: the error where it does not exist or fails.

    Raises:
        TrustError: a run names it whose user does not, see :mod:`sycam.support.permission`.
    """
    path = Path(file)
    permit(path, kind)
    if not path.is_file():
        raise refusal(f"{kind} file '{file}' does not exist")
    spec = importlib.util.spec_from_file_location(f"sycam_{kind}_{path.stem}", path)
    if spec is None:
        raise refusal(f"{kind} file '{file}' is no Python file; its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # as import does; dataclasses look their module up
    sys.path.insert(0, str(path.resolve().parent))  # as for a script, so that it finds siblings
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[spec.name]
        said = str(error) if isinstance(error, SycamError) else f"{type(error).__name__}: {error}"
        raise refusal(f"{kind} file '{file}' failed: {said}") from error
    finally:
        sys.path.remove(str(path.resolve().parent))
    return module


def import_function(source: str, kind: str, refusal: type[SycamError], role: str = "") -> Any:
    """What ``FILE.py:NAME`` names.

    Args:
        source: the file is the user's own program and is run as such.
        kind, refusal: as for :func:`import_file`.
        role: what it is in the file, in words, if not of that kind.

    Raises:
        UnknownNameError: the file has no such function; the nearest are told.
    """
    file, _, name = source.rpartition(":")
    module = import_file(file, kind, refusal)
    function = getattr(module, name, None)
    if function is None:
        known = [n for n, v in vars(module).items() if callable(v) and not n.startswith("_")]
        raise unknown_name(f"{role or kind} in '{file}'", name, known)
    return function


def load_network(source: str) -> nn.Module:
    """The network that ``source`` names, in evaluation mode.

    Args:
        source: ``FILE.py:FACTORY``, FACTORY being a function without arguments that returns an
            ``nn.Module``. The file is the user's own program and is run as such.

    Raises:
        NetworkError: the file or the function cannot be used.
    """
    file, separator, factory = str(source).rpartition(":")
    if not separator or not file.endswith(".py") or not factory:
        raise NetworkError(
            f"network {source!r} is not known; expected 'demo', torchvision:NAME, timm:NAME or "
            "FILE.py:FACTORY"
        )
    function = import_function(str(source), "network", NetworkError, "factory")
    try:
        network = function()
    except SycamError:
        raise
    except Exception as error:
        raise NetworkError(
            f"{source} failed: {type(error).__name__}: {error} (a factory takes no arguments)"
        ) from error
    if not isinstance(network, nn.Module):
        raise NetworkError(
            f"{source} returned {type(network).__name__}, expected a torch.nn.Module"
        )
    return network.eval()
