"""Metrics for people and for programs: what each measures, what it needs, how it can be gamed.

``python -m sycam.report.listings.metrics > docs/metrics.md`` writes the page on all of them.
"""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Iterable, Iterator
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from sycam.language.operators import OPERATORS
from sycam.metrics import METRICS, Composite, Metric, find_metric
from sycam.metrics.base import FAMILIES
from sycam.metrics.option_text import expectation, written
from sycam.report.plain_table import plain_table
from sycam.support.text.terminal import shown

_INVARIANCES = {
    "weights": "formulas of equal weights score alike",
    "exact": "formulas of equal maps before scaling score alike",
    "positive-scale": "the weights times any c > 0 score alike",
    "ranking": "only the order of the pixels, with ties, counts",
}


def summary(metric: Metric) -> dict[str, Any]:
    """What the list of metrics says of one; plain data, null where a range has no end."""
    return {
        "name": metric.text,
        "family": metric.family,
        "summary": metric.summary,
        "higher_is_better": metric.higher_is_better,
        "range": [end if math.isfinite(end) else None for end in metric.range],
        "needs_masks": metric.needs_masks,
        "volumes": metric.volumes,
        "passes": metric.passes,
        "measurements": metric.measurements,
        "shared_measurements": metric.shared_measurements,
        "source": metric.source,
    }


def description(metric: Metric) -> dict[str, Any]:
    """All of one metric; plain data."""
    return summary(metric) | {
        "definition": metric.definition,
        "formula": metric.formula,
        "traps": metric.traps,
        "options": _options(metric),
        "terms": [m.text for m in metric.metrics] if isinstance(metric, Composite) else [],
        "invariance": metric.invariance,
        "bound": _bound(metric),
        "components": list(metric.components),
        "leaves": sorted(metric.leaves),
        "of_weights": metric.of_weights,
    }


def listing(metrics: Iterable[Metric]) -> RenderableType:
    """The metrics by family, a line each."""
    parts: list[RenderableType] = []
    for family, members in _by_family(metrics):
        table = plain_table(title=f"[bold]{family}[/]: {FAMILIES[family]}")
        for title in ("metric", "range", "needs", "what it measures"):
            table.add_column(title, no_wrap=title in ("metric", "range"), overflow="fold")
        for metric in members:
            table.add_row(
                f"[bold cyan]{shown(metric.text)}[/]",
                _range(metric),
                ", ".join(_needs(metric)),
                shown(metric.summary),
            )
        parts.append(table)
    parts.append("↑ higher is better, ↓ lower is better; passes are of one candidate and image")
    parts.append("sycam metrics show NAME says more; it takes options and formulas, too")
    return Group(*parts)


def detail(metric: Metric) -> RenderableType:
    """One metric: definition, formula, traps, options, needs, price, bound, source."""
    facts = Table.grid(padding=(0, 2))
    facts.add_column(no_wrap=True)
    facts.add_column(overflow="fold")
    for title, text in _facts(metric):
        style = "bold cyan" if title == "metric" else ""
        facts.add_row(title, Text(text, style=style))
    options = _options(metric)
    if not options:
        return facts
    table = plain_table(title="\nOptions, as in name:option=value,option=value")
    for title in ("option", "value", "default", "what it is"):
        table.add_column(title, overflow="fold")
    for option in options:
        cells = (option[key] for key in ("name", "value", "default", "meaning"))
        table.add_row(*map(shown, cells))
    return Group(facts, table)


def page(metrics: Iterable[Metric]) -> str:
    """The page of the documentation on metrics, in Markdown."""
    parts = [_INTRODUCTION]
    chosen = list(_by_family(metrics))
    for family, members in chosen:
        rows = [
            _row(f"[`{m.name}`](#{m.name})", _range(m), ", ".join(_needs(m)), m.summary)
            for m in members
        ]
        head = f"### {family.capitalize()}: {FAMILIES[family]}\n\n"
        columns = "| metric | range | needs | what it measures |\n|---|---|---|---|\n"
        parts.append(head + columns + "\n".join(rows) + "\n")
    for family, members in chosen:
        parts.append(f"## {family.capitalize()}\n")
        parts += [_section(metric) for metric in members]
    return "\n".join(parts)


