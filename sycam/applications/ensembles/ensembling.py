"""The best ensemble of several CAMs on search images, judged on images that it never saw."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sycam.applications.cams import Given, Setting, named
from sycam.applications.ensembles import judging
from sycam.applications.ensembles.choosing import Chooser, Chosen
from sycam.applications.ensembles.members import members_of
from sycam.applications.ensembles.options import EnsembleOptions
from sycam.applications.ensembles.result import EnsembleResult
from sycam.applications.ensembles.rows import ChosenThreshold
from sycam.applications.ensembles.scores import Part, Scores, identity, open_journal
from sycam.applications.ensembles.subsets import screening, size_of_space
from sycam.applications.ensembles.votes import Members, Vote
from sycam.data.images import ImageSet
from sycam.errors import OptionError
from sycam.events import Note, Notify, Stage, each, ignore
from sycam.evidence import Layers
from sycam.inference import sharing_cores
from sycam.methods import Method
from sycam.metrics import Metric, find_metric
from sycam.metrics.composition.levels import AtLevels, halves
from sycam.networks import NamedNetwork, open_network
from sycam.problem.applicable import check_scorable
from sycam.problem.devices import on_device
from sycam.problem.explained_network import ExplainedNetwork
from sycam.problem.images import Images
from sycam.problem.options import DataOptions, ExplainOptions
from sycam.problem.problem import read_and_divide
from sycam.problem.request import Request
from sycam.report.progress import Watcher, console_of
from sycam.runs.recording import images_digest
from sycam.search.budget import Budget, Evidence
from sycam.support.arguments import argument
from sycam.support.options import with_keywords

_UNUSED = ("precision", "fusion")  # of ExplainOptions: each member stands at a layer of its own
_KEPT = 0.4  # of a budget in time: for the held-out images, at most
_OTHER_NOISE = 1  # is added to the seed for the levels that judge


def ensemble(  # noqa: PLR0913 (public)
    network: nn.Module | str | NamedNetwork,
    layer: Layers,
    images: Images,
    metric: str | Metric = "road",
    members: Sequence[Given] | Given | None = None,
    *,
    against: Sequence[Given] | Given = (),
    how: EnsembleOptions = EnsembleOptions(),
    data: DataOptions = DataOptions(),
    explain: ExplainOptions = ExplainOptions(),
    seed: int = 0,
    device: str | torch.device | None = None,
    out: str | Path | None = None,
    progress: bool | None = None,
    notify: Notify = ignore,
    **options: Any,
) -> EnsembleResult:
    """Find the ensemble of CAMs whose agreement scores best, and judge it on held-out images.

    An ensemble shows in how many of its members a pixel is among the top k percent (MetaCAM,
    Kaczmarek et al., 2023), ties decided by the mean heat. Members and k are chosen on the search
    images; the ensemble is then compared with every single CAM, each also with the threshold that
    is best for it, on images that chose nothing.

    Args:
        network, layer, images, metric, data, explain, seed, device, progress, notify: as for
            :func:`sycam.synthesize`. With several layers, each member that names none stands at
            each of them.
        members: what may vote: names of ``sycam methods`` (``"layer-cam@layer4"`` at a layer),
            formulas, folders of runs or their results, whose winners are meant, or ``"eleven"``,
            those of pytorch-grad-cam that the paper combines; if None those of the eleven that
            make no forward pass for each channel.
        against: what the ensemble is compared with besides, such as a run's folder.
        how: thresholds and budget: :class:`sycam.applications.EnsembleOptions`.
        out: the folder where scores, ``ensemble.json``, ``ensemble.csv`` and ``ensemble.png`` are
            kept, ``runs/ensemble-<network>-<metric>-<hash>`` if None; where it holds scores of the
            same question, none of them is measured again.
        options: single options in place of those in ``how``, ``data`` and ``explain``, by their
            names: ``percents=(10, 30)``, ``heldout=128``, ``target="label"``.

    Returns:
        The ensemble with its evidence; it prints itself.

    Raises:
        SycamError: for anything given that cannot be used; the message says how to mend it.
    """
    how, data, explain = with_keywords(options, how, data, explain, without=_UNUSED)
    how = replace(how, budget=how.limit.started())
    metric = find_metric(metric)
    with Watcher(console_of(progress)) as watch:
        notify = each(watch, notify)
        asked = Request(
            network, layer, images, metric, data=data, explain=explain, seed=seed, device=device
        )
        with sharing_cores(lambda text: notify(Note(text))):
            posed = _Posed.of(asked, metric, members, against, notify)
            _check_budget(how, len(posed.members), seed)
            return posed.answered(how, out, notify)


@dataclass(frozen=True, eq=False)
class _Posed:
    """What is asked, with network and images at hand.

    Attributes:
        explained: the network, with all layers that are looked at.
        searched, unseen: the images.
        metric: by which is chosen and judged.
        members: that may vote.
        rivals: that are compared with the ensemble besides.
        notes: what to know of members that are winners of runs.
    """

    explained: ExplainedNetwork
    searched: ImageSet
    unseen: ImageSet
    metric: Metric
    members: Members
    rivals: list[Method]
    notes: tuple[str, ...]

    @classmethod
    def of(
        cls,
        asked: Request,
        metric: Metric,
        members: Sequence[Given] | Given | None,
        against: Sequence[Given] | Given,
        notify: Notify,
    ) -> _Posed:
        """Check what was given, load the network and read the images."""
        groups = [members_of(members, notify), named(against)]
        known = on_device(open_network(asked.network), asked.device)
        searched, unseen = read_and_divide(asked, known, (metric,), notify)
        setting = Setting(known, asked.layer, asked.explain, asked.seed, asked.device)
        explained, (voting, rivals) = setting.placed(
            [[one.method for one in group] for group in groups], searched, notify
        )
        posed = Members(voting)
        check_scorable(metric, [posed.vote(Vote((0, 1), 100.0)), *rivals])
        runs = {one.method.name: one.run for group in groups for one in group if one.run}
        own = images_digest(unseen)
        notes = tuple(
            f"{name} was chosen on images that may be among those held out here, so its figure may "
            "be too high, and an ensemble with it: take the images, counts and seed of its run."
            for name, run in runs.items()
            if run.record.data.heldout_digest != own
        )
        return cls(explained, searched, unseen, metric, posed, rivals, notes)

    def answered(
        self, how: EnsembleOptions, out: str | Path | None, notify: Notify
    ) -> EnsembleResult:
        """Measure, choose and judge."""
        images = {0: self.searched, 1: self.unseen}
        digest = identity(self.explained, images, self.metric)
        name = f"ensemble-{self.explained.name}-{self.metric.slug}-{digest[:8]}"
        folder = Path("runs") / name if out is None else Path(out)
        parts, can_choose = self._measured(notify)
        with closing(open_journal(folder, parts, digest)) as journal:
            scores = Scores(parts, journal, notify, self._limit(how, parts))
            notify(Stage("Preparing the network"))
            self._plan(how, parts, notify)
            chosen = Chooser(self.members, self.metric, scores, how, self.explained.seed).chosen()
            seed = self.explained.seed
            thresholds: tuple[ChosenThreshold, ...] = ()
            unchosen: tuple[str, ...] = ()
            judged, left = judging.judged(chosen, self.members, self.rivals, scores, seed)
            if how.adaptive and can_choose:
                thresholds, unchosen = judging.thresholds(chosen, self.members, scores, seed)
        notes = (*self.notes, *_cut(how, chosen, left, unchosen))
        if how.adaptive and not can_choose:
            notes += (
                f"Thresholds were not chosen image by image: {self.metric.text} compares with "
                "ground truth or has no levels of which half could choose and half judge.",
            )
        examples = judging.examples(
            judged, chosen.vote, self.members, parts[1], self.unseen, how.examples
        )
        result = EnsembleResult(
            metric=self.metric.text,
            higher_is_better=self.metric.higher_is_better,
            network=self.explained.name,
            layers=tuple(one.name for one in self.explained.layers),
            candidates=self.members.names,
            percents=how.shares,
            members=tuple(self.members.names[place] for place in chosen.vote.places),
            percent=chosen.vote.percent,
            expression=_text(self.members, chosen.vote),
            rows=judged,
            effects=chosen.effects,
            effects_percent=chosen.effects_percent,
            thresholds=thresholds,
            scored=chosen.scored,
            possible=size_of_space(len(self.members), len(how.shares)),
            search_images=len(self.searched),
            heldout_images=len(self.unseen),
            notes=notes,
            votes=self.members.texts(chosen.vote),
            method=self.members.alone(chosen.vote),
            examples=examples,
            path=folder,
        )
        result.save(folder)
        return result

    def _measured(self, notify: Notify) -> tuple[list[Part], bool]:
        """Search and held-out images; these again at the levels that choose and that judge, where
        the metric can."""
        methods = (*self.members.methods, *self.rivals, self.metric)
        leaves = frozenset().union(*(one.leaves for one in methods))
        parts = []
        for images in (self.searched, self.unseen):
            notify(Stage("Measuring activations and gradients", len(images)))
            evidence, context = self.explained.measure(images, notify, leaves, gradients=False)
            self.metric.check(context)
            parts.append(Part(self.metric, evidence, context))
        both = _halves(self.metric)
        if both is None:
            return parts, False
        other = replace(context, seed=context.seed + _OTHER_NOISE, kept={}, work=None)
        parts += [Part(both[0], evidence, context), Part(both[1], evidence, other)]
        return parts, True

    def _plan(self, how: EnsembleOptions, parts: Sequence[Part], notify: Notify) -> None:
        """Make the network as fast as pays, and say how much there is to do."""
        singles = len(self.members) * len(how.shares)
        searched, unseen = (len(part.context) for part in parts[:2])
        possible = size_of_space(len(self.members), len(how.shares))
        ensembles = how.foreseen(possible)
        heldout = self._judged(how, parts)
        passes = self.metric.passes * (searched * (singles + ensembles) + unseen * heldout)
        if passes and how.limit.seconds is None:
            notify(Note(f"at most {passes:,} forward passes on changed images"))
        if passes:
            self.explained.classifier.plan(passes)

    def _judged(self, how: EnsembleOptions, parts: Sequence[Part]) -> int:
        """How many scores the held-out images are to have, at most."""
        found = 2 * len(self.members) + len(self.rivals) + 2
        if len(parts) > 2 and how.adaptive:
            found += len(self.members) * len(how.shares)  # at half of the levels, twice
        return found

    def _limit(self, how: EnsembleOptions, parts: Sequence[Part]) -> Budget:
        """The budget, of whose time what judging takes is kept, but no more than a part."""
        searched, unseen = (len(part.context) for part in parts[:2])
        images = unseen * self._judged(how, parts) + searched * (1 + len(self.rivals))
        most = _KEPT * (how.limit.seconds or 0.0)
        return replace(how.limit, evidence=lambda pace: Evidence(kept=min(pace * images, most)))


def _halves(metric: Metric) -> tuple[AtLevels, AtLevels] | None:
    try:
        return halves(metric)
    except OptionError:
        return None


def _cut(
    how: EnsembleOptions, chosen: Chosen, left: Sequence[str], unchosen: Sequence[str]
) -> Iterator[str]:
    """What a budget in time cut, in sentences."""
    if chosen.cut:
        many = f"{chosen.scored} ensemble" + ("s" if chosen.scored > 1 else "")
        yield f"The time of {how.limit} was over after {many}: the same goes on from there."
    if not chosen.effects:
        yield "What each member adds takes more of them than there was time for."
    if left:
        yield f"Not judged on held-out images, for lack of time: {', '.join(left)}."
    if unchosen:
        yield f"Thresholds image by image were not judged, for lack of time: {', '.join(unchosen)}."


def _text(members: Members, vote: Vote) -> str | None:
    expression = members.expression(vote)
    return None if expression is None else str(expression)


def _check_budget(how: EnsembleOptions, members: int, seed: int) -> None:
    """OptionError where not even the members' effects could be told."""
    needed = sum(not vote.single for vote in screening(members, how.shares[0], seed))
    possible = size_of_space(members, len(how.shares))
    if how.limit.candidates is not None and how.foreseen(possible) < min(needed, possible):
        raise OptionError(
            f"{argument('budget')} must be at least {needed} for {members} members, so that their "
            f"effects can be told, got {how.limit.candidates}"
        )
