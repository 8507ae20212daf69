"""How to search: all that decides which candidates are looked at, but nothing of their scores."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from numbers import Integral, Real

from sycam.errors import OptionError
from sycam.language import Expression, parse_weights
from sycam.metrics import Metric
from sycam.search.budget import Budget
from sycam.search.enumeration.enumerator import BY_BOTH, BY_METRIC, BY_VALUES, EQUIVALENCES
from sycam.search.selection.select import DEFAULT_RULE, RULES

RACE, EXACT, GUIDED = "race", "exact", "guided"
MODES = (RACE, EXACT, GUIDED)
GLOBAL, PER_CLASS = "global", "per-class"
SCOPES = (GLOBAL, PER_CLASS)
SAMPLERS = ("grammar", "tpe", "random", "evolution")
BEST_PUBLISHED = "best-published"
COSTLIEST = 64  # expressions enumerated, at most; none was ever searched to the end beyond 8
_TOLERANCE = 1e-3  # of the width of the metric's range


@dataclass(frozen=True)
class SearchOptions:
    """How to search.

    Attributes:
        budget: when to stop.
        mode: ``"race"``: candidates are dropped as soon as a test says that they lose, and guided
            proposals follow where budget remains after the cost bound; ``"exact"``: every distinct
            candidate up to the cost bound, dropping only what provably cannot win; ``"guided"``:
            as race, with proposals from the second cost on.
        max_cost: highest cost of an expression that is enumerated.
        delta: of a race: probability of losing what exact mode finds best, at most.
        tolerance: of a race, in units of the metric: candidates that are better by less may be
            lost; a thousandth of the width of the metric's range if None.
        rule: how the winner is selected among the finished, of ``RULES``.
        equivalence: which expressions count as one: ``"values"``; ``"metric"``, the paper's
            oracle; ``"both"``; ``"none"``.
        sampler: what proposes in the guided phase.
        storage: of the Optuna study: a URL that several processes share; a file in the run's
            folder if None.
        constants: whether constants of the leaders are tuned at the end of the guided phase.
        threshold: the search ends at the first expression above: a number, or
            ``"best-published"``.
        guesses: expressions that enter first.
        scope: ``"global"``, or ``"per-class"``: one winner a class besides.

    Raises:
        OptionError: a value that is not understood, or two that do not go together.
    """

    budget: Budget
    mode: str = RACE
    max_cost: int = 4
    delta: float = 0.05
    tolerance: float | None = None
    rule: str = DEFAULT_RULE
    equivalence: str = BY_VALUES
    sampler: str = "grammar"
    storage: str | None = None
    constants: bool = True
    threshold: float | str | None = None
    guesses: tuple[Expression, ...] = field(default=())
    scope: str = GLOBAL

    def __post_init__(self) -> None:
        for name, value, known in (
            ("mode", self.mode, MODES),
            ("select", self.rule, RULES),
            ("equivalence", self.equivalence, EQUIVALENCES),
            ("sampler", self.sampler, SAMPLERS),
            ("scope", self.scope, SCOPES),
        ):
            if value not in known:
                raise OptionError(f"{name} {value!r} is not known; expected {', '.join(known)}")
        if not isinstance(self.max_cost, Integral) or not 1 <= self.max_cost <= COSTLIEST:
            raise OptionError(
                f"max_cost must be an integer from 1 to {COSTLIEST}, got {self.max_cost!r}; the "
                "number of expressions grows some tenfold with each"
            )
        if not isinstance(self.delta, Real) or not 0 < self.delta < 1:
            raise OptionError(
                f"delta is a probability between 0 and 1, like 0.05; got {self.delta!r}"
            )
        if self.tolerance is not None and not (
            isinstance(self.tolerance, Real) and 0 <= self.tolerance < float("inf")
        ):
            raise OptionError(f"tolerance must be a number from 0 on, got {self.tolerance!r}")
        parse_threshold(self.threshold)
        if self.forgets and self.mode != EXACT:
            raise OptionError(
                f"equivalence {self.equivalence!r} compares scores on all search images, which a "
                f"{self.mode} does not measure; use mode exact"
            )

    @property
    def forgets(self) -> bool:
        """Whether candidates of equal scores build no larger ones."""
        return self.equivalence in (BY_METRIC, BY_BOTH)

    def tolerance_of(self, metric: Metric, spread: float = 1.0) -> float:
        """The tolerance in units of a metric; 0 where its range has no ends.

        Args:
            spread: of the values watched on the search images, 1 for probabilities.
        """
        if self.tolerance is not None:
            return float(self.tolerance)
        width = (metric.range[1] - metric.range[0]) * metric.unit(spread)
        return width * _TOLERANCE if width < float("inf") else 0.0

    def to_dict(self) -> dict:
        """Plain data; the budget in words."""
        plain = asdict(self) | {
            "budget": str(self.budget),
            "guesses": [str(guess) for guess in self.guesses],
        }
        return plain

    @classmethod
    def from_dict(cls, data: dict) -> SearchOptions:
        """What :meth:`to_dict` wrote."""
        guesses = tuple(map(parse_weights, data["guesses"]))
        budget = Budget.parse(str(data["budget"]).removesuffix(" candidates"))
        return cls(**{**data, "guesses": guesses, "budget": budget})


def parse_threshold(text: str | float | None) -> float | str | None:
    """``best-published`` or a number.

    Raises:
        OptionError: anything else.
    """
    if text is None or text == BEST_PUBLISHED:
        return text
    try:
        number = float(text)
        if number != number:
            raise ValueError
    except (TypeError, ValueError):
        raise OptionError(
            f"threshold {text!r} is not understood; expected a number, or {BEST_PUBLISHED}"
        ) from None
    return number
