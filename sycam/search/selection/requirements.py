"""Candidates checked against the requirements, the likeliest winners only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sycam.methods import Method
from sycam.metrics import Metric
from sycam.metrics.requirement import Requirement
from sycam.scoring.journal import Journal
from sycam.scoring.scorer import Scorer


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
