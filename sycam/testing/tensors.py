"""Tensors that trip formulas: every sort at the ends of the number range, flat, sparse, single."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from sycam.language.signatures import HEAT, MAP, SALIENCY, SCALAR, WEIGHT, Overload

CHANNELS, HEIGHT, WIDTH = 6, 5, 4
SHAPES = {
    SCALAR: (1, 1, 1),
    WEIGHT: (CHANNELS, 1, 1),
    MAP: (CHANNELS, HEIGHT, WIDTH),
    HEAT: (1, HEIGHT, WIDTH),
    SALIENCY: (1, HEIGHT, WIDTH),
}
DTYPES = (torch.float32, torch.float64)
ONE_PLACE, ONE_CHANNEL = "one place", "one image of one channel"
EXTREMES = ("largest", "largest of both signs", "subnormal")  # where no scaling is exact


def random(sort: str, seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """Two images of a sort, ``[2,...]``; entries of either sign, away from 0."""
    generator = torch.Generator().manual_seed(seed)
    t = torch.randn(2, *SHAPES[sort], generator=generator, dtype=dtype)
    return t + t.sign() / 4


def adversarial(sort: str, dtype: torch.dtype, seed: int = 1) -> dict[str, Tensor]:
    """Finite tensors of a sort ``[2,...]`` (or with a dimension less), by kind."""
    plain = random(sort, seed, dtype)
    top = torch.finfo(dtype).max
    spike = torch.zeros_like(plain)
    spike.view(2, -1)[:, 0] = 1e18
    some_zero = plain.clone()
    some_zero.view(2, -1)[:, ::2] = 0
    return {
        "random": plain,
        "zeros": torch.zeros_like(plain),
        "negative zeros": -torch.zeros_like(plain),
        "negative": -plain.abs(),
        "huge": plain * 1e18,
        "tiny": plain * 1e-30,
        "subnormal": plain * torch.finfo(dtype).smallest_normal / 64,
        "largest": torch.full_like(plain, top),
        "largest of both signs": plain.sign() * top,
        "constant": torch.full_like(plain, 0.1),
        "constant channels": plain[..., :1, :1].expand_as(plain).clone(),
        "one spike": spike,
        "some zeros": some_zero,
        "one image of zeros": plain * torch.tensor([0.0, 1.0], dtype=dtype).view(2, 1, 1, 1),
        "wide range": plain * torch.logspace(-30, 30, plain.numel(), dtype=dtype).view_as(plain),
        ONE_PLACE: plain[..., :1, :1].clone(),
        ONE_CHANNEL: plain[:1, :1].clone(),
    }


@dataclass(frozen=True)
class Input:
    """Arguments of one typing.

    Attributes:
        kind: in words, of each argument.
        arguments: tensors with three trailing dimensions.
        activations: ``[...,K,h,w]``, for a typing that weighs them.
    """

    kind: str
    arguments: tuple[Tensor, ...]
    activations: Tensor

    @property
    def extreme(self) -> bool:
        """Whether an entry lies at an end of the number range."""
        return any(part in EXTREMES for part in self.kind.split(" and "))


def random_input(overload: Overload, seed: int, dtype: torch.dtype = torch.float64) -> Input:
    """Arguments of ordinary size."""
    given = tuple(random(sort, seed + i, dtype) for i, sort in enumerate(overload.arguments))
    return Input("random", given, random(MAP, seed + 9, dtype))


def adversarial_inputs(overload: Overload, dtype: torch.dtype) -> Iterator[Input]:
    """Every kind of the first argument against every kind of the second.

    Further arguments are of the second's kind; activations, where the typing weighs them, count
    as the second argument of a typing with one.
    """
    sorts = overload.arguments
    tensors = [adversarial(sort, dtype, 1 + i) for i, sort in enumerate(sorts)]
    weighed = adversarial(MAP, dtype, 9)
    paired = len(sorts) > 1 or overload.weighs
    for first in tensors[0]:
        for second in tensors[0] if paired else [first]:
            if first != second and {first, second} & {ONE_PLACE, ONE_CHANNEL}:
                continue  # of another shape
            arguments = (tensors[0][first], *(t[second] for t in tensors[1:]))
            if overload.pairs and first == ONE_CHANNEL:
                arguments = tuple(t.repeat_interleave(2, 0) for t in arguments)  # one pair
            yield Input(f"{first} and {second}" if paired else first, arguments, weighed[second])
