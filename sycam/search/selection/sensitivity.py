"""Whether what might win changes with the class explained, measured on a few search images."""

from __future__ import annotations

from collections.abc import Callable

from sycam.errors import OptionError
from sycam.methods import ALWAYS, Method
from sycam.metrics import Metric, find_metric
from sycam.metrics.requirement import Requirement
from sycam.metrics.robustness.sanity import INSENSITIVE
from sycam.scoring.journal import Journal
from sycam.scoring.scorer import Scorer
from sycam.search.selection.requirements import Gate, Refusal

GUARDED_IMAGES = 16  # of the search images, the first
MOST = 24  # candidates that are refused; where there are more, it is the network or the metric
GUARD = Requirement(find_metric("class-sensitivity"), ">=", INSENSITIVE)


class SensitivityGuard:
    """Refuses methods whose class-sensitivity is about 0: see :data:`GUARD`.

    It is for those that might win, asked in turn. Where class-sensitivity is not defined, as of a
    callable target, and of methods that read expensive leaves, which would have to be measured
    for other classes as well, nothing is refused.

    Args:
        scorer: of the first :data:`GUARDED_IMAGES` search images.
        open_journal: makes the journal of the metric.
    """

    def __init__(self, scorer: Scorer, open_journal: Callable[[Metric], Journal]):
        guards = [GUARD]
        try:
            GUARD.metric.check(scorer.context)
        except OptionError:
            guards.clear()
        self._gate = Gate(guards, scorer, open_journal)

    def __call__(self, method: Method) -> bool:
        """Whether a method may win; one that may not is noted in ``refused``."""
        if len(self.refused) >= MOST or not method.leaves <= ALWAYS:
            return True
        return self._gate(method)

    @property
    def refused(self) -> list[Refusal]:
        """What was refused, in turn."""
        return self._gate.refused

    def close(self) -> None:
        """Close the journal."""
        self._gate.close()
