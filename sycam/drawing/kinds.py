"""What may be kept of an image and its heatmap, a file each."""

from __future__ import annotations

COMPARISON = "comparison"
KINDS = {
    COMPARISON: "the methods side by side",
    "overlay": "the heatmap over the image and nothing else",
    "heatmap": "its colours without the image",
    "npy": "float32 [H,W] in [0, 1]",
}
