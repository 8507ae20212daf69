"""How a search is asked to go: guesses, thresholds, modes, an early end; and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

import sycam
from sycam.data import demo
from sycam.errors import OptionError, SycamError, UnknownNameError
from sycam.events import Note
from sycam.search.events import Scored

OPTIONS = {
    "metric": "average-drop", "budget": 48, "max_cost": 3, "search_images": 20, "heldout": 4,
}  # fmt: skip


def run(out, **changes):
    return sycam.synthesize("demo", demo.LAYER, "demo", out=out, **(OPTIONS | changes))


def entered(path):
    """Names of the candidates in the order in which they were first scored."""
    lines = (path / "scores.jsonl").read_text().splitlines()[1:]
    records = [json.loads(line) for line in lines]
    return list(dict.fromkeys(c["name"] for r in records for c in r["candidates"]))


@pytest.mark.slow
def test_ctrl_c_ends_with_the_best_so_far_and_the_same_command_goes_on(tmp_path):
    whole = run(tmp_path / "whole")

    def press(event):
        if isinstance(event, Scored) and event.scored >= 16:
            raise KeyboardInterrupt

    early = run(tmp_path / "cut", notify=press)
    assert early.record.search.stopped == "interrupt"
    assert early.best is not None
    assert early.validation.images == 4
    assert sycam.verify(early.path).holds
    again = run(tmp_path / "cut")
    assert again.best == whole.best
    assert again.certificate == whole.certificate
    assert again.validation == whole.validation


@pytest.mark.slow
def test_a_guess_enters_first_and_may_win(tmp_path):
    guess = "smooth(cube(symsqrt(G)))"
    result = run(tmp_path / "run", guess=[guess, "mean(G) * max(A)"], budget=10)
    assert result.certificate.entered["guesses"] == 2
    known = len(result.record.search.known)
    assert entered(tmp_path / "run")[known : known + 2] == [guess, "mean(G) * max(A)"] or guess in {
        f.expression for f in result.hall
    }
    assert sycam.verify(result.path).holds


def test_a_smaller_budget_leaves_a_larger_searchs_result(tmp_path):
    """The same command with less time replaced the better formula without a word."""
    larger = run(tmp_path / "run", budget=24)
    kept = (tmp_path / "run" / "result.json").read_bytes()
    notes = []
    again = run(tmp_path / "run", budget=8, notify=notes.append)
    assert replace(again, digest=None) == larger
    assert (tmp_path / "run" / "result.json").read_bytes() == kept
    (said,) = [n.text for n in notes if isinstance(n, Note) and "larger search" in n.text]
    assert "of 24 candidates; it stays, and that of these 8 is not kept" in said
    other = run(tmp_path / "run", budget=8, heldout=6)  # another question
    assert other.record.search.candidates == 8
    assert sycam.load(tmp_path / "run").validation == other.validation


def test_a_guess_of_a_layer_that_is_not_searched_is_refused_before_anything_is_scored(tmp_path):
    """It was only once all published CAMs were."""
    stages = []
    with pytest.raises(UnknownNameError, match=r"layer 'layer9' is not known; known: (?s:.+)guess"):
        run(
            tmp_path / "run", guess=["smooth(G)", "cam[layer9](A)"], notify=stages.append,
        )  # fmt: skip
    assert "Measuring activations and gradients" not in {getattr(s, "text", "") for s in stages}
    assert not (tmp_path / "run").exists()


def test_a_guess_that_cannot_win_is_told(tmp_path):
    """One that overflows was dropped without a word."""
    notes = []
    cubes = "cube(cube(cube(cube(1e6 * G))))"
    run(tmp_path / "run", guess=[cubes, "0 * G", "mean(G)"], budget=6, notify=notes.append)
    said = [n.text for n in notes if isinstance(n, Note) and n.text.startswith("guess ")]
    assert said == [
        f"guess {cubes} is dropped: its values leave the floating range on the search images; use "
        "a tamer formula (symlog, normalize)",
        "guess 0 * G is dropped: its heatmaps are flat on too many of the search images",
    ]


@pytest.mark.slow
def test_a_search_ends_at_the_first_formula_above_the_threshold(tmp_path):
    result = run(tmp_path / "run", threshold="best-published", budget=400)
    assert result.record.search.stopped == "threshold"
    published = [m.score for m in result.record.search.known
                 if m.kind in ("published", "baseline")]  # fmt: skip
    leader = result.certificate.leaders[-1]
    assert {f.expression: f.score for f in result.hall}[leader] < min(published)  # lower is better
    easy = run(tmp_path / "easy", threshold=0.9, allow="class-agnostic")
    assert easy.certificate.entered == {"exhaustive": 2}  # the first level has two


@pytest.mark.slow
def test_exact_mode_ends_at_the_cost_bound_and_a_race_goes_beyond_it(tmp_path):
    exact = run(tmp_path / "exact", mode="exact", max_cost=2, budget=1000)
    assert exact.record.search.stopped == "cost bound"
    assert set(exact.certificate.entered) == {"exhaustive"}
    raced = run(tmp_path / "race", max_cost=2, budget=64, constants=False)
    entered = raced.certificate.entered
    # A twentieth is left for simpler forms of the leading formula.
    assert entered["guided"] == 61 - exact.certificate.entered["exhaustive"]
    assert entered["simplified"] <= 3


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"mode": "fast"}, "race, exact, guided"),
        ({"select": "luck"}, "lower-bound"),
        ({"delta": 0}, "between 0 and 1"),
        ({"tolerance": -1}, "from 0 on"),
        ({"equivalence": "metric"}, "use mode='exact'"),
        ({"threshold": "high"}, "best-published"),
        ({"guess": "mean(Q)"}, "Q"),
        ({"scope": "local"}, "per-class"),
        ({"sampler": "magic"}, "random"),
        ({"allow": "anything"}, "class-agnostic"),
        ({"heldout_share": 1}, "less than 1"),
    ],
)
def test_what_is_not_understood_is_said_before_anything_is_written(tmp_path, changes, words):
    with pytest.raises(SycamError, match=words):
        run(tmp_path / "run", **changes)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_the_papers_oracle_finds_as_good_a_formula(tmp_path):
    options = {"mode": "exact", "max_cost": 2, "budget": 1000, "select": "argmax"}
    ours = run(tmp_path / "values", **options)
    theirs = run(tmp_path / "metric", equivalence="metric", **options)
    assert theirs.best.score == pytest.approx(ours.best.score, abs=1e-6)
    assert theirs.certificate.equivalence == "metric"


@pytest.mark.slow
def test_the_papers_oracle_builds_nothing_on_what_scores_alike(tmp_path):
    options = {"mode": "exact", "max_cost": 3, "budget": 1000, "metric": "iou"}
    theirs = run(tmp_path / "metric", equivalence="metric", **options).certificate
    nothing = run(tmp_path / "none", equivalence="none", **options).certificate
    assert theirs.levels[1].forgotten > 0
    # Once all was enumerated before anything was scored, and nothing was saved.
    assert theirs.levels[2].built < nothing.levels[2].built
    assert theirs.entered["exhaustive"] < nothing.entered["exhaustive"]


def test_thresholds_are_of_one_metric(tmp_path):
    with pytest.raises(OptionError, match="of one metric"):
        run(tmp_path / "run", metric=["average-drop", "iou"], threshold=0.5)


def test_a_storages_password_is_written_nowhere():
    """It stood in result.json."""
    options = sycam.SearchOptions(mode="guided", storage="postgresql://me:hunter2@host:5432/db")
    assert options.to_dict()["storage"] == "postgresql://me:***@host:5432/db"
    assert "hunter2" not in repr(options) + str(options)
    assert sycam.SearchOptions.from_dict(options.to_dict()).to_dict() == options.to_dict()
