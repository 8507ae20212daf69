"""Scenes with an exact answer: a real handwritten digit on a real photograph.

A scene is a 64×64 crop of one of scikit-learn's two sample photographs, a handwritten digit of
``sklearn.datasets.load_digits`` in a colour that stands out against what is under it, and a few
distractor strokes in similar colours and thicknesses. Where the digit's ink lies is known to the
pixel, so a heatmap can be compared with what the network should look at. Everything is computed
from data that scikit-learn installs: no download.

The splits share neither a source digit nor a pixel of the photographs (:func:`digit_indices`,
:func:`photo_region`), so a score on ``"heldout"`` is a score on digits and places never seen.
"""

from __future__ import annotations

import colorsys
import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

from sycam.errors import OptionError

SIDE = 64
"""Height and width of a scene in pixels."""

SPLITS = ("train", "search", "heldout")
"""The names of the splits; the position is part of a scene's seed."""

CLASS_NAMES = tuple("0123456789")
"""What the labels 0 to 9 stand for."""

# Source digits of each split: consecutive runs of one fixed permutation, independent of any seed
# that a caller gives, so that no choice of seed can move a digit from one split to another.
_PARTITION_SEED = 20240229
_DIGITS_IN = {"train": 1197, "search": 250, "heldout": 350}

# Rows of both photographs (427×640) that each split may crop: horizontal bands, because each then
# holds building or trees, water or sky, petals and the blurred ground around the flower. Eight
# rows lie idle between two bands, as neighbouring pixels of a photograph are nearly equal.
_ROWS_OF = {"train": (0, 211), "search": (219, 319), "heldout": (327, 427)}

_DIGIT_SIDE = (22.0, 42.0)  # side of the scaled 8×8 grid, pixels
_INK_LEVEL = 0.44  # grid value (0 to 1) at the outline of the ink
_SUPERSAMPLING = 3  # strokes are drawn this much larger, then averaged down
_CLEARANCE = 2  # pixels between the digit's ink and any distractor, and between distractors
_CONTRAST = 70.0  # luma levels between the digit and 90 % of what lies under and around it
_LUMA = np.array([0.299, 0.587, 0.114])


@dataclass(frozen=True, eq=False)
class Scenes:
    """Images with labels and exact masks; N scenes of H = W = 64 pixels.

    Attributes:
        images: uint8 [N, H, W, 3], RGB.
        labels: int64 [N], the digit, 0 to 9.
        masks: bool [N, H, W], True where the digit's ink covers more than half of the pixel.
    """

    images: np.ndarray
    labels: np.ndarray
    masks: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        return f"Scenes({len(self)} of {SIDE}×{SIDE})"


def scenes(split: str, count: int, seed: int = 0) -> Scenes:
    """Compose the first ``count`` scenes of a split.

    Scene i depends on (seed, split, i) only: a longer call begins with the shorter call's scenes.

    Args:
        split: ``"train"``, ``"search"`` or ``"heldout"``.
        count: number of scenes, at least 1. More than there are source digits is fine: a digit
            comes back in another size, colour and place.
        seed: at least 0; another seed gives other scenes of the same split.

    Returns:
        The scenes, images uint8 [count, 64, 64, 3], labels int64 [count], masks bool
        [count, 64, 64].

    Raises:
        OptionError: for an unknown split, a count below 1, a negative seed.

    >>> few = scenes("search", 3)
    >>> few.images.shape, few.labels.shape, few.masks.shape
    ((3, 64, 64, 3), (3,), (3, 64, 64))
    """
    return scenes_between(split, 0, _natural("count", count, least=1), seed)


def scenes_with_and_without(split: str, count: int, seed: int = 0) -> Scenes:
    """Scenes of which every second one, from the second on, has no digit.

    Args and Raises as for :func:`scenes`, whose scenes they are, but for the digits left out.

    Returns:
        The scenes; the label is 1 where there is a digit, else 0, and the mask marks nothing.

    >>> scenes_with_and_without("search", 3).labels.tolist()
    [1, 0, 1]
    """
    found = scenes(split, count, seed)
    found.labels[:] = 1
    for row in range(1, count, 2):
        rng = np.random.default_rng([seed, SPLITS.index(split), row])
        found.images[row], _, _ = _scene(split, rng, digit=False)
        found.labels[row], found.masks[row] = 0, False
    return found


