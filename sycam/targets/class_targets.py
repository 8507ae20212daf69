"""Scalars of one class per image: its logit, its probability, what sets it off from others."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, fields, replace
from numbers import Integral, Real
from typing import ClassVar

import torch
from torch import Tensor

from sycam.errors import DataError, OptionError, unknown_name
from sycam.networks.outputs import (
    check_outputs,
    class_log_probability,
    class_probability,
    probabilities,
)
from sycam.networks.readings import USUAL, Reading
from sycam.targets.resolved import Classes, Resolved, class_indices


@dataclass(frozen=True)
class ClassTarget:
    """A scalar of one class per image.

    Args:
        of: ``"predicted"``, ``"label"``, one class for all images, or one per image.
        reading: what the network's outputs are; set by ``output=`` of what takes the target.
    """

    of: Classes = "predicted"
    reading: Reading = field(default=USUAL, kw_only=True, repr=False)
    name: ClassVar[str] = ""

    def resolve(self, outputs: Tensor, labels: Tensor | None = None) -> Resolved:
        """Fix classes by the outputs ``[N, classes]`` on the clean images."""
        outputs = outputs.detach()
        index = class_indices(self.of, outputs, labels)
        said = str(replace(self, of="predicted"))
        if self.reading != USUAL:
            said = f"{said} ({self.reading})"
        fixed = self._fixed(outputs, index)
        keys = tuple(
            sys.intern(f"{said} of {i} against {f}")  # one text, however many images it is of
            for i, f in zip(index.tolist(), fixed.tolist(), strict=True)
        )

        def score(given: object, images: Tensor) -> Tensor:
            given = check_outputs(given, len(images))
            return self._scores(given, index[images], fixed[images])

        def logarithm(given: object, images: Tensor) -> Tensor:
            return self._logarithm(check_outputs(given, len(images)), index[images])

        return Resolved(
            index, keys, score, None if self._logarithm is None else logarithm, self.reading
        )

    # Scores on a logarithmic scale, where they have more digits there.
    _logarithm: ClassVar[Callable[..., Tensor] | None] = None

    def _fixed(self, outputs: Tensor, index: Tensor) -> Tensor:
        """``[N,R]`` further classes that are fixed by the clean outputs."""
        return index.new_empty((len(index), 0))

    def _scores(self, outputs: Tensor, index: Tensor, references: Tensor) -> Tensor:
        raise NotImplementedError

    def __str__(self) -> str:
        of = self.of
        said = ["of=" + str(of)] if isinstance(of, str | Integral) and of != "predicted" else []
        for option in (one for one in fields(self)[1:] if not one.kw_only):
            value = getattr(self, option.name)
            if value != option.default:
                joined = isinstance(value, Sequence) and not isinstance(value, str)
                said.append(f"{option.name}={'+'.join(map(str, value)) if joined else value}")
        return self.name + (":" + ",".join(said) if said else "")


@dataclass(frozen=True)
class Logit(ClassTarget):
    """The class's score before the softmax, ``y_c`` (the default everywhere)."""

    name: ClassVar[str] = "logit"

    def _scores(self, outputs: Tensor, index: Tensor, references: Tensor) -> Tensor:
        return outputs.gather(1, index[:, None])[:, 0]


@dataclass(frozen=True)
class Probability(ClassTarget):
    """The class's probability (softmax; sigmoid where outputs do not exclude each other)."""

    name: ClassVar[str] = "probability"

    def _scores(self, outputs: Tensor, index: Tensor, references: Tensor) -> Tensor:
        return class_probability(outputs, index, self.reading.link)

    def _logarithm(self, outputs: Tensor, index: Tensor) -> Tensor:
        return class_log_probability(outputs, index, self.reading.link)


@dataclass(frozen=True)
class ReST(ClassTarget):
    """Residual softmax ``y_c + log p_c`` (Cai, CAMs as Shapley value-based explainers, 2025).

    Not linear in the logits, so that the Hessian in ShapleyCAM does not vanish; as the grad-cam
    package's ``ClassifierOutputReST`` computes it.
    """

    name: ClassVar[str] = "rest"

    def _scores(self, outputs: Tensor, index: Tensor, references: Tensor) -> Tensor:
        own = outputs.gather(1, index[:, None])[:, 0]
        return own + class_log_probability(outputs, index, self.reading.link)


