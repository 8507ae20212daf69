"""Which candidates, in which order, when to stop, and which one wins."""

from sycam.search.budget import Budget
from sycam.search.engine import Search
from sycam.search.enumeration.enumerator import Enumerator, Level
from sycam.search.options import SearchOptions, parse_threshold
from sycam.search.outcome import Outcome
from sycam.search.selection.pareto import pareto_front
from sycam.search.selection.requirements import Gate, Refusal
from sycam.search.selection.select import Candidate, rank, select

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
