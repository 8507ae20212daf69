"""Grammars: which expressions a search may build, as plain productions.

A ``.lark`` file is both parser and search space. Its aliases are operators of the table; its
rules, once parentheses and levels of precedence are collapsed, are the *symbols* of the space.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from math import prod
from pathlib import Path

from lark import Lark
from lark.exceptions import UnexpectedInput

from sycam.errors import ExpressionError, GrammarError
from sycam.grammar.notation import Alternative, PlacedError, Rules, read_rules
from sycam.grammar.productions import Production, at_sites, productions
from sycam.grammar.source import Source, find, source_of_file, source_of_text
from sycam.language.expression import Expression, apply
from sycam.language.mirroring import mirrored
from sycam.language.parsing import LONGEST, build_aliased, caret, complaint, quoted
from sycam.language.signatures import COMMUTATIVE, HEAT, MAP, WEIGHT
from sycam.language.sites import CAM
from sycam.language.sources import version_text


@dataclass(frozen=True)
class Grammar:
    """A search space.

    Attributes:
        name: the file's stem.
        text: the whole text, bases included: reading it again gives the same space.
        start: the symbol of complete expressions; each is a ``weight``, a ``map`` or a ``heat``.
        productions: the space, in the order of the operator table.
    """

    name: str
    text: str
    start: str
    productions: tuple[Production, ...]
    _parser: Lark = field(repr=False, compare=False)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the productions: what decides the space, whatever the file's comments.

        An operator that a user declares counts with its code.
        """
        lines = sorted(
            f"{sorted(p.owners)} {p.operator.name} {p.arguments} {p.operator.cost} "
            f"{version_text(p.operator)}".rstrip()
            for p in self.productions
        )
        return hashlib.sha256("\n".join([self.start, *lines]).encode()).hexdigest()

    @cached_property
    def leaves(self) -> frozenset[str]:
        """Names of the leaves that must be measured for any expression of the space."""
        ops = (p.operator for p in self.productions)
        names = frozenset(op.name for op in ops if op.is_leaf and op.value is None)
        return names | {*map(mirrored, names | {"activations"})} if self.pairs else names

    @property
    def pairs(self) -> bool:
        """Whether any of its expressions is computed from images in pairs, see
        :class:`~sycam.language.signatures.Overload`."""
        return any(one.pairs for p in self.productions for one in p.operator.overloads)

    @property
    def spans_layers(self) -> bool:
        """Whether it combines saliency maps, which may be those of several layers."""
        return any(p.operator is CAM or p.operator.site for p in self.productions)

    @property
    def sites(self) -> tuple[str, ...]:
        """Names of the layers that it is bound to; empty where formulas name none."""
        return tuple(dict.fromkeys(p.site for p in self.productions if p.operator.site))

    def at(self, sites: Sequence[str]) -> Grammar:
        """The space whose saliency maps are those of named layers; itself where it has none.

        Args:
            sites: names of the layers.
        """
        if not any(p.operator is CAM for p in self.productions):
            return self
        return replace(self, productions=at_sites(self.start, self.productions, sites))

    def without(self, leaves: Collection[str]) -> Grammar:
        """The space without some leaves, and without what can only be built from them.

        Raises:
            GrammarError: no complete expression is left.
        """
        kept = [p for p in self.productions if p.operator.name not in leaves]
        count = -1
        while count != len(kept):
            count = len(kept)
            derived = frozenset().union(*(p.owners for p in kept))
            kept = [p for p in kept if derived.issuperset(p.arguments)]
        if not any(self.start in p.owners for p in kept):
            missing = ", ".join(sorted(leaves))
            raise GrammarError(f"grammar {self.name!r} holds no expression without {missing}")
        return replace(self, productions=tuple(kept))

    def parse(self, text: str) -> Expression:
        """The expression that ``text`` writes in this grammar's own notation."""
        if len(text) > LONGEST:
            raise ExpressionError(
                f"expression of {len(text)} characters is too long (at most {LONGEST})"
            )
        try:
            tree = self._parser.parse(text)
        except UnexpectedInput as error:
            raise ExpressionError(
                f"{quoted(text)} is not in grammar {self.name!r}: {complaint(error)}\n"
                f"{caret(text, error)}"
            ) from None
        return build_aliased(tree)

    def __contains__(self, expression: Expression) -> bool:
        """Whether the space holds the expression, up to the order of commutative arguments."""
        return self.start in self._symbols_of(expression, {})

    def holds_with_other_numbers(self, expression: Expression) -> bool:
        """Whether the space holds the expression but for the values of its numbers.

        A number stands for any other, and may be a factor of whatever the space holds: this is
        what is left of a formula of the space once its numbers are tuned.
        """
        return self.start in self._symbols_of(expression, {}, any_number=True)

    def holds(self, expression: Expression) -> bool:
        """Whether the space holds the expression, or the saliency map of it."""
        if expression in self:
            return True
        at_one = [p.operator for p in self.productions if p.operator is CAM or p.operator.site]
        weighs = expression.sort in (WEIGHT, MAP, HEAT)
        return weighs and any(apply(op.name, expression) in self for op in at_one)

    def _symbols_of(
        self, expression: Expression, known: dict, any_number: bool = False
    ) -> frozenset[str]:
        """The symbols that derive it, kept in ``known``."""
        if expression in known:
            return known[expression]
        children = [self._symbols_of(child, known, any_number) for child in expression.children]
        operator, owners = expression.operator, frozenset[str]()
        orders = [children]
        if COMMUTATIVE in operator.laws:
            orders.append(children[::-1])
        if any_number and operator.symbol == "*":
            for child, other in zip(expression.children, children[::-1], strict=True):
                owners |= frozenset() if child.operator.value is None else other
        for production in self.productions:
            same = production.operator is operator or (
                any_number and None not in (production.operator.value, operator.value)
            )
            if same and any(
                all(a in c for a, c in zip(production.arguments, order, strict=True))
                for order in orders
            ):
                owners |= production.owners
        known[expression] = owners
        return owners

    def tree_counts(self, max_cost: int) -> list[int]:
        """Number of derivation trees of each cost 1..max_cost, by recurrence (none is built)."""
        counts: dict[str, list[int]] = {s: [0] * (max_cost + 1) for s in self.symbols}
        for cost in range(1, max_cost + 1):
            for p in self.productions:
                trees = sum(
                    prod(counts[a][c] for a, c in zip(p.arguments, split, strict=True))
                    for split in splits(cost - p.operator.cost, len(p.arguments))
                )
                for owner in p.owners:
                    counts[owner][cost] += trees
        return counts[self.start][1:]

    @cached_property
    def symbols(self) -> tuple[str, ...]:
        names = {s for p in self.productions for s in (*p.owners, *p.arguments)}
        return tuple(sorted(names))


