"""The guided search's record: an Optuna study that others can open, resume and share."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import optuna
from optuna.distributions import CategoricalDistribution
from optuna.exceptions import ExperimentalWarning, StorageInternalError
from optuna.samplers import BaseSampler
from optuna.storages import BaseStorage, InMemoryStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, Trial, TrialState

from sycam.errors import OptionError, RunError
from sycam.language import Expression
from sycam.search.proposals.derivations import Derivations
from sycam.search.proposals.elite import Values
from sycam.support.arguments import argument
from sycam.support.files import check_target
from sycam.support.text.passwords import masked, masked_in

STUDY_FILE = "study.log"  # of a run's folder
EXPRESSION, COST, KIND, REPEATED = "expression", "cost", "kind", "repeated"
_WAITS = (0.2, 0.4, 0.8, 1.6)  # seconds before a database is tried again


class GrammarSampler(BaseSampler):
    """Answers a trial's choices from an expression that was chosen as a whole.

    Args:
        derivations: of the space.
    """

    def __init__(self, derivations: Derivations):
        self._derivations = derivations
        self._choices: dict[str, str] = {}

    def take(self, expression: Expression) -> None:
        """What the next trial is to be."""
        self._choices = self._derivations.choices(expression)

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, CategoricalDistribution]:
        """Nothing: a derivation's choices are known one after the other."""
        return {}

    def sample_relative(self, study: optuna.Study, trial: FrozenTrial, search_space: dict) -> dict:
        """Nothing."""
        return {}

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: object
    ) -> str:
        """The chosen expression's choice."""
        return self._choices[param_name]


class ExpressionStudy:
    """A study whose trials are expressions, and the figures are better when higher.

    Args:
        storage: a file; the URL of a database; one of Optuna's storages; None to keep it in
            memory.
        name: of the study.
        sampler: of the study.
        derivations: of the space.
        shared: whether other processes write to the same study: then one that exists is joined.
            Else it belongs to this search alone, and one that exists is made again, so that a
            search that resumes by telling the same scores again finds an empty book. None: a URL
            is shared, a file is not.

    Raises:
        OptionError: no such storage.
        RunError: the storage cannot be used.
    """

    def __init__(
        self,
        storage: str | Path | BaseStorage | None,
        name: str,
        sampler: BaseSampler,
        derivations: Derivations,
        shared: bool | None = None,
    ):
        self._derivations, self._name, self._sampler = derivations, name, sampler
        self._given = GrammarSampler(derivations)
        self._url = storage if isinstance(storage, str) and "://" in storage else ""
        self.shared = bool(self._url) if shared is None else shared
        self._storage = opened(storage, again=not self.shared)
        self._study: optuna.Study | None = None
        self._own: set[int] = set()
        self._read: set[int] = set()

    def ask(self, goals: int, chosen: Expression | None = None) -> tuple[Trial, Expression]:
        """A new trial of a study of so many goals, and the expression that its choices make.

        Args:
            goals: number of them.
            chosen: what the trial is to be, instead of what the sampler would choose.
        """
        if self._study is None:
            self._study = self._created(goals)
        if chosen is not None:
            self._given.take(chosen)
        self._study.sampler = self._sampler if chosen is None else self._given
        trial = self._study.ask()
        self._own.add(trial.number)
        return trial, self._derivations.build(trial.suggest_categorical)

    def describe(self, trial: Trial, expression: Expression, kind: str, repeated: bool) -> None:
        """Note what a trial is."""
        notes = {EXPRESSION: str(expression), COST: expression.cost, KIND: kind}
        for key, value in (notes | ({REPEATED: True} if repeated else {})).items():
            trial.set_user_attr(key, value)

    def tell(self, trial: Trial, values: Values | None, complete: bool = True) -> None:
        """Finish a trial: with figures, as pruned where they are incomplete, as failed if None."""
        if values is None:
            self._study.tell(trial, state=TrialState.FAIL)
        elif complete:
            self._study.tell(trial, list(values))
        else:
            if len(values) == 1:
                trial.report(values[0], 0)
            self._study.tell(trial, state=TrialState.PRUNED)

    def close(self) -> None:
        """Give up this search's trials that have no figures yet, as failed: who looks at the
        study, or shares it, would take them for running."""
        if self._study is None:
            return
        for trial in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if trial.number in self._own:
                self._study.tell(trial.number, state=TrialState.FAIL)

    def others(self, goals: int) -> Iterator[tuple[str, Values]]:
        """What other processes finished since the last call: expressions' texts and figures."""
        if not self.shared:
            return
        if self._study is None:
            self._study = self._created(goals)
        for trial in self._study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
            if trial.number in self._own or trial.number in self._read:
                continue
            self._read.add(trial.number)
            text = trial.user_attrs.get(EXPRESSION)
            if isinstance(text, str) and len(trial.values) == goals:
                yield text, tuple(trial.values)

    def _created(self, goals: int) -> optuna.Study:
        directions = [StudyDirection.MAXIMIZE] * goals
        try:
            with _quiet():
                study = optuna.create_study(
                    storage=self._storage,
                    sampler=self._sampler,
                    study_name=self._name,
                    directions=directions,
                    load_if_exists=self.shared,
                )
        except optuna.exceptions.DuplicatedStudyError:
            with _quiet():
                optuna.delete_study(study_name=self._name, storage=self._storage)
            return self._created(goals)
        except (OSError, StorageInternalError) as error:
            said = masked_in(str(error), self._url)
            raise RunError(f"cannot keep the study {self._name!r}: {said}") from None
        if study.directions != directions:
            raise OptionError(
                f"study {self._name!r} is of {len(study.directions)} goals, but this search has "
                f"{goals}; choose another storage or name"
            )
        return study


def opened(storage: str | Path | BaseStorage | None, again: bool = False) -> BaseStorage:
    """An Optuna storage.

    Args:
        storage: as for :class:`ExpressionStudy`.
        again: make a file anew that exists.

    Raises:
        OptionError: a URL that cannot be opened.
        RunError: a file that cannot be written.
    """
    if storage is None:
        return InMemoryStorage()
    if isinstance(storage, BaseStorage):
        return storage
    if isinstance(storage, str) and "://" in storage:
        from sqlalchemy.exc import DBAPIError  # slow to import

        for wait in (*_WAITS, None):
            try:
                with _quiet():
                    return RDBStorage(storage)
            except Exception as error:  # SQLAlchemy, drivers and Optuna raise many kinds
                # Another process that makes the same database's tables just now is waited for.
                if isinstance(error, DBAPIError) and wait is not None:
                    time.sleep(wait)
                    continue
                raise OptionError(
                    f"{argument('storage')} {masked(storage)!r} cannot be opened: "
                    f"{masked_in(str(error), storage)}; expected a file or a URL like "
                    "sqlite:///study.db"
                ) from None
    path = Path(storage)
    try:
        if again:
            path.unlink(missing_ok=True)
        check_target(path)  # a named pipe would be waited for
        with _quiet():
            return JournalStorage(JournalFileBackend(str(path)))
    except OSError as error:
        raise RunError(f"cannot keep the study in '{path}': {error}") from None


@contextmanager
def _quiet() -> Iterator[None]:
    """Without Optuna's lines on the console."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(before)
