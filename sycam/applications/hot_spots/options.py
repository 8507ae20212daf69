"""Which regions are removed and what they become, as options that validate themselves."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real

from sycam.errors import OptionError, unknown_name
from sycam.support.arguments import argument
from sycam.support.options import option

MEAN, BLUR, ROAD = FILLS = ("mean", "blur", "road")


@dataclass(frozen=True, kw_only=True)
class AblationOptions:
    """Which regions are removed and what they become.

    Attributes:
        threshold: heat from which on a pixel is hot, above 0 and at most 1.
        top: percent of the pixels that are hot instead, the hottest ones, above 0 and below 100.
        smallest: percent of the image below which a connected region is left out, from 0 to 100.
        most: how many regions of an image count, those with the most heat; all if None.
        allowed: keep of the regions what the masks mark, such as the objects that a driver could
            be told of; needs masks.
        fill: what removed pixels become: one of :data:`FILLS`.
        shifts: how many shifted copies of the regions they are compared with.
        examples: how many images are drawn.

    Raises:
        OptionError, UnknownNameError: a value that cannot be used.
    """

    threshold: float = option(0.5, "heat from which on a pixel is hot, above 0 and at most 1")
    top: float | None = option(
        None, "percent of the pixels, the hottest ones, that are hot in place of a threshold"
    )
    smallest: float = option(
        0.1, "percent of the image: connected regions that are smaller are left out"
    )
    most: int | None = option(
        None, "how many regions of an image count, those with the most heat; by default all"
    )
    allowed: bool = option(
        False, "keep of the regions only what the masks (or boxes) mark: objects that may be told"
    )
    fill: str = option(
        MEAN,
        "what removed pixels become: the image's mean colour, a heavy blur, or road, the imputer "
        "of that metric",
        text=str,
        more={"metavar": "|".join(FILLS)},
    )
    shifts: int = option(
        8, "shifted copies of the regions, elsewhere in the image, that they are compared with"
    )
    examples: int = option(8, "how many images are drawn, from the largest change to the least")

    def __post_init__(self) -> None:
        if not _between(self.threshold, 0, 1) and self.threshold != 1:
            raise OptionError(
                f"{argument('threshold')} must be above 0 and at most 1, got {self.threshold!r}"
            )
        if self.top is not None and not _between(self.top, 0, 100):
            raise OptionError(
                f"{argument('top')} must be a percentage above 0 and below 100, got {self.top!r}"
            )
        if not _between(self.smallest, 0, 100) and self.smallest != 0:
            raise OptionError(
                f"{argument('smallest')} must be a percentage from 0 to below 100, got "
                f"{self.smallest!r}"
            )
        if self.fill not in FILLS:
            raise unknown_name("fill", self.fill, FILLS)
        for name, least in (("most", 1), ("shifts", 1), ("examples", 0)):
            value = getattr(self, name)
            if value is None and name == "most":
                continue
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise OptionError(
                    f"{argument(name)} must be a whole number of at least {least}, got {value!r}"
                )

    @property
    def said(self) -> str:
        """Which pixels are hot, for people."""
        hot = f"heat {self.threshold:g} or more" if self.top is None else f"top {self.top:g} %"
        return f"{hot}, within the masks" if self.allowed else hot


def _between(value: object, low: float, high: float) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and low < value < high
