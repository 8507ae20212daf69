"""Images that a worker reads and measures itself: where they lie, or their pixels."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor

from sycam.data.image_set import ImageSet, image_digest
from sycam.data.images import open_images
from sycam.data.pictures import UnreadablePictureError
from sycam.data.reader import Reader
from sycam.data.streamed import StreamedImages
from sycam.errors import SycamError
from sycam.events import ignore
from sycam.problem.explained_network import ExplainedNetwork
from sycam.workers.parcels import Parcel
from sycam.workers.shards import FACTS, facts_of, shard_bytes

_FILES = "source", "masks", "boxes"  # of an origin's arguments


@dataclass(frozen=True)
class Unmeasured:
    """A few images, and what is to be measured of them.

    Attributes:
        leaves: to be measured beside activations and gradients.
        gradients: whether they are measured in any case.
        digests: of the images.
        labels: their classes, or None.
        origin: by which :func:`sycam.data.images.open_images` reads them, as JSON; or None.
        names: by which they are found there.
        masked: whether they have masks.
        pixels: content, where there is no origin.
        digest: of all this.
    """

    leaves: tuple[str, ...]
    gradients: bool
    digests: tuple[str, ...]
    labels: tuple[int, ...] | None
    origin: str | None
    names: tuple[str, ...]
    masked: bool
    pixels: Parcel | None
    digest: str = ""

    @classmethod
    def of(
        cls, images: ImageSet, leaves: Iterable[str], gradients: bool, folder: Path
    ) -> Unmeasured:
        """Images as workers get them; pixels that lie nowhere else are put into the folder."""
        origin = None
        streamed = images.images if isinstance(images.images, StreamedImages) else None
        if streamed is not None and streamed.in_place and images.origin is not None:
            # One text, however many shards there are.
            origin = sys.intern(json.dumps(_wherever(images.origin), sort_keys=True))
        made = cls(
            leaves=tuple(sorted(leaves)),
            gradients=gradients,
            digests=tuple(images.digests),
            labels=None if images.labels is None else tuple(images.labels.tolist()),
            origin=origin,
            names=images.names if origin is not None else (),
            masked=images.masks is not None,
            pixels=None,
        )
        if origin is None:
            data = made.bytes_of(images)
            made = replace(made, pixels=Parcel.put(data, folder))
        return replace(made, digest=hashlib.sha256(repr(made).encode()).hexdigest())

    @property
    def path(self) -> str:
        """Where the images lie."""
        return self.pixels.path if self.pixels else json.loads(self.origin or "{}").get("source")

    def content(self) -> bytes | None:
        """The images, as :func:`measured_bytes` takes them; None where they cannot be seen from
        here."""
        if self.pixels is not None:
            return self.pixels.content()
        try:
            reader, places = _opened(self.origin or "")
            frames = [reader.read(places[name]) for name in self.names]
        except (OSError, KeyError, SycamError, UnreadablePictureError):
            return None
        if tuple(image_digest(frame.image) for frame in frames) != self.digests:
            return None
        masks = [torch.as_tensor(frame.mask) for frame in frames] if self.masked else None
        return self._bytes(
            torch.stack([frame.image for frame in frames]),
            None if masks is None else torch.stack(masks),
        )

    def bytes_of(self, images: ImageSet) -> bytes:
        """The same of the images themselves, where they are at hand."""
        return self._bytes(images.images[:], None if images.masks is None else images.masks[:])

    def _bytes(self, images: Tensor, masks: Tensor | None) -> bytes:
        tensors = {"images": images} | ({} if masks is None else {"masks": masks})
        facts = {
            "digests": self.digests,
            "labels": self.labels,
            "leaves": self.leaves,
            "gradients": self.gradients,
        }
        kept = {name: tensor.cpu().contiguous().clone() for name, tensor in tensors.items()}
        return save(kept, {FACTS: json.dumps(facts, sort_keys=True)})


def measured_bytes(data: bytes, explained: ExplainedNetwork) -> bytes:
    """Measurements, as :func:`sycam.workers.shards.opened_shards` reads them, on the images of
    :meth:`Unmeasured.content`; what is measured already stays as it is."""
    facts = facts_of(data)
    if "layers" in facts:
        return data
    tensors = load(data)
    channels, labels = tensors["images"].shape[1], facts["labels"]
    images = ImageSet(
        images=tensors["images"],
        labels=None if labels is None else torch.tensor(labels),
        masks=tensors.get("masks"),
        names=tuple(facts["digests"]),
        mean=(0.0,) * channels,
        std=(1.0,) * channels,
    )
    measured = explained.measure(images, ignore, facts["leaves"], gradients=facts["gradients"])
    return shard_bytes(*measured)


def _wherever(origin: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments that read images, also for a process in another folder."""
    paths = {name: str(Path(origin[name]).resolve()) for name in _FILES if origin.get(name)}
    return {**origin, **paths}


@lru_cache(4)
def _opened(origin: str) -> tuple[Reader, Mapping[str, int]]:
    """What reads the images of an origin, and the places of all by their names."""
    reader = open_images(**json.loads(origin)).reader
    names: Sequence[str] = reader.names
    return reader, {name: place for place, name in enumerate(names)}
