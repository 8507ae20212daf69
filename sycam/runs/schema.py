"""What a ``result.json`` must hold, checked once when it is read."""

from __future__ import annotations

from functools import cache
from typing import Any

from sycam.search.options import COSTLIEST
from sycam.search.selection.requirements import Refusal
from sycam.support.schema import Closed, Measure, SchemaError, check

MOST_IMAGES = 10_000_000  # of a run

_INTERVAL = {"mean": Measure, "low": Measure, "high": Measure}
_COMPARISON = {"difference": _INTERVAL, "p": float, "p_holm": float, "p_wilcoxon": float}
_FURTHER = {"heldout": _INTERVAL, "against": (_COMPARISON,), "scores": [Measure]}
_FORMULA = {
    "expression": str, "cost": int, "score": float, "degenerate?": int, "heldout": (_INTERVAL,),
    "scores": [Measure], "known_as?": str | None,
}  # fmt: skip
_ROW = {
    "name": str, "kind": str, "expression": str | None, "cost": int | None, "search": Measure,
    "heldout": _INTERVAL, "sound": Measure, "degenerate": int, "panel": dict[str, Measure],
    "against": (_COMPARISON,), "scores": [Measure], "guards?": dict[str, Measure],
    "further?": dict[str, Any],
}  # fmt: skip
_SEARCH_OPTIONS = Closed({  # handed on by name
    "budget": str | int, "mode": str, "max_cost": int, "delta": float, "tolerance": float | None,
    "rule": str, "equivalence": str, "sampler": str, "storage": str | None, "constants": bool,
    "threshold": float | str | None, "guesses": list[str], "scope": str,
})  # fmt: skip
_ORIGIN = Closed({  # what images are read from: options of open_images; or {"source": "demo"}
    "source": str, "masks?": str | None, "boxes?": str | None, "labels?": str,
    "class_names?": list[str] | None, "classes?": int | None, "size?": int | None,
    "resize?": int | None, "mean?": list[float] | None, "std?": list[float] | None,
    "interpolation?": str, "channels?": int | None, "squash?": bool, "groups?": str | None,
})  # fmt: skip
_NAMED = {"expression": str, "figure": float}


@cache
def _shape() -> dict[str, Any]:
    # These come with most of the package, which reads results itself.
    from sycam.search.enumeration.enumerator import Level
    from sycam.search.selection.bootstrap import Stability
    from sycam.search.selection.pareto import Front
    from sycam.search.selection.power import Power
    from sycam.validation.per_class import Specialisation

    return {
        "created": str,
        "identity": str,
        "settings": {
            "metric": str, "metrics": list[str], "metric_options": dict[str, Any], "grammar": str,
            "target": str | int, "seed": int, "precision": str, "correct_only?": bool,
            "output?": str, "needs_masks?": bool | None, "search": _SEARCH_OPTIONS,
        },
        "environment": dict[str, str | int],
        "network": {
            "name": str, "source": str | None, "weights": str | None,
            "checkpoint": ({"file": str, "sha256": str},), "preprocessing": dict[str, Any] | None,
            "class_names": list[str] | None, "digest": str, "layer": str, "layers": list[str],
            "layer_note": str, "fusion": list[float] | str, "reshape": str | None,
        },
        "data": {
            "search_images": int, "heldout_images": int,
            "search_origin": (_ORIGIN,), "heldout_origin": (_ORIGIN,),
            "shape": list[int], "mean": list[float], "std": list[float],
            "skipped": list[str], "notes": list[str],
        },
        "grammar": {"name": str, "digest": str, "text": str},
        "search": {
            "candidates": int, "finished": int, "complete_cost": int, "stopped": str,
            "seconds": float, "resumed": int, "passes": int, "ineligible": int,
            "guided": dict[str, Any], "levels": [Level],
            "known": [{
                "name": str, "kind": str, "expression": str | None, "score": Measure,
                "degenerate": int, "scores": [Measure],
            }],
        },
        "required": list[str],
        "refused": [Refusal],
        "certificate": {
            "mode": str, "grammar": str, "equivalence": str, "invariance": str,
            "probe_images": int, "levels": [Level], "complete_cost": int,
            "entered": dict[str, int], "finished": int, "dropped": dict[str, int],
            "settling": int, "brought_back": int, "unsettled": int, "scores": int,
            "scores_without": int, "stages": list[int], "leaders": list[str], "rule": str,
            "winner": (_NAMED,), "best_new?": (_NAMED,), "runner_up": (_NAMED,),
            "candidates": str, "averages": bool, "stopped": str, "delta?": float,
            "tolerance?": float,
        },
        "stability?": Stability,
        "resolution?": Power,
        "goals?": Front,
        "classes?": Specialisation,
        "best": (_FORMULA,),
        "best_new?": (_FORMULA,),
        "front": [_FORMULA],
        "hall": [_FORMULA],
        "validation": {
            "metric": str, "images": int, "sound_images": int, "rows": [_ROW],
            "best_published": str | None, "chosen_published": str | None,
            "beats_published": bool, "directions": dict[str, bool], "guarded_images?": int,
        },
    }  # fmt: skip


