"""Short texts beside points, placed so that none overprints another, a point or a line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes

SIZE = 7.0  # of the texts, in points, as are all lengths here
_WIDE = 0.62  # of a character, as a part of the size
_ALIKE = 2.0  # points nearer than this have one label together
_LINE = 1.0  # half the width that is kept free for a line across
_NEAR = (9.0, 13.0, 19.0, 27.0, 38.0)  # how far a label may stand from its point
_FAR = 19.0  # from here on a line leads to it
_ANGLES = np.deg2rad((45, 135, 315, 225, 0, 90, 180, 270))


@dataclass(frozen=True)
class Label:
    """A text for a point of an axis.

    Attributes:
        x, y: of the point, in the axis's units.
        text: a number or a letter; nothing is written where it is empty.
        colour: of the text.
        half: half the side of what is drawn there, in points.
    """

    x: float
    y: float
    text: str
    colour: str
    half: float = 3.5


def place_labels(axis: Axes, labels: Sequence[Label], lines: Sequence[float] = ()) -> None:
    """Write labels beside their points; the first ones have the first choice of a place.

    Points of one colour that lie on one another share a label. Call it last: the places hold for
    the limits and the size that the axis has then.

    Args:
        axis: of a figure that is laid out.
        labels: of all points, those without a text, too, since no label may cover them.
        lines: heights of lines across the axis, in its units, which labels leave free where they
            can.
    """
    if not labels:
        return
    scale = 72 / axis.figure.dpi
    points = axis.transData.transform([(one.x, one.y) for one in labels]) * scale
    frame = axis.get_window_extent().get_points() * scale
    obstacles = [
        np.concatenate([p - one.half, p + one.half]) for p, one in zip(points, labels, strict=True)
    ]
    left, right = frame[:, 0]
    for line in lines:
        height = axis.transData.transform((labels[0].x, line))[1] * scale
        obstacles.append(np.array([left, height - _LINE, right, height + _LINE]))
    for text, colour, place in _together(labels, points):
        at = points[place]
        half = np.array([_WIDE * SIZE * len(text), SIZE]) / 2 + 0.5
        offsets = [
            distance * np.array([np.cos(a), np.sin(a)]) * _stretched(half)
            for distance in _NEAR
            for a in _ANGLES
        ]
        boxes = np.array([np.concatenate([at + o - half, at + o + half]) for o in offsets])
        covered = _overlap(boxes, np.array(obstacles)).sum(1) + _outside(boxes, frame)
        offset = offsets[int(np.argmin(covered.round(3)))]  # the nearest of equals
        obstacles.append(np.concatenate([at + offset - half, at + offset + half]))
        led = np.hypot(*offset) >= _FAR
        note = axis.annotate(
            text, (labels[place].x, labels[place].y), xytext=tuple(offset),
            textcoords="offset points", ha="center", va="center", color=colour, fontsize=SIZE,
            zorder=6, arrowprops={"arrowstyle": "-", "color": colour, "lw": 0.4} if led else None,
        )  # fmt: skip
        note.set_in_layout(False)


def _together(labels: Sequence[Label], points: np.ndarray) -> list[tuple[str, str, int]]:
    """Text, colour and place in the sequence of each label that is written."""
    kept: list[tuple[str, str, int]] = []
    for i, one in enumerate(labels):
        if not one.text:
            continue
        for k, (text, colour, first) in enumerate(kept):
            if colour == one.colour and np.hypot(*(points[first] - points[i])) < _ALIKE:
                kept[k] = (f"{text},{one.text}", colour, first)
                break
        else:
            kept.append((one.text, one.colour, i))
    return kept


def _stretched(half: np.ndarray) -> np.ndarray:
    """A longer text stands farther out to the sides."""
    return np.array([1 + (half[0] - half[1]).clip(0) / _NEAR[0], 1.0])


def _overlap(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """``[n,m]`` areas that boxes ``[n,4]`` (x0, y0, x1, y1) share with others ``[m,4]``."""
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    return (high - low).clip(0).prod(-1)


def _outside(boxes: np.ndarray, frame: np.ndarray) -> np.ndarray:
    """``[n]`` areas of boxes beyond a frame ``[[x0, y0], [x1, y1]]``."""
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(-1)
    return areas - _overlap(boxes, frame.reshape(1, 4))[:, 0]
