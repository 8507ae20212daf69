"""How ensembles are sought, as options that validate themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sycam.errors import OptionError
from sycam.search.budget import Budget
from sycam.support.arguments import argument
from sycam.support.options import option

PERCENTS = "5,10,20,30,50,70,100"
MANY = 250  # ensembles: no more are scored where nobody says, and all where there are no more


@dataclass(frozen=True, kw_only=True)
class EnsembleOptions:
    """How ensembles are sought.

    Attributes:
        percents: of the pixels that a member may hold, each above 0 and up to 100; as text
            separated by commas.
        budget: how many ensembles of two or more members are scored on the search images, at most;
            where there are no more, all are. Or a time, ``"90s"``, ``"20m"``, ``"2h"``, which the
            whole call takes: what it cut is said, and the same call goes on from there. All are
            scored in it where there are no more than 250.
        adaptive: whether thresholds of single CAMs that are chosen image by image are judged, too,
            where the metric can choose without ground truth.
        examples: how many held-out images are drawn.

    Raises:
        OptionError: a value that cannot be used.
    """

    percents: str | Sequence[float] = option(
        PERCENTS,
        "percent of the pixels that a CAM may hold, separated by commas; at 100 all that are hot",
        text=str,
    )
    budget: Budget | str | int = option(
        str(MANY),
        "how many ensembles are scored, at most, where there are no more all of them; or a time of "
        "the whole command: 90s, 20m, 2h",
        text=str,
    )
    adaptive: bool = option(
        True,
        "also judge thresholds of single CAMs chosen image by image (the even levels of the metric "
        "choose, the odd ones judge)",
    )
    examples: int = option(4, "how many held-out images are drawn")

    def __post_init__(self) -> None:
        object.__setattr__(self, "percents", _checked(self.percents))
        if not isinstance(self.budget, Budget):
            object.__setattr__(self, "budget", Budget.parse(self.budget))
        if not isinstance(self.examples, int) or self.examples < 0:
            raise OptionError(
                f"{argument('examples')} must be a whole number of at least 0, got "
                f"{self.examples!r}"
            )

    @property
    def shares(self) -> tuple[float, ...]:
        """The percents as numbers, the lowest first."""
        return _checked(self.percents)

    @property
    def limit(self) -> Budget:
        """The budget, read."""
        return self.budget if isinstance(self.budget, Budget) else Budget.parse(self.budget)

    def foreseen(self, possible: int) -> int:
        """How many of the ensembles that there are will be scored; in a time it may be more."""
        return min(possible, self.limit.candidates or MANY)


def _checked(percents: str | Sequence[float]) -> tuple[float, ...]:
    try:
        listed = percents.split(",") if isinstance(percents, str) else percents
        numbers = tuple(sorted({float(one) for one in listed}))
    except (TypeError, ValueError):
        numbers = ()
    if not numbers or not all(0 < one <= 100 for one in numbers):
        raise OptionError(
            f"{argument('percents')} must be one number or several above 0 and up to 100, like "
            f"10,20,50, got {percents!r}"
        )
    return numbers
