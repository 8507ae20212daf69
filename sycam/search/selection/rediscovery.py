"""Whether a candidate is a published CAM or control found again."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from sycam.methods import Method, find_method
from sycam.scoring.scorer import Scorer
from sycam.search.selection.select import Candidate

SAME = 1e-4  # heatmaps that differ by no more anywhere are the same
_PART = 32  # images whose heatmaps are compared at once
_KEPT = 256  # images, the first, on which those of the known are kept


class Rediscovery:
    """Whether a candidate's heatmaps are those of a published CAM or control on all images.

    Args:
        scorer: of the search images.
        known: the published CAMs and controls.
    """

    def __init__(self, scorer: Scorer, known: Sequence[Method]):
        self.scorer, self.known = scorer, known
        self._maps: dict[tuple[str, int], Tensor] = {}  # of the known, made when first looked at

    def __call__(self, candidate: Candidate) -> bool:
        """Whether it is a known method found again."""
        method = find_method(candidate.require_expression())
        alike = list(self.known)
        # One image tells nearly all apart, so that few heatmaps are made and kept.
        first, images = slice(0, 1), len(self.scorer.context)
        for part in (first, *(slice(i, i + _PART) for i in range(1, images, _PART))):
            ours = self._heatmaps(method, part)
            alike = [k for k in alike if (ours - self._of(k, part)).abs().max() <= SAME]
            if not alike:
                return False
        return True

    def _of(self, known: Method, part: slice) -> Tensor:
        if part.start >= _KEPT:
            return self._heatmaps(known, part)
        key = (known.name, part.start)
        if key not in self._maps:
            self._maps[key] = self._heatmaps(known, part)
        return self._maps[key]

    def _heatmaps(self, method: Method, part: slice) -> Tensor:
        evidence, context = self.scorer.evidence.subset(part), self.scorer.context.subset(part)
        return method.heatmaps(evidence, context).maps
