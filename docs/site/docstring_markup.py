"""Sphinx's markup in docstrings as Markdown, for the API reference."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import griffe

API = Path(__file__).resolve().parents[1] / "api"
ROLE = re.compile(r":(?:class|func|meth|mod|data|attr|exc):`(~?)([\w.]+)`")

JOINED = re.compile(r"^ {4}(\w+(?:, \w+)+): (.*(?:\n {5,}.*)*)", re.MULTILINE)


def documented() -> dict[str, str]:
    """What the reference has a heading for: its last name to the whole one."""
    text = "\n".join(page.read_text(encoding="utf-8") for page in sorted(API.glob("*.md")))
    return {name.rpartition(".")[2]: name for name in re.findall(r"^::: (\S+)", text, re.M)}


def apart(text: str) -> str:
    """Arguments that share a line of a docstring, a line each.

    >>> print(apart("Args:\\n    images, seed: as for ``evaluate``."))
    Args:
        images: as for ``evaluate``.
        seed: as for ``evaluate``.
    """

    def lines(found: re.Match[str]) -> str:
        return "\n".join(f"    {name}: {found[2]}" for name in found[1].split(", "))

    return JOINED.sub(lines, text)


def as_markdown(text: str, known: dict[str, str]) -> str:
    """Roles as code, and as links where the reference has what they name.

    >>> as_markdown("see :func:`~sycam.synthesis.synthesize`", {"synthesize": "sycam.synthesize"})
    'see [`synthesize`][sycam.synthesize]'
    """

    def code(found: re.Match[str]) -> str:
        short, name = found.groups()
        last = name.rpartition(".")[2]
        shown = f"`{last if short else name}`"
        return f"[{shown}][{known[last]}]" if last in known else shown

    return ROLE.sub(code, text)


class SphinxMarkup(griffe.Extension):
    """Roles of Sphinx in every docstring."""

    def __init__(self) -> None:
        self.known = documented()

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring is not None:
            text = apart(as_markdown(obj.docstring.value, self.known))
            # The one title of a section that griffe knows in the plural alone.
            obj.docstring.value = re.sub(r"^Example:$", "Examples:", text, flags=re.MULTILINE)
