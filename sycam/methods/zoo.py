"""The zoo: formulas that searches found, with the held-out evidence on record, by name.

They are kept as text in ``zoo.json``; there are no weights in it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType

from sycam.errors import OptionError, unknown_name
from sycam.language import Expression, parse_weights
from sycam.support.bounded_json import parse_json
from sycam.support.schema import Count, absent, from_plain

PREFIX = "zoo:"
HABIT, CHOSEN, HINDSIGHT = "habit", "chosen", "hindsight"
WHY = {
    HABIT: "Grad-CAM at the deepest layer, what everybody uses",
    CHOSEN: "the best published CAM and layer by the search images",
    HINDSIGHT: "the best published CAM and layer on the held-out images, known in hindsight only",
}
TRANSFER = (
    "nine winners were tried on each other's networks, layers and data sets, and are significantly "
    "behind the best published CAM there in 47 of 72 cases, ahead in one"
)  # benchmarks/RESULTS.md, Transfer
WARNING = (
    f"Formulas transfer badly: {TRANSFER}. On another network take one as the first "
    "guess of a search of your own, and trust your own held-out images."
)
_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % bootstrap interval over images, where that is on record.

    Attributes:
        mean: in the unit of the metric.
        low, high: ends of the interval; None of both where they are not on record.
    """

    mean: float
    low: float | None = absent()
    high: float | None = absent()

    def __post_init__(self) -> None:
        if (self.low is None) != (self.high is None):
            raise OptionError("an interval has two ends, low and high")
        if self.low is not None and not self.low <= self.mean <= self.high:
            raise OptionError(
                f"the mean {self.mean} lies outside of its interval [{self.low}, {self.high}]"
            )

    def text(self, sign: str = "") -> str:
        """``0.239 [0.223, 0.255]``; with ``sign="+"`` each with its sign."""
        said = f"{self.mean:{sign}.3f}"
        ends = "" if self.low is None else f" [{self.low:{sign}.3f}, {self.high:{sign}.3f}]"
        return said + ends


@dataclass(frozen=True)
class Rival:
    """A published CAM on the same held-out images.

    Attributes:
        name: of the method, with its layer where it is not the formula's own.
        why: why it is compared with, a key of :data:`WHY`.
        mean: its figure under the metric.
        difference: formula minus rival, oriented so that positive favours the formula.
        p: of a two-sided paired sign-flip test, Holm-corrected; None where it is not on record.
    """

    name: str
    why: str
    mean: float
    difference: Estimate
    p: float | None = absent()

    def __post_init__(self) -> None:
        if self.why not in WHY:
            raise unknown_name("kind of rival", self.why, WHY)


@dataclass(frozen=True)
class Entry:
    """A formula that a search found.

    Attributes:
        name: by which ``zoo:NAME`` finds it: lower case, digits and hyphens.
        formula: text of the weights; layers that it names stay as they are.
        network: what it was found for, in words.
        opened_by: text by which :func:`sycam.open_network` opens that; a file lies in this
            repository.
        layers: names of the layers that were searched; ``auto`` for those that it chose.
        images: what was searched on, in words.
        search_images, heldout_images: how many.
        metric: text of what was optimised.
        heldout: the formula's figure on the held-out images; None where only differences are on
            record.
        rivals: what it was compared with, at least one.
        command: that found it.
        source: the page that has these figures, or the run.
        note: what else a user should know; None for nothing.
    """

    name: str
    formula: str
    network: str
    opened_by: str
    layers: tuple[str, ...]
    images: str
    search_images: Count
    heldout_images: Count
    metric: str
    rivals: tuple[Rival, ...]
    command: str
    source: str
    heldout: Estimate | None = absent()
    note: str | None = absent()

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise OptionError(
                f"{self.name!r:.80} is no name of the zoo: lower case letters and digits, in "
                "words joined by hyphens, like resnet20-road"
            )
        if not self.rivals:
            raise OptionError(f"{self.name} has no rival: a figure alone says nothing")
        if not self.layers:
            raise OptionError(f"{self.name} names no layer that was searched")
        parse_weights(self.formula)

    @property
    def expression(self) -> Expression:
        """The formula."""
        return parse_weights(self.formula)

    @property
    def text(self) -> str:
        """By which methods, guesses and CAMs name it: ``zoo:NAME``."""
        return PREFIX + self.name

    @property
    def hardest(self) -> Rival:
        """The rival that is ahead of it by most, or least behind."""
        return min(self.rivals, key=lambda rival: rival.difference.mean)


@cache
def zoo() -> Mapping[str, Entry]:
    """All entries by name, in the order of the file."""
    content = (files("sycam.methods") / "zoo.json").read_text(encoding="utf-8")
    entries = from_plain(tuple[Entry, ...], parse_json(content), "zoo.json")
    return MappingProxyType({entry.name: entry for entry in entries})


def find_entry(name: str) -> Entry:
    """An entry by its name, with or without ``zoo:`` before it.

    Raises:
        UnknownNameError: there is none of that name; the message lists names.
    """
    name = name.strip().removeprefix(PREFIX)
    if name not in zoo():
        raise unknown_name("formula of the zoo", name, zoo(), "sycam zoo lists all")
    return zoo()[name]


def formula(text: str) -> Expression:
    """The expression of ``zoo:NAME``, or of any other text as one of weights.

    Raises:
        UnknownNameError: there is no entry of that name.
        ExpressionError: the text is no expression of weights.
    """
    text = text.strip()
    return find_entry(text).expression if text.startswith(PREFIX) else parse_weights(text)
