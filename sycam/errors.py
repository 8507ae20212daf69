"""Every error that SyCAM raises for something a user gave it.

A message says what was given, what was expected and how to mend it; the command line prints it
and exits with code 2.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class SycamError(Exception):
    """The base of all errors that a user can mend; ``str(error)`` is the whole message."""


class UnknownNameError(SycamError):
    """A metric, method, grammar, operator or layer that does not exist."""


class GrammarError(SycamError):
    """A grammar file that cannot serve as a search space."""


class ExpressionError(SycamError):
    """Text that is no expression, or an expression of the wrong sort."""


class NetworkError(SycamError):
    """A network that cannot be loaded, or that does not return (N, classes)."""


class LayerError(NetworkError):
    """A target layer that does not exist or has no spatial output."""


class DataError(SycamError):
    """Images, labels, masks or boxes that cannot be used."""


class OptionError(SycamError):
    """An option or argument outside its range."""


class RunError(SycamError):
    """A run folder that cannot be written, read or resumed."""


class TrustError(RunError):
    """A run that names Python files which would run, and which its user has not named."""


class BlankHeatmapWarning(UserWarning):
    """Heatmaps that are zero everywhere, which show nothing."""


def unknown_name(kind: str, name: str, known: Iterable[str], listing: str = "") -> UnknownNameError:
    """Build the error for a name that does not exist, with the nearest names that do.

    Args:
        kind: what was looked up, e.g. ``"metric"``.
        name: what the user typed.
        known: the names that exist.
        listing: where all names can be seen, e.g. ``"sycam metrics lists all"``.
    """
    known = list(known)
    folded = {n.casefold(): n for n in known}
    wanted = name.casefold()
    close = difflib.get_close_matches(wanted, folded, n=3, cutoff=0.5)
    near = [folded[n] for n in ([wanted] if wanted in folded else close)]
    if near:
        hint = f"did you mean {' or '.join(repr(n) for n in near)}?"
    elif len(known) <= 12:
        hint = f"known: {', '.join(known)}"
    else:
        hint = f"known: {', '.join(known[:12])}, … ({len(known)} in all)"
    tail = f" ({listing})" if listing else ""
    return UnknownNameError(f"{kind} {name!r} is not known; {hint}{tail}")
