"""The page of a run: its result, pictures and curves in one file that needs no network."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from sycam.errors import RunError
from sycam.report.front_tables import adaptive_text, judged_text, row_text
from sycam.report.html.curves import Curves, kept_curves
from sycam.report.html.gallery import kept_gallery
from sycam.report.html.mathematics import mathml
from sycam.report.tables import guards_of, panel_of, unmet
from sycam.report.verdict import GOOD, lacking, sentences, simplest
from sycam.report.words import in_a_sentence, in_words
from sycam.runs.pictures import AGREEMENT_FILE, FRONT_FILE
from sycam.runs.result import Result
from sycam.support.files import PICTURE, NotPlainError, read_plain, write_whole
from sycam.support.schema import to_plain

REPORT_FILE = "report.html"
_PICTURES = {"front": FRONT_FILE, "agreement": AGREEMENT_FILE}
_WIDTH, _HEIGHT, _MARGIN = 560, 260, 44  # of the drawing of curves
# Dashes tell the lines apart where colours do not.
_DASHES = ("", "7 4", "2 3", "10 3 2 3", "1 6")


def write_report(result: Result, out: Path | None = None, base: str | None = "torch") -> Path:
    """Write a run as one HTML page: text, tables, mathematics and pictures, nothing from elsewhere.

    What the run's folder lacks (pictures, curves) is said in its place.

    Args:
        result: a finished run.
        out: the file; ``report.html`` in the run's folder if None.
        base: of the export that is shown; none is if None.

    Raises:
        RunError: the result has no folder and no file is given, it cannot be written, or a picture
            of the run is a link or no plain file.
    """
    if out is None:
        if result.path is None:
            raise RunError("the result has no folder; name a file for the report")
        out = result.path / REPORT_FILE
    try:
        content = _content(result) | {"base": base}
    except NotPlainError as error:
        raise RunError(f"cannot read the run: {error}") from None
    text = _environment().get_template("report.html.j2").render(content)
    try:
        write_whole(out, text, within=result.path)
    except OSError as error:
        raise RunError(f"cannot write '{out}': {error}") from None
    return out


def _environment() -> jinja2.Environment:
    made = jinja2.Environment(
        loader=jinja2.PackageLoader("sycam.report.html", "."),
        autoescape=True,  # formulas, names of networks, classes and files come from users
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    made.filters["figure"] = _figure
    made.filters["signed"] = lambda value: _figure(value, "+.4f")
    made.filters["p"] = _p
    made.filters["row_text"] = row_text
    made.filters["judged_text"] = judged_text
    made.filters["adaptive_text"] = adaptive_text
    return made


def _content(result: Result) -> dict[str, Any]:
    record, validation = result.record, result.validation
    best = result.best
    said = sentences(result)
    script = files("sycam.report.html").joinpath("sorting.js").read_text(encoding="utf-8")
    return {
        "result": result,
        "record": record,
        "validation": validation,
        "best": best,
        "verdict": said,
        "simplest": simplest(result),
        "unmet": unmet(result),
        "good": all(one.tone == GOOD for one in said),
        "concerns": validation.concerns if best else (),
        "rows": validation.rows,
        "panel": panel_of(validation),
        "guards": guards_of(validation),
        "lacking": lacking(validation),
        "better": "higher" if validation.directions[result.metric] else "lower",
        "directions": validation.directions,
        "formula": best and mathml(best.heatmap_latex),
        "sentence": in_a_sentence(best.expression) if best else "",
        "words": in_words(best.expression) if best else [],
        "gallery": [(p, _data_uri(data)) for p, data in kept_gallery(result)],
        "pictures": {key: _embedded(result.path, file) for key, file in _PICTURES.items()},
        "drawings": _drawings(kept_curves(result)),
        "stability": record.stability,
        "resolution": record.resolution,
        "goals": record.goals,
        "classes": record.classes,
        "adaptive": record.adaptive,
        "class_names": record.network.class_names,
        "certificate": to_plain(record.certificate),
        "script": Markup(script),  # ours
        # Nothing but that script may run, whatever a page that was tampered with holds.
        "script_digest": b64encode(sha256(script.encode()).digest()).decode("ascii"),
    }


def _embedded(folder: Path | None, file: str) -> str | None:
    """A picture of the run as a data URI."""
    if folder is None:
        return None
    try:
        return _data_uri(read_plain(folder / file, PICTURE, within=folder))
    except FileNotFoundError:
        return None


def _data_uri(png: bytes) -> str:
    return f"data:image/png;base64,{b64encode(png).decode('ascii')}"


def _drawings(curves: Curves | None) -> list[dict[str, Any]]:
    """Lines of the two drawings, in the units of their viewBox."""
    if curves is None:
        return []
    values = [v for c in curves.curves for v in (*c.morf, *c.lerf)]
    low, high = min([*values, 0.0]), max([*values, 0.0])
    span = (high - low) or 1.0

    def x(share: float) -> float:
        return _MARGIN + (_WIDTH - 2 * _MARGIN) * share / 100

    def y(value: float) -> float:
        return _MARGIN / 2 + (_HEIGHT - 1.5 * _MARGIN) * (high - value) / span

    def drawing(side: str, title: str, told: str) -> dict[str, Any]:
        lines = []
        for curve, dash in zip(curves.curves, _DASHES, strict=False):
            fade = getattr(curve, side)
            shown = zip((0.0, *curves.removed), (0.0, *fade), strict=True)
            points = " ".join(f"{x(s):.1f},{y(v):.1f}" for s, v in shown)
            lines.append(
                {"name": curve.name, "points": points, "dash": dash, "mean": sum(fade) / len(fade)}
            )
        return {"title": title, "told": told, "lines": lines}

    ticks = [{"at": y(v), "text": f"{v:+.2f}"} for v in _ticks(low, high)]
    shares = [{"at": x(s), "text": f"{s} %"} for s in (0, 25, 50, 75, 100)]
    frame = {"width": _WIDTH, "height": _HEIGHT, "ticks": ticks, "shares": shares,
             "left": _MARGIN, "right": _WIDTH - _MARGIN, "bottom": _HEIGHT - _MARGIN,
             "images": curves.images}  # fmt: skip
    return [
        frame | drawing("morf", "Most relevant pixels removed first", "falling early is good"),
        frame | drawing("lerf", "Least relevant pixels removed first", "falling late is good"),
    ]


def _ticks(low: float, high: float) -> list[float]:
    """0, the ends and what lies between them, no two so near that their texts overlap."""
    chosen: list[float] = []
    for value in (0.0, low, high, low / 2, high / 2):
        if all(abs(value - other) > 0.12 * (high - low) for other in chosen):
            chosen.append(value)
    return chosen


def _figure(value: float | None, form: str = ".4f") -> str:
    """A number, or a dash where there is none."""
    if value is None or value != value:
        return "–"
    return format(value, form).replace("-", "−")


def _p(value: float | None) -> str:
    return "–" if value is None else "< 0.001" if value < 0.001 else f"{value:.3f}"
