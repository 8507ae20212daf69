"""What is left of a formula where a part is dropped or shrunk, and the simplest that is as good."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from sycam.errors import ExpressionError
from sycam.grammar import Grammar
from sycam.language import Expression, apply
from sycam.language.expression import number
from sycam.language.numbers import is_number
from sycam.language.signatures import HEAT, WEIGHTING
from sycam.metrics import Metric
from sycam.search.selection.select import Candidate, complexity, simplest

_OF_ONE_LAYER = (*WEIGHTING, HEAT)  # sorts of whole formulas that leave the layer unnamed


def simpler(expression: Expression, grammar: Grammar) -> list[Expression]:
    """Formulas with one part less, the simplest first.

    At each node: one of its arguments in its place, where that has its sort, is a factor or an
    addend, or is what a blur was put around; in place of a number 1.

    Args:
        expression: a whole formula.
        grammar: the space, which formulas of it stay in. Numbers that were tuned are in no grammar:
            a formula that holds some stays in it but for their values. One that is outside anyway,
            such as a guess, need not stay in it.

    >>> from sycam.grammar import load_grammar
    >>> from sycam.language import parse_weights
    >>> made = simpler(parse_weights("relu(G) * mean(A)"), load_grammar("gradient"))
    >>> [str(one) for one in made]
    ['mean(A)', 'relu(G)', 'G * mean(A)']
    """
    spaces = (grammar.__contains__, grammar.holds_with_other_numbers)
    holds = next((holds for holds in spaces if holds(expression)), None)
    limit = complexity(expression)
    made = [
        variant
        for variant in dict.fromkeys(_variants(expression))
        if complexity(variant) < limit and _whole(variant, expression)
    ]
    made.sort(key=lambda variant: (complexity(variant), variant.sort_key()))
    return [variant for variant in made if holds is None or holds(variant)]


def simplified(
    best: Candidate,
    scored: Mapping[Expression, Candidate],
    metric: Metric,
    is_known: Callable[[Candidate], bool],
    grammar: Grammar,
) -> Candidate:
    """A formula without the parts that the images do not miss.

    Part by part: of what is left where one is dropped or shrunk, the simplest is kept that the
    images cannot tell from the whole formula, and then looked at in the same way.

    Args:
        best: the whole formula, with which all are compared.
        scored: candidates with scores on the same images; those that are not there are left out.
        metric: that scored them, with one figure.
        is_known: whether a candidate may not be offered.
        grammar: the space, see :func:`simpler`.
    """
    kept, before = best, None
    while kept is not before:
        made = simpler(kept.require_expression(), grammar)
        variants = [scored[one] for one in made if one in scored]
        kept, before = simplest([kept, *variants], metric, best, is_known), kept
    return kept


def _variants(node: Expression) -> Iterator[Expression]:
    operator, one = node.operator, number(1.0)
    for child in node.children:
        if child.sort == node.sort or operator.precedence or node.overload.weighs:
            yield child
    if is_number(operator):
        yield one
    for i, child in enumerate(node.children):
        for new in _variants(child):
            if operator.symbol == "*" and new is one:
                continue  # the same as without the factor
            try:
                yield apply(operator.name, *node.children[:i], new, *node.children[i + 1 :])
            except ExpressionError:
                continue  # the part has a sort that does not go there


def _whole(variant: Expression, expression: Expression) -> bool:
    """Whether it is a formula, of the kind of another: one that names layers, or one of a layer."""
    if expression.sort in _OF_ONE_LAYER:
        return variant.sort in _OF_ONE_LAYER
    return variant.sort == expression.sort