def _section(metric: Metric) -> str:
    facts = dict(_facts(metric))
    lines = [f"### {metric.name}\n", f"{_capital(metric.summary)}.\n", facts.pop("definition")]
    if metric.formula:
        lines.append(f"\n$$\n{facts.pop('LaTeX')}\n$$")
    if metric.traps:
        lines.append(f"\n**Traps.** {facts.pop('traps')}")
    lines.append("")
    for title in ("range", "needs", "bound", "invariance", "figure", "source"):
        if title in facts:
            lines.append(f"- {title}: {facts[title]}")
    options = _options(metric)
    if options:
        lines.append("\n| option | default | what it is |\n|---|---|---|")
        lines += [_row(f"`{o['name']}`", f"`{o['default']}`", o["meaning"]) for o in options]
    return "\n".join(lines) + "\n"


def _row(*cells: str) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _facts(metric: Metric) -> list[tuple[str, str]]:
    """What is said of a metric, by title."""
    better = "higher" if metric.higher_is_better else "lower"
    said = [
        ("metric", metric.text),
        ("measures", "" if metric.summary == metric.text else metric.summary),
        ("family", f"{metric.family}: {FAMILIES[metric.family]}"),
        ("definition", metric.definition),
        ("LaTeX", metric.formula),
        ("traps", metric.traps),
        ("range", f"{_ends(metric)}, {better} is better"),
        ("needs", ", ".join([*_needs(metric), *_limits(metric)])),
        ("bound", _bound(metric)),
        ("invariance", f"{metric.invariance}: {_INVARIANCES[metric.invariance]}"),
        ("source", metric.source),
    ]
    if metric.components:
        parts = ", ".join(metric.components)
        figure = f"not a mean over images, but of the whole set, from {parts} of each"
        said.insert(-1, ("figure", figure))
    if isinstance(metric, Composite):
        said.insert(3, ("terms", ", ".join(m.text for m in metric.metrics)))
    return [(title, text) for title, text in said if text]


def _by_family(metrics: Iterable[Metric]) -> Iterator[tuple[str, list[Metric]]]:
    metrics = list(metrics)
    for family in FAMILIES:
        members = [m for m in metrics if m.family == family]
        if members:
            yield family, members


def _ends(metric: Metric) -> str:
    low, high = (f"{end:g}" if math.isfinite(end) else "∞" for end in metric.range)
    return f"{'-' if low == '∞' else ''}{low} to {high}"


def _range(metric: Metric) -> str:
    return f"{_ends(metric)} {'↑' if metric.higher_is_better else '↓'}"


def _needs(metric: Metric) -> list[str]:
    """What a metric must be given, and what it costs."""
    said = ["masks"] if metric.needs_masks else []
    said += ["weights of the language"] if metric.of_weights else []
    said += [f"leaf {OPERATORS[name].symbol}" for name in sorted(metric.leaves)]
    for count, what in (
        (metric.passes, "pass"),
        (metric.measurements, "measurement"),
        (metric.shared_measurements, "shared measurement"),
    ):
        if count:
            plural = "es" if what == "pass" else "s"
            said.append(f"{count} {what}{plural if count > 1 else ''}")
    return said or ["nothing"]


def _limits(metric: Metric) -> list[str]:
    return [] if metric.volumes else ["images only, no volumes"]


def _bound(metric: Metric) -> str:
    """The best score that an image allows, in words."""
    if metric.components:
        return ""
    method = type(metric).bound
    if method is Metric.bound:
        return "" if math.isinf(metric.range[metric.higher_is_better]) else "the end of the range"
    said = (method.__doc__ or "").partition("\n")[0].rstrip(".")
    return f"of each image: {said[:1].lower()}{said[1:]}" if said else "of each image"


