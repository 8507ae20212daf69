"""Synthetic pictures like breast ultrasound and like brushed metal with flaws, with masks.

They stand in the gallery for images that may not be shown without their licence. What they have of
the real ones: speckle, layers of tissue, an attenuation with depth, a dark lesion with what is
seen behind it; strokes of a brush, uneven light, holes and cracks. They prove nothing.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from scipy.ndimage import gaussian_filter

from sycam.data.images import ImageSet

Kind = Callable[[np.random.Generator], tuple[np.ndarray, np.ndarray]]
SIDE = 128  # pixels, as the networks of small_cnn.py take them


def _noise(random: np.random.Generator, *sigma: float) -> np.ndarray:
    """Blurred noise of mean 0 and deviation 1, ``[SIDE,SIDE]``."""
    field = gaussian_filter(random.standard_normal((SIDE, SIDE)), sigma, mode="reflect")
    return (field - field.mean()) / field.std()


def _blob(random: np.random.Generator, radii: tuple[float, float], rough: float) -> np.ndarray:
    """A mask: an ellipse in the middle half whose edge is moved by smooth noise."""
    y, x = np.mgrid[:SIDE, :SIDE]
    at = random.uniform(0.35 * SIDE, 0.6 * SIDE, 2)
    distance = np.hypot((y - at[0]) / radii[0], (x - at[1]) / radii[1])
    return distance + rough * _noise(random, 5, 5) < 1


def ultrasound(random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """One picture in 0..1 and the mask of its lesion, both ``[SIDE,SIDE]``."""
    y, _ = np.mgrid[:SIDE, :SIDE] / SIDE
    malignant = random.random() < 0.5
    radii = (random.uniform(12, 20), random.uniform(14, 24))
    lesion = _blob(random, radii, 0.3 if malignant else 0.05)
    tissue = np.exp(0.3 * _noise(random, 2, 14) + 0.3 * _noise(random, 12, 12))
    tissue *= np.exp(-1.0 * y) * np.where(y < 0.06, 2.0, 1.0)  # depth, skin
    behind = np.maximum.accumulate(lesion, 0) & ~lesion
    tissue *= 1 + gaussian_filter((-0.6 if malignant else 0.7) * behind, (3, 4))
    tissue *= 1 - (0.75 if malignant else 0.88) * gaussian_filter(lesion.astype(float), 1.2)
    speckle = gaussian_filter(random.rayleigh(1.0, (SIDE, SIDE)), (0.7, 1.2))
    return np.clip(0.34 * tissue * speckle, 0, 1), lesion


def _crack(random: np.random.Generator) -> np.ndarray:
    """A mask: a thin line that wanders."""
    mask = np.zeros((SIDE, SIDE), bool)
    at, angle = random.uniform(0.3 * SIDE, 0.6 * SIDE, 2), random.uniform(0, 2 * np.pi)
    for _ in range(int(random.uniform(25, 45))):
        angle += random.normal(0, 0.25)
        at = np.clip(at + np.array([np.sin(angle), np.cos(angle)]), 1, SIDE - 3)
        row, column = at.astype(int)
        mask[row : row + 2, column : column + 2] = True
    return mask


def brushed_metal(random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """One picture in 0..1 and the mask of its flaw, a hole or a crack, both ``[SIDE,SIDE]``."""
    strokes = 0.05 * _noise(random, 40, 0.6) + 0.03 * _noise(random, 2, 0.7)
    light = 0.45 + 0.09 * _noise(random, 40, 30)
    hole = random.random() < 0.5
    flaw = _blob(random, (random.uniform(4, 7), random.uniform(3, 5)), 0.1) if hole else None
    flaw = _crack(random) if flaw is None else flaw
    soft = gaussian_filter(flaw.astype(float), 0.8)
    rim = gaussian_filter(flaw.astype(float), 2.5) - soft
    return np.clip(light + strokes - 0.28 * soft + 0.15 * np.maximum(rim, 0), 0, 1), flaw


def pictures(kind: Kind, count: int, seed: int) -> ImageSet:
    """``count`` grey pictures ``[N,1,SIDE,SIDE]`` of a kind, with masks."""
    random = np.random.default_rng(seed)
    drawn, masks = zip(*(kind(random) for _ in range(count)), strict=True)
    images = torch.from_numpy(np.stack(drawn)).float()[:, None]
    return ImageSet.from_arrays(images, masks=torch.from_numpy(np.stack(masks)))
