"""Any metric of Quantus, by name: ``quantus:PixelFlipping:features_in_step=32``.

What Quantus does with batches, numpy 2 and the caller's arrays is met here, so that a score
depends on one heatmap and one image alone.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
import random
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from importlib.metadata import version
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from sycam.errors import DataError, OptionError, unknown_name
from sycam.metrics.adapters.base import Borrowed, Direction
from sycam.metrics.base import Metric, signature
from sycam.metrics.context import Context
from sycam.networks.untouched import seeded

PREFIX = "quantus:"
_SOURCE = "Hedström et al., Quantus, JMLR 2023"
# Options of Quantus that text can set although they are functions: by the names of its tables.
_FUNCTIONS = {
    "similarity_func": "AVAILABLE_SIMILARITY_FUNCTIONS",
    "perturb_func": "AVAILABLE_PERTURBATION_FUNCTIONS",
    "normalise_func": "AVAILABLE_NORMALISATION_FUNCTIONS",
}
# What only concerns its output, or what is fixed here.
_HIDDEN = {"return_aggregate", "aggregate_func", "default_plot_func", "disable_warnings",
           "display_progressbar", "return_auc_per_sample", "return_average_correlation",
           "return_last_correlation", "return_sample_correlation", "compute_extra_scores",
           "kwargs", "args"}  # fmt: skip
_MASKED = {"PointingGame", "TopKIntersection", "RelevanceMassAccuracy", "RelevanceRankAccuracy",
           "AttributionLocalisation", "AUC"}  # fmt: skip
_EXPLAIN = {"MaxSensitivity", "AvgSensitivity", "LocalLipschitzEstimate", "Continuity",
            "RelativeInputStability", "RelativeOutputStability", "RelativeRepresentationStability",
            "MPRT", "SmoothMPRT", "EfficientMPRT", "RandomLogit", "InputInvariance"}  # fmt: skip
_REFUSED = {
    "ModelParameterRandomisation": f"Quantus calls it {PREFIX}MPRT now",
    "Sufficiency": "it compares images with each other: an image has no score of its own",
    "BatchSufficiency": "it compares images with each other: an image has no score of its own",
    "Consistency": "it compares images with each other: an image has no score of its own",
    "Focus": "it needs mosaics of several images",
}
# What asks the network itself for the score of a class, which a callable does not explain.
_OF_CLASSES = ("faithfulness", "axiomatic")  # categories
_ONE_COLOUR = {"ROAD": "road", "IROF": "responsiveness"}  # they fail on RGB; what to use instead


class Quantus(Borrowed):
    """A metric of Quantus; :func:`quantus_metric` makes a subclass for each class of Quantus."""

    kind: ClassVar[type]
    source = _SOURCE

    def __init__(
        self, direction: Direction | None = None, undefined: float | None = None, **options: Any
    ):
        super().__init__(direction, undefined)
        self._given = options
        given = {name: self._function(name, value) for name, value in options.items()}
        fixed = {"disable_warnings": True, "display_progressbar": False}
        with _quietly():
            self._metric = self.kind(**fixed, **given)
        if self.looks_elsewhere:
            self.measurements = int(getattr(self._metric, "nr_samples", 1))

    @classmethod
    def parameters(cls) -> Mapping[str, inspect.Parameter]:
        """The options of the class of Quantus that text can set, and those of every borrowed
        metric."""
        parameters: dict[str, inspect.Parameter] = {}
        for name, parameter in _parameters_of(cls.kind).items():
            function = "Callable" in str(parameter.annotation) or name.endswith("_func")
            function = function and name not in _FUNCTIONS
            if name in ("self", *_HIDDEN) or name.endswith("_kwargs") or function:
                continue
            if name in _FUNCTIONS:
                parameter = parameter.replace(annotation=str | None, default=None)
            parameters[name] = parameter
        return parameters | Borrowed.parameters()

    @property
    def options(self) -> dict[str, object]:
        usual = {name: p.default for name, p in self.parameters().items()}
        own = {**usual, **self._given, **super().options}
        plain = (bool, int, float, str, list, tuple, type(None))
        own = {k: v if isinstance(v, plain) else str(v) for k, v in own.items()}  # for JSON
        return {**own, "quantus": version("quantus")}

    def check(self, context: Context) -> None:
        if context.classifier.score is not None and self._of_classes:
            raise OptionError(
                f"metric {self.text!r} asks the network for the score of a class, but a callable "
                "is explained; use SyCAM's own, like 'road' or 'insertion', or explain a class"
            )
        instead = _ONE_COLOUR.get(self.kind.__name__)
        if instead and context.images.shape[1] > 1:
            raise OptionError(
                f"{self.text!r} fails on images of several channels (Quantus reads its mask as if "
                f"there were one); use {instead!r}"
            )
        if self.needs_masks and context.masks is not None:
            empty = ~context.masks.flatten(1).any(1)
            if empty.any() and self.undefined is None:
                raise DataError(
                    f"image {int(empty.nonzero()[0])} has an empty mask, for which {self.text!r} "
                    "has no score; leave the image out, or add undefined=0"
                )

    @property
    def _of_classes(self) -> bool:
        category = str(self.kind.evaluation_category.value).casefold()  # type: ignore[attr-defined]
        return category in _OF_CLASSES or self.kind.__name__ == "RandomLogit"

    def judge(self, heatmap: Tensor, candidate: int, image: int, context: Context) -> float:
        if context.masks is not None and self.needs_masks and not context.masks[image].any():
            return float("nan")  # Quantus counts it as a hit in PointingGame
        model = context.classifier.plain
        # Correlations of Quantus fail on a batch of one.
        correlates = self.kind.__name__.endswith(("MPRT", "RandomLogit"))
        count = 2 if correlates or "similarity_func" in self._given else 1
        given = {
            "model": model,
            "x_batch": _array(context.images[image], count),
            "y_batch": np.repeat(int(context.targets[image]), count),
            "a_batch": _array(heatmap[None], count),
            "device": str(context.classifier.device),
            "batch_size": count,
        }
        if self.needs_masks:
            given["s_batch"] = _array(context.masks[image][None], count).astype(bool)
        if self.looks_elsewhere:
            given["explain_func"] = self._explainer(candidate, image, context)
        with _quietly(), _seeded(context, image):
            scores = self._metric(**given)
        return _one_number(scores)

    def _explainer(self, candidate: int, image: int, context: Context) -> Callable:
        """Explains variants of the image by the candidate's formula, as Quantus asks for it."""
        candidates = context.again(self.text)
        of_network = context.classifier.plain

        def explain(
            model: nn.Module, inputs: np.ndarray, targets: np.ndarray, **_: Any
        ) -> np.ndarray:
            maps = []
            network = None if model is of_network else model
            for one, target in zip(inputs, np.asarray(targets).flatten(), strict=True):
                pixels = torch.as_tensor(one).to(context.images)[None]
                other = None if target == int(context.targets[image]) else int(target)
                heatmap = candidates.heatmap_of(candidate, image, pixels, other, network)
                flat = heatmap.amax() == heatmap.amin()
                maps.append(context.random_maps[image].to(heatmap) if flat else heatmap)
            return torch.stack(maps)[:, None].float().cpu().numpy()

        return explain

    def _function(self, option: str, value: Any) -> Any:
        """A function of Quantus by its name."""
        if option not in _FUNCTIONS or not isinstance(value, str):
            return value
        table = getattr(library().helpers.constants, _FUNCTIONS[option])
        if value not in table:
            raise unknown_name(f"{option} of Quantus", value, table)
        return table[value]


