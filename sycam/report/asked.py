"""What a run was asked, for people: its images, their preprocessing, and a command for the same."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any

from sycam.data.preprocessing import Preprocessing
from sycam.grammar import grammar_names
from sycam.problem.images import DEMO
from sycam.problem.options import ExplainOptions, FileOptions
from sycam.runs.record import DEMO_ORIGIN, RunRecord
from sycam.search import SearchOptions
from sycam.search.budget import Budget
from sycam.support.options import declared

_SCALED = ("mean", "std", "size", "resize", "interpolation")  # options of preprocessing


def data_in_words(record: RunRecord) -> list[tuple[str, str]]:
    """Term and what is said of it: images, their shape, preprocessing, what was left out."""
    data, settings = record.data, record.settings
    said = [
        ("Search images", f"{data.search_images} of {_place(data.search_origin)}"),
        ("Held-out images", f"{data.heldout_images} of {_place(data.heldout_origin)}"),
        ("Shape", "×".join(map(str, data.shape)) + ", channels first"),
        ("Preprocessing", _preprocessing(record)),
        ("Explained", f"{settings.target}; the network returns {settings.reading}"),
    ]
    if settings.correct_only:
        said.append(("Only", "images that the network classifies correctly"))
    said += [("Left out", line) for line in data.skipped]
    said += [("Note", line) for line in data.notes]
    return said


def command_of(record: RunRecord) -> str | None:
    """A ``sycam synthesize`` command that asks for what a run was asked for.

    Returns:
        None where network, images, target, grammar or the like were given from Python, or as a
        file that is not on record.
    """
    network, settings = record.network, record.settings
    if (
        network.source is None
        or record.data.search_origin is None
        or record.data.heldout_origin is None
        or not settings.target_recorded
        or not network.reshape_recorded
        or settings.grammar not in grammar_names()
    ):
        return None
    lines = [["sycam", "synthesize"], [*_network(record)], [*_data(record)]]
    lines.append([part for text in settings.metrics for part in ("--metric", text)])
    lines[-1] += ["--grammar", settings.grammar]
    lines.append([part for text in record.required for part in ("--require", text)])
    lines.append([*_explained(record)])
    lines.append([*_flags(SearchOptions, settings.search), "--seed", str(settings.seed)])
    return " \\\n    ".join(shlex.join(line) for line in lines if line)


def _network(record: RunRecord) -> Iterator[str]:
    network = record.network
    if network.source is not None and network.source != DEMO:
        source, checkpoint = network.source, network.checkpoint
        yield from ("--network", source)
        if checkpoint is not None and not source.endswith(f"@{checkpoint.file}"):
            yield from ("--checkpoint", checkpoint.file)
    for layer in network.layers:
        yield from ("--layer", layer)


def _data(record: RunRecord) -> Iterator[str]:
    data = record.data
    search, apart = data.search_origin or {}, data.heldout_origin or {}
    if search != DEMO_ORIGIN:
        yield from ("--images", str(search.get("source")))
        yield from _files(record, search)
    if apart != search:
        yield from ("--heldout", str(apart.get("source")))
    yield from ("--search-images", str(data.search_images))
    if apart == search:
        yield from ("--heldout-images", str(data.heldout_images))
    if record.settings.correct_only:
        yield "--correct-only"


def _files(record: RunRecord, origin: Mapping[str, Any]) -> Iterator[str]:
    """How files were read; nothing of preprocessing that is the network's own."""
    own = record.network.preprocessing or {}
    is_own = all(_plain(origin.get(name)) == _plain(own.get(name)) for name in _SCALED)
    for name in declared(FileOptions):
        value = _plain(origin.get(name))
        if value is None or (is_own and name in _SCALED) or (name, value) == ("labels", "auto"):
            continue
        yield from (f"--{name}", value)


def _plain(value: object) -> str | None:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ",".join(f"{v:g}" for v in value)
    return None if value is None else str(value)


def _explained(record: RunRecord) -> Iterator[str]:
    settings, network = record.settings, record.network
    asked: dict[str, Any] = {
        "target": settings.target, "output": settings.reading, "precision": settings.precision
    }  # fmt: skip
    if network.reshape is not None:
        asked["reshape"] = network.reshape
    if len(network.layers) > 1:
        several = isinstance(network.fusion, tuple)
        asked["fusion"] = ",".join(map(str, network.fusion)) if several else network.fusion
    return _flags(ExplainOptions, asked)


def _flags(kind: type, given: Mapping[str, Any]) -> Iterator[str]:
    """Flags of what is not as usual, as the commands make them of declared options."""
    usual = {f.name: f.default for f in fields(kind)}
    for name, said in declared(kind).items():
        value = given.get(name)
        if value is None or value == usual[name] or (not value and not usual[name]):
            continue
        flag = f"--{(said.flag or said.keyword or name).replace('_', '-')}"
        if isinstance(value, bool):
            yield flag if value else flag.replace("--", "--no-", 1)
            continue
        several = value if isinstance(value, list | tuple) else [value]
        for one in several:
            yield from (flag, Budget.parse(one).given if name == "budget" else str(one))


def _place(origin: Mapping[str, Any] | None) -> str:
    if origin is None:
        return "those given from Python"
    if origin == DEMO_ORIGIN:
        return "the embedded demo"
    beside = [f"{name} of {origin[name]}" for name in ("masks", "boxes") if origin.get(name)]
    return ", ".join([str(origin.get("source")), *beside])


def _preprocessing(record: RunRecord) -> str:
    known = {f.name for f in fields(Preprocessing)}
    origin = record.data.search_origin
    made = origin if origin and origin != DEMO_ORIGIN else record.network.preprocessing
    if origin is None or made is None:
        return (
            "as given from Python; drawn with mean "
            f"{_plain(record.data.mean)} and std {_plain(record.data.std)}"
        )
    how = Preprocessing(**{name: value for name, value in made.items() if name in known})
    return str(how)
