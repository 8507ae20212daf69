"""What is installed, and what would be slow, as a command."""

from __future__ import annotations

import typer

from sycam.cli.options.shared import AsJson
from sycam.support.text.terminal import json_text, open_console


def doctor(as_json: AsJson = False) -> None:
    """Say what is installed, which device is used, and what would be slow here and why.

    Exit code 1 where a small self-check fails.

    Examples:

      sycam doctor

      sycam doctor --json
    """
    # Not at the top: they import torch, for which a page of help does not wait.
    from sycam.cli.diagnosing.diagnosis import diagnose
    from sycam.cli.diagnosing.diagnosis_table import show

    diagnosis = diagnose()
    if as_json:
        print(json_text(diagnosis.to_dict()))
    else:
        show(diagnosis, open_console())
    if not diagnosis.sound:
        raise typer.Exit(1)
