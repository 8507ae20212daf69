"""Import torchvision where its compiled operators do not load against the installed torch.

The grad-cam package imports torchvision at its top, and torchvision registers shape functions for
two compiled operators as it is imported. A build for another torch lacks them and fails there
("operator torchvision::nms does not exist"). Declaring their schemas is enough for networks that
classify; detectors call ``nms``, which is written here in Python, and ``roi_align``, which
torchvision has in Python, too, but compiles by torch at its first call, for minutes. Where
torchvision imports as it is, nothing is declared.
"""

from __future__ import annotations

import importlib
import sys

import torch
from torch import Tensor

SCHEMAS = tuple(
    f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor" for name in ("nms", "qnms")
)
_declared: list[torch.library.Library] = []  # a library's operators live as long as it does


def import_torchvision() -> None:
    """Import torchvision, declaring the operators that it misses."""
    try:
        importlib.import_module("torchvision")
    except RuntimeError as error:
        if "operator torchvision::" not in str(error):
            raise
        for name in [n for n in sys.modules if n.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
        library = torch.library.Library("torchvision", "FRAGMENT")
        _declared.append(library)
        for schema in SCHEMAS:
            if not hasattr(torch.ops.torchvision, schema.partition("(")[0]):
                library.define(schema)
        library.impl("nms", suppressed, "CPU")
        importlib.import_module("torchvision")
        importlib.import_module("torchvision.extension")._has_ops = lambda: True  # nms asks
        # Not torchvision.ops.roi_align, which is the function of that name.
        pooling = sys.modules["torchvision.ops.roi_align"]
        pooling._roi_align = pooling._roi_align.__wrapped__


def suppressed(boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    """Indices of the boxes ``[N,4]`` (x0, y0, x1, y1) that stay, by score: each hides those that
    come after it and overlap it by more than the threshold."""
    order, kept = scores.argsort(descending=True, stable=True), []
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    while len(order):
        first, order = order[0], order[1:]
        kept.append(first)
        low = boxes[order, :2].maximum(boxes[first, :2])
        high = boxes[order, 2:].minimum(boxes[first, 2:])
        shared = (high - low).clamp(min=0).prod(1)
        order = order[shared <= iou_threshold * (areas[order] + areas[first] - shared)]
    return torch.stack(kept) if kept else order
