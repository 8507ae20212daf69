"""Text to expressions: parsed by Lark, typed by the operator table, never evaluated."""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files

from lark import Lark, Token, Tree
from lark.exceptions import UnexpectedCharacters, UnexpectedInput, UnexpectedToken

from sycam.errors import ExpressionError, SycamError, unknown_name
from sycam.language.expression import Expression, apply, to_text
from sycam.language.operators import LEAVES, OPERATORS
from sycam.language.signatures import SCALAR, SORT_SHAPES
from sycam.language.sites import CAM, cam_at

LONGEST = 4000  # characters; the longest published CAM has 41
_WIDENING = 5  # the most characters that printing makes of one: neg() of a minus sign
_SHOWN = 60  # characters shown on either side of a fault
_DEEPEST = 100  # levels of nesting, so that every walk over a tree may be recursive

_POWERS = "write square(t), cube(t), symsqrt(t) or a product"
FOREIGN_SIGNS = {
    **dict.fromkeys("×·⋅∙∗•⊙", "write *"),
    **dict.fromkeys("÷∕⁄", "write /"),
    **dict.fromkeys("−–—‐‑", "write -"),
    **dict.fromkeys(("^", "**", "²", "³"), _POWERS),
    **dict.fromkeys("|", "write abs(t)"),
}


@lru_cache(maxsize=1)
def _parser() -> Lark:
    text = files("sycam.language").joinpath("expression.lark").read_text(encoding="utf-8")
    return Lark(text, parser="lalr", strict=True)


def parse(text: str, sort: str | None = None) -> Expression:
    """The expression that ``text`` writes down.

    Args:
        text: e.g. ``"mean(relu(G)) * max(A)"``.
        sort: if given, the sort that the expression must have.

    Raises:
        ExpressionError: syntax (with a caret under the place), wrong arity or sort, a number out of
            range.
        UnknownNameError: an operator that does not exist, with the nearest names.

    >>> parse("mean(G)").sort
    'weight'
    """
    if not isinstance(text, str):
        raise ExpressionError(f"an expression is text, like 'mean(G)', got {text!r:.80}")
    if len(text) > LONGEST:
        raise ExpressionError(
            f"expression of {len(text)} characters is too long (at most {LONGEST})"
        )
    text = text.strip().replace("\r\n", "\n")  # as the lines of a file may end
    try:
        tree = _parser().parse(text)
    except UnexpectedInput as error:
        said = complaint(error) + _right_sign(text, error)
        raise ExpressionError(
            f"cannot read expression {quoted(text)}: {said}\n{caret(text, error)}"
        ) from None
    try:
        expression = _build(tree)
    except SycamError as error:
        raise type(error)(f"in expression {quoted(text)}: {error}") from None
    # The canonical text, like neg(A) for -A, may be longer, and must be readable as well.
    if len(text) * _WIDENING > LONGEST and len(to_text(expression)) > LONGEST:
        raise ExpressionError(f"expression is too long, written out (at most {LONGEST} characters)")
    if sort is not None and expression.sort != sort:
        raise ExpressionError(
            f"expression {quoted(text)} is a {expression.sort} {SORT_SHAPES[expression.sort]}, "
            f"but a {sort} {SORT_SHAPES[sort]} is needed"
        )
    return expression


def parse_weights(text: str) -> Expression:
    """An expression that makes a heatmap: a ``weight``, ``map``, ``heat`` or ``saliency`` map."""
    expression = parse(text)
    if expression.sort == SCALAR:
        raise ExpressionError(
            f"expression {quoted(text)} is a scalar: it weights all channels alike; write a weight "
            "(one number per channel, like mean(G)) or a map (one per channel and place, like "
            "relu(G))"
        )
    return expression


