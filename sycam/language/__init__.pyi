from .declaring import operator
from .expression import Expression, apply, to_text
from .latex import heatmap_latex, to_latex
from .operators import OPERATORS
from .parsing import parse, parse_weights
from .signatures import Operator

__all__ = [
    "OPERATORS",
    "Expression",
    "Operator",
    "apply",
    "heatmap_latex",
    "operator",
    "parse",
    "parse_weights",
    "to_latex",
    "to_text",
]
