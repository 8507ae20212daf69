"""What a winner must be besides: thresholds on metrics that are not optimised."""

from __future__ import annotations

import json
import math

import pytest

import sycam
from sycam.data import demo
from sycam.errors import OptionError, UnknownNameError
from sycam.events import Note
from sycam.metrics.requirement import Requirement

FEW = {"search_images": 8, "heldout": 4, "budget": 40, "max_cost": 4, "metric": "iou"}


@pytest.fixture(scope="module")
def search(tmp_path_factory):
    """A short search of the demo, each in a folder of its own unless one is given."""

    def run(events=None, out=None, **changes) -> sycam.Result:
        notify = events.append if events is not None else lambda event: None
        folder = out or tmp_path_factory.mktemp("runs") / "run"
        options = FEW | {"layer": demo.LAYER, "out": folder, "notify": notify} | changes
        return sycam.synthesize("demo", images="demo", **options)

    return run


@pytest.fixture(scope="module")
def free(search):
    """The result without requirements."""
    return search()


def energy(result, expression):
    """The figure of a formula on the run's search images."""
    from sycam.methods import find_method
    from sycam.metrics import find_metric
    from sycam.problem.explained_network import ExplainedNetwork
    from sycam.problem.images import divide
    from sycam.scoring.scorer import Scorer

    searched, _ = divide("demo", 4, 8, 0, True)
    explained = ExplainedNetwork.prepare("demo", demo.LAYER, searched)
    scorer = Scorer(find_metric("energy-pointing-game"), *explained.measure(searched))
    return scorer.score_method(find_method(expression)).mean


def test_the_winner_meets_what_the_best_formula_does_not(search, free):
    least = round(energy(free, free.best.expression) + 1e-3, 4)
    events = []
    bound = search(events, require=[f"energy-pointing-game>{least}"])
    assert bound.best.expression != free.best.expression
    assert energy(bound, bound.best.expression) > least
    assert bound.best.score <= free.best.score
    refused = {r.expression: r.figure for r in bound.record.refused}
    figure = energy(free, free.best.expression)
    assert refused[free.best.expression] == pytest.approx(figure, abs=1e-6)
    said = " ".join(e.text for e in events if isinstance(e, Note))
    assert f"{free.best.expression} is refused: energy-pointing-game>{least:g}" in said


def test_a_requirement_that_is_met_changes_nothing(search, free):
    same = search(require="energy-pointing-game>=0")
    assert same.best.expression == free.best.expression
    assert same.record.refused == free.record.refused
    assert same.record.required == ("energy-pointing-game>=0",)


def test_where_nothing_meets_it_there_is_no_winner(search, tmp_path):
    events = []
    result = search(events, out=tmp_path / "run", require=["energy-pointing-game>0.999"])
    assert result.best is None
    assert any("meets the requirements" in e.text for e in events if isinstance(e, Note))
    # What was measured is on record: without its result the same command measures nothing again.
    (tmp_path / "run" / "result.json").unlink()
    journal = tmp_path / "run" / "scores-energy-pointing-game.jsonl"
    before = journal.read_bytes()
    search(out=tmp_path / "run", require=["energy-pointing-game>0.999"])
    assert journal.read_bytes() == before


@pytest.mark.parametrize(
    ("text", "figure", "met"),
    [
        ("iou>0.2", 0.2, False),
        ("iou >= 0.2", 0.2, True),
        ("deletion<1e-1", 0.05, True),
        ("deletion<=0.05", 0.0500001, False),
        ("road>-0.5", math.nan, False),
        ("road<=inf", math.nan, False),
    ],
)
def test_a_requirement_by_its_text(text, figure, met):
    found = Requirement.parse(text)
    assert found.met(figure) is met
    assert str(Requirement.parse(str(found))) == str(found)


@pytest.mark.parametrize(
    "text", ["", "iou", "iou=0.2", "iou>", ">0.2", "iou>high", "iou>0.1>0.2", "iou>nan"]
)
def test_text_that_is_no_requirement(text):
    with pytest.raises(OptionError, match=r"like class-sensitivity>0\.2"):
        Requirement.parse(text)


@pytest.mark.parametrize(
    ("text", "meant"), [("iou=>0.2", "iou>=0.2"), ("road:noise=0 =< 1", "road:noise=0 <= 1")]
)
def test_a_sign_that_is_turned_round(text, meant):
    with pytest.raises(OptionError, match=f"did you mean '{meant}'"):
        Requirement.parse(text)
    Requirement.parse(meant)


def test_an_unknown_metric_in_a_requirement():
    with pytest.raises(UnknownNameError, match="did you mean 'road'"):
        Requirement.parse("raod>0.2")


def test_thresholds_are_told_apart():
    """Six digits were told, so that runs with other requirements had one identity."""
    first, second = (str(Requirement.parse(f"road>0.123456{i}")) for i in (1, 2))
    assert first != second


def test_two_requirements_on_one_metric_measure_it_once(search, tmp_path):
    search(out=tmp_path / "run", require=["energy-pointing-game>0", "energy-pointing-game<=1"])
    journal = tmp_path / "run" / "scores-energy-pointing-game.jsonl"
    records = [json.loads(line) for line in journal.read_bytes().splitlines()]
    names = [entry["name"] for record in records[1:] for entry in record["candidates"]]
    assert len(names) == len(set(names)) > 0


def test_a_requirement_that_nothing_can_meet():
    with pytest.raises(OptionError, match="can never be met: iou is between 0 and 1"):
        Requirement.parse("iou>1")
    assert Requirement.parse("iou>=1").met(1.0)
