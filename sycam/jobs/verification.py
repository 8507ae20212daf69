"""A run derived again and compared with what it claims."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from sycam.data.images import ImageSet
from sycam.events import Notify, each, ignore
from sycam.metrics import Metric
from sycam.problem.images import Images
from sycam.report.progress import Watcher, console_of
from sycam.runs.checking.recorded import Given
from sycam.runs.checking.verify import Verification, verified
from sycam.runs.result import load
from sycam.runs.trust import check_files, file_of_network
from sycam.support.permission import reading_a_run
from sycam.targets.resolve import Target


def verify(  # noqa: PLR0913 (public)
    run: str | Path,
    network: nn.Module | str | None = None,
    images: Images | None = None,
    heldout: ImageSet | None = None,
    metric: Metric | None = None,
    target: Target | None = None,
    device: str | torch.device | None = None,
    notify: Notify = ignore,
    metric_files: Sequence[str | Path] = (),
    trust: bool = False,
    progress: bool | None = None,
) -> Verification:
    """Derive a run's result again.

    The grammar is counted again, the network and the images are measured again; the recorded search
    is played again from the journal, with every decision taken again; all that the result lists,
    each published CAM, baseline and control among it, is scored again on the search images, and
    each row of the validation on the held-out images; everything else on record is computed from
    these and compared, value by value. What cannot be derived is listed as not checked.

    Args:
        run: the run's folder.
        network, images, heldout, metric, target: what was given from Python, and is therefore not
            on record; what is on record if None.
        device: where to run.
        notify: is called with each event of :mod:`sycam.events`, whatever ``progress`` shows.
        metric_files: Python files of the run's metrics that may be imported.
        trust: import whatever Python file the run names.
        progress: as for :func:`sycam.synthesize`.

    Raises:
        RunError: there is no finished run, or what it ran on is not on record and was not given.
        TrustError: the run names a Python file that was neither given nor trusted.
    """
    console = console_of(progress)
    result = load(run)
    named = [file_of_network(network), *metric_files]
    with reading_a_run(filter(None, named), trust):
        check_files(result.record, network, metric)
        given = Given(network, images, heldout, metric, target)
        with Watcher(console) as watch:
            return verified(result, given, device, each(watch, notify))
