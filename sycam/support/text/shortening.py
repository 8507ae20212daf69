"""Long formulas and names of methods in few columns, so that none reads like another."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from rich.cells import cell_len

PARTS = re.compile(r"[\w.+-]+@?|\s+|.", re.DOTALL)  # names, numbers and names of methods are whole
_AT_LAYER = re.compile(r"([\w.+-]+)@([\w.+/-]+)")
_GAP = "…"
_LEAST = 4  # columns of a method's name that stand before its layer, where there is room for both


def shortened(text: str, width: int) -> str:
    """A formula or name in so many columns, from its middle, between names where these have room.

    Of a method at a layer the layer stays, as far as it can: rows of a table often differ in it
    alone.

    >>> shortened("smooth(cam[features.5](symlog(G)))", 24)
    'smooth(cam[…symlog(G)))'
    >>> shortened("blurred-layer-cam@layer4", 20)
    'blurred-…-cam@layer4'
    """
    if cell_len(text) <= width:
        return text
    if found := _AT_LAYER.fullmatch(text):
        return _at_layer(found[1], found[2], width)
    parts = PARTS.findall(text)
    head, tail, left = "", "", width - len(_GAP)
    while parts:
        end = cell_len(tail) < cell_len(head)
        part = parts.pop() if end else parts.pop(0)
        if cell_len(part) > left:
            break
        head, tail = (head, part + tail) if end else (head + part, tail)
        left -= cell_len(part)
    if not head:  # one name that is longer than all the room
        return _without_middle(text, width)
    return f"{head.rstrip()}{_GAP}{tail.lstrip()}"


def apart(texts: Mapping[str, int] | Iterable[str], width: int = 0) -> dict[str, str]:
    """Texts in few columns, no two of them alike.

    Where :func:`shortened` makes two alike, each shows the place where it parts from the others;
    where that does not suffice, they are numbered. From eight columns on the outcome fits.

    Args:
        texts: each another; with the columns that each may take, or all as many as ``width``.
        width: of all, where ``texts`` does not say.

    >>> apart(["smooth(relu(G) * std(A))", "smooth(relu(G) * max(A))"], 14)
    {'smooth(relu(G) * std(A))': 'smooth…std(A))', 'smooth(relu(G) * max(A))': 'smooth…max(A))'}
    """
    room = dict(texts) if isinstance(texts, Mapping) else dict.fromkeys(texts, width)
    made = {text: shortened(text, columns) for text, columns in room.items()}
    for short, alike in _groups(made).items():
        for text in alike if short not in alike else ():
            made[text] = _from_difference(text, [t for t in alike if t != text], room[text])
    for alike in _groups(made).values():
        number = 1
        for text in alike:
            while (numbered := _numbered(text, number, room[text])) in made.values():
                number += 1
            made[text] = numbered
    return made


def _at_layer(method: str, layer: str, width: int, mark: str = _GAP) -> str:
    """A method at a layer: its own name gives way first, then the beginning of the layer's.

    Args:
        method, layer, width: what is shortened, and to how many columns.
        mark: what stands for that of the method's name that is left out.
    """
    left = width - len(layer) - len(mark) - 1
    if left >= _LEAST:
        return f"{method[: left - left // 3]}{mark}{method[len(method) - left // 3 :]}@{layer}"
    left = width - _LEAST - len(mark) - 1 - len(_GAP)
    if left < 2:
        return _without_middle(f"{method}@{layer}", width, mark)
    return f"{method[:_LEAST]}{mark}@{_GAP}{layer[-left:]}"


def _without_middle(text: str, width: int, mark: str = _GAP) -> str:
    left = max(0, width - len(mark))
    head, tail = text[: left - left // 2], text[len(text) - left // 2 :]
    return f"{head.rstrip()}{mark}{tail.lstrip()}"


def _groups(made: Mapping[str, str]) -> dict[str, list[str]]:
    """Short forms that several texts have, with these texts."""
    groups: dict[str, list[str]] = {}
    for text, short in made.items():
        groups.setdefault(short, []).append(text)
    return {short: texts for short, texts in groups.items() if len(texts) > 1}


def _from_difference(text: str, others: Sequence[str], width: int) -> str:
    """The part of a text that no other has, without what stands before, and as much as there is
    room for behind."""
    same = max(_begun_alike(text, other) for other in others)
    starts = [found.start() for found in PARTS.finditer(text)]
    start = max([at for at in starts if at <= same], default=0)
    rest, left, behind = "", width - 2 * len(_GAP), False
    for part in PARTS.findall(text[start:]):
        if cell_len(part) > left:
            behind = True
            break
        rest += part
        left -= cell_len(part)
    if not rest:  # one long name
        start, rest, behind = same, text[same : same + max(0, left)], len(text) > same + left
    return f"{_GAP if start else ''}{rest.rstrip()}{_GAP if behind else ''}"


def _begun_alike(one: str, other: str) -> int:
    """How many characters two texts have in common at their beginning."""
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b),
                min(len(one), len(other)))  # fmt: skip


def _numbered(text: str, number: int, width: int) -> str:
    mark = f"{_GAP}{number}"
    if found := _AT_LAYER.fullmatch(text):
        return _at_layer(found[1], found[2], width, mark)
    return f"{text[: max(0, width - len(mark))].rstrip()}{mark}"
