"""What the network says of the image multiplied by its heatmap."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from sycam.errors import OptionError
from sycam.metrics.base import Metric, register
from sycam.metrics.context import Context
from sycam.metrics.functions import harmonic_mean
from sycam.metrics.removal.perturbation import masked_probabilities, one_of

_GRAD_CAM_PLUS_PLUS = (
    "Chattopadhay et al., Grad-CAM++: Generalized Gradient-Based Visual Explanations for Deep "
    "Convolutional Networks, WACV 2018"
)
_KINDS = ("relative", "absolute")
_ROUNDING = 1e-6  # of the values' size; passes in other batches differ by less: no increase
POSITIVE = "positive values"  # of a callable target, for need_values
PROBABILITY = "a probability"
_SCALE = (
    "The product is taken in the network's input scale, where 0 is the mean colour of normalised "
    "images, not black, as in the libraries."
)
_ALL_ONES = (
    "A heatmap that is 1 almost everywhere leaves the image as it is and loses nothing: read it "
    "with complexity, or use adcc."
)


class _Masked(Metric):
    family = "confidence"
    passes = 1


@register
class AverageDrop(_Masked):
    """``max(0, p - p(x L)) / p``, or without the division."""

    name = "average-drop"
    summary = "probability lost where the image is multiplied by its heatmap"
    source = _GRAD_CAM_PLUS_PLUS
    definition = (
        "The probability of the class that is lost on the image multiplied by its heatmap, as a "
        "share of that on the clean image (`kind=\"relative\"`, the paper's and TorchCAM's) or as "
        "it is (`kind=\"absolute\"`, pytorch-grad-cam's DropInConfidence); gains count as 0, and "
        "so does an image whose class has probability 0. Of a callable target the relative drop "
        "is refused unless its values are positive on the images; where one held out is not, it "
        f"counts as lost (1). {_SCALE}"
    )  # fmt: skip
    formula = r"\frac{\max\big(0,\, p_c(x) - p_c(x \odot L)\big)}{p_c(x)}"
    traps = _ALL_ONES
    higher_is_better = False

    def __init__(self, kind: str = "relative"):
        """
        Args:
            kind: ``"relative"`` to the clean probability, or ``"absolute"``.
        """
        self.kind = one_of("kind", kind, _KINDS)

    @property
    def options(self) -> dict[str, object]:
        return {"kind": self.kind}

    @property
    def in_units_of_target(self) -> bool:
        """Whether it is no share."""
        return self.kind == "absolute"

    def check(self, context: Context) -> None:
        """Refuse shares of a callable target's values that are not positive."""
        if self.kind == "relative":
            need_values(self.name, context, POSITIVE, "average-drop:kind=absolute")

    def score(self, maps: Tensor, context: Context) -> Tensor:
        lost = (context.clean - masked_probabilities(maps, context)).clamp(min=0)
        if self.kind == "absolute":
            return lost
        nothing = 0.0 if context.classifier.score is None else 1.0
        return _share(lost, context.clean, nothing)


@register
class AverageGain(_Masked):
    """``max(0, p(x L) - p) / (1 - p)``."""

    name = "average-gain"
    summary = "share of the missing probability won where the image is multiplied by its heatmap"
    source = "Zhang et al., Opti-CAM: Optimizing saliency maps for interpretability, CVIU 2024"
    definition = (
        "The probability of the class that is won on the image multiplied by its heatmap, as a "
        "share of what is missing to certainty on the clean image; losses count as 0, and so does "
        "an image whose class is certain. A callable target is refused unless its values are "
        f"probabilities. {_SCALE}"
    )
    formula = r"\frac{\max\big(0,\, p_c(x \odot L) - p_c(x)\big)}{1 - p_c(x)}"
    traps = (
        "Images of which the network is almost certain carry large, noisy shares. A heatmap gains "
        "by hiding other classes' evidence, whether or not it shows that of its own."
    )

    def check(self, context: Context) -> None:
        """Refuse a callable target that is no probability."""
        need_values(self.name, context, PROBABILITY, "average-drop:kind=absolute")

    def score(self, maps: Tensor, context: Context) -> Tensor:
        won = (masked_probabilities(maps, context) - context.clean).clamp(min=0)
        return _share(won, 1 - context.clean)

    def bound(self, context: Context) -> Tensor:
        """The class becomes certain."""
        return torch.full_like(context.clean, context.extremes[1])


@register
class IncreaseInConfidence(_Masked):
    """1 where ``p(x L) > p``, else 0."""

    name = "increase-in-confidence"
    summary = "share of images whose probability rises when multiplied by their heatmap"
    source = _GRAD_CAM_PLUS_PLUS
    definition = (
        "1 for an image whose class is likelier on the image multiplied by its heatmap than on the "
        "clean image, else 0; a rise of 1e-6 or less (of a callable target, times its largest "
        "absolute value on the images) is rounding and counts as 0, which libraries do not check. "
        f"{_SCALE}"
    )
    formula = r"\mathbb{1}\big[p_c(x \odot L) > p_c(x)\big]"
    traps = (
        "The size of a rise does not count: a map near 1 everywhere wins where it wins by a "
        "hair. Over few images the figure is coarse, and where the network is certain it is 0."
    )

    def score(self, maps: Tensor, context: Context) -> Tensor:
        least = _ROUNDING * context.scale.largest
        return (masked_probabilities(maps, context) > context.clean + least).float()


