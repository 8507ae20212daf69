"""A trained segmenter: what it computes, and its two files."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from sycam.applications.checkpoints import apart, read_file
from sycam.applications.segmentation.attention import ExitAttention
from sycam.applications.segmentation.exits import (
    ExitPlace,
    MultiExit,
    between_extremes,
    scaled,
)
from sycam.applications.segmentation.polarity import turned
from sycam.applications.segmentation.training import PHASES, EpochRow, Network
from sycam.applications.tables import Table, as_text
from sycam.data.names import DEMO
from sycam.data.preprocessing import Preprocessing
from sycam.errors import DataError, RunError
from sycam.networks import LIBRARIES, NamedNetwork, open_network
from sycam.networks.layouts.reshaping import CHANNELS_LAST, TOKENS
from sycam.networks.untouched import copied, device_of, moved
from sycam.problem.devices import device_for
from sycam.scoring.statistics import Interval
from sycam.support.bounded_json import SchemaError, read_json
from sycam.support.files import TABLE, write_whole
from sycam.support.schema import Bounds, Count, from_plain, to_plain
from sycam.support.text.html_table import html_table
from sycam.support.text.table import as_frame, csv_text
from sycam.support.text.terminal import json_text, printable

WEIGHTS_FILE, JSON_FILE, TABLE_FILE = "segmenter.safetensors", "segmenter.json", "epochs.csv"
SCHEMA = 1
COLUMNS = ("phase", "epoch", "loss", "accuracy", "learning_rate")
AME, MEAN = "AME-CAM", "mean of exits"
_BATCH = 32
_SHOWN = 4  # epochs of a phase that are printed
_Positive = Annotated[int, Bounds(1, 2**31)]


def exit_title(layer: str) -> str:
    """How the heatmap of one exit alone is called."""
    return f"exit at {layer}"


@dataclass(frozen=True)
class Polarity:
    """Which side of a heatmap is the object.

    Attributes:
        heatmap: :data:`AME`, :data:`MEAN` or an exit's title.
        sign: 1 where hot pixels are, -1 where cold ones are.
        evidence: mean over the training images with the object, in units of the logit, see
            :func:`sycam.applications.segmentation.polarity.class_evidence`.
    """

    heatmap: str
    sign: Annotated[int, Bounds(-1, 1)]
    evidence: Interval


@dataclass(frozen=True)
class Facts:
    """What is known of a trained segmenter, kept as JSON.

    Attributes:
        network: name of the encoder.
        source: the text that opens it; None for a module from Python.
        layers: of the exits, in the order in which they run.
        channels: of these layers.
        reshapes: their layouts; None where they are maps.
        shape: ``(C, H, W)`` of the images.
        foreground: classes that show the object.
        images, shown: how many images it was trained on, and how many of them show the object.
        settings: what decided the training, plain data.
        epochs: a row for each.
        polarities: of attention, mean and each exit.
        digests: SHA-256 of each training image, by which it is known again.
    """

    network: str
    source: str | None
    layers: tuple[str, ...]
    channels: tuple[_Positive, ...]
    reshapes: tuple[str | None, ...]
    shape: tuple[_Positive, ...]
    foreground: tuple[str, ...]
    images: Count
    shown: Count
    settings: Mapping[str, Any]
    epochs: tuple[EpochRow, ...]
    polarities: tuple[Polarity, ...]
    digests: tuple[str, ...] = field(repr=False)

    @property
    def places(self) -> tuple[ExitPlace, ...]:
        """Of the exits."""
        return tuple(map(ExitPlace, self.layers, self.channels, self.reshapes))


@dataclass(frozen=True, eq=False)
class Segmenter:
    """Exits and their attention, trained on image labels.

    Attributes:
        network: in evaluation mode, on its device.
        facts: what is known of it.
        preprocessing: what the encoder expects of pictures; None where nothing says so.
        path: the folder where it is kept; None where it is not.
    """

    network: Network
    facts: Facts
    preprocessing: Preprocessing | None = None
    path: Path | None = None

    @property
    def classifier(self) -> MultiExit:
        """The encoder with exits, a network with one output: any CAM explains it."""
        return self.network.exits

    @property
    def known(self) -> NamedNetwork:
        """The classifier with what is known of its images."""
        return NamedNetwork(
            self.classifier, self.facts.network, None, preprocessing=self.preprocessing
        )

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return device_of(self.network)

    @torch.no_grad()
    def logits(self, images: Tensor) -> Tensor:
        """``[N]`` for the object, of the deepest exit."""
        return self.classifier.logit(images.to(self.device))

    def heatmaps(self, images: Tensor) -> dict[str, np.ndarray]:
        """By their titles, float32 ``[N,H,W]``: the attended map, the mean of the exits' scaled
        maps, and each of these, all with the object hot and between 0 and 1, their extremes.

        Args:
            images: ``[N,C,H,W]`` in the network's input scale.

        Raises:
            DataError: images of another size or other channels than those trained on.
        """
        check_shape(self, tuple(images.shape[1:]))
        signs = {one.heatmap: one.sign for one in self.facts.polarities}
        parts = [
            {name: turned(heat, signs.get(name, 1)).cpu().numpy() for name, heat in batch.items()}
            for batch in raw_heatmaps(self.network, images)
        ]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    @classmethod
    def load(
        cls,
        folder: str | Path,
        network: nn.Module | str | NamedNetwork | None = None,
        device: str | torch.device | None = None,
    ) -> Segmenter:
        """What :func:`sycam.applications.train_segmenter` kept.

        Args:
            folder: of the training.
            network: the encoder, whose weights are those of the folder afterwards; needed where
                it comes from Python or from a file of yours: nothing that a folder names is run.
            device: where to; CUDA where there is one if None.

        Raises:
            RunError: it is not there, broken, or another encoder's.
        """
        folder = Path(folder)
        try:
            read = read_json(folder / JSON_FILE, TABLE)
            data = read_file(folder / WEIGHTS_FILE)
        except FileNotFoundError:
            raise RunError(f"no trained segmenter in '{folder}': sycam segment train") from None
        except (OSError, ValueError, SchemaError) as error:
            raise RunError(f"cannot read the segmenter in '{folder}': {error}") from None
        try:
            facts = from_plain(Facts, read, JSON_FILE)
            tensors = load_tensors(data)
        except Exception as error:  # a broken archive raises nearly anything
            raise RunError(f"the segmenter in '{folder}' is broken: {error}") from None
        for text in facts.reshapes:
            if text is not None and text != CHANNELS_LAST and not re.match(rf"{TOKENS}:", text):
                raise RunError(f"the segmenter in '{folder}' has an unknown layout {text[:80]!r}")
        known = open_network(_encoder(facts, folder) if network is None else network)
        made = assembled(copied(known.module), facts.places, facts.shape[0])
        try:
            made.load_state_dict(tensors)
        except RuntimeError as error:
            reason = str(error).splitlines()[-1].strip()
            raise RunError(
                f"the weights in '{folder}' are not those of {known.name} with exits at "
                f"{', '.join(facts.layers)}: {reason}"
            ) from None
        moved(made, device_for(device, made)).eval()
        return cls(made.requires_grad_(False), facts, known.preprocessing, folder)

    def save(self, folder: Path) -> None:
        """Write ``segmenter.safetensors``, ``segmenter.json`` and ``epochs.csv``.

        Raises:
            RunError: they cannot be written.
        """
        tensors = apart(self.network.state_dict())
        text = json_text(self.to_dict(), ensure_ascii=False, indent=1) + "\n"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            write_whole(folder / WEIGHTS_FILE, save_tensors(tensors), within=folder)
            write_whole(folder / TABLE_FILE, csv_text(COLUMNS, self.table()), within=folder)
            write_whole(folder / JSON_FILE, text, within=folder)
        except OSError as error:
            raise RunError(f"cannot write into '{folder}': {error}") from None

    def to_dict(self) -> dict[str, Any]:
        """Plain data, ready for JSON."""
        return {"schema": SCHEMA, **to_plain(self.facts)}

    def table(self) -> list[dict[str, Any]]:
        """A line per epoch, by the names in :data:`COLUMNS`."""
        return [to_plain(row) for row in self.facts.epochs]

    def to_pandas(self) -> Any:
        """The epochs as a ``pandas.DataFrame`` with the columns :data:`COLUMNS`.

        Raises:
            OptionError: pandas is not installed.
        """
        return as_frame(COLUMNS, self.table())

    def tables(self) -> Iterator[Table]:
        """Title, head and lines of the tables that people are shown."""
        facts = self.facts
        yield (
            f"{facts.network}, {facts.images} images, {facts.shown} with "
            f"{' or '.join(facts.foreground)}; exits at {', '.join(facts.layers)}",
            ("phase", "epoch", "loss", "accuracy"),
            [
                (row.phase, str(row.epoch), f"{row.loss:.4f}", f"{row.accuracy:.3f}")
                for phase in PHASES
                for row in _some([row for row in facts.epochs if row.phase == phase])
            ],
        )
        yield (
            "Polarity, by the class evidence of hot pixels less that of cold ones",
            ("heatmap", "object is", "evidence, logit"),
            [
                (
                    one.heatmap,
                    "hot" if one.sign > 0 else "cold",
                    f"{one.evidence.mean:+.2f} [{one.evidence.low:+.2f}, {one.evidence.high:+.2f}]",
                )
                for one in facts.polarities
            ],
        )

    def __str__(self) -> str:
        return printable("\n\n".join(map(as_text, self.tables())), lines=True)

    def _repr_html_(self) -> str:
        return "".join(html_table(*table) for table in self.tables())


def assembled(encoder: nn.Module, places: tuple[ExitPlace, ...], channels: int) -> Network:
    """Exits on an encoder, which is taken as it is, and attention over them, not yet trained."""
    return Network(MultiExit(encoder, places), ExitAttention(len(places), channels))


@torch.no_grad()
def raw_heatmaps(network: Network, images: Tensor) -> Iterator[dict[str, Tensor]]:
    """Of each batch ``[n,H,W]`` by title, before polarity: see :meth:`Segmenter.heatmaps`."""
    exits, device = network.exits, device_of(network)
    for part in images.split(_BATCH):
        part = part.to(device)
        maps = scaled(exits.maps(exits.features(part)), part.shape[-2:])
        single = {exit_title(place.layer): maps[:, e] for e, place in enumerate(exits.places)}
        oriented = network.oriented(maps)
        joined = {AME: network.attention(oriented, part), MEAN: oriented.mean(1)}
        yield {name: between_extremes(heat) for name, heat in joined.items()} | single


def check_shape(segmenter: Segmenter, shape: tuple[int, ...]) -> None:
    """DataError where images have another shape than those trained on."""
    wanted = tuple(segmenter.facts.shape)
    if shape != wanted:
        raise DataError(
            f"the images are {shape}, and the segmenter was trained on {wanted}; read them as "
            "those were (size)"
        )


def _encoder(facts: Facts, folder: Path) -> str:
    source = facts.source
    if source is not None and (source == DEMO or source.startswith(tuple(LIBRARIES))):
        return source
    called = "a module from Python" if source is None else source
    raise RunError(
        f"the encoder of the segmenter in '{folder}' is {called}, and nothing that a folder names "
        "is run: name it yourself (network)"
    )


def _some(rows: list[EpochRow]) -> list[EpochRow]:
    if len(rows) <= _SHOWN:
        return rows
    return [rows[round(i * (len(rows) - 1) / (_SHOWN - 1))] for i in range(_SHOWN)]
