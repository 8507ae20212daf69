"""The whole call, and the command: evidence as the package's own, resumed, whatever is given."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from typer.testing import CliRunner

import sycam
from sycam.applications import EnsembleResult, ensemble
from sycam.applications.cams import ELEVEN, winner_of
from sycam.applications.ensembles.members import members_of
from sycam.cli import app
from sycam.data.images import ImageSet
from sycam.errors import OptionError, RunError, SycamError, UnknownNameError
from sycam.events import Note, ignore
from sycam.methods import METHODS
from sycam.scoring.scorer import Scorer

MEMBERS = ("grad-cam", "layer-cam", "mean(relu(G)) * max(A)")
# Of 16 and more scores Wilcoxon's test needs no permutations, which take longer than all else.
FAST = {"percents": (20, 60, 100), "search_images": 10, "heldout": 16, "examples": 0}
DROP = "average-drop"


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.rand(26, 3, 16, 16, generator=torch.Generator().manual_seed(4))


@pytest.fixture
def network(small_network) -> nn.Module:
    return small_network


def found(network, images, out, metric=DROP, members=MEMBERS, **options) -> EnsembleResult:
    given = {"out": out, **FAST, **options}
    return ensemble(network, given.pop("layer", "3"), images, metric, members, **given)


def test_all_ensembles_are_scored_where_they_are_few(network, images, tmp_path):
    result = found(network, images, tmp_path / "a", against="abs(G)")
    assert (result.scored, result.possible) == (12, 12)
    assert result.ensemble.kind == "ensemble"
    assert len(result.members) > 1
    kinds = [row.kind for row in result.rows]
    assert kinds.count("member") == 3
    assert kinds.count("synthesised") == 1
    assert kinds.count("formula") == 1
    assert result.expression is not None
    for one in result.effects:  # with and without it: of 7 sets of three members
        assert one.ensembles == (4, 3)
        assert one.effect.low <= one.effect.mean <= one.effect.high
    assert (result.search_images, result.heldout_images) == (10, 16)
    ours = next(row for row in result.rows if row.kind == "ensemble")
    for row in result.rows[1:]:
        difference = row.against.difference.mean
        assert difference == pytest.approx(row.heldout.mean - ours.heldout.mean, abs=1e-9)
    heldout = [row.heldout.mean for row in result.rows[1:]]
    assert heldout == sorted(heldout)  # a lower drop is better


def test_singles_and_formula_score_as_the_package_scores_them(network, images, tmp_path):
    """On the same held-out images, which the run's split decides."""
    result = found(network, images, tmp_path / "a")
    from sycam.problem.images import divide

    _, unseen = divide(ImageSet.from_arrays(images), 16, 10, 0, False)
    table = sycam.evaluate(
        network, "3", unseen, [*MEMBERS, result.expression, result.method], [DROP]
    )
    of = {row.name: row.heldout.mean for row in result.rows if row.kind in ("member", "formula")}
    for name in (*MEMBERS, result.expression):
        assert table.cells[name, DROP].mean == pytest.approx(of[name], abs=1e-6)
    mean = table.cells[result.method.name, DROP].mean
    assert mean == pytest.approx(result.ensemble.heldout.mean, abs=1e-6)


def test_the_same_call_measures_nothing_again(network, images, tmp_path, monkeypatch):
    first = found(network, images, tmp_path / "a")

    def never(*_args, **_kwargs):
        raise AssertionError("measured again")

    monkeypatch.setattr(Scorer, "score_method", never)
    assert found(network, images, tmp_path / "a") == first
    # More thresholds need more scores.
    with pytest.raises(AssertionError, match="measured again"):
        found(network, images, tmp_path / "a", percents=(20, 50))
    monkeypatch.undo()
    with pytest.raises(RunError, match="another run"):
        found(network, images, tmp_path / "a", seed=1)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "letter.txt").write_text("dear")
    with pytest.raises(RunError, match=r"letter\.txt.*out"):
        found(network, images, tmp_path / "other")


