"""A formula for readers: MathML that browsers set by themselves, and every sign in words."""

from __future__ import annotations

import re

from latex2mathml.converter import convert

from sycam.errors import SycamError
from sycam.language import Expression, parse
from sycam.report.grammars import written

_WORD = re.compile(r"\\mathrm\{([A-Za-z]{2,})\}")


def mathml(latex: str) -> str:
    """A formula in LaTeX as a MathML element, set as a display.

    >>> mathml("x_k")[:5]
    '<math'
    """
    # The converter sets \mathrm letter by letter, which would be read out so.
    return convert(_WORD.sub(r"\\operatorname{\1}", latex), display="block")


def in_words(text: str) -> list[tuple[str, str]]:
    """What each leaf and operator of an expression is, in the order of reading.

    Args:
        text: an expression; one that uses operators of a user that are not declared here gives
            nothing.

    >>> in_words("mean(relu(G))")[-1]
    ('G', 'gradients of the target with respect to the activations')
    """
    try:
        expression = parse(text)
    except SycamError:
        return []
    found: dict[str, str] = {}

    def walk(node: Expression) -> None:
        if node.operator.value is None:
            found.setdefault(written(node.operator), node.operator.meaning)
        for child in node.children:
            walk(child)

    walk(expression)
    return list(found.items())
