"""A forged field of a result is told by ``verify``, or stands in what it lists as not checked.

Whoever forges a result makes its digest again, so that the digest is made again here as well.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import sycam
from sycam.data.images import ImageSet
from sycam.errors import OptionError, RunError, SycamError
from sycam.metrics import find_metric
from sycam.problem.images import divide
from sycam.problem.problem import Problem
from sycam.report.tables import result_tables
from sycam.runs.checking import verify
from sycam.runs.checking.discrepancies import discrepancies
from sycam.runs.recording import record_of
from sycam.runs.result import Result, digest_of
from sycam.scoring.journal import checked_line
from sycam.scoring.scorer import Scorer
from sycam.support.bounded_json import SchemaError

FEW = 2  # entries of a list that are forged: the others are like them


def small_network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(6 * 16, 16),
        nn.ReLU(),
        nn.Linear(16, 3),
    ).eval()


def small_set():
    pixels = torch.randn(32, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    return ImageSet.from_arrays(pixels, torch.arange(32) % 3)


# What is measured, and how the search went: each writes other parts of the record.
RUNS = {
    "race": {"metric": "deletion", "require": ["sparseness>0.01"], "max_cost": 1},
    "goals": {"metric": ["average-drop", "increase-in-confidence"], "mode": "exact"},
    "classes": {"metric": "hci", "scope": "per-class", "mode": "exact"},
}
GIVEN = {"network", "images"}


def run_of(kind, out):
    options = {"budget": 8, "max_cost": 2, "search_images": 18, "heldout": 14} | RUNS[kind]
    return sycam.synthesize(small_network(), "1", small_set(), out=out, **options)


@pytest.fixture(scope="module")
def race(tmp_path_factory):
    return run_of("race", tmp_path_factory.mktemp("forged") / "race").path


@pytest.fixture(scope="module", params=RUNS)
def run(request, tmp_path_factory, race):
    if request.param == "race":
        return race
    return run_of(request.param, tmp_path_factory.mktemp("forged") / "run").path


def honest_record(folder):
    data = json.loads((folder / "result.json").read_text())
    del data["digest"]
    return data


def leaves(value, path=()):
    """Paths to all values, of a list's entries the first ones; of rows one of each kind."""
    if path:
        yield path
    if isinstance(value, dict):
        for key, one in value.items():
            yield from leaves(one, (*path, key))
    elif isinstance(value, list):
        places = range(min(len(value), FEW))
        if path == ("validation", "rows"):
            kinds = [row["kind"] for row in value]
            places = sorted({kinds.index(kind) for kind in kinds})
        for place in places:
            yield from leaves(value[place], (*path, place))


def forged(value):
    """Other values in the place of one."""
    if isinstance(value, dict):
        return [{**value, "invented": 1}]
    if isinstance(value, list):
        return [[*value, value[-1] if value else 1], *([value[:-1]] if value else [])]
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [value + 1]
    if isinstance(value, float):
        return [value + 0.002 * max(1, abs(value)), None]
    return ["invented" if value is None else value + " or so", None]


def changes(data):
    """Every record with one value changed, or one key removed, and where; the rest is shared."""
    for path in leaves(data):
        value = at(data, path)
        for other in [other for other in forged(value) if other != value]:
            yield (*path, *place_of(value, other)), put(data, path, other)
        if isinstance(path[-1], str):
            above = {k: v for k, v in at(data, path[:-1]).items() if k != path[-1]}
            yield path, put(data, path[:-1], above)


def place_of(value, other):
    """Where a list differs that got an entry more or less."""
    both = isinstance(value, list) and isinstance(other, list)
    return [max(len(value), len(other)) - 1] if both else []


def at(data, path):
    for key in path:
        data = data[key]
    return data


def put(data, path, value):
    """Data with another value at a path."""
    if not path:
        return value
    copied = dict(data) if isinstance(data, dict) else list(data)
    copied[path[0]] = put(copied[path[0]], path[1:], value) if path[1:] else value
    return copied


def is_refused(data):
    try:
        Result.from_dict(data)
    except SchemaError:
        return True
    return False