def test_an_interrupted_search_ends_as_one_that_was_not(network, images, tmp_path, monkeypatch):
    whole, score_method = found(network, images, tmp_path / "a"), Scorer.score_method
    left = iter(range(11))

    def few(*args, **kwargs):
        if next(left, None) is None:
            raise KeyboardInterrupt
        return score_method(*args, **kwargs)

    monkeypatch.setattr(Scorer, "score_method", few)
    with pytest.raises(KeyboardInterrupt):
        found(network, images, tmp_path / "b")
    monkeypatch.undo()
    assert found(network, images, tmp_path / "b") == whole


@pytest.fixture
def clock(monkeypatch):
    """Time that stands still but for a second each score."""
    now, score_method = [0.0], Scorer.score_method

    def slow(*args, **kwargs):
        now[0] += 1
        return score_method(*args, **kwargs)

    monkeypatch.setattr(Scorer, "score_method", slow)
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    return now


def test_a_time_is_kept_and_what_it_cut_is_gone_on_with(network, images, tmp_path, clock):
    """Of 9 single CAMs, 12 ensembles and what judges them, with thresholds image by image."""
    metric = "road-morf:percentiles=20+40+60+80"
    whole = found(network, images, tmp_path / "whole", metric, budget="1h")
    assert (whole.scored, whole.notes) == (12, ())
    took = clock[0]
    results, times, at_once = [], [], 6  # what judges one member at three thresholds
    while not results or results[-1] != whole:
        before = clock[0]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("sycam.applications.ensembles.ensembling._KEPT", 0.1)
            results.append(found(network, images, tmp_path / "a", metric, budget="12s"))
        times.append(clock[0] - before)
    assert max(times) <= 12 + at_once
    assert sum(times) <= took + 2 * len(times)  # no score twice; two judge other ensembles
    first = results[0]
    assert 0 < first.scored < 12
    assert len(first.rows) >= 2
    assert first.chosen_single.kind in ("member", "thresholded")
    assert "The time of 12s was over" in " ".join(first.notes)
    assert "What each member adds" not in "".join(title for title, *_ in first.tables())
    assert "Not judged on held-out images, for lack of time: " in str(first)
    assert "Thresholds image by image were not judged, for lack of time: grad-cam," in str(first)
    assert [one.scored for one in results] == sorted(one.scored for one in results)


def test_a_time_that_holds_no_ensemble_loses_nothing(network, images, tmp_path, clock):
    with pytest.raises(RunError, match=r"time of 4s.*no ensemble.*kept"):
        found(network, images, tmp_path / "a", budget="4s")
    with pytest.raises(RunError, match="not finished"):
        EnsembleResult.load(tmp_path / "a")
    before = clock[0]
    result = found(network, images, tmp_path / "a")
    apart = found(network, images, tmp_path / "b")
    assert result == apart
    assert clock[0] - before < 2 * (len(result.rows) * 2 + 9 + 12)


def test_a_kept_result_is_loaded_as_it_was(network, images, tmp_path):
    members = ["grad-cam@1", "layer-cam@3", "eigen-cam@3", "smooth(G)"]
    result = found(network, images, tmp_path / "a", members=members, layer=["1", "3"], examples=1)
    again = EnsembleResult.load(tmp_path / "a")
    assert again == result
    assert str(again) == str(result)
    assert EnsembleResult.load(tmp_path / "a" / "ensemble.json") == result
    scores = [
        sycam.evaluate(network, ["1", "3"], images[:6], [one.method], [DROP]).scores
        for one in (result, again)
    ]
    ours, theirs = (next(iter(one.values())) for one in scores)
    np.testing.assert_array_equal(ours, theirs)
    with pytest.raises(OptionError, match=r"ensemble\.png"):
        again.plot()
    assert EnsembleResult.load(again.save(tmp_path / "b")) == result


