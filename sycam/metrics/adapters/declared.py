"""Metrics that users declare, each one function."""

from __future__ import annotations

import inspect
import math
import re
import traceback
from collections.abc import Callable, Mapping
from dataclasses import replace
from numbers import Integral, Real
from typing import Any, ClassVar, TypeVar

import numpy as np
import torch
from torch import Tensor

from sycam.errors import DataError, OptionError, SycamError
from sycam.metrics.base import EXACT, INVARIANCES, METRICS, Metric, register, signature
from sycam.metrics.context import Context
from sycam.metrics.functions import FUNCTIONS
from sycam.support.content_digest import content_digest, version_digest

Function = TypeVar("Function", bound=Callable)

BATCH, IMAGE = "batch", "image"
_TAKES = {
    BATCH: "(heatmaps [P,N,H,W], context)",
    IMAGE: "(heatmap [H,W], image [C,H,W], mask [H,W] or None)",
}
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(-[A-Za-z][A-Za-z0-9_]*)*")
_SLACK = 1e-4  # by which rounding may carry a score out of its range


class Custom(Metric):
    """A user's function as a metric; :func:`metric` makes a subclass for each function.

    Args:
        options: keyword-only parameters of the function.

    Attributes:
        function: the user's function.
        form: ``"batch"`` or ``"image"``.
    """

    family = "custom"
    function: ClassVar[Callable]
    form: ClassVar[str]

    def __init__(self, **options: Any):
        self._given = options
        # Read once, as the file may be edited while scores are taken.
        facts = (version_digest(self.function), self.form, self.higher_is_better)
        self._version = content_digest(facts)[:16]

    @classmethod
    def parameters(cls) -> Mapping[str, inspect.Parameter]:
        parameters = signature(cls.function).parameters
        return {name: p for name, p in parameters.items() if p.kind is p.KEYWORD_ONLY}

    @property
    def version(self) -> str:
        return self._version

    @property
    def options(self) -> dict[str, object]:
        usual = {name: parameter.default for name, parameter in self.parameters().items()}
        return {**usual, **self._given, "version": self._version}

    def score(self, maps: Tensor, context: Context) -> Tensor:
        if not self.needs_masks:
            # What is not declared is not part of a run's identity, so it must not be seen.
            context = replace(context, masks=None)
        scores = self._batch(maps, context) if self.form == BATCH else self._each(maps, context)
        self._check(scores, maps)
        return scores

    def _batch(self, maps: Tensor, context: Context) -> Tensor:
        scores = self._call(maps, context)
        if not isinstance(scores, Tensor):
            raise self._fault(f"gave {type(scores).__name__}, expected a torch.Tensor")
        if scores.shape != maps.shape[:2]:
            raise self._fault(
                f"gave shape {list(scores.shape)}, expected {list(maps.shape[:2])}: one score a "
                "candidate and image"
            )
        if not scores.is_floating_point():
            raise self._fault(f"gave {scores.dtype}, expected floating point (.float())")
        return scores.detach()

    def _each(self, maps: Tensor, context: Context) -> Tensor:
        masks = [None] * len(context) if context.masks is None else context.masks
        rows = [
            [self._one(*given) for given in zip(row, context.images, masks, strict=True)]
            for row in maps
        ]
        return torch.tensor(rows, dtype=torch.float64, device=maps.device)

    def _one(self, heatmap: Tensor, image: Tensor, mask: Tensor | None) -> float:
        score = self._call(heatmap, image, mask)
        if isinstance(score, np.ndarray):
            score = torch.as_tensor(score)
        if isinstance(score, Tensor) and score.numel() == 1:
            score = score.item()
        if not isinstance(score, Real):
            shape = f" of shape {list(score.shape)}" if isinstance(score, Tensor) else ""
            raise self._fault(f"gave {type(score).__name__}{shape}, expected one number")
        return float(score)

    def _call(self, *arguments: Any) -> Any:
        try:
            return self.function(*arguments, **self._given)
        except SycamError:
            raise
        except (Exception, SystemExit) as error:
            last = traceback.extract_tb(error.__traceback__)[-1]
            raise self._fault(
                f"raised {type(error).__name__}: {error} (line {last.lineno} of {last.filename})"
            ) from error

    def _check(self, scores: Tensor, maps: Tensor) -> None:
        finite = scores.isfinite()
        if not finite.all():
            blank = maps.flatten(2).amax(2) == maps.flatten(2).amin(2)
            others = int((~finite & ~blank).sum())
            hint = "decide what a map of zeros scores"
            if others:
                hint = f"{others} of these heatmaps are not blank"
            raise self._fault(
                f"gave {int((~finite).sum())} of {scores.numel()} scores that are NaN or infinite, "
                f"expected finite ones; {hint}"
            )
        low, high = self.range
        least, most = float(scores.min()), float(scores.max())
        if least < low - _SLACK or most > high + _SLACK:
            raise self._fault(
                f"gave scores from {least:g} to {most:g}, expected its range ({low:g}, {high:g})"
            )

    def _fault(self, said: str) -> DataError:
        return DataError(f"metric {self.text!r} {said}")


