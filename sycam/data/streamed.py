"""Images that stay where they lie: read a few at a time, whenever somebody looks at them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

Read = Callable[[Sequence[int]], Tensor]
"""The images, or masks, of some places, stacked."""


class Streamed:
    """What stands for a tensor ``[N,...]`` of images or masks, none of which is kept.

    A slice or a number is read, as a tensor; a tensor of places is a part that is not read yet.
    Whatever else is asked of it is asked of the whole, which is then read.

    Args:
        read: reads those at some places.
        places: of the N, for ``read``.
        shape: of one.
        dtype: of all.
        device: where they are put once they are read.
    """

    def __init__(
        self,
        read: Read,
        places: Sequence[int],
        shape: Sequence[int],
        dtype: torch.dtype,
        device: torch.device | str = "cpu",
    ):
        self._read, self.places = read, places
        self.shape = torch.Size((len(places), *shape))
        self.dtype, self.device = dtype, torch.device(device)

    @classmethod
    def of(cls, tensor: Tensor | Streamed, device: torch.device | str) -> Streamed:
        """Those of a tensor, each put on a device when it is looked at."""
        if isinstance(tensor, Streamed):
            return cls(tensor._read, tensor.places, tensor.shape[1:], tensor.dtype, device)
        count = range(len(tensor))
        return cls(lambda at: tensor[list(at)], count, tensor.shape[1:], tensor.dtype, device)

    @property
    def ndim(self) -> int:
        """Number of sides, with that of the images."""
        return len(self.shape)

    def __len__(self) -> int:
        return len(self.places)

    def __iter__(self) -> Iterator[Tensor]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return self._of(self.places[index])
        if isinstance(index, int):
            return self._of([self.places[index]])[0]
        if isinstance(index, Tensor) and index.ndim == 1 and index.dtype == torch.int64:
            return self.part(index.tolist())
        return self.whole()[index]

    def part(self, indices: Sequence[int] | slice) -> Streamed:
        """Some of them, which are not read yet."""
        some = (
            self.places[indices]
            if isinstance(indices, slice)
            else [self.places[i] for i in indices]
        )
        return Streamed(self._read, some, self.shape[1:], self.dtype, self.device)

    def whole(self) -> Tensor:
        """All of them."""
        return self._of(self.places)

    def to(self, *given: Any, **named: Any) -> Tensor:
        """All of them, as :meth:`torch.Tensor.to` gives them."""
        return self.whole().to(*given, **named)

    def _of(self, places: Sequence[int]) -> Tensor:
        if not len(places):
            return torch.empty((0, *self.shape[1:]), dtype=self.dtype, device=self.device)
        return self._read(places).to(self.device)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self.whole(), name)

    @classmethod
    def __torch_function__(
        cls,
        function: Callable[..., Any],
        _types: Sequence[type],
        given: Sequence[Any] = (),
        named: Mapping[str, Any] | None = None,
    ) -> Any:
        """Torch's functions get the whole."""
        read = [one.whole() if isinstance(one, Streamed) else one for one in given]
        return function(*read, **(named or {}))


class StreamedImages(Streamed):
    """Images of which is known what a set of images is asked for most.

    Args:
        streamed: the images.
        digests: of each.
        looks: ``[M,...]`` by which near copies are told, of all M places that there are.
        in_place: whether other processes can read single ones where they lie.
    """

    def __init__(
        self, streamed: Streamed, digests: Sequence[str], looks: np.ndarray, in_place: bool = True
    ):
        super().__init__(
            streamed._read, streamed.places, streamed.shape[1:], streamed.dtype, streamed.device
        )
        self.digests, self._looks, self.in_place = tuple(digests), looks, in_place

    @property
    def looks(self) -> np.ndarray:
        """``[N,...]`` those of the images."""
        return self._looks[self.places]

    def part(self, indices: Sequence[int] | slice) -> StreamedImages:
        """See :meth:`Streamed.part`."""
        some = range(len(self))[indices] if isinstance(indices, slice) else indices
        digests = [self.digests[i] for i in some]
        return StreamedImages(super().part(indices), digests, self._looks, self.in_place)
