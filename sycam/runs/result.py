"""What a run found, and the folder that keeps it: JSON that anyone can read, nothing that runs."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any

from torch import nn

from sycam.drawing.plot import Plot
from sycam.errors import RunError, unknown_name
from sycam.evidence import Layers
from sycam.language import heatmap_latex, parse_weights, to_latex
from sycam.methods import CAM
from sycam.methods.method import RIVALS
from sycam.methods.rivals import best_rival
from sycam.metrics import Metric
from sycam.networks.layouts.reshaping import Reshape
from sycam.problem.adaptive_cam import AdaptiveCAM
from sycam.problem.options import ExplainOptions
from sycam.runs.candidates import (
    CANDIDATES_FILE,
    COLUMNS,
    ScoredCandidate,
    candidate_rows,
    candidates_text,
    read_candidates,
)
from sycam.runs.certificate import Certificate
from sycam.runs.file_names import ENSEMBLE_FILE, RESULT_FILE
from sycam.runs.known_method import KnownMethod
from sycam.runs.record import RunRecord
from sycam.runs.trust import check_files
from sycam.scoring.journal import JOURNAL_FILE
from sycam.scoring.ranks import LEVEL, MeanRanks
from sycam.scoring.statistics import Interval
from sycam.support.arguments import argument
from sycam.support.bounded_json import SchemaError, read_json
from sycam.support.files import NotPlainError, write_whole
from sycam.support.permission import reading_a_run
from sycam.support.schema import Count, Figure, from_plain, to_plain
from sycam.support.text.table import as_frame
from sycam.support.text.terminal import json_text
from sycam.validation.findings import Row, Validation

SCHEMA = 3
_OUTCOME = ("best", "best_new", "simplest", "front", "hall", "validation")  # beside the record
_LATER = ("best_new", "simplest")  # which the first runs do not have
_DISPLAY = "sycam.report.display"  # a room above this one: imported when a result is shown
LARGEST = 1 << 28  # bytes of a result that is read; one of 1000 images has some 3 MB


@dataclass(frozen=True)
class Formula:
    """A synthesised or known formula with its figures.

    Attributes:
        expression: text of the weights, e.g. ``"mean(relu(G)) * max(A)"``.
        cost: of the expression.
        score: mean on the search images, in the metric's own direction.
        degenerate: number of search images on which its heatmap is flat.
        heldout: mean and interval on the held-out images, where it was validated.
        scores: ``[N]`` scores on the search images.
        known_as: name of the published CAM that it is; None for a new formula.
    """

    expression: str
    cost: Count
    score: float
    degenerate: Count = 0
    heldout: Interval | None = None
    scores: tuple[Figure, ...] = field(default=(), repr=False)
    known_as: str | None = None

    @property
    def latex(self) -> str:
        """The weights in LaTeX."""
        return to_latex(parse_weights(self.expression))

    @property
    def heatmap_latex(self) -> str:
        """The whole heatmap in LaTeX."""
        return heatmap_latex(parse_weights(self.expression))

    def cam(self, network: nn.Module, layer: Layers | None = None, **options: Any) -> CAM:
        """The formula as a reusable class activation map of a network.

        Args:
            network, layer: as for :class:`sycam.CAM`; no layer where the formula names its own.
            options: its ``reshape`` and ``fusion``.
        """
        if layer is None:
            return CAM(network, parse_weights(self.expression), **options)
        return CAM(network, layer, self.expression, **options)


def without_portfolio() -> str:
    """What is said of a run that was not asked for a choice image by image."""
    return (
        f"the run has no formulas to choose from image by image; search with {argument('adapt', 3)}"
    )


@dataclass(frozen=True)
class Result:
    """The outcome of a synthesis.

    Attributes:
        best: the winner, be it a new formula or a published CAM that is an expression
            (``best.known_as`` then names it); None where all are degenerate or fail a requirement.
        best_new: the best new formula: the winner, or where a published CAM won, what the rule
            chooses without those; None where there is none.
        simplest: the simplest formula, new or published, that the search images cannot tell from
            the winner: at most one standard error of the paired difference behind it, under each
            of several goals; the winner itself where none is simpler; None without a winner.
        front: the best formula of each cost that beats all cheaper ones, on the search images.
        hall: the formulas with the highest search means, best first.
        published: published CAMs and controls on the held-out images, best first.
        validation: the held-out evidence.
        record: everything else: settings, environment, network, data, grammar, search.
        path: the run's folder.
        digest: of the file that it was read from.
        scored: the table of :attr:`candidates`; None where it is still to be read.
    """

    best: Formula | None
    front: tuple[Formula, ...]
    hall: tuple[Formula, ...]
    validation: Validation
    record: RunRecord = field(repr=False)
    path: Path | None = None
    best_new: Formula | None = None
    simplest: Formula | None = None
    digest: str | None = None
    scored: tuple[ScoredCandidate, ...] | None = field(default=None, repr=False, compare=False)

    @cached_property
    def candidates(self) -> tuple[ScoredCandidate, ...]:
        """All that was scored on the search images: published CAMs, baselines and controls, then
        formulas in the order in which they entered, those dropped among them.

        Raises:
            RunError: the run's folder holds no such table, or one that is not this result's.
        """
        if self.scored is not None:
            return self.scored
        if self.path is None:
            raise RunError("the result has no folder to read its candidates from; load it by one")
        higher = self.validation.directions[self.metric]
        return read_candidates(self.path, self.certificate, higher)

    def to_pandas(self) -> Any:
        """The :attr:`candidates` as a ``pandas.DataFrame``, a row each; ``layers`` are joined by
        `` + ``.

        Raises:
            OptionError: pandas is not installed.
            RunError: as for :attr:`candidates`.
        """
        return as_frame(COLUMNS, candidate_rows(self.candidates))

    @property
    def published(self) -> tuple[Row, ...]:
        """Published CAMs and controls on the held-out images, best first."""
        return tuple(r for r in self.validation.rows if r.kind in (*RIVALS, "control"))

    @property
    def best_known(self) -> KnownMethod | None:
        """The published CAM or baseline with the best mean on the search images, under the first
        goal: what they would have chosen without a search. None where none has a figure."""
        higher = self.validation.directions[self.metric]
        known = [k for k in self.record.search.known if k.score == k.score]
        known = [k for k in known if len(k.scores) == self.record.data.search_images]
        best = best_rival(known, lambda k: k.score if higher else -k.score)
        return None if best is None else self.known(best.name)

    def known(self, name: str) -> KnownMethod:
        """A published CAM, baseline or control that stood beside the search, by its name.

        Raises:
            UnknownNameError: there was none of that name.
        """
        found = {k.name: k for k in self.record.search.known}
        if name not in found:
            raise unknown_name("method of this run", name, found)
        one, site = found[name], name.partition("@")[2]
        rows = (row.heldout for row in self.validation.rows if row.name == name)
        return KnownMethod(
            name=name,
            kind=one.kind,
            layers=(site,) if site else self.record.network.layers,
            expression=one.expression,
            score=one.score,
            heldout=next(rows, None),
            scores=one.scores,
        )

    def ranks(self, goal: str | None = None, alpha: float = LEVEL) -> MeanRanks:
        """Mean ranks of the winner, published CAMs, baselines and controls over the held-out
        images, with Friedman's test and Nemenyi's critical difference (Demšar 2006).

        Args:
            goal: text of the metric; the first goal if None.
            alpha: of the critical difference.

        Raises:
            UnknownNameError: no goal of the run.
            OptionError: fewer than three methods or two images, or alpha out of range.
        """
        return self.validation.ranks(goal, alpha)

    @property
    def certificate(self) -> Certificate:
        """What was searched, and what the winner's claim rests on."""
        return self.record.certificate

    @property
    def metric(self) -> str:
        """Name of the optimised metric."""
        return self.validation.metric

    def adaptive(
        self,
        network: nn.Module,
        metric: str | Metric | None = None,
        reshape: Reshape = None,
        trust: bool = False,
    ) -> AdaptiveCAM:
        """The choice of a formula image by image, of a run that was asked for it (``adapt=3``).

        Args:
            network: as for :class:`sycam.AdaptiveCAM`.
            metric: that chooses; the run's own if None.
            reshape: of the layers' outputs; the run's own if None.
            trust: import the Python files that the run names as its metric or reshape.

        Raises:
            RunError: the run has no portfolio, or its reshape is not on record and was not given.
            TrustError: the run names a Python file, and it is not trusted.
        """
        record = self.record
        chosen_from = record.adaptive.members if record.adaptive else ()
        if not chosen_from:
            raise RunError(without_portfolio())
        if reshape is None and not record.network.reshape_recorded:
            raise RunError("the run's reshape was given from Python: give it again by reshape")
        with reading_a_run((), trust):
            check_files(record, network, metric)
            return AdaptiveCAM(
                network,
                record.network.layers,
                [parse_weights(text) for text in chosen_from],
                record.settings.metric if metric is None else metric,
                seed=record.settings.seed,
                explain=ExplainOptions(
                    output=record.settings.reading,
                    reshape=record.network.reshape if reshape is None else reshape,
                    fusion=record.network.fusion,
                ),
            )

    def to_dict(self) -> dict[str, Any]:
        """Plain data, ready for JSON: what ``result.json`` holds; NaN and infinity are None."""
        outcome = {name: to_plain(getattr(self, name)) for name in _OUTCOME}
        digest = {} if self.digest is None else {"digest": self.digest}
        return {"schema": SCHEMA, **self.record.to_dict(), **outcome, **digest}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], path: Path | None = None) -> Result:
        """What :meth:`to_dict` wrote.

        Args:
            data: of JSON.
            path: the run's folder.

        Raises:
            SchemaError: a value that no run writes; the message says where.
        """
        if missing := [name for name in _OUTCOME if name not in data and name not in _LATER]:
            raise SchemaError(f"it lacks {missing[0]!r}")
        formulas = tuple[Formula, ...]
        best = from_plain(Formula | None, data["best"], "best")
        new = data.get("best_new", data["best"])
        result = cls(
            best=best,
            best_new=from_plain(Formula | None, new, "best_new"),
            simplest=from_plain(Formula | None, data.get("simplest"), "simplest"),
            front=from_plain(formulas, data["front"], "front"),
            hall=from_plain(formulas, data["hall"], "hall"),
            validation=from_plain(Validation, data["validation"], "validation"),
            record=RunRecord.from_dict(data),
            path=path,
            digest=from_plain(str | None, data.get("digest"), "digest"),
        )
        _check_rows(result.validation, best)
        return result

    def plot(self, kind: str = "leaderboard") -> Plot:
        """A picture for a notebook, or to save.

        Args:
            kind: ``"leaderboard"``: held-out means with their intervals; ``"front"``: the best
                formula of each cost, or goal against goal; ``"heldout"``: figures on the search
                images against those on the held-out ones; ``"ranks"``: :meth:`ranks` under the
                first goal, with bars beside those that do not differ.

        Raises:
            OptionError: another kind, or one that this result has nothing to show of.
        """
        from sycam.runs.pictures import plot  # matplotlib takes half a second to import

        return plot(self, kind)

    def __repr__(self) -> str:
        """One line; ``str`` says all."""
        best = self.best and self.best.expression
        return (
            f"Result(best={best!r}, metric={self.metric!r}, path={self.path and str(self.path)!r})"
        )

    def __str__(self) -> str:
        """What the command prints at its end: tables, verdict, warnings, where all is kept."""
        return import_module(_DISPLAY).text(self)

    def _repr_html_(self) -> str:
        """The same, for notebooks."""
        return import_module(_DISPLAY).html(self)

    def save(self, folder: Path) -> None:
        """Write ``result.json`` whole or not at all, and the table of candidates before it."""
        data = replace(self, digest=None).to_dict()
        data["digest"] = digest_of(data)
        try:
            if self.scored is not None:
                table = candidates_text(self.scored)
                write_whole(folder / CANDIDATES_FILE, table, within=folder)
            write_whole(
                folder / RESULT_FILE,
                json_text(data, ensure_ascii=False, indent=1) + "\n",
                within=folder,
            )
        except OSError as error:
            raise RunError(
                f"cannot write '{folder / RESULT_FILE}': {error}; "
                "the scores are kept: make room and run the same command again"
            ) from None


