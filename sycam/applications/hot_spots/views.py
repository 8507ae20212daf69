"""Some of the images with their regions, and without them, ready to be drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sycam.applications.hot_spots.ablation import Ablation, fill_of, without
from sycam.applications.hot_spots.regions import hot_regions
from sycam.data.images import ImageSet
from sycam.drawing.ablations import AblatedView
from sycam.drawing.headings import shortened
from sycam.evidence import Evidence, Stack
from sycam.methods import Method
from sycam.metrics import Context


@dataclass(frozen=True, eq=False)
class Example:
    """One image under each method.

    Attributes:
        name: of the image.
        views: by the method's name.
    """

    name: str
    views: Mapping[str, AblatedView]


def chosen(drops: np.ndarray, count: int) -> list[int]:
    """Places of as many of ``[N]`` images, from the largest drop to the least, evenly spread by
    rank."""
    order = np.argsort(-drops, kind="stable")
    places = np.linspace(0, len(order) - 1, min(count, len(order))).round().astype(int)
    return order[places].tolist()


def examples_of(
    places: Sequence[int],
    methods: Sequence[Method],
    images: ImageSet,
    measured: tuple[Evidence | Stack, Context],
    metric: Ablation,
    class_names: Sequence[str] | None,
) -> tuple[Example, ...]:
    """The images at these places under each method.

    Args:
        places: among the N images.
        methods: whose heatmaps are shown.
        images: N.
        measured: evidence and context of the same images.
        metric: which regions are removed, and how.
        class_names: of all classes; None where they are not known.
    """
    found = []
    for i in places:
        part = slice(i, i + 1)
        evidence, context = measured[0].subset(part), measured[1].subset(part)
        with torch.no_grad():
            views = {
                method.name: _view(
                    method, images.subset([i]), evidence, context, metric, class_names
                )
                for method in methods
            }
        found.append(Example(str(images.names[i]), views))
    return tuple(found)


def _view(
    method: Method,
    image: ImageSet,
    evidence: Evidence | Stack,
    context: Context,
    metric: Ablation,
    class_names: Sequence[str] | None,
) -> AblatedView:
    heatmaps = method.heatmaps(evidence, context)
    context = replace(context, degenerate=heatmaps.degenerate)
    regions, counts = hot_regions(heatmaps.maps, context, metric.how)
    own, moved = regions[0], metric.elsewhere(regions[0], context)[:, 0]
    fill, index = fill_of(metric.how, context), context.targets.new_zeros(3)
    masks = torch.cat([torch.zeros_like(own), own, moved])
    chances, classes = without(masks, index, fill, context)
    seen = fill(context.images, masks, index)
    depth = _depth(own[0])
    picture, ablated, shifted = _pictures(image, seen, depth)
    first, third, fourth = _said(context, chances.tolist(), classes.tolist(), class_names)
    marked = None if context.masks is None else _flat(context.masks[0], depth)
    if marked is not None:
        first += "\ncontour: ground truth" if marked.any() else "\nground truth: nothing marked"
    count = int(counts[0, 0])
    below = f"{100 * float(own.double().mean()):.1f} % in {count} region{'s' * (count > 1)}"
    return AblatedView(
        caption=f"{shortened(Path(str(image.names[0])).name, 30)}\n{shortened(method.name, 30)}",
        picture=picture,
        heatmap=_flat(heatmaps.maps[0, 0], depth),
        ablated=ablated,
        shifted=shifted,
        regions=_flat(own[0], depth),
        moved=_flat(moved[0], depth),
        said=(first, below if count else "no region", third, fourth),
        allowed=marked,
    )


def _depth(regions: Tensor) -> int | None:
    """Of a volume the slice that has most of the regions; None of an image."""
    return None if regions.ndim == 2 else int(regions.sum((1, 2)).argmax())


def _flat(values: Tensor, depth: int | None) -> np.ndarray:
    shown = values if depth is None else values[depth]
    return (shown if shown.dtype == torch.bool else shown.float()).cpu().numpy()


def _pictures(image: ImageSet, pixels: Tensor, depth: int | None) -> list[np.ndarray]:
    """``[H,W,3]`` each of ``[B,C,H,W]``, drawn as the image is."""
    flat = pixels if depth is None else pixels[:, :, depth]
    shown = replace(image, images=flat.float().cpu())
    return [shown.picture(i) for i in range(len(flat))]


def _said(
    context: Context,
    chances: Sequence[float],
    classes: Sequence[int],
    class_names: Sequence[str] | None,
) -> list[str]:
    """Of each picture what is explained, and what is predicted where that is something else."""
    if context.classifier.score is not None:
        return [f"value {chance:.3g}" for chance in chances]

    def name(c: int) -> str:
        return shortened(class_names[c], 22) if class_names else f"class {c}"

    target = int(context.targets[0])
    single = context.outputs is not None and context.outputs.shape[1] == 1
    said = []
    for chance, c in zip(chances, classes, strict=True):
        text = f"{name(target)} {chance:.0%}"
        if single:  # classes are no and yes, whatever is explained
            other = f"predicted: {'yes' if c else 'no'}"
        else:
            other = "" if c == target else f"predicted: {name(c)}"
        said.append(f"{text}\n{other}" if other else text)
    return said
