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
from sycam.report.asked import command_of, data_in_words
from sycam.report.front_tables import adaptive_text, gain_text, judged_text, row_text
from sycam.report.html.curves import kept_curves
from sycam.report.html.figures import boards, drawings, pictures, rank_boards
from sycam.report.html.gallery import kept_gallery
from sycam.report.html.mathematics import mathml
from sycam.report.tables import guards_of, panel_of, unmet
from sycam.report.verdict import GOOD, lacking, sentences, simplest
from sycam.report.words import in_a_sentence, in_words
from sycam.runs.file_names import REPORT_FILE
from sycam.runs.result import Result
from sycam.support.files import NotPlainError, write_whole
from sycam.support.schema import to_plain


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
    made.filters["gain_text"] = gain_text
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
        "asked": data_in_words(record),
        "command": command_of(record),
        "boards": boards(result),
        "rank_boards": rank_boards(result),
        "pictures": pictures(result),
        "drawings": drawings(kept_curves(result)),
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


def _data_uri(png: bytes) -> str:
    return f"data:image/png;base64,{b64encode(png).decode('ascii')}"


def _figure(value: float | None, form: str = ".4f") -> str:
    """A number, or a dash where there is none."""
    if value is None or value != value:
        return "–"
    return format(value, form).replace("-", "−")


def _p(value: float | None) -> str:
    return "–" if value is None else "< 0.001" if value < 0.001 else f"{value:.3f}"
