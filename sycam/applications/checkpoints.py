"""The state of a training in one file, whole after each epoch: tensors, and facts as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor

from sycam.errors import RunError
from sycam.support.bounded_json import parse_json
from sycam.support.files import open_plain, place_of, write_whole
from sycam.support.text.terminal import json_text

_FACTS, _ASKED = "facts", "asked"
NETWORK = "network"  # of what is asked: digest of the network that a training starts from


def keep_state(
    file: Path, tensors: Mapping[str, Tensor], facts: Any, asked: Mapping[str, Any]
) -> None:
    """Write the state of a training.

    Args:
        file: a ``.safetensors`` file in the training's folder.
        tensors: of networks and optimizers, see :func:`optimizer_tensors`.
        facts: what else it needs to go on, plain data.
        asked: what decides the training, plain data; :func:`take_up_state` compares it.

    Raises:
        RunError: it cannot be written.
    """
    said = {_FACTS: json_text(facts), _ASKED: json_text(asked)}
    try:
        write_whole(file, save(apart(tensors), metadata=said), within=file.parent)
    except OSError as error:
        raise RunError(f"cannot write into '{file.parent}': {error}") from None


def apart(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies on the CPU as safetensors takes them: such as share their values, as tied weights do,
    one by one, and in one piece each."""
    return {name: one.detach().cpu().contiguous().clone() for name, one in tensors.items()}


def take_up_state(file: Path, asked: Mapping[str, Any]) -> tuple[dict[str, Tensor], Any] | None:
    """Tensors, on the CPU, and facts as :func:`keep_state` wrote them; None where there are none.

    Args:
        file, asked: as for :func:`keep_state`.

    Raises:
        RunError: a broken file, or one of another training.
    """
    try:
        if not place_of(file, file.parent).exists():
            return None
        data = read_file(file)
    except OSError as error:
        raise RunError(f"cannot read '{file}': {error}") from None
    try:
        tensors = load(data)
        said = parse_json(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]
        facts, before = parse_json(said[_FACTS]), parse_json(said[_ASKED])
    except Exception as error:  # a broken archive raises nearly anything
        raise broken(file, error) from None
    _check_same(file.parent, before, json.loads(json_text(asked)))
    return tensors, facts


def read_file(file: Path) -> bytes:
    """The content of a plain file of a training's folder, whatever its size.

    Raises:
        OSError: it cannot be read.
    """
    with open_plain(file, within=file.parent) as opened:
        return opened.read()


def broken(file: Path, error: Exception) -> RunError:
    """The error of a state that cannot be used."""
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return RunError(
        f"'{file}' is no state of a training, or broken ({reason}); delete it to begin anew"
    )


def optimizer_tensors(optimizer: torch.optim.Optimizer, prefix: str) -> dict[str, Tensor]:
    """What an optimizer remembers of its parameters, by names that begin with a prefix."""
    remembered = optimizer.state_dict()["state"]
    return {
        f"{prefix}{place}.{name}": torch.as_tensor(value)
        for place, held in remembered.items()
        for name, value in held.items()
        if value is not None
    }


def refill_optimizer(
    optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor], prefix: str
) -> None:
    """Put back what :func:`optimizer_tensors` returned; rates are those of the optimizer given."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if name.startswith(prefix):
            place, _, what = name.removeprefix(prefix).partition(".")
            state.setdefault(int(place), {})[what] = tensor
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def _check_same(folder: Path, before: Any, now: Mapping[str, Any]) -> None:
    if before == now:
        return
    known = before if isinstance(before, dict) else {}
    apart = [n for n in dict.fromkeys((*now, *known)) if known.get(n) != now.get(n)]
    listed = ", ".join(
        f"{name} (there {_short(known.get(name))}, now {_short(now.get(name))})" for name in apart
    )
    mend = "name another folder, or train as before"
    if NETWORK in apart:
        mend += (
            "; a network without trained weights must be made with the same ones each time: "
            "torch.manual_seed(0) where it is made"
        )
    raise RunError(f"'{folder}' holds another training: it differs in {listed}; {mend}")


def _short(value: Any) -> str:
    text = json_text(value)
    return text if len(text) <= 40 else f"{text[:39]}…"