def test_every_forged_field_is_told_or_listed(run):
    """Against what is derived from an honest record; what decides what is derived follows below."""
    done = sycam.verify(run, small_network(), small_set())
    assert done.holds, [c.found for c in done.checks]
    honest, tried, unseen = honest_record(run), 0, []
    components = honest["settings"]["metric"] == "hci"
    for path, data in changes(honest):
        tried += 1
        try:
            differing, unchecked = discrepancies(data, honest, components, GIVEN)
        except (KeyError, TypeError):
            differing, unchecked = [], []  # what is no record is refused before
        listed = any(one.covers(path) for one in unchecked)
        if not (differing or listed or is_refused(data)):
            unseen.append(".".join(map(str, path)))
    assert unseen == []
    assert tried > 500


READ = (  # what verify begins with: it decides what is derived
    "identity", "settings", "required", "network.layers", "network.reshape", "network.fusion",
    "data.search_images", "data.heldout_images", "grammar.text", "grammar.digest",
    "certificate.entered", "certificate.settling",
)  # fmt: skip


@pytest.fixture
def measured_once(monkeypatch, race):
    """``verify`` measures the same task once; on held-out images nothing but the task counts."""

    def once(function, key):
        known = {}

        def kept(*args, **options):
            at = key(*args, **options)
            if at not in known:
                known[at] = function(*args, **options)
            return known[at]

        return kept

    def key(asked, _notify):
        return str(
            (asked.layer, asked.metric, asked.require, asked.data, asked.explain, asked.guesses,
             asked.seed)
        )  # fmt: skip

    monkeypatch.setattr(Problem, "of", once(Problem.of, key))
    monkeypatch.setattr(
        Scorer, "score_method", once(Scorer.score_method, lambda s, m: (id(s.evidence), m.name))
    )
    monkeypatch.setattr(verify, "read_grammar", once(verify.read_grammar, lambda *a: a))
    result = sycam.load(race)

    def derived(problem, options, found, *_):
        record = result.record
        fresh = record_of(problem, options, found, record.goals, record.classes)
        sure = {"stability": record.stability, "resolution": record.resolution}
        return replace(result, record=replace(fresh, **sure))

    monkeypatch.setattr(verify, "derived", derived)


@pytest.mark.slow
def test_a_forged_field_that_decides_what_is_derived_is_told_or_listed(
    race, tmp_path, measured_once
):
    given = {"network": small_network(), "images": small_set()}
    copied = tmp_path / "copy"
    shutil.copytree(race, copied)
    unseen, tried = [], 0
    for path, data in changes(honest_record(race)):
        where = ".".join(map(str, path))
        if not where.startswith(READ) or is_refused(data):
            continue
        tried += 1
        (copied / "result.json").write_text(json.dumps({**data, "digest": digest_of(data)}))
        try:
            done = sycam.verify(copied, **given)
        except SycamError:
            continue
        if done.holds and not any(one.covers(path) for one in done.unchecked):
            unseen.append(where)
    assert unseen == []
    assert tried > 20


# --- what is no record ---------------------------------------------------------------------------

WRONG = (None, [], {}, -1, "", [[1]], True, 1.5, 2**70, {"": None})


def test_a_value_of_another_kind_is_one_typed_error_or_does_no_harm(race, tmp_path):
    honest, file, seen = honest_record(race), tmp_path / "result.json", []
    for place, path in enumerate(leaves(honest)):
        data = put(honest, path, WRONG[place % len(WRONG)])
        file.write_text(json.dumps(data))
        try:
            result_tables(sycam.load(file))
        except SycamError as error:
            seen.append(str(error))
    said = ("is damaged: ", "has schema", "cannot read expression")
    assert len(seen) > 150
    assert [text for text in seen if not any(part in text for part in said)] == []


def replaced(path, value):
    return lambda data: json.dumps(put(data, path, value))


BEYOND = {
    "nested deeply": lambda data: '{"schema": 3, "a": ' + "[" * 100_000 + "]" * 100_000 + "}",
    "nested": replaced(("created",), json.loads("[" * 40 + "]" * 40)),
    "half a character": replaced(("created",), "\ud800"),
    "half a character as a key": replaced(("environment", "\udfff"), "x"),
    "a number beyond all": lambda data: json.dumps(data).replace('"seed": 0', '"seed": 1e999'),
    "a number of many digits": lambda data: json.dumps(data).replace(
        '"seed": 0', '"seed": ' + "9" * 5000
    ),
    "no number": replaced(("validation", "rows", 0, "search"), float("nan")),
    "no JSON": lambda data: json.dumps(data)[:-9],
    "no object": lambda data: "[]",
    "images": replaced(("data", "search_images"), 10**9),
    "held-out images": replaced(("data", "heldout_images"), -1),
    "cost": replaced(("settings", "search", "max_cost"), 10**9),
    "entered": replaced(("certificate", "entered"), {"exhaustive": 10**12}),
    "a strange option": replaced(("settings", "search", "invented"), 1),
    "images read otherwise": replaced(("data", "search_origin"), {"source": "x", "run": "y"}),
    "levels": lambda data: json.dumps(
        put(data, ("certificate", "levels"), data["certificate"]["levels"] * 20_000)
    ),
}


