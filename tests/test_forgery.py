"""A forged field of a result is told by ``verify``, or stands in what it lists as not checked.

Whoever forges a result makes its digest anew, so that the digest is made anew here as well.
"""

from __future__ import annotations

import copy
import json
import shutil
import zlib

import pytest
import torch
from torch import nn

import sycam
from sycam import verification
from sycam.data.images import ImageSet
from sycam.errors import SycamError
from sycam.language import Grammar
from sycam.result import digest_of
from sycam.search import Scorer
from sycam.task import Task

FEW = 2  # entries of a list that are forged: the others are like them


def small_network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(6 * 64, 16),
        nn.ReLU(),
        nn.Linear(16, 3),
    ).eval()


def small_set():
    pixels = torch.randn(60, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    return ImageSet.from_arrays(pixels, torch.arange(60) % 3)


# What is measured, and how the search went: each writes other parts of the record.
RUNS = {
    "one metric": {"metric": "average-drop", "mode": "exact"},
    "goals": {"metric": ["average-drop", "increase"], "mode": "exact"},
    "classes": {"metric": "average-drop", "scope": "per-class", "mode": "exact"},
    "components": {"metric": "adcc:reduction=of-means", "mode": "exact"},
    "race": {"metric": "deletion", "require": ["sparseness>0.01"], "max_cost": 1, "budget": 24},
}


@pytest.fixture(scope="module", params=RUNS)
def run(request, tmp_path_factory):
    options = {"budget": 20, "max_cost": 2, "search_images": 24, "heldout": 16}
    return request.param, sycam.synthesize(
        small_network(),
        "1",
        small_set(),
        out=tmp_path_factory.mktemp("forged") / "run",
        **(options | RUNS[request.param]),
    ).path


@pytest.fixture
def measured_once(monkeypatch):
    """``verify`` keeps what it measures of the same arguments: thousands of forgeries need it."""

    def once(function, key):
        known = {}

        def kept(*args, **options):
            at = key(*args, **options)
            if at not in known:
                known[at] = function(*args, **options)
            return known[at]

        return kept

    def str_of(*args):
        return str(args)

    def said(value):
        return value.digest if isinstance(value, Grammar) else str(value)

    prepare = once(
        Task.prepare,
        lambda **o: str({k: said(v) for k, v in o.items()
                         if k not in ("notify", "network", "images")}) + str(o["network"]),
    )  # fmt: skip
    monkeypatch.setattr(Task, "prepare", prepare)
    monkeypatch.setattr(
        verification, "hunt", once(verification.hunt, lambda t, o, f, s, n: (id(t), str(o), str(s)))
    )
    monkeypatch.setattr(
        verification,
        "derived",
        once(verification.derived, lambda t, o, found, *_: (found.outcome.seconds, str(o))),
    )
    monkeypatch.setattr(verification, "read_grammar", once(verification.read_grammar, str_of))
    keep = []
    monkeypatch.setattr(
        Scorer,
        "score_method",
        once(Scorer.score_method, lambda self, m: (keep.append(self), id(self), m.name)[1:]),
    )


def leaves(value, path=()):
    """Paths to all values, of a list's entries the first ones; of rows one of each kind."""
    if isinstance(value, dict):
        yield path
        for key, one in value.items():
            yield from leaves(one, (*path, key))
    elif isinstance(value, list):
        yield path
        places = range(min(len(value), FEW))
        if path == ("validation", "rows"):
            kinds = [row["kind"] for row in value]
            places = sorted({kinds.index(kind) for kind in kinds})
        for place in places:
            yield from leaves(value[place], (*path, place))
    else:
        yield path


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
        return [value + 0.001 * max(1, abs(value))]
    return ["invented" if value is None else value + " or so"]


def changes(data, whole):
    """Every record with one value changed, or one key removed, and where.

    Settings, for which a search is played again each time, only where the whole is asked for.
    """
    for path in leaves(data):
        if not path or (path[0] == "settings" and not whole):
            continue
        *above, key = path
        for value in (*forged(at(data, path)), None):
            other = copy.deepcopy(data)
            holder = at(other, above)
            if value is not None:
                holder[key] = value
            elif isinstance(holder, dict):
                del holder[key]
            else:
                continue
            yield path, other


def at(data, path):
    for key in path:
        data = data[key]
    return data


def test_every_forged_field_is_told_or_listed(run, tmp_path, measured_once):
    kind, folder = run
    arguments = {"network": small_network(), "images": small_set()}
    copied = tmp_path / "copy"
    shutil.copytree(folder, copied)
    file = copied / "result.json"
    honest = json.loads(file.read_text())
    del honest["digest"]
    done = sycam.verify(copied, **arguments)
    assert done.holds, [c.found for c in done.checks]
    unseen, tried = [], 0
    for path, data in changes(honest, kind == "one metric"):
        file.write_text(json.dumps({**data, "digest": digest_of(data)}))
        tried += 1
        try:
            done = sycam.verify(copied, **arguments)
        except SycamError:
            continue
        except Exception as error:
            unseen.append(f"{'.'.join(map(str, path))}: {error!r}")
            continue
        if done.holds and not any(u.covers(path) for u in done.unchecked):
            unseen.append(".".join(map(str, path)))
    assert unseen == []
    assert tried > 500


def without(line):
    return line.rpartition(b"\t")[0]


def checked(record):
    text = json.dumps(record, separators=(",", ":"))
    return f"{text}\t{zlib.crc32(text.encode()):08x}".encode()


def test_a_rival_whose_scores_the_journal_lowers_is_scored_anew(run, tmp_path):
    """Journal, record and all that follows from it agree; only the network says otherwise."""
    kind, folder = run
    if kind != "one metric":
        pytest.skip("one run is enough")
    copied = tmp_path / "copy"
    shutil.copytree(folder, copied)
    file = copied / "result.json"
    data = json.loads(file.read_text())
    row = next(r for r in data["validation"]["rows"] if r["kind"] == "baseline")
    rival, journalled = row["name"], row["expression"] or row["name"]
    journal = copied / "scores.jsonl"
    lines = journal.read_bytes().splitlines()
    for place, line in enumerate(lines[1:], 1):
        record = json.loads(without(line))
        for entry in record["candidates"]:
            if entry["name"] == journalled:
                entry["scores"] = [s + 0.01 for s in entry["scores"]]
                lines[place] = checked(record)
    journal.write_bytes(b"\n".join(lines) + b"\n")
    for known in data["search"]["known"]:
        if known["name"] == rival:
            known["scores"] = [s + 0.01 for s in known["scores"]]
            known["score"] += 0.01
    row["search"] += 0.01
    data["digest"] = digest_of(data)
    file.write_text(json.dumps(data))
    done = sycam.verify(copied, small_network(), small_set())
    assert f"{rival} differs by up to 0.01" in "".join(c.found for c in done.checks)
