"""In which stages a candidate sees the search images: few first, so that the poor end early."""

from __future__ import annotations

from dataclasses import dataclass

from sycam.metrics import Metric

FIRST = 16  # images of the first look; with 12 or 8 a race needed no fewer in all


@dataclass(frozen=True)
class ImageBlock:
    """Images ``start`` to ``stop`` of the search set.

    The set comes in the order of its images' content hashes, so a stage is a random part of it.
    """

    start: int
    stop: int

    @property
    def part(self) -> slice:
        """As a slice."""
        return slice(self.start, self.stop)


def image_blocks(count: int, metric: Metric) -> tuple[ImageBlock, ...]:
    """Stages that end at 16, 24, 36, … images, half as many more each time, the last at all; one
    alone where the metric's figure is no mean over images, so that a part of them says little.

    Twice as many each time needed 38 % of ROAD's scores on the demo where this needs 35 %
    (``benchmarks/race.py``), a quarter more 34 %.

    >>> from sycam.metrics import find_metric
    >>> [s.stop for s in image_blocks(100, find_metric("road"))]
    [16, 24, 36, 54, 100]
    """
    ends = []
    if not metric.components:
        end = FIRST
        while count - end > end / 4:
            ends.append(end)
            end += end // 2
    ends.append(count)
    return tuple(ImageBlock(a, b) for a, b in zip([0, *ends[:-1]], ends, strict=True))
