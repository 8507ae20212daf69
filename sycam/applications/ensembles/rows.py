"""Figures of one method, or of one single CAM with thresholds chosen image by image."""

from __future__ import annotations

from dataclasses import dataclass, field

from sycam.scoring.statistics import Comparison, Interval
from sycam.support.schema import Count, Figure

ENSEMBLE, FORMULA, MEMBER, THRESHOLDED, WINNER = (
    "ensemble", "formula", "member", "thresholded", "synthesised",
)  # fmt: skip
KINDS = {
    ENSEMBLE: "the ensemble that the search images choose",
    FORMULA: "the same as one formula, whose votes are counted on the layers' grids",
    MEMBER: "a single CAM",
    THRESHOLDED: "a single CAM with the threshold that the search images choose for it",
    WINNER: "the winner of a search, which is no member",
}
SINGLE = (MEMBER, THRESHOLDED)


@dataclass(frozen=True)
class EnsembleRow:
    """One method on search and held-out images.

    Attributes:
        name: of the member, the formula, or the ensemble.
        kind: of :data:`KINDS`.
        percent: of the pixels that are held; 100 where there is no threshold.
        search: its figure on the search images, in the metric's own direction.
        heldout: that on the held-out images, with its 95 % interval.
        against: the ensemble less this one, positive where the ensemble is better, Holm-corrected
            over all rows; None of the ensemble itself.
        flat: on how many held-out images its heatmap ranks nothing.
        scores: ``[N]`` what each held-out image adds to the figure.
    """

    name: str
    kind: str
    percent: float
    search: Figure
    heldout: Interval
    against: Comparison | None
    flat: Count
    scores: tuple[Figure, ...] = field(repr=False)

    @property
    def title(self) -> str:
        """The name, with the threshold where there is one; of the ensemble, whose members are
        listed elsewhere, what it is."""
        return title(self.name, self.kind, self.percent)


def title(name: str, kind: str, percent: float) -> str:
    """What a row is called, see :attr:`EnsembleRow.title`."""
    if kind == THRESHOLDED:
        return f"{name}, top {percent:g} %"
    return {ENSEMBLE: "the ensemble", FORMULA: "the same as one formula"}.get(kind, name)


@dataclass(frozen=True)
class ChosenThreshold:
    """A single CAM whose threshold is chosen image by image, judged on the held-out images.

    Half of the metric's levels choose, the other half judge, with other noise.

    Attributes:
        member: its name.
        percent: the threshold that the search images choose for all images.
        fixed: its figure with that threshold, by the levels that judge.
        adaptive: its figure with thresholds chosen image by image, by the same levels.
        gain: the second less the first, Holm-corrected over the members.
        taken: on how many images each threshold was chosen, in the order of ``percents``.
    """

    member: str
    percent: float
    fixed: Interval
    adaptive: Interval
    gain: Comparison
    taken: tuple[Count, ...]
