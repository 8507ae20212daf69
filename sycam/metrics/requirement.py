"""Requirements on a winner: thresholds on metrics that are not optimised."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Iterable
from dataclasses import dataclass

from sycam.errors import OptionError
from sycam.metrics.base import Metric
from sycam.metrics.composition.find import find_metric
from sycam.metrics.option_text import written

_SIGNS = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
_TURNED = re.compile(r"=\s*([<>])")  # => and =<
_PARTS = re.compile(r"(?P<metric>[^<>]+?)\s*(?P<sign>[<>]=?)\s*(?P<threshold>[^<>=]+)")


def need_masks(metric: Metric, requirements: Iterable[Requirement]) -> bool:
    """Whether what a search optimises, or what it requires, compares with ground truth."""
    return metric.needs_masks or any(one.metric.needs_masks for one in requirements)


@dataclass(frozen=True)
class Requirement:
    """A threshold on a metric's figure on the search images.

    Attributes:
        metric: the metric.
        sign: ``<``, ``<=``, ``>`` or ``>=``.
        threshold: what the figure is compared with.
    """

    metric: Metric
    sign: str
    threshold: float

    @classmethod
    def parse(cls, text: str) -> Requirement:
        """Read ``"class-sensitivity>0.2"``.

        Raises:
            OptionError, UnknownNameError: text that is no requirement.
        """
        if isinstance(text, str) and (turned := _TURNED.search(text)):
            meant = _TURNED.sub(r"\1=", text)
            raise OptionError(
                f"requirement {text!r} holds {turned[0]!r}, which is no sign; did you mean "
                f"{meant!r}?"
            )
        match = _PARTS.fullmatch(text.strip()) if isinstance(text, str) else None
        try:
            threshold = float(match["threshold"])
            if math.isnan(threshold):
                raise ValueError
        except (TypeError, ValueError):
            raise OptionError(
                f"requirement {text!r} is not understood; expected a metric, one of < <= > >= and "
                "a number, like class-sensitivity>0.2"
            ) from None
        required = cls(find_metric(match["metric"].strip()), match["sign"], threshold)
        if not any(map(required.met, required.metric.range)):
            low, high = required.metric.range
            raise OptionError(
                f"requirement {text!r} can never be met: {required.metric.text} is between "
                f"{low:g} and {high:g}"
            )
        return required

    def __str__(self) -> str:
        return f"{self.metric.text}{self.sign}{written(self.threshold)}"

    def met(self, figure: float) -> bool:
        """Whether a figure satisfies it; NaN never does."""
        return _SIGNS[self.sign](figure, self.threshold)
