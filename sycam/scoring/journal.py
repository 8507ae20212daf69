"""The append-only record of finished scores: what an interrupted run resumes from."""

from __future__ import annotations

import json
import os
import time
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from filelock import lock_descriptor

from sycam.errors import RunError
from sycam.metrics import Metric
from sycam.scoring.blocks import ImageBlock
from sycam.scoring.scorer import Score
from sycam.support.arguments import argument
from sycam.support.bounded_json import SchemaError, parse_json
from sycam.support.files import open_plain
from sycam.support.schema import Count, absent, from_plain
from sycam.support.shelf import Shelf

JOURNAL_FILE = "scores.jsonl"  # of a run's folder
LOCK_SUFFIX = ".lock"  # of the file beside it: on Windows, what is locked cannot be read
VERSION = 3
_LARGEST = 1 << 33  # bytes of a journal that is read
_CHECKED = len(b',"check":"01234567"}')


@dataclass(frozen=True)
class Entry:
    """One candidate's scores on a stage's images: ``[n]``, or ``[n, c]`` of several components or
    levels; ``flat`` are the places of the images on which its map ranks nothing."""

    name: str
    scores: Sequence[Any]
    degenerate: int
    finite: bool
    flat: Sequence[Count] | None = absent()


@dataclass(frozen=True)
class Line:
    """A finished batch of candidates."""

    stage: int
    candidates: Sequence[Entry]


class Journal:
    """A file with one line a finished batch of candidates, which one process at a time may use.

    Each line is a JSON object whose last field, ``check``, is the CRC-32 of the object without it,
    so that ``pandas.read_json(path, lines=True)`` reads the file. (Lines of earlier versions end
    in a tab and the checksum; they are read as well.) A last line that a crash left half-written
    is cut off; a damaged line in the middle is passed over, and what it held is computed again.

    The lock is the operating system's, on an empty file ``<path>.lock`` that stays there: it ends
    with the process, however that ends.

    Args:
        path: the file; made if absent.
        identity: digest of what the scores depend on; a file of another identity is refused.
        metric: what the scores are of; or one for each stage.
        stages: in which the images are scored.
        writable: whether anything will be appended; if not, the file must exist, and is neither
            locked nor mended.
        replaces: whether a file of another identity is begun anew, instead of being refused.

    Attributes:
        known: scores by name and number of the stage; of many images they lie in files.
        damaged: lines passed over.

    Raises:
        RunError: another run's file, one that another process uses, or one that cannot be read.
    """

    def __init__(
        self,
        path: Path,
        identity: str,
        metric: Metric | Sequence[Metric],
        stages: Sequence[ImageBlock],
        writable: bool = True,
        replaces: bool = False,
    ):
        self.path, self.stages, self._replaces = path, tuple(stages), replaces
        self.metrics = (metric,) * len(stages) if isinstance(metric, Metric) else tuple(metric)
        self.known: dict[tuple[str, int], Score] = {}
        self.damaged = 0
        self._shelf = Shelf()
        self._file: BinaryIO | None = None
        self._lock_file: BinaryIO | None = None
        header = {"version": VERSION, "identity": identity, "stages": [s.end for s in stages]}
        try:
            if not writable:
                self._replay(header)
                return
            # Unbuffered: a line goes out in one call, which no Ctrl-C can cut in two.
            self._file = open_plain(path, "ab", within=path.parent)
            self._lock()
            good = self._replay(header)
            if good < os.fstat(self._file.fileno()).st_size:
                self._file.truncate(good)
            if good == 0:
                self._write(checked_line(header))
        except OSError as error:
            self.close()
            raise RunError(f"cannot use journal '{path}': {error}") from None
        except RunError:
            self.close()
            raise

    def _lock(self) -> None:
        path = self.path.with_name(self.path.name + LOCK_SUFFIX)
        self._lock_file = open_plain(path, "ab", within=path.parent)
        if not lock_descriptor(self._lock_file.fileno(), blocking=False):
            raise RunError(
                f"another process is at work on the run in '{self.path.parent}'; wait for it, or "
                f"choose another folder by {argument('out')}"
            )

    def _replay(self, header: dict) -> int:
        """Read the records; return where the last whole line ends."""
        with open_plain(self.path, within=self.path.parent, limit=_LARGEST) as file:
            first = next(file, b"")
            if not first.endswith(b"\n") or not self._is_this(_decode(first[:-1]), header):
                return 0
            good = len(first)
            for text in file:
                if not text.endswith(b"\n"):
                    break
                good += len(text)
                line = self._line(text[:-1])
                if line is None:
                    self.damaged += 1
                else:
                    self._take(line)
            return good

    def _is_this(self, first: dict | None, header: dict) -> bool:
        """Whether the first line is this journal's own; False for one that is to be replaced.

        Raises:
            RunError: it is another's.
        """
        if first != header and self._replaces:
            return False
        if first is None:
            raise RunError(
                f"journal '{self.path}' is damaged in its first line, so that it cannot be told "
                f"whose scores it holds; choose another folder by {argument('out')}, or delete it "
                "to begin again"
            )
        if first != header:
            raise RunError(
                f"'{self.path.parent}' holds another run (other network, images, metric, grammar "
                f"or options, or another version's); choose another folder by {argument('out')}"
            )
        return True

    def _take(self, line: Line) -> None:
        """Scores that are on record."""
        for one in line.candidates:
            values = np.array(one.scores, float)
            score = Score.of_stage(
                self.metrics[line.stage],
                values,
                one.degenerate,
                one.finite,
                self.stages[line.stage].levels,
                _mask(one, len(values)),
            )
            self._know(one.name, line.stage, score)

    def _know(self, name: str, stage: int, score: Score) -> None:
        flat = None if score.flat is None else self._shelf.put(score.flat)
        kept = replace(score, values=self._shelf.put(score.values), flat=flat)
        self.known[name, stage] = kept

    def _line(self, text: bytes) -> Line | None:
        """Scores of a stage's images, where the line holds any: a checksum says only that it is
        whole."""
        try:
            line = from_plain(Line, _decode(text))
        except SchemaError:
            return None
        if not 0 <= line.stage < len(self.stages):
            return None
        stage = self.stages[line.stage]
        images, parts = stage.stop - stage.start, len(self.metrics[line.stage].components)
        if stage.levels > 1:
            parts = stage.added
        wanted = (images, parts) if parts else (images,)
        sound = (
            _shape(one) == wanted
            and 0 <= one.degenerate <= images
            and (one.flat is None or _fits(one.flat, one.degenerate, images))
            for one in line.candidates
        )
        return line if all(sound) else None

    def append(self, stage: int, names: Sequence[str], scores: Sequence[Score]) -> None:
        """Record a finished batch; it is on disk when this returns."""
        if self._file is None:
            raise RunError(f"journal '{self.path}' lacks scores of {', '.join(names)}")
        texts = (
            _text(
                {
                    "name": name,
                    "scores": score.values.tolist(),
                    "degenerate": score.degenerate,
                    "finite": score.finite,
                }
                | (
                    {"flat": np.flatnonzero(score.flat).tolist()}
                    if score.degenerate and score.flat is not None
                    else {}
                )
            )
            for name, score in zip(names, scores, strict=True)
        )
        # Candidate by candidate: numbers of Python take twice the room of their text.
        head = _text({"time": round(time.time(), 3), "stage": stage})[:-1]
        self._write(_checked(b'%s,"candidates":[%s]}' % (head, b",".join(texts))))
        for name, score in zip(names, scores, strict=True):
            self._know(name, stage, score)

    def _write(self, line: bytes) -> None:
        try:
            if self._file.write(line) < len(line):
                raise OSError("the disk took only a part of a line")
            os.fsync(self._file.fileno())
        except OSError as error:
            raise RunError(
                f"cannot write journal '{self.path}': {error}; "
                "make room and run the same command again, it resumes"
            ) from None

    def close(self) -> None:
        """Close the file and let other processes use it."""
        for file in (self._file, self._lock_file):
            if file is not None:
                file.close()