def test_a_result_that_cannot_be_loaded_says_why(network, images, tmp_path):
    result = found(network, images, tmp_path / "a")
    file = tmp_path / "a" / "ensemble.json"
    kept = file.read_text()
    for text, said in [
        (kept[:-9], "no JSON"),
        (kept.replace('"schema": 1', '"schema": 9'), "schema 9"),
        (kept.replace('"percent": ', '"percnt": '), "lacks 'percent'"),
        (json.dumps({**json.loads(kept), "rows": []}), "single CAM"),
    ]:
        file.write_text(text)
        with pytest.raises(RunError, match=said):
            EnsembleResult.load(tmp_path / "a")
    file.write_text(kept.replace('"votes": [', '"votes": ["somebodys(G)", '))
    assert EnsembleResult.load(tmp_path / "a").method is None
    assert EnsembleResult.load(tmp_path / "a").rows == result.rows
    with pytest.raises(RunError, match="no ensemble"):
        EnsembleResult.load(tmp_path)
    with pytest.raises(RunError, match=r"EnsembleResult\.load"):
        sycam.load(tmp_path / "a")


def test_thresholds_are_chosen_by_levels_that_do_not_judge(network, images, tmp_path):
    result = found(network, images, tmp_path / "a", "road-morf:percentiles=20+40+60+80")
    assert {one.member for one in result.thresholds} == set(MEMBERS)
    for one in result.thresholds:
        assert sum(one.taken) == 16
        assert len(one.taken) == 3
        gain = one.adaptive.mean - one.fixed.mean
        better = result.higher_is_better
        assert one.gain.difference.mean == pytest.approx(gain if better else -gain, abs=1e-9)
    without = found(network, images, tmp_path / "a", "road-morf:percentiles=20+40+60+80",
                    adaptive=False)  # fmt: skip
    assert without.thresholds == ()
    assert without.rows == result.rows


def test_masks_choose_no_threshold_of_an_image(network, images, tmp_path):
    masks = torch.zeros(26, 16, 16, dtype=torch.bool)
    masks[:, 4:9, 3:12] = True
    result = found(network, images, tmp_path / "a", "iou", masks=masks)
    assert result.thresholds == ()
    assert any("ground truth" in note for note in result.notes)


@pytest.mark.slow
def test_a_member_that_knows_nothing_adds_least(tmp_path):
    """Random channel weights among six published CAMs, on the embedded scenes with their masks."""
    members = ["grad-cam", "layer-cam", "hirescam", "xgrad-cam", "grad-cam++", "random-weights"]
    result = ensemble(
        "demo", "features.8", "demo", "energy-pointing-game", members,
        percents=(20, 60), search_images=32, heldout=32, budget=60, out=tmp_path / "a",
    )  # fmt: skip
    assert result.effects[-1].member == "random-weights"
    assert result.effects[-1].effect.high < 0
    assert "random-weights" not in result.members


def test_members_stand_at_several_layers(network, images, tmp_path):
    members = ["grad-cam@1", "layer-cam@3", "eigen-cam@3"]
    result = found(network, images, tmp_path / "a", members=members)
    assert set(result.layers) == {"1", "3"}
    assert set(result.candidates) == set(members)
    both = found(network, images, tmp_path / "b", members=["grad-cam", "layer-cam"],
                 layer=["1", "3"], percents=(50,))  # fmt: skip
    assert set(both.candidates) == {f"{m}@{la}" for m in ("grad-cam", "layer-cam") for la in "13"}
    if both.expression is not None:
        assert "cam[" in both.expression
        heatmaps = sycam.CAM(network, sycam.language.parse_weights(both.expression))(images[:2])
        assert heatmaps.shape == (2, 16, 16)


def test_winners_of_runs_are_members(small_run, tmp_path):
    assert small_run(tmp_path / "run", pictures=False).exit_code == 0
    result = sycam.load(tmp_path / "run")
    for given in (result, tmp_path / "run", str(tmp_path / "run")):
        one, other = members_of([given, "grad-cam"], ignore)
        assert one.method.name == "run"
        assert one.run.best == result.best
        assert one.method.sites == ("3",)
        assert other.method.name == "grad-cam"
    assert winner_of(result).expression.sites == ("3",)


