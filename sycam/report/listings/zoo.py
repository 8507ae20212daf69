"""Formulas of the zoo for people and for programs: where found, against what, how to use them.

``python -m sycam.report.listings.zoo > docs/zoo.md`` writes the page on all of them.
"""

from __future__ import annotations

import shlex
from collections.abc import Collection
from textwrap import fill
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from sycam.methods.zoo import WARNING, WHY, Entry, Rival, zoo
from sycam.report.plain_table import plain_table
from sycam.support.schema import to_plain
from sycam.support.text.terminal import shown

_HEAD = ("name", "network", "metric", "held out", "hardest rival", "formula minus rival")


def description(entry: Entry) -> dict[str, Any]:
    """All of one entry, and the texts that use it; plain data."""
    return to_plain(entry) | {"use": _uses(entry)}


def listing(entries: Collection[Entry]) -> RenderableType:
    """The entries, a row each, and what to expect of them."""
    table = plain_table()
    for title in _HEAD:
        table.add_column(title, overflow="fold")
    formulas = Table.grid(padding=(0, 2))
    formulas.add_column(no_wrap=True)
    formulas.add_column(overflow="fold")
    for entry in entries:
        table.add_row(*map(shown, _cells(entry)))
        formulas.add_row(Text(entry.name, style="cyan"), shown(entry.formula))
    return Group(
        table, formulas, "", WARNING, "", "sycam zoo NAME says more of one, and how to use it"
    )


def detail(entry: Entry) -> RenderableType:
    """One entry: all that is on record, and the commands that use it."""
    facts = Table.grid(padding=(0, 2))
    facts.add_column(no_wrap=True)
    facts.add_column(overflow="fold")
    facts.add_row("name", Text(entry.name, style="bold cyan"))
    facts.add_row("formula", shown(entry.formula))
    for title, said in _facts(entry).items():
        facts.add_row(title, shown(said))
    rivals = plain_table(title="\nOn the held-out images")
    for title in ("rival", "why", "rival's mean", "formula minus rival", "p"):
        rivals.add_column(title, overflow="fold")
    for rival in entry.rivals:
        rivals.add_row(*map(shown, _compared(rival)))
    uses = [f"\n{title}:\n  {shown(text)}" for title, text in _uses(entry).items()]
    return Group(facts, rivals, WARNING, *uses)


def page() -> str:
    """The page of the documentation on the zoo, in Markdown."""
    entries = zoo().values()
    head = _row(*_HEAD) + "\n" + "|---" * len(_HEAD) + "|\n"
    rows = "\n".join(
        _row(f"[`{entry.name}`](#{entry.name})", *_cells(entry)[1:]) for entry in entries
    )
    return "\n".join([_INTRODUCTION, head + rows + "\n", *map(_section, entries), _CONTRIBUTING])


def _section(entry: Entry) -> str:
    lines = [f"### {entry.name}\n", f"```\n{entry.formula}\n```\n"]
    lines += [f"- {title}: {said}" for title, said in _facts(entry, marked=True).items()]
    head = ("rival", "why", "rival's mean", "formula minus rival", "p")
    lines += ["", _row(*head), "|---" * len(head) + "|"]
    lines += [_row(*_compared(rival)) for rival in entry.rivals]
    return "\n".join(lines) + "\n"


def _cells(entry: Entry) -> tuple[str, ...]:
    rival = entry.hardest
    heldout = "–" if entry.heldout is None else entry.heldout.text()
    said = (f"{rival.name} {rival.mean:.3f}", rival.difference.text("+"))
    return (entry.name, entry.network, entry.metric, heldout, *said)


def _compared(rival: Rival) -> tuple[str, ...]:
    p = "–" if rival.p is None else f"{rival.p:.2g}"
    return (rival.name, WHY[rival.why], f"{rival.mean:.3f}", rival.difference.text("+"), p)


def _facts(entry: Entry, marked: bool = False) -> dict[str, str]:
    """What is said of an entry beside its formula and rivals; marked: as Markdown."""

    def code(text: str) -> str:
        return f"`{text}`" if marked else text

    source = entry.source
    if marked and ".md" in source:
        at = source.removeprefix("docs/") if source.startswith("docs/") else f"../{source}"
        source = f"[{source}]({at})"
    facts = {
        "network": f"{entry.network}, opened by {code(entry.opened_by)}",
        "layers": ", ".join(map(code, entry.layers)),
        "images": f"{entry.images}: {entry.search_images} to search on, {entry.heldout_images} "
        "held out",
        "metric": code(entry.metric),
        "held out": "only differences are on record"
        if entry.heldout is None
        else entry.heldout.text(),
        "found by": code(entry.command),
        "figures": source,
    }
    return facts | ({"note": entry.note} if entry.note else {})


def _uses(entry: Entry) -> dict[str, str]:
    """Title to a command, or a line of Python."""
    layered = bool(entry.expression.sites)
    place = "" if layered else ' "LAYER",'
    option = "" if layered else " --layer LAYER"
    metric = shlex.quote(entry.metric)
    return {
        "In Python": f'sycam.CAM(network,{place} "{entry.text}")',
        "Judge it beside Grad-CAM": f"sycam evaluate {entry.text} grad-cam --metric {metric} "
        f"--network NETWORK --images IMAGES{option}",
        "As the first guess of a search": f"sycam synthesize --guess {entry.text} "
        f"--metric {metric} --network NETWORK --images IMAGES{option}",
    }


def _row(*cells: str) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


_INTRODUCTION = f"""# The zoo: formulas that searches found

Formulas as text, without weights, each with the network, layer and metric that it was found for,
its figures on held-out images and those of published CAMs. This page is written by
`python -m sycam.report.listings.zoo`, from the file that SyCAM reads.

{fill(f"**{WARNING}**", 100)}

All cells are in [RESULTS.md](../benchmarks/RESULTS.md).

## Using one

`zoo:NAME` can stand wherever a method or a first guess can. A formula that names layers fits only
networks with layers of these names.

```
sycam zoo
sycam zoo resnet20-layer2-road
sycam evaluate zoo:resnet20-layer2-road grad-cam --metric road --layer features.5
sycam synthesize --guess zoo:resnet20-layer2-road --layer features.5
```

In Python:

```python
>>> import sycam
>>> network = sycam.open_network("demo").module
>>> print(sycam.CAM(network, "features.5", "zoo:resnet20-layer2-road").expression)
smooth(relu(G))
>>> print(sycam.CAM(network, "zoo:demo-road").expression)
cam[features.5](smooth(G)) + cam[features.1](smooth(G)) + square(cam[features](mean(G)))

```

## All formulas

Differences are formula minus rival: above 0 the formula is ahead, whatever the metric's direction.
The *hardest rival* is the one that it is least ahead of. In square brackets: 95 % bootstrap
intervals over the held-out images, where they are on record.
"""

_CONTRIBUTING = """## Contributing one

A run that verifies is an entry:

```
sycam synthesize --network NETS.py:NAME --images IMAGES --metric road --out runs/mine
sycam zoo --entry runs/mine --name mine-road
```

The second command verifies the run (`sycam verify`) and, where every claim holds, prints its entry,
with the command that found it. In `images` name the data set as others can find it; put the entry
into `sycam/methods/zoo.json` and its figures into `benchmarks/RESULTS.md`, name
that page as `source`, and generate this page again. A winner that is a published CAM is refused; a
formula that is behind its rivals is welcome: it says what not to expect.
"""


if __name__ == "__main__":
    print(page(), end="")
