"""What a run leaves on record beside its formulas: how it was made, what it read and searched.

The annotations are the schema of ``result.json``, see :mod:`sycam.support.schema`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from sycam.data.images import open_images
from sycam.data.names import DEMO
from sycam.networks.output_forms import AUTO, LOGITS
from sycam.runs.certificate import Certificate
from sycam.search import Level, Refusal, SearchOptions
from sycam.search.options import COSTLIEST, UNASKED
from sycam.search.selection.bootstrap import Stability
from sycam.search.selection.pareto import Front
from sycam.search.selection.power import Power
from sycam.support.schema import Arguments, Bounds, Count, Figure, absent, from_plain, to_plain
from sycam.validation.adaptive import Adaptive
from sycam.validation.per_class import Specialisation

ImageCount = Annotated[int, Bounds(0, 10_000_000)]
Origin = Annotated[Mapping[str, Any], Arguments(open_images)]  # or the demo's, DEMO_ORIGIN
DEMO_ORIGIN = {"source": DEMO}
_CALLABLE = "callable"  # how the text of a target or reshape begins that cannot be had again


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What was asked for.

    Attributes:
        metric: text of what was optimised; several goals are joined.
        metrics: text of each goal.
        metric_options: of the metric, by name.
        grammar: name of the space.
        target: what was explained, in words.
        output: what the network returns; None in runs of before it was on record.
        seed: of everything random.
        precision: of the network while searching.
        correct_only: whether images that the network classifies wrongly were left out.
        needs_masks: whether a goal or a requirement does; None in runs of before it was on record.
        search: arguments of :class:`sycam.SearchOptions`.
    """

    metric: str
    metrics: Annotated[tuple[str, ...], Bounds(1, 100)]
    metric_options: Mapping[str, Any]
    grammar: str
    target: str
    output: str | None = absent()
    seed: int
    precision: str
    correct_only: bool = False
    needs_masks: bool | None = absent()
    search: Annotated[Mapping[str, Any], Arguments(SearchOptions, whole=True, but=UNASKED)]

    @property
    def target_recorded(self) -> bool:
        """Whether the target can be had again; a callable from Python cannot."""
        return not self.target.startswith(_CALLABLE)

    @property
    def reading(self) -> str:
        """What the network returns; runs of before it was on record took it for logits."""
        if self.output is not None:
            return self.output
        return LOGITS if self.target_recorded else AUTO

    @property
    def options(self) -> SearchOptions:
        """How it was searched.

        Raises:
            SycamError: a guess, rule or the like that is not known here.
        """
        return SearchOptions.from_dict(self.search)


@dataclass(frozen=True)
class Checkpoint:
    """The file of a network's weights."""

    file: str
    sha256: str


@dataclass(frozen=True)
class NetworkRecord:
    """The network that was explained.

    Attributes:
        name: for people.
        source: by which it is opened again; None where it was given from Python.
        weights: that were chosen by name.
        checkpoint: file of its weights.
        preprocessing: arguments of :class:`sycam.data.preprocessing.Preprocessing`, where known.
        class_names: in the order of its outputs, where known.
        digest: of its parameters and structure.
        layer: names of the target layers, joined.
        layers: each of them.
        layer_note: how the layer was chosen.
        fusion: of several layers: ``"mean"``, or their weights.
        reshape: how the layers' outputs become maps, in words; None where they are such.
    """

    name: str
    source: str | None
    weights: str | None
    checkpoint: Checkpoint | None
    preprocessing: Mapping[str, Any] | None
    class_names: tuple[str, ...] | None
    digest: str
    layer: str
    layers: Annotated[tuple[str, ...], Bounds(1, 1000)]
    layer_note: str
    fusion: tuple[float, ...] | str
    reshape: str | None

    @property
    def reshape_recorded(self) -> bool:
        """Whether the reshape can be had again; a callable from Python cannot."""
        return not (self.reshape or "").startswith(_CALLABLE)


