"""Which published CAM to use at which layer, as a ranking that says what it rests on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sycam.data.images import ImageSet
from sycam.drawing.overlays import draw_grid
from sycam.drawing.style import USUAL, Style
from sycam.errors import OptionError
from sycam.evidence import ignores_target
from sycam.methods import Method, is_habit
from sycam.methods.method import BLURRED, CONTROL
from sycam.problem.explained_network import ExplainedNetwork
from sycam.report.front_tables import p_text
from sycam.report.pictures.image_rows import image_rows
from sycam.scoring.statistics import CONFIDENCE, Comparison, Interval
from sycam.support.arguments import argument
from sycam.support.files import check_target
from sycam.support.text.html_table import html_table
from sycam.support.text.table import as_frame
from sycam.validation.findings import Validation

COLUMNS = (
    "place", "method", "layer", "kind", "ranking", "heldout", "low", "high", "behind", "p_holm",
    "flat",
)  # fmt: skip
SHOWN = 12  # rows of the ranking on a terminal
IMAGES_SHOWN = 4
NAMED = 3  # of several methods that a sentence is about
# Whose heatmaps are ours to 1e-5: other classes leave the paper.
PYTORCH_GRAD_CAM = {
    "grad-cam": "GradCAM",
    "hirescam": "HiResCAM",
    "grad-cam-elementwise": "GradCAMElementWise",
    "xgrad-cam": "XGradCAM",
    "layer-cam": "LayerCAM",
    "fem": "FEM",
}


@dataclass(frozen=True)
class Ranked:
    """A method at a layer.

    Attributes:
        place: in the ranking, from 1; None where there was no time for all ranking images.
        method: the method.
        name: without its layer: ``"layer-cam"``.
        kind: one of :data:`sycam.methods.KINDS`.
        layer: the layer that it reads; empty where it reads all of them, or none.
        figure: on the ranking images, or on those of them that it saw.
        flat: on how many of these its map ranks nothing.
        eligible: whether these are few enough, and its scores finite, for it to be recommended.
        heldout: on the other images; None where it was not measured there.
        against: the recommended method compared with it there; None for itself, and where it was
            not measured.
    """

    place: int | None
    method: Method = field(repr=False)
    name: str
    kind: str
    layer: str
    figure: float
    flat: int
    eligible: bool
    heldout: Interval | None
    against: Comparison | None

    @property
    def where(self) -> str:
        """Method and layer, for people."""
        return f"{self.name} at {self.layer}" if self.layer else self.name

    @property
    def unfit(self) -> str:
        """Why it is not recommended whatever its figure; empty where it might be."""
        if self.eligible:
            return ""
        return f"flat on {self.flat} image{'s' * (self.flat != 1)}" if self.flat else "not finite"

    @property
    def level(self) -> bool:
        """Whether the other images cannot tell it from the recommended method."""
        return self.against is not None and self.against.p_holm >= 1 - CONFIDENCE

    @property
    def ahead(self) -> bool:
        """Whether it is ahead of the recommended method on the other images: in hindsight, that
        is, as they choose nothing."""
        against = self.against
        return against is not None and not self.level and against.difference.mean < 0


def _class_agnostic(row: Ranked) -> bool:
    """Whether nothing that it reads depends on what is explained; False of what reads no leaves
    but runs the network itself."""
    leaves = row.method.leaves
    return bool(leaves) and ignores_target(leaves)


@dataclass(frozen=True)
class Recommendation:
    """Published CAMs at the layers of a network, ranked by a metric.

    Attributes:
        metric: text of the metric.
        higher_is_better: its direction.
        network: its name.
        layers: names of those that were compared, the deepest first.
        ranking_images: number of images that decided.
        searched_images: how many could have, of which the time may have allowed few.
        levels_seen: at how many of the metric's ``levels`` a ranking image was seen by the methods
            that saw most; 1 of 1 where the metric has none.
        rows: the ranking, the best first; then those that did not see all ranking images.
        validation: figures and tests on the other images, which decided nothing.
        not_scored: names of methods that there was no time for.
        unseen_images: how many other images there are, of which the time may have allowed few.
        explained, unseen: network and those images, from which pictures are drawn.
    """

    metric: str
    higher_is_better: bool
    network: str
    layers: tuple[str, ...]
    ranking_images: int
    searched_images: int
    levels_seen: float
    levels: int
    rows: tuple[Ranked, ...] = field(repr=False)
    validation: Validation = field(repr=False)
    not_scored: tuple[str, ...] = field(repr=False)
    unseen_images: int
    explained: ExplainedNetwork = field(repr=False)
    unseen: ImageSet = field(repr=False)

    @property
    def best(self) -> Ranked:
        """The recommended method: the best on the ranking images that is no control."""
        name = self.validation.winner.name
        return next(row for row in self.rows if row.method.name == name)

    @property
    def usual(self) -> Ranked | None:
        """Grad-CAM at the deepest layer, which everybody uses; None where it was not measured on
        the other images."""
        measured = [r for r in self.rows if is_habit(r.method) and r.heldout is not None]
        return next((r for r in measured if r.layer == self.layers[0]), None)

    @property
    def _rivals(self) -> list[Ranked]:
        """Those that may be recommended."""
        return [row for row in self.rows if row.kind != CONTROL and row.eligible]

    @property
    def best_per_layer(self) -> dict[str, Ranked]:
        """The best of each layer on the ranking images, the deepest first."""
        ranked = [row for row in self._rivals if row.place is not None]
        found = {layer: [r for r in ranked if r.layer == layer] for layer in self.layers}
        return {layer: rows[0] for layer, rows in found.items() if rows}

    @property
    def verdict(self) -> str:
        """What to use, and why, in a few sentences."""
        best, usual, rivals = self.best, self.usual, self._rivals
        everybody = ", what everybody uses" if usual is best else ""
        said = [
            f"Use {best.where}{everybody}: {self.metric} {_interval(best.heldout)} on "
            f"{self.validation.images} images that did not choose it"
        ]
        if best.unfit:
            said.append(f"But it is {best.unfit} that rank, and no other that was scored is better")
        if level := [r.where for r in rivals if r.level]:
            said.append(f"Level with it, as far as these images can tell: {_some(level)}")
        if ahead := [r.where for r in rivals if r.ahead]:
            said.append(f"Ahead of it in hindsight: {_some(ahead)}")
        if usual is not None and usual is not best:
            said.append(f"{usual.where}, what everybody uses, has {self._beside(usual)}")
        if _class_agnostic(best):
            others = [r for r in rivals if r.place is not None and not _class_agnostic(r)]
            first = f"; the first that does not: {others[0].where}" if others else ""
            said.append(f"{best.name} shows the same whatever is explained{first}")
        if best.kind == BLURRED:
            plain = [r for r in self.rows if r.heldout and r.kind not in (BLURRED, CONTROL)]
            plain.sort(key=lambda r: r.place or len(self.rows))
            if plain:
                of = plain[0]
                has = "" if of is usual else f", {of.where}, has {self._beside(of)}"
                said.append(
                    f"{self.metric} rewards blur whatever it shows; the best that is not blurred"
                    + (has or f" is {of.where}")
                )
        if controls := [r for r in self.rows if r.kind == CONTROL and (r.level or r.ahead)]:
            said.append(
                f"A control, {controls[0].where}, is no worse: under {self.metric} these "
                "images tell little of what the network looks at"
            )
        return ". ".join(said) + "."

    @property
    def cut(self) -> tuple[str, ...]:
        """What the budget cut, in sentences."""
        said, longer = [], f"a longer {argument('budget')}"
        if self.ranking_images < self.searched_images:
            said.append(
                f"{self.ranking_images} of {self.searched_images} ranking images were used; "
                f"{longer} takes more"
            )
        if self.levels_seen < self.levels:
            said.append(
                f"ranking images were shown at {self.levels_seen:.2g} of the {self.levels} levels "
                f"of {self.metric} on average, the others at all; {longer} shows more"
            )
        partly = sum(row.place is None for row in self.rows)
        if self.not_scored:
            there = len(self.rows) + len(self.not_scored)
            said.append(
                f"{len(self.not_scored)} of {there} were not scored ({_some(self.not_scored)}); "
                f"{longer} scores them"
            )
        if partly:
            said.append(
                f"{partly} of {len(self.rows)} were behind on some of the {self.ranking_images} "
                "ranking images and did not see the rest"
            )
        if self.validation.images < self.unseen_images:
            said.append(
                f"{self.validation.images} of {self.unseen_images} other images were measured; "
                f"{longer} measures more"
            )
        return tuple(said)

    def code(self, library: str = "sycam") -> str:
        """Lines of Python that make the recommended heatmaps.

        Args:
            library: ``"sycam"`` or ``"pytorch-grad-cam"``.

        Returns:
            The lines; empty where pytorch-grad-cam has no class that computes the same, or needs
            to be told more: of the layout of tokens, or of what is explained.

        Raises:
            OptionError: another library.
        """
        best, target = self.best, self.explained.target_text
        layer = best.layer or (list(self.layers) if len(self.layers) > 1 else self.layers[0])
        if library == "sycam":
            others = {"predicted": "images", "label": "images, labels"}
            given = "images, target" if target.startswith("callable") else f"images, {target!r}"
            called = f"sycam.CAM(network, {layer!r}, {best.name!r})({others.get(target, given)})"
            return f"import sycam\nheatmaps = {called}"
        if library != "pytorch-grad-cam":
            raise OptionError(
                f"library {library!r} is not known; expected 'sycam' or 'pytorch-grad-cam'"
            )
        of = PYTORCH_GRAD_CAM.get(best.name)
        # It is told neither of layouts but (N,K,h,w) nor, in one line, of other targets.
        if of is None or target != "predicted" or any(la.reshape for la in self.explained.layers):
            return ""
        return (
            f"from pytorch_grad_cam import {of}\n"
            f"cam = {of}(network, [network.get_submodule({layer!r})])\n"
            "heatmaps = cam(images, targets=None)"
        )

    def picture(self, path: str | Path, count: int = IMAGES_SHOWN, style: Style = USUAL) -> Path:
        """Draw heatmaps of images that did not choose, from the recommended method's best to its
        worst: Grad-CAM's at the deepest layer, those of the best that is not blurred, its own.

        Args:
            path: PNG file to write.
            count: how many images.
            style: of the overlays.

        Raises:
            OptionError, RunError: the file cannot be written.
        """
        path = Path(path)
        check_target(path)
        measured = [row for row in self.rows if row.heldout is not None]
        plain = [r for r in measured if r.kind not in (BLURRED, CONTROL)][:1]
        usual = [] if self.usual is None else [self.usual]
        names = dict.fromkeys(r.method.name for r in (*usual, *plain, self.best))
        scores = {name: self.validation.row(name).scores for name in names}
        sign = 1 if self.higher_is_better else -1
        order = np.argsort(-sign * np.array(scores[self.best.method.name]), kind="stable")
        chosen = order[np.linspace(0, len(order) - 1, min(count, len(order))).round().astype(int)]
        figures = {self.metric: {n: [scores[n][i] for i in chosen] for n in names}}
        columns = {name: name for name in names}
        images = self.unseen.subset(chosen.tolist())
        rows = image_rows(self.explained, images, columns, figures=figures)
        return draw_grid(rows, path, f"{self.network}: {self.metric} of each", style)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, ready for JSON."""
        best = self.best
        return {
            "verdict": self.verdict,
            "metric": self.metric,
            "higher_is_better": self.higher_is_better,
            "network": self.network,
            "layers": list(self.layers),
            "method": best.name,
            "layer": best.layer or None,
            "ranking_images": self.ranking_images,
            "heldout_images": self.validation.images,
            "ranking": self.table(),
            "cut": list(self.cut),
            "code": self.code(),
        }

    def table(self) -> list[dict[str, Any]]:
        """A row per method and layer, by the names in :data:`COLUMNS`."""
        rows = []
        for row in self.rows:
            held, against = row.heldout, row.against
            values = (
                row.place, row.name, row.layer or None, row.kind, row.figure,
                held and held.mean, held and held.low, held and held.high,
                against and against.difference.mean, against and against.p_holm, row.flat,
            )  # fmt: skip
            rows.append(dict(zip(COLUMNS, values, strict=True)))
        return rows

    def to_pandas(self) -> Any:
        """A ``pandas.DataFrame`` of the ranking: ``place``, ``method``, ``layer``, ``kind``, the
        figure ``ranking`` on the ranking images, the figure ``heldout`` on others with the ends
        ``low`` and ``high`` of its 95 % interval, by how much it is ``behind`` the recommended
        method there, the Holm-corrected ``p_holm`` of that, and on how many ranking images its
        map is ``flat``.

        Raises:
            OptionError: pandas is not installed.
        """
        return as_frame(COLUMNS, self.table())

    def lines(self, shown: int | None = SHOWN) -> list[tuple[str, ...]]:
        """The ranking for people: method, layer, ranking and held-out figure, difference.

        Args:
            shown: how many of the first; others are told where they were measured on the other
                images. All if None.
        """
        return [
            (
                row.name,
                row.layer or "all",
                f"{row.figure:.4f}",
                row.unfit or _interval(row.heldout),
                "" if row.against is None else _briefly(row.against),
            )
            for i, row in enumerate(self.rows)
            if shown is None or i < shown or row.heldout is not None
        ]

    @property
    def head(self) -> tuple[str, ...]:
        """Titles of the columns of :meth:`lines`."""
        arrow = "↑" if self.higher_is_better else "↓"
        return ("method", "layer", f"ranking {arrow}", f"held out {arrow}", "lead of first")

    @property
    def title(self) -> str:
        """What the ranking is of."""
        return (
            f"{self.metric} of published CAMs: ranked on {self.ranking_images} images, held out "
            f"on {self.validation.images} others"
        )

    def _beside(self, row: Ranked) -> str:
        figure = _interval(row.heldout) + (f" ({row.unfit})" if row.unfit else "")
        if row.against is None:
            return figure
        gain = row.against.difference
        return (
            f"{figure}: a lead of {gain.mean:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}], "
            f"p {p_text(row.against.p_holm)}"
        )

    def _repr_html_(self) -> str:
        """The ranking with its verdict, for notebooks."""
        return html_table(f"{self.verdict} {self.title}", self.head, self.lines())

    def __str__(self) -> str:
        rows = [self.head, *self.lines()]
        widths = [max(len(row[i]) for row in rows) for i in range(len(self.head))]
        ranking = [_padded(row, widths) for row in rows]
        cut = [f"Cut by the budget: {said}." for said in self.cut]
        return "\n".join([self.verdict, "", self.title, *ranking, *cut, "", self.code()])


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def _padded(row: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(f"{text:{width}}" for text, width in zip(row, widths, strict=True)).rstrip()


def _interval(figure: Interval | None) -> str:
    return "" if figure is None else f"{figure.mean:.3f} [{figure.low:.3f}, {figure.high:.3f}]"


def _briefly(against: Comparison) -> str:
    return f"{against.difference.mean:+.3f}, p {p_text(against.p_holm)}"
