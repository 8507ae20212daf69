"""Which metrics can be had of images and of methods."""

from __future__ import annotations

from collections.abc import Iterable

from sycam.data.images import ImageSet, ImageSource
from sycam.errors import OptionError
from sycam.methods import Method
from sycam.metrics import METRICS, Metric


def check_volumes(metric: Metric, images: ImageSet | ImageSource) -> None:
    """Refuse a metric that is defined for flat images only, where the images are volumes."""
    if len(images.shape) == 4 and not metric.volumes:
        able = ", ".join(name for name, kind in METRICS.items() if kind.volumes)
        raise OptionError(
            f"metric {metric.name!r} is defined for images, not for volumes (N,C,D,H,W); "
            f"these are: {able}"
        )


def check_scorable(metric: Metric, methods: Iterable[Method]) -> None:
    """Refuse a metric of channel weights for methods that have none."""
    without = [m.name for m in methods if metric.of_weights and not m.has_weights]
    if without:
        raise OptionError(
            f"metric {metric.name!r} looks at channel weights, which {', '.join(without)} "
            f"{'do' if len(without) > 1 else 'does'} not have; name other methods"
        )