def quantus_metric(name: str) -> type[Metric]:
    """The class of a metric of Quantus, e.g. ``"PixelFlipping"``.

    Raises:
        OptionError: Quantus is not installed or cannot be imported, or has no score per image under
            this metric.
        UnknownNameError: it has no such metric; the nearest are named.
    """
    known = _classes()
    if not name:
        names = ", ".join(n for n in known if n not in _REFUSED)
        raise OptionError(f"{PREFIX}NAME is a metric of Quantus, one of {names}")
    if name not in known:
        raise unknown_name("metric of Quantus", name, known)
    if name in _REFUSED:
        raise OptionError(f"metric {PREFIX}{name} cannot be borrowed: {_REFUSED[name]}")
    return _metric_of(name)


@lru_cache
def _metric_of(name: str) -> type[Metric]:
    kind = _classes()[name]
    said = " ".join((inspect.getdoc(kind) or name).partition("References")[0].split())
    direction = getattr(kind.score_direction, "name", "").lower()
    facts = {
        "__module__": __name__,
        "kind": kind,
        "name": PREFIX + name,
        "origin": PREFIX + name,
        "summary": f"{kind.name} of Quantus",
        "definition": f"{said} (Quantus {version('quantus')}; a curve counts as its mean, and "
        "MPRT's layers as theirs, the network itself left out)",
        "traps": "Computed by Quantus on the CPU's side, an image at a time: slow in a search, and "
        "the plan does not know its price.",
        "usual": direction if direction in ("higher", "lower") else None,
        "needs_masks": name in _MASKED,
        "measurements": int(name in _EXPLAIN),
    }
    return type(name, (Quantus,), facts)


