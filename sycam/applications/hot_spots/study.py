"""The regions of several CAMs removed from images, as one call."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from sycam.applications.cams import Given, Setting, named
from sycam.applications.hot_spots.ablation import DROP, PARTS, Ablation
from sycam.applications.hot_spots.figures import rows_of
from sycam.applications.hot_spots.options import AblationOptions
from sycam.applications.hot_spots.result import PROBABILITY, VALUE, AblationResult
from sycam.applications.hot_spots.views import chosen, examples_of
from sycam.errors import OptionError
from sycam.events import Note, Notify, Stage, Step, each, ignore
from sycam.evidence import Layers
from sycam.inference import sharing_cores
from sycam.networks import NamedNetwork, open_network
from sycam.problem.devices import on_device
from sycam.problem.images import Images
from sycam.problem.options import DataOptions, ExplainOptions
from sycam.problem.problem import read_undivided
from sycam.problem.request import Request
from sycam.report.progress import Watcher, console_of
from sycam.runs.recording import images_digest
from sycam.scoring.scorer import Scorer
from sycam.support.arguments import argument
from sycam.support.options import with_keywords

UNUSED = ("search_images", "heldout", "groups", "precision", "fusion")  # nothing is divided
USUAL = ("grad-cam", "layer-cam", "random-weights")


def ablate(  # noqa: PLR0913 (public)
    network: nn.Module | str | NamedNetwork,
    layer: Layers,
    images: Images,
    methods: Sequence[Given] | Given = USUAL,
    *,
    count: int | None = None,
    how: AblationOptions = AblationOptions(),
    data: DataOptions = DataOptions(),
    explain: ExplainOptions = ExplainOptions(),
    seed: int = 0,
    device: str | torch.device | None = None,
    out: str | Path | None = None,
    progress: bool | None = None,
    notify: Notify = ignore,
    **options: Any,
) -> AblationResult:
    """Remove the regions that CAMs mark, and tell what the network says without them.

    Area, change of the probability and share of changed predictions stand beside those without the
    same regions moved elsewhere in the image. The measure is that of Mishra et al. (2022,
    arXiv:2202.12788), who removed what their CAMs mark of street scenes; filters and shifts are
    ours.

    Args:
        network, layer, images, count, data, explain, seed, device, progress, notify: as for
            :func:`sycam.evaluate`. With several layers, each method that names none stands at
            each of them.
        methods: names of ``sycam methods`` (``"layer-cam@layer4"`` at a layer), formulas, folders
            of runs or their results, whose winners are meant.
        how: regions and fill: :class:`sycam.applications.AblationOptions`.
        out: a folder for ``ablation.json``, the tables and pictures; nothing is written if None.
        options: single options by their names: ``threshold=0.7``, ``fill="road"``,
            ``target="label"``, ``masks=...`` beside ``allowed=True``.

    Returns:
        Tables, headlines and pictures; it prints itself.

    Raises:
        SycamError: for anything given that cannot be used; the message says how to mend it.
    """
    how, data, explain = with_keywords(options, how, data, explain, without=UNUSED)
    asked = named(methods)
    if not asked:
        raise OptionError(f"{argument('methods')} must be one or several, got none")
    metric = Ablation(how)
    with Watcher(console_of(progress)) as watch:
        notify = each(watch, notify)
        known = on_device(open_network(network), device)
        request = Request(known, layer, images, data=data, explain=explain, seed=seed)
        found = read_undivided(request, known, count, how.allowed, notify)
        setting = Setting(known, layer, explain, seed, device)
        explained, (compared,) = setting.placed([[one.method for one in asked]], found, notify)
        notify(Stage("Measuring activations and gradients", len(found)))
        leaves = frozenset().union(*(one.leaves for one in compared))
        evidence, context = explained.measure(found, notify, leaves, gradients=False)
        scorer, parts = Scorer(metric, evidence, context), {}
        with sharing_cores(lambda text: notify(Note(text))):
            scorer.prepare(len(compared))
            notify(Stage("Removing regions", len(compared)))
            for done, method in enumerate(compared, 1):
                parts[method.name] = scorer.score_method(method).values
                notify(Step(done))
            first = parts[compared[0].name][:, PARTS.index(DROP)]
            examples = examples_of(
                chosen(first, how.examples),
                compared,
                found,
                (evidence, context),
                metric,
                explained.class_names,
            )
    clean = context.clean.double().cpu().numpy()
    own = images_digest(found)
    result = AblationResult(
        network=explained.name,
        layers=tuple(one.name for one in explained.layers),
        images=len(found),
        hot=how.said,
        fill=how.fill,
        shifts=how.shifts,
        watched=PROBABILITY if context.classifier.score is None else VALUE,
        before=float(np.mean(clean)),
        seed=seed,
        rows=rows_of(parts, clean, seed),
        notes=tuple(
            f"{one.method.name} was chosen on images that may be among these, so its figures may "
            "be too high."
            for one in asked
            if one.run and one.run.record.data.heldout_digest != own
        ),
        names=tuple(map(str, found.names)),
        clean=clean,
        parts=parts,
        examples=examples,
    )
    if out is not None:
        result.save(out)
    return result
