"""Several metrics as one number: weighted sums, harmonic means and minima of their scores.

A formula is kept in one form: a constant plus weights times parts, each part a metric or a
function of further formulas. Weights are exact fractions, so that a third stays a third.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from sycam.errors import OptionError
from sycam.metrics.base import Metric
from sycam.metrics.composition.group import MetricGroup
from sycam.metrics.context import Context
from sycam.metrics.functions import FUNCTIONS

HEAVIEST = 10**9  # a weight and its inverse, at most
_LONGEST = 10**60  # numerators and denominators, so that the text reads back
Range = tuple[float, float]


@dataclass(frozen=True)
class Term:
    """The score of a metric.

    Attributes:
        metric: the metric.
    """

    metric: Metric

    @cached_property
    def text(self) -> str:
        return self.metric.text

    @property
    def latex(self) -> str:
        said = self.text.replace("_", r"\_")
        return rf"\text{{{said}}}"

    @property
    def sense(self) -> int:
        """1 where higher is better, -1 where lower is."""
        return 1 if self.metric.higher_is_better else -1

    @property
    def range(self) -> Range:
        return self.metric.range

    def value(self, scores: dict[str, Tensor]) -> Tensor:
        return scores[self.text]

    def terms(self) -> Iterator[Term]:
        yield self


@dataclass(frozen=True)
class Call:
    """A function of several formulas, each better when higher.

    Attributes:
        name: of :data:`FUNCTIONS`.
        arguments: two or more.
    """

    name: str
    arguments: tuple[Mixture, ...]

    sense = 1

    def __post_init__(self) -> None:
        if len(self.arguments) < 2:
            raise OptionError(f"{self.name} combines two or more scores, got one: {self.text}")
        if not any(argument.weighted for argument in self.arguments):
            raise OptionError(f"{self.text} names no metric")
        for argument in self.arguments:
            argument.check()
            low, high = argument.range
            if argument.sense < 0:
                turned = argument * Fraction(-1) + Mixture(_fraction(high))
                raise OptionError(
                    f"{self.name} combines scores that are better when higher, and {argument.text} "
                    f"is better when lower; write {turned.text}"
                )
            if self.name == "harmonic" and high <= 0:
                lifted = argument + Mixture(_fraction(-low))
                raise OptionError(
                    f"the harmonic mean is of positive scores, and {argument.text} has none "
                    f"({low:g} to {high:g}); write {lifted.text}"
                )

    @property
    def text(self) -> str:
        return f"{self.name}({', '.join(a.text for a in self.arguments)})"

    @property
    def latex(self) -> str:
        inside = ", ".join(a.latex for a in self.arguments)
        return rf"{FUNCTIONS[self.name].latex}\left({inside}\right)"

    @property
    def range(self) -> Range:
        # It rises with each argument.
        ends = torch.tensor([a.range for a in self.arguments], dtype=torch.float64)
        return tuple(FUNCTIONS[self.name].compute(ends.unbind()).tolist())

    def value(self, scores: dict[str, Tensor]) -> Tensor:
        values = [a.value(scores) for a in self.arguments]
        like = next(v for v in values if isinstance(v, Tensor))
        return FUNCTIONS[self.name].compute(
            [v if isinstance(v, Tensor) else torch.full_like(like, v) for v in values]
        )

    def terms(self) -> Iterator[Term]:
        for argument in self.arguments:
            yield from argument.terms()


Part = Term | Call


@dataclass(frozen=True)
class Mixture:
    """A constant plus weights times parts.

    Attributes:
        constant: what is added.
        weighted: weights, none of them 0, with their parts, in the order of the text.

    Raises:
        OptionError: a number of too many digits.
    """

    constant: Fraction
    weighted: tuple[tuple[Fraction, Part], ...] = ()

    def __post_init__(self) -> None:
        if any(max(abs(n.numerator), n.denominator) > _LONGEST for n in self._numbers()):
            raise OptionError("numbers in a metric must have fewer digits")

    def __add__(self, other: Mixture) -> Mixture:
        total = {part.text: (weight, part) for weight, part in self.weighted}
        for weight, part in other.weighted:
            total[part.text] = (total.get(part.text, (0, part))[0] + weight, part)
        kept = tuple((weight, part) for weight, part in total.values() if weight)
        return Mixture(self.constant + other.constant, kept)

    def __mul__(self, factor: Fraction) -> Mixture:
        scaled = tuple((weight * factor, part) for weight, part in self.weighted if factor)
        return Mixture(self.constant * factor, scaled)

    def check(self) -> None:
        """Refuse what is no figure of merit.

        Raises:
            OptionError: metrics whose good ends pull apart, or weights out of range.
        """
        if not all(1 <= HEAVIEST * abs(n) <= HEAVIEST**2 for n in self._numbers() if n):
            raise OptionError(
                f"weights must lie between 1/{HEAVIEST:,} and {HEAVIEST:,}; leave out what weighs "
                "nothing"
            )
        senses = {_sign(weight) * part.sense: (weight, part) for weight, part in self.weighted}
        if len(senses) < 2:
            return
        gains, (weight, part) = senses[1], senses[-1]
        raise OptionError(
            f"{_weighted(*gains)} is better when higher and {_weighted(weight, part)} is better "
            f"when lower, so that their sum says nothing; turn one of them round: "
            f"{_weighted(*gains)} {_signed(_weighted(-weight, part))}"
        )

    @property
    def sense(self) -> int:
        """1 where higher is better, -1 where lower is, 0 of a number."""
        return next((_sign(weight) * part.sense for weight, part in self.weighted), 0)

    @property
    def text(self) -> str:
        parts = [_weighted(weight, part) for weight, part in self.weighted]
        if self.constant or not parts:
            parts.insert(0, _number(self.constant))
        return " ".join([parts[0], *map(_signed, parts[1:])])

    @property
    def latex(self) -> str:
        parts = [_weighted_latex(weight, part) for weight, part in self.weighted]
        if self.constant or not parts:
            parts.insert(0, _number_latex(self.constant))
        return " ".join([parts[0], *map(_signed, parts[1:])])

    @property
    def range(self) -> Range:
        low = high = float(self.constant)
        for weight, part in self.weighted:
            ends = sorted(float(weight) * end for end in part.range)
            low, high = low + ends[0], high + ends[1]
        return low, high

    def value(self, scores: dict[str, Tensor]) -> Tensor | float:
        """The figure, from scores of each metric by its text."""
        return sum(
            (float(weight) * part.value(scores) for weight, part in self.weighted),
            start=float(self.constant),
        )

    def terms(self) -> Iterator[Term]:
        """All metrics in it; some come several times."""
        for _, part in self.weighted:
            yield from part.terms()

    def _numbers(self) -> list[Fraction]:
        return [self.constant, *(weight for weight, _ in self.weighted)]


class Composite(MetricGroup):
    """A formula of metrics.

    Where the figure of each metric is a mean over images, scores are combined image by image, and
    the figure is the mean of that. Where one has components, as its figure is no mean, the
    figures of the whole set are combined.

    Args:
        mixture: the formula.

    Attributes:
        mixture: the formula.
        metrics: its metrics, each once.

    Raises:
        OptionError: the formula names no metric, or its terms pull in opposite directions.
    """

    family = "composite"
    traps = (
        "A search buys what is cheap: it raises the term that varies most between formulas, not "
        "the one that weighs most. Watch each term beside the whole (evaluate under each of "
        "them), and prefer harmonic or min where none may fail."
    )

    def __init__(self, mixture: Mixture):
        if not mixture.weighted:
            raise OptionError(f"{mixture.text} names no metric, or all cancel")
        mixture.check()
        self.mixture = mixture
        self._terms = {term.text: term.metric for term in mixture.terms()}
        components = self._take(list(self._terms.values()))
        of_images = not any(m.components for m in self.metrics)
        self.name = self.summary = mixture.text
        self.formula = mixture.latex
        self.definition = (
            f"{mixture.text}, computed from the scores of each image, then averaged over the images"
            if of_images
            else f"{mixture.text}, computed from the figures of the whole set of images"
        )
        self.higher_is_better = mixture.sense > 0
        self.range = mixture.range
        self.components = () if of_images else components

    @property
    def text(self) -> str:
        return self.mixture.text

    @classmethod
    def parameters(cls) -> Mapping[str, inspect.Parameter]:
        return {}

    @property
    def options(self) -> dict[str, object]:
        return {"terms": [[m.text, m.options, m.version] for m in self.metrics]}

    def score(self, maps: Tensor, context: Context) -> Tensor:
        scores = [m.score(maps, context) for m in self.metrics]
        if self.components:
            return torch.cat([s if s.ndim > 2 else s[..., None] for s in scores], -1)
        return self._combined(scores)

    def fit(self, values: np.ndarray) -> Any:
        if not self.components:
            return None
        return [m.fit(v) for m, v in zip(self.metrics, self._apart(values), strict=True)]

    def reduce(self, values: np.ndarray, fitted: Any = None) -> np.ndarray:
        if not self.components:
            return super().reduce(values)
        fitted = fitted or [None] * len(self.metrics)
        apart = zip(self.metrics, self._apart(values), fitted, strict=True)
        figures = [torch.as_tensor(m.reduce(v, f)) for m, v, f in apart]
        return self._combined(figures).numpy()[()]

    def bound(self, context: Context) -> Tensor:
        """The formula of the terms' bounds."""
        if self.components:
            return super().bound(context)
        # Every term pulls in one direction, so that the best of each is the best of all.
        return self._combined([m.bound(context) for m in self.metrics])

    def _combined(self, scores: Sequence[Tensor]) -> Tensor:
        return cast(Tensor, self.mixture.value(dict(zip(self._terms, scores, strict=True))))