def scenes_between(split: str, start: int, stop: int, seed: int = 0) -> Scenes:
    """Scenes ``start`` to ``stop - 1`` of a split: a slice of :func:`scenes`, for parallel work.

    Args and Raises as for :func:`scenes`; ``0 <= start < stop``.
    """
    _check_split(split)
    start = _natural("start", start, least=0)
    stop = _natural("stop", stop, least=start + 1)
    seed = _natural("seed", seed, least=0)
    count = stop - start
    images = np.empty((count, SIDE, SIDE, 3), np.uint8)
    labels = np.empty(count, np.int64)
    masks = np.empty((count, SIDE, SIDE), bool)
    for row in range(count):
        rng = np.random.default_rng([seed, SPLITS.index(split), start + row])
        images[row], labels[row], masks[row] = _scene(split, rng)
    return Scenes(images, labels, masks)


def digit_indices(split: str) -> np.ndarray:
    """The source digits of a split: int64 [n], sorted positions in ``load_digits()``."""
    _check_split(split)
    order = np.random.default_rng(_PARTITION_SEED).permutation(sum(_DIGITS_IN.values()))
    before = sum(_DIGITS_IN[other] for other in SPLITS[: SPLITS.index(split)])
    return np.sort(order[before : before + _DIGITS_IN[split]])


def photo_region(split: str) -> tuple[slice, slice]:
    """The (rows, columns) of both sample photographs that scenes of a split are cropped from."""
    _check_split(split)
    return slice(*_ROWS_OF[split]), slice(0, 640)


def _check_split(split: str) -> None:
    if split not in SPLITS:
        raise OptionError(f"split {split!r} is not known; choose one of {', '.join(SPLITS)}")


