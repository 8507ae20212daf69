"""Guided search: new classes only, the same every time, in a study that others can open."""

from __future__ import annotations

from collections import Counter

import optuna
import pytest
import torch
from optuna.samplers import RandomSampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from sycam.errors import OptionError, UnknownNameError
from sycam.grammar import load_grammar
from sycam.language import parse
from sycam.metrics import POSITIVE_SCALE
from sycam.search.enumeration.enumerator import Enumerator, Level
from sycam.search.options import SAMPLERS
from sycam.search.proposals.guide import Guide, Space

MAX = 5
GRAMMAR = load_grammar("gradient")


def leaves():
    generator = torch.Generator().manual_seed(0)
    shape = (3, 5, 4, 4)
    return {
        "activations": torch.randn(shape, generator=generator, dtype=torch.float64).relu(),
        "gradients": torch.randn(shape, generator=generator, dtype=torch.float64),
    }


def enumerator():
    return Enumerator(GRAMMAR, leaves(), POSITIVE_SCALE, (24, 24))


HIDDEN = enumerator().portrait(GRAMMAR.parse("relu(mean(G) * A) * symlog(G)"))


def figure(space, expression):
    """How near the heatmaps are to those of a hidden expression."""
    return -float(abs(space.portrait(expression) - HIDDEN).mean())


def guide(sampler="grammar", seed=0, **options):
    space = enumerator()
    stream = space.candidates(MAX)
    known = Space(GRAMMAR, MAX, space.represent, stream, space.portrait)
    return Guide(known, sampler, seed, **options), space


def follow(made, space, count):
    found = []
    while len(found) < count and (batch := made.ask(min(8, count - len(found)))):
        for expression in batch:
            made.tell(expression, figure(space, expression))
        found += batch
    return found


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_proposals_are_in_the_space_and_of_different_classes(sampler):
    made, space = guide(sampler)
    found = follow(made, space, 48)
    assert len(found) == 48
    assert all(e in GRAMMAR and e.cost <= MAX for e in found)
    assert len(set(enumerator().represent_all(found))) == 48
    assert made.statistics["proposals"] == 48
    assert sum(kind["proposed"] for kind in made.statistics["kinds"].values()) == 48


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_same_seed_and_scores_give_the_same_proposals(sampler):
    assert follow(*guide(sampler, 3), 40) == follow(*guide(sampler, 3), 40)


def test_another_seed_gives_other_proposals():
    assert follow(*guide("grammar", 1), 40) != follow(*guide("grammar", 2), 40)


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_any_sampler_of_optuna_will_do():
    made, space = guide(optuna.samplers.QMCSampler(seed=0, warn_independent_sampling=False))
    assert len(follow(made, space, 8)) == 8


def test_it_beats_plain_order_and_chance_on_a_hidden_heatmap():
    best = {}
    for sampler in ("grammar", "random"):
        best[sampler] = max(figure(enumerator(), e) for e in follow(*guide(sampler), 96))
    space, plain = enumerator(), []
    for item in space.candidates(MAX):
        if not isinstance(item, Level):
            plain.append(figure(space, item))
        if len(plain) == 96:
            break
    assert best["grammar"] > max(plain)
    assert best["grammar"] > best["random"]


def two_layers():
    """A guide of formulas of two layers of different grids, and what tells these apart."""
    generator = torch.Generator().manual_seed(0)
    sites = {
        name: {
            "activations": torch.randn(shape, generator=generator, dtype=torch.float64).relu(),
            "gradients": torch.randn(shape, generator=generator, dtype=torch.float64),
        }
        for name, shape in (("deep", (3, 5, 4, 4)), ("fine", (3, 4, 8, 8)))
    }
    grammar = load_grammar("network").at(list(sites))
    space = Enumerator(grammar, sites["fine"], POSITIVE_SCALE, (24, 24), sites=sites)
    known = Space(grammar, 11, space.represent, space.candidates(4), space.portrait)
    return Guide(known), space


def test_two_layers_are_combined_first_and_both_are_searched():
    made, space = two_layers()
    hidden = space.portrait(parse("cam[deep](relu(G)) * cam[fine](G)"))
    scores = {}
    while len(scores) < 40:
        for expression in made.ask(8):
            scores[expression] = -float(abs(space.portrait(expression) - hidden).mean())
            made.tell(expression, scores[expression])
    sites = [e.sites for e in scores]
    assert [len(one) for one in sites[:10]] == [1] * 8 + [2] * 2
    assert all(sites[10:].count((site,)) >= 3 for site in ("deep", "fine"))
    assert len(max(scores, key=scores.get).sites) == 2
    kinds = made.statistics["kinds"]
    assert kinds["combination"]["improved"] > 0
    assert kinds["layer"]["proposed"] >= 8


def test_what_is_known_from_elsewhere_is_not_proposed_but_built_upon():
    made, space = guide()
    known = [e for e in enumerator().candidates(2) if not isinstance(e, Level)]
    for expression in known:
        made.add(expression, figure(space, expression))
    made.add(GRAMMAR.parse("G"), 0.0)
    found = follow(made, space, 32)
    assert not set(enumerator().represent_all(found)) & set(known)
    assert made.statistics["kinds"]["edit"]["proposed"] >= 12


def test_pending_expressions_are_not_asked_for_again():
    made, _ = guide()
    first, second = made.ask(8), made.ask(8)
    assert len({*first, *second}) == 16


def test_a_small_space_is_searched_to_its_end():
    space = enumerator()
    made = Guide(Space(GRAMMAR, 2, space.represent), "random")
    found = follow(made, space, 1000)
    assert set(found) == set(enumerator().represent_all(found))
    classes = sum(not isinstance(item, Level) for item in enumerator().candidates(2))
    assert len(found) == classes


