"""A finished run as an entry of the zoo, for those who contribute its formula."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from sycam.data.names import DEMO
from sycam.errors import RunError
from sycam.grammar.source import SUFFIX, grammar_names
from sycam.methods.zoo import CHOSEN, HINDSIGHT, Entry, Estimate, Rival
from sycam.problem.options import FileOptions
from sycam.runs.record import RunRecord
from sycam.runs.result import Result
from sycam.scoring.statistics import Interval
from sycam.search.budget import Budget
from sycam.search.options import SearchOptions
from sycam.support.arguments import argument
from sycam.support.options import declared
from sycam.validation.findings import Row

_DIGITS = 4  # after the point of a figure


def entry_of(result: Result, network: str | None = None, name: str | None = None) -> Entry:
    """What the zoo says of a run's winner; it does not say whether the run verifies.

    Args:
        result: with a new formula as its winner, and held-out evidence of it.
        network: by which the network is opened, where the run does not say, or to say it otherwise.
        name: of the entry; of network and metric if None.

    Raises:
        RunError: it has no winner, a published CAM won, it has no held-out evidence, or what ran
            cannot be said as a command.
        OptionError: the name is none of the zoo's.
    """
    best, record, validation = result.best, result.record, result.validation
    if best is None:
        raise RunError("the run has no winner: there is nothing to contribute")
    if best.known_as:
        raise RunError(f"a published CAM won, {best.known_as}: there is no formula to contribute")
    if len(validation.goals) > 1:
        raise RunError(f"the run has {len(validation.goals)} goals; an entry has one metric")
    if best.heldout is None or not validation.verdicts:
        raise RunError(
            "the run has no held-out evidence beside a published CAM: run the same command again, "
            "with a larger budget"
        )
    rows = {row.name: row for row in validation.rows if row.against is not None}
    verdict = validation.verdicts[0]
    rivals = ((CHOSEN, verdict.chosen_published), (HINDSIGHT, verdict.best_published))
    source = network or record.network.source
    if source is None:
        raise RunError(f"the run's network was given from Python: name it by {argument('network')}")
    command = _command(record, source)
    words = re.findall(r"[a-z0-9]+", f"{record.network.name} {result.metric}".lower())
    return Entry(
        name=name or "-".join(words),
        formula=best.expression,
        network=record.network.name,
        opened_by=source,
        layers=record.network.layers,
        images=str((record.data.search_origin or {}).get("source", "given from Python")),
        search_images=record.data.search_images,
        heldout_images=validation.images,
        metric=result.metric,
        heldout=_estimate(best.heldout),
        rivals=tuple(_rival(rows[one], why) for why, one in rivals),
        command=command,
        source=f"run {record.identity[:12]}, {record.created[:10]}",
    )


def _estimate(found: Interval) -> Estimate:
    low, mean, high = (round(value, _DIGITS) for value in (found.low, found.mean, found.high))
    return Estimate(mean, low, high)


def _rival(row: Row, why: str) -> Rival:
    found = row.against
    return Rival(
        row.name,
        why,
        round(row.heldout.mean, _DIGITS),
        _estimate(found.difference),
        round(found.p_holm, _DIGITS),
    )


def _command(record: RunRecord, network: str) -> str:
    """The command that searches the same again."""
    asked, data = record.settings, record.data
    origin = data.search_origin
    if origin is None or not (asked.target_recorded and record.network.reshape_recorded):
        raise RunError(
            "the run's images, target or reshape were given from Python, so that no command finds "
            "its formula again; search by sycam synthesize"
        )
    words: list[str] = []

    def say(option: str, value: Any) -> None:
        if isinstance(value, bool):
            words.append(f"--{option}" if value else f"--no-{option}")
        elif value is not None:
            listed = isinstance(value, list | tuple)
            text = ",".join(map(str, value)) if listed else str(value)
            words.extend((f"--{option}", text))

    say("network", network)
    for layer in record.network.layers:
        say("layer", layer)
    if origin["source"] != DEMO:
        say("images", origin["source"])
        for option, value in _changed(FileOptions, origin):
            say(option, value)
    for goal in asked.metrics:
        say("metric", goal)
    shipped = asked.grammar in grammar_names()
    say("grammar", asked.grammar if shipped else f"{asked.grammar}{SUFFIX}")
    for requirement in record.required:
        say("require", requirement)
    say("target", asked.target)
    say("search-images", data.search_images)
    say("heldout-images", data.heldout_images)
    say("seed", asked.seed)
    say("correct-only", asked.correct_only or None)
    say("output", asked.output)
    say("precision", asked.precision)
    say("reshape", record.network.reshape)
    say("fusion", record.network.fusion)
    for option, value in _changed(SearchOptions, asked.search):
        several = option in ("guess", "allow")
        for one in value if several else [value]:
            say(option, Budget.parse(one).given if option == "budget" else one)
    return shlex.join(["sycam", "synthesize", *words])


def _changed(kind: type, given: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Flags of a class of options with the values that are not its defaults."""
    usual = kind()
    plain = usual.to_dict() if isinstance(usual, SearchOptions) else vars(usual)
    for field, said in declared(kind).items():
        if said.help and field in given and given[field] != plain.get(field):
            yield (said.flag or said.keyword or field).replace("_", "-"), given[field]
