"""A run sent to MLflow, Weights & Biases or TensorBoard while it goes on.

Each class is a watcher: ``sycam.synthesize(..., notify=sycam.track.MLflow())``. It opens a run of
the library when the search begins, sends the settings, the best figure as candidates are scored,
and at the end the held-out figures with ``report.html`` and the pictures::

    tracker = sycam.track.TensorBoard("logs")
    result = sycam.synthesize(network, "layer4", images, notify=tracker)

A search does not end because a tracker fails: that is warned of, and nothing more is sent.
"""

from __future__ import annotations

import importlib
import math
import re
import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from PIL import Image

from sycam.errors import OptionError
from sycam.events import Event
from sycam.report.keeping import SAID
from sycam.report.verdict import sentences
from sycam.runs.events import Failed, Finished, Opened
from sycam.runs.file_names import RESULT_FILE
from sycam.runs.result import Result
from sycam.search.events import Scored
from sycam.support.schema import to_plain

_LONGEST = 500  # characters of a setting, which MLflow takes at any version


class Tracker(ABC):
    """Sends what happens in a run elsewhere; a watcher, see :mod:`sycam.events`.

    A tracker of another library is a subclass with these four methods.
    """

    def __init__(self) -> None:
        self._sends = False

    @abstractmethod
    def begin(self, folder: Path, settings: Mapping[str, str]) -> None:
        """Open a run.

        Args:
            folder: of the run.
            settings: by name, as text.
        """

    @abstractmethod
    def log(self, figures: Mapping[str, float], step: int) -> None:
        """Send finite figures after so many candidates."""

    @abstractmethod
    def keep(self, result: Result, figures: Mapping[str, float], files: Sequence[Path]) -> None:
        """Send what came of it: held-out figures, and files that are there."""

    @abstractmethod
    def end(self, failed: bool) -> None:
        """Close the run."""

    def __call__(self, event: Event) -> None:
        """Take an event."""
        try:
            self._take(event)
        except Exception as error:  # of the library or its server
            self._sends = False
            warnings.warn(
                f"{type(self).__name__} failed, and nothing more of this run is sent: "
                f"{type(error).__name__}: {error}",
                stacklevel=2,
            )

    def _take(self, event: Event) -> None:
        if isinstance(event, Opened):
            self._sends = True
            self.begin(event.folder, settings_of(event))
        elif not self._sends:
            return
        elif isinstance(event, Scored):
            figures: dict[str, float] = {"candidates": event.scored, "dropped": event.dropped}
            if event.front:
                figures["best"] = event.front[-1].mean
            self.log(_finite(figures), event.scored)
        elif isinstance(event, Finished):
            self.keep(event.result, figures_of(event.result), files_of(event.result))
            self._end(failed=False)
        elif isinstance(event, Failed):
            self._end(failed=True)

    def _end(self, failed: bool) -> None:
        self._sends = False
        self.end(failed)


class MLflow(Tracker):
    """Sends a run to MLflow; needs ``pip install 'sycam[mlflow]'``.

    Args:
        experiment: name of the experiment.
        name: of the run; that of its folder if None.
        uri: of the tracking server or store, like ``"sqlite:///mlflow.db"``; MLflow's own
            setting if None.

    Raises:
        OptionError: MLflow is not installed.
    """

    def __init__(self, experiment: str = "sycam", name: str | None = None, uri: str | None = None):
        super().__init__()
        self._tracking = _library("mlflow.tracking", "mlflow", "MLflow")
        self.experiment, self.name, self.uri = experiment, name, uri
        self._client: Any = None
        self._run = ""

    def begin(self, folder: Path, settings: Mapping[str, str]) -> None:
        # A client, not MLflow's active run, which the caller may have one of.
        self._client = self._tracking.MlflowClient(tracking_uri=self.uri)
        found = self._client.get_experiment_by_name(self.experiment)
        number = found.experiment_id if found else self._client.create_experiment(self.experiment)
        run = self._client.create_run(number, run_name=self.name or folder.name)
        self._run = run.info.run_id
        for name, value in settings.items():
            self._client.log_param(self._run, name, value)

    def log(self, figures: Mapping[str, float], step: int) -> None:
        for name, value in figures.items():
            self._client.log_metric(self._run, name, value, step=step)

    def keep(self, result: Result, figures: Mapping[str, float], files: Sequence[Path]) -> None:
        self.log(figures, result.record.search.candidates)
        self._client.set_tag(self._run, "verdict", verdict_of(result))
        for file in files:
            self._client.log_artifact(self._run, str(file))

    def end(self, failed: bool) -> None:
        self._client.set_terminated(self._run, "FAILED" if failed else "FINISHED")


class WandB(Tracker):
    """Sends a run to Weights & Biases; needs ``pip install 'sycam[wandb]'``.

    Args:
        project: name of the project.
        name: of the run; that of its folder if None.
        options: further arguments of ``wandb.init``, like ``mode="offline"`` or ``entity=...``.

    Raises:
        OptionError: Weights & Biases is not installed.
    """

    def __init__(self, project: str = "sycam", name: str | None = None, **options: Any):
        super().__init__()
        self._wandb = _library("wandb", "wandb", "Weights & Biases")
        self.project, self.name, self.options = project, name, options
        self._run: Any = None

    def begin(self, folder: Path, settings: Mapping[str, str]) -> None:
        self._run = self._wandb.init(
            project=self.project, name=self.name or folder.name, config=dict(settings),
            **self.options,
        )  # fmt: skip

    def log(self, figures: Mapping[str, float], step: int) -> None:
        self._run.log(dict(figures), step=step)

    def keep(self, result: Result, figures: Mapping[str, float], files: Sequence[Path]) -> None:
        self._run.summary.update({**figures, "verdict": verdict_of(result)})
        shown: dict[str, Any] = {}
        for file in files:
            if file.suffix == ".html":
                shown["report"] = self._wandb.Html(str(file), inject=False)
            elif file.suffix == ".png":
                shown[file.stem] = self._wandb.Image(str(file))
        self._run.log(shown)

    def end(self, failed: bool) -> None:
        self._run.finish(exit_code=1 if failed else 0)