@register
class DropInDeletion(_Masked):
    """``p - p(x (1 - L))``."""

    name = "drop-in-deletion"
    summary = "probability lost where the image is multiplied by 1 minus its heatmap"
    source = "Jung and Oh, Towards Better Explanations of Class Activation Mapping, ICCV 2021"
    definition = (
        "The probability of the class on the clean image minus that on the image multiplied by 1 "
        "minus its heatmap; pytorch-grad-cam gives the same with the opposite sign where it is "
        f"handed 1 - L. {_SCALE}"
    )
    formula = r"p_c(x) - p_c\big(x \odot (1 - L)\big)"
    traps = (
        "A heatmap that is 1 almost everywhere deletes the whole image and loses everything: read "
        "it with complexity."
    )
    range = (-1.0, 1.0)
    in_units_of_target = True

    def score(self, maps: Tensor, context: Context) -> Tensor:
        return context.clean - masked_probabilities(maps, context, inverse=True)

    def bound(self, context: Context) -> Tensor:
        """All of the probability is lost."""
        return context.clean - context.extremes[0]


@register
class Complexity(Metric):
    """Mean of the heatmap."""

    name = "complexity"
    family = "confidence"
    summary = "mean of the heatmap: how much of the image it shows"
    source = (
        "Poppi et al., Revisiting the Evaluation of Class Activation Mapping for Explainability, "
        "CVPR Workshops 2021"
    )
    definition = (
        "The mean of the heatmap over its pixels, as in pytorch-grad-cam; Quantus calls the "
        "entropy of the heatmap by the same name."
    )
    formula = r"\frac{1}{HW} \sum_{i} L_i"
    traps = (
        "It does not look at the image: one hot pixel is best. It balances other metrics and says "
        "nothing alone."
    )
    higher_is_better = False

    def score(self, maps: Tensor, context: Context) -> Tensor:
        return maps.flatten(2).mean(-1)


@register
class HCI(_Masked):
    """Harmonic mean of what is kept (1 - average drop) and the share of images that rise."""

    name = "hci"
    summary = "harmonic mean of 1 - average drop and increase in confidence"
    source = (
        "MI-Grad-CAM: Letting Your Model Reveal What's Most Informative, submission to ICLR 2026, "
        "released code"
    )
    definition = (
        "The harmonic mean of 1 minus the average drop (relative to the clean probability) and the "
        "share of images whose confidence increases, both over all images; 0 where one of the two "
        f"is 0. {_SCALE}"
    )
    formula = (
        r"\frac{2\,(1 - \mathrm{AD})\,\mathrm{AI}}{(1 - \mathrm{AD}) + \mathrm{AI}}, \quad "
        r"\mathrm{AD},\, \mathrm{AI} \text{ means over the images}"
    )
    traps = (
        "It is all or nothing where few images rise, and a network that is certain of its images "
        f"leaves no room for a rise. {_ALL_ONES}"
    )
    components = ("drop", "increase")

    def check(self, context: Context) -> None:
        """Refuse a callable target whose values are not positive."""
        need_values(self.name, context, POSITIVE, "increase-in-confidence")

    def score(self, maps: Tensor, context: Context) -> Tensor:
        parts = AverageDrop(), IncreaseInConfidence()
        return torch.stack([part.score(maps, context) for part in parts], -1)

    def reduce(self, values: np.ndarray, fitted: None = None) -> np.ndarray:
        drop, increase = torch.from_numpy(values.mean(-2)).unbind(-1)
        return harmonic_mean(torch.stack([1 - drop, increase], -1)).numpy()


def need_values(metric: str, context: Context, needed: str, instead: str) -> None:
    """Refuse a callable target whose values on the clean images are not what a metric needs.

    Args:
        metric: its name.
        needed: :data:`POSITIVE` or :data:`PROBABILITY`.
        instead: a metric that is defined for any values.

    Raises:
        OptionError: it says how to mend it.
    """
    if context.classifier is None or context.classifier.score is None:
        return
    least, most = context.clean.min().item(), context.clean.max().item()
    if needed == POSITIVE and not least > 0:
        wrong = least
    elif needed == PROBABILITY and not (least >= 0 and most <= 1 + _ROUNDING):
        wrong = least if not least >= 0 else most
    else:
        return
    raise OptionError(
        f"metric {metric!r} needs {needed}, and the callable target is {wrong:g} on one of these "
        f"{len(context)} images; use {instead}, or a target that returns a probability, like "
        "lambda row: row.softmax(-1)[3]"
    )


def _share(part: Tensor, whole: Tensor, nothing: float = 0.0) -> Tensor:
    """``part / whole``; ``nothing`` where there is no whole."""
    return torch.where(whole > 0, part / whole.where(whole > 0, whole.new_ones(())), nothing)
