"""Masks of images by a trained segmenter: its own heatmaps, or any CAM of its classifier."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from PIL import Image
from torch import nn

from sycam.applications.cams import Given, Named, named
from sycam.applications.segmentation.exits import ENCODER
from sycam.applications.segmentation.options import MaskOptions
from sycam.applications.segmentation.segmenter import AME, Segmenter, check_shape
from sycam.applications.segmentation.subjects import images_of
from sycam.applications.tables import Table, as_text
from sycam.data.images import ImageSet
from sycam.drawing.overlays import ImageRow, draw_grid, grid_figure
from sycam.drawing.plot import Plot
from sycam.errors import BlankHeatmapWarning, DataError, OptionError, RunError
from sycam.events import Note, Notify, Stage, each, ignore
from sycam.language import parse_weights
from sycam.methods import CAM, Method
from sycam.networks import NamedNetwork
from sycam.networks.output_forms import LOGITS
from sycam.problem.images import Images
from sycam.report.pictures.image_rows import image_row
from sycam.report.pictures.saved import distinct_stems
from sycam.report.progress import Watcher, console_of
from sycam.support.arguments import argument
from sycam.support.files import write_whole
from sycam.support.options import with_keywords
from sycam.support.text.html_table import html_table
from sycam.support.text.table import as_frame, csv_text
from sycam.support.text.terminal import printable

TABLE_FILE, ARRAYS_FILE, PICTURE_FILE, MASKS = "masks.csv", "masks.npz", "masks.png", "masks"
COLUMNS = ("image", "probability", "area")
DEEPEST = "auto"  # the layer of the deepest exit
_SHOWN = 8  # images of a picture, lines of a table


@dataclass(frozen=True)
class Segmentation:
    """Masks of N images.

    Attributes:
        method: whose heatmaps: ``"AME-CAM"`` or a CAM with its layer.
        threshold: pixels at least so hot are the object.
        gated: whether an image in which the classifier sees no object has an empty mask.
        images: those that were segmented.
        probabilities: ``[N]`` that an image shows the object.
        heatmaps: float32 ``[N,H,W]`` in [0, 1].
        masks: bool ``[N,H,W]``.
    """

    method: str
    threshold: float
    gated: bool
    images: ImageSet = field(repr=False)
    probabilities: np.ndarray = field(repr=False)
    heatmaps: np.ndarray = field(repr=False)
    masks: np.ndarray = field(repr=False)

    def table(self) -> list[dict[str, Any]]:
        """A line per image, by the names in :data:`COLUMNS`; ``area`` is the mask's share."""
        areas = self.masks.mean((1, 2))
        rows = zip(self.images.names, self.probabilities.tolist(), areas.tolist(), strict=True)
        return [dict(zip(COLUMNS, row, strict=True)) for row in rows]

    def to_pandas(self) -> Any:
        """The images as a ``pandas.DataFrame`` with the columns :data:`COLUMNS`.

        Raises:
            OptionError: pandas is not installed.
        """
        return as_frame(COLUMNS, self.table())

    def to_dict(self) -> dict[str, Any]:
        """Plain data, ready for JSON; without heatmaps and masks."""
        return {
            "method": self.method, "threshold": self.threshold, "gated": self.gated,
            "images": self.table(),
        }  # fmt: skip

    def rows(self) -> list[ImageRow]:
        """What a picture shows: the first images with heatmaps and masks."""
        return [
            image_row(
                self.images, i, f"{Path(self.images.names[i]).name}\np {self.probabilities[i]:.2f}",
                {self.method: self.heatmaps[i], "mask": self.masks[i].astype(np.float32)}, {},
            )
            for i in range(min(len(self.images), _SHOWN))
        ]  # fmt: skip

    def plot(self) -> Plot:
        """A picture of the first images."""
        return Plot(grid_figure(self.rows(), self._title))

    def save(self, folder: str | Path) -> Path:
        """Write ``masks.csv``, ``masks.npz`` (``masks``, ``heatmaps``, ``names``), a PNG of each
        mask (0 and 255) into ``masks/``, and ``masks.png``, a picture.

        Raises:
            RunError: they cannot be written.
        """
        folder = Path(folder)
        arrays: dict[str, Any] = {"masks": self.masks, "heatmaps": self.heatmaps,
                  "names": np.array(self.images.names, dtype=str)}  # fmt: skip
        try:
            folder.mkdir(parents=True, exist_ok=True)
            write_whole(folder / TABLE_FILE, csv_text(COLUMNS, self.table()), within=folder)
            write_whole(
                folder / ARRAYS_FILE, lambda f: np.savez_compressed(f, **arrays), within=folder
            )
            stems = distinct_stems([Path(name).name for name in self.images.names])
            for stem, mask in zip(stems, self.masks, strict=True):
                pixels = Image.fromarray(mask.astype(np.uint8) * 255)
                write = partial(_write_png, pixels)
                write_whole(folder / MASKS / f"{stem}.png", write, within=folder, sync=False)
        except OSError as error:
            raise RunError(f"cannot write into '{folder}': {error}") from None
        draw_grid(self.rows(), folder / PICTURE_FILE, self._title, within=folder)
        return folder

    def tables(self) -> Iterator[Table]:
        """Title, head and lines of the tables that people are shown."""
        rows = self.table()
        more = f", the first {_SHOWN}" if len(rows) > _SHOWN else ""
        yield (
            f"{self._title}: {len(rows)} images{more}",
            ("image", "probability", "area"),
            [
                (row["image"], f"{row['probability']:.3f}", f"{row['area']:.1%}")
                for row in rows[:_SHOWN]
            ],
        )

    @property
    def _title(self) -> str:
        gate = ", empty where no object is seen" if self.gated else ""
        return f"Masks by {self.method} at {self.threshold:g}{gate}"

    def __str__(self) -> str:
        return printable("\n\n".join(map(as_text, self.tables())), lines=True)

    def _repr_html_(self) -> str:
        return "".join(html_table(*table) for table in self.tables())