@dataclass(frozen=True)
class Contrast(ClassTarget):
    """What tells the class from similar ones (Zhang et al., Finer-CAM, CVPR 2025).

    ``y_c - gamma * mean_d y_d`` over the references d; ``weighting="probability"`` is the released
    code's ``sum_d p_d (y_c - gamma y_d) / (sum_d p_d + 1e-9)``, whose gradient runs through p too.

    Args:
        of: as for :class:`ClassTarget`.
        references: classes to contrast with, the same for all images; the nearest if None.
        nearest: how many classes nearest to the class in clean logit are references.
        gamma: strength of the contrast; 0.6 in the paper, 1 in the released code.
        weighting: ``"uniform"`` or ``"probability"``.
    """

    references: Sequence[int] | None = None
    nearest: int = 3
    gamma: float = 0.6
    weighting: str = "uniform"
    name: ClassVar[str] = "contrast"

    def __post_init__(self) -> None:
        if self.weighting not in ("uniform", "probability"):
            raise OptionError(
                f"weighting {self.weighting!r} is not known; expected 'uniform' or 'probability'"
            )
        if not isinstance(self.nearest, Integral) or self.nearest < 1:
            raise OptionError(f"nearest must be a positive integer, got {self.nearest!r}")
        if not isinstance(self.gamma, Real) or not math.isfinite(self.gamma):
            raise OptionError(f"gamma must be a finite number, got {self.gamma!r}")
        if self.references is not None:
            object.__setattr__(self, "references", _class_numbers(self.references))

    def _fixed(self, outputs: Tensor, index: Tensor) -> Tensor:
        count, classes = outputs.shape
        if classes < 2:
            raise DataError("a contrast needs at least two classes; the network has one output")
        if self.references is not None:
            chosen = torch.tensor(self.references, dtype=torch.int64, device=index.device)
            if not all(0 <= r < classes for r in self.references):
                raise DataError(
                    f"references must be classes from 0 to {classes - 1}, got {self.references!r}"
                )
            if bool((chosen[None] == index[:, None]).any()):
                clash = index[(chosen[None] == index[:, None]).any(1)][0].item()
                raise DataError(
                    f"class {clash} cannot be contrasted with itself; leave references out "
                    "for the nearest"
                )
            return chosen.expand(count, -1)
        gap = (outputs - outputs.gather(1, index[:, None])).abs()
        gap = gap.scatter(1, index[:, None], torch.inf)
        return gap.argsort(dim=1, stable=True)[:, : min(self.nearest, classes - 1)]

    def _scores(self, outputs: Tensor, index: Tensor, references: Tensor) -> Tensor:
        own = outputs.gather(1, index[:, None])
        gaps = own - self.gamma * outputs.gather(1, references)
        if self.weighting == "uniform":
            return gaps.mean(1)
        weights = probabilities(outputs, self.reading.link).gather(1, references)
        return (weights * gaps).sum(1) / (weights.sum(1) + 1e-9)


def _class_numbers(given: object) -> tuple[int, ...]:
    values = given.tolist() if hasattr(given, "tolist") else given
    values = tuple(values) if isinstance(values, Iterable) and not isinstance(values, str) else ()
    if not values or not all(isinstance(v, Integral) and not isinstance(v, bool) for v in values):
        raise OptionError(f"references must be one or several class numbers, got {given!r}")
    return tuple(int(v) for v in values)


TARGETS: dict[str, type[ClassTarget]] = {t.name: t for t in (Logit, Probability, ReST, Contrast)}


def parse_target(text: str) -> ClassTarget:
    """A target as the command line writes it.

    ``predicted``, ``label`` and a class number mean that class's logit; ``probability``,
    ``rest`` and ``contrast`` are other scalars, with options after a colon.

    >>> parse_target("contrast:references=3+5,gamma=1")
    Contrast(of='predicted', references=(3, 5), nearest=3, gamma=1.0, weighting='uniform')
    >>> str(parse_target("7"))
    'logit:of=7'

    Raises:
        UnknownNameError, OptionError: no such target, or no such option of it.
    """
    if text in ("predicted", "label") or text.isdecimal():
        return Logit(_classes(text))
    name, _, options = text.partition(":")
    if name not in TARGETS:
        raise unknown_name("target", name, ["predicted", "label", *TARGETS], "or a class number")
    kind, given = TARGETS[name], {}
    readers = {
        "of": _classes,
        "references": lambda t: tuple(int(part) for part in t.split("+")),
        "nearest": int,
        "gamma": float,
        "weighting": str,
    }
    known = [field.name for field in fields(kind)]
    for item in filter(None, options.split(",")):
        option, _, value = item.partition("=")
        if option not in known:
            raise unknown_name(f"option of target {name!r}", option, known)
        try:
            given[option] = readers[option](value)
        except ValueError:
            raise OptionError(
                f"option {option!r} of target {name!r} cannot be {value!r}; for example "
                "contrast:of=label,references=3+5,gamma=0.6,weighting=uniform"
            ) from None
    return kind(**given)


def _classes(text: str) -> str | int:
    if text.isdecimal():
        return int(text)
    if text not in ("predicted", "label"):
        raise ValueError(text)
    return text
