"""A run sent to MLflow, Weights & Biases and TensorBoard, as each library reads it again."""

from __future__ import annotations

import importlib.util
import re

import pytest

import sycam
from sycam import track
from sycam.errors import OptionError
from sycam.search.events import Scored

NEEDED = {"mlflow": "mlflow", "wandb": "wandb", "tensorboard": "tensorboard"}


def needs(package):
    """A skip where a library is not installed."""
    return pytest.mark.skipif(
        importlib.util.find_spec(package) is None,
        reason=f"{package} is not installed: pip install 'sycam[{NEEDED[package]}]'",
    )


@pytest.fixture
def search(small_network, small_images, tmp_path):
    """``search(notify)``: a search of six candidates."""

    def run(notify, images=small_images):
        return sycam.synthesize(
            small_network, "3", images, metric="average-drop", budget=6, max_cost=1, mode="exact",
            search_images=4, heldout=3, out=tmp_path / "run", notify=notify,
        )  # fmt: skip

    return run


class Kept(track.Tracker):
    """Keeps what it is sent, in place of a library; fails where it is told to."""

    def __init__(self, fails=""):
        super().__init__()
        self.fails, self.sent = fails, []

    def _send(self, what, *values):
        self.sent.append((what, *values))
        if what == self.fails:
            raise ConnectionError("no server")

    def begin(self, folder, settings):
        self._send("begin", folder, settings)

    def log(self, figures, step):
        self._send("log", figures, step)

    def keep(self, result, figures, files):
        self._send("keep", result, figures, files)

    def end(self, failed):
        self._send("end", failed)


def test_a_tracker_is_sent_settings_progress_figures_and_files(search, tmp_path):
    tracker, scored = Kept(), []
    result = search(
        sycam.events.each(tracker, lambda e: isinstance(e, Scored) and scored.append(e))
    )
    kinds = [what for what, *_ in tracker.sent]
    assert (kinds[0], kinds[-2:], set(kinds[1:-2])) == ("begin", ["keep", "end"], {"log"})
    folder, settings = tracker.sent[0][1:]
    assert folder == tmp_path / "run"
    assert (settings["metric"], settings["layers"], settings["seed"]) == ("average-drop", "3", "0")
    assert settings["search.mode"] == "exact"
    assert all(isinstance(value, str) for value in settings.values())
    logged = [values for what, *values in tracker.sent if what == "log"]
    assert [step for _, step in logged] == [event.scored for event in scored]
    assert logged[-1][0]["best"] == scored[-1].front[-1].mean
    _, figures, files = tracker.sent[-2][1:]
    assert figures["heldout/average-drop"] == result.best.heldout.mean
    rival = result.validation.row(result.validation.chosen_published)
    assert figures["published/average-drop"] == rival.heldout.mean
    assert all(re.fullmatch(r"[\w\-. :/]+", name) for name in figures)
    assert [file.name for file in files] == ["result.json"]
    assert tracker.sent[-1] == ("end", False)


def test_trackers_that_fail_are_warned_of_and_the_search_goes_on(search):
    trackers = [Kept(fails) for fails in ("begin", "log", "keep", "")]
    with pytest.warns(UserWarning, match="Kept failed, and nothing more .* no server") as told:
        assert search(sycam.events.each(*trackers)).best is not None
    assert len([one for one in told if "Kept failed" in str(one.message)]) == 3
    assert [tracker.sent[-1][0] for tracker in trackers] == ["begin", "log", "keep", "end"]


def test_a_search_that_fails_ends_the_run_of_the_tracker(search, tmp_path):
    tracker = Kept()

    def stop(event):
        if isinstance(event, Scored):
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        search(sycam.events.each(tracker, stop))
    assert tracker.sent[-1] == ("end", True)


@pytest.mark.parametrize("name", ["MLflow", "WandB", "TensorBoard"])
def test_a_library_that_is_not_there_is_named_with_its_extra(name, monkeypatch):
    monkeypatch.setitem(importlib.import_module("sys").modules, "torch.utils.tensorboard", None)
    monkeypatch.setitem(importlib.import_module("sys").modules, "wandb", None)
    monkeypatch.setitem(importlib.import_module("sys").modules, "mlflow.tracking", None)
    with pytest.raises(OptionError, match=rf"pip install 'sycam\[{name.lower()}\]'"):
        getattr(track, name)()


@needs("tensorboard")
def test_tensorboard_reads_the_run(search, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    result = search(track.TensorBoard(tmp_path / "logs"))
    read = EventAccumulator(str(tmp_path / "logs" / "run"), size_guidance={"tensors": 0})
    read.Reload()
    scalars = read.Tags()["scalars"]
    assert {"best", "candidates", "heldout/average-drop"} <= set(scalars)
    (held,) = read.Scalars("heldout/average-drop")
    assert held.value == pytest.approx(result.best.heldout.mean)
    texts = [read.Tensors(f"{name}/text_summary")[0] for name in ("settings", "result")]
    settings, shown = (one.tensor_proto.string_val[0].decode() for one in texts)
    assert "| metric | average-drop |" in settings
    assert result.best.expression in shown


@needs("mlflow")
@pytest.mark.slow  # it makes a database
def test_mlflow_reads_the_run(search, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where it keeps files of a store in SQLite
    from mlflow.tracking import MlflowClient

    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    result = search(track.MLflow(uri=uri))
    client = MlflowClient(uri)
    (run,) = client.search_runs([client.get_experiment_by_name("sycam").experiment_id])
    assert (run.info.status, run.info.run_name) == ("FINISHED", "run")
    assert run.data.params["metric"] == "average-drop"
    assert run.data.metrics["heldout/average-drop"] == result.best.heldout.mean
    assert run.data.tags["verdict"] == track.verdict_of(result)
    history = client.get_metric_history(run.info.run_id, "best")
    assert [point.step for point in history] == sorted(point.step for point in history)
    assert [file.path for file in client.list_artifacts(run.info.run_id)] == ["result.json"]


@needs("wandb")
@pytest.mark.slow  # it starts a process of its own
def test_wandb_keeps_the_run_offline(search, tmp_path, capfd):
    search(track.WandB(mode="offline", dir=str(tmp_path)))
    (kept,) = (tmp_path / "wandb").glob("offline-run-*/*.wandb")
    assert b"search.mode" in kept.read_bytes()
    assert "heldout/average-drop" in capfd.readouterr().err  # its own summary
