"""What a metric is, and the table of metrics."""

from __future__ import annotations

import hashlib
import inspect
import math
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, ClassVar, TypeVar

import numpy as np
import torch
from torch import Tensor

from sycam.errors import OptionError
from sycam.metrics.context import Context
from sycam.metrics.option_text import written
from sycam.support.content_digest import version_digest

WEIGHTS = "weights"  # the metric sees the weights themselves
EXACT = "exact"  # it sees the weighted sum after the ReLU, before scaling
POSITIVE_SCALE = "positive-scale"  # c * L scores as L does, for c > 0
RANKING = "ranking"  # only the order of the pixels, with ties, matters
INVARIANCES = (WEIGHTS, EXACT, POSITIVE_SCALE, RANKING)
FAMILIES = {
    "removal": "what the network says when pixels are removed in the order of the heatmap",
    "confidence": "what it says of the image multiplied by the heatmap",
    "localisation": "whether the heatmap finds the object that a mask marks",
    "robustness": "whether heatmaps hold still, and move, when they should",
    "axiom": "properties of the weights themselves",
    "sanity": "what every explanation should pass, whatever it is optimised for",
    "composite": "several metrics as one number",
    "custom": "metrics of your own",
}
_SLUG = 60  # characters of a folder's name, at most

Scores = TypeVar("Scores", float, np.ndarray, Tensor)


