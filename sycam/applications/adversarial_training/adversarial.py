"""Attacked images beside the images as they were."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sycam.applications.pixels import PixelScale
from sycam.applications.tables import as_text
from sycam.data.images import ImageSet
from sycam.drawing.headings import shortened
from sycam.drawing.perturbations import Attacked, draw_perturbations
from sycam.drawing.plot import Plot, written
from sycam.errors import OptionError, RunError
from sycam.support.files import write_whole
from sycam.support.schema import to_plain
from sycam.support.text.html_table import html_table
from sycam.support.text.table import as_frame, csv_text
from sycam.support.text.terminal import json_text, printable

JSON_FILE, TABLE_FILE, IMAGES_FILE, PICTURE_FILE = (
    "attack.json", "attack.csv", "adversarial.npz", "attack.png",
)  # fmt: skip
SCHEMA = 1
COLUMNS = ("image", "label", "before", "after", "marked", "largest")
_DRAWN = 6
_LONGEST = 20  # characters of a class in a picture


@dataclass(frozen=True)
class AttackedRow:
    """One image.

    Attributes:
        image: its name.
        label: its class.
        before, after: the class predicted on it, and on the attacked image.
        marked: share of its pixels with the full budget.
        largest: how far any of its pixels was moved, as a share of the pixels' range.
    """

    image: str
    label: int
    before: int
    after: int
    marked: float
    largest: float


@dataclass(frozen=True)
class AdversarialImages:
    """Images that an attack moved.

    Attributes:
        network: that was attacked.
        attack: its name: ``"pgd-20"``.
        cam, layer: whose heatmaps decided the budgets; None where every pixel had the full one.
        eps, eps_low: budgets of marked and of other pixels, shares of the pixels' range.
        rows: one per image.
        images: as they were.
        adversarial: ``[N,C,H,W]`` the attacked ones, in the network's input scale.
        marked: bool ``[N,H,W]``.
        class_names: in the network's order, for pictures; None where they are not known.
    """

    network: str
    attack: str
    cam: str | None
    layer: str | None
    eps: float
    eps_low: float
    rows: tuple[AttackedRow, ...]
    images: ImageSet = field(repr=False, compare=False)
    adversarial: Tensor = field(repr=False, compare=False)
    marked: Tensor = field(repr=False, compare=False)
    class_names: tuple[str, ...] | None = field(default=None, repr=False, compare=False)

    @property
    def natural(self) -> float:
        """Share of the images that were classified as labelled."""
        return float(np.mean([row.before == row.label for row in self.rows]))

    @property
    def robust(self) -> float:
        """Share of the images that were, and still are when attacked."""
        return float(np.mean([row.label == row.before == row.after for row in self.rows]))

    def to_dict(self) -> dict[str, Any]:
        """Plain data, ready for JSON."""
        apart = ("images", "adversarial", "marked")
        names = [name for name in self.__dataclass_fields__ if name not in apart]
        plain = {name: to_plain(getattr(self, name)) for name in names}
        return {"schema": SCHEMA, "natural": self.natural, "robust": self.robust, **plain}

    def table(self) -> list[dict[str, Any]]:
        """A line per image, by the names in :data:`COLUMNS`."""
        return [to_plain(row) for row in self.rows]

    def to_pandas(self) -> Any:
        """The rows as a ``pandas.DataFrame`` with the columns :data:`COLUMNS`.

        Raises:
            OptionError: pandas is not installed.
        """
        return as_frame(COLUMNS, self.table())

    def plot(self, count: int = _DRAWN) -> Plot:
        """The first images: as they were, which pixels had the full budget, how each was moved,
        and as they are now.

        Raises:
            OptionError: no image is asked for.
        """
        if not isinstance(count, int) or count < 1:
            raise OptionError(f"count must be a whole number of at least 1, got {count!r}")
        shown = self.images.subset(range(min(count, len(self.rows))))
        size = len(shown)
        moved = ImageSet.from_arrays(
            self.adversarial[:size].cpu(), mean=shown.mean, std=shown.std, names=shown.names
        )
        scale = PixelScale(shown.mean, shown.std)
        away = scale.pixels(moved.images) - scale.pixels(shown.images.cpu())
        drawn = [
            Attacked(
                f"{self._class(row.label)}\npredicted: {self._class(row.before)}",
                f"attacked\npredicted: {self._class(row.after)}",
                shown.picture(i),
                moved.picture(i),
                _middle(self.marked[i]).numpy(),
                _middle(away[i].mean(0)).numpy() / self.eps,
            )
            for i, row in enumerate(self.rows[:size])
        ]
        title = f"{self.network}, {self.attack}, eps {255 * self.eps:.3g}/255"
        return Plot(draw_perturbations(drawn, title))

    def _class(self, number: int) -> str:
        known = self.class_names is not None and number < len(self.class_names)
        return shortened(self.class_names[number], _LONGEST) if known else f"class {number}"

    def save(self, folder: str | Path) -> Path:
        """Write ``adversarial.npz``, ``attack.json``, ``attack.csv`` and ``attack.png``.

        The archive has ``images`` as other commands read them, rounded to whole grey levels, with
        ``labels`` and ``ids``; and, exactly, ``adversarial`` float32 ``[N,C,H,W]`` in the network's
        input scale and ``marked``.

        Raises:
            RunError: they cannot be written.
        """
        folder = Path(folder)
        scale = PixelScale(self.images.mean, self.images.std)
        pixels = (scale.pixels(self.adversarial.cpu()) * 255).round().clamp(0, 255)
        # As other commands read them: pictures with their channels last, volumes as they are.
        pixels = pixels.to(torch.uint8)
        pixels = pixels.permute(0, 2, 3, 1) if pixels.ndim == 4 else pixels
        held = io.BytesIO()
        np.savez_compressed(
            held,
            images=pixels.numpy(),
            labels=np.array([row.label for row in self.rows], np.int64),
            ids=np.array([row.image for row in self.rows]),
            adversarial=self.adversarial.cpu().numpy(),
            marked=self.marked.cpu().numpy(),
        )
        text = json_text(self.to_dict(), ensure_ascii=False, indent=1) + "\n"
        try:
            write_whole(folder / IMAGES_FILE, held.getvalue(), within=folder)
            write_whole(folder / JSON_FILE, text, within=folder)
            write_whole(folder / TABLE_FILE, csv_text(COLUMNS, self.table()), within=folder)
        except OSError as error:
            raise RunError(f"cannot write into '{folder}': {error}") from None
        written(self.plot().figure, folder / PICTURE_FILE, within=folder)
        return folder

    def tables(self) -> Iterator[tuple[str, tuple[str, ...], list[tuple[str, ...]]]]:
        """Title, head and lines of the table that people are shown."""
        by = "every pixel" if self.cam is None else f"{self.cam} at {self.layer}"
        marked = float(np.mean([row.marked for row in self.rows]))
        yield (
            f"{self.network}, {len(self.rows)} images, {self.attack}",
            ("full budget", "of the pixels", "eps", "elsewhere", "right before", "right after"),
            [
                (
                    by, f"{marked:.0%}", f"{255 * self.eps:.3g}/255",
                    f"{255 * self.eps_low:.3g}/255", f"{self.natural:.3f}", f"{self.robust:.3f}",
                )
            ],
        )  # fmt: skip

    def __str__(self) -> str:
        return printable("\n\n".join(map(as_text, self.tables())), lines=True)

    def _repr_html_(self) -> str:
        return "".join(html_table(*table) for table in self.tables())


def _middle(values: Tensor) -> Tensor:
    """Of a volume ``[D,H,W]`` the slice in the middle; an image ``[H,W]`` as it is."""
    return (values[len(values) // 2] if values.ndim == 3 else values).cpu()
