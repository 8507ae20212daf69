"""Which noise, as options that validate themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING

from sycam.data.noise_kinds import LEVELS, NOISES
from sycam.errors import OptionError, unknown_name
from sycam.support.arguments import argument
from sycam.support.options import option

if TYPE_CHECKING:
    from sycam.metrics.robustness.noise import Noise

USUAL = ",".join(LEVELS)


@dataclass(frozen=True, kw_only=True)
class RobustnessOptions:
    """Which noise is added to the images.

    Attributes:
        noises: kinds of :data:`sycam.data.noise_kinds.NOISES`, each as wanted with levels of
            its own (``"gaussian:0.05+0.2"``); as text separated by commas.
        levels: of the kinds that name none, each above 0, shares of an image's range or, of blur,
            of its shorter side; as text separated by commas. If empty those of the metric ``rm``.
        persistence: p of the rank-biased overlap, between 0 and 1.

    Raises:
        OptionError, UnknownNameError: a value that cannot be used.
    """

    noises: str | Sequence[str] = option(
        USUAL,
        f"kinds of noise, of {', '.join(NOISES)}, separated by commas; each may have levels of its "
        "own, like gaussian:0.05+0.2,blur",
        text=str,
    )
    levels: str | Sequence[float] = option(
        "",
        "levels of the kinds that name none, separated by commas: shares of an image's range or, "
        "of blur, of its shorter side; by default those of the metric rm",
        text=str,
    )
    persistence: float = option(
        0.9,
        "of the rank-biased overlap, between 0 and 1: the smaller, the more weigh the first ranks",
    )

    def __post_init__(self) -> None:
        for name in ("noises", "levels"):
            value = getattr(self, name)
            parts = value.split(",") if isinstance(value, str) else tuple(value)
            held = tuple(one.strip() if isinstance(one, str) else one for one in parts)
            object.__setattr__(self, name, () if held == ("",) else held)
        if not isinstance(self.persistence, Real) or not 0 < self.persistence < 1:
            raise OptionError(
                f"{argument('persistence')} must lie between 0 and 1, got {self.persistence!r}"
            )
        if not self.copies:
            raise OptionError(f"{argument('noises')} must be one kind or several, like {USUAL}")

    @property
    def copies(self) -> tuple[Noise, ...]:
        """One noisy copy of every image for each kind and level, levels ascending."""
        found: dict[Noise, None] = {}
        for text in self.noises:
            kind, _, own = str(text).partition(":")
            if kind not in NOISES:
                raise unknown_name("noise", kind, NOISES)
            listed = own.split("+") if own else self.levels or LEVELS.get(kind, ())
            if not listed:
                raise OptionError(
                    f"{kind} noise has no usual levels; name some, like {kind}:0.05+0.1, or for "
                    f"all kinds by {argument('levels')}"
                )
            found |= dict.fromkeys(sorted(_noises(kind, listed), key=lambda one: one.level))
        return tuple(found)


def _noises(kind: str, levels: Sequence[str | float]) -> list[Noise]:
    from sycam.metrics.robustness.noise import Noise

    try:
        return [Noise(kind, float(level)) for level in levels]
    except (TypeError, ValueError):
        raise OptionError(
            f"levels of {kind} noise must be numbers above 0, like 0.05 and 0.2, got "
            f"{', '.join(map(str, levels))}"
        ) from None
