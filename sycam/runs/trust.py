"""Which Python files a run names, and that none of them runs before its user has named it, too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sycam.errors import TrustError
from sycam.metrics import find_metric
from sycam.metrics.requirement import Requirement
from sycam.runs.record import RunRecord
from sycam.support.permission import permit


def file_of_network(source: object) -> str | None:
    """The Python file of ``FILE.py:NAME``, a network's with weights or without; None for others."""
    text = str(source or "")
    end = text.rfind(".py:")
    return None if end < 0 or text.startswith(("torchvision:", "timm:")) else text[: end + 3]


def check_files(record: RunRecord, network: object = None, metric: object = None) -> None:
    """Refuse, before anything is measured, a run that needs a file which is not permitted.

    Args:
        record: of the run.
        network, metric: what is given in place of the run's own; None where nothing is.

    Raises:
        TrustError: with all files that would have run.
    """
    refused: list[str] = []
    if network is None and (file := file_of_network(record.network.source)) is not None:
        _note(refused, lambda: permit(Path(file), "network"))
    if (file := file_of_network(record.network.reshape)) is not None:
        _note(refused, lambda: permit(Path(file), "reshape"))
    for text in () if metric is not None else record.settings.metrics:
        _note(refused, lambda text=text: find_metric(text))
    for text in record.required:
        _note(refused, lambda text=text: Requirement.parse(text))
    if refused:
        raise TrustError("\n".join(dict.fromkeys(refused)))


def _note(refused: list[str], attempt: Any) -> None:
    try:
        attempt()
    except TrustError as error:
        refused.append(str(error))