@pytest.mark.parametrize("change", BEYOND.values(), ids=BEYOND)
def test_what_is_beyond_all_bounds_is_refused_when_it_is_read(race, tmp_path, change):
    file = tmp_path / "result.json"
    file.write_text(change(honest_record(race)))
    with pytest.raises(RunError, match=r"is damaged|has schema"):
        sycam.load(file)


@pytest.mark.parametrize(
    ("metric", "said"),
    [
        ("insertion:steps=1000000000", "at most 10000"),
        ("insertion:steps=1e9", "not understood"),
        ("max-sensitivity:samples=1000000000", "at most 10000"),
        ("randomisation:stages=1000000000", "at most 10000"),
    ],
)
def test_an_option_of_a_metric_has_an_upper_bound(metric, said):
    with pytest.raises(OptionError, match=said):
        find_metric(metric)


@pytest.mark.parametrize("counts", [(10**9, 8), (8, 10**9)])
def test_no_more_scenes_are_made_than_fit(counts):
    search, heldout = counts
    with pytest.raises(OptionError, match="1000000000"):
        divide("demo", heldout, search, 0, False)


def test_a_rival_whose_scores_the_journal_lowers_is_scored_anew(race, tmp_path):
    """Journal, record and all that follows from it agree; only the network says otherwise."""
    copied = tmp_path / "copy"
    shutil.copytree(race, copied)
    data = honest_record(copied)
    row = next(r for r in data["validation"]["rows"] if r["kind"] == "baseline")
    rival, journalled = row["name"], row["expression"] or row["name"]
    journal = copied / "scores.jsonl"
    lines = journal.read_bytes().splitlines()
    for place, line in enumerate(lines[1:], 1):
        record = json.loads(line)
        del record["check"]
        for entry in record["candidates"]:
            if entry["name"] == journalled:
                # An image at one of nine percentiles each.
                entry["scores"] = (np.array(entry["scores"]) + 0.01 / 9).tolist()
                lines[place] = checked_line(record).rstrip()
    journal.write_bytes(b"\n".join(lines) + b"\n")
    for known in data["search"]["known"]:
        if known["name"] == rival:
            known["scores"] = [s + 0.01 for s in known["scores"]]
            known["score"] += 0.01
    row["search"] += 0.01
    (copied / "result.json").write_text(json.dumps({**data, "digest": digest_of(data)}))
    done = sycam.verify(copied, small_network(), small_set())
    assert f"{rival} differs by up to 0.01" in "".join(c.found for c in done.checks)


def without_a_rival(data):
    rows = data["validation"]["rows"]
    rows.remove(next(r for r in rows if r["name"] == data["validation"]["best_published"]))
    published = next(r["name"] for r in rows if r["kind"] == "published")
    data["validation"].update(best_published=published, chosen_published=published)


def with_better_figures(data):
    row = data["validation"]["rows"][0]
    row["panel"]["insertion"] += 0.01
    row["guards"]["class-sensitivity"] += 0.01
    row["heldout"]["low"] += 0.01
    data["validation"]["guarded_images"] += 1


def surer(data):
    data["stability"]["winners"] += 1
    data["certificate"]["scores"] += 1


@pytest.mark.parametrize(
    ("forge", "told"),
    [
        (without_a_rival, ["rows: stated"]),
        (
            with_better_figures,
            ["panel.insertion", "guards.class-sensitivity", "heldout.low", "guarded_images"],
        ),
        (surer, ["stability.winners", "certificate.scores"]),
    ],
)
def test_verify_says_what_is_forged(race, tmp_path, measured_once, forge, told):
    copied = tmp_path / "copy"
    shutil.copytree(race, copied)
    data = honest_record(copied)
    forge(data)
    (copied / "result.json").write_text(json.dumps({**data, "digest": digest_of(data)}))
    done = sycam.verify(copied, small_network(), small_set())
    found = " ".join(check.found for check in done.checks)
    assert [text for text in told if text not in found] == []
