"""In which stages a candidate sees the search images: few first, so that the poor end early."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sycam.metrics import Metric

FIRST = 16  # images of the first look; with 12 or 8 a race needed no fewer in all


@dataclass(frozen=True)
class ImageBlock:
    """Images ``start`` to ``stop`` of the search set: each as a whole, or at some of the metric's
    levels.

    The set comes in the order of its images' content hashes, so a stage is a random part of it.

    Attributes:
        start, stop: the images.
        end: how much a candidate has been seen in at the end of the stage: images, or cells, one
            image at one level each.
        levels: of the metric, where images are seen at a part of them; else 1.
        seen: at how many levels these images have been seen before.
        added: at how many they are seen now.
    """

    start: int
    stop: int
    end: int
    levels: int = 1
    seen: int = 0
    added: int = 1

    @property
    def part(self) -> slice:
        """The images as a slice."""
        return slice(self.start, self.stop)

    @property
    def cells(self) -> int:
        """How many are seen in this stage."""
        return (self.stop - self.start) * self.added

    @property
    def which(self) -> np.ndarray:
        """``[n,added]`` at which levels each image is seen: the next ones of a cycle that begins
        where its place in the set says, so that a stage sees all levels about equally often."""
        place = np.arange(self.start, self.stop)[:, None]
        return (place + self.seen + np.arange(self.added)) % self.levels


def image_blocks(count: int, metric: Metric, first: int = FIRST) -> tuple[ImageBlock, ...]:
    """Stages that end at 16, 24, 36, … images, half as many more each time, the last at all; one
    alone where the metric's figure is no mean over images, so that a part of them says little.

    Args:
        count: of images.
        metric: under which they are seen.
        first: images of the first stage, at least 2.

    Twice as many each time needed 38 % of ROAD's scores on the demo where this needs 35 %
    (``benchmarks/race.py``), a quarter more 34 %.

    >>> from sycam.metrics import find_metric
    >>> [s.stop for s in image_blocks(100, find_metric("road"))]
    [16, 24, 36, 54, 100]
    """
    ends = [*(() if metric.components else _looks(count, first)), count]
    return tuple(ImageBlock(a, b, b) for a, b in zip([0, *ends[:-1]], ends, strict=True))


def level_blocks(count: int, metric: Metric) -> tuple[ImageBlock, ...]:
    """Those of :func:`image_blocks`, each seen at all of the metric's levels one by one.

    >>> from sycam.metrics import find_metric
    >>> [(s.stop, s.end) for s in level_blocks(20, find_metric("road"))]
    [(20, 180)]
    """
    levels = metric.levels
    return tuple(
        ImageBlock(block.start, block.stop, block.stop * levels, levels, 0, levels)
        for block in image_blocks(count, metric)
    )


def cell_blocks(count: int, metric: Metric, first: int = FIRST) -> tuple[ImageBlock, ...]:
    """Stages in which a candidate sees each image at one level first, as many images as in
    :func:`image_blocks`; then half of them, and all, at a second one; and so on, half as many
    levels more each time. (A third as many take 16 % of ROAD's passes on the demo for 17, and lead
    more often with another best within the tolerance.) Where the metric has no levels, stages of
    images.

    ``count``, ``metric`` and ``first`` are those of :func:`image_blocks`.

    Cells of one image are alike: 36 of as many images say nearly as much as 36 images, at a ninth
    of the price where there are nine levels.

    >>> from sycam.metrics import find_metric
    >>> [s.end for s in cell_blocks(100, find_metric("road"))]
    [16, 24, 36, 54, 100, 150, 200, 300, 400, 600, 900]
    """
    levels = metric.levels
    if levels < 2 or metric.components or count < 2:
        return image_blocks(count, metric, first)
    ends, half, blocks = [*_looks(count, first), count], count // 2, []
    for start, stop in zip([0, *ends[:-1]], ends, strict=True):
        blocks.append(ImageBlock(start, stop, stop, levels))
    for start, stop in ((0, half), (half, count)):
        blocks.append(ImageBlock(start, stop, count + stop, levels, 1))
    seen = 2
    while seen < levels:
        added = min(max(1, seen // 2), levels - seen)
        blocks.append(ImageBlock(0, count, (seen + added) * count, levels, seen, added))
        seen += added
    return tuple(blocks)


def _looks(count: int, first: int) -> list[int]:
    """Numbers of images that are looked at before all are."""
    ends, end = [], first
    while count - end > end / 4:
        ends.append(end)
        end += end // 2
    return ends


def by_image(cells: np.ndarray, blocks: Sequence[ImageBlock]) -> np.ndarray:
    """``[n]`` scores of the images that stages of cells have shown, as if the levels not seen were
    like the others.

    Args:
        cells: ``[N,L]``, of which those not seen are not looked at.
        blocks: the stages.
    """
    seen = np.zeros(cells.shape, bool)
    for block in blocks:
        np.put_along_axis(seen[block.part], block.which, True, 1)
    some = seen.any(1)
    return np.where(seen, cells, 0.0).sum(1)[some] * (cells.shape[1] / seen.sum(1)[some])
