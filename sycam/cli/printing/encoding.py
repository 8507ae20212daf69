"""Output where the encoding cannot say all that is printed: redirected on Windows, LANG=C."""

from __future__ import annotations

import codecs
import sys

PLAIN = {
    "×": "x", "…": "...", "↑": "^", "↓": "v", "·": "*", "•": "*", "∞": "inf", "Δ": "Delta",
    "–": "-", "—": "-", "−": "-", "∑": "sum", "∏": "prod", "√": "sqrt", "≥": ">=", "≤": "<=",
    "≠": "!=", "±": "+-", "‘": "'", "’": "'", "“": '"', "”": '"', "✓": "ok", "\xa0": " ",
}  # fmt: skip
"""What stands in for the symbols of tables and formulas; anything else is shown as ``\\u1234``."""


def _plainly(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lost = error.object[error.start : error.end]
    said = (PLAIN.get(c) or c.encode("ascii", "backslashreplace").decode() for c in lost)
    return "".join(said), error.end


def print_anything() -> None:
    """Let standard output and standard error replace what their encoding cannot say: the work is
    done when it is printed. JSON needs none of this, it is written in ASCII."""
    codecs.register_error("plainly", _plainly)
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:  # not every stand-in of a notebook or a test has it
            reconfigure(errors="plainly")
