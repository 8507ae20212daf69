"""What a result says about its own choice: stability, resolution, and what is luck."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from rich.console import Console
from torch import nn

import sycam
from sycam.data.images import ImageSet
from sycam.events import Note
from sycam.report.tables import result_tables

SIDE, SEARCHED = 16, 24


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(6 * 64, 16),
        nn.ReLU(),
        nn.Linear(16, 3),
    ).eval()


def images():
    pixels = torch.randn(60, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    return ImageSet.from_arrays(pixels)


def run(out, notify=lambda _: None, **changes):
    options = {
        "metric": "deletion", "mode": "exact", "select": "argmax", "budget": 500, "max_cost": 2,
        "search_images": SEARCHED, "heldout": 12, "out": out, "notify": notify,
    } | changes  # fmt: skip
    return sycam.synthesize(network(), "1", images(), **options)


@pytest.fixture(scope="module")
def told():
    return []


@pytest.fixture(scope="module")
def finished(tmp_path_factory, told):
    return run(tmp_path_factory.mktemp("runs") / "one", told.append)


def test_the_record_holds_it_and_is_read_back(finished):
    again = sycam.load(finished.path).record
    for name in ("stability", "resolution"):
        assert getattr(again, name).images == SEARCHED
    stability = again.stability
    first = stability.contenders[0]
    assert (stability.rule, stability.resamples) == ("argmax", 1000)
    assert (first.expression, first.score) == (finished.best.expression, finished.best.score)
    # Lower is better for deletion, so that luck made the score too low.
    assert stability.optimism > 0
    assert stability.expected == pytest.approx(finished.best.score + stability.optimism)


def test_the_winner_wins_as_often_as_it_does_by_hand(finished):
    known = [k.scores for k in finished.record.search.known]
    field = [
        f for f in finished.hall
        if "G" in f.expression  # what shows the same for every class is no answer
        and not any(np.allclose(f.scores, k, atol=1e-6) for k in known)
    ]  # fmt: skip
    # Published CAMs, plain and blurred, may win as well.
    answers = {k.expression: k for k in finished.record.search.known
               if k.kind in ("published", "blurred") and "G" in k.expression}  # fmt: skip
    field += answers.values()
    scores = np.array([f.scores for f in field])
    rng, wins = np.random.default_rng(12), 0
    for _ in range(2000):
        drawn = rng.integers(SEARCHED, size=SEARCHED)
        wins += field[int(scores[:, drawn].mean(1).argmin())].expression == finished.best.expression
    share = finished.record.stability.contenders[0].share
    assert 0.02 < share < 0.98
    assert share == pytest.approx(wins / 2000, abs=0.06)


def test_too_few_images_are_told_of(finished, told):
    power = finished.record.resolution
    assert not power.enough
    assert power.needed > SEARCHED
    notes = [event.text for event in told if isinstance(event, Note)]
    assert power.warning in notes
    assert f"about {power.needed} would" in power.warning


def text_of(result):
    console = Console(file=io.StringIO(), width=300)
    console.print(result_tables(result))
    return console.file.getvalue()


def test_the_terminal_says_it(finished):
    stability, power = finished.record.stability, finished.record.resolution
    text = text_of(finished)
    assert f"wins {stability.contenders[0].share:.0%} of 1,000 bootstraps" in text
    assert f"next {stability.contenders[1].expression}" in text
    assert f"expect deletion {stability.expected:.4f} on other images" in text
    assert power.warning in text
    clear = replace(power, enough=True, needed=None, warning="")
    enough = replace(finished, record=replace(finished.record, resolution=clear))
    assert f"{SEARCHED} search images tell it from its next rivals" in text_of(enough)


def test_the_same_seed_says_the_same(finished, tmp_path):
    again = run(tmp_path / "again").record
    for name in ("stability", "resolution"):
        assert getattr(again, name) == getattr(finished.record, name)


def test_requirements_bind_the_contenders_but_refuse_nobody_more(tmp_path):
    """Who wins on some bootstrap is asked as the winner is; the refused are told as before."""
    required = run(tmp_path / "required", require=["class-sensitivity>0.05"])
    stability = required.record.stability
    refused = {r.expression for r in required.record.refused}
    assert stability.contenders[0].expression == required.best.expression
    assert not refused & {c.expression for c in stability.contenders}
    assert sycam.verify(required.path, network(), images()).holds


def test_of_several_goals_nothing_is_said(tmp_path):
    several = run(tmp_path / "several", metric=["deletion", "insertion"])
    assert not {"stability", "resolution"} & set(several.record.to_dict())
    assert "bootstraps" not in text_of(several)