@dataclass(frozen=True)
class DataRecord:
    """The images of a run.

    Attributes:
        search_images, heldout_images: how many.
        search_origin, heldout_origin: arguments of :func:`sycam.data.images.open_images` that read
            them again; None where they were given from Python.
        shape: of an image, channels first.
        mean, std: that take its values back into 0..1, to be drawn.
        skipped, notes: lines about images left out, and about the rest.
        heldout_digest: of the held-out images, their labels and masks; None in runs of before it
            was on record. (That of the search images is in the run's identity.)
    """

    search_images: ImageCount
    heldout_images: ImageCount
    search_origin: Origin | None
    heldout_origin: Origin | None
    shape: Annotated[tuple[int, ...], Bounds(1, 8)]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    skipped: tuple[str, ...]
    notes: tuple[str, ...]
    heldout_digest: str | None = absent()


@dataclass(frozen=True)
class GrammarRecord:
    """The space that was searched: a label, the digest of what it means, and its notation."""

    name: str
    digest: str
    text: str


@dataclass(frozen=True)
class KnownRecord:
    """A published CAM, baseline or control on the search images.

    Attributes:
        name: of the method.
        kind: of :data:`sycam.methods.KINDS`.
        expression: its formula; None where it is none.
        score: mean, in the metric's own direction.
        degenerate: number of images on which its map is flat.
        scores: ``[N]`` per image; fewer where it fell behind and the time did not suffice for all.
    """

    name: str
    kind: str
    expression: str | None
    score: Figure
    degenerate: Count
    scores: tuple[Figure, ...]


@dataclass(frozen=True)
class SearchRecord:
    """How the search went.

    Attributes:
        candidates: distinct ones that entered.
        finished: how many of them saw all search images.
        complete_cost: every distinct candidate up to this cost entered.
        stopped: why it ended.
        seconds: spent in the last session.
        resumed: candidates found in the journal.
        passes: forward passes on perturbed images in the last session.
        ineligible: candidates whose heatmaps are flat or overflow.
        guided: what the guided phase did.
        levels: what enumeration did at each cost.
        known: published CAMs, baselines and controls.
    """

    candidates: Count
    finished: Count
    complete_cost: Count
    stopped: str
    seconds: float
    resumed: Count
    passes: Count
    ineligible: Count
    guided: Mapping[str, Any]
    levels: Annotated[tuple[Level, ...], Bounds(0, COSTLIEST)]
    known: tuple[KnownRecord, ...]


@dataclass(frozen=True)
class RunRecord:
    """What a run leaves on record beside its formulas and their held-out figures.

    Attributes:
        created: date and time in UTC, ISO 8601.
        identity: digest of all that the scores depend on.
        settings: what was asked for.
        environment: versions by package, and the machine.
        network, data, grammar: what was searched on.
        search: how the search went.
        required: requirements that the winner must meet.
        refused: candidates that would have won but for these, or that hardly change with the
            class explained.
        certificate: what the claim to be best rests on.
        stability: how often the winner wins on other draws of the images; None without a winner.
        resolution: how far the images tell it from its rivals; None without a winner.
        goals: the front of several goals; None of one.
        classes: what a formula per class gains; None where none was asked for.
        adaptive: what the choice of a formula image by image gains; None where none was asked for.
    """

    created: str
    identity: str
    settings: Settings
    environment: Mapping[str, str | int]
    network: NetworkRecord
    data: DataRecord
    grammar: GrammarRecord
    search: SearchRecord
    required: tuple[str, ...]
    refused: tuple[Refusal, ...]
    certificate: Certificate
    stability: Stability | None = absent()
    resolution: Power | None = absent()
    goals: Front | None = absent()
    classes: Specialisation | None = absent()
    adaptive: Adaptive | None = absent()

    def to_dict(self) -> dict[str, Any]:
        """Plain data, ready for JSON; NaN and infinity are None."""
        return to_plain(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> RunRecord:
        """What :meth:`to_dict` wrote.

        Raises:
            SchemaError: a value that no run writes; the message says where.
        """
        return from_plain(cls, data)
