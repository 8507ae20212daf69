"""Which published CAM at which layer: all of them ranked on some images, the first on others."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import nn

from sycam.data.images import ImageSet
from sycam.errors import OptionError
from sycam.events import Note, Notify, Stage, Step, each, ignore, once
from sycam.evidence import AUTO, Evidence, Layers, Stack, as_layers
from sycam.inference import sharing_cores
from sycam.methods import Method, find_method, is_habit, shown_methods
from sycam.methods.method import BLURRED, CONTROL, PUBLISHED, RIVALS
from sycam.metrics import Context, Metric
from sycam.networks import NamedNetwork
from sycam.problem.images import Images
from sycam.problem.options import DataOptions, ExplainOptions
from sycam.problem.problem import Question
from sycam.problem.request import NETWORK, Request
from sycam.report.progress import Watcher, console_of
from sycam.report.recommended import Ranked, Recommendation
from sycam.scoring.blocks import FIRST, ImageBlock, cell_blocks, image_blocks
from sycam.scoring.journal import Journal
from sycam.scoring.journaled_scorer import JournaledScorer
from sycam.search.budget import Budget
from sycam.search.racing.known import LEAST, in_order, score_known
from sycam.search.selection.select import Candidate
from sycam.support.arguments import argument
from sycam.support.options import with_keywords
from sycam.validation.entrants import WINNER, Entrant
from sycam.validation.findings import Validation
from sycam.validation.heldout_scores import Conduct
from sycam.validation.measures import Measures
from sycam.validation.validate import validate

_KEPT = 0.4  # of the time, for the images that decide nothing
_BEGINNING = 0.5  # of the time for ranking, that the first look at all methods may take
_FINALISTS = 8  # methods that there should be time for to see as much as any
_TIMED = 3  # methods that tell how long the others take
_GLANCE = 4  # images that tell how long one takes, and the fewest that rank a method
# Where there is no time for all, those that come first: what the cells of benchmarks/RESULTS.md
# choose most often on real networks, and with them as many kinds of methods as possible.
_IN_TURN = (
    "grad-cam", "layer-cam", "hirescam", "blurred-layer-cam", "blurred-hirescam", "fem",
    "eigen-cam", "grad-cam++", "zoom-cam", "refine-cam",
)  # fmt: skip
_SURE = 0.8  # of the time left that the images which decide nothing are planned to take
_LEAST_IMAGES = 8  # on which the first is measured, however short the time
_BESIDE = 2  # of the best that are measured beside the first


def recommend(  # noqa: PLR0913 (public)
    network: nn.Module | str | NamedNetwork,
    images: Images,
    metric: str | Metric = "road",
    layer: Layers = AUTO,
    methods: Sequence[str | Method] = (),
    *,
    budget: Budget | str | None = "1m",
    data: DataOptions = DataOptions(),
    explain: ExplainOptions = ExplainOptions(),
    seed: int = 0,
    device: str | torch.device | None = None,
    progress: bool | None = None,
    notify: Notify = ignore,
    **options: object,
) -> Recommendation:
    """Say which published CAM to use at which layer, without a search for new formulas.

    One part of the images ranks the methods, and the first of them is measured, and compared, on
    the other part: it was chosen for being ahead on the first, where its figure flatters it.

    Args:
        network, images, explain, seed, device, progress, options: as for :func:`sycam.synthesize`.
        metric: what they are ranked by; ``sycam metrics`` lists the names.
        layer: ``"auto"``, three to six layers of the network; or the layers to compare, by name.
        methods: names or expressions beside the published CAMs and controls that need no
            expensive leaf, like ``"score-cam"``; blurred ones stand among those where the metric
            rewards blur.
        budget: of the whole call, like ``"1m"``; what it cut is said. No limit if None; a
            ``Budget`` has a clock of its own.
        data: which images rank and which do not: ``search_images`` and ``heldout``.
        notify: watches the progress.

    Returns:
        The ranking, which prints itself.

    Raises:
        SycamError: for anything given that cannot be used.
    """
    data, explain = with_keywords(options, data, explain)
    clock = _clock(budget)
    beside = [find_method(m) for m in ([methods] if isinstance(methods, str) else methods)]
    for one in beside:
        if one.sites:
            raise OptionError(
                f"{one.formula} names the layers that it reads; {argument('layer')} says at which "
                "layers all methods are compared: leave them out of the formula"
            )
    grammar = NETWORK if len(as_layers(layer)) > 1 else None
    asked = Request(
        network, layer, images, metric, grammar, data=data, explain=explain, seed=seed,
        device=device,
    )  # fmt: skip
    with Watcher(console_of(progress)) as watch, sharing_cores(lambda text: tell(Note(text))):
        tell = once(each(watch, notify))
        return _Comparison.of(asked, beside, clock, tell).recommendation()


def _clock(budget: Budget | str | None) -> Budget:
    if isinstance(budget, Budget):
        limit = budget
    else:
        limit = Budget().started() if budget is None else Budget.parse(budget).started()
    if limit.candidates is not None:
        raise OptionError(
            f"{argument('budget')} is a time here, like 90s or 5m, got {str(budget)!r}: how many "
            "methods there are is known"
        )
    return limit


@dataclass(frozen=True)
class Extent:
    """What there is time for.

    Attributes:
        images: that rank.
        first: of them, that each method sees first.
        methods: that see those.
        finalists: that there should be time for to see as much as any.
    """

    images: int
    first: int
    methods: int
    finalists: int = _FINALISTS

    @classmethod
    def within(
        cls, seconds: float, pace: float, measuring: float, methods: int, images: int
    ) -> Extent:
        """As many methods as possible at a first look, and more images for the best of them.

        Args:
            seconds: for all.
            pace: seconds of a method on an image, or in a cell.
            measuring: seconds of an image before any method sees it.
            methods, images: how many there are.
        """
        cells = _BEGINNING * seconds / max(pace, 1e-9)
        first = min(images, max(_GLANCE, min(FIRST, int(cells / methods))))
        seen = max(LEAST, min(methods, int(cells / first)))
        finalists = max(LEAST, min(_FINALISTS, seen // 4))
        rest = max(0.0, seconds - seen * first * pace - first * measuring)
        more = int(rest / max(finalists * pace + measuring, 1e-9))
        return cls(min(images, first + more), first, seen, finalists)


def _turn(method: Method) -> int:
    """When a method's turn comes."""
    name = method.name.partition("@")[0]
    return _IN_TURN.index(name) if name in _IN_TURN else len(_IN_TURN)