def checked_line(record: Mapping[str, Any]) -> bytes:
    """A record as a line of a journal, with its checksum and its end."""
    return _checked(_text(record))


def _text(record: Mapping[str, Any]) -> bytes:
    return json.dumps(record, separators=(",", ":")).encode()


def _checked(text: bytes) -> bytes:
    """The text of a record as a line."""
    return text[:-1] + _check(text) + b"\n"


def _check(text: bytes) -> bytes:
    """The last field of a line, and the end of its object."""
    return b',"check":"%08x"}' % zlib.crc32(text)


def _decode(line: bytes) -> dict | None:
    """The record of a line without its end, or None where it is torn or damaged."""
    text, separator, check = line.rpartition(b"\t")
    if separator:  # of an earlier version; JSON has no tab
        whole = b"%08x" % zlib.crc32(text) == check
    else:
        text = line[:-_CHECKED] + b"}"
        whole = line[-_CHECKED:] == _check(text)
    if not whole:
        return None
    try:
        record = parse_json(text, undefined=True)  # a score may be NaN
    except SchemaError:
        return None
    return record if isinstance(record, dict) else None


def _fits(flat: Sequence[int], degenerate: int, images: int) -> bool:
    """Whether these can be the places of so many flat maps."""
    return len(set(flat)) == len(flat) == degenerate and all(place < images for place in flat)


def _mask(entry: Entry, images: int) -> np.ndarray | None:
    """``[n]`` bool, the images on which the map is flat; None where only the count is on record."""
    if entry.flat is None and entry.degenerate:
        return None
    mask = np.zeros(images, bool)
    mask[list(entry.flat or ())] = True
    return mask


def _shape(entry: Entry) -> tuple[int, ...] | None:
    """Of the scores; None where they are no numbers, or ragged."""
    try:
        scores = np.array(entry.scores)
    except ValueError:
        return None
    return scores.shape if scores.dtype.kind in "if" else None
