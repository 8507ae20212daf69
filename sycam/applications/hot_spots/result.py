"""What came of removing hot spots: figures that print themselves, as tables, as files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sycam.applications.hot_spots.ablation import PARTS
from sycam.applications.hot_spots.figures import AblationRow
from sycam.applications.hot_spots.views import Example
from sycam.drawing.ablations import draw_ablations
from sycam.drawing.plot import Plot, written
from sycam.errors import OptionError, RunError, unknown_name
from sycam.report.pictures.saved import distinct_stems
from sycam.scoring.statistics import Interval, caution
from sycam.support.arguments import argument
from sycam.support.files import write_whole
from sycam.support.schema import Count, Figure, to_plain
from sycam.support.text.html_table import html_table
from sycam.support.text.table import as_frame, csv_text
from sycam.support.text.terminal import json_text, printable

JSON_FILE, TABLE_FILE, IMAGES_FILE = "ablation.json", "ablation.csv", "ablation_images.csv"
PICTURE_FILE, PICTURES = "ablation.png", "images"
PROBABILITY, VALUE = "probability", "value"  # what is explained
SCHEMA = 1
_INTERVALS = ("area", "ablated", "drop", "shifted_drop", "flips", "shifted_flips")
COLUMNS = (
    "method", "regions", "without_regions",
    *(f"{figure}{end}" for figure in _INTERVALS for end in ("", "_low", "_high")),
    "excess", "excess_low", "excess_high", "p", "p_holm",
)  # fmt: skip
IMAGE_COLUMNS = ("image", "method", "clean", *(part.replace(" ", "_") for part in PARTS))
_APART = ("parts", "clean", "names", "examples")
_OVERVIEW = 6  # rows of the picture of several images


@dataclass(frozen=True)
class AblationResult:
    """What the network says without the regions that CAMs mark.

    Attributes:
        network, layers: that were explained.
        images: how many.
        hot: which pixels are hot, for people.
        fill: what removed pixels become.
        shifts: how many shifted copies of the regions there are.
        watched: what is explained: :data:`PROBABILITY`, or :data:`VALUE` of a callable target.
        before: the mean of that on the clean images.
        seed: of shifts and bootstrap.
        rows: a row per method, in the order given.
        notes: what to know of winners of runs.
        names: of the images.
        clean: ``[N]`` what is explained, on each clean image.
        parts: method to ``[N,6]``: of each image the share that is removed, the number of regions,
            drop, flip, and the means of both over shifts.
        examples: images with their regions, to be drawn.
    """

    network: str
    layers: tuple[str, ...]
    images: Count
    hot: str
    fill: str
    shifts: Count
    watched: str
    before: Figure
    seed: int
    rows: tuple[AblationRow, ...]
    notes: tuple[str, ...]
    names: tuple[str, ...] = field(repr=False)
    clean: np.ndarray = field(repr=False, compare=False)
    parts: dict[str, np.ndarray] = field(repr=False, compare=False)
    examples: tuple[Example, ...] = field(default=(), repr=False, compare=False)

    def row(self, method: str) -> AblationRow:
        """That of a method.

        Raises:
            UnknownNameError: it was not asked for.
        """
        found = {row.method: row for row in self.rows}
        if method not in found:
            raise unknown_name("method", method, found)
        return found[method]

    @property
    def headlines(self) -> tuple[str, ...]:
        """What is lost without so much of the area, a sentence per method."""
        return tuple(self._headline(row) for row in self.rows)

    def _headline(self, row: AblationRow) -> str:
        change = f"({self.before:.2f} to {row.ablated.mean:.2f})"
        lost, elsewhere = (
            f"{_signed(-self._scale * one.mean, self._digits)}{self._unit} "
            f"{_range(one, -self._scale, self._digits)}"
            for one in (row.drop, row.shifted_drop)
        )
        also = tuple(
            f" and {100 * one.mean:.0f} %" if self._probable else ""
            for one in (row.flips, row.shifted_flips)
        )
        return (
            f"{row.method}: ablating {100 * row.area.mean:.1f} % of the area changes the "
            f"{self.watched} by {lost} {change}{also[0] and also[0] + ' of the predictions'}; the "
            f"same shape elsewhere by {elsewhere}{also[1]}."
        )

    @property
    def _probable(self) -> bool:
        return self.watched == PROBABILITY

    @property
    def _scale(self) -> float:
        """People are told points, hundredths of a probability, and a callable's values as such."""
        return 100.0 if self._probable else 1.0

    @property
    def _digits(self) -> int:
        return 1 if self._probable else 3

    @property
    def _unit(self) -> str:
        return " points" if self._probable else ""

    def to_dict(self) -> dict[str, Any]:
        """Plain data, ready for JSON; NaN is None."""
        names = [name for name in self.__dataclass_fields__ if name not in _APART]
        plain = {name: to_plain(getattr(self, name)) for name in names}
        return {"schema": SCHEMA, **plain, "headlines": list(self.headlines)}

    def table(self) -> list[dict[str, Any]]:
        """A line per method, by the names in :data:`COLUMNS`."""
        lines = []
        for row in self.rows:
            line: dict[str, Any] = {
                name: getattr(row, name) for name in ("method", "regions", "without_regions")
            }
            held = {name: getattr(row, name) for name in _INTERVALS}
            for name, one in {**held, "excess": row.excess.difference}.items():
                line |= {name: one.mean, f"{name}_low": one.low, f"{name}_high": one.high}
            lines.append({**line, "p": row.excess.p, "p_holm": row.excess.p_holm})
        return lines

    def image_table(self) -> list[dict[str, Any]]:
        """A line per image and method, by the names in :data:`IMAGE_COLUMNS`."""
        return [
            dict(zip(IMAGE_COLUMNS, (name, method, clean, *values.tolist()), strict=True))
            for method, of in self.parts.items()
            for name, clean, values in zip(self.names, self.clean.tolist(), of, strict=True)
        ]

    def to_pandas(self, each_image: bool = False) -> Any:
        """The rows as a ``pandas.DataFrame`` with the columns :data:`COLUMNS`; or a row per image
        and method, with :data:`IMAGE_COLUMNS`.

        Raises:
            OptionError: pandas is not installed.
        """
        if each_image:
            return as_frame(IMAGE_COLUMNS, self.image_table())
        return as_frame(COLUMNS, self.table())

    def plot(self, image: str | None = None) -> Plot:
        """A picture of the regions and of what the network says without them.

        Args:
            image: name of one that was kept to be drawn, shown under each method; if None several
                of them under the first method.

        Raises:
            OptionError: no images were kept.
            UnknownNameError: this one was not.
        """
        if not self.examples:
            raise OptionError(
                f"no images were kept to draw: ask for some by {argument('examples')}"
            )
        if image is not None:
            kept = {example.name: example for example in self.examples}
            if image not in kept:
                raise unknown_name("image", image, kept)
            return Plot(draw_ablations(list(kept[image].views.values()), self._title))
        method = self.rows[0].method
        some = [self.examples[i] for i in _spread(len(self.examples), _OVERVIEW)]
        return Plot(draw_ablations([one.views[method] for one in some], self._title))

    @property
    def _title(self) -> str:
        return f"{self.network}: {self.hot}, filled by {self.fill}"

    def save(self, folder: str | Path) -> Path:
        """Write ``ablation.json``, ``ablation.csv`` (a line per method), ``ablation_images.csv`` (a
        line per image and method) and, where images are drawn, ``ablation.png`` and one picture
        each in ``images``.

        Raises:
            RunError: they cannot be written.
        """
        folder = Path(folder)
        try:
            (folder / PICTURES if self.examples else folder).mkdir(parents=True, exist_ok=True)
            texts = {
                JSON_FILE: json_text(self.to_dict(), ensure_ascii=False, indent=1) + "\n",
                TABLE_FILE: csv_text(COLUMNS, self.table()),
                IMAGES_FILE: csv_text(IMAGE_COLUMNS, self.image_table()),
            }
            for file, text in texts.items():
                write_whole(folder / file, text, within=folder)
        except OSError as error:
            raise RunError(f"cannot write into '{folder}': {error}") from None
        if self.examples:
            written(self.plot().figure, folder / PICTURE_FILE, within=folder)
        stems = distinct_stems([one.name for one in self.examples])
        for example, stem in zip(self.examples, stems, strict=True):
            drawn = draw_ablations(list(example.views.values()), self._title)
            written(drawn, folder / PICTURES / f"{stem}.png", within=folder)
        return folder

    def tables(self) -> Iterator[tuple[str, tuple[str, ...], list[tuple[str, ...]]]]:
        """Title, head and lines of the tables that people are shown."""
        scale, digits = self._scale, self._digits
        lost = "Points of probability lost" if self._probable else "Value lost"
        yield (
            f"{lost} of {scale * self.before:.{digits}f} without the hot spots ({self.hot}; filled "
            f"by {self.fill}), {self.images} images",
            ("method", "area", "lost ↑", "elsewhere", "more", "95 %", "p, Holm"),
            [
                (
                    row.method, f"{100 * row.area.mean:.1f} %",
                    _signed(scale * row.drop.mean, digits),
                    _signed(scale * row.shifted_drop.mean, digits),
                    _signed(scale * row.excess.difference.mean, digits),
                    _range(row.excess.difference, scale, digits), f"{row.excess.p_holm:.2g}",
                )
                for row in self.rows
            ],
        )  # fmt: skip
        if self._probable:
            yield (
                "Predictions that change",
                ("method", "regions", "flips ↑", "95 %", "elsewhere", "95 %"),
                [
                    (
                        row.method, f"{row.regions:.1f}",
                        *_percent(row.flips), *_percent(row.shifted_flips),
                    )
                    for row in self.rows
                ],
            )  # fmt: skip

    @property
    def remarks(self) -> tuple[str, ...]:
        """The headlines, and what to know."""
        none = tuple(
            f"{row.method} marks no region on {row.without_regions} of {self.images} images, which "
            "count as ones that lose nothing."
            for row in self.rows
            if row.without_regions
        )
        said = caution([values[:, PARTS.index("drop")] for values in self.parts.values()])
        return (*self.headlines, *none, *self.notes, *((f"{said}.",) if said else ()))

    def __str__(self) -> str:
        """Table and headlines."""
        parts = ["\n".join((title, *_aligned(head, rows))) for title, head, rows in self.tables()]
        return printable("\n\n".join((*parts, "\n".join(self.remarks))), lines=True)

    def _repr_html_(self) -> str:
        """The same for notebooks."""
        tables = "".join(html_table(*table) for table in self.tables())
        return tables + html_table("", ("what it says",), [(one,) for one in self.remarks])


def _spread(count: int, wanted: int) -> list[int]:
    """Places of ``wanted`` of so many, from the first to the last."""
    return np.linspace(0, count - 1, min(count, wanted)).round().astype(int).tolist()


def _signed(value: float, digits: int) -> str:
    return f"{round(value, digits) + 0.0:+.{digits}f}"  # no -0.0


def _range(held: Interval, scale: float, digits: int) -> str:
    low, high = sorted((scale * held.low, scale * held.high))
    return f"[{_signed(low, digits)}, {_signed(high, digits)}]"


def _percent(held: Interval) -> tuple[str, str]:
    low, high = (f"{100 * end:.0f}" for end in (held.low, held.high))
    return f"{100 * held.mean:.0f} %", f"[{low}, {high}]"


def _aligned(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    for row in (head, *rows):
        cells = [
            text.rjust(width) if place else text.ljust(width)
            for place, (text, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  ".join(cells).rstrip()
