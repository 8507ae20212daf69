"""MaxBoxAccV2: how well boxes around the hot parts of heatmaps fit the boxes of objects.

Choe et al., Evaluation for Weakly Supervised Object Localization: Protocol, Metrics, and Datasets,
TPAMI 2023 (arXiv:2007.04178). No metric of SyCAM, as it is of a whole set: its threshold is chosen
on the images that it is reported on.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.ndimage import find_objects, label

OVERLAPS = (0.3, 0.5, 0.7)  # of boxes, that count as found
THRESHOLDS = np.linspace(0, 1, 100, endpoint=False)  # the paper has 1000
_TOUCHING = np.ones((3, 3))  # corners too, as in the contours of the paper's code


def boxes_above(heatmap: np.ndarray, threshold: float) -> np.ndarray:
    """Boxes around what is connected above a threshold.

    Args:
        heatmap: ``[H,W]`` in [0, 1].
        threshold: of it.

    Returns:
        ``[B,4]``: x0, y0, x1, y1 in pixels, the second corner outside; ``B`` may be 0.
    """
    parts, _ = label(heatmap > threshold, _TOUCHING)
    found = [(x.start, y.start, x.stop, y.stop) for y, x in find_objects(parts)]
    return np.array(found, float).reshape(-1, 4)


def overlap(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Intersection over union ``[B,O]`` of boxes ``[B,4]`` and ``[O,4]``."""
    low = np.maximum(boxes[:, None, :2], others[:, :2])
    high = np.minimum(boxes[:, None, 2:], others[:, 2:])
    shared = np.prod(np.clip(high - low, 0, None), -1)
    one, other = (np.prod(b[:, 2:] - b[:, :2], -1) for b in (boxes, others))
    return shared / (one[:, None] + other - shared)


def max_box_accuracy(
    heatmaps: np.ndarray, boxes: Sequence[np.ndarray], thresholds: Sequence[float] = THRESHOLDS
) -> float:
    """MaxBoxAccV2 in [0, 1]: the mean over three overlaps of the largest share of images, over all
    thresholds, with a box that overlaps one of the object's by so much.

    Args:
        heatmaps: ``[N,H,W]`` in [0, 1].
        boxes: of each image ``[n,4]``, n at least 1.
        thresholds: those that are tried.
    """
    best = np.zeros((len(thresholds), len(heatmaps)))
    for i, (heatmap, known) in enumerate(zip(heatmaps, boxes, strict=True)):
        for t, threshold in enumerate(thresholds):
            found = boxes_above(heatmap, threshold)
            best[t, i] = overlap(found, known).max(initial=0)
    return float(np.mean([(best >= least).mean(1).max() for least in OVERLAPS]))
