"""Images that are nearly the same: mirrored, encoded again, resized or a few bits changed.

An image's *look* is a perceptual hash that keeps its numbers: the 8 x 8 lowest frequencies of the
discrete cosine transform of a small grey picture, without the constant, scaled to length 1. Two
images are near copies where the looks' cosine, also of one mirrored, is at least ``ALIKE``. Crops
and turned images are not found, nor is another photograph of the same thing: groups are for that.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from scipy.fft import dctn
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, adaptive_avg_pool3d

ALIKE = 0.995
_SMALL = {2: 32, 3: 16}  # side of the small grey picture, by number of axes
_LOWEST = 8  # frequencies an axis
_COMPARED = 1 << 19  # pairs of images at a time
_FLAT = 1e-6  # an image whose frequencies are smaller, against its brightness, shows nothing


def look_of(image: Tensor) -> np.ndarray:
    """float32 of an image ``[C,H,W]`` or ``[C,D,H,W]``: ``[8,8]`` or ``[8,8,8]``, of length 1; or
    zeros where it shows nothing, or is too small to tell (a side below 8 pixels)."""
    grey = image.detach().float().cpu().mean(0, keepdim=True)
    side = _SMALL[grey.ndim - 1]
    small = (adaptive_avg_pool2d if grey.ndim == 3 else adaptive_avg_pool3d)(grey, side)[0]
    frequencies = dctn(small.double().numpy(), norm="ortho")
    frequencies = frequencies[(slice(_LOWEST),) * frequencies.ndim].copy()
    constant = abs(frequencies.flat[0])
    frequencies.flat[0] = 0.0
    length = float(np.linalg.norm(frequencies))
    flat = length <= _FLAT * max(1.0, constant) or min(image.shape[-2:]) < _LOWEST
    return (np.zeros_like(frequencies) if flat else frequencies / length).astype(np.float32)


def clusters(looks: np.ndarray, groups: Sequence[str] | None = None) -> np.ndarray:
    """``[N]`` numbers, the same for images that belong together: near copies, also over others,
    and images of one group.

    Args:
        looks: ``[N,8,8]`` or ``[N,8,8,8]`` of :func:`look_of`.
        groups: one per image, or None.
    """
    count = len(looks)
    numbers = units(count, groups)
    for start, alike in _alike(looks, looks):
        one, other = np.nonzero(np.triu(alike, start + 1))
        if not len(one):
            continue
        # What is known so far is linked to one image a cluster, so that no list of all pairs,
        # of which there are N * N in a video of a still camera, has to be kept.
        one = np.concatenate([one + start, np.arange(count)])
        other = np.concatenate([other, numbers])
        links = coo_array((np.ones(len(one), bool), (one, other)), shape=(count, count))
        number = connected_components(links, directed=False)[1]
        numbers = np.unique(number, return_index=True)[1][number]
    return numbers


def units(count: int, groups: Sequence[str] | None) -> np.ndarray:
    """``[N]`` numbers, the same for images of one group, whatever they look like."""
    if groups is None:
        return np.arange(count)
    first: dict[str, int] = {}
    return np.array([first.setdefault(group, i) for i, group in enumerate(groups)])


def near(looks: np.ndarray, others: np.ndarray) -> np.ndarray:
    """bool ``[N]``: which of the first set's images are near copies of one of the other's."""
    copies = np.zeros(len(looks), bool)
    if not len(looks) or not len(others):
        return copies
    for start, alike in _alike(looks, others):
        copies[start : start + len(alike)] |= alike.any(1)
    return copies


def _alike(looks: np.ndarray, others: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Which images of two sets are near copies, bool ``[some, M]``, and where those begin in the
    first set; four times over, as each may be mirrored."""
    flat = others.reshape(len(others), -1)
    at_once = max(1, _COMPARED // max(1, len(others)))
    for mirrored in _mirrored(looks):
        rows = mirrored.reshape(len(looks), -1)
        for start in range(0, len(rows), at_once):
            yield start, rows[start : start + at_once] @ flat.T >= ALIKE


def _mirrored(looks: np.ndarray) -> list[np.ndarray]:
    """As they are and mirrored along height, width, or both: odd frequencies change their sign."""
    sign = np.where(np.arange(_LOWEST) % 2, -1, 1).astype(np.float32)
    across, down = looks * sign, looks * sign[:, None]
    return [looks, across, down, across * sign[:, None]]