def _options(metric: Metric) -> list[dict[str, str]]:
    """The options with value, default and meaning, as text."""
    parameters = metric.parameters()
    if not parameters:
        return []
    usual, meanings = type(metric)().options, _arguments(type(metric).__init__)
    return [
        {
            "name": name,
            "value": written(metric.options[name], parameter.annotation),
            "default": written(usual[name], parameter.annotation),
            "meaning": meanings.get(name) or expectation(parameter.annotation),
        }
        for name, parameter in parameters.items()
    ]


def _arguments(function: object) -> dict[str, str]:
    """What the docstring says of each argument, without markup."""
    section = (inspect.getdoc(function) or "").partition("Args:\n")[2].partition("\n\n")[0]
    found = {}
    for names, text in re.findall(r"^    (\w[\w, ]*): (.*(?:\n {5,}.*)*)", section, re.MULTILINE):
        plain = re.sub(r":\w+:`~?(?:[\w.]+\.)?(\w+)`", r"\1", " ".join(text.split()))
        found |= dict.fromkeys(names.split(", "), plain.replace("``", "").rstrip("."))
    return found


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


_INTRODUCTION = """\
# Metrics

A metric says how good a heatmap is; a search finds the formula that scores best. This page is
written by `python -m sycam.report.listings.metrics`, from the definitions themselves.

## Choosing a metric

What should a heatmap be good for?

- **It should show what the network uses**: a removal metric. `road` is the default: it removes the
  most and the least relevant pixels, fills the holes so that the network cannot see their shape,
  and needs nothing but images. `insertion` and `deletion` are what most papers report;
  they show the network images unlike any that it was trained on.
- **It should show where the object is**: a localisation metric, if there are masks or boxes.
  `energy-pointing-game` and `iou` see the whole map, `pointing-game` a single pixel. They do not
  see whether the network uses the background instead, so look at a removal metric as well.
- **It should be small, and sufficient for the class**: a confidence metric. `average-drop` and
  `increase-in-confidence` alone are won by a map that is 1 everywhere; `adcc` weighs them against
  `complexity` and `coherency`.
- **It should hold still**: a robustness metric. All of these are won by maps that ignore the image;
  take them as a requirement or as a term beside a removal metric.
- **It should depend on class and weights**: a sanity metric, as a requirement, not as a goal.

Whatever is optimised can be gamed: each section below says how. Therefore a validation
shows metrics that were *not* optimised on images that were not searched, and
`--require "class-sensitivity>0.2"` refuses winners that fail in another respect. How to choose,
with examples: [Choosing a metric](choosing_a_metric.md).

The sections below give for each metric what it *needs*: a *pass* is a forward pass on a changed
image, a *measurement* a forward and a backward pass, both per candidate and image, at most;
*shared* ones are per image, whatever the number of candidates. Its *bound* is the best score that
any heatmap could get, by which searches drop what cannot win; its *invariance* says which heatmaps
score alike.

## Writing a metric

| text | what it is |
|---|---|
| `road` | a metric with the defaults of its paper |
| `road:noise=0,percentiles=20+40+60` | with options; a list is joined by `+` |
| `0.7*road + 0.3*iou`, `(road + iou) / 2` | a weighted sum of scores |
| `road - 0.5*complexity`, `1 - deletion` | a term that is better when lower, with a minus |
| `harmonic(road, iou)` | the harmonic mean: 0 where one of them is 0 or less |
| `min(road, iou)` | the lowest of them |
| `path/to/file.py:name` | [a metric of your own](custom_metrics.md); the file is run |

Plus and minus have spaces around them, as names hold hyphens and lists hold plus signs: `road-morf`
is one metric. The terms of a sum must pull in one direction, and what `harmonic` and `min` combine
must be better when higher; the error says what to write instead. Scores are combined image by
image, except where the figure of a term is not a mean over images (it says so below): then the
figures of the whole set are.

## All metrics
"""


if __name__ == "__main__":
    print(page(find_metric(name) for name in METRICS), end="")
