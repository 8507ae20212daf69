"""Where a network runs: one device, or several that workers are spread over."""

from __future__ import annotations

from contextlib import suppress

import torch
from torch import nn

from sycam.errors import OptionError
from sycam.networks import NamedNetwork
from sycam.networks.untouched import device_of
from sycam.support.arguments import argument


def devices_of(device: str | torch.device | None) -> tuple[str | torch.device | None, ...]:
    """The devices that are named, the first of them that of the run's own process.

    Args:
        device: one; or several of one kind as text, with commas between: ``"cuda:0,cuda:1"``.

    Returns:
        Several are checked; one is as it was given.

    Raises:
        OptionError: one of several cannot be used, or they are of several kinds.
    """
    if not isinstance(device, str) or "," not in device:
        return (device,)
    names = [name.strip() for name in device.split(",")]
    if not all(names):
        raise OptionError(
            f"{argument('device')} {device!r} names a device between each two commas, like "
            "cuda:0,cuda:1"
        )
    chosen = [_there(name) for name in names]
    if len({one.type for one in chosen}) > 1:
        raise OptionError(
            f"{argument('device')} {device!r} names devices of several kinds, whose scores differ "
            "in the last digits; name devices of one kind"
        )
    return tuple(map(str, chosen))


def unlike(devices: tuple[str | torch.device | None, ...]) -> str:
    """What to tell of several devices that are not the same model; empty where they are."""
    if len(devices) < 2 or not str(devices[0]).startswith("cuda"):
        return ""
    models = dict.fromkeys(map(torch.cuda.get_device_name, devices))
    if len(models) < 2:
        return ""
    return (
        f"the devices are different models ({', '.join(models)}), so the last digits of a score "
        "may depend on which of them computed it, and with them what wins where two tie"
    )


def device_for(device: str | torch.device | None, network: nn.Module) -> torch.device:
    """Where a network runs: as told; CUDA where there is one if None."""
    if device is None:
        own = device_of(network)
        return torch.device("cuda") if own.type == "cpu" and torch.cuda.is_available() else own
    return usable(device)


def on_device(known: NamedNetwork, device: str | torch.device | None) -> NamedNetwork:
    """The network where it runs, where it is ours to move: one that was loaded by its name."""
    if known.source is not None:
        known.module.to(device_for(device, known.module))
    return known


def _there(name: str) -> torch.device:
    """One of several devices. Of CUDA's they are counted: to try one takes room there, and most of
    them are for workers."""
    with suppress(RuntimeError):
        chosen = torch.device(name)
        if chosen.type == "cuda" and (chosen.index or 0) < torch.cuda.device_count():
            return chosen
    return usable(name)


def usable(device: str | torch.device) -> torch.device:
    """A device that is here.

    Raises:
        OptionError: there is none of that name.
    """
    try:
        chosen = torch.device(device)
        torch.empty(1, device=chosen)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise OptionError(
            f"{argument('device')} {str(device)!r} cannot be used: {reason}"
        ) from None
    return chosen
