"""Budgets, attacks and training, as options that validate themselves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

from sycam.errors import OptionError, unknown_name
from sycam.inference.precisions import FLOAT32, PRECISIONS
from sycam.support.arguments import argument
from sycam.support.options import option

# As losses.py and evaluating.py have them, which help does not import.
AT, TRADES, MART = OBJECTIVES = ("at", "trades", "mart")
PGD, MMA = BY_STEPS = ("pgd", "mma")  # attacks that move images, in training as well
AUTOATTACK = "autoattack"
ATTACKS = (*BY_STEPS, AUTOATTACK)
STEPS_PER_EPS = 4  # 2/255 where eps is 8/255, as PART's code has it
LOW_PER_EPS = 7 / 8  # 7/255 there


def read_number(name: str, value: object) -> float:
    """A number, or a fraction that is typed: ``"8/255"``.

    Raises:
        OptionError: it is neither.
    """
    try:
        if isinstance(value, str):
            above, _, below = value.partition("/")
            number = float(above) / float(below or 1)
        elif isinstance(value, Real) and not isinstance(value, bool):
            number = float(value)
        else:
            raise ValueError
        if math.isfinite(number):
            return number
    except (ValueError, ZeroDivisionError):
        pass
    raise OptionError(f"{argument(name)} must be a number or a fraction like 8/255, got {value!r}")


def _whole(name: str, value: object, least: int) -> None:
    if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
        raise OptionError(
            f"{argument(name)} must be a whole number of at least {least}, got {value!r}"
        )


def _hold(options: Any, name: str, value: object) -> None:
    object.__setattr__(options, name, value)  # of a frozen dataclass


@dataclass(frozen=True, kw_only=True)
class BudgetOptions:
    """How far each pixel may be moved, in shares of the pixels' range: 8/255 is eight grey levels.

    Attributes:
        eps: of the pixels that the heatmap marks, and of all where there is no heatmap.
        eps_low: of the others, from 0 to ``eps``; seven eighths of ``eps`` if None.
        threshold: z-score of the heat, over the pixels of an image, above which a pixel is marked.

    Raises:
        OptionError: a value that cannot be used.
    """

    eps: float | str = option(
        "8/255", "how far a pixel may be moved, as a share of the pixels' range", text=str
    )
    eps_low: float | str | None = option(
        None, "the same of pixels that the heatmap does not mark; by default 7/8 of EPS",
        text=str | None,
    )  # fmt: skip
    threshold: float = option(
        0.0, "z-score of an image's heat above which a pixel is marked; 0 is the mean heat"
    )

    def __post_init__(self) -> None:
        eps = read_number("eps", self.eps)
        if not 0 < eps <= 1:
            raise OptionError(
                f"{argument('eps')} must lie above 0 and at most at 1, the whole range of pixels, "
                f"got {self.eps!r}; eight grey levels are {argument('eps', '8/255')}"
            )
        _hold(self, "eps", eps)
        if self.eps_low is not None:
            low = read_number("eps_low", self.eps_low)
            if not 0 <= low <= eps:
                raise OptionError(
                    f"{argument('eps_low')} must lie between 0 and {argument('eps')} ({eps:.4g}), "
                    f"got {self.eps_low!r}"
                )
            _hold(self, "eps_low", low)
        _hold(self, "threshold", read_number("threshold", self.threshold))

    @property
    def full(self) -> float:
        """Of marked pixels."""
        return float(self.eps)

    @property
    def low(self) -> float:
        """Of others."""
        return LOW_PER_EPS * self.full if self.eps_low is None else float(self.eps_low)


@dataclass(frozen=True, kw_only=True)
class AttackOptions:
    """An attack by steps (PGD or the minimum-margin attack) against a trained network.

    Attributes:
        steps: how many.
        step_size: of each, in shares of the pixels' range; a quarter of ``eps`` if None.
        restarts: from how many random places it starts; an image counts as robust if all fail.

    Raises:
        OptionError: a value that cannot be used.
    """

    steps: int = option(20, "steps of the attack")
    step_size: float | str | None = option(
        None, "of each step, a share of the pixels' range; by default a quarter of EPS",
        text=str | None,
    )  # fmt: skip
    restarts: int = option(
        1, "random places that the attack starts from; a robust image withstands all of them"
    )

    def __post_init__(self) -> None:
        _whole("steps", self.steps, 1)
        _whole("restarts", self.restarts, 1)
        _hold(self, "step_size", _step(self.step_size))

    def step(self, eps: float) -> float:
        """The size of a step for a budget."""
        return step_of(self.step_size, eps)


def _step(given: object) -> float | None:
    if given is None:
        return None
    size = read_number("step_size", given)
    if size <= 0:
        raise OptionError(f"{argument('step_size')} must be above 0, got {given!r}")
    return size


def step_of(size: Any, eps: Any) -> float:
    """A step as it was given, or its usual size for a budget."""
    return eps / STEPS_PER_EPS if size is None else size


@dataclass(frozen=True, kw_only=True)
class TrainingOptions:
    """Adversarial training.

    Attributes:
        objective: ``"at"``, cross-entropy on attacked images (Madry et al., 2018); ``"trades"``
            (Zhang et al., 2019); ``"mart"`` (Wang et al., 2020). With a CAM they are PART, PART-T
            and PART-M (Zhang et al., 2024).
        beta: weight of the second term of ``"trades"`` and ``"mart"``.
        attack: that makes the images to train on: ``"pgd"`` (Madry et al., 2018), or ``"mma"``, the
            minimum-margin attack (Gao et al., 2022) within the same budgets, which takes three
            times as long. ``"trades"`` trains by an attack of its own and takes ``"pgd"`` alone.
        epochs: how many in all.
        warm_up: of these, how many at first in which every pixel has the full budget.
        refresh: the heatmaps are made anew every so many epochs.
        steps, step_size: of the attack, as for :class:`AttackOptions`.
        batch: images of one.
        learning_rate, momentum, weight_decay: of stochastic gradient descent. The learning rate
            falls to a tenth after three quarters of the epochs, and again after nine tenths.
        augment: shift images by up to an eighth of each side and flip them at random.
        precision: ``"float32"``, or ``"bfloat16"`` for torch's automatic mixed precision.

    Raises:
        OptionError, UnknownNameError: a value that cannot be used.
    """

    objective: str = option(
        OBJECTIVES[0], "at (cross-entropy), trades or mart: with a CAM PART, PART-T and PART-M"
    )
    beta: float = option(6.0, "weight of the second term of trades and mart")
    attack: str = option(PGD, "that makes the images to train on: pgd, or mma (minimum margin)")
    epochs: int = option(100, "epochs in all")
    warm_up: int = option(20, "epochs at first in which every pixel has the full budget")
    refresh: int = option(1, "heatmaps are made anew every so many epochs")
    steps: int = option(10, "steps of the attack while training")
    step_size: float | str | None = option(
        None, "of each step, a share of the pixels' range; by default a quarter of EPS",
        text=str | None,
    )  # fmt: skip
    batch: int = option(128, "images of a batch")
    learning_rate: float = option(
        0.1,
        "of stochastic gradient descent; a tenth of it after 3/4 of the epochs, again after 9/10",
    )
    momentum: float = option(0.9, "of stochastic gradient descent")
    weight_decay: float = option(5e-4, "of stochastic gradient descent")
    augment: bool = option(False, "shift (by up to an eighth of each side) and flip at random")
    precision: str = option(
        FLOAT32, "of training: float32 or bfloat16 (automatic mixed precision)", group="Device"
    )

    def __post_init__(self) -> None:
        if self.objective not in OBJECTIVES:
            raise unknown_name("objective", str(self.objective), OBJECTIVES)
        check_by_steps(self.attack)
        if self.attack == MMA and self.objective == TRADES:
            raise OptionError(
                f"{argument('attack', MMA)} seeks the least margin of a label, and "
                f"{argument('objective', TRADES)} trains on images where the prediction has moved "
                f"furthest, whatever the label; take {argument('attack', PGD)}, or "
                f"{argument('objective', AT)} or {argument('objective', MART)}"
            )
        for name, least in (("epochs", 1), ("warm_up", 0), ("refresh", 1), ("steps", 1)):
            _whole(name, getattr(self, name), least)
        _whole("batch", self.batch, 1)
        for name in ("beta", "learning_rate", "momentum", "weight_decay"):
            _hold(self, name, read_number(name, getattr(self, name)))
        for name in ("beta", "weight_decay"):
            if getattr(self, name) < 0:
                raise OptionError(
                    f"{argument(name)} must be at least 0, got {getattr(self, name)!r}"
                )
        if self.learning_rate <= 0:
            raise OptionError(
                f"{argument('learning_rate')} must be above 0, got {self.learning_rate!r}"
            )
        if not 0 <= self.momentum < 1:
            raise OptionError(
                f"{argument('momentum')} must lie from 0 to below 1, got {self.momentum!r}"
            )
        _hold(self, "step_size", _step(self.step_size))
        if self.precision not in PRECISIONS:
            raise OptionError(
                f"{argument('precision')} {self.precision!r} is not known; expected "
                f"{' or '.join(PRECISIONS)}"
            )
        if self.augment and self.refresh > 1:
            raise OptionError(
                f"{argument('refresh')} keeps heatmaps for {self.refresh} epochs, and "
                f"{argument('augment', True)} shifts the images under them; take "
                f"{argument('refresh', 1)}"
            )

    def step(self, eps: float) -> float:
        """The size of a step for a budget."""
        return step_of(self.step_size, eps)

    def rate(self, epoch: int) -> float:
        """The learning rate of an epoch, counted from 0."""
        passed = sum(epoch >= part * self.epochs for part in (0.75, 0.9))
        return self.learning_rate * 0.1**passed


def check_by_steps(attack: str) -> None:
    """UnknownNameError where it is no attack that moves images step by step."""
    if attack not in BY_STEPS:
        raise unknown_name("attack", str(attack), BY_STEPS)


def check_attacks(attacks: str | Sequence[str]) -> tuple[str, ...]:
    """The attacks that were asked for, each once.

    Raises:
        OptionError, UnknownNameError: none, or one that is not known.
    """
    listed = [attacks] if isinstance(attacks, str) else attacks
    found = tuple(dict.fromkeys(map(str, listed)))
    if not found:
        raise OptionError(
            f"{argument('attacks')} must be one or several of {', '.join(ATTACKS)}, got none"
        )
    for name in found:
        if name not in ATTACKS:
            raise unknown_name("attack", name, ATTACKS)
    return found
