"""What is searched for, and on what: arguments checked, network loaded, images measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from sycam.data.images import ImageSet
from sycam.errors import NetworkError
from sycam.events import Note, Notify, Stage, ignore
from sycam.evidence import Evidence, Layers, Stack
from sycam.grammar import Grammar, load_grammar
from sycam.heatmaps import Fusion
from sycam.inference import FLOAT32, Classifier
from sycam.language import Expression
from sycam.methods import Method, find_method, scored_along
from sycam.metrics import Context, Metric, find_metric
from sycam.metrics.composition.objectives import Goals
from sycam.networks import NamedNetwork, open_network
from sycam.networks.readings import AUTO
from sycam.networks.reshaping import Reshape
from sycam.problem.explained_network import Subject, check_volumes, device_for
from sycam.problem.images import DEMO, Images, check_groups_of_scenes, divide, read_images
from sycam.runs.record import identity_of
from sycam.scoring.precision import in_precision, verify_precision
from sycam.scoring.scorer import Scorer
from sycam.search import Candidate, Enumerator, Requirement, need_masks
from sycam.targets.resolve import Target, is_callable

PROBE_BYTES = 1 << 20  # of one map's values on all probe images, which are two to five
SAME = 1e-4  # heatmaps that differ by no more anywhere are the same
_PART = 32  # images whose heatmaps are compared at once


@dataclass
class Task:
    """A search that is ready to run; nothing has been written yet.

    Attributes:
        subject: the network, its layers and the target.
        searched: the images to search on.
        unseen: the images held out.
        metric: what is optimised; ``Goals`` where there are several.
        grammar: the space.
        requirements: what the winner must be besides.
        precision: of the network while searching.
        evidence: measurements on the search images.
        context: of the same images.
        known: published CAMs and controls, to be scored along.
        correct_only: whether images that the network classifies wrongly were left out.
    """

    subject: Subject
    searched: ImageSet
    unseen: ImageSet
    metric: Metric
    grammar: Grammar
    requirements: tuple[Requirement, ...]
    precision: str
    evidence: Evidence | Stack
    context: Context
    known: list[Method]
    correct_only: bool = False

    @classmethod
    def prepare(
        cls,
        network: nn.Module | str | NamedNetwork,
        layer: Layers,
        images: Images,
        labels: Tensor | Sequence[int] | None = None,
        masks: Tensor | np.ndarray | None = None,
        metric: str | Metric | Sequence[str | Metric] = "road",
        grammar: str | Grammar = "gradient",
        search_images: int = 64,
        heldout: int | Images = 256,
        target: Target = "predicted",
        device: str | torch.device | None = None,
        seed: int = 0,
        reshape: Reshape = None,
        fusion: Fusion = "mean",
        require: Sequence[str] = (),
        precision: str = FLOAT32,
        guesses: Sequence[Expression] = (),
        correct_only: bool = False,
        notify: Notify = ignore,
        groups: str | Sequence[object] | None = None,
        output: str = AUTO,
    ) -> Task:
        """Check all that was given and measure the search images.

        The arguments are those of :func:`sycam.synthesize`.

        Raises:
            SycamError: for anything given that cannot be used; the message says how to mend it.
        """
        if isinstance(images, str) and images == DEMO:
            check_groups_of_scenes(groups)
        several = isinstance(metric, Sequence) and not isinstance(metric, str)
        goals = [find_metric(one) for one in metric] if several else [find_metric(metric)]
        metric = goals[0] if len(goals) == 1 else Goals(goals)
        require = [require] if isinstance(require, str) else require
        requirements = tuple(Requirement.parse(text) for text in require)
        watched = (metric, *(r.metric for r in requirements))
        grammar = grammar if isinstance(grammar, Grammar) else load_grammar(grammar)
        known = open_network(network)
        if known.source is not None:  # it is ours
            known.module.to(device_for(device, known.module))
        if not (isinstance(images, str) and images == DEMO):
            images = read_images(images, labels, masks, known, notify, groups)
            for one in watched:
                check_volumes(one, images)
        if not isinstance(heldout, int):
            column = groups if isinstance(groups, str) and isinstance(heldout, str | Path) else None
            heldout = read_images(heldout, network=known, notify=notify, groups=column)
        only = known.module if correct_only else None
        masked = need_masks(metric, requirements)
        searched, unseen = divide(images, heldout, search_images, seed, masked, only, output)
        for line in dict.fromkeys(
            (*searched.notes, *unseen.notes, *searched.skipped, *unseen.skipped)
        ):
            notify(Note(line))
        subject = Subject.prepare(
            known, layer, searched, target, device, seed, notify, reshape, fusion, output
        )
        if subject.unsteady:
            raise NetworkError(f"no search on a network that is not steady: {subject.unsteady}")
        notify(Stage("Measuring activations and gradients", len(searched)))
        grammar = _available(grammar, subject, searched, notify)
        leaves = grammar.leaves.union(
            *(m.leaves for m in watched), *(guess.leaves for guess in guesses)
        )
        evidence, context = subject.measure(searched, notify, leaves)
        for one in watched:
            one.check(context)
        along = scored_along(grammar.leaves)
        along = [m for m in along if m.has_weights or not metric.of_weights]
        if precision != FLOAT32:
            context = _in_precision(precision, subject, metric, evidence, context, along)
        return cls(
            subject, searched, unseen, metric, grammar, requirements, precision, evidence,
            context, along, correct_only,
        )  # fmt: skip

    @property
    def goals(self) -> tuple[Metric, ...]:
        """The metrics that are optimised, one or several."""
        return self.metric.metrics if isinstance(self.metric, Goals) else (self.metric,)

    @property
    def needs_masks(self) -> bool:
        """Whether a goal or a requirement compares with ground truth."""
        return need_masks(self.metric, self.requirements)

    @cached_property
    def identity(self) -> str:
        """Digest of all that the scores depend on."""
        return identity_of(
            self.subject,
            self.searched,
            self.metric,
            self.grammar,
            self.requirements,
            self.precision,
        )

    @cached_property
    def scorer(self) -> Scorer:
        """Scores methods on all search images."""
        return Scorer(self.metric, self.evidence, self.context)

    @property
    def probe_images(self) -> int:
        """How many of the search images tell candidates apart."""
        first = self.evidence.layers[0]
        one = first.activations[0].numel() * 8
        return min(len(first), max(2, min(5, PROBE_BYTES // one)))

    def enumerator(self, equivalence: str) -> Enumerator:
        """The candidates of the grammar, told apart on a few of the search images."""
        return Enumerator(
            self.grammar,
            self._probe(),
            self.metric.invariance,
            self.context.size,
            depth=self.evidence.layers[0].depth,
            equivalence=equivalence,
        )

    def _probe(self) -> dict[str, Tensor]:
        """Measurements of some of the search images.

        Where the metric looks at other inputs, also those of each image's least likely class,
        whose score has mostly another sign.
        """
        first, leaves = self.evidence.layers[0], self.grammar.leaves
        count = self.probe_images
        found = {name: tensor[:count] for name, tensor in first.leaves.items()}
        several = first.outputs is not None and first.outputs.shape[1] > 1
        if self.metric.looks_elsewhere and several and not is_callable(self.subject.target):
            classes = first.outputs.scatter(1, first.targets[:, None], torch.inf).argmin(1)
            other = self.subject.remeasure(self.context.images[:count], leaves, classes[:count])
            other = other.layers[0].leaves
            found = {name: torch.cat([other[name], tensor]) for name, tensor in found.items()
                     if name in other}  # fmt: skip
        return found


class Disguise:
    """Whether a candidate's heatmaps are those of a published CAM or control on all images.

    Args:
        scorer: of the search images.
        leaves: names of the leaves that are measured.
    """

    def __init__(self, scorer: Scorer, leaves: frozenset[str]):
        self.scorer = scorer
        self.known = scored_along(leaves)
        self._maps: dict[tuple[str, int], Tensor] = {}  # of the known, made when first looked at

    def __call__(self, candidate: Candidate) -> bool:
        """Whether it is a known method in disguise."""
        method = find_method(candidate.expression)
        alike = list(self.known)
        for start in range(0, len(self.scorer.context), _PART):
            ours = self._heatmaps(method, start)
            alike = [k for k in alike if (ours - self._of(k, start)).abs().max() <= SAME]
            if not alike:
                return False
        return True

    def _of(self, known: Method, start: int) -> Tensor:
        key = (known.name, start)
        if key not in self._maps:
            self._maps[key] = self._heatmaps(known, start)
        return self._maps[key]

    def _heatmaps(self, method: Method, start: int) -> Tensor:
        part = slice(start, start + _PART)
        evidence, context = self.scorer.evidence.subset(part), self.scorer.context.subset(part)
        return method.heatmaps(evidence, context).maps


def _in_precision(
    precision: str,
    subject: Subject,
    metric: Metric,
    evidence: Evidence | Stack,
    context: Context,
    known: Sequence[Method],
) -> Context:
    """The context with a classifier of another precision, which ranks as float32 does."""
    slow = subject.classifier
    fast = Classifier(
        subject.network, slow.device, score=slow.score, precision=precision, reading=slow.reading
    )
    verify_precision(fast, metric, evidence, context, known)
    return in_precision(context, fast)


def _available(grammar: Grammar, subject: Subject, images: ImageSet, notify: Notify) -> Grammar:
    """The grammar without the leaves that this network does not have."""
    if "class_weights" not in grammar.leaves or subject.has_linear_head(images):
        return grammar
    notify(Note("leaf C left out: no linear head follows the layer's global average pooling"))
    return grammar.without({"class_weights"})
