"""The main job: from a network and images to the formula that scores best, with its evidence."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import nn

from sycam.events import Event, Note, Notify, Stage, each, ignore, once
from sycam.evidence import Layers
from sycam.export import suggested_base
from sycam.grammar import Grammar
from sycam.metrics import Metric
from sycam.networks import NamedNetwork
from sycam.problem.devices import devices_of
from sycam.problem.images import Images
from sycam.problem.options import DataOptions, ExplainOptions
from sycam.problem.problem import Problem, Question
from sycam.problem.request import Request
from sycam.report.keeping import keep_answer, keep_pictures
from sycam.report.progress import Watcher, console_of
from sycam.runs.checking.derive import derived, undecided
from sycam.runs.events import Failed, Finished, Opened
from sycam.runs.file_names import REPORT_FILE
from sycam.runs.heldout_journal import conduct_of
from sycam.runs.recording import settings_of
from sycam.runs.result import Result
from sycam.runs.resuming.answer import said_again
from sycam.runs.resuming.asked import require_same, write_down
from sycam.runs.resuming.earlier import answered, save_unless_larger
from sycam.runs.resuming.folder import folder_of, has_evidence, open_folder
from sycam.scoring.scoring import Scoring
from sycam.search import SearchOptions
from sycam.search.budget import Budget
from sycam.search.notes import tell, tell_price
from sycam.search.proposals.optuna_study import opened
from sycam.search.run import run_search
from sycam.support.options import with_keywords
from sycam.validation.findings import Validated
from sycam.validation.measures import budgeted
from sycam.workers.hiring import by_workers, scoring_by
from sycam.workers.pools import Executor


def synthesize(  # noqa: PLR0913 (public)
    network: nn.Module | str | NamedNetwork,
    layer: Layers,
    images: Images,
    metric: str | Metric | Sequence[str | Metric] = "road",
    grammar: str | Grammar | None = None,
    *,
    search: SearchOptions = SearchOptions(),
    data: DataOptions = DataOptions(),
    explain: ExplainOptions = ExplainOptions(),
    require: Sequence[str] = (),
    seed: int = 0,
    device: str | torch.device | None = None,
    out: str | Path | None = None,
    progress: bool | None = None,
    notify: Notify = ignore,
    report: bool = True,
    workers: int | str | None = None,
    executor: Executor | Callable[[], Executor] | None = None,
    **options: object,
) -> Result:
    """Find the formula of a class activation map that scores best under a metric.

    Args:
        network: a classifier that returns ``(N, classes)``, which is left as it was; or the name
            of one: ``"torchvision:resnet50"``, ``"timm:resnet50.a1_in1k"``,
            ``"FILE.py:FACTORY"``, each also with the file of its weights
            (``"torchvision:resnet50@best.pth"``), or ``"demo"``; see
            :func:`sycam.networks.open_network`.
        layer: the target layer, by name or as a module, ``"auto"`` (with grammar ``"network"``,
            three to six layers of the network) or ``"last"``; or several of them, whose heatmaps
            are fused. Which formulas differ in meaning is then told by
            the layer that is named first.
        images: ``[N,C,H,W]`` in the network's input scale, an ``ImageSet``, a ``Dataset`` or
            ``DataLoader`` (see :func:`sycam.data.readers.datasets.open_dataset`), a folder,
            ``.csv`` or ``.npz`` file (read with the preprocessing that the named network has), or
            ``"demo"``.
        metric: what to optimise; ``sycam metrics`` lists the names. Several give a Pareto front.
        grammar: the search space: a shipped grammar's name, a ``.lark`` file or a ``Grammar``. If
            None, ``"network"`` for layer ``"auto"``: formulas of one layer of the network and of
            several; else ``"gradient"``: formulas of the layers that are named.
        search: how to search, and for how long: :class:`sycam.SearchOptions`.
        data: which images, with their labels and masks: :class:`sycam.DataOptions`.
        explain: what of the network is explained: :class:`sycam.ExplainOptions`.
        require: what the winner must be as well, on the search images, like
            ``"class-sensitivity>0.2"``: a metric, one of ``< <= > >=`` and a number.
        seed: decides splits, noise, controls and resampling.
        device: where to run; CUDA where there is one if None. Several of this machine, as
            ``"cuda:0,cuda:1"``, have a worker each, or share the number of ``workers``.
        out: the run's folder, ``runs/<network>-<metric>-<hash>`` if None. A folder with an
            unfinished run of the same configuration is resumed. Where the run is finished, its
            result is returned at once, if network, images and options are those on record; a larger
            budget goes on with it. The result of one that searched more stays there and is
            returned.
        progress: show a bar, notes and a live leaderboard on standard error, as the command does;
            if None, in a notebook, and where standard error is a terminal.
        notify: is called with each event of :mod:`sycam.events`, whatever ``progress`` shows; one
            of :mod:`sycam.track` sends them to MLflow, Weights & Biases or TensorBoard.
        report: draw the pictures and write ``report.html`` into the folder, which takes some
            seconds; what cannot be drawn is warned of.
        workers: how many processes of this machine score, each on one thread, or ``"auto"`` for one
            each core (of a run on CUDA each GPU), or ``"ray"`` for the cluster that ``RAY_ADDRESS``
            names; this process alone if None.
        executor: whoever else scores: anything with ``submit(function, *arguments)`` that returns
            a future with ``result()``, or a function that makes one, which is called again where
            it breaks. The result does not depend on how many workers there are.
        options: single options in place of those in ``search``, ``data`` and ``explain``, by
            their names: ``budget="90s"``, ``heldout=128``, ``target="label"``, ``masks=masks``.

    Returns:
        The winner, its rivals, the front and the held-out evidence. Ctrl-C ends the search early,
        and what was found is validated all the same; a second one ends that, too, with what there
        is. A budget in time is kept by all of it: ``validation.left_out`` says what it cut.

    Raises:
        SycamError: for anything given that cannot be used; the message says how to mend it.
    """
    search, data, explain = with_keywords(options, search, data, explain)
    console, budget = console_of(progress), search.budget.started()
    if search.storage is not None:
        opened(search.storage)  # before anything is measured: it may be out of reach
    devices = devices_of(device)
    asked = Request(
        network, layer, images, metric, grammar, require, data, explain, search.guessed, seed,
        devices[0], search.adapt, by_workers(workers, executor, devices),
    )  # fmt: skip
    validated: list[Validated] = []

    def keep(event: Event) -> None:
        if isinstance(event, Validated):
            validated.append(event)

    with Watcher(console, _first(metric) if console else "") as watch:
        tell_all = once(each(keep, watch, notify))
        try:
            with scoring_by(workers, executor, tell_all, devices) as scoring:
                result = _derived(asked, search, budget, out, scoring, tell_all)
            if report and validated and result.validation.rows:
                tell_all(Stage("Drawing pictures and writing the page"))
                base = suggested_base(result)
                keep_pictures(result, validated[0], budget, base, warnings.warn)
            keep_answer(result)
        except BaseException as error:
            notify(Failed(error))
            raise
    notify(Finished(result))
    return result


def _derived(
    asked: Request,
    search: SearchOptions,
    budget: Budget,
    out: str | Path | None,
    scoring: Scoring,
    notify: Notify,
) -> Result:
    """The result of a search, kept in its folder."""
    question = Question.of(asked, notify)
    folder = folder_of(out, question)
    finished = answered(folder, question, search)
    if finished is not None:
        notify(_opened(folder, question, search))
        notify(Note(said_again(folder, finished.record.created)))
        if not (folder / REPORT_FILE).exists():  # pictures could not be drawn, or never were
            notify(Validated(question.explained, question.unseen, finished.validation))
        return finished
    require_same(folder, question, search)
    problem = Problem.measured(question, asked.guesses, notify, scoring)
    open_folder(folder)  # nothing is written before
    write_down(folder, question, search)
    search = budgeted(search, budget, problem)
    notify(_opened(folder, problem, search))
    tell_price(problem, search, notify)
    searched = run_search(problem, search, folder, notify=notify)
    tell(searched, problem, search, notify)
    if not has_evidence(folder):
        undecided(problem, search, searched, folder).save(folder)
    conduct = conduct_of(problem, search, folder, searched.outcome.pace)
    result = derived(problem, search, searched, folder, notify, conduct)
    return save_unless_larger(folder, result, notify)


def _opened(folder: Path, question: Question, search: SearchOptions) -> Opened:
    explained = question.explained
    return Opened(
        folder,
        settings_of(question, search),
        explained.name,
        tuple(layer.name for layer in explained.layers),
        len(question.searched),
        len(question.unseen),
    )


def _first(metric: str | Metric | Sequence[str | Metric]) -> str | Metric:
    """The goal that progress is shown of."""
    if isinstance(metric, str) or not isinstance(metric, Sequence):
        return metric
    return metric[0] if metric else ""
