"""How well a heatmap finds the object that a mask marks; no forward pass is needed."""

from __future__ import annotations

from torch import Tensor

from sycam.metrics.base import Metric, register
from sycam.metrics.context import Context


@register
class IoU(Metric):
    """Intersection over union of ``L >= 0.5`` and the mask."""

    name = "iou"
    family = "localisation"
    summary = "intersection over union of the heatmap at 0.5 or more and the mask"
    source = "Everingham et al., The PASCAL Visual Object Classes Challenge, IJCV 2010"
    needs_masks = True

    def __init__(self, threshold: float = 0.5):
        self.threshold = threshold

    @property
    def options(self) -> dict[str, object]:
        return {"threshold": self.threshold}

    def score(self, maps: Tensor, context: Context) -> Tensor:
        hot = maps >= self.threshold
        both = (hot & context.masks).flatten(2).sum(-1)
        either = (hot | context.masks).flatten(2).sum(-1)
        return both / either.clamp(min=1)


@register
class EnergyPointingGame(Metric):
    """Share of the heatmap's sum that lies inside the mask."""

    name = "energy-pointing-game"
    family = "localisation"
    summary = "share of the heatmap's energy inside the mask"
    source = "Wang et al., Score-CAM, CVPR Workshops 2020"
    needs_masks = True

    def score(self, maps: Tensor, context: Context) -> Tensor:
        inside = (maps * context.masks).flatten(2).sum(-1)
        total = maps.flatten(2).sum(-1)
        return inside / total.where(total > 0, total.new_ones(()))
