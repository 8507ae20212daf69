"""Loading a safetensors file into a network, with every name accounted for."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from sycam.errors import NetworkError

Network = TypeVar("Network", bound=nn.Module)

COUNTER = "num_batches_tracked"
"""Batch norm's counter of training steps; evaluation never reads it, so files may leave it out."""


def load_weights(network: Network, path: Path, hint: str = "") -> Network:
    """Load weights (half precision becomes single) and return the network in evaluation mode.

    Args:
        network: built with the file's names and shapes.
        path: a ``.safetensors`` file.
        hint: what to do when the file is not there; ends the message.

    Raises:
        NetworkError: no such file, a broken one, or names or shapes that differ from the
            network's.
    """
    tail = f"; {hint}" if hint else ""
    if not path.is_file():
        raise NetworkError(f"no weights at {path}{tail}")
    try:
        weights = {name: value.float() for name, value in load_file(path).items()}
    except (OSError, SafetensorError) as error:
        raise NetworkError(f"cannot read the weights {path}: {error}") from error
    try:
        keys = network.load_state_dict(weights, strict=False)
    except RuntimeError as error:  # shapes differ
        raise NetworkError(f"the weights {path} do not fit the network: {error}") from error
    missing = [name for name in keys.missing_keys if not name.endswith(COUNTER)]
    if missing or keys.unexpected_keys:
        raise NetworkError(
            f"the weights {path} do not fit the network: "
            f"missing {missing or 'none'}, unexpected {keys.unexpected_keys or 'none'}"
        )
    return network.eval()
