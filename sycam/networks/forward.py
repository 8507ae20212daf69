"""One forward pass of a network, whatever it returns, with its failures told as ours."""

from __future__ import annotations

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from sycam.errors import NetworkError, SycamError
from sycam.networks.backward import CUT, INFERENCE
from sycam.networks.outputs import LEVELS, Heads, Images, either, entries, rebuilt
from sycam.networks.readings import USUAL, Reading, Watched
from sycam.networks.untouched import device_of, dtype_of

_LACKING = re.compile(
    r"forward\(\) missing \d+ required (positional|keyword-only) arguments?: (?P<names>.*)"
)


def forward(network: nn.Module, images: Tensor, reading: Reading = USUAL) -> object:
    """What the network returns; what it raises becomes a NetworkError.

    Images are brought to the network's device and floating type. Class probabilities, where
    ``reading`` says that the outputs are such, become logits.
    """
    if not reading.probabilities:
        return returned(network, images)
    with Watched() as watched:
        outputs = returned(network, images)
    return reading.logits(outputs, watched)


def returned(network: nn.Module, images: Tensor) -> object:
    """What the network returns as it is; lists say whether they are of heads or of images."""
    images = images.to(device_of(network), dtype_of(network))
    try:
        # Autograd saves no tensor that was made in inference mode.
        outputs = network(images.clone() if images.is_inference() else images)
        return _of_which(outputs, partial(_pass_apart, network, images))
    except (SycamError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        raise NetworkError(
            f"the network failed on images of shape {tuple(images.shape)}: {_reason(error)}"
        ) from error


def _reason(error: Exception) -> str:
    """Why a network failed, and what to try. Torch's own advice leads to no gradient at all."""
    said = str(error)
    if isinstance(error, TypeError) and (lacking := _LACKING.search(said)):
        return (
            f"its forward takes more than the images ({lacking['names']}); wrap it in a module "
            "that holds them fixed, and whose forward takes the images only"
        )
    if "numpy() on Tensor that requires grad" in said:
        return f"it computes in numpy where a gradient is needed; {CUT}"
    if "Inference tensors cannot" in said:
        return (
            f"it computes under torch.inference_mode where a gradient is needed; {INFERENCE} (its "
            "weights must not be made or loaded in it, either)"
        )
    return f"{type(error).__name__}: {said}; are their size and channels right?"


def _of_which(outputs: object, again: Callable[[int], Any], levels: int = LEVELS) -> object:
    """Outputs whose lists say whether they are of heads or of images.

    Where that is unclear, it is told by another number of images.

    Args:
        again: what the network returns in the same place for so many images.
    """
    if not isinstance(outputs, list):
        other = (levels and entries(outputs)) or {}
        told = {
            k: _of_which(v, lambda n, k=k: (entries(again(n)) or {})[k], levels - 1)
            for k, v in other.items()
        }
        same = all(told[k] is v for k, v in other.items())
        return outputs if same else rebuilt(outputs, told)
    if not either(outputs):
        return outputs
    count = 2 if len(outputs) == 1 else 1
    other = again(count)
    if not isinstance(other, list) or len(other) not in (count, len(outputs)):
        return outputs
    return Images(outputs) if len(other) == count else Heads(outputs)


def _pass_apart(network: nn.Module, images: Tensor, count: int) -> object:
    """What the network returns for copies of the first image, in a thread of its own, in which
    the hooks that are set see nothing."""

    @torch.no_grad()
    def run() -> object:
        return network(images.detach()[:1].repeat(count, *(1,) * (images.ndim - 1)))

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(run).result()
