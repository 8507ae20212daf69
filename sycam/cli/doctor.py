"""What is installed, and what would be slow, as a command."""

from __future__ import annotations

import typer
from rich.console import Console
from rich.table import Table

from sycam.cli.diagnosis import Diagnosis, diagnose
from sycam.cli.options import AsJson
from sycam.support.terminal import json_text, open_console, shown

GIBIBYTE = 1 << 30


def doctor(as_json: AsJson = False) -> None:
    """Say what is installed, which device is used, and what would be slow here and why.

    Exit code 1 where a small self-check fails.

    Examples:

      sycam doctor

      sycam doctor --json
    """
    found = diagnose()
    if as_json:
        print(json_text(found.to_dict()))
    else:
        _show(found, open_console())
    if not found.sound:
        raise typer.Exit(1)


def _show(found: Diagnosis, console: Console) -> None:
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column()
    for said, text in _rows(found):
        table.add_row(said, shown(text))
    console.print(table)
    console.print("\n[bold]Slow here[/]")
    for line in found.slow or ["nothing that this machine could do better"]:
        console.print(f"  · {shown(line)}", soft_wrap=True)
    console.print("\n[bold]Self-check[/]")
    for claim, fault in found.checks.items():
        mark = f"[bold red]fails:[/] {shown(fault)}" if fault else "holds"
        console.print(f"  · {shown(claim)}: {mark}", soft_wrap=True)


def _rows(found: Diagnosis) -> list[tuple[str, str]]:
    rows = [("versions", ", ".join(f"{name} {v}" for name, v in found.versions.items()))]
    for name, facts in found.optional.items():
        if facts["trouble"]:
            text = f"{facts['version']}, but: {facts['trouble']}"
        elif facts["version"]:
            text = f"{facts['version']} ({facts['for']})"
        else:
            text = f"not installed; for {facts['for']}: pip install 'sycam[{facts['extra']}]'"
        rows.append((name, text))
    cache = found.cache
    kept = (
        f"{cache['folder']}, {cache['files']:,} files, {cache['bytes'] / GIBIBYTE:.2f} GiB; it may "
        "be deleted at any time"
    )
    return [
        *rows,
        ("device", f"{found.device}, bfloat16 {'native' if found.bfloat16 else 'emulated'}"),
        ("threads", f"{found.threads} of {found.cores} cores"),
        (
            "memory",
            f"{found.memory / GIBIBYTE:.1f} GiB; tensors above "
            f"{found.mapped_from / GIBIBYTE:.2f} GiB are kept on disk ($SYCAM_MEMORY)",
        ),
        ("C compiler", found.compiler or "none that works"),
        ("C++ compiler", found.cxx or "none"),
        ("cache", kept if cache["folder"] else "off ($SYCAM_CACHE)"),
    ]
