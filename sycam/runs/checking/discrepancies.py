"""Where a run's record differs from what was derived again, and what of it cannot be derived."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Path = tuple[str | int, ...]  # keys and places that lead to a value of the record

MEASURED = 1e-4  # between scores of two measurements: batches of other sizes round differently
COMPUTED = 1e-9  # between figures computed from the same scores
_P_VALUE = 1e-3  # computed from scores that were measured twice: resamples near a tie change sides
_P_VALUES = ("p", "p_holm", "p_wilcoxon")  # of a comparison
_LONGEST = 160  # characters of a value that are told


@dataclass(frozen=True)
class Unchecked:
    """Part of a run's record that cannot be derived.

    Attributes:
        path: of the value, or of all values below it; keys joined by points. Empty for what is no
            single value.
        why: in words.
    """

    path: str
    why: str

    def covers(self, path: Path) -> bool:
        """Whether a value of the record is this, or lies below it."""
        return bool(self.path) and _matches(self.path, path)

    def __str__(self) -> str:
        return f"{self.path}: {self.why}" if self.path else self.why


UNCHECKED = (
    Unchecked("created", "when the run was made"),
    Unchecked("environment", "the machine and the versions that made it"),
    Unchecked("search.seconds", "how long it took"),
    Unchecked("search.stopped", "why it ended: its budget and a Ctrl-C are not on record"),
    Unchecked("certificate.stopped", "the same"),
    Unchecked("search.resumed", "how much of it was taken from an earlier session"),
    Unchecked("search.passes", "how many forward passes it took"),
    Unchecked("settings.search.budget", "what it was allowed to spend"),
    Unchecked("settings.search.heldout_share", "the part of that for held-out evidence"),
    Unchecked("settings.search.max_cost", "the bound, beyond the costs that were completed"),
    Unchecked("settings.search.threshold", "the threshold, where it was not reached"),
    Unchecked("settings.search.sampler", "the sampler, where nothing was proposed"),
    Unchecked("settings.search.constants", "tuning of constants, where it never began"),
    Unchecked("network.layer_note", "how the layer was chosen"),
    Unchecked("grammar.name", "a label; its text and digest are checked"),
    Unchecked(
        "", "the journal's scores of candidates that the result does not list: taken as they are"
    ),
)
_GIVEN = {  # what is told of something given again instead of read from the record
    "network": ("network.name", "network.source", "network.weights", "network.checkpoint",
                "network.preprocessing", "network.class_names"),
    "images": ("data.search_origin", "data.heldout_origin", "data.skipped", "data.notes"),
}  # fmt: skip


def _tolerances(components: bool, unit: float) -> tuple[tuple[str, float], ...]:
    """By path, what a number there may differ by; the first that matches counts.

    Where scores are in the units of a callable target, so is their tolerance; beside them stand
    figures that are in no units, so that a small unit does not make theirs tighter.
    """
    scores, beside = MEASURED * unit, MEASURED * max(1.0, unit)
    found = [
        ("validation.rows.*.scores", scores),
        ("validation.rows.*.further.*.scores", scores),
        ("validation.rows.*.panel", beside),
        ("validation.rows.*.guards", MEASURED),
        *((f"validation.another_imputer.against.{p}", _P_VALUE) for p in _P_VALUES),
        ("validation.another_imputer", beside),
        ("front.*.heldout", scores),
        ("adaptive.scores.*.choice", scores),
        ("adaptive.scores.*.judged", scores),
        ("classes.p", _P_VALUE),
        ("classes.classes.*.p", _P_VALUE),
        ("classes.classes.*.p_holm", _P_VALUE),
        ("classes", beside),
    ]
    if components:  # the scores on record do not decide what is no mean of them
        found += [
            (f"validation.rows.*.{part}against.{p}", _P_VALUE)
            for part in ("", "further.*.")
            for p in _P_VALUES
        ]
        found.append(("validation", beside))
        found += [(f"{one}.heldout", scores) for one in ("best", "best_new", "simplest")]
    return tuple(found)


@dataclass(frozen=True)
class Discrepancy:
    """A value of the record that is not what was derived.

    Attributes:
        path: of the value.
        stated: by the record; :data:`MISSING` where it is absent.
        found: by derivation; :data:`MISSING` where nothing should be there.
    """

    path: Path
    stated: Any
    found: Any

    def __str__(self) -> str:
        where = ".".join(map(str, self.path))
        return f"{where}: stated {_said(self.stated)}, found {_said(self.found)}"


class _Missing:
    def __repr__(self) -> str:
        return "nothing"


MISSING = _Missing()


def discrepancies(
    stated: Mapping[str, Any],
    found: Mapping[str, Any],
    components: bool,
    given: set[str],
    unit: float = 1.0,
) -> tuple[list[Discrepancy], list[Unchecked]]:
    """Compare a record with what was derived, value by value.

    Args:
        stated: the record, as in ``result.json``.
        found: the same, derived.
        components: whether a goal's figure is no mean of its scores.
        given: ``"network"``, ``"images"``: what was given and not read from the record.
        unit: how large scores are, 1 for probabilities.

    Returns:
        What differs, and what cannot be told.
    """
    unchecked = list(UNCHECKED)
    for place in sorted(_begun(stated) | _begun(found)):
        unchecked.append(
            Unchecked(f"search.levels.{place}", "how far a cost was enumerated when time was up")
        )
    loose = [path for kind in given for path in _GIVEN[kind]]
    tolerances = _tolerances(components, unit)
    differing = []
    found = _aligned(stated, found, MEASURED * unit) if components else found
    for one in _differing(_completed(stated), _completed(found), (), tolerances):
        path = next((path for path in loose if _matches(path, one.path)), None)
        if path is not None:
            unchecked.append(Unchecked(path, f"something else was given ({one})"))
        elif not any(u.covers(one.path) for u in UNCHECKED):
            differing.append(one)
    return differing, unchecked


def _begun(record: Mapping[str, Any]) -> set[int]:
    """Places of the levels of cost that were begun, or enumerated ahead, when the search ended."""
    search = record["search"]
    return {i for i, v in enumerate(search["levels"]) if v["cost"] > search["complete_cost"]}


def _completed(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record without the levels of cost that were not completed: how far they got is chance."""
    begun, search = _begun(record), record["search"]
    levels = [level for i, level in enumerate(search["levels"]) if i not in begun]
    return {**record, "search": {**search, "levels": levels}}


