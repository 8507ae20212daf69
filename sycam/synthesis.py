"""The main job: evidence, search, validation, result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from sycam.data.images import ImageSet
from sycam.errors import OptionError
from sycam.evidence import FLOAT32, Classifier, Evidence, Layers, Reshape, Stack
from sycam.evidence.targets import Target, is_callable
from sycam.inputs import DEMO, Images, divide, read_images
from sycam.kernels import Fusion
from sycam.language import Grammar, load_grammar
from sycam.methods import Method, find_method, scored_along
from sycam.metrics import Context, Metric, find_metric
from sycam.record import identity_of, open_folder, record_of
from sycam.result import JOURNAL_FILE, Formula, Result
from sycam.search import (
    Budget,
    Candidate,
    Enumerator,
    ExactSearch,
    Gate,
    Journal,
    Outcome,
    Requirement,
    Scorer,
    in_precision,
    pareto_front,
    select,
    verify_precision,
)
from sycam.search.events import Note, Notify, Stage, Validated, ignore
from sycam.subject import Subject, check_volumes
from sycam.validation import Entrant, Validation, validate

PANEL = ("road", "insertion", "deletion", "iou", "energy-pointing-game")
GUARDS = ("class-sensitivity", "randomisation")
HALL = 20  # formulas kept in the result with their scores
_SAID = 5  # refused candidates that are told
_PART = 32  # images whose heatmaps are compared at once
SAME = 1e-4  # heatmaps that differ by no more anywhere are the same
PROBE_BYTES = 1 << 20  # of one map's values on all probe images


def synthesize(
    network: nn.Module | str,
    layer: Layers,
    images: Images,
    labels: Tensor | Sequence[int] | None = None,
    masks: Tensor | np.ndarray | None = None,
    metric: str | Metric = "road",
    grammar: str | Grammar = "gradient",
    max_cost: int = 6,
    budget: str | int = "5m",
    search_images: int = 64,
    heldout: int | ImageSet = 256,
    target: Target = "predicted",
    device: str | torch.device | None = None,
    seed: int = 0,
    reshape: Reshape = None,
    fusion: Fusion = "mean",
    require: Sequence[str] = (),
    precision: str = "float32",
    out: str | Path | None = None,
    notify: Notify = ignore,
) -> Result:
    """Find the formula of a class activation map that scores best under a metric.

    Args:
        network: a classifier that returns ``(N, classes)``, or ``"demo"`` or
            ``"FILE.py:FACTORY"``. It is left as it was.
        layer: the target layer, by name or as a module, ``"auto"`` or ``"last"``; or several
            of them, whose heatmaps are fused. Which formulas differ in meaning is then told by
            the layer that is named first.
        images: ``[N,C,H,W]`` in the network's input scale, an ``ImageSet``, or ``"demo"``.
        labels: ``[N]`` true classes, needed only for ``target="label"``.
        masks: ``[N,H,W]`` ground truth, needed only for localisation metrics.
        metric: what to optimise; ``sycam metrics`` lists the names.
        grammar: the search space: a shipped grammar's name, a ``.lark`` file or a ``Grammar``.
        max_cost: highest cost of an expression that is enumerated.
        budget: ``"90s"``, ``"20m"``, or a number of candidates; no part of a run's identity.
        search_images: how many images to search on.
        heldout: how many of the other images to validate on, or the images themselves.
        target: what is explained: ``"predicted"``, ``"label"``, one class, a target of
            :mod:`sycam.targets` or its text, or a callable from one row of outputs to a scalar
            (metrics then watch that scalar instead of a probability).
        device: where to run; CUDA where there is one if None.
        seed: decides splits, noise, controls and resampling.
        reshape: makes the layers' outputs maps (``"tokens"``, ``"channels-last"``, a function).
        fusion: of several layers: ``"mean"``, ``"max"``, ``"product"``, or one weight a layer.
        require: what the winner must be besides, on the search images, like
            ``"class-sensitivity>0.2"``: a metric, one of ``< <= > >=`` and a number.
        precision: of the network on perturbed images while searching: ``"float32"``, or
            ``"bfloat16"``, which is refused where it changes the ranking of the leaders among the
            published CAMs. Held-out figures are in float32.
        out: the run's folder, ``runs/<network>-<metric>-<hash>`` if None. A folder with an
            unfinished run of the same configuration is resumed.
        notify: watches the progress, see :mod:`sycam.search.events`.

    Returns:
        The winner, its rivals, the front and the held-out evidence.

    Raises:
        SycamError: for anything given that cannot be used; the message says how to mend it.
    """
    if not isinstance(max_cost, int) or max_cost < 1:
        raise OptionError(f"max_cost must be a positive integer, got {max_cost!r}")
    limit, metric = Budget.parse(budget), find_metric(metric)
    require = [require] if isinstance(require, str) else require
    requirements = [Requirement.parse(text) for text in require]
    watched = (metric, *(r.metric for r in requirements))
    needs_masks = any(m.needs_masks for m in watched)
    grammar = grammar if isinstance(grammar, Grammar) else load_grammar(grammar)
    if not (isinstance(images, str) and images == DEMO):
        images = read_images(images, labels, masks)
        for one in watched:
            check_volumes(one, images)
    searched, unseen = divide(images, heldout, search_images, seed, needs_masks)
    for line in dict.fromkeys((*searched.skipped, *unseen.skipped)):
        notify(Note(line))
    subject = Subject.prepare(
        network, layer, searched, target, device, seed, notify, reshape, fusion
    )
    notify(Stage("Measuring activations and gradients", len(searched)))
    grammar = _available(grammar, subject, searched, notify)
    leaves = grammar.leaves.union(*(m.leaves for m in watched))
    evidence, context = subject.measure(searched, notify, leaves)
    for one in watched:
        one.check(context)
    known = scored_along(grammar.leaves)
    known = [m for m in known if m.has_weights or not metric.of_weights]
    if precision != FLOAT32:
        context = _in_precision(precision, subject, metric, evidence, context, known)

    # Only now, when all that was given has proved usable, is anything written.
    identity = identity_of(subject, searched, metric, grammar, requirements, precision)
    folder = open_folder(out, f"{subject.name}-{metric.slug}-{identity[:8]}")
    scorer = Scorer(metric, evidence, context)
    enumerator = Enumerator(
        grammar,
        _probe(subject, evidence, context, metric, grammar.leaves),
        metric.invariance,
        context.size,
        depth=evidence.layers[0].depth,
    )
    journal = Journal(folder / JOURNAL_FILE, identity, metric)
    try:
        search = ExactSearch(enumerator, scorer, journal, limit, max_cost, notify)
        outcome = search.run(known)
    finally:
        journal.close()

    gate = Gate(
        requirements,
        scorer,
        lambda m: Journal(folder / f"scores-{m.slug}.jsonl", f"{identity} {m.text}", m),
    )
    notify(Stage("Choosing the winner"))
    try:
        disguised = _Disguise(scorer, grammar.leaves)
        winner = select(outcome.candidates, metric, lambda c: _refused(c, disguised, gate))
    finally:
        gate.close()
    for refusal in gate.refused[:_SAID]:
        notify(
            Note(
                f"{refusal.expression} is refused: {refusal.requirement} is required, it has "
                f"{refusal.figure:.4g}"
            )
        )
    if winner is None:
        without = "meets the requirements and differs" if requirements else "differs"
        notify(Note(f"no eligible candidate {without} from the published CAMs: no winner"))
    notify(Stage("Measuring held-out images", len(unseen)))
    measured = subject.measure(unseen, notify, grammar.leaves | metric.leaves)
    validation = _validate(subject, unseen, metric, outcome, winner, measured, notify)
    notify(Validated(subject, unseen, validation))
    result = Result(
        best=winner and _formula(winner, metric, validation),
        front=tuple(_formula(c, metric) for c in pareto_front(outcome.candidates, metric)),
        hall=tuple(_formula(c, metric) for c in _hall(outcome, metric)),
        validation=validation,
        record=record_of(subject, searched, unseen, metric, grammar, limit, max_cost, outcome)
        | {
            "identity": identity,
            "required": [str(r) for r in requirements],
            "refused": [asdict(r) for r in gate.refused],
        },
        path=folder,
    )
    result.save(folder)
    return result


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
    fast = Classifier(subject.network, slow.device, score=slow.score, precision=precision)
    verify_precision(fast, metric, evidence, context, known)
    return in_precision(context, fast)


def _available(grammar: Grammar, subject: Subject, images: ImageSet, notify: Notify) -> Grammar:
    """The grammar without the leaves that this network does not have."""
    if "class_weights" not in grammar.leaves or subject.has_linear_head(images):
        return grammar
    notify(Note("leaf C left out: no linear head follows the layer's global average pooling"))
    return grammar.without({"class_weights"})


def _probe(
    subject: Subject,
    evidence: Evidence | Stack,
    context: Context,
    metric: Metric,
    leaves: frozenset[str],
) -> dict[str, Tensor]:
    """Two to five of the search images' measurements, by what their values take in memory.

    Where the metric looks at other inputs, also those of each image's least likely class, whose
    score has mostly another sign.
    """
    first = evidence.layers[0]
    one = first.activations[0].numel() * 8
    count = min(len(first), max(2, min(5, PROBE_BYTES // one)))
    found = {name: tensor[:count] for name, tensor in first.leaves.items()}
    several = first.outputs is not None and first.outputs.shape[1] > 1
    if metric.looks_elsewhere and several and not is_callable(subject.target):
        classes = first.outputs.scatter(1, first.targets[:, None], torch.inf).argmin(1)
        other = subject.remeasure(context.images[:count], leaves, classes[:count]).layers[0].leaves
        found = {name: torch.cat([other[name], tensor]) for name, tensor in found.items()
                 if name in other}  # fmt: skip
    return found


def _refused(candidate: Candidate, disguised: _Disguise, gate: Gate) -> bool:
    """Whether a candidate cannot win; the dear check comes last."""
    return disguised(candidate) or not gate(find_method(candidate.expression))


class _Disguise:
    """Whether a candidate's heatmaps are those of a published CAM or control on all images."""

    def __init__(self, scorer: Scorer, leaves: frozenset[str]):
        self.scorer = scorer
        self.known = scored_along(leaves)
        self._maps: dict[tuple[str, int], Tensor] = {}  # of the known, made when first looked at

    def __call__(self, candidate: Candidate) -> bool:
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


