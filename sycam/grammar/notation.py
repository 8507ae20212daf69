"""What a grammar file says, as rules of alternatives with their places in the file.

Everything is refused here that has no place in a search space, before Lark compiles the text: what
is left is bounded in size, so that compiling is fast, and means the same to Lark and to us.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any, TypeVar

from lark import Lark, Token, Tree
from lark.exceptions import UnexpectedInput, UnexpectedToken

from sycam.errors import unknown_name
from sycam.language.parsing import complaint

MOST_ALTERNATIVES = 300  # of a file, groups written out; Lark's time grows with the square
_DEEPEST = 20  # levels of parentheses

_BLANK_PATTERN = re.compile(r"/(\\[strn]| |\[( |\\[strn])+\])\+?/")  # what may be ignored


class PlacedError(Exception):
    """What is wrong with a grammar, and where: a token, or None where no place can be told."""

    def __init__(self, message: str, place: Token | None = None):
        super().__init__(message)
        self.place = place


@dataclass(frozen=True)
class Alternative:
    """One way to write what a rule stands for, with its groups written out.

    Attributes:
        owner: the rule.
        symbols: rule names, terminal names and quoted strings, in order.
        alias: the operator that it applies, or None.
        place: where it begins (the rule's name for an empty one).
    """

    owner: Token
    symbols: tuple[Token, ...]
    alias: Token | None
    place: Token

    @property
    def rules(self) -> tuple[Token, ...]:
        return tuple(s for s in self.symbols if s.type == "RULE")

    @property
    def text(self) -> tuple[Token, ...]:
        return tuple(s for s in self.symbols if s.type != "RULE")


Rules = Mapping[str, tuple[Alternative, ...]]
Otherwise = TypeVar("Otherwise", Token, None)


@lru_cache(maxsize=1)
def _parser() -> Lark:
    text = files(__package__).joinpath("grammar_file.lark").read_text(encoding="utf-8")
    # The basic lexer, as Lark reads grammars itself.
    return Lark(text, parser="lalr", lexer="basic", maybe_placeholders=False)


def read_rules(text: str) -> Rules:
    """The rules of a grammar's whole text, by name, in the order of their definition.

    Raises:
        PlacedError: syntax, or something that a search space cannot use; with the place.
    """
    try:
        tree = _parser().parse(text + "\n")
    except UnexpectedInput as error:
        raise PlacedError(_complaint(error), _token_at(error)) from None
    reader = _Reader()
    statements: list[Any] = tree.children
    for statement in statements:
        reader.read(statement)
    return reader.checked()


class _Reader:
    """Statements to rules, in the order of the file."""

    def __init__(self) -> None:
        self.rules: dict[str, tuple[Alternative, ...]] = {}
        self.terminals: dict[str, tuple[Token, ...]] = {}
        self.ignored: Token | None = None

    def read(self, statement: Tree) -> None:
        kind = str(statement.data)
        definition: Any = statement.children[0]
        if kind == "directive":
            raise _foreign(definition)
        if kind == "ignore":
            self._ignore(definition)
            return
        manner = kind if kind in ("extend", "override") else "define"
        if definition.data == "terminal":
            self._terminal(definition, manner)
        else:
            self._rule(definition, manner)

    def _rule(self, definition: Tree, manner: str) -> None:
        parts: list[Any] = definition.children
        *head, body = parts
        for part in head:
            _check_head(part)
        name: Token = next(part for part in head if part.type == "RULE")
        if name.startswith("_"):
            raise PlacedError(f"rule {str(name)!r}: a rule's name begins with a letter", name)
        known = name in self.rules
        if manner == "define" and known:
            raise PlacedError(
                f"rule {str(name)!r} is defined more than once; %extend adds alternatives to a "
                "rule, %override replaces it",
                name,
            )
        if manner != "define" and not known:
            raise PlacedError(
                f"there is nothing to {manner}: {unknown_name('rule', str(name), self.rules)}", name
            )
        alternatives = tuple(_alternatives(name, body))
        if manner == "extend":
            alternatives = (*self.rules[name], *alternatives)
        self.rules[str(name)] = alternatives
        if sum(map(len, self.rules.values())) > MOST_ALTERNATIVES:
            raise PlacedError(
                f"the grammar is too large: more than {MOST_ALTERNATIVES} alternatives", name
            )

    def _terminal(self, definition: Tree, manner: str) -> None:
        parts: list[Any] = definition.children
        name, *head, body = parts
        for part in head:
            _check_head(part)
        if manner != "define" or name in self.terminals:
            raise PlacedError(f"terminal {str(name)!r} can be defined once only", name)
        if name.startswith("__"):
            raise PlacedError("names with two underscores are Lark's own", name)
        tokens: list[Token] = []
        for written in body.children:
            token = _only_token(written)
            if token is None or token.type not in ("STRING", "REGEXP"):
                place = _first(written.children, name)
                raise PlacedError("a terminal is one quoted string, or one or another", place)
            if token.type == "REGEXP" and not _BLANK_PATTERN.fullmatch(token):
                raise PlacedError(_UNBOUNDED, token)
            if token.type == "STRING" and token.endswith("i"):
                raise PlacedError(_EITHER_CASE, token)
            tokens.append(token)
        self.terminals[str(name)] = tuple(tokens)

    def _ignore(self, body: Tree) -> None:
        token = _only_token(body.children[0]) if len(body.children) == 1 else None
        if token is None or not (token.type == "TERMINAL" or _is_blank(token)):
            raise PlacedError(_ONLY_BLANKS, _first(body.children, None))
        if self.ignored is not None:
            raise PlacedError(
                "white space is ignored already: %ignore stands once, in the base or in the file",
                token,
            )
        self.ignored = token

    def checked(self) -> Rules:
        """The rules, once every name that they use is known."""
        for alternatives in self.rules.values():
            for alternative in alternatives:
                for symbol in alternative.symbols:
                    self._check(symbol)
        if self.ignored is not None and self.ignored.type == "TERMINAL":
            blanks = self.terminals.get(self.ignored)
            if blanks is None:
                raise PlacedError(f"terminal {str(self.ignored)!r} is not defined", self.ignored)
            if not all(map(_is_blank, blanks)):
                raise PlacedError(_ONLY_BLANKS, self.ignored)
        if "start" not in self.rules:
            raise PlacedError("there is no rule 'start', where expressions begin")
        return self.rules

    def _check(self, symbol: Token) -> None:
        if symbol.type == "RULE" and symbol not in self.rules:
            raise PlacedError(f"{unknown_name('rule', str(symbol), self.rules)}", symbol)
        if symbol.type == "TERMINAL":
            if symbol not in self.terminals:
                raise PlacedError(
                    f"{unknown_name('terminal', str(symbol), self.terminals)}", symbol
                )
            if any(t.type == "REGEXP" for t in self.terminals[symbol]):
                raise PlacedError(_UNBOUNDED, symbol)


_UNBOUNDED = (
    "a pattern is unbounded and would carry text into the expression; what is written is a quoted "
    'string, like "mean" (only white space may be a pattern, to be ignored)'
)
_EITHER_CASE = "text of either case would hide an ambiguity; write both"
_ONLY_BLANKS = "only white space can be ignored, like %ignore /[ \\t]+/"


def _carries_text(terminal: Token) -> str:
    return (
        f"the terminal {terminal} would carry text into the expression; a leaf is written as a "
        'quoted string with an alias, like "A" -> activations'
    )


def _foreign(directive: Token) -> PlacedError:
    word = directive.split()[0]
    reasons = {
        "%base": "there is one %base, and it is the file's first line",
        "%import": "%import is not used, for it renames what it imports; extend a grammar by a "
        "first line like %base gradient, ignore white space by %ignore /[ \\t]+/",
    }
    return PlacedError(reasons.get(word, f"{word} has no use in a search space"), directive)


def _check_head(part: Tree | Token) -> None:
    if isinstance(part, Tree):
        raise PlacedError(_REPETITION, _first([part], None))
    if part.type == "PRIORITY":
        raise PlacedError("a priority would hide an ambiguity; write the levels out as rules", part)
    if part.type == "MODIFIERS" and "!" in part:
        raise PlacedError("the modifier ! would carry text into the expression", part)


_REPETITION = (
    "repetition, options and templates (* + ? ~ [ ] { }) have no place in a search space: the "
    "first would make it unbounded; write the alternatives out"
)


def _alternatives(owner: Token, body: Tree) -> Iterator[Alternative]:
    for written in body.children:
        symbols, alias = written.children, None
        if symbols and isinstance(symbols[-1], Tree) and symbols[-1].data == "alias":
            *symbols, alias = symbols
            alias = alias.children[0]
        place = _first(symbols, alias or owner)
        for option in _product(symbols, place):
            yield Alternative(owner, option, alias, place)


def _first(items: list, otherwise: Otherwise) -> Token | Otherwise:
    """The first token inside, found without recursion: the text may nest as deep as it is long."""
    waiting = list(reversed(items))
    while waiting:
        item = waiting.pop()
        if isinstance(item, Token):
            return item
        waiting.extend(reversed(item.children))
    return otherwise


def _written_out(body: Tree, place: Token, depth: int = 1) -> list[tuple[Token, ...]]:
    """Every sequence of tokens that alternatives inside parentheses stand for."""
    if depth > _DEEPEST:
        raise PlacedError(f"parentheses nest more than {_DEEPEST} levels deep", place)
    sequences: list[tuple[Token, ...]] = []
    for written in body.children:
        sequences += _product(written.children, place, depth)
        if len(sequences) > MOST_ALTERNATIVES:
            raise PlacedError(f"more than {MOST_ALTERNATIVES} alternatives, written out", place)
    return sequences


def _product(items: list, place: Token, depth: int = 1) -> list[tuple[Token, ...]]:
    options: list[tuple[Token, ...]] = [()]
    for item in items:
        if isinstance(item, Token):
            choices: list[tuple[Token, ...]] = [(_symbol(item),)]
        elif item.data == "group":
            choices = _written_out(item.children[0], place, depth + 1)
        elif item.data == "alias":
            raise PlacedError(
                "an operator is named at the end of an alternative, not inside parentheses",
                item.children[0],
            )
        else:
            raise PlacedError(_REPETITION, _first([item], place))
        if len(options) * len(choices) > MOST_ALTERNATIVES:
            raise PlacedError(f"more than {MOST_ALTERNATIVES} alternatives, written out", place)
        options = [before + choice for before in options for choice in choices]
    return options


def _symbol(token: Token) -> Token:
    if token.type == "STRING":
        if token.endswith("i"):
            raise PlacedError(_EITHER_CASE, token)
        if not token[1:-1].strip():
            raise PlacedError("blank text would be ambiguous", token)
    if token.type == "REGEXP":
        raise PlacedError(_UNBOUNDED, token)
    if token.type == "TERMINAL" and not token.startswith("_"):
        raise PlacedError(_carries_text(token), token)
    return token


def _only_token(written: Tree) -> Token | None:
    """The token that is all of an alternative, if it is."""
    whole = written.children
    return whole[0] if len(whole) == 1 and isinstance(whole[0], Token) else None


def _is_blank(token: Token) -> bool:
    if token.type == "STRING":
        return token.endswith('"') and token[1:-1].isspace()
    return bool(_BLANK_PATTERN.fullmatch(token))


def _complaint(error: UnexpectedInput) -> str:
    if isinstance(error, UnexpectedToken) and error.token.type in ("_NL", "$END"):
        return "unexpected end of the line"
    return complaint(error)


def _token_at(error: UnexpectedInput) -> Token | None:
    if isinstance(error, UnexpectedToken) and error.token.type != "$END":
        return error.token
    line, column = getattr(error, "line", -1), getattr(error, "column", -1)
    return Token("PLACE", "", line=line, column=column) if line and line > 0 else None