def _up_to(stages: Sequence[ImageBlock], each: float) -> tuple[ImageBlock, ...]:
    """The first stages, which show all images and at most so many cells; at least once each."""
    whole = [i for i, stage in enumerate(stages) if stage.stop == stages[-1].stop]
    fitting = [i for i in whole if stages[i].end <= each] or whole[:1]
    return tuple(stages[: fitting[-1] + 1])


@dataclass
class _Comparison:
    """Methods, and the images to compare them on.

    Attributes:
        question: network, layers, images and metric.
        methods: all that are compared, those first that matter most.
        named: names of those that were asked for, whatever they take.
        seed: of resampling.
        clock: of the budget.
        notify: watches the progress.
        pace: measured seconds of a method on an image.
        measuring: measured seconds of an image before any method sees it.
        levels_seen: of the metric's levels, on a ranking image by the methods that saw most.
    """

    question: Question
    methods: Sequence[Method]
    named: frozenset[str]
    seed: int
    clock: Budget
    notify: Notify
    pace: float = 0.0
    measuring: float = 0.0
    levels_seen: float = 1.0

    @classmethod
    def of(
        cls, asked: Request, beside: Sequence[Method], clock: Budget, notify: Notify
    ) -> _Comparison:
        question = Question.of(asked, notify)
        metric, names = question.metric, [one.name for one in question.explained.layers]
        sites = names if len(names) > 1 else []
        shown = shown_methods(question.grammar.leaves, sites, metric.rewards_blur)
        named = [m.at(site) for m in beside for site in sites] if sites else beside
        # What is asked for is scored next to what everybody uses, however short the time.
        first, *others = sorted(in_order(shown), key=_turn)
        methods = list({m.name: m for m in [first, *named, *others]}.values())
        methods = [m for m in methods if m.has_weights or not metric.of_weights]
        asked_for = frozenset(m.name for m in named)
        return cls(question, methods, asked_for, asked.seed, clock, notify)

    def recommendation(self) -> Recommendation:
        """Rank all, then measure the first and what stands beside it."""
        question, metric = self.question, self.question.metric
        with TemporaryDirectory() as folder:
            extent = self._extent(Path(folder))
            ranking = question.searched.subset(range(extent.images))
            evidence, context = self._evidence(ranking, self.notify)
            ranked, partly = self._ranking(Path(folder), evidence, context, extent)
        entrants = self._entrants(ranked)
        count = self._unseen(entrants)
        validation = self._measured(entrants, count)
        scored = {c.name for c in (*ranked, *partly)}
        return Recommendation(
            metric=metric.text,
            higher_is_better=metric.higher_is_better,
            network=question.explained.name,
            layers=tuple(one.name for one in question.explained.layers),
            ranking_images=len(context),
            searched_images=len(question.searched),
            levels_seen=self.levels_seen,
            levels=metric.levels,
            rows=self._rows(ranked, partly, validation),
            validation=validation,
            not_scored=tuple(m.name for m in self.methods if m.name not in scored),
            unseen_images=len(question.unseen),
            explained=question.explained,
            unseen=question.unseen,
        )

    def _evidence(self, images: ImageSet, notify: Notify) -> tuple[Evidence | Stack, Context]:
        """What is measured of images that rank, before any method sees them."""
        metric, began = self.question.metric, time.monotonic()
        leaves = metric.leaves.union(*(m.leaves for m in self.methods))
        evidence, context = self.question.explained.measure(images, notify, leaves)
        metric.check(context)
        self.methods = [m for m in self.methods if m.name in self.named or m.is_cheap(evidence)]
        self.measuring = (time.monotonic() - began) / len(context)
        return evidence, context

    def _extent(self, folder: Path) -> Extent:
        """How many images rank how many methods, by the time that the first of them take on a few
        images; all where the time is not limited, or passes of the network do not take it."""
        metric, there = self.question.metric, self.question.searched
        whole = Extent(len(there), min(FIRST, len(there)), len(self.methods))
        # Where the figure is no mean over images, few of them say nothing.
        if not self.limited or metric.components or not (metric.passes or metric.measurements):
            return whole
        few = there.subset(range(min(_GLANCE, len(there))))
        evidence, context = self._evidence(few, ignore)  # of so few images notes say nothing
        with self._board(folder / "glance.jsonl", evidence, context, FIRST) as board:
            for method in self.methods[:_TIMED]:
                board.score_method(method, 0)
        left, count = self._left(), len(self.methods)
        return Extent.within(left, board.pace, self.measuring, count, len(there))

    @contextmanager
    def _board(
        self, file: Path, evidence: Evidence | Stack, context: Context, first: int
    ) -> Iterator[JournaledScorer]:
        """Scores of methods on images, the first of which all methods see first."""
        metric = self.question.metric
        # Where the figure is no mean, all images are seen at once.
        stages = (image_blocks if metric.components else cell_blocks)(len(context), metric, first)
        with closing(Journal(file, "recommendation", metric, stages)) as journal:
            yield JournaledScorer(metric, evidence, context, journal, stages)

    def _ranking(
        self, folder: Path, evidence: Evidence | Stack, context: Context, extent: Extent
    ) -> tuple[list[Candidate], list[Candidate]]:
        """Those that came to the end, the best first, and those that fell behind: what is best on
        few images sees more of them, as in a race."""
        methods = list(self.methods)
        with self._board(folder / "scores.jsonl", evidence, context, extent.first) as board:
            stages = board.stages
            self.notify(Stage("Preparing the network"))
            more = extent.finalists * (extent.images - stages[0].stop) if self.limited else 0
            cells = extent.methods * stages[0 if self.limited else -1].end + more
            board.prepare(-(-cells // stages[0].levels))
            if self.limited:
                for method in methods[:_TIMED]:
                    board.score_method(method, 0)
                cells = int(self._left() / max(board.pace, 1e-9))  # that there is time for
                methods = methods[: max(LEAST, int(_BEGINNING * cells / stages[0].cells))]
                each = (cells - len(methods) * stages[0].cells) / extent.finalists
                stages = _up_to(stages, each)
                board = JournaledScorer(board.metric, evidence, context, board.journal, stages)
            last = stages[-1]
            self.levels_seen = last.end / last.stop if last.levels > 1 else board.metric.levels
            self.notify(Stage("Ranking published CAMs", len(methods)))
            known = score_known(methods, board, self._left, done=lambda n: self.notify(Step(n)))
            self.pace = board.pace * stages[0].levels
        return self._best_first(known.whole), self._best_first(known.partly)

    @property
    def limited(self) -> bool:
        """Whether there is a limit in time."""
        return self.clock.seconds is not None

    def _left(self) -> float:
        """Seconds that are left for ranking."""
        return self.clock.left - (_KEPT * self.clock.seconds if self.limited else 0.0)

    def _best_first(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        def worth(candidate: Candidate) -> tuple[bool, float]:
            mean = float(self.question.metric.oriented(candidate.mean))
            return not candidate.eligible, -mean if math.isfinite(mean) else math.inf

        return sorted(candidates, key=worth)

    def _entrants(self, ranked: Sequence[Candidate]) -> list[Entrant]:
        """The first, what everybody uses, the best that is not blurred, the best of each layer and
        the next best; where the time is not limited, all."""
        by_name = {m.name: m for m in self.methods}
        rivals = [c for c in ranked if c.kind != CONTROL]
        rivals = [c for c in rivals if c.eligible] or rivals
        controls = [c for c in ranked if c.kind == CONTROL][:1]
        best = rivals[0]
        habit = [c for c in ranked if is_habit(by_name[c.name])]
        deepest = [c for c in habit if by_name[c.name].sites in ((), self._names[:1])]
        plain = [c for c in rivals if c.kind != BLURRED][:1]
        layers = [next(of) for _, of in groupby(sorted(rivals, key=self._layer), key=self._layer)]
        chosen = [best, *(deepest or habit[:1]), *plain, *rivals[:_BESIDE], *layers, *controls]
        if self.limited:  # of those that show the same, one
            first: dict[bytes, Candidate] = {}
            chosen = [c for c in chosen if first.setdefault(c.score.values.tobytes(), c) is c]
        else:
            chosen += ranked
        metric = self.question.metric
        return [
            Entrant(
                by_name[c.name],
                # One that users name is compared as the published ones are.
                WINNER if c is best else c.kind if c.kind in (*RIVALS, CONTROL) else PUBLISHED,
                c.mean,
                metric.fit(c.score.values),
            )
            for c in {c.name: c for c in chosen}.values()
        ]

    @property
    def _names(self) -> tuple[str, ...]:
        return tuple(one.name for one in self.question.explained.layers)

    def _layer(self, candidate: Candidate) -> str:
        """The layer that a method reads; empty where it reads none or all."""
        sites = next(m for m in self.methods if m.name == candidate.name).sites
        return sites[0] if sites else self._names[0] if len(self._names) == 1 else ""

    def _unseen(self, entrants: Sequence[Entrant]) -> int:
        """How many of the other images there is time for."""
        there = len(self.question.unseen)
        if not self.limited:
            return there
        each = self.measuring + self.pace * len(entrants)
        return min(there, max(_LEAST_IMAGES, int(_SURE * self.clock.left / max(each, 1e-9))))

    def _measured(self, entrants: Sequence[Entrant], count: int) -> Validation:
        question, measures = self.question, Measures(self.question.metric)
        unseen = question.unseen.subset(range(count))
        leaves = question.metric.leaves.union(*(e.method.leaves for e in entrants))
        evidence, context = question.explained.measure(unseen, self.notify, leaves)
        conduct = Conduct(left=lambda: self.clock.left)
        return validate(entrants, measures, evidence, context, self.seed, self.notify, conduct)

    def _rows(
        self, ranked: Sequence[Candidate], partly: Sequence[Candidate], validation: Validation
    ) -> tuple[Ranked, ...]:
        by_name = {m.name: m for m in self.methods}
        found = {row.name: row for row in validation.rows}
        rows = []
        for place, c in enumerate([*ranked, *partly], 1):
            method, row = by_name[c.name], found.get(c.name)
            rows.append(
                Ranked(
                    place=place if place <= len(ranked) else None,
                    method=method,
                    name=c.name.partition("@")[0],
                    kind=c.kind,
                    layer=self._layer(c),
                    figure=c.mean,
                    flat=c.score.degenerate,
                    eligible=c.eligible,
                    heldout=None if row is None else row.heldout,
                    against=None if row is None else row.against,
                )
            )
        return tuple(rows)
