"""Which candidates, in which order, when to stop, and which one wins."""

from sycam.search.budget import Budget
from sycam.search.engine import Outcome, Search
from sycam.search.enumeration import Enumerator, Level
from sycam.search.journal import Journal
from sycam.search.options import SearchOptions, parse_threshold
from sycam.search.pareto import pareto_front
from sycam.search.precision import in_precision, verify_precision
from sycam.search.requirements import Gate, Refusal, Requirement, need_masks
from sycam.search.scoring import Score, Scorer, ranking_maps
from sycam.search.selection import Candidate, rank, select
from sycam.search.stages import stages_of

__all__ = [
    "Budget",
    "Candidate",
    "Enumerator",
    "Gate",
    "Journal",
    "Level",
    "Outcome",
    "Refusal",
    "Requirement",
    "Score",
    "Scorer",
    "Search",
    "SearchOptions",
    "in_precision",
    "need_masks",
    "pareto_front",
    "parse_threshold",
    "rank",
    "ranking_maps",
    "select",
    "stages_of",
    "verify_precision",
]
