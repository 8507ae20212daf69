"""The append-only record of finished scores: what an interrupted run resumes from."""

from __future__ import annotations

import json
import os
import time
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sycam.errors import RunError
from sycam.metrics import Metric
from sycam.search.scoring import Score

VERSION = 1


class Journal:
    """A file with one line a finished batch of candidates.

    Each line ends in a checksum. Opening the file cuts off a line that a crash left half-written;
    what was recorded before it is kept.

    Args:
        path: the file; made if absent.
        identity: digest of what the scores depend on; a file of another identity is refused.
        metric: what the scores are of.
    """

    def __init__(self, path: Path, identity: str, metric: Metric):
        self.path, self.metric = path, metric
        self.known: dict[str, Score] = {}
        try:
            content = path.read_bytes() if path.exists() else b""
            good = self._replay(content, identity)
            self._file = open(path, "ab")  # noqa: SIM115 - stays open for the run
            if good < len(content):
                self._file.truncate(good)
            if good == 0:
                self._write({"version": VERSION, "identity": identity})
        except OSError as error:
            raise RunError(f"cannot use journal '{path}': {error}") from None

    def _replay(self, content: bytes, identity: str) -> int:
        """Read records up to the first that is damaged; return where the good part ends."""
        good = 0
        for number, line in enumerate(content.splitlines(keepends=True)):
            record = _decode(line)
            if record is None:
                break
            if number == 0:
                if record.get("identity") != identity:
                    raise RunError(
                        f"'{self.path.parent}' holds another run (other network, images, metric, "
                        "grammar or options); choose another --out"
                    )
            else:
                for entry in record["candidates"]:
                    self.known[entry["name"]] = Score.of(
                        self.metric,
                        np.array(entry["scores"]),
                        entry["degenerate"],
                        entry["finite"],
                    )
            good += len(line)
        return good

    def append(self, names: Sequence[str], scores: Sequence[Score]) -> None:
        """Record a finished batch; it is on disk when this returns."""
        entries = [
            {
                "name": name,
                "scores": score.values.tolist(),
                "degenerate": score.degenerate,
                "finite": score.finite,
            }
            for name, score in zip(names, scores, strict=True)
        ]
        self._write({"time": round(time.time(), 3), "candidates": entries})
        self.known.update(zip(names, scores, strict=True))

    def _write(self, record: dict) -> None:
        text = json.dumps(record, separators=(",", ":"))
        line = f"{text}\t{zlib.crc32(text.encode()):08x}\n"
        try:
            self._file.write(line.encode())
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise RunError(
                f"cannot write journal '{self.path}': {error}; "
                "make room and run the same command again, it resumes"
            ) from None

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _decode(line: bytes) -> dict | None:
    """The record of a line, or None where the line is torn or damaged."""
    text, separator, check = line.rstrip(b"\n").rpartition(b"\t")
    if not line.endswith(b"\n") or not separator:
        return None
    if f"{zlib.crc32(text):08x}".encode() != check:
        return None
    return json.loads(text)
