"""The whole study and its command: figures as the metric's own, intervals, ranks, messages."""

from __future__ import annotations

import json

import numpy as np
import pytest
from typer.testing import CliRunner

import sycam
from sycam.applications import RobustnessResult, robustness
from sycam.applications.noise_study.figures import FIGURES, ranks_of, rows_of
from sycam.applications.noise_study.options import RobustnessOptions
from sycam.cli import app
from sycam.data.noise_kinds import LEVELS, NOISES
from sycam.errors import OptionError, UnknownNameError
from sycam.metrics.robustness.noise import KINDS, Noise
from sycam.metrics.robustness.responsiveness import Responsiveness
from sycam.scoring.statistics import interval

METHODS = ("grad-cam", "layer-cam", "mean(relu(G)) * max(A)")
COPIES = (Noise("gaussian", 0.1), Noise("gaussian", 0.5), Noise("blur", 0.05))


def made_up(count: int = 20, copies: int = 3) -> np.ndarray:
    """``[N,V,4]`` parts with a share of changed predictions."""
    rng = np.random.default_rng(0)
    overlap, changed = rng.random((count, copies)), rng.random((count, copies)) < 0.4
    return np.stack([overlap * ~changed, ~changed, overlap * changed, changed], -1).astype(float)


def test_all_noise_is_the_metric_rm():
    """Of the same copies, figure and interval."""
    pytest.importorskip("skimage")
    noises = ("gaussian", "blur")
    found = robustness("demo", "features.8", "demo", METHODS, count=6, noises=noises)
    table = sycam.evaluate(
        "demo", "features.8", "demo", METHODS, ["rm:noises=gaussian+blur"], count=6
    )
    for row in found.pooled:
        theirs = table.cells[row.method, "rm:noises=gaussian+blur"]
        for end in ("mean", "low", "high"):
            assert getattr(row.rm, end) == pytest.approx(getattr(theirs, end), abs=1e-6)
        assert row.kept + row.changed == 6 * sum(len(LEVELS[kind]) for kind in noises)
    levels = [row for row in found.rows if row.level is not None and row.method == "grad-cam"]
    assert [(row.noise, row.level) for row in levels] == [
        (kind, level) for kind in noises for level in LEVELS[kind]
    ]


def test_groups_are_pooled_and_resampled_as_the_metric_does():
    parts = {"one": made_up()}
    rows = {(row.noise, row.level): row for row in rows_of(COPIES, parts, seed=3)}
    assert set(rows) == {
        ("all", None), ("gaussian", None), ("blur", None),
        ("gaussian", 0.1), ("gaussian", 0.5), ("blur", 0.05),
    }  # fmt: skip
    expected = interval(parts["one"][:, :2].sum(1), Responsiveness(), 3)
    ours = rows["gaussian", None].rm
    assert (ours.mean, ours.low, ours.high) == pytest.approx(
        (expected.mean, expected.low, expected.high), abs=1e-12
    )
    kept, of_kept, changed, of_changed = parts["one"][:, 2].sum(0)
    row = rows["blur", 0.05]
    assert row.consistency.mean == pytest.approx(kept / of_kept)
    assert row.responsiveness.mean == pytest.approx(1 - changed / of_changed)
    assert (row.kept, row.changed) == (of_kept, of_changed)


def test_ranks_leave_out_images_on_which_a_figure_is_undefined():
    parts = {name: made_up() for name in "abc"}
    changed = parts["a"][..., 3].astype(bool)
    parts["b"][..., 2] = np.where(changed, 0.5 * parts["a"][..., 2], 0)  # moves more
    parts["c"][..., 2] = np.where(changed, 0.1 * parts["a"][..., 2], 0)
    ranks = ranks_of(parts)
    assert ranks["responsiveness"].names == ("c", "b", "a")
    assert ranks["responsiveness"].items == changed.any(1).sum()
    assert ranks["consistency"].items == (~changed).any(1).sum()
    assert ranks["rm"].items == (changed.any(1) & (~changed).any(1)).sum()
    assert ranks_of({name: parts[name] for name in "ab"})["rm"] is None


def test_options_say_which_copies():
    how = RobustnessOptions(noises="gaussian:0.2+0.1, blur", levels="0.3")
    assert how.copies == (Noise("gaussian", 0.1), Noise("gaussian", 0.2), Noise("blur", 0.3))
    assert len(RobustnessOptions().copies) == 12


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"noises": "gausian"}, UnknownNameError, "gaussian"),
        ({"noises": ""}, OptionError, "noises must be"),
        ({"noises": "uniform"}, OptionError, "no usual levels"),
        ({"noises": "gaussian:x"}, OptionError, "levels of gaussian"),
        ({"levels": (-1,)}, OptionError, "above 0"),
        ({"persistence": 1}, OptionError, "persistence must"),
    ],
)
def test_what_cannot_be_used_is_said(options, error, said):
    with pytest.raises(error, match=said):
        RobustnessOptions(**options)


def test_the_command_prints_and_keeps_what_the_call_returns(tmp_path):
    pytest.importorskip("skimage")
    arguments = [
        "robustness", "grad-cam", "layer-cam", "random-weights", "--count", "6",
        "--layer", "features.8", "--noises", "gaussian:0.5", "--out", str(tmp_path / "a"),
        "--csv", str(tmp_path / "t.csv"), "--json", "--quiet",
    ]  # fmt: skip
    shown = CliRunner().invoke(app, arguments)
    assert shown.exit_code == 0, shown.output
    told = json.loads(shown.stdout)
    assert told == json.loads((tmp_path / "a" / "robustness.json").read_text())
    lines = (tmp_path / "t.csv").read_text().splitlines()
    assert lines == (tmp_path / "a" / "robustness.csv").read_text().splitlines()
    assert len(lines) == 1 + 3 * 3
    assert (tmp_path / "a" / "robustness.png").stat().st_size > 5000


def test_a_result_is_text_a_table_and_pictures():
    pytest.importorskip("pandas")
    parts = {name: made_up() * (0.9 if name == "b" else 1.0) for name in "abc"}
    parts = {name: np.stack([p[..., 0], *np.moveaxis(made_up(), -1, 0)[1:]], -1)
             for name, p in parts.items()}  # fmt: skip
    result = RobustnessResult(
        "net", ("3",), tuple("abc"), 20, 0.9, 0, rows_of(COPIES, parts, 0), ranks_of(parts),
        dict.fromkeys("abc", 0), (), parts,
    )  # fmt: skip
    assert "consistency: a ranks best" in str(result)
    assert len(result.to_pandas()) == 6 * 3
    assert "Friedman" in result._repr_html_()
    for figure in FIGURES:
        assert result.plot("ranks", figure)._repr_png_()[:4] == b"\x89PNG"
    levels = result.plot().figure.axes
    told = [(axis.get_xlabel(), axis.get_ylabel()) for axis in levels]
    below, beside = (list(filter(None, one)) for one in zip(*told, strict=True))
    assert below == ["level of gaussian noise", "level of blur noise"]
    assert beside == list(FIGURES)
    with pytest.raises(UnknownNameError, match="ranks"):
        result.plot("rank")


def test_the_kinds_that_help_names_are_those_of_the_metrics():
    assert tuple(KINDS) == NOISES
