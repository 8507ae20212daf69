"""What several heatmaps agree on: in how many of them a pixel is among the highest."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from sycam.errors import SycamError
from sycam.evidence import Evidence, stacked
from sycam.heatmaps import Heatmaps
from sycam.language import Expression, parse_weights
from sycam.language.signatures import SALIENCY
from sycam.methods import Method, find_method
from sycam.methods.method import OWN, from_maps
from sycam.metrics import Context
from sycam.scoring.journaled_scorer import recorded_name

WHOLE = 100.0  # percent: a heatmap as it is
_TIE = 0.5  # weight of the mean heat beside a vote; under 1, so that it only decides between ties
_ROOM = 2**30  # bytes of members' heatmaps that are kept


def highest(maps: Tensor, percent: float) -> Tensor:
    """Heatmaps of which only the highest places are left, the others 0.

    Places as high as the lowest that is left are left as well, so that equal heat is treated alike.

    Args:
        maps: ``[...,N,H,W]`` (``[...,N,D,H,W]`` of volumes) in [0, 1].
        percent: of the places that are left, above 0 and up to 100.

    >>> highest(torch.tensor([[[0.1, 0.4], [0.4, 0.0]]]), 25)
    tensor([[[0.0000, 0.4000],
             [0.4000, 0.0000]]])
    """
    if percent >= WHOLE:
        return maps
    places = maps[0, 0].numel() if maps.ndim > 3 else maps[0].numel()
    flat = maps.reshape(-1, places)
    count = max(1, math.ceil(percent / 100 * places))
    limits = flat.kthvalue(places - count + 1, dim=-1, keepdim=True).values
    return torch.where(flat >= limits, flat, 0.0).reshape(maps.shape)


def consensus(kept: Tensor) -> Tensor:
    """Votes of M heatmaps, ties decided by their mean heat: ``[M,N,H,W]`` to ``[N,H,W]``.

    MetaCAM (Kaczmarek et al., 2023) counts in how many CAMs a pixel is among the highest. That
    ties are decided by the mean of the heat that is left is ours.

    Args:
        kept: of :func:`highest`.
    """
    return (kept > 0).sum(0) + _TIE * kept.mean(0)


@dataclass(frozen=True, order=True)
class Vote:
    """Which members vote, by their places, in order, and with how many percent of the pixels."""

    places: tuple[int, ...]
    percent: float

    @property
    def single(self) -> bool:
        """Whether it is one CAM with a threshold, and no ensemble."""
        return len(self.places) == 1


class Members:
    """CAMs that may vote, whose heatmaps are made once for all ensembles of them.

    Args:
        methods: the members, each at its layer.
    """

    def __init__(self, methods: Sequence[Method]):
        self.methods = tuple(methods)
        self._kept: WeakTensorKeyDictionary = WeakTensorKeyDictionary()  # by activations
        self._room = _ROOM

    def __len__(self) -> int:
        return len(self.methods)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(method.name for method in self.methods)

    def vote(self, vote: Vote) -> Method:
        """The ensemble as a method, whose heatmaps :func:`sycam.evaluate` and metrics take; of one
        member, its heatmap with a threshold."""
        chosen = [self.methods[place] for place in vote.places]

        def heatmaps(layers: Sequence[Evidence], context: Context) -> Heatmaps:
            made = [self._heatmaps(place, layers, context) for place in vote.places]
            kept = highest(torch.stack([one.maps[0] for one in made]), vote.percent)
            heat = from_maps(kept[0] if vote.single else consensus(kept))
            finite = torch.stack([one.finite for one in made]).all(0)
            return Heatmaps(heat.maps, heat.degenerate, heat.finite & finite)

        return Method(
            _name([recorded_name(method) for method in chosen], vote.percent),
            OWN,
            joint=heatmaps,
            measures=frozenset().union(*(method.leaves for method in chosen)),
            runs=any(method.runs for method in chosen),
            unasked=False,
            paper="Kaczmarek et al., MetaCAM: Ensemble-Based Class Activation Map, 2023",
            note="ties by mean heat are ours",
            definition="number of members that hold a pixel among their highest, ties by mean heat",
            definition_latex=r"\sum_m [h_m \in \operatorname{top}_k h_m]",
        )

    def alone(self, vote: Vote) -> Method:
        """The same, which keeps nothing of the other members and has a short name."""
        some = Members([self.methods[place] for place in vote.places])
        found = some.vote(Vote(tuple(range(len(some))), vote.percent))
        return replace(found, name=f"top {vote.percent:g} % of {len(some)} CAMs")

    def texts(self, vote: Vote) -> tuple[str, ...]:
        """How its members are named, so that :func:`voting` finds them again: by formula, or by
        name and layer."""
        return tuple(_in_full(self.methods[place]) for place in vote.places)

    def _heatmaps(self, place: int, layers: Sequence[Evidence], context: Context) -> Heatmaps:
        """One member's, kept as long as the evidence lives."""
        kept = self._kept.setdefault(layers[0].activations, {})
        key = place, context.seed
        if key not in kept:
            made = self.methods[place].heatmaps(stacked(layers), context)
            if self._room < made.maps.nbytes:
                return made
            self._room -= made.maps.nbytes
            kept[key] = made
        return kept[key]

    def expression(self, vote: Vote) -> Expression | None:
        """The ensemble as a formula, whose votes are counted on the layers' grids before they are
        brought to the image's size; None where a member is computed directly."""
        texts = []
        for place in vote.places:
            known = self.methods[place].expression
            if known is None:
                return None
            texts.append(str(known) if known.sort == SALIENCY else f"cam({known})")
        percent = f"{vote.percent:g}"
        votes = [f"top({text}, {percent})" for text in texts]
        share = f"{_TIE / len(votes):.6g}"
        heat = [f"{vote} * ({text})" for vote, text in zip(votes, texts, strict=True)]
        if vote.single:
            return parse_weights(heat[0])
        return parse_weights(f"{' + '.join(votes)} + {share} * ({' + '.join(heat)})")


def voting(texts: Sequence[str], percent: float) -> Method | None:
    """The ensemble of members that are named in full, as :meth:`Members.texts` names them.

    None where one is not known here, such as a method or an operator of somebody's own.
    """
    try:
        members = Members([find_method(text) for text in texts])
    except SycamError:
        return None
    return members.alone(Vote(tuple(range(len(members))), percent)) if len(members) > 1 else None


def _in_full(method: Method) -> str:
    name = recorded_name(method)
    placed = f"{name}@{method.site}"
    return placed if method.site and not name.endswith(f"@{method.site}") else name


def _name(members: Sequence[str], percent: float) -> str:
    """Under which scores are on record."""
    if len(members) == 1:
        return members[0] if percent >= WHOLE else f"top {percent:g} % of {members[0]}"
    return f"agreement on the top {percent:g} % of [{'] ['.join(members)}]"