def metric(  # noqa: PLR0913 (public)
    function: Function | None = None,
    *,
    form: str = BATCH,
    name: str | None = None,
    summary: str | None = None,
    source: str = "user-defined",
    higher_is_better: bool = True,
    range: tuple[float, float] = (-math.inf, math.inf),
    invariance: str = EXACT,
    needs_masks: bool = False,
    passes: int = 0,
    volumes: bool = False,
) -> Function | Callable[[Function], Function]:
    """Declare a function as a metric.

    From then on its name serves wherever a metric is named in Python; commands take it as
    ``path/to/file.py:function``. Keyword-only parameters with defaults become options
    (``centre:sigma=0.3``). The function must score each candidate and each image on its own, give
    the same each time, and not change its arguments: :func:`sycam.testing.check_metric` tests
    that, and what is declared here.

    Args:
        function: given by a decorator without parentheses.
        form: ``"batch"`` for ``f(heatmaps [P,N,H,W], context) -> Tensor[P,N]``, with a
            :class:`sycam.metrics.Context`; ``"image"`` for
            ``f(heatmap [H,W], image [C,H,W], mask [H,W] or None) -> float``, which is called once
            per candidate and image and so is slower. Heatmaps lie in [0, 1].
        name: the metric's name; the function's if None.
        summary: one line; the first of the docstring if None.
        source: where it is defined.
        higher_is_better: its direction.
        range: lowest and highest score.
        invariance: ``"exact"``, ``"positive-scale"`` (c times the weights scores as the weights
            do) or ``"ranking"`` (only the order of the pixels counts); the search treats formulas
            as one that the metric cannot tell apart, so that ``"exact"`` is safe and slow.
        needs_masks: whether it looks at ground truth; else it gets None.
        passes: forward passes for one candidate and image, for the search's estimate.
        volumes: whether it takes ``[P,N,D,H,W]`` as well.

    Returns:
        The function, with the metric's class as its attribute ``metric``; a decorator where the
        function is not given.

    Raises:
        OptionError: a function of other parameters, a name that is no name or SyCAM's own, an
            unknown form or invariance, an empty range.

    Example:
        >>> import sycam
        >>> @sycam.metric(range=(0, 1), invariance="positive-scale")
        ... def upper(heatmaps, context):
        ...     '''Share of the heat in the upper half of the image.'''
        ...     half = heatmaps[..., : heatmaps.shape[-2] // 2, :].sum((-2, -1))
        ...     return half / heatmaps.sum((-2, -1)).clamp(min=1e-9)
        >>> print(sycam.testing.check_metric("upper"))
        upper: no fault on 11 kinds of heatmaps
    """

    def declare(function: Function) -> Function:
        label = _name(function, name)
        _check_parameters(function, form, label)
        doc = inspect.getdoc(function) or ""
        facts = {
            "__module__": function.__module__,
            "__doc__": function.__doc__,
            "function": staticmethod(function),
            "form": form,
            "name": label,
            "summary": summary or doc.partition("\n")[0] or label,
            "source": source,
            "definition": " ".join(doc.split()),
            "higher_is_better": bool(higher_is_better),
            "range": _range(range, label),
            "invariance": invariance,
            "needs_masks": bool(needs_masks),
            "passes": passes,
            "volumes": bool(volumes),
        }
        function.metric = register(type(function.__name__, (Custom,), facts))
        return function

    for said, value, known in (("form", form, _TAKES), ("invariance", invariance, INVARIANCES)):
        if value not in known:
            raise OptionError(f"{said} {value!r} of a metric is not known; expected one of "
                              f"{', '.join(map(repr, known))}")  # fmt: skip
    if not isinstance(passes, Integral) or passes < 0:
        raise OptionError(f"passes of a metric must be a whole number, got {passes!r}")
    return declare if function is None else declare(function)


def _name(function: Callable, name: str | None) -> str:
    if not inspect.isfunction(function) or function.__name__ == "<lambda>":
        raise OptionError(
            f"a metric must be a function written with def, got {function!r}; wrap it in one"
        )
    label = function.__name__ if name is None else name
    if not isinstance(label, str) or not _NAME.fullmatch(label):
        raise OptionError(
            f"metric name {label!r} must be made of letters, digits and _, with hyphens between "
            "words; give another with name="
        )
    known = METRICS.get(label)
    if label in FUNCTIONS or (known is not None and not issubclass(known, Custom)):
        raise OptionError(f"SyCAM itself has {label!r}; give another with name=")
    return label


def _check_parameters(function: Callable, form: str, name: str) -> None:
    parameters = inspect.signature(function).parameters.values()
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    options = [p for p in parameters if p.kind is p.KEYWORD_ONLY]
    wanted = 2 if form == BATCH else 3
    if len(positional) != wanted or any(p.default is p.empty for p in options):
        raise OptionError(
            f"metric {name!r} takes {inspect.signature(function)}, expected {_TAKES[form]} and "
            "options after *, each with a default"
        )
    if any(p.name == "version" for p in options):
        raise OptionError(f"option 'version' of metric {name!r} is taken; call it otherwise")


def _range(ends: tuple[float, float], name: str) -> tuple[float, float]:
    try:
        low, high = map(float, ends)
    except (TypeError, ValueError):
        low, high = math.nan, math.nan
    if not low < high:
        raise OptionError(
            f"range {ends!r} of metric {name!r} must be its lowest and highest score, like (0, 1)"
        )
    return low, high