def _build(tree: Tree | Token, depth: int = 1) -> Expression:
    if depth > _DEEPEST:
        raise ExpressionError(f"nested more than {_DEEPEST} levels deep")
    kind, children = tree.data, tree.children
    if kind == "leaf":
        symbol = str(children[0])
        if symbol in LEAVES:
            return apply(LEAVES[symbol].name)
        if symbol in OPERATORS and OPERATORS[symbol].is_leaf:
            known = OPERATORS[symbol].symbol
            raise ExpressionError(f"{symbol!r} is not known by that name: it is written {known}")
        if symbol in OPERATORS:
            raise ExpressionError(f"{symbol!r} needs arguments, like {symbol}(G)")
        raise unknown_name("leaf", symbol, [*LEAVES, *OPERATORS], "sycam grammars lists all")
    if kind == "number":
        return apply(str(children[0]))
    if kind == "call":
        symbol = str(children[0])
        if symbol in LEAVES:
            raise ExpressionError(f"{symbol!r} is a leaf and takes no arguments")
        return apply(symbol, *(_build(child, depth + 1) for child in children[1:]))
    if kind == "call_at":
        symbol, site, argument = str(children[0]), str(children[1])[1:-1], children[2]
        if symbol != CAM.name:
            raise ExpressionError(f"only {CAM.name} reads a layer by its name: cam[{site}](...)")
        return apply(cam_at(site).name, _build(argument, depth + 1))
    return apply(kind, *(_build(child, depth + 1) for child in children))


def build_aliased(tree: Tree, depth: int = 1) -> Expression:
    """The expression of a tree whose nodes a grammar file's aliases name.

    Nodes that carry no operator, rules and parentheses, are passed on.
    """
    while isinstance(tree.data, Token):  # a rule's name, even where it is also an operator's
        (tree,) = (child for child in tree.children if isinstance(child, Tree))
    if depth > _DEEPEST:
        raise ExpressionError(f"nested more than {_DEEPEST} levels deep")
    children = (child for child in tree.children if isinstance(child, Tree))
    return apply(str(tree.data), *(build_aliased(child, depth + 1) for child in children))


def _right_sign(text: str, error: UnexpectedInput) -> str:
    """What stands in this language for a sign that others have, as the end of a complaint."""
    place = getattr(error, "pos_in_stream", None)
    if not isinstance(place, int) or (isinstance(error, UnexpectedToken) and place < 1):
        return ""
    sign = "**" if text[place - 1 : place + 1] == "**" else text[place : place + 1]
    instead = FOREIGN_SIGNS.get(sign, "")
    return f"; {instead} for {sign!r}" if instead else ""


def quoted(text: str) -> str:
    """A text of a user in a message: of a long one the beginning."""
    return repr(text) if len(text) <= 2 * _SHOWN else f"{text[: 2 * _SHOWN]!r}…"


def caret(text: str, error: UnexpectedInput) -> str:
    """The line of ``text`` that Lark stumbled over, with a caret under the place."""
    lines = text.split("\n")
    line, column = getattr(error, "line", -1), getattr(error, "column", -1)
    ended = isinstance(error, UnexpectedToken) and error.token.type == "$END"
    if ended or not isinstance(line, int) or not 1 <= line <= len(lines):
        line, column = len(lines), len(lines[-1]) + 1
    return pointed(lines[line - 1], column)


def pointed(line: str, column: int | None = None) -> str:
    """The line, indented, and a caret under the column (from 1); of a long line only a part."""
    first = max((column or 1) - 1 - _SHOWN, 0)
    shown = f"    {line[first : first + 2 * _SHOWN]}"
    return shown if column is None else f"{shown}\n    {' ' * (max(column, 1) - 1 - first)}^"


def complaint(error: UnexpectedInput) -> str:
    """One phrase for what Lark did not expect."""
    if isinstance(error, UnexpectedCharacters):
        return f"unexpected character {error.char!r}"
    if isinstance(error, UnexpectedToken):
        if error.token.type == "$END":
            return "the text ends too early"
        return f"unexpected {str(error.token)!r}"
    return "the text ends too early"
