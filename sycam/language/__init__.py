"""What a formula is: operators, expressions, parsing, printing, canonical form, size."""

from sycam.language.declaring import operator
from sycam.language.expression import Expression, apply, to_text
from sycam.language.latex import heatmap_latex, to_latex
from sycam.language.operators import OPERATORS
from sycam.language.parsing import parse, parse_weights
from sycam.language.signatures import Operator

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