def load(path: str | Path) -> Result:
    """Read the result of a run.

    Args:
        path: the run's folder, or its ``result.json``.

    Raises:
        RunError: no finished run there, a damaged file, or one of a newer schema.
    """
    path = Path(path)
    file = path / RESULT_FILE if path.is_dir() else path
    if not os.path.lexists(file):
        begun = path.is_dir() and (path / JOURNAL_FILE).exists()
        hint = (
            "the run has not finished: the same sycam synthesize command resumes it"
            if begun
            else "expected the folder of a finished run"
        )
        if path.is_dir() and (path / ENSEMBLE_FILE).exists():
            hint = "it holds an ensemble, which sycam.applications.EnsembleResult.load reads"
        raise RunError(f"there is no result in '{path}'; {hint}")
    try:
        data = read_json(file, LARGEST)
        if not isinstance(data, dict) or data.get("schema") != SCHEMA:
            stated = data.get("schema") if isinstance(data, dict) else None
            raise RunError(f"'{file}' has schema {stated!r:.80}, this version reads {SCHEMA}")
        return Result.from_dict(data, file.parent)
    except NotPlainError as error:
        raise RunError(f"cannot read the result: {error}") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        said = str(error) if isinstance(error, SchemaError) else f"{type(error).__name__}: {error}"
        raise RunError(
            f"'{file}' is damaged: {said}; "
            "the same sycam synthesize command writes it again from the journal"
        ) from None


