"""From the pixels of a picture to what a network takes: resize, crop, mean and std."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from PIL import Image

from sycam.data.geometry import Geometry
from sycam.errors import OptionError
from sycam.support.arguments import argument

FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


LARGEST = 8192  # pixels a side


@dataclass(frozen=True)
class Preprocessing:
    """How pictures become the input of a network.

    Attributes:
        size: side of the square that is cut from the centre; None leaves pictures as they are.
        resize: what the short side is resized to before; ``size`` if None.
        mean: 1 or C numbers, subtracted after the pixels were divided by 255; 0 if None.
        std: 1 or C numbers above 0, divided by afterwards; 1 if None.
        interpolation: ``"nearest"``, ``"bilinear"``, ``"bicubic"`` or ``"lanczos"`` (with
            antialiasing where a picture shrinks).
        channels: 3 (RGB) or 1 (grey) where the network takes nothing else; grey where mean has
            one number and std not more, else RGB, if None.
        squash: both sides are resized to ``resize``, whatever their ratio.
        window: centre and width of the intensities of medical files and of sixteen-bit grey that
            become 0 to 1; a file's own (0 to 65535 of pictures) if None.

    Raises:
        OptionError: a value out of range.
    """

    size: int | None = None
    resize: int | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    interpolation: str = "bicubic"
    channels: int | None = None
    squash: bool = False
    window: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        for name in ("size", "resize"):
            value = getattr(self, name)
            if value is not None and not 1 <= value <= LARGEST:
                raise OptionError(f"{argument(name)} is {value}; expected 1 to {LARGEST} pixels")
        if self.resize is not None and (self.size is None or self.resize < self.size):
            raise OptionError(
                f"{argument('resize')} is {self.resize}, {argument('size')} (the side of the "
                f"centre crop) {self.size}; expected a size not above it"
            )
        if self.interpolation not in FILTERS:
            raise OptionError(
                f"{argument('interpolation')} {self.interpolation!r} is not known; expected "
                f"{', '.join(FILTERS)}"
            )
        if self.window is not None and not _is_window(self.window):
            raise OptionError(
                f"{argument('window')} is {_numbers(self.window)}; expected the centre and the "
                "width (above 0) of the intensities that become 0 to 1, like 40,400"
            )
        for name in ("mean", "std", "window"):
            values = getattr(self, name)
            if values is not None:
                object.__setattr__(self, name, tuple(float(value) for value in values))

    @property
    def wanted_channels(self) -> int:
        """Of a picture that may have any: 3 (RGB) or 1 (grey)."""
        if self.channels is not None:
            return self.channels
        grey = self.mean is not None and len(self.mean) == 1
        return 1 if grey and (self.std is None or len(self.std) == 1) else 3

    def geometry(self, width: int, height: int) -> Geometry:
        """The map of a picture of this width and height to the network's grid."""
        if self.size is None or not (self.resize or self.squash):
            return Geometry.centred(width, height, self.size)
        return Geometry.resized(width, height, self.resize or self.size, self.size, self.squash)

    @property
    def filter(self) -> Image.Resampling:
        """The interpolation, as Pillow names it."""
        return FILTERS[self.interpolation]

    def scale(self, channels: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and std with one finite number per channel."""
        scales = []
        for name, values, default in (("mean", self.mean, 0.0), ("std", self.std, 1.0)):
            numbers = [default] if values is None else list(values)
            if len(numbers) not in (1, channels):
                expected = "1" if channels == 1 else f"1 or {channels}"
                raise OptionError(
                    f"{argument(name)} has {len(numbers)} numbers, the images {channels} channels; "
                    f"expected {expected}"
                )
            if not all(map(math.isfinite, numbers)) or (name == "std" and min(numbers) <= 0):
                raise OptionError(
                    f"{argument(name)} is {_numbers(numbers)}; "
                    + ("expected finite numbers" if name == "mean" else "expected numbers above 0")
                )
            scales.append(tuple(numbers * (channels // len(numbers))))
        return scales[0], scales[1]

    def but(
        self,
        size: int | None = None,
        resize: int | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        interpolation: str | None = None,
        window: Sequence[float] | None = None,
    ) -> Preprocessing:
        """The same with what is given put in its place.

        A ``size`` without ``resize`` means both: short side to ``size``, centre crop.
        """
        given = {
            "size": size,
            "resize": resize,
            "mean": None if mean is None else tuple(mean),
            "std": None if std is None else tuple(std),
            "interpolation": interpolation,
            "window": None if window is None else tuple(window),
        }
        changes: dict[str, Any] = {k: value for k, value in given.items() if value is not None}
        if size is not None and resize is None:
            changes["resize"] = None
        return replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, ready for JSON; the arguments that make the same again."""
        made: dict[str, Any] = {
            "size": self.size,
            "resize": self.resize,
            "mean": None if self.mean is None else list(self.mean),
            "std": None if self.std is None else list(self.std),
            "interpolation": self.interpolation,
            "channels": self.channels,
            "squash": self.squash,
        }
        return made if self.window is None else made | {"window": list(self.window)}

    def __str__(self) -> str:
        if self.size is None:
            place = "as large as they are"
        else:
            side = self.resize or self.size
            sides = "both sides" if self.squash else "short side"
            place = f"{sides} to {side} ({self.interpolation}), centre crop {self.size}"
        mean, std = self.mean or (0.0,), self.std or (1.0,)
        return f"{place}, then (pixels / 255 - mean {_numbers(mean)}) / std {_numbers(std)}"


def _is_window(values: Sequence[float]) -> bool:
    return len(values) == 2 and all(map(math.isfinite, values)) and values[1] > 0


def _numbers(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.4g}" for value in values)