def _validate(
    subject: Subject,
    unseen: ImageSet,
    metric: Metric,
    outcome: Outcome,
    winner: Candidate | None,
    measured: tuple[Evidence | Stack, Context],
    notify: Notify,
) -> Validation:
    def entrant(method: Method, kind: str, found: Candidate) -> Entrant:
        return Entrant(method, kind, found.mean, metric.fit(found.score.values))

    entrants = [entrant(find_method(c.name), c.kind, c) for c in outcome.known]
    if winner is not None:
        entrants.insert(0, entrant(find_method(winner.expression), "winner", winner))
    others = [find_metric(name) for name in PANEL if name != metric.text]
    panel = [m for m in others if unseen.masks is not None or not m.needs_masks]
    panel = [m for m in panel if unseen.images.ndim == 4 or m.volumes]
    guards = [find_metric(name) for name in GUARDS]
    return validate(entrants, metric, panel, guards, *measured, subject.seed, notify)


def _hall(outcome: Outcome, metric: Metric) -> list[Candidate]:
    """The eligible candidates with the highest means."""
    eligible = [c for c in outcome.candidates if c.eligible]
    return sorted(eligible, key=lambda c: -metric.oriented(c.mean))[:HALL]


def _formula(candidate: Candidate, metric: Metric, validation: Validation | None = None) -> Formula:
    return Formula(
        expression=candidate.name,
        cost=candidate.cost,
        score=candidate.mean,
        degenerate=candidate.score.degenerate,
        heldout=validation.winner.heldout if validation else None,
        scores=tuple(metric.per_image(candidate.score.values).tolist()),
    )
