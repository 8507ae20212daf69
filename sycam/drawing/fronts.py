"""Pictures of what a search found: scores by cost, goal and goal, search and held-out.

Points carry numbers, which a key beside the picture explains: formulas are too long to stand in it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from string import ascii_lowercase

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from sycam.drawing.axes import (
    CONTROL,
    INK,
    KNOWN,
    MANY,
    OURS,
    RING,
    ROUND,
    better,
    dress,
    entitle,
    ring,
    short,
)
from sycam.drawing.labels import SIZE, Label, place_labels
from sycam.errors import OptionError
from sycam.support.text.shortening import apart

LISTED = 16  # marks of a kind that the key explains; the rest are drawn without a number
_KEY_AXIS = "key"  # label of the axis that holds the key
_WIDTH = 52  # characters of a line of the key
_SIDE, _KEY = 4.6, 3.8  # inches of a panel and of the key beside a single one


@dataclass(frozen=True)
class Mark:
    """A formula or method in a picture.

    Attributes:
        name: its text.
        figures: one per goal, in the goal's own direction.
        cost: of the expression; None for a method that is computed directly.
        control: whether it is a control rather than a published CAM.
    """

    name: str
    figures: tuple[float, ...]
    cost: int | None = None
    control: bool = False


def draw_cost_front(
    front: Sequence[Mark],
    known: Sequence[Mark],
    goal: str,
    higher_is_better: bool,
    title: str = "",
    winner: str | None = None,
) -> Figure:
    """The best figure that each cost buys, with the published CAMs beside.

    Args:
        front: cheapest first; the first figure of each is drawn.
        known: published CAMs and controls; those without a cost are lines across.
        goal: the metric's text.
        higher_is_better: its direction.
        title: over the whole picture.
        winner: name of a formula of the front, which is ringed.

    Raises:
        OptionError: an empty front, or a formula of it without a cost.
    """
    _check(front, 1)
    figure, (axis,) = _panels(1, front, known)
    costs = [_cost(mark) for mark in front]
    best = [mark.figures[0] for mark in front]
    placed = [(mark, mark.cost) for mark in known if mark.cost is not None]
    last = max(costs + [cost for _, cost in placed])
    axis.step([*costs, last], [*best, best[-1]], where="post", color=OURS, lw=1.4, zorder=3)
    labels = _ours(axis, front, costs, best, winner)
    letters = dict(zip(known, _letters(known), strict=True))
    for mark, letter in letters.items():
        if mark.cost is None:
            axis.axhline(mark.figures[0], color=_colour(mark), lw=0.8, ls=":", zorder=1)
            labels.append(Label(last, mark.figures[0], letter, _colour(mark)))
    labels += _known(
        axis, [cost for _, cost in placed], [m.figures[0] for m, _ in placed],
        [(m, letters[m]) for m, _ in placed],
    )  # fmt: skip
    axis.set_xlim(min(costs + [cost for _, cost in placed]) - 0.3, last + 0.3)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    dress(axis, "cost of the expression", better(goal, higher_is_better))
    lines = [mark.figures[0] for mark in known if mark.cost is None]
    return _finished(figure, title, {axis: labels}, lines)


def draw_goals(
    front: Sequence[Mark],
    known: Sequence[Mark],
    goals: Sequence[str],
    directions: Sequence[bool],
    reference: Sequence[float],
    chosen: str | None = None,
    cloud: np.ndarray | None = None,
    title: str = "",
) -> Figure:
    """Goal against goal, one panel per pair, with the front and the published CAMs.

    Of more than two goals, or where cost keeps a formula on the front, members of the front may
    lie inside in a panel; the line joins those that nothing beats in the panel's two goals.

    Args:
        front: members, one figure per goal.
        known: published CAMs and controls.
        goals: the metrics' texts, two or more.
        directions: whether higher is better, one per goal.
        reference: where the hypervolume counts from, one figure per goal.
        chosen: name of the member that is offered as the winner.
        cloud: ``[n, goals]`` figures of all candidates.
        title: over the whole picture.

    Raises:
        OptionError: an empty front, fewer than two goals, or figures of another number of goals.
    """
    _check(front, len(goals))
    if len(goals) < 2:
        raise OptionError(f"goal against goal needs two or more goals, got {len(goals)}")
    pairs = list(combinations(range(len(goals)), 2))
    front = sorted(front, key=lambda mark: mark.name != chosen)  # so that it has a number
    figure, axes = _panels(len(pairs), front, known)
    labels: dict[Axes, list[Label]] = {}
    for axis, (i, j) in zip(axes, pairs, strict=True):
        if cloud is not None:
            axis.scatter(cloud[:, i], cloud[:, j], s=5, color=MANY, lw=0, zorder=1)
        points = np.array([(m.figures[i], m.figures[j]) for m in front])
        edge = _edge(points, [directions[i], directions[j]])
        axis.step(*edge.T, where="pre" if directions[i] else "post", color=OURS, lw=1, zorder=2)
        labels[axis] = _ours(axis, front, points[:, 0], points[:, 1], chosen)
        labels[axis] += _known(axis, [m.figures[i] for m in known], [m.figures[j] for m in known],
                               list(zip(known, _letters(known), strict=True)))  # fmt: skip
        axis.plot(reference[i], reference[j], "x", color=INK, ms=7, zorder=4,
                  label="reference of the hypervolume")  # fmt: skip
        labels[axis].append(Label(reference[i], reference[j], "", INK))
        dress(axis, better(goals[i], directions[i]), better(goals[j], directions[j]))
    figure.legend(*axes[0].get_legend_handles_labels(), fontsize=7, frameon=False, ncols=2,
                  loc="outside lower left")  # fmt: skip
    return _finished(figure, title, labels)


def draw_agreement(
    search: Sequence[float] | np.ndarray,
    heldout: Sequence[float] | np.ndarray,
    names: Sequence[str],
    goal: str,
    winner: str | None = None,
    known: Sequence[tuple[str, float, float]] = (),
    title: str = "",
) -> Figure:
    """Figures on the search images against those on held-out images; what lies under the diagonal
    (above it, where lower is better) was partly luck.

    Args:
        search: ``[n]`` figures of the formulas on the search images.
        heldout: ``[n]`` those on the held-out images.
        names: n texts.
        goal: the metric's text.
        winner: one of the names, which is ringed.
        known: name, search and held-out figure of published CAMs.
        title: over the whole picture.

    Raises:
        OptionError: no formula, or lengths that differ.
    """
    if not len(names) or not len(search) == len(heldout) == len(names):
        raise OptionError(
            f"{len(names)} formulas with {len(search)} search and {len(heldout)} held-out "
            "figures; expected one of each per formula"
        )
    marks = [Mark(n, (s, h)) for n, s, h in zip(names, search, heldout, strict=True)]
    others = [Mark(n, (s, h)) for n, s, h in known]
    figure, (axis,) = _panels(1, marks, others)
    labels = _ours(axis, marks, search, heldout, winner)
    labels += _known(axis, [m.figures[0] for m in others], [m.figures[1] for m in others],
                     list(zip(others, _letters(others), strict=True)))  # fmt: skip
    every = np.array([m.figures for m in (*marks, *others)])
    low, high = every.min(), every.max()
    margin = 0.06 * (high - low or 1.0)
    axis.set_xlim(low - margin, high + margin)
    axis.set_ylim(low - margin, high + margin)
    axis.axline((low, low), slope=1, color=MANY, lw=1, zorder=1)
    axis.set_aspect("equal")
    for one in (axis.xaxis, axis.yaxis):
        one.set_major_locator(MaxNLocator(6, steps=ROUND))  # the same along both
    dress(axis, f"{short(goal, 40)}, search images", f"{short(goal, 40)}, held-out images")
    return _finished(figure, title, {axis: labels})


def parts_of(figure: Figure) -> tuple[list[Axes], list[tuple[str, str]]]:
    """The panels of a picture of a front, and the lines of its key, each with its colour: for a
    page, which sets them side by side or one below the other as there is room."""
    key = next(axis for axis in figure.axes if axis.get_label() == _KEY_AXIS)
    panels = [axis for axis in figure.axes if axis.axison]
    return panels, [(text.get_text().strip(), text.get_color()) for text in key.texts]


def _check(front: Sequence[Mark], goals: int) -> None:
    if not front:
        raise OptionError("the front is empty: there is nothing to draw")
    for mark in front:
        if len(mark.figures) < goals:
            raise OptionError(f"{mark.name} has {len(mark.figures)} figures for {goals} goals")


def _cost(mark: Mark) -> int:
    if mark.cost is None:
        raise OptionError(f"{mark.name} has no cost, which a front of costs is drawn by")
    return mark.cost


def _panels(count: int, front: Sequence[Mark], known: Sequence[Mark]) -> tuple[Figure, list[Axes]]:
    """A panel beside the key; several two or three in a row, the key in the first free place."""
    across = 1 if count == 1 else 2 if count == 3 else 3
    if count == 1:
        figure = Figure(figsize=(_SIDE + _KEY, _SIDE), layout="constrained")
        places = figure.subplots(1, 2, width_ratios=[_SIDE, _KEY])
    else:
        down = count // across + 1
        figure = Figure(figsize=(_SIDE * across, _SIDE * down), layout="constrained")
        places = figure.subplots(down, across).flatten()
    FigureCanvasAgg(figure)
    axes, key = list(places[:count]), places[count]
    key.set_label(_KEY_AXIS)
    for axis in places[count:]:
        axis.set_axis_off()
    numbered = list(zip(front[:LISTED], range(1, LISTED + 1), strict=False))
    left_out = len(front) - len(numbered)
    short_of = apart({m.name: _WIDTH - 4 for m in (*front[:LISTED], *known)})
    lines = [(OURS, _line(str(n), short_of[mark.name])) for mark, n in numbered]
    lines += [(OURS, f"    and {left_out} more, not numbered")] if left_out else []
    lines += [(_colour(m), _line(letter, short_of[m.name]))
              for m, letter in zip(known, _letters(known), strict=True) if letter]  # fmt: skip
    step = min(0.05, 1 / max(len(lines), 1))
    for i, (colour, line) in enumerate(lines):
        key.text(0, 1 - i * step, line, color=colour, fontsize=SIZE, va="top", family="monospace",
                 transform=key.transAxes, parse_math=False)  # fmt: skip
    return figure, axes


def _line(number: str, name: str) -> str:
    return f"{number:>2}  {name}"


def _letters(known: Sequence[Mark]) -> list[str]:
    """A letter for each mark, as far as they go."""
    return [ascii_lowercase[i] if i < len(ascii_lowercase) else "" for i in range(len(known))]


def _colour(mark: Mark) -> str:
    return CONTROL if mark.control else KNOWN


def _ours(
    axis: Axes,
    front: Sequence[Mark],
    xs: Sequence[float] | np.ndarray,
    ys: Sequence[float] | np.ndarray,
    winner: str | None,
) -> list[Label]:
    """Draw the formulas, the winner ringed; the numbers that are to stand beside them."""
    axis.scatter(xs, ys, s=22, color=OURS, zorder=4)
    labels = []
    for number, (mark, x, y) in enumerate(zip(front, xs, ys, strict=True), 1):
        text = str(number) if number <= LISTED else ""
        if mark.name == winner:
            ring(axis, x, y)
            labels.append(Label(x, y, text, OURS, RING / 2 + 1))
        else:
            labels.append(Label(x, y, text, OURS))
    return labels


def _known(
    axis: Axes,
    xs: Sequence[float],
    ys: Sequence[float],
    marks: Sequence[tuple[Mark, str]],
) -> list[Label]:
    """Draw the published CAMs and controls; the letters that are to stand beside them."""
    controls = np.array([mark.control for mark, _ in marks], bool)
    for drawn, marker, colour in ((~controls, "D", KNOWN), (controls, "v", CONTROL)):
        if drawn.any():
            axis.scatter(np.asarray(xs)[drawn], np.asarray(ys)[drawn], s=20, marker=marker,
                         color=colour, zorder=3)  # fmt: skip
    return [
        Label(x, y, letter, _colour(mark))
        for x, y, (mark, letter) in zip(xs, ys, marks, strict=True)
    ]


def _edge(points: np.ndarray, directions: Sequence[bool]) -> np.ndarray:
    """``[n,2]`` the points that nothing beats in these two goals, in the order of the first."""
    turned = points * np.where(directions, 1.0, -1.0)
    order = np.lexsort((-turned[:, 1], -turned[:, 0]))
    best, kept = -np.inf, []
    for i in order:
        if turned[i, 1] > best:
            best = turned[i, 1]
            kept.append(i)
    edge = points[kept]
    return edge[np.argsort(edge[:, 0], kind="stable")]


def _finished(
    figure: Figure,
    title: str,
    labels: Mapping[Axes, Sequence[Label]],
    lines: Sequence[float] = (),
) -> Figure:
    entitle(figure, title)
    figure.draw_without_rendering()  # where points lie is known only then
    figure.set_layout_engine("none")  # and stays so, which also takes half the time
    for axis, texts in labels.items():
        place_labels(axis, texts, lines)
    return figure
