"""A network by the text that names it, with its weights, preprocessing and classes."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from sycam.data import demo
from sycam.data.names import DEMO
from sycam.data.preprocessing import Preprocessing
from sycam.errors import NetworkError
from sycam.networks.sources import from_timm, from_torchvision
from sycam.networks.sources.checkpoint import file_digest, put, read_weights
from sycam.networks.sources.named import NamedNetwork
from sycam.networks.sources.user_file import load_network
from sycam.networks.untouched import uncompiled
from sycam.support.arguments import argument

LIBRARIES = {from_torchvision.PREFIX: from_torchvision, from_timm.PREFIX: from_timm}
EXPECTED = (
    "a torch.nn.Module, 'demo', torchvision:NAME[@WEIGHTS], timm:NAME or FILE.py:FACTORY, each "
    "also with the file of its weights: NAME@FILE"
)


def open_network(
    source: str | NamedNetwork | nn.Module, checkpoint: str | Path | None = None
) -> NamedNetwork:
    """The network that a text names, in evaluation mode.

    Args:
        source: ``"demo"``; ``torchvision:NAME`` or ``timm:NAME``, with the weights that the
            library publishes; ``FILE.py:FACTORY``, a function without arguments that returns an
            ``nn.Module`` (the file is the user's own program and is run as such). After an ``@``
            the weights: a name that torchvision has for them, ``random``, or a file. A module,
            or a network that is open already, is taken as it is.
        checkpoint: the file of the weights, as after the ``@``.

    Raises:
        SycamError: the network or its weights cannot be had; the message says what to do.

    Example:
        >>> open_network("demo").name
        'demo'
    """
    if isinstance(source, NamedNetwork):
        return source
    if isinstance(source, nn.Module):
        network = uncompiled(source)
        name = type(network).__name__.lower()
        return NamedNetwork(network, name, None, notes=_unwrapped(source, network))
    if not isinstance(source, str):
        raise NetworkError(f"network must be {EXPECTED}; got {source!r}")
    place, weights = _parted(source)
    if checkpoint is not None:
        if weights is not None:
            raise NetworkError(
                f"network {source!r} names its weights already, and {argument('checkpoint')} is "
                f"{checkpoint}; give one of them"
            )
        weights = str(checkpoint)
        if not Path(weights).is_file():
            raise NetworkError(f"no checkpoint at {weights}")
    if place == DEMO:
        if weights is not None:
            raise NetworkError("the network 'demo' has weights of its own; name another network")
        return NamedNetwork(
            demo.network(), DEMO, DEMO,
            preprocessing=Preprocessing(demo.SIDE, mean=demo.MEAN, std=demo.STD, channels=3),
            classes=len(demo.CLASS_NAMES),
        )  # fmt: skip
    for prefix, library in LIBRARIES.items():
        if place.startswith(prefix):
            return library.load(place.removeprefix(prefix), weights)
    made, name = load_network(place), place.rpartition(":")[2]
    network = uncompiled(made)
    notes = _unwrapped(made, network)
    if weights is None:
        return NamedNetwork(network, name, place, notes=notes)
    file = Path(weights)
    put(network, read_weights(file), place, file)
    return NamedNetwork(
        network.eval(), name, f"{place}@{file.resolve()}", f"checkpoint {file.name}",
        checkpoint=(file.resolve(), file_digest(file)), notes=notes,
    )  # fmt: skip


def _unwrapped(given: nn.Module, network: nn.Module) -> tuple[str, ...]:
    if network is given:
        return ()
    said = "the network inside is explained, and compiled where that pays"
    return (f"the network is wrapped by torch.compile: {said}",)


def _parted(source: str) -> tuple[str, str | None]:
    """The network and its weights; a folder's name may hold an @ as well."""
    start = source.rfind(".py:") if not source.startswith(tuple(LIBRARIES)) else 0
    place, at, weights = source[max(start, 0) :].partition("@")
    return source[: max(start, 0)] + place, weights if at else None
