"""What came of a noise study: figures that print themselves, as tables, as files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sycam.applications.keeping import keep_result
from sycam.applications.noise_study.figures import ALL, FIGURES, RM, NoiseRow
from sycam.drawing.boards import draw_ranks
from sycam.drawing.noise_levels import draw_noise_levels
from sycam.drawing.plot import Plot, written
from sycam.errors import OptionError, unknown_name
from sycam.scoring.ranks import MeanRanks
from sycam.scoring.statistics import FEW, Interval
from sycam.support.schema import to_plain
from sycam.support.text.html_table import html_table
from sycam.support.text.table import as_frame
from sycam.support.text.terminal import printable

JSON_FILE, TABLE_FILE = "robustness.json", "robustness.csv"
PICTURE_FILE, RANKS_FILE = "robustness.png", "robustness_ranks.png"
SCHEMA = 1
COLUMNS = (
    "noise", "level", "method",
    *(f"{figure}{end}" for figure in FIGURES for end in ("", "_low", "_high")), "kept", "changed",
)  # fmt: skip
_APART = ("parts",)


@dataclass(frozen=True)
class RobustnessResult:
    """Consistency and responsiveness of several CAMs over kinds and levels of noise.

    Attributes:
        network, layers: that were explained.
        methods: their names, in the order given.
        images: how many.
        persistence: p of the rank-biased overlap.
        seed: of noise and bootstrap.
        rows: all noise pooled, each kind pooled, then each level, a row per method.
        ranks: by figure, mean ranks over images; None where too few could be ranked.
        flat: by method, on how many clean images its heatmap ranks nothing.
        notes: what to know of winners of runs.
        parts: method to ``[N,V,4]``, the components of the metric ``rm`` for each of V copies.
    """

    network: str
    layers: tuple[str, ...]
    methods: tuple[str, ...]
    images: int
    persistence: float
    seed: int
    rows: tuple[NoiseRow, ...]
    ranks: dict[str, MeanRanks | None]
    flat: dict[str, int]
    notes: tuple[str, ...]
    parts: dict[str, np.ndarray] = field(repr=False, compare=False)

    @property
    def pooled(self) -> tuple[NoiseRow, ...]:
        """The rows of all noise, the highest RM first; undefined ones last."""
        found = [row for row in self.rows if row.noise == ALL]
        return tuple(sorted(found, key=lambda row: -np.nan_to_num(row.rm.mean, nan=-1.0)))

    def to_dict(self) -> dict[str, Any]:
        """Plain data, ready for JSON; NaN is None."""
        names = [name for name in self.__dataclass_fields__ if name not in _APART]
        return {"schema": SCHEMA, **{name: to_plain(getattr(self, name)) for name in names}}

    def table(self) -> list[dict[str, Any]]:
        """A line per row, by the names in :data:`COLUMNS`."""
        lines = []
        for row in self.rows:
            line: dict[str, Any] = {"noise": row.noise, "level": row.level, "method": row.method}
            for figure in FIGURES:
                held: Interval = getattr(row, figure)
                line |= {figure: held.mean, f"{figure}_low": held.low, f"{figure}_high": held.high}
            lines.append({**line, "kept": row.kept, "changed": row.changed})
        return lines

    def to_pandas(self) -> Any:
        """The rows as a ``pandas.DataFrame`` with the columns :data:`COLUMNS`; ``level`` is missing
        where levels are pooled.

        Raises:
            OptionError: pandas is not installed.
        """
        return as_frame(COLUMNS, self.table())

    def plot(self, kind: str = "levels", figure: str = RM) -> Plot:
        """A picture.

        Args:
            kind: ``"levels"``, the three figures over the levels of each kind of noise, or
                ``"ranks"``, a critical-difference diagram.
            figure: of which ranks are drawn: ``"rm"``, ``"consistency"`` or ``"responsiveness"``.

        Raises:
            UnknownNameError: no such kind or figure.
            OptionError: too few methods or images to rank.
        """
        if kind == "levels":
            points = {
                one: [
                    (row.noise, row.level, row.method, held.mean, held.low, held.high)
                    for row in self.rows
                    if row.level is not None
                    for held in [getattr(row, one)]
                ]
                for one in FIGURES
            }
            return Plot(draw_noise_levels(points, f"{self.network}, {self.images} images"))
        if kind != "ranks":
            raise unknown_name("picture", kind, ("levels", "ranks"))
        if figure not in FIGURES:
            raise unknown_name("figure", figure, FIGURES)
        ranks = self.ranks[figure]
        if ranks is None:
            raise OptionError(
                f"{figure} ranks nothing: three methods and two images on which it is defined are "
                f"needed, {len(self.methods)} methods and {self.images} images were given; take "
                "more images, or more levels of noise"
            )
        return Plot(draw_ranks(ranks, title=f"{figure} on {self.network}"))

    def save(self, folder: str | Path) -> Path:
        """Write ``robustness.json``, ``robustness.csv``, ``robustness.png`` and, where methods
        could be ranked by RM, ``robustness_ranks.png`` into a folder.

        Raises:
            RunError: they cannot be written.
        """
        folder = Path(folder)
        keep_result(folder / JSON_FILE, self.to_dict(), folder / TABLE_FILE, COLUMNS, self.table())
        written(self.plot().figure, folder / PICTURE_FILE, within=folder)
        if self.ranks[RM] is not None:
            written(self.plot("ranks").figure, folder / RANKS_FILE, within=folder)
        return folder

    def tables(self) -> Iterator[tuple[str, tuple[str, ...], list[tuple[str, ...]]]]:
        """Title, head and lines of the tables that people are shown."""
        yield (
            f"All noise, {self.images} images",
            ("method", "", *(f"{f} ↑" for f in FIGURES), *(f"rank, {f}" for f in FIGURES), "flat"),
            [
                (
                    row.method, "", *(_said(getattr(row, f)) for f in FIGURES),
                    *(_rank(self.ranks[f], row.method) for f in FIGURES),
                    str(self.flat[row.method]),
                )
                for row in self.pooled
            ],
        )  # fmt: skip
        yield (
            "Each level of noise",
            ("noise", "method", "level", "changed", *(f"{f} ↑" for f in FIGURES)),
            [
                (
                    row.noise, row.method, f"{row.level:g}",
                    f"{row.changed}/{row.changed + row.kept}",
                    *(_said(getattr(row, f)) for f in FIGURES),
                )
                for row in self.rows
                if row.level is not None
            ],
        )  # fmt: skip

    @property
    def remarks(self) -> tuple[str, ...]:
        """What the tests say, and what to know."""
        few = (
            f"{self.images} images are few: intervals may cover the true figure less often than "
            f"they say; give {FEW} or more.",
        )
        told = tuple(_tests(figure, ranks) for figure, ranks in self.ranks.items())
        return (*told, *self.notes, *(few if self.images < FEW else ()))

    def __str__(self) -> str:
        """Tables and tests."""
        parts = ["\n".join((title, *_aligned(head, rows))) for title, head, rows in self.tables()]
        return printable("\n\n".join((*parts, "\n".join(self.remarks))), lines=True)

    def _repr_html_(self) -> str:
        """The same for notebooks."""
        tables = "".join(html_table(*table) for table in self.tables())
        return tables + html_table("Tests", ("what they say",), [(one,) for one in self.remarks])


def _tests(figure: str, ranks: MeanRanks | None) -> str:
    if ranks is None:
        return f"{figure}: too few methods, or images on which it is defined, to rank them."
    best = ranks.names[0]
    alike = [name for name in ranks.names[1:] if not ranks.differ(best, name)]
    said = (
        "no method's ranks differ"
        if ranks.p >= ranks.alpha
        else f"{best} ranks best"
        + (
            f", from which {', '.join(alike)} cannot be told"
            if alike
            else ", apart from all others"
        )
    )
    return (
        f"{figure}: {said} (Friedman p {ranks.p:.2g} on {ranks.items} images, Nemenyi's critical "
        f"difference {ranks.critical_difference:.2f})."
    )


def _said(held: Interval) -> str:
    return "–" if np.isnan(held.mean) else f"{held.mean:.3f} [{held.low:.3f}, {held.high:.3f}]"


def _rank(ranks: MeanRanks | None, name: str) -> str:
    return "–" if ranks is None else f"{ranks.rank(name):.2f}"


def _aligned(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    for row in (head, *rows):
        cells = [
            text.ljust(width) if place < 2 else text.rjust(width)
            for place, (text, width) in enumerate(zip(row, widths, strict=True))
            if width
        ]
        yield "  ".join(cells).rstrip()