def _write_png(image: Image.Image, file: BinaryIO) -> None:
    image.save(file, format="PNG")


def segment(  # noqa: PLR0913 (public)
    segmenter: Segmenter | str | Path,
    images: Images,
    cam: Given | None = None,
    *,
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
) -> Segmentation:
    """Masks of images.

    Args:
        segmenter: of :func:`sycam.applications.train_segmenter`, or its folder.
        images: as for :func:`sycam.evaluate`; no labels are needed. ``"demo"`` is 256 held-out
            scenes, every second one without a digit.
        cam: in place of the attended map a CAM of the segmenter's classifier: a name of ``sycam
            methods``, a formula, the folder of a run or its result, whose winner is meant.
        layer: of the encoder, where the CAM stands if it names none; that of the deepest exit if
            ``"auto"``.
        how: threshold and gate.
        network: the encoder, see :meth:`Segmenter.load`.
        count: how many of the images, drawn by the seed; all if None.
        seed: of the sample.
        device: where to; CUDA where there is one if None.
        out: a folder for masks, table and picture; nothing is written if None.
        progress: show a bar; in a terminal and in a notebook if None.
        notify: is told of the progress.
        options: single options by their names: ``threshold=0.4``.

    Returns:
        Masks and heatmaps; it prints itself.

    Raises:
        SycamError: for anything given that cannot be used; the message says how to mend it.
    """
    (how,) = with_keywords(options, how)
    with Watcher(console_of(progress)) as watch:
        notify = each(watch, notify)
        trained = opened(segmenter, network, device)
        asked = None if cam is None else named(cam)
        if asked is not None and len(asked) != 1:
            raise OptionError(f"{argument('cam')} must be one CAM, got {len(asked)}")
        found = images_of(images, None, None, trained.known, count, seed, "heldout", notify)
        check_shape(trained, found.shape)
        notify(Stage("Segmenting", None))
        logits = trained.logits(found.images).double().cpu().numpy()
        if asked is None:
            title, heat = AME, trained.heatmaps(found.images)[AME]
        else:
            title, heat = by_cam(trained, asked[0], layer, found.images)
        if note := blank_note(title, heat):
            notify(Note(note))
    masks = masks_of(heat, logits, how)
    probabilities = 1 / (1 + np.exp(-logits))
    result = Segmentation(title, how.threshold, how.gated, found, probabilities, heat, masks)
    if out is not None:
        result.save(out)
    return result


