"""Which candidates, in which order, when to stop, and which one wins."""

from sycam.search.budget import Budget
from sycam.search.enumeration import Enumerator, Level
from sycam.search.exact import ExactSearch, Outcome
from sycam.search.journal import Journal
from sycam.search.precision import in_precision, verify_precision
from sycam.search.requirements import Gate, Refusal, Requirement
from sycam.search.scoring import Score, Scorer, ranking_maps
from sycam.search.selection import Candidate, pareto_front, rank, select

__all__ = [
    "Budget",
    "Candidate",
    "Enumerator",
    "ExactSearch",
    "Gate",
    "Journal",
    "Level",
    "Outcome",
    "Refusal",
    "Requirement",
    "Score",
    "Scorer",
    "in_precision",
    "pareto_front",
    "rank",
    "ranking_maps",
    "select",
    "verify_precision",
]