class TensorBoard(Tracker):
    """Writes a run for TensorBoard; needs ``pip install 'sycam[tensorboard]'``.

    It shows no page: the tables and the verdict are kept as text, the pictures as pictures.

    Args:
        folder: of all runs, which TensorBoard is started on; a folder for each is made in it.
        name: of the run; that of its folder if None.

    Raises:
        OptionError: TensorBoard is not installed.
    """

    def __init__(self, folder: str | Path = "tensorboard", name: str | None = None):
        super().__init__()
        self._writers = _library("torch.utils.tensorboard", "tensorboard", "TensorBoard")
        self.folder, self.name = Path(folder), name
        self._writer: Any = None

    def begin(self, folder: Path, settings: Mapping[str, str]) -> None:
        self._writer = self._writers.SummaryWriter(str(self.folder / (self.name or folder.name)))
        rows = "".join(f"| {name} | {_cell(value)} |\n" for name, value in settings.items())
        self._writer.add_text("settings", f"| setting | value |\n|---|---|\n{rows}")

    def log(self, figures: Mapping[str, float], step: int) -> None:
        for name, value in figures.items():
            self._writer.add_scalar(name, value, step)

    def keep(self, result: Result, figures: Mapping[str, float], files: Sequence[Path]) -> None:
        self.log(figures, result.record.search.candidates)
        self._writer.add_text("result", f"<pre>{escape(str(result))}</pre>")
        for file in files:
            if file.suffix == ".png":
                self._writer.add_image(file.stem, _pixels(file), dataformats="HWC")

    def end(self, failed: bool) -> None:
        self._writer.close()


def settings_of(event: Opened) -> dict[str, str]:
    """What a run was asked, by name, as text of at most 500 characters."""
    settings = to_plain(event.settings)
    search = settings.pop("search")
    named = {
        "network": event.network,
        "layers": ", ".join(event.layers),
        "search_images": event.search_images,
        "heldout_images": event.heldout_images,
        "folder": event.folder,
        **settings,
        **{f"search.{name}": value for name, value in search.items()},
    }
    said = {name: str(value) for name, value in named.items() if value not in (None, {}, [])}
    return {
        name: text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
        for name, text in said.items()
    }


def figures_of(result: Result) -> dict[str, float]:
    """The finite figures of a finished run, by name: of the winner on the search and the held-out
    images under each goal, under the metrics that were not optimised, and beside the published CAM
    that the search images choose."""
    validation, best = result.validation, result.best
    figures: dict[str, float] = {"candidates": result.record.search.candidates}
    if best is not None:
        figures["best"] = best.score
        figures["best_cost"] = best.cost
    winner = validation.winner
    if winner is None:
        return _finite(figures)
    for goal in validation.goals:
        found = winner.under(goal).heldout
        figures |= {f"heldout/{goal}": found.mean, f"heldout/{goal}/low": found.low,
                    f"heldout/{goal}/high": found.high}  # fmt: skip
    figures |= {f"heldout/{name}": value for name, value in (winner.panel | winner.guards).items()}
    for one in validation.verdicts:
        rival = validation.row(one.chosen_published).under(one.goal)
        figures[f"published/{one.goal}"] = rival.heldout.mean
        if rival.against is not None:
            figures[f"difference/{one.goal}"] = rival.against.difference.mean
            figures[f"p/{one.goal}"] = rival.against.p_holm
        figures[f"beats_chosen/{one.goal}"] = float(one.beats_chosen)
        figures[f"beats_published/{one.goal}"] = float(one.beats_published)
    # Letters that MLflow takes in the name of a metric; options of one hold others.
    return _finite({re.sub(r"[^\w\-. :/]", "_", name): value for name, value in figures.items()})


def verdict_of(result: Result) -> str:
    """The claims of a run's verdict, without their figures."""
    return "; ".join(one.claim for one in sentences(result)) or "no held-out evidence"


def files_of(result: Result) -> list[Path]:
    """The files of a run that are worth keeping elsewhere: page, pictures and result."""
    if result.path is None:
        return []
    paths = [result.path / name for name in (*SAID, RESULT_FILE)]
    return [path for path in paths if path.is_file()]


def _finite(figures: Mapping[str, float | None]) -> dict[str, float]:
    return {n: float(v) for n, v in figures.items() if v is not None and math.isfinite(v)}


def _library(module: str, extra: str, called: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise OptionError(
            f"{called} is not installed ({error}): pip install 'sycam[{extra}]'"
        ) from None


def _cell(text: str) -> str:
    return escape(text).replace("|", "\\|").replace("\n", " ")


def _pixels(file: Path) -> np.ndarray:
    with Image.open(file) as picture:
        return np.asarray(picture.convert("RGB"))