def test_unasked_no_member_takes_a_pass_for_each_channel():
    said: list[str] = []
    found = members_of(
        None, lambda event: said.append(event.text) if isinstance(event, Note) else None
    )
    names = {one.method.name for one in found}
    assert set(ELEVEN) - names == {"score-cam", "ablation-cam"}
    assert "score-cam and ablation-cam" in said[0]
    assert [one.method.name for one in members_of("eleven", ignore)] == list(ELEVEN)
    assert set(ELEVEN) <= METHODS.keys()


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"members": ["grad-cam"]}, OptionError, "two or more"),
        ({"members": ["grad-cam", "gard-cam"]}, UnknownNameError, "grad-cam"),
        ({"members": ["grad-cam", "runs/none"]}, RunError, "no folder of a run"),
        ({"percents": (0, 20)}, OptionError, "percents must be"),
        ({"percents": "ten"}, OptionError, "percents must be"),
        ({"budget": 0}, OptionError, "budget 0 is not understood"),
        ({"budget": "soon"}, OptionError, "90s, 20m or 2h"),
        ({"budget": 3, "members": list(ELEVEN[:7])}, OptionError, "at least 15 for 7 members"),
        ({"layer": "4x"}, SycamError, "layer"),
        ({"metric": "conservation-axiom"}, OptionError, "channel weights"),
    ],
)
def test_what_cannot_be_used_is_said(options, error, said, network, images, tmp_path):
    with pytest.raises(error, match=said):
        found(network, images, tmp_path / "a", **options)
    assert not (tmp_path / "a").exists()


def test_the_command_prints_and_keeps_what_the_call_returns(tmp_path):
    arguments = [
        "ensemble", "--metric", "iou", "--member", "grad-cam", "--member", "relu(G)",
        "--percents", "30,100", "--search-images", "8", "--heldout-images", "16",
        "--examples", "1", "--budget", "1h", "--out", str(tmp_path / "a"),
        "--csv", str(tmp_path / "t.csv"),
    ]  # fmt: skip
    shown = CliRunner().invoke(app, [*arguments, "--quiet"], env={"COLUMNS": "200"})
    assert shown.exit_code == 0, shown.output
    assert "ensemble less it" in shown.output
    told = json.loads(CliRunner().invoke(app, [*arguments, "--json", "--quiet"]).stdout)
    kept = json.loads((tmp_path / "a" / "ensemble.json").read_text())
    assert told.pop("folder") == str(tmp_path / "a")
    assert told == kept
    assert kept["members"] == ["grad-cam", "relu(G)"]
    lines = (tmp_path / "t.csv").read_text().splitlines()
    assert len(lines) == 1 + len(kept["rows"])
    assert lines == (tmp_path / "a" / "ensemble.csv").read_text().splitlines()
    assert (tmp_path / "a" / "ensemble.png").stat().st_size > 5000
    refused = CliRunner().invoke(app, [*arguments, "--percents", "0"])
    assert "--percents must be" in str(refused.exception)


def test_a_result_is_text_a_table_and_a_picture(network, images, tmp_path):
    pandas = pytest.importorskip("pandas")
    result = found(network, images, tmp_path / "a", examples=2)
    said = str(result)
    for name in (*MEMBERS, "What each member adds", "p, Holm", result.verdict[0]):
        assert name in said
    frame = result.to_pandas()
    assert isinstance(frame, pandas.DataFrame)
    assert frame["heldout"].tolist() == [row.heldout.mean for row in result.rows]
    assert "<script" not in result._repr_html_()
    assert len(result.examples) == 2
    heat = list(result.examples[0].heatmaps.values())
    assert all(np.isfinite(one).all() and one.shape == (16, 16) for one in heat)
    assert result.plot()._repr_png_()[:4] == b"\x89PNG"
    saved = result.save(tmp_path / "again")
    assert {p.name for p in saved.iterdir()} == {"ensemble.json", "ensemble.csv", "ensemble.png"}
    none = found(network, images, tmp_path / "a", examples=0)
    with pytest.raises(OptionError, match="examples"):
        none.plot()