def digest_of(data: Mapping[str, Any]) -> str:
    """SHA-256 of a result as it is written, without the digest itself."""
    plain = {key: value for key, value in data.items() if key != "digest"}
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _check_rows(validation: Validation, best: Formula | None) -> None:
    """The validation speaks of itself: of rows that are there, and goals with a direction."""
    rows, directions = validation.rows, validation.directions.keys()
    for where in ("best_published", "chosen_published"):
        name = getattr(validation, where)
        if name is not None and name not in {row.name for row in rows}:
            raise SchemaError(f"validation.{where} is {name!r:.80}, of which there is no row")
    goals = set(validation.goals)
    if rows and (unknown := goals - directions):
        raise SchemaError(f"validation.directions lacks {sorted(unknown)[0]!r:.80}")
    for place, row in enumerate(rows):
        if {validation.metric, *row.further} != goals:
            raise SchemaError(f"validation.rows.{place}.further is of other goals than the first")
        if unknown := (row.panel.keys() | row.guards.keys()) - directions:
            raise SchemaError(f"validation.directions lacks {sorted(unknown)[0]!r:.80}")
    winners = sum(row.kind == "winner" for row in rows)
    if winners != (best is not None) and (rows or validation.left_out is None):
        raise SchemaError(f"there are {winners} rows of a winner beside the best formula")