class Stubborn(RandomSampler):
    """Chooses the first always."""

    def sample_independent(self, study, trial, param_name, param_distribution):
        return param_distribution.choices[0]


@pytest.mark.slow
def test_a_sampler_that_finds_nothing_new_is_followed_by_plain_order(tmp_path):
    made, space = guide(Stubborn(), storage=tmp_path / "study.log")
    found = follow(made, space, 24)
    plain = [e for e in enumerator().candidates(3) if not isinstance(e, Level)]
    assert len(set(found)) == 24
    assert [e for e in found if e != found[0]] == [e for e in plain if e != found[0]][:23]
    assert made.statistics["kinds"]["order"]["proposed"] == 23


def test_the_study_file_opens_in_optuna_and_holds_the_expressions(tmp_path):
    path = tmp_path / "study.log"
    made, space = guide(storage=path, name="run")
    found = follow(made, space, 16)
    (unfinished,) = made.ask(1)
    storage = JournalStorage(JournalFileBackend(str(path)))
    study = optuna.load_study(study_name="run", storage=storage)
    trials = {t.user_attrs["expression"]: t for t in study.trials}
    assert set(trials) == {str(e) for e in [*found, unfinished]}
    for expression in found:
        trial = trials[str(expression)]
        assert trial.state == TrialState.COMPLETE
        assert trial.value == pytest.approx(figure(space, expression))
        assert trial.user_attrs["cost"] == expression.cost
        assert trial.user_attrs["kind"] in ("edit", "learnt", "order")
        assert all("(" in c or c in ("activations", "gradients", "one", "two")
                   for c in trial.params.values())  # names of productions  # fmt: skip
    assert study.best_value == max(figure(space, e) for e in found)


def test_a_resumed_run_makes_its_file_anew(tmp_path):
    path = tmp_path / "study.log"
    first = follow(*guide(storage=path), 16)
    assert follow(*guide(storage=path), 16) == first
    study = optuna.load_study(
        study_name="sycam", storage=JournalStorage(JournalFileBackend(str(path)))
    )
    assert len(study.trials) == 16


@pytest.mark.parametrize("storage", ["study.log", "sqlite:///{}/study.db"])
def test_two_searches_on_one_storage_build_on_each_other(tmp_path, storage):
    place = storage.format(tmp_path) if "://" in storage else tmp_path / storage
    one, space = guide(storage=place, shared=True)
    found = follow(one, space, 16)
    two, _ = guide(seed=1, storage=place, shared=True)
    others = two.ask(8)
    assert two.statistics["shared"] == 16
    assert not set(others) & set(found)  # what the first scored is known to the second
    assert two.statistics["kinds"]["edit"]["proposed"] > 0  # and has given it parents


def test_incomplete_and_hopeless_scores_are_told_as_such(tmp_path):
    made, _ = guide(storage=tmp_path / "study.log")
    pruned, failed = made.ask(2)
    made.tell(pruned, 0.1, complete=False)
    made.tell(failed, None)
    storage = JournalStorage(JournalFileBackend(str(tmp_path / "study.log")))
    states = [t.state for t in optuna.load_study(study_name="sycam", storage=storage).trials]
    assert states == [TrialState.PRUNED, TrialState.FAIL]


@pytest.mark.parametrize("sampler", ["grammar", "tpe"])
def test_what_was_asked_for_and_never_scored_is_closed_as_failed(tmp_path, sampler):
    """It stayed as running, in dashboards and for whoever shares the study, forever."""
    place = f"sqlite:///{tmp_path / 'study.db'}"
    made, _ = guide(sampler, storage=place)
    other, _ = guide(seed=1, storage=place)
    made.tell(made.ask(4)[0], 0.5)
    other.ask(1)  # of another process
    made.close()
    trials = optuna.load_study(study_name="sycam", storage=place).trials
    states = Counter(t.state for t in trials)
    assert states[TrialState.RUNNING] == 1
    assert states[TrialState.COMPLETE] >= 1
    assert states[TrialState.FAIL] >= 3  # of samplers of Optuna's what has no heatmap as well


def test_several_goals_make_a_study_of_several_goals(tmp_path):
    made, space = guide(storage=tmp_path / "study.log")
    made.add(GRAMMAR.parse("G"), (0.0, 1.0))
    for _ in range(3):
        for expression in made.ask(8):
            made.tell(expression, (figure(space, expression), -expression.cost))
    storage = JournalStorage(JournalFileBackend(str(tmp_path / "study.log")))
    study = optuna.load_study(study_name="sycam", storage=storage)
    assert len(study.directions) == 2
    assert study.best_trials
    with pytest.raises(OptionError, match="2"):
        made.add(GRAMMAR.parse("A"), 1.0)


def test_nothing_is_printed(capfd, tmp_path):
    follow(*guide(storage=tmp_path / "study.log"), 8)
    assert capfd.readouterr() == ("", "")


def test_bad_options_are_refused():
    with pytest.raises(UnknownNameError, match="'tpe'"):
        Guide(Space(GRAMMAR), "tpee")
    with pytest.raises(OptionError, match="nosuchdb"):
        Guide(Space(GRAMMAR), storage="nosuchdb://here")


@pytest.mark.parametrize(
    "url",
    [
        "nosuchdb://me:hunter@2@host/db",
        "postgresql://me:hunter%402@nowhere.invalid/db",
        "nosuchdb://host/db?user=me&password=hunter%402",
        "no such://me:hunter@2@",
    ],
)
def test_a_storage_that_cannot_be_opened_keeps_its_password(url):
    """The error printed the whole URL."""
    with pytest.raises(OptionError, match="cannot be opened") as error:
        Guide(Space(GRAMMAR), storage=url)
    assert "hunter" not in str(error.value)
    assert "***" in str(error.value)
