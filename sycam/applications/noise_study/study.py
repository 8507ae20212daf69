"""Several CAMs on noisy copies of the same images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sycam.applications.cams import Given, Setting, named
from sycam.applications.noise_study.figures import ranks_of, rows_of
from sycam.applications.noise_study.options import RobustnessOptions
from sycam.applications.noise_study.overlaps import NoiseOverlaps
from sycam.applications.noise_study.result import RobustnessResult
from sycam.errors import OptionError
from sycam.events import Note, Notify, Stage, Step, each, ignore
from sycam.evidence import Layers
from sycam.inference import sharing_cores
from sycam.methods import shown_methods
from sycam.networks import NamedNetwork, open_network
from sycam.problem.applicable import check_volumes
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

UNUSED = (
    "search_images", "heldout", "groups", "masks",  # nothing is divided, nothing localised
    "precision", "fusion", "target",  # each at its own layer, each input by its predicted class
)  # fmt: skip


def robustness(  # noqa: PLR0913 (public)
    network: nn.Module | str | NamedNetwork,
    layer: Layers,
    images: Images,
    methods: Sequence[Given] | Given | None = None,
    *,
    count: int | None = None,
    how: RobustnessOptions = RobustnessOptions(),
    data: DataOptions = DataOptions(),
    explain: ExplainOptions = ExplainOptions(),
    seed: int = 0,
    device: str | torch.device | None = None,
    out: str | Path | None = None,
    progress: bool | None = None,
    notify: Notify = ignore,
    **options: Any,
) -> RobustnessResult:
    """How CAMs bear noise: consistency and responsiveness over kinds and levels, with ranks.

    Consistency is how alike a heatmap ranks the superpixels of an image and of a noisy copy that
    keeps its prediction, responsiveness how much the ranking changes where the prediction does; RM
    is their product (Sarkar et al., 2025; the metric ``rm``, which pools all copies).

    Args:
        network, layer, images, count, data, explain, seed, device, progress, notify: as for
            :func:`sycam.evaluate`. With several layers, each method that names none stands at
            each of them.
        methods: names of ``sycam methods`` (``"layer-cam@layer4"`` at a layer), formulas, folders
            of runs or their results, whose winners are meant; all published CAMs and controls that
            need no expensive leaf if None.
        how: the noise: :class:`sycam.applications.RobustnessOptions`.
        out: a folder for ``robustness.json``, ``.csv``, ``.png`` and ``robustness_ranks.png``;
            nothing is written if None.
        options: single options by their names: ``noises=("gaussian", "blur")``,
            ``levels=(0.05, 0.2)``.

    Returns:
        Tables, tests and pictures; it prints itself.

    Raises:
        SycamError: for anything given that cannot be used; the message says how to mend it.
    """
    how, data, explain = with_keywords(options, how, data, explain, without=UNUSED)
    asked = named(list(shown_methods()) if methods is None else methods)
    if not asked:
        raise OptionError(f"{argument('methods')} must be one or several, got none")
    metric = NoiseOverlaps(how.copies, how.persistence)
    with Watcher(console_of(progress)) as watch:
        notify = each(watch, notify)
        known = on_device(open_network(network), device)
        request = Request(known, layer, images, data=data, explain=explain, seed=seed)
        found = read_undivided(request, known, count, False, notify)
        check_volumes(metric, found)
        setting = Setting(known, layer, explain, seed, device)
        explained, (compared,) = setting.placed([[one.method for one in asked]], found, notify)
        notify(Stage("Measuring activations and gradients", len(found)))
        leaves = frozenset().union(*(one.leaves for one in compared))
        evidence, context = explained.measure(found, notify, leaves, gradients=False)
        metric.check(context)
        scorer, scores = Scorer(metric, evidence, context), {}
        with sharing_cores(lambda text: notify(Note(text))):
            notify(Stage(f"Scoring on {len(metric.copies)} noisy copies", len(compared)))
            for done, method in enumerate(compared, 1):
                scores[method.name] = scorer.score_method(method)
                notify(Step(done))
    parts = {name: metric.of_copies(score.values) for name, score in scores.items()}
    own = images_digest(found)
    notes = tuple(
        f"{one.method.name} was chosen on images that may be among these, so its figures may be "
        "too high."
        for one in asked
        if one.run and one.run.record.data.heldout_digest != own
    )
    result = RobustnessResult(
        network=explained.name,
        layers=tuple(one.name for one in explained.layers),
        methods=tuple(parts),
        images=len(found),
        persistence=how.persistence,
        seed=seed,
        rows=rows_of(metric.copies, parts, seed),
        ranks=ranks_of(parts),
        flat={name: score.degenerate for name, score in scores.items()},
        notes=notes,
        parts=parts,
    )
    if out is not None:
        result.save(out)
    return result