def check_record(data: Any) -> None:
    """Check a record, whose text and numbers are within bounds already.

    Raises:
        SchemaError: at the first value that no run writes; the message says where.
    """
    check(data, _shape())
    if not data["settings"]["metrics"]:
        raise SchemaError("settings.metrics names no metric")
    _check_bounds(data)
    _check_rows(data)


def _check_bounds(data: Any) -> None:
    numbers = {"settings.search.max_cost": (data["settings"]["search"]["max_cost"], COSTLIEST)}
    for part in ("search_images", "heldout_images"):
        numbers[f"data.{part}"] = data["data"][part], MOST_IMAGES
    for phase, count in data["certificate"]["entered"].items():
        numbers[f"certificate.entered.{phase}"] = count, MOST_IMAGES
    for where, (number, most) in numbers.items():
        if not 0 <= number <= most:
            raise SchemaError(f"{where} is {number}; expected 0 to {most}")
    if len(data["certificate"]["levels"]) > COSTLIEST:
        raise SchemaError(f"certificate.levels has more than {COSTLIEST} entries")


def _check_rows(data: Any) -> None:
    """The validation speaks of itself: of rows that are there, and goals with a direction."""
    validation = data["validation"]
    rows, names = validation["rows"], {row["name"] for row in validation["rows"]}
    goals = {validation["metric"], *(rows[0].get("further", {}) if rows else ())}
    for where, name in (("best_published", validation["best_published"]),
                        ("chosen_published", validation["chosen_published"])):  # fmt: skip
        if name is not None and name not in names:
            raise SchemaError(f"validation.{where} is {name!r:.80}, of which there is no row")
    if rows and (unknown := goals - validation["directions"].keys()):
        raise SchemaError(f"validation.directions lacks {sorted(unknown)[0]!r:.80}")
    for place, row in enumerate(rows):
        if {validation["metric"], *row.get("further", {})} != goals:
            raise SchemaError(f"validation.rows.{place}.further is of other goals than the first")
        if row["panel"].keys() != rows[0]["panel"].keys():
            raise SchemaError(f"validation.rows.{place}.panel has other metrics than the first")
        for goal, further in row.get("further", {}).items():
            check(further, _FURTHER, f"validation.rows.{place}.further.{goal:.80}")
        for key in ("panel", "guards"):
            if unknown := row.get(key, {}).keys() - validation["directions"].keys():
                raise SchemaError(f"validation.directions lacks {sorted(unknown)[0]!r:.80}")
    winners = sum(row["kind"] == "winner" for row in rows)
    if winners != (data["best"] is not None):
        raise SchemaError(f"there are {winners} rows of a winner beside the best formula")