class Metric(ABC):
    """Heatmaps to scores.

    An implementation is deterministic, scores each candidate and each image on its own, and does
    not change its arguments. Keywords of its constructor are its options; each has a default.

    Attributes:
        name: what ``sycam metrics`` lists.
        summary: one line.
        source: authors, title, venue and year of what defines it.
        family: one of :data:`FAMILIES`.
        definition: the definition in words, with what its options change.
        formula: the same in LaTeX.
        traps: how a search can game it, and what it does not see.
        higher_is_better: its direction.
        range: lowest and highest score of an image, where a class is explained; a callable target
            may have any value, which :meth:`bound` knows.
        invariance: the coarsest of :data:`INVARIANCES` under which scores are equal.
        in_units_of_target: whether scores are differences or means of what the network says, so
            that they are as large as a callable target's values.
        rewards_blur: whether it is known to favour blurred heatmaps, whatever they show, so that
            blurred published CAMs are rivals (arXiv:2304.13836).
        needs_masks: whether it compares with ground truth.
        volumes: whether it is defined for ``[N,C,D,H,W]``.
        leaves: names of leaves that it reads.
        passes: forward passes on perturbed images for one candidate and one image, at most.
        measurements: forward and backward passes for one candidate and one image, at most.
        shared_measurements: the same for one image, whatever the number of candidates.
        components: names of what :meth:`score` returns for an image, where that is not one score.
        levels: of how many parts that cost about the same passes a score is the sum; a race looks
            at them one by one where there are several, see :meth:`score_at`.
        origin: ``FILE.py:NAME`` of a metric that was found in a user's file, else empty.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    source: ClassVar[str]
    family: ClassVar[str]
    definition: ClassVar[str] = ""
    formula: ClassVar[str] = ""
    traps: ClassVar[str] = ""
    higher_is_better: ClassVar[bool] = True
    range: ClassVar[tuple[float, float]] = (0.0, 1.0)
    invariance: ClassVar[str] = POSITIVE_SCALE
    in_units_of_target: bool = False
    rewards_blur: bool = False
    needs_masks: ClassVar[bool] = False
    volumes: ClassVar[bool] = True
    leaves: ClassVar[frozenset[str]] = frozenset()
    passes: int = 0
    measurements: int = 0
    shared_measurements: int = 0
    components: tuple[str, ...] = ()
    levels: int = 1
    origin: str = ""

    @abstractmethod
    def score(self, maps: Tensor, context: Context) -> Tensor:
        """Score heatmaps.

        Args:
            maps: ``[P,N,H,W]`` in [0, 1].
            context: of the same N images.

        Returns:
            Tensor[P,N], one score per candidate and image; ``[P,N,c]`` where ``components`` names c
            of them.
        """

    def score_at(self, maps: Tensor, context: Context, levels: Tensor) -> Tensor:
        """What levels add to the score of heatmaps; all of them together add up to it.

        Args:
            maps: ``[P,N,H,W]`` in [0, 1].
            context: of the same N images.
            levels: ``[N,T]`` int64, T of the metric's levels for each image, none of them twice.

        Returns:
            Tensor[P,N,T] float64.
        """
        raise NotImplementedError(f"metric {self.name!r} has no levels")

    def check(self, context: Context) -> None:
        """Refuse images, a network or a target for which the metric is not defined.

        Raises:
            OptionError: it says why.
        """
        return

    @property
    def options(self) -> dict[str, object]:
        """Settings that change the score: part of a run's identity."""
        return {}

    @classmethod
    def parameters(cls) -> Mapping[str, inspect.Parameter]:
        """The options that text can set, with defaults and types."""
        return signature(cls).parameters

    @property
    def span(self) -> float:
        """How far apart two scores of an image can be, where a class is explained."""
        return self.range[1] - self.range[0]

    @property
    def of_weights(self) -> bool:
        """Whether it is defined only for weights and maps of the language."""
        return self.invariance == WEIGHTS

    @property
    def looks_elsewhere(self) -> bool:
        """Whether it looks at heatmaps of changed inputs, or of another class or network."""
        return bool(self.measurements or self.shared_measurements)

    @property
    def text(self) -> str:
        """What :func:`sycam.metrics.find_metric` makes an equal metric of: the name, and the
        options that are not at their defaults."""
        own, usual = self.options, self.usual_options()
        said = [
            f"{name}={written(own[name], parameter.annotation)}"
            for name, parameter in self.parameters().items()
            if own[name] != usual[name]
        ]
        return (self.origin or self.name) + (":" + ",".join(said) if said else "")

    @classmethod
    def usual_options(cls) -> Mapping[str, object]:
        """The options of a metric of which none was given."""
        return cls().options

    @property
    def slug(self) -> str:
        """The text as part of a folder's name: letters, digits and hyphens, at most 60."""
        text = self.text
        plain = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
        if plain == text and len(text) <= _SLUG:
            return text
        # Other texts may look the same without their signs.
        digest = hashlib.sha256(text.encode()).hexdigest()[:8]
        return f"{plain[: _SLUG - 9].rstrip('-')}-{digest}".lstrip("-")

    @property
    def version(self) -> str:
        """Digest of the code of a metric that is not SyCAM's own, else empty: part of a run's
        identity."""
        own = type(self).__module__.partition(".")[0] == "sycam"
        return "" if own else version_digest(type(self))

    def fit(self, values: np.ndarray) -> Any:
        """What the search images decide for a candidate, to be used on others; None for most.

        Args:
            values: ``[N]`` or ``[N,c]`` of :meth:`score` for one candidate.
        """
        return None

    def reduce(self, values: np.ndarray, fitted: Any = None) -> np.ndarray:
        """The figure of a set of images: the mean of their scores, for most.

        Args:
            values: ``[..., N]``, or ``[..., N, c]`` where there are components.
            fitted: of :meth:`fit` on other images; what these images decide if None.

        Returns:
            ndarray[...], NaN where it is undefined.
        """
        if self.components:
            raise NotImplementedError(f"metric {self.name!r} has components: define reduce")
        return values.mean(-1)

    def per_image(self, values: np.ndarray, fitted: Any = None) -> np.ndarray:
        """``[N]`` what each image adds to the figure: its score, for most.

        Where the figure is no mean, these are jackknife pseudo-values, N times the figure minus
        N - 1 times the figure without the image (Tukey 1958), so that paired tests apply.
        """
        if not self.components:
            return values
        count = len(values)
        whole = self.reduce(values, fitted)
        if count < 2:
            return np.full(count, whole)
        # Undefined without an image: that image carries what the whole set says.
        others = np.array([self.reduce(np.delete(values, i, axis=0), fitted) for i in range(count)])
        return np.where(np.isfinite(others), count * whole - (count - 1) * others, whole)

    def bound(self, context: Context) -> Tensor:
        """``[N]`` the best score that any heatmap could get on each image (or better)."""
        best = self.range[1] if self.higher_is_better else self.range[0]
        return torch.full((len(context),), float(best), device=context.images.device)

    def bound_at(self, context: Context) -> Tensor:
        """``[N,levels]`` the most that any heatmap could get at each level (or more)."""
        return (self.bound(context).double() / self.levels)[:, None].expand(-1, self.levels)

    def unit(self, scale: float) -> float:
        """How large scores are where the values watched are as large as ``scale``; 1 where they
        have nothing to do with it."""
        return scale if self.in_units_of_target else 1.0

    def rounded(self, values: np.ndarray, scale: float, digits: int) -> np.ndarray:
        """Scores to so many decimals of their unit, which is taken for a power of ten.

        Args:
            values: ``[..., N]``, or ``[..., N, c]`` where there are components.
            scale: largest absolute value that is watched, 1 for probabilities.
            digits: decimals.
        """
        return values.round(digits - math.ceil(math.log10(self.unit(scale))))

    def oriented(self, scores: Scores) -> Scores:
        """Scores with their sign turned so that higher is better."""
        return scores if self.higher_is_better else -scores


_registry: dict[str, type[Metric]] = {}
METRICS: Mapping[str, type[Metric]] = MappingProxyType(_registry)


def register(metric: type[Metric]) -> type[Metric]:
    """Class decorator: make a metric known by its name."""
    if metric.family not in FAMILIES:
        raise OptionError(f"family {metric.family!r} of metric {metric.name!r} is not known")
    _registry[metric.name] = metric
    return metric


@contextmanager
def isolated() -> Iterator[None]:
    """Within this context metrics may be registered; afterwards they are forgotten."""
    before = dict(_registry)
    try:
        yield
    finally:
        _registry.clear()
        _registry.update(before)


def signature(function: Callable) -> inspect.Signature:
    """A signature, with its types where they can be told."""
    try:
        return inspect.signature(function, eval_str=True)
    except NameError:  # a type that is imported for type checkers only
        return inspect.signature(function)