def _aligned(
    stated: Mapping[str, Any], found: Mapping[str, Any], tolerance: float
) -> Mapping[str, Any]:
    """What was found with its rows in the order stated, where these are the same methods.

    Figures are measured twice where they are no means of scores on record: two that nearly tie may
    change places.
    """
    rows = {(row["kind"], row["name"]): row for row in found["validation"]["rows"]}
    order = [(row["kind"], row["name"]) for row in stated["validation"]["rows"]]
    if sorted(order) != sorted(rows) or list(rows) == order:
        return found
    again = [rows[key] for key in order]
    figures = [row["heldout"]["mean"] for row in again]
    before = [row["heldout"]["mean"] for row in rows.values()]
    tied = all(math.isclose(a, b, rel_tol=0, abs_tol=tolerance)
               for a, b in zip(figures, before, strict=True) if None not in (a, b))  # fmt: skip
    return {**found, "validation": {**found["validation"], "rows": again}} if tied else found


def _differing(
    stated: Any, found: Any, path: Path, tolerances: tuple[tuple[str, float], ...]
) -> Iterator[Discrepancy]:
    if stated is found:
        return
    if isinstance(stated, dict) and isinstance(found, dict):
        for key in dict.fromkeys((*found, *stated)):
            parts = stated.get(key, MISSING), found.get(key, MISSING)
            yield from _differing(*parts, (*path, key), tolerances)
    elif isinstance(stated, list) and isinstance(found, list):
        if len(stated) != len(found):
            yield Discrepancy(path, f"{len(stated)} entries", f"{len(found)} entries")
        for place, pair in enumerate(zip(stated, found, strict=False)):
            yield from _differing(*pair, (*path, place), tolerances)
    elif not _same(stated, found, path, tolerances):
        yield Discrepancy(path, stated, found)


def _same(stated: Any, found: Any, path: Path, tolerances: tuple[tuple[str, float], ...]) -> bool:
    numbers = [isinstance(v, int | float) and not isinstance(v, bool) for v in (stated, found)]
    if not all(numbers):
        return type(stated) is type(found) and stated == found
    if isinstance(stated, int) and isinstance(found, int):
        return stated == found
    tolerance = next((t for where, t in tolerances if _matches(where, path)), COMPUTED)
    return math.isclose(stated, found, rel_tol=COMPUTED, abs_tol=tolerance)


def _matches(pattern: str, path: Path) -> bool:
    keys = pattern.split(".")
    return len(path) >= len(keys) and all(
        key in ("*", str(at)) for key, at in zip(keys, path, strict=False)
    )


def _said(value: Any) -> str:
    text = repr(value) if isinstance(value, _Missing) else json.dumps(value, ensure_ascii=False)
    text = re.sub(r"\s+", " ", text)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} …"
