"""A guided synthesis from beginning to end: study, certificate, and playing it again."""

from __future__ import annotations

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

import sycam
from sycam.data import demo
from sycam.grammar import load_grammar
from sycam.search.proposals.optuna_study import STUDY_FILE

GRAMMAR = load_grammar("gradient")


@pytest.mark.slow
@pytest.mark.parametrize(("sampler", "budget"), [("grammar", 72), ("tpe", 48)])
def test_a_guided_run_goes_beyond_the_cost_bound_and_can_be_played_again(tmp_path, sampler, budget):
    out = tmp_path / "run"
    options = {
        "metric": "average-drop", "mode": "guided", "sampler": sampler, "budget": budget,
        "search_images": 32, "heldout": 4, "constants": True, "out": out,
    }  # fmt: skip
    result = sycam.synthesize("demo", demo.LAYER, "demo", **options)
    certificate, guided = result.certificate, result.record.search.guided
    entered = certificate.entered
    # A tenth is left for the constants, of which the leaders may have none.
    assert 0.9 * budget <= sum(entered.values()) <= budget
    assert entered["guided"] > 0
    assert sum(kind["proposed"] for kind in guided["kinds"].values()) == guided["proposals"]
    # A batch that the budget cut is proposed whole.
    assert 0 <= guided["proposals"] - entered["guided"] < 8
    storage = JournalStorage(JournalFileBackend(str(out / STUDY_FILE)))
    (study,) = optuna.get_all_study_summaries(storage)
    trials = optuna.load_study(study_name=study.study_name, storage=storage).trials
    expressions = [GRAMMAR.parse(trial.user_attrs["expression"]) for trial in trials]
    assert len(set(expressions)) >= guided["proposals"]
    assert max(e.cost for e in expressions) > len(certificate.levels) - 1
    done = sycam.verify(out)
    assert done.holds, [check.found for check in done.checks if not check.holds]
