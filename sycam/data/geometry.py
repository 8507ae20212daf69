"""How an image's pixels reach the network's grid: one map for picture, mask and boxes alike."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
from PIL import Image

Box = tuple[float, float, float, float]
"""``(x0, y0, x1, y1)`` in pixels of the original image; edges, so a whole image is 0, 0, W, H."""

LONG = 16  # a picture is long when it has so many times the pixels that are cut out


@dataclass(frozen=True)
class Geometry:
    """A centred crop of an original image, resampled to ``out_height × out_width``.

    To resize the short side to S and then cut S×S from the centre is the same map as to cut the
    central square first and resample it to S×S. The latter is used: it resamples once, its scale
    is the same on both axes, and a very long image needs no memory.

    Example:
        >>> Geometry.centred(width=400, height=300, size=100)
        Geometry(left=50, top=0, width=300, height=300, out_width=100, out_height=100)
    """

    left: int | Fraction
    top: int | Fraction
    width: int | Fraction
    height: int | Fraction
    out_width: int
    out_height: int
    whole: tuple[int, int] | None = field(default=None, repr=False)
    """Width and height to which the whole picture is resampled before the crop, if it is."""

    @classmethod
    def centred(cls, width: int, height: int, size: int | None) -> Geometry:
        """The short side to ``size``, then the centre cut out; None leaves all as it is."""
        if size is None:
            return cls(0, 0, width, height, width, height)
        side = min(width, height)
        return cls((width - side) // 2, (height - side) // 2, side, side, size, size)

    @classmethod
    def resized(
        cls, width: int, height: int, resize: int, size: int, squash: bool = False
    ) -> Geometry:
        """The map of the usual two steps: short side to ``resize``, then ``size`` of the centre.

        Rounded as torchvision's Resize and CenterCrop round. With ``squash`` both sides become
        ``resize``, whatever their ratio.
        """
        short, long = sorted((width, height))
        side = resize * long // short
        out_width, out_height = (resize, side) if width <= height else (side, resize)
        if squash:
            out_width = out_height = resize
        # Python's round, to the even neighbour, as CenterCrop has it.
        left, top = round((out_width - size) / 2), round((out_height - size) / 2)
        return cls(
            Fraction(left * width, out_width),
            Fraction(top * height, out_height),
            Fraction(size * width, out_width),
            Fraction(size * height, out_height),
            size,
            size,
            (out_width, out_height),
        )

    @property
    def is_identity(self) -> bool:
        """Whether pixels are only cut, not resampled."""
        return (self.width, self.height) == (self.out_width, self.out_height)

    def picture(
        self, image: Image.Image, resample: Image.Resampling = Image.Resampling.BICUBIC
    ) -> Image.Image:
        """Resample a picture (with antialiasing when it shrinks).

        Where the whole is resampled first, so it is done here, and pixels are the same bit for
        bit; only of a picture so long that this would take much memory, just what is cut out is
        resampled, and pixels may differ by rounding.
        """
        if self.whole and self.whole[0] * self.whole[1] <= LONG * self.out_width * self.out_height:
            x = int(self.left * self.whole[0] / image.width)
            y = int(self.top * self.whole[1] / image.height)
            whole = image if image.size == self.whole else image.resize(self.whole, resample)
            return whole.crop((x, y, x + self.out_width, y + self.out_height))
        left, top = self.left, self.top
        right, bottom = left + self.width, top + self.height
        if self.is_identity and all(edge == int(edge) for edge in (left, top, right, bottom)):
            return image.crop((int(left), int(top), int(right), int(bottom)))
        # Rounding must not carry the box past the image, which Pillow refuses.
        within = (
            float(left),
            float(top),
            min(float(right), image.width),
            min(float(bottom), image.height),
        )
        return image.resize((self.out_width, self.out_height), resample, box=within)

    def mask(self, mask: np.ndarray) -> np.ndarray:
        """Take a mask ``[H, W]`` to ``[out_height, out_width]`` by the nearest pixel."""
        # Whole-number arithmetic, so that no rounding moves an edge (and boxes() can agree).
        columns = _pixels(self.left, self.width, self.out_width)
        rows = _pixels(self.top, self.height, self.out_height)
        return mask[rows[:, None], columns[None, :]]

    def boxes(self, boxes: Iterable[Box]) -> np.ndarray:
        """Draw the union of boxes as a mask.

        A pixel belongs to a box when its centre does, so a box on whole pixels and a mask
        painted on the same pixels give the same result. A box thinner than a pixel of the result
        marks the one pixel that holds its middle; a box without area marks nothing.

        Args:
            boxes: ``(x0, y0, x1, y1)`` in pixels of the original image.

        Returns:
            bool ``[out_height, out_width]``.
        """
        union = np.zeros((self.out_height, self.out_width), dtype=bool)
        for x0, y0, x1, y1 in boxes:
            if x1 > x0 and y1 > y0:
                columns = _covered(x0, x1, self.left, self.width, self.out_width)
                rows = _covered(y0, y1, self.top, self.height, self.out_height)
                union |= rows[:, None] & columns[None, :]
        return union

    def outlines(self, boxes: Iterable[Box]) -> np.ndarray:
        """The edges of boxes in pixels of the result, cut off where it ends.

        Args:
            boxes: ``(x0, y0, x1, y1)`` in pixels of the original image.

        Returns:
            float64 ``[n, 4]``, (x0, y0, x1, y1) of those boxes of which something is left.
        """
        start = np.array([self.left, self.top] * 2, dtype=float)
        scale = np.array([self.out_width / self.width, self.out_height / self.height] * 2, float)
        edges = (np.array(list(boxes), dtype=float).reshape(-1, 4) - start) * scale
        edges = edges.clip(0, [self.out_width, self.out_height] * 2)
        return edges[(edges[:, 0] < edges[:, 2]) & (edges[:, 1] < edges[:, 3])]


def _pixels(start: int | Fraction, length: int | Fraction, out: int) -> np.ndarray:
    """The pixel that holds the centre of each of ``out`` cells over [start, start + length)."""
    start, length = Fraction(start), Fraction(length)
    parts = 2 * out * start.denominator * length.denominator
    first = start.numerator * 2 * out * length.denominator
    each = length.numerator * start.denominator
    return (first + (2 * np.arange(out) + 1) * each) // parts


def _covered(
    low: float, high: float, start: float | Fraction, length: float | Fraction, out: int
) -> np.ndarray:
    """Which of ``out`` cells over ``[start, start + length)`` have their centre in [low, high)."""
    if not (isinstance(start, int) and isinstance(length, int)):
        start, length = float(start), float(length)
    centres = start + (2 * np.arange(out) + 1) * length / (2 * out)
    covered = (centres >= low) & (centres < high)
    middle = (low + high) / 2
    if not covered.any() and start <= middle < start + length:
        covered[min(out - 1, int((middle - start) * out / length))] = True
    return covered