def _natural(name: str, value: int, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise OptionError(f"{name} must be a whole number of at least {least}, not {value!r}")
    return int(value)


# ---------------------------------------------------------------------------- sources


@functools.cache
def _glyphs() -> tuple[np.ndarray, np.ndarray]:
    """Cubic spline coefficients [1797, 12, 12] of the digits (2 empty cells around), and labels."""
    from sklearn.datasets import load_digits  # slow to import

    digits = load_digits()
    padded = np.pad(digits.images / 16.0, ((0, 0), (2, 2), (2, 2)))
    coefficients = np.stack([ndimage.spline_filter(grid, order=3) for grid in padded])
    return coefficients, digits.target.astype(np.int64)


@functools.cache
def _sources(split: str) -> tuple[np.ndarray, tuple[Image.Image, ...]]:
    """A split's source digits and its part of each photograph, cut out beforehand so that no
    resampling can reach a pixel of another split."""
    from sklearn.datasets import load_sample_images  # slow to import

    region = photo_region(split)
    photos = load_sample_images().images
    return digit_indices(split), tuple(
        Image.fromarray(np.ascontiguousarray(photo[region])) for photo in photos
    )


# ---------------------------------------------------------------------------- composition


def _scene(
    split: str, rng: np.random.Generator, digit: bool = True
) -> tuple[np.ndarray, int, np.ndarray]:
    """One scene: image uint8 [64, 64, 3], label, mask bool [64, 64]; all the same, but for the
    digit's ink, if there is to be no digit."""
    indices, photos = _sources(split)
    coefficients, targets = _glyphs()
    source = rng.choice(indices)

    side = rng.uniform(*_DIGIT_SIDE)
    ink = _place(_render_digit(coefficients[source], side, rng), rng)
    around = _grow(ink > 0, _CLEARANCE)
    for _ in range(8):  # crops, until one leaves room for a colour that stands out everywhere
        canvas = _background(photos[rng.integers(len(photos))], rng)
        colour, contrast = _contrasting_colour(canvas[around], rng)
        if contrast >= _CONTRAST:
            break

    taken = around
    for _ in range(rng.integers(2, 6)):
        stroke = _free_stroke(taken, side, rng)
        if stroke is not None:
            # Strokes keep off each other too: two that meet could read as a 4 or a 7.
            taken = taken | _grow(stroke > 0, _CLEARANCE)
            _paint(canvas, stroke * rng.uniform(0.75, 1.0), _stroke_colour(colour, rng))
    ink_opacity = rng.uniform(0.85, 1.0)
    if digit:
        _paint(canvas, ink * ink_opacity, colour)

    canvas += rng.normal(0.0, rng.uniform(0.5, 4.0), canvas.shape)  # a camera's noise
    return np.clip(np.rint(canvas), 0, 255).astype(np.uint8), int(targets[source]), ink > 0.5


def _background(photo: Image.Image, rng: np.random.Generator) -> np.ndarray:
    """A random crop of a photograph, scaled and flipped: float64 [64, 64, 3], 0 to 255."""
    width, height = photo.size
    crop = rng.uniform(48.0, 98.0)
    left, top = rng.uniform(0, width - crop), rng.uniform(0, height - crop)
    box = (left, top, left + crop, top + crop)
    pixels = np.asarray(photo.resize((SIDE, SIDE), Image.Resampling.BICUBIC, box), np.float64)
    if rng.random() < 0.5:
        pixels = pixels[:, ::-1]
    if rng.random() < 0.25:
        pixels = pixels[::-1]
    return pixels * rng.uniform(0.8, 1.1)


def _render_digit(coefficients: np.ndarray, side: float, rng: np.random.Generator) -> np.ndarray:
    """A digit's ink, scaled, slightly turned and sheared: float64 [h, w], 0 to 1, cut to size."""
    turn, shear = math.radians(rng.uniform(-12, 12)), rng.uniform(-0.15, 0.15)
    stretch = rng.uniform(0.9, 1.1)
    cell = 8.0 / side  # grid cells per pixel
    rotation = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    to_grid = rotation @ np.array([[1.0, 0.0], [shear, stretch]]) * cell
    centre_of_grid, centre = np.full(2, 5.5), np.full(2, (SIDE - 1) / 2)
    grid = ndimage.affine_transform(
        coefficients,
        to_grid,
        offset=centre_of_grid - to_grid @ centre,
        output_shape=(SIDE, SIDE),
        order=3,
        prefilter=False,
    )
    # A ramp about one pixel wide at the outline: crisp strokes at every size.
    ramp = np.clip((grid - _INK_LEVEL) / (4.5 / side) + 0.5, 0.0, 1.0)
    ink = ramp * ramp * (3.0 - 2.0 * ramp)
    rows, columns = np.flatnonzero(ink.any(1)), np.flatnonzero(ink.any(0))
    return ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _place(ink: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The ink [h, w] at a random place of an empty scene [64, 64], a pixel off the border."""
    height, width = ink.shape
    placed = np.zeros((SIDE, SIDE))
    top = rng.integers(1, max(SIDE - height, 2))
    left = rng.integers(1, max(SIDE - width, 2))
    placed[top : top + height, left : left + width] = ink
    return placed


def _grow(region: np.ndarray, pixels: int) -> np.ndarray:
    """The region (bool [64, 64]) and all within so many pixels of it."""
    return ndimage.maximum_filter(region, size=2 * pixels + 1)


def _paint(canvas: np.ndarray, alpha: np.ndarray, colour: np.ndarray) -> None:
    """Blend a colour [3] over the canvas [64, 64, 3] in place, with opacity alpha [64, 64]."""
    canvas += alpha[..., None] * (colour - canvas)


# ---------------------------------------------------------------------------- colours


def _random_colour(rng: np.random.Generator) -> np.ndarray:
    """A colour [3], 0 to 255: mostly saturated, of any hue and brightness."""
    hue, saturation, value = rng.random(), rng.uniform(0.15, 1.0), rng.uniform(0.1, 1.0)
    return 255.0 * np.array(colorsys.hsv_to_rgb(hue, saturation, value))


def _contrasting_colour(under: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, float]:
    """A random colour [3] that differs in luma from nearly all of the pixels under it [n, 3].

    The first of 12 random colours with enough contrast; where none has, the best of them and of a
    near-black and a near-white. The contrast, returned too, is the difference in luma (0 to 255)
    that 90 % of the pixels reach.
    """
    colours = [_random_colour(rng) for _ in range(12)]
    colours += [rng.uniform(0, 30, 3), rng.uniform(225, 255, 3)]
    candidates = np.stack(colours)
    distance = np.abs((candidates @ _LUMA)[:, None] - (under @ _LUMA)[None])
    tenth = distance.shape[1] // 10
    contrast = np.partition(distance, tenth, axis=1)[:, tenth]
    adequate = np.flatnonzero(contrast >= _CONTRAST)
    chosen = adequate[0] if len(adequate) else contrast.argmax()
    return candidates[chosen], float(contrast[chosen])


def _stroke_colour(colour: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A distractor's colour [3]: the digit's own, slightly off, or another one."""
    if rng.random() < 0.5:
        return np.clip(colour + rng.normal(0.0, 15.0, 3), 0, 255)
    return _random_colour(rng)


# ---------------------------------------------------------------------------- distractors


def _free_stroke(taken: np.ndarray, side: float, rng: np.random.Generator) -> np.ndarray | None:
    """A stroke (alpha float64 [64, 64]) that touches no taken pixel; None if 6 tries all do."""
    for _ in range(6):
        stroke = _stroke(side, rng)
        if not (taken & (stroke > 0)).any():
            return stroke
    return None


def _stroke(side: float, rng: np.random.Generator) -> np.ndarray:
    """A line, a bow or a blob as thick as the strokes of a digit of this side: alpha [64, 64].

    None is a digit: a line leans at least 35 degrees from upright unless it is short (else it
    could be a 1), a bow turns in one direction by less than a right angle, a blob has no hole.
    """
    kind = rng.choice(3, p=[0.4, 0.4, 0.2])
    centre = rng.uniform(2, SIDE - 2, 2)
    if kind == 2:
        return _blob(centre, side * rng.uniform(0.05, 0.13, 2))
    length = rng.uniform(0.35, 1.1) * side
    if length > 0.5 * side:
        lean = rng.uniform(35, 90) * rng.choice([-1, 1])
    else:
        lean = rng.uniform(-90, 90)
    direction = np.array([math.sin(math.radians(lean)), math.cos(math.radians(lean))])
    sagitta = 0.0 if kind == 0 else rng.choice([-1, 1]) * rng.uniform(0.1, 0.2) * length
    return _bow(centre, direction * length, sagitta, side * rng.uniform(0.09, 0.18))


def _bow(centre: np.ndarray, chord: np.ndarray, sagitta: float, thickness: float) -> np.ndarray:
    """A parabolic arc with round ends: alpha [64, 64]; lengths in pixels, (x, y) vectors."""
    along = np.linspace(-0.5, 0.5, 13)[:, None]
    normal = np.array([-chord[1], chord[0]]) / np.hypot(*chord)
    points = centre + along * chord + (1.0 - 4.0 * along**2) * sagitta * normal
    radius = thickness / 2

    def draw(pen: ImageDraw.ImageDraw, scale: int) -> None:
        path = [tuple(point) for point in points * scale]
        pen.line(path, fill=255, width=max(round(thickness * scale), 1), joint="curve")
        for x, y in (points[0], points[-1]):
            corners = np.array([x - radius, y - radius, x + radius, y + radius]) * scale
            pen.ellipse(tuple(corners), fill=255)

    return _drawn(draw)


def _blob(centre: np.ndarray, radii: np.ndarray) -> np.ndarray:
    """A filled ellipse: alpha [64, 64]."""

    def draw(pen: ImageDraw.ImageDraw, scale: int) -> None:
        pen.ellipse(tuple(np.concatenate([centre - radii, centre + radii]) * scale), fill=255)

    return _drawn(draw)


def _drawn(draw: Callable[[ImageDraw.ImageDraw, int], None]) -> np.ndarray:
    """What ``draw(pen, scale)`` draws, with smooth edges: alpha float64 [64, 64], 0 to 1."""
    large = Image.new("L", (SIDE * _SUPERSAMPLING, SIDE * _SUPERSAMPLING))
    draw(ImageDraw.Draw(large), _SUPERSAMPLING)
    return np.asarray(large.reduce(_SUPERSAMPLING), np.float64) / 255.0
