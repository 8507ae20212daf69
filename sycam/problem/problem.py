"""What is searched for, and on what: arguments checked, network loaded, images measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path

from sycam.data.images import ImageSet
from sycam.data.names import DEMO
from sycam.errors import NetworkError
from sycam.events import Note, Notify, Stage, ignore
from sycam.evidence import AUTO, SITES, Evidence, Stack, as_layers
from sycam.grammar import Grammar
from sycam.heatmaps.sites import check_layers
from sycam.inference import FLOAT32, Classifier
from sycam.language import Expression
from sycam.methods import Method, shown_methods
from sycam.metrics import Context, Metric, find_metric
from sycam.metrics.composition.levels import halves
from sycam.metrics.composition.objectives import Objectives
from sycam.metrics.requirement import Requirement, need_masks
from sycam.networks import NamedNetwork, open_network
from sycam.problem.applicable import check_volumes
from sycam.problem.devices import on_device
from sycam.problem.explained_network import ExplainedNetwork
from sycam.problem.identity import identity_of
from sycam.problem.images import (
    check_groups_of_scenes,
    demo_images,
    divide,
    read_images,
    sample,
    staying,
    with_masks,
)
from sycam.problem.request import Request
from sycam.scoring.precision import IMAGES as VERIFIED
from sycam.scoring.precision import in_precision, verify_precision
from sycam.scoring.scorer import Scorer
from sycam.scoring.scoring import IN_PROCESS, Scoring
from sycam.support.arguments import argument


@dataclass
class Question:
    """A search with its network and images at hand, of which nothing is measured yet.

    Attributes:
        explained: the network, its layers and the target.
        searched: the images to search on.
        unseen: the images held out.
        metric: what is optimised; ``Objectives`` where there are several.
        grammar: the space.
        requirements: what the winner must be as well.
        precision: of the network while searching.
        correct_only: whether images that the network classifies wrongly were left out.
    """

    explained: ExplainedNetwork
    searched: ImageSet
    unseen: ImageSet
    metric: Metric
    grammar: Grammar
    requirements: tuple[Requirement, ...]
    precision: str
    correct_only: bool

    @classmethod
    def of(cls, asked: Request, notify: Notify = ignore) -> Question:
        """Check what was given, load the network and read the images.

        Args:
            asked: what was given.
            notify: watches the progress.

        Raises:
            SycamError: for anything given that cannot be used; the message says how to mend it.
        """
        metric = _optimised(asked.metric)
        if asked.adapt is not None:
            halves(metric)  # it says why where it cannot choose
        require = [asked.require] if isinstance(asked.require, str) else asked.require
        requirements = tuple(Requirement.parse(text) for text in require)
        watched = (metric, *(r.metric for r in requirements))
        grammar = asked.space()  # before anything long
        known = on_device(open_network(asked.network), asked.device)
        searched, unseen = read_and_divide(asked, known, watched, notify)
        if len(searched.shape) > 3:
            grammar = asked.space(volumes=True)
        whole = grammar.spans_layers and as_layers(asked.layer) == [AUTO]
        layer = SITES if whole else asked.layer
        explained = ExplainedNetwork.prepare(
            known, layer, searched, asked.explain, asked.seed, asked.device, notify
        )
        for guess in asked.guesses:
            check_layers(
                guess,
                [layer.name for layer in explained.layers],
                f"{argument('guess', str(guess))} reads it; {argument('layer')} says which layers "
                "are searched",
            )
        if explained.unsteady:
            raise NetworkError(f"no search on a network that is not steady: {explained.unsteady}")
        grammar = _available(grammar, explained, searched, notify)
        return Question(
            explained=explained,
            searched=searched,
            unseen=unseen,
            metric=metric,
            grammar=grammar.at([layer.name for layer in explained.layers]),
            requirements=requirements,
            precision=asked.explain.precision,
            correct_only=asked.data.correct_only,
        )

    @property
    def goals(self) -> tuple[Metric, ...]:
        """The metrics that are optimised, one or several."""
        return self.metric.metrics if isinstance(self.metric, Objectives) else (self.metric,)

    @property
    def needs_masks(self) -> bool:
        """Whether a goal or a requirement compares with ground truth."""
        return need_masks(self.metric, self.requirements)

    @property
    def shown(self) -> list[Method]:
        """Published CAMs, baselines and controls that read no more than the grammar does."""
        return shown_methods(self.grammar.leaves, self.grammar.sites, self.metric.rewards_blur)

    @cached_property
    def identity(self) -> str:
        """Digest of all that the scores depend on."""
        return identity_of(
            self.explained,
            self.searched,
            self.metric,
            self.grammar,
            self.requirements,
            self.precision,
        )


@dataclass
class Problem(Question):
    """A search that is ready to run; nothing has been written yet.

    Attributes:
        evidence: measurements on the search images.
        context: of the same images.
        known: published CAMs and controls, scored as well.
        scoring: who scores.
    """

    evidence: Evidence | Stack
    context: Context
    known: list[Method]
    scoring: Scoring = IN_PROCESS

    @classmethod
    def of(cls, asked: Request, notify: Notify = ignore) -> Problem:
        """Check all that was given and measure the search images.

        Args:
            asked: what was given.
            notify: watches the progress.

        Raises:
            SycamError: for anything given that cannot be used; the message says how to mend it.
        """
        return cls.measured(Question.of(asked, notify), asked.guesses, notify)

    @classmethod
    def measured(
        cls,
        asked: Question,
        guesses: Sequence[Expression] = (),
        notify: Notify = ignore,
        scoring: Scoring = IN_PROCESS,
    ) -> Problem:
        """Measure the search images.

        Args:
            asked: with network and images at hand.
            guesses: expressions whose leaves are measured as well.
            notify: watches the progress.
            scoring: who measures, and scores.

        Raises:
            SycamError: a metric is not defined for these images, or the precision does not do.
        """
        explained, searched = asked.explained, asked.searched
        metric, grammar = asked.metric, asked.grammar
        notify(Stage("Measuring activations and gradients", len(searched)))
        watched = (metric, *(r.metric for r in asked.requirements))
        leaves = frozenset().union(*(one.leaves for one in (grammar, *watched, *guesses)))
        usual = asked.precision == FLOAT32
        # To verify a precision this process measures and scores: of workers' images the first few.
        few = searched
        if not usual and scoring is not IN_PROCESS:
            few = searched.subset(range(min(VERIFIED, len(searched))))
        measuring = scoring if usual else IN_PROCESS
        evidence, context = measuring.measure(
            explained, few, notify if few is searched else ignore, leaves
        )
        for one in watched:
            one.check(context)
        shown = [m for m in asked.shown if m.has_weights or not metric.of_weights]
        shown = [m for m in shown if m.is_cheap(evidence)]
        if not usual:
            scorer = Scorer(metric, evidence, context)
            fast = _fast(asked.precision, explained, scorer, shown)
            if few is searched:
                context = in_precision(context, fast)
            else:
                quick = replace(explained, classifier=fast)
                evidence, context = scoring.measure(quick, searched, notify, leaves)
                for one in watched:
                    one.check(context)
        parts = {field.name: getattr(asked, field.name) for field in fields(asked)}
        return cls(**parts, evidence=evidence, context=context, known=shown, scoring=scoring)

    @cached_property
    def scorer(self) -> Scorer:
        """Scores methods on all search images."""
        return self.scoring.scorer(self.metric, self.evidence, self.context)


def _optimised(metric: str | Metric | Sequence[str | Metric]) -> Metric:
    """The metric, or several of them as objectives."""
    if isinstance(metric, str) or not isinstance(metric, Sequence):
        return find_metric(metric)
    goals = [find_metric(one) for one in metric]
    return goals[0] if len(goals) == 1 else Objectives(goals)


def read_and_divide(
    asked: Request, known: NamedNetwork, watched: Sequence[Metric], notify: Notify
) -> tuple[ImageSet, ImageSet]:
    """The images to search on and those held out.

    Args:
        asked: which images, and how many.
        known: the network, whose preprocessing files are read with.
        watched: metrics, which may need masks or flat images.
        notify: is told what was left out, and of the progress.

    Raises:
        SycamError: images that cannot be read, divided or scored under the metrics.
    """
    data, images, heldout = asked.data, asked.images, asked.data.heldout
    if isinstance(images, str) and images == DEMO:
        check_groups_of_scenes(data.groups)
    else:
        images = read_images(images, data.labels, data.masks, known, notify, data.groups)
        images = staying(images) if asked.streams else images
        for one in watched:
            check_volumes(one, images)
    if heldout is not None and not isinstance(heldout, int):
        column = isinstance(data.groups, str) and isinstance(heldout, str | Path)
        groups = data.groups if column else None
        heldout = read_images(heldout, network=known, notify=notify, groups=groups)
        heldout = staying(heldout) if asked.streams else heldout
    only = known.module if data.correct_only else None
    masked = any(one.needs_masks for one in watched)
    searched, unseen = divide(
        images, heldout, data.search_images, asked.seed, masked, only, asked.explain.output
    )
    notes = (*searched.notes, *unseen.notes, *searched.skipped, *unseen.skipped)
    for line in dict.fromkeys(notes):
        notify(Note(line))
    return searched, unseen


def read_undivided(
    asked: Request, known: NamedNetwork, count: int | None, masked: bool, notify: Notify
) -> ImageSet:
    """All the images given or a sample of them; of ``"demo"`` 64 held-out scenes.

    Args:
        asked: which images.
        known: the network, whose preprocessing files are read with.
        count: how many, drawn by the seed; all if None.
        masked: whether masks are needed.
        notify: is told what was left out, and of the progress.

    Raises:
        SycamError: images that cannot be read.
    """
    data, given = asked.data, asked.images
    if isinstance(given, str) and given == DEMO:
        given = demo_images("heldout", 64, asked.seed)
    else:
        given = read_images(given, data.labels, data.masks, known, notify)
        given = staying(given) if asked.streams else given
    only = known.module if data.correct_only else None
    found = sample(with_masks(given, masked), count, asked.seed, only, asked.explain.output)
    for line in (*found.notes, *found.skipped):
        notify(Note(line))
    return found


def _fast(
    precision: str, explained: ExplainedNetwork, scorer: Scorer, known: Sequence[Method]
) -> Classifier:
    """A classifier of another precision, which ranks as float32 does."""
    slow = explained.classifier
    fast = Classifier(
        explained.network, slow.device, score=slow.score, precision=precision, reading=slow.reading
    )
    verify_precision(fast, scorer.metric, scorer.evidence, scorer.context, known)
    return fast


def _available(
    grammar: Grammar, explained: ExplainedNetwork, images: ImageSet, notify: Notify
) -> Grammar:
    """The grammar without the leaves that this network does not have."""
    lacking = explained.lacking(images, grammar.leaves)
    for leaf in lacking:
        notify(Note(f"leaf {leaf.symbol} left out: {leaf.absent}"))
    return grammar.without({leaf.name for leaf in lacking}) if lacking else grammar
