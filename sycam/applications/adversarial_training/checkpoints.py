"""A training that goes on where it was interrupted: its state in a folder, whole per epoch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save

from sycam.applications.adversarial_training.epochs import EpochRow, Epochs
from sycam.applications.checkpoints import (
    apart,
    broken,
    keep_state,
    optimizer_tensors,
    refill_optimizer,
    take_up_state,
)
from sycam.errors import RunError
from sycam.support.bounded_json import SchemaError
from sycam.support.files import write_whole
from sycam.support.schema import from_plain, to_plain

STATE_FILE, WEIGHTS_FILE = "checkpoint.safetensors", "weights.safetensors"
_NETWORK, _OPTIMIZER, _MARKED = "network.", "optimizer.", "marked"


def keep(folder: Path, epochs: Epochs, asked: Mapping[str, Any]) -> None:
    """Write the state of a training after an epoch.

    Args:
        folder: where; it is made.
        epochs: the training.
        asked: what decides it, plain data; :func:`take_up` compares it.

    Raises:
        RunError: it cannot be written.
    """
    tensors = {f"{_NETWORK}{name}": t for name, t in epochs.network.state_dict().items()}
    tensors |= optimizer_tensors(epochs.optimizer, _OPTIMIZER)
    if epochs.marked is not None:
        tensors[_MARKED] = epochs.marked
    keep_state(folder / STATE_FILE, tensors, [to_plain(row) for row in epochs.history], asked)


def keep_weights(folder: Path, epochs: Epochs) -> None:
    """Write the weights alone, which any network of the same architecture loads.

    Raises:
        RunError: they cannot be written.
    """
    weights = save(apart(epochs.network.state_dict()))
    try:
        write_whole(folder / WEIGHTS_FILE, weights, within=folder)
    except OSError as error:
        raise RunError(f"cannot write into '{folder}': {error}") from None


def take_up(folder: Path, epochs: Epochs, asked: Mapping[str, Any]) -> bool:
    """Put a training into the state that a folder holds; False where it holds none.

    Args:
        folder, asked: as for :func:`keep`.
        epochs: the training, which is changed.

    Raises:
        RunError: the folder holds another training, or a broken file.
    """
    found = take_up_state(folder / STATE_FILE, asked)
    if found is None:
        return False
    tensors, history = found
    weights = {n.removeprefix(_NETWORK): t for n, t in tensors.items() if n.startswith(_NETWORK)}
    try:
        rows = from_plain(tuple[EpochRow, ...], history, "history")
        epochs.network.load_state_dict(weights)
        refill_optimizer(epochs.optimizer, tensors, _OPTIMIZER)
    except (KeyError, RuntimeError, ValueError, TypeError, SchemaError) as error:
        raise broken(folder / STATE_FILE, error) from None
    epochs.history, epochs.marked = list(rows), tensors.get(_MARKED)
    return True