def _sign(weight: Fraction) -> int:
    return 1 if weight > 0 else -1


def _number(number: Fraction) -> str:
    """A number that reads back as the same fraction: a decimal where it is one."""
    decimal = repr(float(number)).removesuffix(".0")
    if "e" not in decimal and Fraction(decimal) == number:
        return decimal
    return f"{number.numerator} / {number.denominator}"


def _number_latex(number: Fraction) -> str:
    if "/" not in _number(number):
        return _number(number)
    sign = "-" if number < 0 else ""
    return rf"{sign}\frac{{{abs(number.numerator)}}}{{{number.denominator}}}"


def _weighted(weight: Fraction, part: Part) -> str:
    if abs(weight) == 1:
        return part.text if weight > 0 else f"-{part.text}"
    number = _number(weight)
    if "/" not in number:
        return f"{number}*{part.text}"
    return f"{_weighted(Fraction(weight.numerator), part)} / {weight.denominator}"


def _weighted_latex(weight: Fraction, part: Part) -> str:
    if abs(weight) == 1:
        return part.latex if weight > 0 else f"-{part.latex}"
    return rf"{_number_latex(weight)}\,{part.latex}"


def _signed(text: str) -> str:
    """A term that follows another."""
    return f"- {text.removeprefix('-')}" if text.startswith("-") else f"+ {text}"


def _fraction(end: float) -> Fraction:
    """The end of a range as a number of a formula; 1 where there is no end."""
    return Fraction(repr(float(end))) if np.isfinite(end) else Fraction(1)
