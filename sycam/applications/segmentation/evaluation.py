"""A segmenter against true masks, beside its single exits, their mean, and CAMs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from sycam.applications.cams import Given, named
from sycam.applications.keeping import keep_result
from sycam.applications.segmentation.options import MaskOptions
from sycam.applications.segmentation.prediction import (
    DEEPEST,
    apart_from_training,
    blank_note,
    by_cam,
    opened,
)
from sycam.applications.segmentation.scores import CAM, DICE, FIGURES, OWN, MethodRow, rows_of
from sycam.applications.segmentation.segmenter import AME, Segmenter, check_shape
from sycam.applications.segmentation.subjects import images_of
from sycam.applications.tables import Table, as_text
from sycam.drawing.overlays import ImageRow, draw_grid, grid_figure
from sycam.drawing.plot import Plot
from sycam.errors import DataError
from sycam.events import Note, Notify, Stage, Step, each, ignore
from sycam.networks import NamedNetwork
from sycam.problem.images import Images, Masks
from sycam.report.pictures.image_rows import image_row
from sycam.report.progress import Watcher, console_of
from sycam.runs.recording import images_digest
from sycam.scoring.statistics import FEW, Interval
from sycam.support.options import with_keywords
from sycam.support.schema import Count, Figure, to_plain
from sycam.support.text.html_table import html_table
from sycam.support.text.table import as_frame
from sycam.support.text.terminal import printable

JSON_FILE, TABLE_FILE, PICTURE_FILE = "segmentation.json", "segmentation.csv", "segmentation.png"
SCHEMA = 1
COLUMNS = (
    "method", "kind", *(f"{figure}{end}" for figure in FIGURES for end in ("", "_low", "_high")),
    "best_dice", "best_threshold", "difference", "difference_low", "difference_high", "p_holm",
)  # fmt: skip
CAMS = ("grad-cam", "layer-cam")  # where none are named
_EXAMPLES = 5  # images of a picture
_HEATMAPS = 6  # columns of it


@dataclass(frozen=True)
class SegmentationScores:
    """Masks found, against true masks.

    Attributes:
        segmenter: name of its encoder.
        images: how many have a mask that marks something; of these are the figures.
        unmarked: how many others there are.
        threshold, gated: how masks were cut.
        seen: share of the marked images in which the classifier sees the object.
        false_alarms: share of the others in which it does; NaN where there are none.
        rows: AME-CAM, then the best Dice first.
        notes: what to know.
        examples: images from AME-CAM's best Dice to its worst.
    """

    segmenter: str
    images: Count
    unmarked: Count
    threshold: Figure
    gated: bool
    seen: Figure
    false_alarms: Figure
    rows: tuple[MethodRow, ...]
    notes: tuple[str, ...]
    examples: tuple[ImageRow, ...] = field(default=(), repr=False, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, ready for JSON; NaN is None."""
        names = [name for name in self.__dataclass_fields__ if name != "examples"]
        return {"schema": SCHEMA, **{name: to_plain(getattr(self, name)) for name in names}}

    def table(self) -> list[dict[str, Any]]:
        """A line per method, by the names in :data:`COLUMNS`."""
        lines = []
        for row in self.rows:
            line: dict[str, Any] = {"method": row.method, "kind": row.kind}
            for figure in FIGURES:
                held: Interval = getattr(row, figure)
                line |= {figure: held.mean, f"{figure}_low": held.low, f"{figure}_high": held.high}
            line |= {"best_dice": row.best_dice, "best_threshold": row.best_threshold}
            if row.against is not None:
                apart = row.against.difference
                line |= {
                    "difference": apart.mean, "difference_low": apart.low,
                    "difference_high": apart.high, "p_holm": row.against.p_holm,
                }  # fmt: skip
            lines.append(line)
        return [{name: line.get(name) for name in COLUMNS} for line in lines]

    def to_pandas(self) -> Any:
        """The rows as a ``pandas.DataFrame`` with the columns :data:`COLUMNS`.

        Raises:
            OptionError: pandas is not installed.
        """
        return as_frame(COLUMNS, self.table())

    def plot(self) -> Plot:
        """Images from the best to the worst, with the heatmaps and the true masks' contours."""
        return Plot(grid_figure(self.examples, self._title))

    def save(self, folder: str | Path) -> Path:
        """Write ``segmentation.json``, ``segmentation.csv`` and ``segmentation.png``.

        Raises:
            RunError: they cannot be written.
        """
        folder = Path(folder)
        keep_result(folder / JSON_FILE, self.to_dict(), folder / TABLE_FILE, COLUMNS, self.table())
        draw_grid(self.examples, folder / PICTURE_FILE, self._title, within=folder)
        return folder

    @property
    def _title(self) -> str:
        return f"{self.segmenter}: {self.images} images with masks, cut at {self.threshold:g}" + (
            ", empty where no object is seen" if self.gated else ""
        )

    def tables(self) -> Iterator[Table]:
        """Title, head and lines of the tables that people are shown."""
        yield (
            self._title,
            ("method", "dice ↑", "iou ↑", "hd95 ↓"),
            [
                (row.method, _said(row.dice), _said(row.iou), _said(row.hd95, 1))
                for row in self.rows
            ],
        )
        yield (
            "Dice at the threshold that suits these images best, and AME-CAM's Dice less theirs",
            ("method", "best dice", "at", "AME-CAM less it", "p, Holm"),
            [
                (row.method, f"{row.best_dice:.3f}", f"{row.best_threshold:g}", *_against(row))
                for row in self.rows
            ],
        )

    @property
    def remarks(self) -> tuple[str, ...]:
        """What the classifier does, and what to know."""
        alarms = (
            f", and in {self.false_alarms:.0%} of {self.unmarked} without" if self.unmarked else ""
        )
        told = (
            f"The classifier sees the object in {self.seen:.0%} of the images with a mask{alarms}."
        )
        few = (
            f"{self.images} images are few: intervals may cover the true figure less often than "
            f"they say; give {FEW} or more.",
        )
        return (told, *self.notes, *(few if self.images < FEW else ()))

    def __str__(self) -> str:
        parts = [as_text(table) for table in self.tables()]
        return printable("\n\n".join((*parts, "\n".join(self.remarks))), lines=True)

    def _repr_html_(self) -> str:
        tables = "".join(html_table(*table) for table in self.tables())
        return tables + html_table("Remarks", ("what to know",), [(one,) for one in self.remarks])


