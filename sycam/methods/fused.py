"""What CAMs that read all layers at once make of each layer; how they fuse it is in their table."""

from __future__ import annotations

from sycam.evidence import Evidence
from sycam.heatmaps import Heatmaps, heatmaps
from sycam.language import parse_weights
from sycam.metrics import Context

_GRAD_CAM_PLUS_PLUS = parse_weights("sum(relu(G) / (2 + sum(A) * G))")
_HIRESCAM = parse_weights("G")


def refine_cam(evidence: Evidence, context: Context) -> Heatmaps:
    """RefineCAM (Domeniconi et al. 2026) at one layer: Grad-CAM++."""
    return heatmaps([_GRAD_CAM_PLUS_PLUS], evidence.leaves, context.size, evidence.depth)


def zoom_cam(evidence: Evidence, context: Context) -> Heatmaps:
    """Zoom-CAM (Shi et al. 2020) at one layer: gradients times activations, place by place."""
    return heatmaps([_HIRESCAM], evidence.leaves, context.size, evidence.depth)
