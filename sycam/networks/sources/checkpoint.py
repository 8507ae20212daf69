"""Loading a file of weights into a network of known architecture, every name accounted for."""

from __future__ import annotations

import argparse
import hashlib
import pickle
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from sycam.data.weights import COUNTER
from sycam.errors import NetworkError
from sycam.support.arguments import argument
from sycam.support.files import open_plain

WRAPPERS = ("state_dict", "model_state_dict", "model", "network", "net", "weights")
"""Under which names training scripts keep the weights in a larger dictionary."""

PREFIXES = ("module.", "_orig_mod.", "model.", "network.", "net.")
"""What DataParallel, torch.compile and modules around the network put before each name."""

SHOWN = 3  # names that a message lists


def read_weights(file: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint by their names in the file, half precision as single.

    Nothing in the file is executed: safetensors, or what ``torch.load(weights_only=True)`` takes.

    Args:
        file: ``.safetensors``; or a state dict saved by torch, alone or wrapped.

    Raises:
        NetworkError: no such file, a broken one, or one without a state dict.
    """
    if not file.is_file():
        raise NetworkError(f"no checkpoint at {file}")
    if file.suffix == ".safetensors":
        try:
            weights = load_file(file)
        except (OSError, SafetensorError) as error:
            raise NetworkError(f"cannot read the checkpoint {file}: {error}") from error
    else:
        weights = _state_dict(_loaded(file), file)
    return {n: t.float() if t.is_floating_point() else t for n, t in weights.items()}


def file_digest(file: Path) -> str:
    """SHA-256 of a file, as hexadecimal text."""
    with open_plain(file) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def fitted(
    build: Callable[[int | None], nn.Module], weights: Mapping[str, Tensor], what: str, file: Path
) -> nn.Module:
    """A network with the weights, and with as many classes as they have.

    Args:
        build: makes the network with a number of classes, its usual one if None.
        weights: from :func:`read_weights`, with or without prefixes like ``"module."``.
        what: the network, for messages.
        file: the weights' file, for messages.

    Raises:
        NetworkError: names or shapes that differ from the network's; all are told.
    """
    with torch.device("meta"):
        usual = {name: tensor.shape for name, tensor in build(None).state_dict().items()}
    network = build(_classes(usual, _without_prefixes(weights, usual)))
    put(network, weights, what, file)
    return network


def put(network: nn.Module, weights: Mapping[str, Tensor], what: str, file: Path) -> None:
    """Load weights, with or without prefixes like ``"module."``, into a network; NetworkError
    names what is missing, left over or misshapen."""
    own = network.state_dict()
    weights = _without_prefixes(weights, own)
    missing = [n for n in own if n not in weights and not n.endswith(COUNTER)]
    unexpected = [n for n in weights if n not in own]
    misshapen = [
        f"{n} {list(weights[n].shape)}, expected {list(own[n].shape)}"
        for n in own
        if n in weights and weights[n].shape != own[n].shape
    ]
    if missing or unexpected or misshapen:
        lists = {"missing": missing, "not expected": unexpected, "of another shape": misshapen}
        said = "; ".join(f"{len(n)} {kind}: {_some(n)}" for kind, n in lists.items() if n)
        raise NetworkError(
            f"the checkpoint {file} does not fit {what}: {said}. Where the network was changed "
            "(another head, another first layer), build it in a file of your own: "
            f"{argument('network', 'FILE.py:FACTORY@FILE')}"
        )
    network.load_state_dict(weights, strict=False)


def _loaded(file: Path) -> object:
    # Plain data beside the weights: arguments of a training script, figures it kept.
    scalar = np.float64(0).__reduce__()[0]
    kinds = {type(np.dtype(kind)) for kind in ("f2", "f4", "f8", "i4", "i8", "bool")}
    plain: list[Any] = [argparse.Namespace, np.dtype, scalar, *kinds]
    try:
        with torch.serialization.safe_globals(plain):
            loaded = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if zipfile.is_zipfile(file):
            raise NetworkError(
                f"the checkpoint {file} holds more than tensors and plain data (a whole module, "
                "perhaps), and to load that could run any code; save the weights alone: "
                "torch.save(network.state_dict(), FILE)"
            ) from error
        raise NetworkError(
            f"cannot read the checkpoint {file}: it is no file that torch.save wrote, or broken"
        ) from error
    except Exception as error:
        # Broken archives raise nearly anything: RuntimeError, EOFError, KeyError, ...
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        if "weights_only" in reason or "TorchScript" in reason:  # torch's advice runs the file
            raise _torchscript(file) from error
        raise NetworkError(f"cannot read the checkpoint {file}: {reason}") from error
    if isinstance(loaded, torch.jit.ScriptModule):  # torch before 2.6 opens it
        raise _torchscript(file)
    return loaded


def _torchscript(file: Path) -> NetworkError:
    return NetworkError(
        f"the checkpoint {file} is a TorchScript archive; save the weights alone: "
        "torch.save(torch.jit.load(FILE).state_dict(), OTHER)"
    )


def _state_dict(loaded: object, file: Path) -> dict[str, Tensor]:
    if _is_state_dict(loaded):
        return dict(loaded)
    if isinstance(loaded, Mapping):
        for name in WRAPPERS:
            if _is_state_dict(loaded.get(name)):
                return dict(loaded[name])
        raise NetworkError(
            f"the checkpoint {file} has no state dict; its entries are "
            f"{_some([str(key) for key in loaded])}, expected weights by name, or one of "
            f"{', '.join(WRAPPERS)}"
        )
    raise NetworkError(
        f"the checkpoint {file} holds {type(loaded).__name__}, expected a state dict"
    )


def _is_state_dict(loaded: object) -> bool:
    return (
        isinstance(loaded, Mapping)
        and bool(loaded)
        and all(isinstance(n, str) and isinstance(t, Tensor) for n, t in loaded.items())
    )


def _without_prefixes(
    weights: Mapping[str, Tensor], own: Mapping[str, object]
) -> Mapping[str, Tensor]:
    """The weights without what stands before all their names, unless the network has it too."""
    while own.keys().isdisjoint(weights) and (prefix := _common_prefix(weights)) is not None:
        weights = {name.removeprefix(prefix): tensor for name, tensor in weights.items()}
    return weights


def _common_prefix(weights: Mapping[str, Tensor]) -> str | None:
    return next((p for p in PREFIXES if all(name.startswith(p) for name in weights)), None)


def _classes(usual: Mapping[str, torch.Size], weights: Mapping[str, Tensor]) -> int | None:
    """How many classes the weights have, where that is all that tells them from the usual ones."""
    other = {
        name: (usual[name], tensor.shape)
        for name, tensor in weights.items()
        if name in usual and usual[name] != tensor.shape
    }
    counts = {theirs[0] for _, theirs in other.values() if len(theirs)}
    rows = all(
        len(own) == len(theirs) and own[1:] == theirs[1:] for own, theirs in other.values()
    ) and len({own[0] for own, _ in other.values() if len(own)})
    return counts.pop() if len(counts) == 1 and rows == 1 else None


def _some(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
