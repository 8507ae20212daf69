"""Training of encoder, exits and attention, and cutting of masks, as options that validate
themselves."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Integral, Real

from sycam.errors import OptionError
from sycam.support.arguments import argument
from sycam.support.options import option


@dataclass(frozen=True, kw_only=True)
class SegmentOptions:
    """How the encoder, its exits and their attention are trained.

    Attributes:
        exits: at most how many, where the layers are sought: the deepest that are found.
        simclr_epochs: of pre-training the encoder by SimCLR (Chen et al., 2020) on the same
            images, without their labels; none if 0.
        epochs: of the classifier, with all exits.
        attention_epochs: of the attention afterwards, the classifier being frozen.
        fine_tune: the encoder is trained as well, not the exits alone.
        batch, simclr_batch: images of a batch at least; the last one is never a small rest. In
            SimCLR each image stands against all others of its batch.
        simclr_learning_rate, learning_rate, attention_learning_rate: of Adam in each phase; they
            fall to 0 by a cosine.
        weight_decay: of all but the attention (AdamW).
        balanced: images with and without the object weigh the same, however many there are.
        flip: mirror images left to right at random; the views of SimCLR are mirrored anyway.
        temperature: of SimCLR's loss.
        rank_decay: alpha of the contrastive loss: of all pairs of foregrounds (and of
            backgrounds) the r-th most alike weighs ``exp(-alpha r)``.

    Raises:
        OptionError: a value that cannot be used.
    """

    exits: int = option(4, "exits at most, where the layers are sought: the deepest of them")
    simclr_epochs: int = option(
        0, "epochs of pre-training the encoder by SimCLR, without labels; 0: none"
    )
    epochs: int = option(20, "epochs of the classifier with all exits")
    attention_epochs: int = option(10, "epochs of the attention, the classifier being frozen")
    fine_tune: bool = option(True, "train the encoder as well, or the exits alone")
    batch: int = option(16, "images of a batch at least")
    simclr_batch: int = option(64, "of SimCLR, likewise: images that stand against each other")
    learning_rate: float = option(1e-3, "of the classifier (AdamW); it falls to 0 by a cosine")
    attention_learning_rate: float = option(1e-3, "of the attention, likewise")
    simclr_learning_rate: float = option(1e-3, "of SimCLR, likewise")
    weight_decay: float = option(1e-4, "of the classifier, and of SimCLR")
    balanced: bool = option(
        True, "images with and without the object weigh the same, however many there are"
    )
    flip: bool = option(
        False, "mirror images left to right at random while training; SimCLR does anyway"
    )
    temperature: float = option(0.5, "of SimCLR's loss")
    rank_decay: float = option(
        0.25, "alpha of the contrastive loss: the r-th most alike pair weighs exp(-alpha r)"
    )

    def __post_init__(self) -> None:
        for name, least in (
            ("exits", 1), ("simclr_epochs", 0), ("epochs", 0), ("attention_epochs", 0),
            ("batch", 2), ("simclr_batch", 2),
        ):  # fmt: skip
            value = getattr(self, name)
            if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
                raise OptionError(
                    f"{argument(name)} must be a whole number of at least {least}, got {value!r}"
                )
        for name in (
            "learning_rate", "attention_learning_rate", "simclr_learning_rate", "temperature",
            "weight_decay", "rank_decay",
        ):  # fmt: skip
            value, above = getattr(self, name), name.endswith(("rate", "temperature"))
            number = isinstance(value, Real) and not isinstance(value, bool)
            if not number or not math.isfinite(value) or value < 0 or (above and value == 0):
                raise OptionError(
                    f"{argument(name)} must be a number {'above' if above else 'of at least'} 0, "
                    f"got {value!r}"
                )


@dataclass(frozen=True, kw_only=True)
class MaskOptions:
    """How a heatmap becomes a mask.

    Attributes:
        threshold: pixels at least so hot are the object; above 0 and at most 1.
        gated: an image in which the classifier sees no object has an empty mask.

    Raises:
        OptionError: a value that cannot be used.
    """

    threshold: float = option(0.5, "pixels at least so hot are the object, above 0 and at most 1")
    gated: bool = option(True, "an image in which the classifier sees no object has an empty mask")

    def __post_init__(self) -> None:
        value = self.threshold
        if not isinstance(value, Real) or isinstance(value, bool) or not 0 < value <= 1:
            raise OptionError(
                f"{argument('threshold')} must lie above 0 and at most at 1, got {value!r}"
            )
