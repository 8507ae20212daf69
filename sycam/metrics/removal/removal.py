"""What the removal of the most relevant pixels costs: the class, or the class against another."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sycam.errors import OptionError
from sycam.metrics.base import Metric, register
from sycam.metrics.context import Context
from sycam.metrics.removal.baselines import BASELINES, baseline_fill, baseline_key
from sycam.metrics.removal.perturbation import between, one_of, removal_probabilities
from sycam.networks.outputs import probabilities

_OPTIONS = (
    "`share` of the pixels are removed, rounded, at least one; `baseline` is what they show: "
    "\"zero\" in the input scale, the image's \"mean\" colour or the \"blur\"red image. Tied "
    "pixels are ordered by a wide blur of the heatmap, then by a permutation common to all "
    "candidates."
)  # fmt: skip


class _TopShare(Metric):
    family = "removal"
    rewards_blur = True
    passes = 1

    def __init__(self, share: float = 0.05, baseline: str = "zero"):
        """
        Args:
            share: of the pixels, the most relevant ones, to remove; between 0 and 1.
            baseline: what they show then: ``"zero"``, ``"mean"`` or ``"blur"``.
        """
        if not between(share, 0, 1):
            raise OptionError(
                f"share must be a number between 0 and 1, got {share!r}; 0.05 is 5 % of the pixels"
            )
        self.share = share
        self.baseline = one_of("baseline", baseline, BASELINES)

    @property
    def options(self) -> dict[str, object]:
        return {"share": self.share, "baseline": self.baseline}

    def _removed(self, maps: Tensor, context: Context, targets: Tensor | None = None) -> Tensor:
        """Probabilities ``[P,N]``, or ``[P,N,T]`` of several targets, without those pixels."""
        count = max(1, round(self.share * math.prod(context.size)))
        fill = baseline_fill(self.baseline, context)
        key = (
            baseline_key(self.baseline) if targets is None else (__name__, self.name, self.baseline)
        )
        return removal_probabilities(maps, [(0, count)], fill, key, context, targets)[:, :, 0]


@register
class TopKDrop(_TopShare):
    """``p(x) - p(x without its most relevant pixels)``."""

    name = "top-k-drop"
    summary = "loss of probability when the top share of pixels is removed"
    source = (
        "DeYoung et al., ERASER: A Benchmark to Evaluate Rationalized NLP Models, ACL 2020 "
        "(comprehensiveness)"
    )
    definition = (
        "The probability of the class on the image minus that on the image without its most "
        "relevant pixels. The paper averages it over several shares of a text's words; one share "
        f"is the form used for images, with Finer-CAM's 5 %. {_OPTIONS}"
    )
    formula = r"p_c(x) - p_c\big(x \odot (1 - \mathrm{top}_q(L))\big)"
    traps = (
        "It looks at one threshold: what lies below the top share does not matter. Removed pixels "
        "leave edges, and scattered ones can fool the network without being on the object."
    )
    range = (-1.0, 1.0)
    in_units_of_target = True

    def score(self, maps: Tensor, context: Context) -> Tensor:
        return context.clean - self._removed(maps, context)

    def bound(self, context: Context) -> Tensor:
        """All of the probability is lost."""
        return context.clean - context.extremes[0]


@register
class RelativeDrop(_TopShare):
    """``(p^c - p^c_*) - (p^d - p^d_*)``: how much more the class loses than its rival d."""

    name = "relative-drop"
    summary = "loss of probability beyond that of the rival class, without the top share of pixels"
    source = "Zhang et al., Finer-CAM: Spotting the Difference Reveals Finer Details, CVPR 2025"
    definition = (
        "What the class loses in probability without the most relevant pixels, minus what its "
        "rival loses: the class that is likeliest on the clean image after the explained one. "
        f"Undefined for callable targets and networks with a single output. {_OPTIONS}"
    )
    formula = (
        r"\big(p_c(x) - p_c(x_*)\big) - \big(p_d(x) - p_d(x_*)\big), \quad "
        r"x_* = x \odot (1 - \mathrm{top}_q(L)), \; d = \arg\max_{k \neq c} p_k(x)"
    )
    traps = (
        "Evidence that both classes share is worth nothing, so a map of the whole object scores "
        "less than one of a detail. Pixels that speak for the rival are rewarded when they are "
        "avoided, and probability that goes to a third class is seen on one side only."
    )
    range = (-2.0, 2.0)

    def check(self, context: Context) -> None:
        _rivals(context)

    def score(self, maps: Tensor, context: Context) -> Tensor:
        pair, before = _rivals(context)
        lost = before - self._removed(maps, context, pair)
        return lost[..., 0] - lost[..., 1]

    def bound(self, context: Context) -> Tensor:
        """The class vanishes and the rival becomes certain."""
        before = _rivals(context)[1]
        return before[:, 0] - before[:, 1] + 1


def _rivals(context: Context) -> tuple[Tensor, Tensor]:
    """Class and rival of each image ``[N,2]``, and their probabilities on it ``[N,2]``.

    Raises:
        OptionError: there are no two classes.
    """
    if context.classifier.score is not None:
        raise OptionError(
            "metric 'relative-drop' compares two classes, and a callable target has none; explain "
            "a class, or use top-k-drop"
        )
    scores = context.class_scores(RelativeDrop.name)
    if scores.shape[1] < 2:
        raise OptionError(
            "metric 'relative-drop' compares two classes, and the network has a single output; "
            "use top-k-drop"
        )
    targets = context.targets[:, None]
    chances = probabilities(scores.float(), context.classifier.reading.link)
    rival = chances.scatter(1, targets, -1.0).argmax(1, keepdim=True)
    # The class's own is known by the fast copy of the network that sees the removals.
    return torch.cat([targets, rival], 1), torch.stack(
        [context.clean, chances.gather(1, rival)[:, 0]], 1
    )
