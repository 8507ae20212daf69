"""What a winner must be, besides good: thresholds on other metrics."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from sycam.errors import OptionError
from sycam.methods import Method
from sycam.metrics import Metric, find_metric
from sycam.metrics.option_text import written
from sycam.scoring.journal import Journal
from sycam.scoring.scorer import Scorer

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
        found = _PARTS.fullmatch(text.strip()) if isinstance(text, str) else None
        try:
            threshold = float(found["threshold"])
            if math.isnan(threshold):
                raise ValueError
        except (TypeError, ValueError):
            raise OptionError(
                f"requirement {text!r} is not understood; expected a metric, one of < <= > >= and "
                "a number, like class-sensitivity>0.2"
            ) from None
        required = cls(find_metric(found["metric"].strip()), found["sign"], threshold)
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


@dataclass(frozen=True)
class Refusal:
    """A candidate that scored well enough to win, and was refused."""

    expression: str
    requirement: str
    figure: float


class Gate:
    """Checks candidates against requirements, the likeliest winners only.

    A figure is measured when it is first asked for, and kept in a journal of its own.

    Args:
        requirements: all must be met.
        scorer: of the search images.
        open_journal: makes the journal of a metric.
    """

    def __init__(
        self,
        requirements: Sequence[Requirement],
        scorer: Scorer,
        open_journal: Callable[[Metric], Journal],
    ):
        self.refused: list[Refusal] = []
        self.scorer = scorer
        metrics = {one.metric.text: one.metric for one in requirements}
        self._journals = {text: open_journal(metric) for text, metric in metrics.items()}
        self.requirements = requirements

    def __call__(self, method: Method) -> bool:
        """Whether a method meets all requirements; what it fails is noted in ``refused``."""
        for requirement in self.requirements:
            journal = self._journals[requirement.metric.text]
            if (method.name, 0) not in journal.known:
                (score,) = self.scorer.score_under([requirement.metric], method)
                journal.append(0, [method.name], [score])
            figure = journal.known[method.name, 0].mean
            if not requirement.met(figure):
                self.refused.append(Refusal(method.name, str(requirement), figure))
                return False
        return True

    def close(self) -> None:
        """Close the journals."""
        for journal in self._journals.values():
            journal.close()
