"""Where a grammar's text comes from: shipped files, the user's, and the bases that they extend."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from sycam.errors import GrammarError, SycamError, unknown_name
from sycam.language.parsing import pointed

LONGEST = 100_000  # characters, bases included; the largest shipped grammar has about 6,000
SUFFIX = ".lark"

_BASE = re.compile(r"\s*%base\b[ \t]*(?P<name>.*?)[ \t]*((//|#).*)?$")
_BLANK = re.compile(r"\s*((//|#).*)?$")


@dataclass(frozen=True)
class Part:
    """A stretch of a source's lines that was one file.

    Attributes:
        name: of the file, without folder and suffix.
        first: its first line in the whole text, from 1.
    """

    name: str
    first: int


@dataclass(frozen=True)
class Source:
    """A grammar's whole text: its bases', farthest first, then its own.

    Attributes:
        name: of the grammar.
        text: what Lark reads. A ``%base`` line stands in it as a comment, for the base's text
            stands above, so that the text alone says the whole space.
        parts: the files that the text was put together from, the grammar's own last.
    """

    name: str
    text: str
    parts: tuple[Part, ...]

    def refusal(self, message: str, line: int | None = None, column: int | None = None) -> str:
        """``message`` with the grammar's name and, where given, the line of the file that it
        speaks of, the line's text and a caret under the column; both count from 1."""
        if line is None:
            return f"grammar {self.name!r}: {message}"
        part = next(p for p in reversed(self.parts) if p.first <= line)
        base = "" if part is self.parts[-1] else f" of its base {part.name!r}"
        number = line - part.first + 1
        shown = pointed(self.text.split("\n")[line - 1].rstrip(), column)
        return f"grammar {self.name!r}, line {number}{base}: {message}\n{shown}"


def folder() -> Path:
    """The folder of the shipped grammars."""
    installed = Path(str(files("sycam"))) / "grammars"
    return installed if installed.is_dir() else Path(str(files("sycam"))).parent / "grammars"


def grammar_names() -> list[str]:
    """Names of the shipped grammars."""
    return sorted(path.stem for path in folder().glob(f"*{SUFFIX}"))


def find(name: str, relative_to: Path | None = None) -> Path:
    """The file of a shipped grammar by name, or of any grammar by its path, which ends in .lark.

    Raises:
        UnknownNameError: no shipped grammar has that name.
    """
    if name.endswith(SUFFIX):
        return (relative_to or Path()) / name
    if name not in grammar_names():
        listing = "sycam grammars lists all; a file's name must end in .lark"
        raise unknown_name("grammar", name, grammar_names(), listing)
    return folder() / f"{name}{SUFFIX}"


def source_of_file(path: Path) -> Source:
    """The source in a file, its bases before it; GrammarError where one cannot be had."""
    try:
        path = path.resolve()
    except (OSError, ValueError, RuntimeError) as error:
        raise GrammarError(f"cannot read grammar file '{path}': {error}") from None
    return _assemble(_read(path), path.stem, path.parent, (path,))


def source_of_text(text: str, name: str, relative_to: Path | None = None) -> Source:
    """The source in a text; a base's path is relative to the given folder, or the current one."""
    return _assemble(text, name, relative_to or Path(), ())


def _read(path: Path) -> str:
    try:
        if path.exists() and not path.is_file():
            raise GrammarError(f"cannot read grammar file '{path}': it is not a file")
        with path.open(encoding="utf-8-sig") as file:
            return file.read(LONGEST + 1)
    except (OSError, ValueError) as error:
        raise GrammarError(f"cannot read grammar file '{path}': {error}") from None


def _assemble(text: str, name: str, relative_to: Path, chain: tuple[Path, ...]) -> Source:
    """``chain`` holds the files on the way here, each a base of the one before."""
    text = text.replace("\r\n", "\n")
    own = Source(name, text, (Part(name, 1),))
    if len(text) > LONGEST:
        raise GrammarError(f"grammar {name!r} is too long: more than {LONGEST:,} characters")
    lines = text.split("\n")
    number = next((i for i, line in enumerate(lines) if not _BLANK.match(line)), None)
    directive = None if number is None else _BASE.match(lines[number])
    if not directive:
        return own

    def refuse(message: str) -> GrammarError:
        return GrammarError(own.refusal(message, number + 1, directive.start("name") + 1))

    called = directive["name"]
    if not called:
        raise refuse("%base needs a shipped grammar's name or a .lark file, like %base gradient")
    try:
        path = find(called, relative_to).resolve()
    except (SycamError, ValueError, OSError, RuntimeError) as error:
        raise refuse(f"%base: {error}") from None
    if path in chain:
        way = " -> ".join(p.name for p in (*chain[chain.index(path) :], path))
        raise refuse(f"%base goes round in a circle: {way}")
    try:
        base = _assemble(_read(path), path.stem, path.parent, (*chain, path))
    except GrammarError as error:
        raise refuse(f"%base {called} cannot be used: {error}") from None
    lines[number] = f"// {lines[number].strip()} (above)"
    above = base.text.rstrip("\n")
    whole = above + "\n\n" + "\n".join(lines)
    if len(whole) > LONGEST:
        raise refuse(f"with its base it is too long: more than {LONGEST:,} characters")
    first = above.count("\n") + 3
    return Source(name, whole, (*base.parts, Part(name, first)))
