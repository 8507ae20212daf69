from .budget import Budget
from .engine import Search
from .enumeration.enumerator import Enumerator, Level
from .options import SearchOptions, parse_threshold
from .outcome import Outcome
from .selection.pareto import pareto_front
from .selection.requirements import Gate, Refusal
from .selection.select import Candidate, rank, select

__all__ = [
    "Budget",
    "Candidate",
    "Enumerator",
    "Gate",
    "Level",
    "Outcome",
    "Refusal",
    "Search",
    "SearchOptions",
    "pareto_front",
    "parse_threshold",
    "rank",
    "select",
]
