"""Accuracies, natural and under attack, with their intervals."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from sycam.applications.keeping import keep_result
from sycam.applications.tables import as_text
from sycam.errors import unknown_name
from sycam.scoring.statistics import CONFIDENCE
from sycam.support.schema import Count, Figure, to_plain
from sycam.support.text.html_table import html_table
from sycam.support.text.table import as_frame
from sycam.support.text.terminal import printable

NATURAL = "natural"
JSON_FILE, TABLE_FILE = "robust_accuracy.json", "robust_accuracy.csv"
SCHEMA = 1
COLUMNS = ("attack", "accuracy", "low", "high", "correct", "images")


@dataclass(frozen=True)
class AccuracyRow:
    """A share of images with its 95 % interval, Wilson's score interval.

    Attributes:
        attack: its name; ``"natural"`` for none.
        accuracy: share of the images that are classified as labelled.
        low, high: ends of the interval.
        correct: how many images.
    """

    attack: str
    accuracy: Figure
    low: Figure
    high: Figure
    correct: Count


def row_of(attack: str, correct: np.ndarray) -> AccuracyRow:
    """The row of bool ``[N]``, at least one."""
    found = int(correct.sum())
    test = stats.binomtest(found, len(correct))
    held = test.proportion_ci(CONFIDENCE, method="wilson")
    return AccuracyRow(attack, found / len(correct), float(held.low), float(held.high), found)


@dataclass(frozen=True)
class RobustAccuracy:
    """How often a network is right on images, and on attacked ones.

    Attributes:
        network: its name.
        images: how many.
        eps: how far each pixel might be moved, as a share of the pixels' range.
        rows: natural accuracy first, then a row per attack.
        correct: attack to bool ``[N]``: on which images it failed.
    """

    network: str
    images: Count
    eps: Figure
    rows: tuple[AccuracyRow, ...]
    correct: dict[str, np.ndarray] = field(repr=False, compare=False)

    def accuracy(self, attack: str) -> float:
        """Of one row, by its name: ``"natural"``, ``"pgd-20"``.

        Raises:
            UnknownNameError: there is no such row.
        """
        found = {row.attack: row.accuracy for row in self.rows}
        if attack not in found:
            raise unknown_name("attack", attack, found)
        return found[attack]

    @property
    def natural(self) -> float:
        """Without an attack."""
        return self.accuracy(NATURAL)

    @property
    def robust(self) -> float:
        """Share of the images that withstand all of the attacks."""
        return float(np.mean(np.all(list(self.correct.values()), axis=0)))

    def to_dict(self) -> dict[str, Any]:
        """Plain data, ready for JSON."""
        names = [name for name in self.__dataclass_fields__ if name != "correct"]
        return {"schema": SCHEMA, **{name: to_plain(getattr(self, name)) for name in names}}

    def table(self) -> list[dict[str, Any]]:
        """A line per row, by the names in :data:`COLUMNS`."""
        return [{**to_plain(row), "images": self.images} for row in self.rows]

    def to_pandas(self) -> Any:
        """The rows as a ``pandas.DataFrame`` with the columns :data:`COLUMNS`.

        Raises:
            OptionError: pandas is not installed.
        """
        return as_frame(COLUMNS, self.table())

    def save(self, folder: str | Path) -> Path:
        """Write ``robust_accuracy.json`` and ``robust_accuracy.csv`` into a folder.

        Raises:
            RunError: they cannot be written.
        """
        folder = Path(folder)
        keep_result(folder / JSON_FILE, self.to_dict(), folder / TABLE_FILE, COLUMNS, self.table())
        return folder

    def tables(self) -> Iterator[tuple[str, tuple[str, ...], list[tuple[str, ...]]]]:
        """Title, head and lines of the table that people are shown."""
        yield (
            f"{self.network}, {self.images} images, eps {255 * self.eps:.3g}/255",
            ("attack", "accuracy ↑", "95 % interval", "correct"),
            [
                (
                    row.attack, f"{row.accuracy:.3f}", f"[{row.low:.3f}, {row.high:.3f}]",
                    f"{row.correct}/{self.images}",
                )
                for row in self.rows
            ],
        )  # fmt: skip

    def __str__(self) -> str:
        return printable("\n\n".join(map(as_text, self.tables())), lines=True)

    def _repr_html_(self) -> str:
        return "".join(html_table(*table) for table in self.tables())
