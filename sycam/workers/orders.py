"""What passes between a run and its workers: contents by their digests, orders, and answers."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sycam.scoring.scorer import Raw
from sycam.workers.portable import Portable


@dataclass(frozen=True)
class Parcel:
    """Content that many orders need: in a file, where workers see the same disk.

    Attributes:
        digest: SHA-256 of the bytes.
        path: of the file.
    """

    digest: str
    path: str

    @classmethod
    def put(cls, data: bytes, folder: Path) -> Parcel:
        """Content in a file of a folder that is this user's alone."""
        digest = hashlib.sha256(data).hexdigest()
        path = folder / digest
        if not path.exists():
            path.write_bytes(data)
        return cls(digest, str(path))

    def content(self) -> bytes | None:
        """The bytes; None where this process does not see the file."""
        try:
            data = Path(self.path).read_bytes()
        except OSError:
            return None
        return data if hashlib.sha256(data).hexdigest() == self.digest else None


@dataclass(frozen=True)
class Order:
    """Candidates to be scored on some images.

    Attributes:
        recipe: of the network.
        shard: measurements on images.
        start, stop: which of the shard's images.
        share: of the memory for kept values.
        expressions: texts of candidates that are scored together; or
        method: one that may be no expression.
        metrics: under which they are scored.
        levels: ``[n,T]`` at which levels the images are seen; at all if None.
    """

    recipe: Parcel
    shard: Parcel
    start: int
    stop: int
    share: float
    expressions: tuple[str, ...]
    method: Portable | None
    metrics: tuple[Portable, ...]
    levels: np.ndarray | None


@dataclass(frozen=True)
class Done:
    """An order that was carried out.

    Attributes:
        raw: scores.
        passes: forward passes that it took.
    """

    raw: Raw
    passes: int


@dataclass(frozen=True)
class Missing:
    """Digests of content that the worker neither has nor sees."""

    digests: tuple[str, ...]


@dataclass(frozen=True)
class Failed:
    """What went wrong in user's code or with what a user gave: it would go wrong everywhere.

    Attributes:
        error: the exception, or its text where it cannot be sent.
        text: the traceback.
    """

    error: Exception | None
    text: str


Answer = Done | Missing | Failed
