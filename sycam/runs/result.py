"""What a run found, and the folder that keeps it: JSON that anyone can read, nothing that runs."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from sycam.drawing.plot import Plot
from sycam.errors import RunError
from sycam.evidence import Layers
from sycam.language import heatmap_latex, parse_weights, to_latex
from sycam.methods import CAM
from sycam.methods.method import RIVALS
from sycam.runs.schema import check_record
from sycam.scoring.journal import JOURNAL_FILE
from sycam.scoring.statistics import Comparison, Interval
from sycam.support.files import NotPlainError, write_whole
from sycam.support.html_table import html_table
from sycam.support.schema import SchemaError, read_json
from sycam.support.terminal import json_text
from sycam.validation.validate import Further, Row, Validation

SCHEMA = 3
RESULT_FILE = "result.json"
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
    cost: int
    score: float
    degenerate: int = 0
    heldout: Interval | None = None
    scores: tuple[float, ...] = field(default=(), repr=False)
    known_as: str | None = None

    @property
    def latex(self) -> str:
        """The weights in LaTeX."""
        return to_latex(parse_weights(self.expression))

    @property
    def heatmap_latex(self) -> str:
        """The whole heatmap in LaTeX."""
        return heatmap_latex(parse_weights(self.expression))

    def cam(self, network: nn.Module, layer: Layers, **options: Any) -> CAM:
        """The formula as a reusable class activation map of a network.

        Args:
            network, layer: as for :class:`sycam.CAM`.
            options: its ``reshape`` and ``fusion``.
        """
        return CAM(network, layer, self.expression, **options)


@dataclass(frozen=True)
class Result:
    """The outcome of a synthesis.

    Attributes:
        best: the winner, be it a new formula or a published CAM that is an expression
            (``best.known_as`` then names it); None where all are degenerate or fail a requirement.
        best_new: the best new formula: the winner, or where a published CAM won, what the rule
            chooses without those; None where there is none.
        front: the best formula of each cost that beats all cheaper ones, on the search images.
        hall: the formulas with the highest search means, best first.
        published: published CAMs and controls on the held-out images, best first.
        validation: the held-out evidence.
        record: everything else: settings, environment, network, data, grammar, search.
        path: the run's folder.
    """

    best: Formula | None
    front: tuple[Formula, ...]
    hall: tuple[Formula, ...]
    validation: Validation
    record: Mapping[str, Any] = field(repr=False)
    path: Path | None = None
    best_new: Formula | None = None

    @property
    def published(self) -> tuple[Row, ...]:
        """Published CAMs and controls on the held-out images, best first."""
        return tuple(r for r in self.validation.rows if r.kind in (*RIVALS, "control"))

    @property
    def certificate(self) -> Mapping[str, Any]:
        """What was searched, see :func:`sycam.runs.certificate.certificate_of`."""
        return self.record["certificate"]

    @property
    def metric(self) -> str:
        """Name of the optimised metric."""
        return self.validation.metric

    def to_dict(self) -> dict[str, Any]:
        """Plain data, ready for JSON."""
        return {
            "schema": SCHEMA,
            **self.record,
            "best": self.best and asdict(self.best),
            "best_new": self.best_new and asdict(self.best_new),
            "front": [asdict(f) for f in self.front],
            "hall": [asdict(f) for f in self.hall],
            "validation": asdict(self.validation),
        }

    def plot(self, kind: str = "leaderboard") -> Plot:
        """A picture for a notebook, or to save.

        Args:
            kind: ``"leaderboard"``: held-out means with their intervals; ``"front"``: the best
                formula of each cost, or goal against goal; ``"heldout"``: figures on the search
                images against those on the held-out ones.

        Raises:
            OptionError: another kind, or one that this result has nothing to show of.
        """
        from sycam.runs.pictures import plot  # matplotlib takes half a second to import

        return plot(self, kind)

    def _repr_html_(self) -> str:
        """The held-out leaderboard, for notebooks."""
        best = self.best.expression if self.best else "no winner"
        rows = [
            (row.name, f"{row.heldout.mean:.4f} [{row.heldout.low:.3f}, {row.heldout.high:.3f}]")
            for row in self.validation.rows
        ]
        title = f"{best}: {self.metric} on {self.validation.images} held-out images"
        return html_table(title, ("method", "held out [95 %]"), rows)

    def recorded(self) -> dict[str, Any]:
        """What ``result.json`` holds of it, but for the digest; NaN and infinity are None."""
        return json.loads(json.dumps(_finite(self.to_dict())))

    def save(self, folder: Path) -> None:
        """Write ``result.json`` whole or not at all."""
        data = self.recorded()
        data["digest"] = digest_of(data)
        try:
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
        raise RunError(f"there is no result in '{path}'; {hint}")
    try:
        data = read_json(file, LARGEST)
        if not isinstance(data, dict) or data.get("schema") != SCHEMA:
            stated = data.get("schema") if isinstance(data, dict) else None
            raise RunError(f"'{file}' has schema {stated!r:.80}, this version reads {SCHEMA}")
        check_record(data)
        return _from_dict(data, file.parent)
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


def _from_dict(data: dict[str, Any], folder: Path) -> Result:
    validation = dict(data["validation"])
    validation["rows"] = tuple(_row(row) for row in validation["rows"])
    outcome = {"schema", "best", "best_new", "front", "hall", "validation"}
    return Result(
        best=_formula(data["best"]),
        front=tuple(map(_formula, data["front"])),
        hall=tuple(map(_formula, data["hall"])),
        validation=Validation(**validation),
        record={k: v for k, v in data.items() if k not in outcome},
        path=folder,
        best_new=_formula(data.get("best_new", data["best"])),
    )


def _formula(data: dict[str, Any] | None) -> Formula | None:
    if data is None:
        return None
    heldout = data["heldout"] and _interval(data["heldout"])
    return Formula(**{**data, "heldout": heldout, "scores": tuple(map(_number, data["scores"]))})


def _row(data: dict[str, Any]) -> Row:
    return Row(
        **{
            **data,
            "heldout": _interval(data["heldout"]),
            "against": _comparison(data["against"]),
            "search": _number(data["search"]),
            "sound": _number(data["sound"]),
            "panel": {name: _number(value) for name, value in data["panel"].items()},
            "guards": {name: _number(value) for name, value in data.get("guards", {}).items()},
            "scores": tuple(map(_number, data["scores"])),
            "further": {
                goal: Further(
                    _interval(found["heldout"]),
                    _comparison(found["against"]),
                    tuple(map(_number, found["scores"])),
                )
                for goal, found in data.get("further", {}).items()
            },
        }
    )


def _comparison(data: dict[str, Any] | None) -> Comparison | None:
    if data is None:
        return None
    return Comparison(**{**data, "difference": _interval(data["difference"])})


def _interval(data: dict[str, Any]) -> Interval:
    return Interval(**{name: _number(value) for name, value in data.items()})


def _number(value: float | None) -> float:
    """JSON has no NaN, see :func:`_finite`."""
    return math.nan if value is None else value


def _finite(value: Any) -> Any:
    """Replace NaN by null: JSON has no NaN."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_finite(v) for v in value]
    return value
