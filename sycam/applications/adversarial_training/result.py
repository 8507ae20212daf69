"""What came of adversarial training: the network, its epochs, its accuracies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from sycam.applications.adversarial_training.accuracy import RobustAccuracy
from sycam.applications.adversarial_training.epochs import EpochRow
from sycam.applications.keeping import keep_result
from sycam.applications.tables import as_text
from sycam.support.schema import Count, to_plain
from sycam.support.text.html_table import html_table
from sycam.support.text.table import as_frame
from sycam.support.text.terminal import printable

JSON_FILE, TABLE_FILE = "training.json", "epochs.csv"
SCHEMA = 1
COLUMNS = ("epoch", "loss", "attacked_accuracy", "marked", "learning_rate")
_SHOWN = 6  # epochs that are printed


@dataclass(frozen=True)
class PartResult:
    """A network that was trained adversarially.

    Attributes:
        title: what it was trained by: ``"PART with grad-cam"``.
        network: its name.
        cam: whose heatmaps decided the budgets; None for the full budget everywhere.
        layer: at which it stands.
        images: on how many images it was trained.
        settings: what decided the training, plain data.
        epochs: a row for each.
        accuracy: on the test images; None where none were given.
        module: the trained network, a copy of the one that was given.
        path: the folder where weights and tables are kept.
    """

    title: str
    network: str
    cam: str | None
    layer: str | None
    images: Count
    settings: Mapping[str, Any]
    epochs: tuple[EpochRow, ...]
    accuracy: RobustAccuracy | None
    module: nn.Module = field(repr=False, compare=False)
    path: Path | None = field(default=None, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, ready for JSON."""
        apart = ("module", "path", "accuracy")
        names = [name for name in self.__dataclass_fields__ if name not in apart]
        plain = {name: to_plain(getattr(self, name)) for name in names}
        accuracy = None if self.accuracy is None else self.accuracy.to_dict()
        return {"schema": SCHEMA, **plain, "accuracy": accuracy}

    def table(self) -> list[dict[str, Any]]:
        """A line per epoch, by the names in :data:`COLUMNS`."""
        return [to_plain(row) for row in self.epochs]

    def to_pandas(self) -> Any:
        """The epochs as a ``pandas.DataFrame`` with the columns :data:`COLUMNS`.

        Raises:
            OptionError: pandas is not installed.
        """
        return as_frame(COLUMNS, self.table())

    def save(self, folder: Path) -> None:
        """Write ``training.json`` and ``epochs.csv``.

        Raises:
            RunError: they cannot be written.
        """
        keep_result(folder / JSON_FILE, self.to_dict(), folder / TABLE_FILE, COLUMNS, self.table())

    def tables(self) -> Iterator[tuple[str, tuple[str, ...], list[tuple[str, ...]]]]:
        """Title, head and lines of the tables that people are shown."""
        rows = self.epochs
        if len(rows) > _SHOWN:
            places = {round(i * (len(rows) - 1) / (_SHOWN - 1)) for i in range(_SHOWN)}
            rows = tuple(row for i, row in enumerate(rows) if i in places)
        yield (
            f"{self.title}: {self.network}, {self.images} images",
            ("epoch", "loss", "accuracy under attack", "full budget", "learning rate"),
            [
                (
                    str(row.epoch), f"{row.loss:.4f}", f"{row.attacked_accuracy:.3f}",
                    f"{row.marked:.0%}", f"{row.learning_rate:g}",
                )
                for row in rows
            ],
        )  # fmt: skip
        if self.accuracy is not None:
            yield from self.accuracy.tables()

    def __str__(self) -> str:
        return printable("\n\n".join(map(as_text, self.tables())), lines=True)

    def _repr_html_(self) -> str:
        return "".join(html_table(*table) for table in self.tables())
