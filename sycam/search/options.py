"""How to search: all that decides which candidates are looked at, but nothing of their scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from numbers import Integral, Real
from typing import Annotated, Any, Protocol

from sycam import language  # the room, whose names are not needed for --help
from sycam.errors import OptionError
from sycam.search.budget import Budget
from sycam.search.selection.rule_names import DEFAULT_RULE, RULES
from sycam.support.arguments import argument
from sycam.support.options import option
from sycam.support.schema import Bounds
from sycam.support.text.passwords import masked

RACE, EXACT, GUIDED = "race", "exact", "guided"
MODES = (RACE, EXACT, GUIDED)
BY_VALUES, BY_METRIC, BY_BOTH, BY_NOTHING = "values", "metric", "both", "none"
EQUIVALENCES = (BY_VALUES, BY_METRIC, BY_BOTH, BY_NOTHING)
GLOBAL, PER_CLASS = "global", "per-class"
SCOPES = (GLOBAL, PER_CLASS)
CLASS_AGNOSTIC = "class-agnostic"
ALLOWED = (CLASS_AGNOSTIC,)
GRAMMAR, TPE, RANDOM = "grammar", "tpe", "random"
SAMPLERS = (GRAMMAR, TPE, RANDOM)
BEST_PUBLISHED = "best-published"
COSTLIEST = 64  # expressions enumerated, at most; none was ever searched to the end beyond 8
FEWEST, MOST = 2, 8  # formulas that a choice image by image is from
_FIRST_COSTS = 2  # enumerated before proposals are guided, in mode guided
UNASKED = ("adapt",)  # left out of plain data where they are None, as runs of before lack them
_TOLERANCE = 1e-3  # of the width of the metric's range


class Measured(Protocol):
    """What the tolerance of a race must know of a metric."""

    @property
    def range(self) -> tuple[float, float]: ...

    def unit(self, scale: float) -> float: ...


@dataclass(frozen=True, kw_only=True)
class SearchOptions:
    """How to search.

    Attributes:
        mode: ``"race"``: candidates are dropped as soon as a test says that they lose, and guided
            proposals follow where budget remains after the cost bound, and with several layers
            from the middle of the budget on; ``"exact"``: every distinct candidate up to the cost
            bound, dropping only what provably cannot win; ``"guided"``: as race, with proposals
            from the second cost on.
        max_cost: highest cost of an expression that is enumerated.
        budget: when to stop; also as text, ``"90s"``, ``"20m"``, ``"2h"``, which the whole command
            keeps to, or a number of candidates.
        heldout_share: of a budget in time, what is kept for the held-out evidence where all of it
            would take longer: at least its most important part, see
            :class:`sycam.validation.measures.Workload`.
        guesses: expressions that enter first, also as text, or as ``zoo:NAME``.
        threshold: the search ends at the first expression above: a number, or
            ``"best-published"``.
        rule: how the winner is selected among the finished, of ``RULES``.
        delta: of a race: probability of losing what exact mode finds best, at most.
        tolerance: of a race, in units of the metric: candidates that are better by less may be
            lost; a thousandth of the width of the metric's range if None.
        equivalence: which expressions count as one: ``"values"``; ``"metric"``, the paper's
            oracle; ``"both"``; ``"none"``.
        sampler: what proposes in the guided phase.
        storage: of the Optuna study: a URL that several processes share; a file in the run's
            folder if None.
        constants: whether constants of the leaders are tuned at the end of the guided phase.
        allow: what is refused otherwise: ``"class-agnostic"``, formulas and published CAMs that
            show the same whatever is explained, as they read no leaf that depends on it, or nearly
            the same for another class, as measured on a few search images of those that might
            win. Where the grammar has no such leaf they are allowed anyway.
        scope: ``"global"``, or ``"per-class"``: also one winner per class.
        adapt: how many formulas a choice image by image is from, at most; None for no such
            choice. For metrics without ground truth that have levels, like ROAD's percentiles.

    Raises:
        OptionError: a value that is not understood, or two that do not go together.
    """

    mode: str = option(
        RACE,
        "race: drop poor candidates early, then go beyond the cost bound; exact: every candidate "
        "to the cost bound; guided: beyond the bound at once",
        common=True,
    )
    max_cost: Annotated[int, Bounds(1, COSTLIEST)] = option(
        4, "highest cost that is enumerated", common=True
    )
    budget: Budget | str | int = option(
        "5m",
        "time for the whole command (90s, 20m, 2h), or a number of candidates (500)",
        text=str,
        common=True,
    )
    heldout_share: float = option(
        0.4, "largest share of a budget in time that is kept for held-out evidence"
    )
    guesses: tuple[language.Expression, ...] | Sequence[str | language.Expression] | str = option(
        (), "an expression, or zoo:NAME, to try first; repeatable", keyword="guess", text=list[str]
    )
    threshold: float | str | None = option(
        None,
        "stop at the first expression that scores above a number, or above best-published",
        text=str | None,
    )
    rule: str = option(
        DEFAULT_RULE, f"how the winner is chosen: {', '.join(RULES)}", keyword="select"
    )
    delta: float = option(0.05, "in a race: highest probability of losing the best")
    tolerance: float | None = option(
        None, "in a race: what is better by less than this may be lost"
    )
    equivalence: str = option(
        BY_VALUES, "which expressions count as one: values, metric, both or none"
    )
    sampler: str = option(GRAMMAR, "beyond the cost bound: grammar, tpe or random")
    storage: str | None = option(
        None, "URL of an Optuna storage that several runs share", repr=False
    )
    constants: bool = option(True, "tune constants of the leaders at the end")
    allow: tuple[str, ...] | Sequence[str] | str = option(
        (), "let win what is refused otherwise: class-agnostic", text=list[str]
    )
    scope: str = option(GLOBAL, "global, or per-class: also the best for each class")
    adapt: int | None = option(
        None,
        f"how many formulas ({FEWEST} to {MOST}) to choose from image by image: the best under "
        "the metric, which each explanation then pays for",
    )

    def __post_init__(self) -> None:
        for name, value, known in (
            ("mode", self.mode, MODES),
            ("select", self.rule, RULES),
            ("equivalence", self.equivalence, EQUIVALENCES),
            ("sampler", self.sampler, SAMPLERS),
            ("scope", self.scope, SCOPES),
        ):
            if value not in known:
                raise OptionError(
                    f"{argument(name)} {value!r} is not known; expected {', '.join(known)}"
                )
        if not isinstance(self.max_cost, Integral) or not 1 <= self.max_cost <= COSTLIEST:
            raise OptionError(
                f"{argument('max_cost')} must be an integer from 1 to {COSTLIEST}, got "
                f"{self.max_cost!r}; the number of expressions grows some tenfold with each"
            )
        if not isinstance(self.delta, Real) or not 0 < self.delta < 1:
            raise OptionError(
                f"{argument('delta')} is a probability between 0 and 1, like 0.05; got "
                f"{self.delta!r}"
            )
        if not isinstance(self.heldout_share, Real) or not 0 <= self.heldout_share < 1:
            raise OptionError(
                f"{argument('heldout_share')} is a part of the budget, from 0 to less than 1, like "
                f"0.4; got {self.heldout_share!r}"
            )
        if self.tolerance is not None and not (
            isinstance(self.tolerance, Real) and 0 <= self.tolerance < float("inf")
        ):
            raise OptionError(
                f"{argument('tolerance')} must be a number from 0 on, got {self.tolerance!r}"
            )
        if self.adapt is not None and not (
            isinstance(self.adapt, Integral) and FEWEST <= self.adapt <= MOST
        ):
            raise OptionError(
                f"{argument('adapt')} must be an integer from {FEWEST} to {MOST}, got "
                f"{self.adapt!r}: each explanation is scored under the metric for every formula"
            )
        if not isinstance(self.budget, Budget):
            object.__setattr__(self, "budget", Budget.parse(self.budget))
        object.__setattr__(self, "threshold", parse_threshold(self.threshold))
        object.__setattr__(self, "guesses", _guesses(self.guesses))
        allow = [self.allow] if isinstance(self.allow, str) else self.allow
        for name in allow:
            if name not in ALLOWED:
                raise OptionError(
                    f"{argument('allow')} {name!r} is not known; expected {', '.join(ALLOWED)}"
                )
        object.__setattr__(self, "allow", tuple(allow))
        if self.forgets and self.mode != EXACT:
            raise OptionError(
                f"{argument('equivalence')} {self.equivalence!r} compares scores on all search "
                f"images, which a {self.mode} does not measure; use {argument('mode', EXACT)}"
            )

    @property
    def enumerated_cost(self) -> int:
        """Highest cost of the expressions that enter in their order, before any proposal."""
        return min(self.max_cost, _FIRST_COSTS) if self.mode == GUIDED else self.max_cost

    @property
    def guessed(self) -> tuple[language.Expression, ...]:
        """The guesses, none of which is text once the options are made."""
        return tuple(guess for guess in self.guesses if isinstance(guess, language.Expression))

    @property
    def forgets(self) -> bool:
        """Whether candidates of equal scores build no larger ones."""
        return self.equivalence in (BY_METRIC, BY_BOTH)

    def tolerance_of(self, metric: Measured, spread: float = 1.0) -> float:
        """The tolerance in units of a metric; 0 where its range has no ends.

        Args:
            spread: of the values watched on the search images, 1 for probabilities.
        """
        if self.tolerance is not None:
            return float(self.tolerance)
        width = (metric.range[1] - metric.range[0]) * metric.unit(spread)
        return width * _TOLERANCE if width < float("inf") else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Plain data; the budget in words, no password of the storage, nothing of ``UNASKED``."""
        plain = asdict(self) | {
            "budget": str(self.budget),
            "guesses": [str(guess) for guess in self.guesses],
            "storage": None if self.storage is None else masked(self.storage),
            "allow": list(self.allow),
        }
        return {k: v for k, v in plain.items() if k not in UNASKED or v is not None}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> SearchOptions:
        """What :meth:`to_dict` wrote."""
        guesses = tuple(map(language.parse_weights, data["guesses"]))
        budget = Budget.parse(data["budget"])
        return cls(**{**data, "guesses": guesses, "budget": budget})


def _guesses(given: Sequence[str | language.Expression] | str) -> tuple[language.Expression, ...]:
    if not given:
        return ()
    # Torch, for which neither a page of help nor a command that was answered before waits.
    from sycam.methods.zoo import formula

    given = [given] if isinstance(given, str) else given
    expressions = [formula(one) if isinstance(one, str) else one for one in given]
    return tuple(dict.fromkeys(expressions))


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
            f"{argument('threshold')} {text!r} is not understood; expected a number, or "
            f"{BEST_PUBLISHED}"
        ) from None
    return number