@lru_cache
def library() -> ModuleType:
    """Quantus.

    Raises:
        OptionError: it is not installed, or does not load.
    """
    try:
        with _quietly():
            return importlib.import_module("quantus")
    except ImportError as error:
        raise OptionError(
            f"metrics of Quantus need the package: pip install quantus ({error})"
        ) from None
    except Exception as error:
        raise OptionError(
            f"Quantus is installed, but does not load: {type(error).__name__}: {error}"
        ) from error


@lru_cache
def _classes() -> dict[str, type]:
    base = library().metrics.base.Metric
    members = inspect.getmembers(library(), inspect.isclass)
    return {n: kind for n, kind in members if issubclass(kind, base) and kind is not base}


@lru_cache
def _parameters_of(kind: type) -> Mapping[str, inspect.Parameter]:
    with _quietly():  # its annotations name what numpy 1 had
        return signature(kind.__init__).parameters


def _array(tensor: Tensor, count: int) -> np.ndarray:
    """A copy as ``[count, ...]``: Quantus changes what it is given."""
    return np.repeat(tensor.detach().float().cpu().numpy()[None], count, axis=0)


def _one_number(scores: Any) -> float:
    """What Quantus says of the first image; a curve's mean."""
    if isinstance(scores, Mapping):  # by layer, or by share of removed pixels
        rows = [np.ravel(v)[0] for k, v in scores.items() if k != "original"]
        return float(np.mean(rows)) if rows else float("nan")
    first = scores[0]
    if isinstance(first, Mapping):
        first = list(first.values())
    return float(np.mean(np.asarray(first, dtype=float)))


@contextmanager
def _seeded(context: Context, image: int) -> Iterator[None]:
    """The global generators that Quantus draws from, the same for every candidate."""
    text = f"quantus/{context.seed}/{context.digests[image]}"
    seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")
    before, plain = np.random.get_state(), random.getstate()
    with seeded(seed, context.images.device):
        np.random.seed(seed)
        random.seed(seed)
        try:
            yield
        finally:
            np.random.set_state(before)
            random.setstate(plain)


_ALONE = threading.RLock()  # warnings, numpy's names and the generators are the whole process's


@contextmanager
def _quietly() -> Iterator[None]:
    """Without warnings, with the names that Quantus 0.6 reads of numpy 1, one thread at a time."""
    lent = {"trapz": getattr(np, "trapezoid", None), "NaN": np.nan, "float": float}
    with _ALONE, warnings.catch_warnings(), np.errstate(all="ignore"):
        missing = {name: value for name, value in lent.items() if not hasattr(np, name)}
        for name, value in missing.items():
            setattr(np, name, value)
        try:
            warnings.simplefilter("ignore")
            yield
        finally:
            for name in missing:
                delattr(np, name)
