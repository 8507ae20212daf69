"""Rules of a grammar file as typed productions over the operator table."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from sycam.errors import UnknownNameError
from sycam.grammar.notation import Alternative, PlacedError, Rules
from sycam.language.operators import OPERATORS, operator
from sycam.language.signatures import SCALAR, Operator
from sycam.language.sites import CAM, cam_at

START = "start"


@dataclass(frozen=True)
class Production:
    """``owner -> operator(arguments)`` for every owner.

    Attributes:
        operator: what the production applies.
        arguments: symbols of the arguments.
        owners: symbols that the result belongs to.
        sort: sort of the result, from the operator table.
        site: name of the layer whose leaves it computes from; empty where there is one layer, or
            where saliency maps are combined.
    """

    operator: Operator
    arguments: tuple[str, ...]
    owners: frozenset[str]
    sort: str
    site: str = ""


def productions(rules: Rules) -> tuple[str, tuple[Production, ...]]:
    """The start symbol, and the productions in the order of the operator table.

    Rules that reach each other by parentheses and levels of precedence are one *symbol*, which
    has the name of the first of them.

    Raises:
        PlacedError: an operator that does not exist or cannot take these sorts; a rule that is
            unreachable, can derive nothing or mixes sorts; with the place.
    """
    units: dict[str, set[str]] = {name: set() for name in rules}
    applied: list[Alternative] = []
    for alternatives in rules.values():
        for alternative in alternatives:
            if alternative.alias is None:
                units[alternative.owner].add(_unit(alternative))
            else:
                _check_operator(alternative)
                applied.append(alternative)
    _check_reachable(rules)
    _check_same_text(rules)
    _check_circles(rules)
    symbol = _symbols(units)
    includes: dict[str, set[str]] = {s: set() for s in symbol.values()}
    for owner, targets in units.items():
        includes[symbol[owner]] |= {symbol[t] for t in targets} - {symbol[owner]}
    inside = {s: _reachable(s, includes) | {s} for s in includes}
    users = {s: {u for u in includes if s in inside[u]} for s in includes}
    owners: dict[tuple[str, tuple[str, ...]], set[str]] = {}
    origin: dict[tuple[str, tuple[str, ...]], Alternative] = {}
    for alternative in applied:
        key = (str(alternative.alias), tuple(symbol[r] for r in alternative.rules))
        owners.setdefault(key, set()).update(users[symbol[alternative.owner]])
        origin.setdefault(key, alternative)
    start = symbol[START]
    sorts = _sorts(owners, origin, dict.fromkeys(symbol.values()), rules, start)
    order = {name: i for i, name in enumerate(OPERATORS)}
    made = [
        Production(OPERATORS[name], arguments, frozenset(makers), sorts[name, arguments])
        for (name, arguments), makers in owners.items()
    ]
    made.sort(key=lambda p: (order[p.operator.name], p.arguments))
    return start, tuple(made)


def at_sites(
    start: str, made: Sequence[Production], sites: Sequence[str]
) -> tuple[Production, ...]:
    """Productions whose saliency maps are those of named layers.

    What stands below ``cam`` is repeated for each layer, with symbols of its own: the same formula
    has other values at another layer.

    Args:
        start: the symbol of complete expressions.
        made: of a grammar whose operator ``cam`` reads the only layer.
        sites: names of the layers.
    """
    outside = _used(made, {start}, lambda p: p.operator is not CAM)
    below = {a for p in made if p.operator is CAM for a in p.arguments}
    inside = _used(made, below, lambda _: True)
    found: list[Production] = []
    for p in made:
        if owners := p.owners & outside:
            if p.operator is not CAM:
                found.append(replace(p, owners=owners))
            for site in sites if p.operator is CAM else ():
                arguments = tuple(f"{a}@{site}" for a in p.arguments)
                found.append(Production(cam_at(site), arguments, owners, p.sort, site))
        for site in sites if p.owners & inside else ():
            arguments = tuple(f"{a}@{site}" for a in p.arguments)
            owners = frozenset(f"{owner}@{site}" for owner in p.owners & inside)
            found.append(Production(p.operator, arguments, owners, p.sort, site))
    return tuple(found)


def _used(
    made: Sequence[Production], symbols: set[str], follow: Callable[[Production], bool]
) -> frozenset[str]:
    """The symbols that derivations of some symbols use, through the productions followed."""
    used: set[str] = set()
    waiting = set(symbols)
    while waiting:
        used |= waiting
        waiting = {a for p in made if p.owners & waiting and follow(p) for a in p.arguments} - used
    return frozenset(used)


def _unit(alternative: Alternative) -> str:
    """The rule that an alternative without operator stands for."""
    if len(alternative.rules) != 1 or not {*alternative.text} <= {'"("', '")"'}:
        raise PlacedError(
            f"an alternative of rule {str(alternative.owner)!r} names no operator; "
            "end it with an alias, like -> mean",
            alternative.place,
        )
    return str(alternative.rules[0])


def _check_operator(alternative: Alternative) -> None:
    alias, arguments = str(alternative.alias), alternative.rules
    try:
        operator(alias)
    except UnknownNameError as error:
        raise PlacedError(str(error), alternative.alias) from None
    if OPERATORS[alias].arity != len(arguments):
        raise PlacedError(
            f"operator {alias!r} takes {OPERATORS[alias].arity} argument(s), "
            f"but this alternative gives it {len(arguments)}",
            alternative.alias,
        )
    if not alternative.text:
        raise PlacedError(
            f"operator {alias!r} has no text of its own here, so that it could be read anywhere; "
            f'write it, like "{alias}"',
            alternative.place,
        )


def _check_reachable(rules: Rules) -> None:
    edges = {name: {str(r) for a in choices for r in a.rules} for name, choices in rules.items()}
    reached = _reachable(START, edges) | {START}
    for name, alternatives in rules.items():
        if name not in reached:
            raise PlacedError(
                f"rule {name!r} cannot be reached from 'start'", alternatives[0].owner
            )


def _check_same_text(rules: Rules) -> None:
    for alternatives in rules.values():
        seen: dict[tuple[str, ...], Alternative] = {}
        for alternative in alternatives:
            first = seen.setdefault(alternative.symbols, alternative)
            if first.alias != alternative.alias:
                raise PlacedError(
                    f"the grammar is ambiguous: rule {str(alternative.owner)!r} has another "
                    f"alternative with the same text, for {first.alias or 'no operator'}",
                    alternative.place,
                )


def _check_circles(rules: Rules) -> None:
    """Refuse rules that stand for each other with no character between: a text of many trees."""
    bare = {
        name: [a for a in choices if len(a.symbols) == len(a.rules) == 1]
        for name, choices in rules.items()
    }
    edges = {name: {str(a.rules[0]) for a in choices} for name, choices in bare.items()}
    reach = {name: _reachable(name, edges) for name in edges}
    for name, alternatives in bare.items():
        for alternative in alternatives:
            target = str(alternative.rules[0])
            if name == target or name in reach[target]:
                raise PlacedError(
                    f"the grammar is ambiguous: rules {name!r} and {target!r} stand for each "
                    "other, round in a circle of no cost",
                    alternative.place,
                )


def _symbols(units: Mapping[str, set[str]]) -> dict[str, str]:
    """Each rule's symbol: those that reach each other by unit steps are one."""
    reach = {name: _reachable(name, units) for name in units}
    symbol: dict[str, str] = {}
    for name in units:  # in the order of the file, so that the first name gives the symbol's
        if name not in symbol:
            group = [m for m in units if m == name or (m in reach[name] and name in reach[m])]
            symbol |= dict.fromkeys(group, name)
    return symbol