def segmentation_scores(  # noqa: PLR0913 (public)
    segmenter: Segmenter | str | Path,
    images: Images,
    cams: Sequence[Given] | Given = CAMS,
    *,
    masks: Masks | None = None,
    layer: str = DEEPEST,
    how: MaskOptions = MaskOptions(),
    network: nn.Module | str | NamedNetwork | None = None,
    count: int | None = None,
    seed: int = 0,
    device: str | torch.device | None = None,
    out: str | Path | None = None,
    progress: bool | None = None,
    notify: Notify = ignore,
    **options: Any,
) -> SegmentationScores:
    """Dice, IoU and HD95 of a segmenter, its exits, their mean, and CAMs of its classifier.

    Args:
        segmenter, layer, how, network, count, seed, device, progress, notify, options: as for
            :func:`segment`.
        images: with masks; those that the segmenter was trained on are left out. ``"demo"`` is
            256 held-out scenes, every second one without a digit.
        cams: names of ``sycam methods`` (``"layer-cam@layer4"`` at a layer of the encoder),
            formulas, folders of runs or their results, whose winners are meant.
        masks: ``[N,H,W]`` beside images that are a tensor.
        out: a folder for ``segmentation.json``, ``.csv`` and ``.png``; nothing is written if None.

    Returns:
        A table with intervals and tests, and a picture; it prints itself.

    Raises:
        SycamError: for anything given that cannot be used; the message says how to mend it.
    """
    (how,) = with_keywords(options, how)
    asked = named(cams)
    with Watcher(console_of(progress)) as watch:
        notify = each(watch, notify)
        trained = opened(segmenter, network, device)
        found = images_of(images, None, masks, trained.known, count, seed, "heldout", notify)
        check_shape(trained, found.shape)
        found, left = apart_from_training(found, trained)
        if left:
            notify(Note(left))
        if found.masks is None or not found.marked:
            raise DataError(
                "no image has a mask that marks anything, and masks are what is judged by; give "
                "images with masks"
            )
        logits = trained.logits(found.images).double().cpu().numpy()
        inside = np.zeros(len(found), dtype=bool)
        inside[found.marked] = True
        some = found.subset(found.marked)
        notify(Stage("Computing heatmaps", 1 + len(asked)))
        heatmaps = {title: (OWN, h) for title, h in trained.heatmaps(some.images).items()}
        notify(Step(1))
        for done, one in enumerate(asked, 2):
            title, heat = by_cam(trained, one, layer, some.images)
            heatmaps[title] = CAM, heat
            notify(Step(done))
        rows = rows_of(heatmaps, logits[inside], some.masks.cpu().numpy(), how, seed)
    own = images_digest(found)
    notes = tuple(
        f"{one.method.name} was chosen on images that may be among these, so its figures may be "
        "too high."
        for one in asked
        if one.run and one.run.record.data.heldout_digest != own
    )
    blank = (blank_note(title, heat) for title, (_, heat) in heatmaps.items())
    result = SegmentationScores(
        segmenter=trained.facts.network,
        images=int(inside.sum()),
        unmarked=int((~inside).sum()),
        threshold=how.threshold,
        gated=how.gated,
        seen=float((logits[inside] > 0).mean()),
        false_alarms=float((logits[~inside] > 0).mean()) if not inside.all() else float("nan"),
        rows=rows,
        notes=(*notes, *filter(None, blank)),
        examples=_examples(rows, {title: heat for title, (_, heat) in heatmaps.items()}, some),
    )
    if out is not None:
        result.save(out)
    return result


def _examples(
    rows: Sequence[MethodRow], heatmaps: dict[str, np.ndarray], images: Any
) -> tuple[ImageRow, ...]:
    """Images from AME-CAM's best Dice to its worst, evenly spread by rank."""
    order = np.argsort(rows[0].scores, kind="stable")[::-1]
    places = np.linspace(0, len(order) - 1, min(_EXAMPLES, len(order))).round().astype(int)
    shown = [row.method for row in rows if row.method == AME or row.kind == CAM]
    shown += [row.method for row in rows if row.method not in shown]
    found = []
    for i in map(int, order[places]):
        figures = {row.method: f"{DICE} {row.scores[i]:.3f}" for row in rows}
        heat = {title: heatmaps[title][i] for title in shown[:_HEATMAPS]}
        found.append(image_row(images, i, Path(images.names[i]).name, heat, figures))
    return tuple(found)


def _said(held: Interval, digits: int = 3) -> str:
    return f"{held.mean:.{digits}f} [{held.low:.{digits}f}, {held.high:.{digits}f}]"


def _against(row: MethodRow) -> tuple[str, str]:
    if row.against is None:
        return "", ""
    apart = row.against.difference
    return (
        f"{apart.mean:+.3f} [{apart.low:+.3f}, {apart.high:+.3f}]",
        f"{row.against.p_holm:.2g}",
    )
