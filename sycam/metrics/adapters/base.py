"""What metrics of other libraries share: a stated direction, and scores that are checked."""

from __future__ import annotations

import inspect
import math
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import ClassVar, Literal

import torch
from torch import Tensor

from sycam.errors import DataError, OptionError, SycamError
from sycam.metrics.base import POSITIVE_SCALE, Metric, signature
from sycam.metrics.context import Context

Direction = Literal["higher", "lower"]


class Borrowed(Metric):
    """A metric of another library, which scores one heatmap of one image at a time.

    So no image sees another, whatever the library does with its batches. A map that ranks nothing
    is scored as the random ranking that all candidates share, as a search does.

    Args:
        direction: which scores are better; what the library says if None.
        undefined: what counts where the library has no score (NaN); an error if None.

    Raises:
        OptionError: nobody says which scores are better.
    """

    family = "custom"
    range = (-math.inf, math.inf)
    invariance = POSITIVE_SCALE  # the heatmaps that it sees are scaled
    volumes = False
    usual: ClassVar[str | None] = None  # the library's own direction

    def __init__(self, direction: Direction | None = None, undefined: float | None = None):
        if direction is None and self.usual is None:
            raise OptionError(
                "nothing says which of its scores are better; add direction=higher or "
                "direction=lower"
            )
        self.direction, self.undefined = direction, undefined
        self.higher_is_better = (direction or self.usual) == "higher"

    @classmethod
    def parameters(cls) -> Mapping[str, inspect.Parameter]:
        parameters = dict(signature(Borrowed.__init__).parameters)
        del parameters["self"]
        return parameters

    @classmethod
    def usual_options(cls) -> Mapping[str, object]:
        # There need be no object without options: one of them may be the direction.
        return {name: parameter.default for name, parameter in cls.parameters().items()}

    @property
    def options(self) -> dict[str, object]:
        return {"direction": self.direction, "undefined": self.undefined}

    @abstractmethod
    def judge(self, heatmap: Tensor, candidate: int, image: int, context: Context) -> float:
        """The library's score of one heatmap ``[H,W]``, NaN where it has none."""

    def score(self, maps: Tensor, context: Context) -> Tensor:
        flat = maps.flatten(2)
        nothing = flat.amax(-1) == flat.amin(-1)
        rows = []
        for p, candidate in enumerate(maps):
            row = []
            for n, heatmap in enumerate(candidate):
                if nothing[p, n]:
                    heatmap = context.random_maps[n].to(heatmap)
                with self._explained(n):
                    row.append(self._checked(self.judge(heatmap, p, n, context), n))
            rows.append(row)
        return torch.tensor(rows, dtype=torch.float64, device=maps.device)

    def _checked(self, score: float, image: int) -> float:
        if math.isfinite(score):
            return score
        if self.undefined is None:
            raise DataError(
                f"metric {self.text!r} gave {score} for image {image}; say what that counts as by "
                "the option undefined=..., or leave the image out"
            )
        return float(self.undefined)

    @contextmanager
    def _explained(self, image: int) -> Iterator[None]:
        """What the library raises becomes one message."""
        try:
            yield
        except (SycamError, torch.OutOfMemoryError, MemoryError):
            raise
        except Exception as error:
            reason = (str(error).strip() or "no reason given").splitlines()[0]
            raise DataError(
                f"metric {self.text!r} failed on image {image}: {type(error).__name__}: {reason}"
            ) from error
