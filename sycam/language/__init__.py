"""What an expression is: operators, grammars, parsing, printing, canonical form, size."""

from sycam.language.declaring import operator
from sycam.language.expression import Expression, apply
from sycam.language.grammar import Grammar, load_grammar, read_grammar
from sycam.language.grammar_source import grammar_names
from sycam.language.operators import OPERATORS
from sycam.language.parsing import parse, parse_weights
from sycam.language.printing import heatmap_latex, to_latex, to_text
from sycam.language.productions import Production
from sycam.language.signatures import Operator

__all__ = [
    "OPERATORS",
    "Expression",
    "Grammar",
    "Operator",
    "Production",
    "apply",
    "grammar_names",
    "heatmap_latex",
    "load_grammar",
    "operator",
    "parse",
    "parse_weights",
    "read_grammar",
    "to_latex",
    "to_text",
]
