"""What the scores of a run's folder are of, in words: who asks for something else is told what
differs."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from sycam.errors import RunError
from sycam.problem.as_text import reshape_text
from sycam.problem.problem import Question
from sycam.scoring.journal import JOURNAL_FILE
from sycam.search.options import SearchOptions
from sycam.search.run import search_blocks
from sycam.support.arguments import argument
from sycam.support.bounded_json import SchemaError, read_json
from sycam.support.content_digest import tensor_digest
from sycam.support.files import MEBIBYTE, write_whole

ASKED_FILE = "asked.json"
_LONGEST = 60  # characters of a value in the message
_SAME_NAME = {
    "network": "has other weights or another structure than there",
    "images": "are others than there",
    "masks": "are others than there",
    "metric": "is of another version than there",
    "grammar": "has other rules than there",
}
_DRAWN = ("images", "masks")
_OF_BLOCKS = ("mode", "scope", "adapt", "equivalence")  # options that decide which images come when

Facts = dict[str, list[str]]
"""Argument to its value in words, and a digest of what the words do not say."""


def require_same(folder: Path, question: Question, search: SearchOptions) -> None:
    """Refuse a folder whose scores are of something else, before anything is measured.

    A folder of an earlier version does not say what they are of, and is left to its journal to
    refuse.

    Raises:
        RunError: it holds another run; the message says which arguments differ, and how.
    """
    if not (folder / JOURNAL_FILE).exists():
        return
    try:
        before = read_json(folder / ASKED_FILE, MEBIBYTE)
    except (OSError, SchemaError):
        return
    if isinstance(before, dict) and (said := _differences(_facts(question, search), before)):
        raise RunError(
            f"'{folder}' holds another run: {'; '.join(said)}. Choose another folder by "
            f"{argument('out')}"
        )


def write_down(folder: Path, question: Question, search: SearchOptions) -> None:
    """Keep in a folder that holds no scores yet what they will be of.

    Raises:
        RunError: it cannot be written.
    """
    if (folder / JOURNAL_FILE).exists():
        return
    file = folder / ASKED_FILE
    try:
        write_whole(file, json.dumps(_facts(question, search), indent=1), within=folder)
    except OSError as error:
        raise RunError(f"cannot write '{file}': {error}") from None


def _facts(question: Question, search: SearchOptions) -> Facts:
    explained, searched = question.explained, question.searched
    images = hashlib.sha256("".join(searched.digests).encode()).hexdigest()
    masks = searched.masks if question.needs_masks else None
    metric = json.dumps([question.metric.options, question.metric.version], sort_keys=True)
    facts = {
        "network": [explained.name, explained.digest],
        "layer": [", ".join(layer.name for layer in explained.layers), ""],
        "reshape": [str(reshape_text(explained.layers)), ""],
        "fusion": [str(explained.fusion), ""],
        "output": [str(explained.reading), ""],
        "target": [explained.target_text, ""],
        "images": [f"{len(searched)} images", images],
        "masks": ["given" if masks is not None else "not used", ""],
        "metric": [question.metric.text, metric],
        "grammar": [question.grammar.name, question.grammar.digest],
        "require": [", ".join(map(str, question.requirements)) or "nothing", ""],
        "precision": [question.precision, ""],
        "seed": [str(explained.seed), ""],
        "blocks": [str([block.end for block in search_blocks(question, search)]), ""],
    }
    if masks is not None:
        facts["masks"][1] = tensor_digest(masks)
    return facts | {name: [str(getattr(search, name)), ""] for name in _OF_BLOCKS}


def _differences(now: Facts, before: Facts) -> list[str]:
    said = []
    other_blocks = now["blocks"] != before.get("blocks")
    other_seed = now["seed"] != before.get("seed")  # which draws other images of the same source
    for name, (value, digest) in now.items():
        there = before.get(name)
        sound = isinstance(there, list) and len(there) == 2
        if not sound or there == [value, digest] or name == "blocks":
            continue
        if name in _OF_BLOCKS and not other_blocks:
            continue
        if name in _DRAWN and other_seed and there[0] == value:
            continue
        if there[0] != value:
            said.append(f"{argument(name)} is {_short(value)} and {_short(there[0])} there")
        else:
            said.append(f"{argument(name)} {_SAME_NAME.get(name, 'differs')}")
    return said


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
