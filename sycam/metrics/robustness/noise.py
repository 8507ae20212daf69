"""Noisy copies of images: kinds and levels, drawn from each image's content alone.

Images are in the network's input scale, which may be anything. Levels are therefore shares of an
image's own range (its maximum less its minimum over all channels), or of its shorter side, so that
``a * x + b`` with a > 0 gets the same noise as ``x``, scaled.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor

from sycam.data.noise_kinds import BLUR, GAUSSIAN, NOISES, SALT_AND_PEPPER, SPECKLE, UNIFORM
from sycam.errors import OptionError
from sycam.metrics.context import Context
from sycam.metrics.removal.perturbation import between, one_of
from sycam.metrics.removal.pixel_ranks import gaussian_blur


@dataclass(frozen=True)
class Noise:
    """One noisy copy of every image.

    Attributes:
        kind: one of :data:`~sycam.data.noise_kinds.NOISES`.
        level: its strength, above 0; at most 1 for salt-and-pepper.
        index: tells several copies of the same kind and level apart. A blur draws nothing: all
            its copies are equal.

    Raises:
        OptionError: no such kind, or a level outside its range.
    """

    kind: str
    level: float
    index: int = 0

    def __post_init__(self) -> None:
        one_of("noise", self.kind, NOISES)
        share = self.kind == SALT_AND_PEPPER
        if not between(self.level, 0, math.inf) or (share and self.level > 1):
            raise OptionError(
                f"the level of {self.kind} noise must be a number above 0"
                f"{' and at most 1' if share else ''}, got {self.level!r}"
            )

    def __str__(self) -> str:
        return f"{self.kind} {float(self.level)!r} {self.index}"

    def applied(self, context: Context) -> Tensor:
        """``[N,C,H,W]``: the images of the context with this noise; they are not changed."""
        return KINDS[self.kind](self, context)

    def _drawn(self, context: Context, draw: Callable[..., Tensor], *shape: int) -> Tensor:
        """``[N,*shape]`` of ``draw`` with each image's own generator."""
        drawn = context.drawn(f"noise {self}", lambda g: draw(shape, generator=g))
        return drawn.to(context.images.dtype)


def _limits(images: Tensor) -> tuple[Tensor, Tensor]:
    """Each image's minimum and maximum, ``[N,1,...]``."""
    places = tuple(range(1, images.ndim))
    return images.amin(places, keepdim=True), images.amax(places, keepdim=True)


def _gaussian(noise: Noise, context: Context) -> Tensor:
    """``x + level * range * n``, n standard normal."""
    low, high = _limits(context.images)
    drawn = noise._drawn(context, torch.randn, *context.images.shape[1:])
    return context.images + noise.level * (high - low) * drawn


def _uniform(noise: Noise, context: Context) -> Tensor:
    """``x + level * range * u``, u uniform in [-1, 1]: an L-infinity ball."""
    low, high = _limits(context.images)
    drawn = noise._drawn(context, torch.rand, *context.images.shape[1:])
    return context.images + noise.level * (high - low) * (2 * drawn - 1)


def _speckle(noise: Noise, context: Context) -> Tensor:
    """``x + level * (x - min) * n``: noise in proportion to the brightness above the darkest."""
    low, _ = _limits(context.images)
    drawn = noise._drawn(context, torch.randn, *context.images.shape[1:])
    return context.images + noise.level * (context.images - low) * drawn


def _salt_and_pepper(noise: Noise, context: Context) -> Tensor:
    """Each pixel becomes, with all its channels, the image's minimum or maximum, each with
    probability ``level / 2``."""
    low, high = _limits(context.images)
    drawn = noise._drawn(context, torch.rand, 1, *context.size)
    peppered = torch.where(drawn < noise.level / 2, low, context.images)
    return torch.where(drawn >= 1 - noise.level / 2, high, peppered)


def _blur(noise: Noise, context: Context) -> Tensor:
    """A Gaussian blur whose sigma is ``level`` times the shorter side."""
    return gaussian_blur(context.images, noise.level * min(context.size[-2:]))


KINDS: Mapping[str, Callable[[Noise, Context], Tensor]] = MappingProxyType(
    {
        GAUSSIAN: _gaussian,
        SALT_AND_PEPPER: _salt_and_pepper,
        SPECKLE: _speckle,
        UNIFORM: _uniform,
        BLUR: _blur,
    }
)