def masks_of(heat: np.ndarray, logits: np.ndarray, how: MaskOptions) -> np.ndarray:
    """bool ``[N,H,W]``.

    Args:
        heat: ``[N,H,W]`` in [0, 1].
        logits: ``[N]`` of the object.
        how: threshold and gate.
    """
    masks = heat >= how.threshold
    return masks & (logits > 0)[:, None, None] if how.gated else masks


def opened(
    segmenter: Segmenter | str | Path,
    network: nn.Module | str | NamedNetwork | None,
    device: str | torch.device | None,
) -> Segmenter:
    """The segmenter, from its folder where that is given."""
    if isinstance(segmenter, Segmenter):
        return segmenter
    return Segmenter.load(segmenter, network, device)


def by_cam(
    segmenter: Segmenter, cam: Named, layer: str, images: torch.Tensor
) -> tuple[str, np.ndarray]:
    """A CAM of the segmenter's classifier for the object: its title, and float32 ``[N,H,W]``.

    Args:
        segmenter: whose classifier is explained.
        cam: at layers of the encoder.
        layer: where it stands if it names none; see :func:`segment`.
        images: ``[N,C,H,W]``.

    Raises:
        SycamError: it cannot stand there.
    """
    place = segmenter.facts.layers[-1] if layer == DEEPEST else layer
    method = _within(cam.method)
    if method.sites:
        title, made = cam.method.name, CAM(segmenter.classifier, method, output=LOGITS)
    else:
        reshapes = dict(zip(segmenter.facts.layers, segmenter.facts.reshapes, strict=True))
        title = f"{cam.method.name}@{place}"
        made = CAM(
            segmenter.classifier, f"{ENCODER}.{place}", method, reshapes.get(place), output=LOGITS
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BlankHeatmapWarning)  # said by blank_note
        # Of one output it explains that, whatever its sign.
        return title, made(images).float().cpu().numpy()


def blank_note(title: str, heat: np.ndarray) -> str | None:
    """What to know where heatmaps ``[N,H,W]`` show nothing."""
    blank = int((heat.max((1, 2)) <= 0).sum())
    if not blank:
        return None
    return f"{blank} of {len(heat)} heatmaps of {title} are blank, so that their masks are empty."


def _within(method: Method) -> Method:
    """The method at the encoder's layers as the network with exits calls them."""
    if not method.sites:
        return method
    if method.expression is None:
        return replace(method, site=f"{ENCODER}.{method.site}")
    text = str(method.expression)
    for site in method.sites:
        text = text.replace(f"cam[{site}]", f"cam[{ENCODER}.{site}]")
    return replace(method, expression=parse_weights(text))


def apart_from_training(images: ImageSet, segmenter: Segmenter) -> tuple[ImageSet, str | None]:
    """The images that the segmenter was not trained on, and a note of those left out.

    Raises:
        DataError: all of them were.
    """
    seen = set(segmenter.facts.digests)
    kept = [i for i, digest in enumerate(images.digests) if digest not in seen]
    if not kept:
        raise DataError(f"all {len(images)} images were trained on; give others")
    if len(kept) == len(images):
        return images, None
    left = len(images) - len(kept)
    return images.subset(kept), f"{left} of {len(images)} images left out: they were trained on"