def _sorts(
    owners: Mapping, origin: Mapping, symbols: Iterable[str], rules: Rules, start: str
) -> dict[tuple[str, tuple[str, ...]], str]:
    """The sort that each production makes."""
    sorts: dict[str, set[str]] = {}
    done: dict[tuple[str, tuple[str, ...]], str] = {}
    changed = True
    while changed:
        changed = False
        for key, makers in owners.items():
            name, arguments = key
            if key in done or any(a not in sorts for a in arguments):
                continue
            given = tuple(min(sorts[a]) for a in arguments)
            overload = OPERATORS[name].overload(given)
            if overload is None:
                raise PlacedError(
                    f"operator {name!r} takes {OPERATORS[name].signature}, but rules give it "
                    f"({', '.join(given)})",
                    origin[key].alias,
                )
            done[key] = overload.result
            changed = True
            for owner in makers:
                sorts.setdefault(owner, set()).add(overload.result)
    for name in sorted(symbols, key=lambda n: n == start):
        if name not in sorts:
            raise PlacedError(
                f"rule {name!r} can derive no expression: every alternative needs itself",
                rules[name][0].owner,
            )
    for name, of_rule in sorted(sorts.items()):
        used_inside = any(name in arguments for _, arguments in owners)
        if len(of_rule) > 1 and (name != start or used_inside):
            mixed = ", ".join(sorted(of_rule))
            raise PlacedError(f"rule {name!r} mixes the sorts {mixed}", rules[name][0].owner)
    if SCALAR in sorts[start]:
        raise PlacedError(
            "'start' can be a scalar, which weights all channels alike; it must be a weight, a "
            "map or a heat",
            rules[START][0].owner,
        )
    return done


def _reachable(name: str, edges: Mapping[str, set[str]]) -> set[str]:
    seen: set[str] = set()
    waiting = list(edges[name])
    while waiting:
        here = waiting.pop()
        if here not in seen:
            seen.add(here)
            waiting.extend(edges[here])
    return seen
