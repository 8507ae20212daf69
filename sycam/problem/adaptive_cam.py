"""Heatmaps by the formula that scores best on each image, as a class that can be reused."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from numbers import Integral
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sycam.data.image_set import ImageSet
from sycam.errors import (
    BlankHeatmapWarning,
    DataError,
    ExpressionError,
    NetworkError,
    OptionError,
)
from sycam.evidence import Layers
from sycam.evidence.capture import BATCH
from sycam.language import Expression
from sycam.methods import Method, find_method
from sycam.metrics import Metric, find_metric
from sycam.metrics.composition.levels import best_member, halves
from sycam.networks.untouched import device_of, uncompiled
from sycam.problem.applicable import check_scorable, check_volumes
from sycam.problem.explained_network import ExplainedNetwork
from sycam.problem.options import ExplainOptions
from sycam.scoring.scorer import Scorer
from sycam.targets.resolve import Target, is_callable

_LABEL = "label"


class AdaptiveCAM:
    """Heatmaps of a network by that of several formulas which scores best on the image.

    Half of the metric's levels choose, under ROAD the even deciles; the others are left to judge
    the choice by, see :class:`sycam.validation.adaptive.Adaptive`. What is chosen depends on image,
    network, target and seed alone, not on the other images.

    Args:
        network: a classifier that returns ``(N, classes)``; any network, if the targets are
            callables. It is used as it is at the time of the call, and left as it was.
        layer: as for :class:`sycam.CAM`; of formulas that name layers, all that any of them names.
        formulas: expressions or named methods; of those that tie the first is taken.
        metric: without ground truth, with levels: ``"road"``, ``"insertion"``, ``"deletion"`` ...
        seed: of the metric's noise.
        explain: how the network is read; what is explained is said at each call.

    Attributes:
        formulas: names of the formulas.
        passes: forward passes that the choice takes for one image, beside the heatmaps.
        chosen: ``[N]`` int64, places in ``formulas`` of those that were taken in the last call.

    Raises:
        OptionError: a metric that cannot choose, or no formula.
        ExpressionError, UnknownNameError: a formula that cannot be used.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2))
        >>> cam = AdaptiveCAM(net, "1", ["mean(G)", "relu(G)"], "road")
        >>> cam(torch.rand(5, 3, 8, 8)).shape, cam.chosen.shape, cam.passes
        (torch.Size([5, 8, 8]), torch.Size([5]), 16)
    """

    def __init__(
        self,
        network: nn.Module,
        layer: Layers,
        formulas: Sequence[str | Expression | Method],
        metric: str | Metric = "road",
        *,
        seed: int = 0,
        explain: ExplainOptions = ExplainOptions(),
    ):
        if not isinstance(network, nn.Module):
            raise NetworkError(
                f"the network must be a torch.nn.Module, got {type(network).__name__}"
            )
        if isinstance(formulas, str) or not formulas:
            raise OptionError(
                f"formulas are several to choose from, like ['mean(G)', 'relu(G)'], got "
                f"{formulas!r:.80}"
            )
        self.network, self.layer, self.seed = uncompiled(network), layer, seed
        self._methods = [find_method(formula) for formula in formulas]
        self._choosing, _ = halves(find_metric(metric))
        check_scorable(self._choosing, self._methods)
        self._explain = explain
        self.formulas = tuple(method.name for method in self._methods)
        self.passes = len(self._methods) * self._choosing.passes
        self.chosen = torch.empty(0, dtype=torch.int64)

    def __call__(self, images: Tensor, targets: Target = None, batch: int = BATCH) -> Tensor:
        """Heatmaps of the images, each by the formula that is best on it.

        Args:
            images: ``[N,C,H,W]`` (or volumes ``[N,C,D,H,W]``) in the network's input scale.
            targets: what is explained: a class for all images, one per image, a target of
                :mod:`sycam.targets` or its text, or one callable from a row of outputs to a scalar;
                the predicted class if None.
            batch: images that are measured together; the result does not depend on it.

        Returns:
            Tensor[N,H,W] (``[N,D,H,W]``) in [0, 1] on the images' device; zeros where flat, which
            a :class:`~sycam.errors.BlankHeatmapWarning` says.

        Raises:
            DataError: images or targets that cannot be used.
            LayerError: a leaf of a formula cannot be had at this layer.
            ExpressionError: a formula that was taken overflows on these images.
        """
        if not isinstance(batch, Integral) or batch < 1:
            raise OptionError(f"batch must be a positive integer, got {batch!r}")
        given = ImageSet.from_arrays(images)
        check_volumes(self._choosing, given)
        target, labels = _one_for_all(targets, len(given))
        given = replace(given, labels=labels)
        explained = ExplainedNetwork.prepare(
            self.network,
            self.layer,
            given,
            replace(self._explain, target=target),
            self.seed,
            device_of(self.network),
        )
        parts = [
            self._explained(explained, given.subset(range(i, min(i + batch, len(given)))))
            for i in range(0, len(given), batch)
        ]
        maps, chosen = (torch.cat(part) for part in zip(*parts, strict=True))
        self.chosen = chosen
        blank = int((maps.flatten(1).amax(1) <= 0).sum())
        if blank:
            warnings.warn(
                f"{blank} of {len(maps)} heatmaps are blank under all formulas, or under that "
                "whose random ranking did best; sycam.CAM says more of each formula",
                BlankHeatmapWarning,
                stacklevel=2,
            )
        return maps.to(images.device)

    def _explained(self, explained: ExplainedNetwork, images: ImageSet) -> tuple[Tensor, Tensor]:
        """Heatmaps of some of the images, and which formulas made them."""
        leaves = frozenset().union(*(m.leaves for m in self._methods), self._choosing.leaves)
        evidence, context = explained.measure(images, leaves=leaves, gradients=False)
        self._choosing.check(context)
        scorer = Scorer(self._choosing, evidence, context)
        scores = [scorer.score_method(method).values for method in self._methods]
        chosen = best_member(self._choosing.oriented(np.stack(scores)))
        made = [method.heatmaps(evidence, context) for method in self._methods]
        for place in np.unique(chosen):
            if not made[place].finite.all():
                raise ExpressionError(
                    f"{self._methods[place].formula} overflows on these images: its values leave "
                    "the floating range; use a tamer formula (symlog, normalize)"
                )
        maps = torch.stack([one.maps[0] for one in made])
        return maps[chosen, np.arange(len(chosen))], torch.from_numpy(chosen)

    def __repr__(self) -> str:
        network = type(self.network).__name__
        return f"AdaptiveCAM({network}, {self.layer!r}, {list(self.formulas)!r})"


def _one_for_all(targets: Target, count: int) -> tuple[Any, Tensor | None]:
    """A target that a whole set of images can have, and their labels where it asks for these."""
    if targets is None:
        return "predicted", None
    if isinstance(targets, Tensor | np.ndarray) and targets.ndim == 0:
        return int(targets), None
    if isinstance(targets, str) or not isinstance(targets, Sequence | Tensor | np.ndarray):
        return targets, None
    if is_callable(targets):
        raise OptionError("give one callable that explains all images, not one per image")
    if len(targets) != count:
        raise DataError(f"{count} images need {count} targets, got {len(targets)}")
    return _LABEL, torch.as_tensor(targets, dtype=torch.int64)
