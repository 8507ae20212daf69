"""What came of an ensemble: figures that print themselves, as tables, as files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from sycam.applications.ensembles.effects import Effect
from sycam.applications.ensembles.rows import SINGLE, WINNER, ChosenThreshold, EnsembleRow
from sycam.applications.ensembles.votes import voting
from sycam.applications.keeping import keep_result
from sycam.applications.tables import Table
from sycam.drawing.overlays import ImageRow, grid_figure
from sycam.drawing.plot import Plot, written
from sycam.errors import OptionError, RunError
from sycam.methods import Method
from sycam.runs.file_names import ENSEMBLE_FILE
from sycam.scoring.journal import JOURNAL_FILE
from sycam.scoring.statistics import CONFIDENCE, Comparison, Interval, caution
from sycam.support.arguments import argument
from sycam.support.bounded_json import SchemaError, read_json
from sycam.support.files import TABLE
from sycam.support.schema import Count, from_plain, to_plain
from sycam.support.text.html_table import html_table
from sycam.support.text.table import as_frame
from sycam.support.text.terminal import printable

JSON_FILE, TABLE_FILE, PICTURE_FILE = ENSEMBLE_FILE, "ensemble.csv", "ensemble.png"
SCHEMA = 1
_APART = ("method", "examples", "path")  # of what is kept as JSON
COLUMNS = (
    "name", "kind", "percent", "search", "heldout", "low", "high", "difference",
    "difference_low", "difference_high", "p", "p_holm", "flat",
)  # fmt: skip


@dataclass(frozen=True)
class EnsembleResult:
    """The best ensemble of several CAMs with its held-out evidence.

    Attributes:
        metric: its text.
        higher_is_better: its direction.
        network, layers: that were explained.
        candidates: names of all that could be members.
        percents: thresholds that could be chosen.
        members: names of those in the ensemble.
        percent: of the pixels that each of them holds.
        expression: the ensemble as a formula, which searches, exports and :class:`sycam.CAM` take;
            None where a member is computed directly.
        rows: the ensemble first, then what it is compared with, best held out first.
        effects: what each member adds on the search images, at ``effects_percent``; empty where a
            budget in time did not hold that.
        effects_percent: the threshold at which single CAMs are best on average.
        thresholds: of single CAMs chosen image by image; empty where the metric cannot choose.
        scored, possible: how many ensembles were scored on the search images, and how many there
            are.
        search_images, heldout_images: how many.
        notes: what to know before the figures are trusted, and what a budget in time cut.
        votes: how each member in the ensemble is named in full: its formula, or its name and layer.
        method: the ensemble, for :func:`sycam.evaluate` at the same layers; None where it was
            loaded and a member is none of this installation's.
        examples: held-out images with the members' and the ensemble's heatmaps; none where it was
            loaded.
        path: the folder where all is kept.
    """

    metric: str
    higher_is_better: bool
    network: str
    layers: tuple[str, ...]
    candidates: tuple[str, ...]
    percents: tuple[float, ...]
    members: tuple[str, ...]
    percent: float
    expression: str | None
    rows: tuple[EnsembleRow, ...]
    effects: tuple[Effect, ...]
    effects_percent: float
    thresholds: tuple[ChosenThreshold, ...]
    scored: Count
    possible: Count
    search_images: Count
    heldout_images: Count
    notes: tuple[str, ...] = ()
    votes: tuple[str, ...] = ()
    method: Method | None = field(default=None, repr=False, compare=False)
    examples: tuple[ImageRow, ...] = field(default=(), repr=False, compare=False)
    path: Path | None = field(default=None, compare=False)

    @property
    def ensemble(self) -> EnsembleRow:
        """The row of the ensemble."""
        return self.rows[0]

    @property
    def chosen_single(self) -> EnsembleRow:
        """The single CAM, with a threshold or without, that the search images choose."""
        return self._best(lambda row: row.search)

    @property
    def best_single(self) -> EnsembleRow:
        """The single CAM that is best on the held-out images, in hindsight."""
        return self._best(lambda row: row.heldout.mean)

    def _best(self, figure: Any) -> EnsembleRow:
        sign = 1 if self.higher_is_better else -1
        singles = [row for row in self.rows if row.kind in SINGLE]
        return max(singles, key=lambda row: float(np.nan_to_num(sign * figure(row), nan=-np.inf)))

    @property
    def verdict(self) -> tuple[str, ...]:
        """What the held-out images say, in sentences."""
        asked = [("the single CAM that the search images choose", self.chosen_single)]
        if self.best_single != self.chosen_single:
            asked.append(("the single CAM that is best in hindsight", self.best_single))
        asked += [("the winner of a search", row) for row in self.rows if row.kind == WINNER]
        return tuple(
            f"The ensemble {_verb(row.against)} {who}, {row.title}: {_difference(row.against)}."
            for who, row in asked
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain data, ready for JSON; NaN and infinity are None."""
        names = [name for name in self.__dataclass_fields__ if name not in _APART]
        return {"schema": SCHEMA, **{name: to_plain(getattr(self, name)) for name in names}}

    @classmethod
    def load(cls, folder: str | Path) -> EnsembleResult:
        """What :func:`sycam.applications.ensemble` or :meth:`save` kept.

        Args:
            folder: which has ``ensemble.json``, or this file.

        Raises:
            RunError: it is not there, damaged, or of another version.
        """
        path = Path(folder)
        file = path / JSON_FILE if path.is_dir() else path
        if not file.is_file():
            begun = (path / JOURNAL_FILE).is_file()
            hint = (
                "it has not finished: the same sycam ensemble goes on there"
                if begun
                else "expected the folder of a finished sycam ensemble"
            )
            raise RunError(f"there is no ensemble in '{path}'; {hint}")
        try:
            data = read_json(file, TABLE)
            schema = data.get("schema") if isinstance(data, dict) else None
            if schema != SCHEMA:
                raise RunError(f"'{file}' has schema {schema!r:.80}, this version reads {SCHEMA}")
            found = from_plain(cls, {k: v for k, v in data.items() if k not in _APART}, JSON_FILE)
            if not found.rows or not any(row.kind in SINGLE for row in found.rows):
                raise SchemaError("rows lack the ensemble or every single CAM")
        except (OSError, ValueError, SchemaError) as error:
            raise RunError(
                f"cannot read the ensemble in '{file}': {error}; the same sycam ensemble writes it "
                "again from its scores"
            ) from None
        return replace(found, method=voting(found.votes, found.percent), path=file.parent)

    def table(self) -> list[dict[str, Any]]:
        """A line per row, by the names in :data:`COLUMNS`."""
        return [
            {
                "name": row.name,
                "kind": row.kind,
                "percent": row.percent,
                "search": row.search,
                "heldout": row.heldout.mean,
                "low": row.heldout.low,
                "high": row.heldout.high,
                "difference": row.against and row.against.difference.mean,
                "difference_low": row.against and row.against.difference.low,
                "difference_high": row.against and row.against.difference.high,
                "p": row.against and row.against.p,
                "p_holm": row.against and row.against.p_holm,
                "flat": row.flat,
            }
            for row in self.rows
        ]

    def to_pandas(self) -> Any:
        """The rows as a ``pandas.DataFrame`` with the columns :data:`COLUMNS`: ``difference`` is
        the ensemble less the row, positive where the ensemble is better.

        Raises:
            OptionError: pandas is not installed.
        """
        return as_frame(COLUMNS, self.table())

    def plot(self) -> Plot:
        """Held-out images, each beside the heatmaps of members and ensemble, with their figures.

        Raises:
            OptionError: no examples were made.
        """
        if not self.examples:
            kept = self.path is not None and (self.path / PICTURE_FILE).is_file()
            seen = f"; '{self.path / PICTURE_FILE}' is the picture" if kept else ""
            raise OptionError(
                f"no images were kept to draw: ask for some by {argument('examples')}{seen}"
            )
        title = f"{self.metric} on held-out images; the ensemble's figure is "
        return Plot(grid_figure(self.examples, f"{title}{self.ensemble.heldout.mean:.3f}"))

    def save(self, folder: str | Path) -> Path:
        """Write ``ensemble.json``, ``ensemble.csv`` and, where there are examples,
        ``ensemble.png`` into a folder.

        Raises:
            RunError: they cannot be written.
        """
        folder = Path(folder)
        keep_result(folder / JSON_FILE, self.to_dict(), folder / TABLE_FILE, COLUMNS, self.table())
        if self.examples:
            written(self.plot().figure, folder / PICTURE_FILE, within=folder)
        return folder

    def tables(self) -> Iterator[Table]:
        """Title, head and lines of the tables that people are shown."""
        sign = "↑" if self.higher_is_better else "↓"
        yield (
            f"{self.metric} {sign} on {self.heldout_images} held-out images",
            ("method", "kind", "search", "held out", "95 %", "ensemble less it", "p, Holm"),
            [
                (
                    row.title, row.kind, f"{row.search:.4f}", f"{row.heldout.mean:.4f}",
                    _range(row.heldout), *_against(row.against),
                )
                for row in self.rows
            ],
        )  # fmt: skip
        if self.effects:
            yield self._effects()
        if self.thresholds:
            yield self._thresholds()

    def _effects(self) -> Table:
        return (
            f"What each member adds, over ensembles at top {self.effects_percent:g} %, on "
            f"{self.search_images} search images",
            ("member", "effect", "95 %", "with it", "without it"),
            [
                (
                    one.member, f"{one.effect.mean:+.4f}", _range(one.effect, "+"),
                    f"{one.with_it:.4f}", f"{one.without_it:.4f}",
                )
                for one in self.effects
            ],
        )  # fmt: skip

    def _thresholds(self) -> Table:
        return (
            "Thresholds of single CAMs chosen image by image, by the levels that judge",
            ("member", "one for all", "figure", "image by image", "gain", "95 %", "p, Holm"),
            [
                (
                    one.member, f"top {one.percent:g} %", f"{one.fixed.mean:.4f}",
                    f"{one.adaptive.mean:.4f}", f"{one.gain.difference.mean:+.4f}",
                    _range(one.gain.difference, "+"), f"{one.gain.p_holm:.2g}",
                )
                for one in self.thresholds
            ],
        )  # fmt: skip

    @property
    def headline(self) -> str:
        """Members and threshold, and how they were found."""
        of = f"{self.scored} of {self.possible}" if self.scored < self.possible else "all"
        many = f"{of} ensembles were" if self.possible > 1 else "the one ensemble was"
        return (
            f"Top {self.percent:g} % of {' + '.join(self.members)} "
            f"({many} scored on {self.search_images} search images)"
        )

    @property
    def remarks(self) -> tuple[str, ...]:
        """Verdict and notes, then the formula."""
        said = caution([np.array(row.scores) for row in self.rows])
        formula = (
            ("No formula says it, as a member is computed directly.",)
            if self.expression is None
            else (f"As a formula: {self.expression}",)
        )
        return (*self.verdict, *self.notes, *((f"{said}.",) if said else ()), *formula)

    def __str__(self) -> str:
        """Tables and verdict."""
        parts = [self.headline]
        parts += ["\n".join((title, *_aligned(head, rows))) for title, head, rows in self.tables()]
        return printable("\n\n".join((*parts, "\n".join(self.remarks))), lines=True)

    def _repr_html_(self) -> str:
        """The same for notebooks."""
        tables = "".join(html_table(*table) for table in self.tables())
        lines = [(line,) for line in self.remarks]
        return tables + html_table(self.headline, ("what it says",), lines)


def _aligned(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    words = 2 if head[1] == "kind" else 1  # columns of words, which stand at the left
    for row in (head, *rows):
        cells = [
            text.ljust(width) if place < words else text.rjust(width)
            for place, (text, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  ".join(cells).rstrip()


def _range(interval: Interval, sign: str = "") -> str:
    return f"[{interval.low:{sign}.3f}, {interval.high:{sign}.3f}]"


def _against(against: Comparison | None) -> tuple[str, str]:
    if against is None:
        return "", ""
    difference = against.difference
    return f"{difference.mean:+.4f} {_range(difference, '+')}", f"{against.p_holm:.2g}"


def _difference(against: Comparison | None) -> str:
    return "" if against is None else "{}, p {} (Holm)".format(*_against(against))


def _verb(against: Comparison | None) -> str:
    if against is None or against.p_holm >= 1 - CONFIDENCE:
        return "cannot be told from"
    return "beats" if against.difference.mean > 0 else "loses to"
