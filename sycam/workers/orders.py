"""What passes between a run and its workers: orders, and answers."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from sycam.metrics.context import Scale
from sycam.scoring.scorer import Raw
from sycam.workers.parcels import Parcel
from sycam.workers.portable import Portable
from sycam.workers.unmeasured import Unmeasured


@dataclass(frozen=True)
class Order:
    """Candidates to be scored on some images; or, without metrics, the images to be measured.

    Attributes:
        recipe: of the network.
        shard: measurements on images, or images that the worker measures itself.
        seed, scale: of the context.
        start, stop: which of the shard's images.
        share: of the memory for kept values.
        expressions: texts of candidates that are scored together; or
        method: one that may be no expression.
        metrics: under which they are scored.
        levels: ``[n,T]`` at which levels the images are seen; at all if None.
    """

    recipe: Parcel
    shard: Parcel | Unmeasured
    start: int
    stop: int
    share: float = 1.0
    expressions: tuple[str, ...] = ()
    method: Portable | None = None
    metrics: tuple[Portable, ...] = ()
    levels: np.ndarray | None = None
    seed: int = 0
    scale: Scale = field(default_factory=Scale)


@dataclass(frozen=True)
class Facts:
    """What a run knows of images that workers measured.

    Attributes:
        targets: ``[n]`` class explained.
        clean: ``[n]`` its probability.
        outputs: ``[n,classes]`` class scores; None where there are none.
    """

    targets: np.ndarray
    clean: np.ndarray
    outputs: np.ndarray | None


@dataclass(frozen=True)
class Done:
    """An order that was carried out.

    Attributes:
        raw: scores; None where there was nothing to be scored.
        passes: forward passes that it took.
        facts: of the images, where they were to be measured.
    """

    raw: Raw | None
    passes: int
    facts: Facts | None = None


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
