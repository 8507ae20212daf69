"""A training that goes on where it was interrupted: its state in a folder, whole per epoch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from sycam.applications.adversarial_training.epochs import EpochRow, Epochs
from sycam.errors import RunError
from sycam.support.bounded_json import SchemaError
from sycam.support.files import open_plain, place_of, write_whole
from sycam.support.schema import from_plain, to_plain
from sycam.support.text.terminal import json_text

STATE_FILE, WEIGHTS_FILE = "checkpoint.pt", "weights.safetensors"


def keep(folder: Path, epochs: Epochs, asked: Mapping[str, Any]) -> None:
    """Write the state of a training after an epoch.

    Args:
        folder: where; it is made.
        epochs: the training.
        asked: what decides it, plain data; :func:`take_up` compares it.

    Raises:
        RunError: it cannot be written.
    """
    state = {
        "asked": json_text(asked),
        "network": epochs.network.state_dict(),
        "optimizer": epochs.optimizer.state_dict(),
        "history": json_text([to_plain(row) for row in epochs.history]),
        "marked": epochs.marked,
    }
    try:
        write_whole(folder / STATE_FILE, lambda file: torch.save(state, file), within=folder)
    except OSError as error:
        raise RunError(f"cannot write into '{folder}': {error}") from None


def keep_weights(folder: Path, epochs: Epochs) -> None:
    """Write the weights alone, which any network of the same architecture loads.

    Raises:
        RunError: they cannot be written.
    """
    # Tensors that share their values, as tied weights do, are stored one by one.
    tensors = {n: t.detach().cpu().clone() for n, t in epochs.network.state_dict().items()}
    try:
        write_whole(folder / WEIGHTS_FILE, save(tensors), within=folder)
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
    place = folder / STATE_FILE
    try:
        if not place_of(place, folder).exists():
            return False
        with open_plain(place, within=folder) as file:
            state = torch.load(file, map_location="cpu", weights_only=True)
    except OSError as error:
        raise RunError(f"cannot read '{place}': {error}") from None
    except Exception as error:  # a broken archive raises nearly anything
        raise _broken(place, error) from None
    try:
        before = json.loads(state["asked"])
        rows = from_plain(tuple[EpochRow, ...], json.loads(state["history"]), "history")
    except (KeyError, TypeError, ValueError, SchemaError) as error:
        raise _broken(place, error) from None
    _check_same(folder, before, json.loads(json_text(asked)))
    try:
        epochs.network.load_state_dict(state["network"])
        epochs.optimizer.load_state_dict(state["optimizer"])
    except (KeyError, RuntimeError, ValueError, TypeError) as error:
        raise _broken(place, error) from None
    epochs.history, epochs.marked = list(rows), state.get("marked")
    return True


def _broken(place: Path, error: Exception) -> RunError:
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return RunError(
        f"'{place}' is no checkpoint of a training, or broken ({reason}); delete it to begin anew"
    )


def _check_same(folder: Path, before: Any, now: Mapping[str, Any]) -> None:
    if before == now:
        return
    known = before if isinstance(before, dict) else {}
    apart = [
        f"{name} (there {_short(known.get(name))}, now {_short(now.get(name))})"
        for name in dict.fromkeys((*now, *known))
        if known.get(name) != now.get(name)
    ]
    raise RunError(
        f"'{folder}' holds another training: it differs in {', '.join(apart)}; name another "
        "folder, or train as before"
    )


def _short(value: Any) -> str:
    text = json_text(value)
    return text if len(text) <= 40 else f"{text[:39]}…"
