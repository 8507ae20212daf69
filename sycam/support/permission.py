"""What a run folder may make this process do: nothing that runs, unless its user says so.

A run names Python files (of its network, metrics and requirements). Whoever received the folder
has not chosen them, so that none is imported while its record is read, unless it is named again
or the run is trusted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from sycam.errors import TrustError
from sycam.support.arguments import argument

_allowed: ContextVar[frozenset[Path] | None] = ContextVar("allowed", default=None)  # None: all


@contextmanager
def reading_a_run(files: Iterable[str | Path] = (), trust: bool = False) -> Iterator[None]:
    """Within it no Python file is imported but these.

    Args:
        files: that the user named.
        trust: allow all.
    """
    token = _allowed.set(None if trust else frozenset(Path(f).resolve() for f in files))
    try:
        yield
    finally:
        _allowed.reset(token)


def permit(path: Path, kind: str) -> None:
    """Called before a file is imported.

    Raises:
        TrustError: a run names it, and its user does not.
    """
    allowed = _allowed.get()
    if allowed is not None and path.resolve() not in allowed:
        again = (
            f"name it again by {argument('network')}"
            if kind == "network"
            else f"give {argument('metric_files', [str(path)])}"
        )
        raise TrustError(
            f"the run names the Python file '{path}' ({kind}), which would be imported and run as "
            f"a program; nothing of it was run. Read it first; then {again}, or say "
            f"{argument('trust', True)} for all files of this run"
        )
