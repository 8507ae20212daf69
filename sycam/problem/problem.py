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
from sycam.methods import Method, scored_along
from sycam.metrics import Context, Metric, find_metric
from sycam.metrics.composition.objectives import Objectives
from sycam.metrics.requirement import Requirement, need_masks
from sycam.networks import NamedNetwork, open_network
from sycam.networks.readings import AUTO
from sycam.networks.reshaping import Reshape
from sycam.problem.explained_network import ExplainedNetwork, check_volumes, device_for
from sycam.problem.identity import identity_of
from sycam.problem.images import DEMO, Images, check_groups_of_scenes, divide, read_images
from sycam.scoring.precision import in_precision, verify_precision
from sycam.scoring.scorer import Scorer
from sycam.targets.resolve import Target


@dataclass
class Problem:
    """A search that is ready to run; nothing has been written yet.

    Attributes:
        explained: the network, its layers and the target.
        searched: the images to search on.
        unseen: the images held out.
        metric: what is optimised; ``Objectives`` where there are several.
        grammar: the space.
        requirements: what the winner must be besides.
        precision: of the network while searching.
        evidence: measurements on the search images.
        context: of the same images.
        known: published CAMs and controls, to be scored along.
        correct_only: whether images that the network classifies wrongly were left out.
    """

    explained: ExplainedNetwork
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
    ) -> Problem:
        """Check all that was given and measure the search images.

        The arguments are those of :func:`sycam.synthesize`.

        Raises:
            SycamError: for anything given that cannot be used; the message says how to mend it.
        """
        if isinstance(images, str) and images == DEMO:
            check_groups_of_scenes(groups)
        several = isinstance(metric, Sequence) and not isinstance(metric, str)
        goals = [find_metric(one) for one in metric] if several else [find_metric(metric)]
        metric = goals[0] if len(goals) == 1 else Objectives(goals)
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
        explained = ExplainedNetwork.prepare(
            known, layer, searched, target, device, seed, notify, reshape, fusion, output
        )
        if explained.unsteady:
            raise NetworkError(f"no search on a network that is not steady: {explained.unsteady}")
        notify(Stage("Measuring activations and gradients", len(searched)))
        grammar = _available(grammar, explained, searched, notify)
        leaves = grammar.leaves.union(
            *(m.leaves for m in watched), *(guess.leaves for guess in guesses)
        )
        evidence, context = explained.measure(searched, notify, leaves)
        for one in watched:
            one.check(context)
        along = scored_along(grammar.leaves)
        along = [m for m in along if m.has_weights or not metric.of_weights]
        if precision != FLOAT32:
            context = _in_precision(precision, explained, metric, evidence, context, along)
        return cls(
            explained, searched, unseen, metric, grammar, requirements, precision, evidence,
            context, along, correct_only,
        )  # fmt: skip

    @property
    def goals(self) -> tuple[Metric, ...]:
        """The metrics that are optimised, one or several."""
        return self.metric.metrics if isinstance(self.metric, Objectives) else (self.metric,)

    @property
    def needs_masks(self) -> bool:
        """Whether a goal or a requirement compares with ground truth."""
        return need_masks(self.metric, self.requirements)

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

    @cached_property
    def scorer(self) -> Scorer:
        """Scores methods on all search images."""
        return Scorer(self.metric, self.evidence, self.context)


def _in_precision(
    precision: str,
    explained: ExplainedNetwork,
    metric: Metric,
    evidence: Evidence | Stack,
    context: Context,
    known: Sequence[Method],
) -> Context:
    """The context with a classifier of another precision, which ranks as float32 does."""
    slow = explained.classifier
    fast = Classifier(
        explained.network, slow.device, score=slow.score, precision=precision, reading=slow.reading
    )
    verify_precision(fast, metric, evidence, context, known)
    return in_precision(context, fast)


def _available(
    grammar: Grammar, explained: ExplainedNetwork, images: ImageSet, notify: Notify
) -> Grammar:
    """The grammar without the leaves that this network does not have."""
    if "class_weights" not in grammar.leaves or explained.has_linear_head(images):
        return grammar
    notify(Note("leaf C left out: no linear head follows the layer's global average pooling"))
    return grammar.without({"class_weights"})
