"""On pure noise the search finds a best formula, and the held-out images say that it is none."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch

from sycam.grammar import load_grammar
from sycam.methods import find_method
from sycam.metrics import Metric
from sycam.problem.explained_network import ExplainedNetwork
from sycam.problem.images import demo_images
from sycam.scoring import statistics
from sycam.scoring.scorer import Score, Scorer
from sycam.search import Candidate, Enumerator, select
from sycam.validation.entrants import Entrant
from sycam.validation.measures import Measures
from sycam.validation.validate import validate

RUNS, SEARCH, HELDOUT = 100, 24, 32
PUBLISHED = ("grad-cam", "hirescam", "grad-cam++", "xgrad-cam", "layer-cam")


class Noise(Metric):
    """A number drawn for the heatmap's bytes and the run's seed: it measures nothing."""

    name, summary, source, family = "noise", "nothing", "none", "custom"

    def __init__(self, seed: int = 0):
        self.seed = seed

    @property
    def options(self):
        return {"seed": self.seed}

    def score(self, maps, context):
        return torch.from_numpy(self.drawn(digests(maps)))

    def drawn(self, found):
        """Uniform in [0, 1) for 64-bit digests, by the mixing of SplitMix64 (Steele 2014)."""
        mixed = found ^ np.uint64((self.seed * 0x9E3779B97F4A7C15 + 1) % 2**64)
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
        return (mixed ^ (mixed >> np.uint64(31))) / 2.0**64


def digests(maps):
    """``[P,N]`` uint64."""
    rows = maps.flatten(2).contiguous().numpy()
    found = [
        [int.from_bytes(hashlib.blake2b(m.tobytes(), digest_size=8).digest(), "big") for m in row]
        for row in rows
    ]
    return np.array(found, dtype=np.uint64)


class Digests(Noise):
    """Keeps what it saw."""

    def score(self, maps, context):
        self.seen.append(digests(maps))
        return torch.zeros(maps.shape[:2])


@pytest.fixture(scope="module")
def measured():
    searched, unseen = demo_images("search", SEARCH, 0), demo_images("heldout", HELDOUT, 0)
    explained = ExplainedNetwork.prepare("demo", "auto", searched)
    evidence, context = explained.measure(searched)
    probe = {n: t[:3] for n, t in evidence.layers[0].leaves.items()}
    grammar = load_grammar("gradient")
    stream = Enumerator(grammar, probe, "exact", context.size).candidates(3)
    found = [e for e in stream if hasattr(e, "sort")]
    formulas = found[:40] + found[40::2]
    known = [find_method(name).expression for name in PUBLISHED]
    every = list(dict.fromkeys(known + formulas))
    keeper = Digests()
    scorer = Scorer(keeper, evidence, context)
    rows = []
    for expression in every:
        keeper.seen = []
        scorer.score([expression])
        rows.append(np.concatenate(keeper.seen, 1))
    table = np.concatenate(rows)
    assert table.shape == (len(every), SEARCH)
    return every, table, known, *explained.measure(unseen)


def test_pure_noise_has_no_significant_winner(measured, monkeypatch):
    """At least 95 of 100 runs, by the default rule, hundreds of formulas, and real validation."""
    monkeypatch.setattr(statistics, "RESAMPLES", 999)  # p from 0.002 on, below 0.05 / 5
    expressions, table, known, evidence, context = measured
    published = {bytes(row) for e, row in zip(expressions, table, strict=True) if e in known}
    assert len(expressions) > 150
    significant, fell = 0, []
    for seed in range(RUNS):
        metric = Noise(seed)
        candidates = {
            e: Candidate(str(e), "expression", e, Score.of(metric, values.round(7), 0, True))
            for e, values in zip(expressions, metric.drawn(table), strict=True)
        }
        disguised = {c.name for (e, c), row in zip(candidates.items(), table, strict=True)
                     if bytes(row) in published}  # fmt: skip
        winner = select(list(candidates.values()), metric, lambda c, d=disguised: c.name in d)
        entrants = [Entrant(find_method(winner.expression), "winner", winner.mean)]
        entrants += [Entrant(find_method(n), "published", candidates[e].mean)
                     for n, e in zip(PUBLISHED, known, strict=True)]  # fmt: skip
        found = validate(entrants, Measures(metric), evidence, context, seed)
        significant += found.beats_published
        fell.append(winner.mean - found.winner.heldout.mean)
    assert RUNS - significant >= 95
    # The curse is there to be seen through: the best of so many promised far more than chance.
    assert np.mean(fell) > 0.1


def test_a_real_lead_is_significant(measured):
    """The same decision is not blind: a winner that is better on every image is found so."""

    class Lead(Noise):
        def score(self, maps, context):
            return super().score(maps, context) + 10 * maps.flatten(2).mean(-1)

    expressions, _, _, evidence, context = measured
    scorer = Scorer(Lead(), evidence, context)
    means = {str(e): scorer.score([e])[0].mean for e in expressions[5::10]}
    best = find_method(max(means, key=means.get))
    entrants = [Entrant(best, "winner", 1.0)]
    entrants += [Entrant(find_method(n), "published", 0.5) for n in PUBLISHED]
    found = validate(entrants, Measures(Lead()), evidence, context)
    assert found.beats_published
