"""A formula as a Python module that needs torch alone."""

from __future__ import annotations

from pathlib import Path

from sycam.errors import OptionError, RunError
from sycam.language import parse_weights
from sycam.result import Result
from sycam.validation import PUBLISHED
from sycam.version import __version__


def export(result: Result, path: str | Path, name: str = "SynthesisedCAM") -> Path:
    """Write the winner of a run as a Python module with one class.

    The class agrees with :class:`sycam.CAM` of the same expression, and its module says formula,
    figures and provenance.

    Args:
        result: of :func:`sycam.synthesize` or :func:`sycam.load`.
        path: the ``.py`` file to write.
        name: of the class.

    Returns:
        The path written.

    Raises:
        OptionError: ``name`` is no Python identifier or the name of something else in the module,
            or ``path`` does not end in ``.py``.
        RunError: the run has no winner, is of several layers or of a transformer, or the file
            cannot be written.
    """
    path = Path(path)
    if path.suffix != ".py":
        raise OptionError(f"export path '{path}' must end in .py")
    if result.best is None:
        raise RunError("the run has no winner to export")
    network = result.record["network"]
    if len(network["layers"]) > 1 or network["reshape"]:
        shape = "several layers" if len(network["layers"]) > 1 else f"reshape {network['reshape']}"
        raise RunError(
            f"the run explains {shape}, and an exported class takes one convolutional layer; "
            "use result.best.cam(network, layers) in Python"
        )
    from sycam.export.module import module_source  # which imports sympy

    source = module_source(parse_weights(result.best.expression), name, _provenance(result))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source, encoding="utf-8")
    except OSError as error:
        raise RunError(f"cannot write '{path}': {error}") from None
    return path


def _provenance(result: Result) -> str:
    validation, record = result.validation, result.record
    lines = [
        f"Found by SyCAM {__version__} on {record['created'][:10]}: best {validation.metric} among "
        f"{record['search']['candidates']} distinct formulas",
        f"of grammar {record['grammar']['name']!r}, on {record['data']['search_images']} images, "
        f"network {record['network']['name']!r}, layer {record['network']['layer']!r}.",
        f"Mean {validation.metric} on {validation.images} held-out images (95 % interval):",
        "",
    ]
    if (target := record["settings"]["target"]) != "predicted":
        lines.insert(3, f"It was searched to explain {target}: say so by the argument targets.")
    for row in validation.rows:
        if row.kind not in ("winner", *PUBLISHED):
            continue
        label = "this class" if row.kind == "winner" else row.name
        lines.append(
            f"    {label:12} {row.heldout.mean: .4f}  [{row.heldout.low: .4f}, "
            f"{row.heldout.high: .4f}]"
        )
    verdict = "exceeds" if validation.beats_published else "does not significantly exceed"
    lines += ["", f"It {verdict} the best published one there (Holm-corrected p < 0.05)."]
    return "\n".join(lines)