def splits(total: int, parts: int) -> Iterator[tuple[int, ...]]:
    """All ways to write ``total`` as an ordered sum of ``parts`` integers of at least 1."""
    if parts == 0:
        if total == 0:
            yield ()
        return
    if parts == 1:
        if total >= 1:
            yield (total,)
        return
    for first in range(1, total - parts + 2):
        for rest in splits(total - first, parts - 1):
            yield (first, *rest)


def load_grammar(source: str | Path) -> Grammar:
    """Load a shipped grammar by name, or any ``.lark`` file by path.

    Raises:
        UnknownNameError: no shipped grammar has that name.
        GrammarError: the file cannot be read or cannot serve as a search space.

    >>> load_grammar("gradient").tree_counts(3)
    [2, 36, 554]
    """
    return _grammar(source_of_file(find(str(source))))


def read_grammar(text: str, name: str = "grammar", folder: str | Path | None = None) -> Grammar:
    """Check a grammar's text and turn it into a :class:`Grammar`.

    Args:
        text: Lark's notation; its first line may be ``%base NAME`` or ``%base FILE.lark``, to
            extend that grammar.
        name: what messages call it.
        folder: where a base's path begins; the current folder if none.

    Raises:
        GrammarError: syntax, ambiguity, an operator that does not exist or cannot take these
            sorts, a rule that is unreachable or can derive nothing; with the line.
    """
    return _grammar(source_of_text(text, name, None if folder is None else Path(folder)))


def _grammar(source: Source) -> Grammar:
    try:
        rules = read_rules(source.text)
        start, made = productions(rules)
        parser = _compiled(source.text, rules)
    except PlacedError as error:
        place = (error.place.line, error.place.column) if error.place is not None else ()
        raise GrammarError(source.refusal(str(error), *place)) from None
    return Grammar(source.name, source.text, start, made, parser)


def _compiled(text: str, rules: Rules) -> Lark:
    try:
        return _parser(text)
    except Exception as error:  # Lark does not say which errors a grammar's text may raise
        message = " ".join(str(error).replace(". [strict-mode]", ":").split())
        if "onflict" not in message and "ollision" not in message:
            raise PlacedError(message) from None
        place = min(_in_conflict(message, rules), key=lambda a: a.place.line or 0, default=None)
        raise PlacedError(
            "the grammar is ambiguous: a text could be read in two ways; give each level of "
            f"precedence its own rule, as gradient.lark does ({message})",
            None if place is None else place.place,
        ) from None


@lru_cache(maxsize=16)
def _parser(text: str) -> Lark:
    """Kept, as making it takes a third of a second and each search of a session makes the same."""
    return Lark(text, parser="lalr", strict=True, maybe_placeholders=False)


def _in_conflict(message: str, rules: Rules) -> Iterator[Alternative]:
    """The alternatives that Lark's message on an ambiguity names, like ``<map : map PLUS map>``."""
    for owner, words in re.findall(r"<([a-z]\w*) : ([^>]*)>", message):
        named = [word for word in words.split() if word in rules]
        for alternative in rules.get(owner, ()):
            if list(alternative.rules) == named:
                yield alternative
