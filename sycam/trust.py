"""What a run folder may make this process do: nothing that runs, unless its user says so.

A run names Python files (of its network, metrics and requirements). Whoever received the folder
has not chosen them, so that none is imported while its record is read, unless it is named again
or the run is trusted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from sycam.errors import TrustError

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
        raise TrustError(
            f"the run names the Python file '{path}' ({kind}), which would be imported and run as "
            "a program; nothing of it was run. Read it first; then "
            + (
                "name it again with --network"
                if kind == "network"
                else f"give --metric-file {path}"
            )
            + ", or say --trust for all files of this run (in Python: trust=True)"
        )


def file_of_network(source: object) -> str | None:
    """The Python file of ``FILE.py:FACTORY``, with weights or without; None for other networks."""
    text = str(source or "")
    end = text.rfind(".py:")
    return None if end < 0 or text.startswith(("torchvision:", "timm:")) else text[: end + 3]


def check_files(record: Mapping[str, Any], network: object = None, metric: object = None) -> None:
    """Refuse, before anything is measured, a run that needs a file which is not permitted.

    Args:
        record: of the run.
        network, metric: what is given in place of the run's own; None where nothing is.

    Raises:
        TrustError: with all files that would have run.
    """
    from sycam.metrics import find_metric
    from sycam.search.requirements import Requirement

    refused: list[str] = []
    if network is None and (file := file_of_network(record["network"]["source"])) is not None:
        _note(refused, lambda: permit(Path(file), "network"))
    for text in () if metric is not None else record["settings"]["metrics"]:
        _note(refused, lambda text=text: find_metric(text))
    for text in record["required"]:
        _note(refused, lambda text=text: Requirement.parse(text))
    if refused:
        raise TrustError("\n".join(dict.fromkeys(refused)))


def _note(refused: list[str], attempt: Any) -> None:
    try:
        attempt()
    except TrustError as error:
        refused.append(str(error))
