"""What the doctor found, on a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from sycam.cli.diagnosing.diagnosis import Diagnosis
from sycam.support.text.terminal import shown

GIBIBYTE = 1 << 30


def show(diagnosis: Diagnosis, console: Console) -> None:
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column()
    for said, text in _rows(diagnosis):
        table.add_row(said, shown(text))
    console.print(table)
    console.print("\n[bold]Slow here[/]")
    for line in diagnosis.slow or ["nothing that this machine could do better"]:
        console.print(f"  · {shown(line)}", soft_wrap=True)
    console.print("\n[bold]Self-check[/]")
    for claim, fault in diagnosis.checks.items():
        mark = f"[bold red]fails:[/] {shown(fault)}" if fault else "holds"
        console.print(f"  · {shown(claim)}: {mark}", soft_wrap=True)


def _rows(diagnosis: Diagnosis) -> list[tuple[str, str]]:
    rows = [("versions", ", ".join(f"{name} {v}" for name, v in diagnosis.versions.items()))]
    for name, facts in diagnosis.optional.items():
        if facts["trouble"]:
            text = f"{facts['version']}, but: {facts['trouble']}"
        elif facts["version"]:
            text = f"{facts['version']} ({facts['for']})"
        else:
            text = f"not installed; for {facts['for']}: pip install 'sycam[{facts['extra']}]'"
        rows.append((name, text))
    cache = diagnosis.cache
    kept = (
        f"{cache['folder']}, {cache['files']:,} files, {cache['bytes'] / GIBIBYTE:.2f} GiB; it may "
        "be deleted at any time"
    )
    return [
        *rows,
        (
            "device",
            f"{diagnosis.device}, bfloat16 {'native' if diagnosis.bfloat16 else 'emulated'}",
        ),
        ("threads", f"{diagnosis.threads} of {diagnosis.cores} cores"),
        (
            "memory",
            f"{diagnosis.memory / GIBIBYTE:.1f} GiB; tensors above "
            f"{diagnosis.mapped_from / GIBIBYTE:.2f} GiB are kept on disk ($SYCAM_MEMORY)",
        ),
        *((name, origin or "in torch") for name, origin in diagnosis.compiled.items()),
        ("C compiler", diagnosis.compiler or "none that works"),
        ("C++ compiler", diagnosis.cxx or "none"),
        ("cache", kept if cache["folder"] else "off ($SYCAM_CACHE)"),
    ]
