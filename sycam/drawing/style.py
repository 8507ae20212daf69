"""How heatmaps are laid over images, as two values."""

from __future__ import annotations

from dataclasses import dataclass

from sycam.errors import OptionError
from sycam.support.arguments import argument

# Their lightness rises evenly, so that they also print in grey.
COLOUR_MAPS = ("inferno", "magma", "plasma", "viridis", "cividis", "gray")


@dataclass(frozen=True)
class Style:
    """How heatmaps are laid over images.

    Attributes:
        colour_map: one of :data:`COLOUR_MAPS`.
        opacity: share of the heatmap's colour where it is hottest, above 0 and at most 1.

    Raises:
        OptionError: neither of these.
    """

    colour_map: str = COLOUR_MAPS[0]
    opacity: float = 0.85

    def __post_init__(self) -> None:
        if self.colour_map not in COLOUR_MAPS:
            raise OptionError(
                f"colour map {self.colour_map!r} is not known; expected one of those whose "
                f"lightness rises evenly: {', '.join(COLOUR_MAPS)}"
            )
        if not 0 < self.opacity <= 1:
            raise OptionError(
                f"{argument('opacity')} must be above 0 and at most 1, got {self.opacity!r}"
            )


USUAL = Style()
