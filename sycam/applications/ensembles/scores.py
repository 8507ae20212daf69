"""Scores of single CAMs and ensembles on search and held-out images, kept in a folder's journal."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sycam.data.images import ImageSet
from sycam.errors import RunError
from sycam.events import Notify, Stage, Step
from sycam.evidence import Evidence, Stack
from sycam.methods import Method
from sycam.metrics import Context, Metric
from sycam.problem.explained_network import ExplainedNetwork
from sycam.problem.identity import identity_of
from sycam.scoring.blocks import ImageBlock
from sycam.scoring.journal import JOURNAL_FILE, Journal
from sycam.scoring.journaled_scorer import recorded_name
from sycam.scoring.scorer import Score, Scorer
from sycam.search.budget import Budget
from sycam.support.arguments import argument

SEARCH, HELDOUT, CHOOSING, JUDGING = range(4)


@dataclass(frozen=True)
class Part:
    """Images under a metric.

    Attributes:
        metric: under which they are scored.
        evidence, context: of the N images.
    """

    metric: Metric
    evidence: Evidence | Stack
    context: Context


class Scores:
    """What is known of every method on each part; none is measured twice.

    Args:
        parts: search images, held-out images, and as wanted those again at the levels that choose
            and at those that judge.
        journal: where scores are kept.
        notify: watches the progress.
        limit: the time of all, with what of it is kept for the held-out images.

    Attributes:
        pace: measured seconds of a score on a search image; 0 where none was measured.
    """

    def __init__(self, parts: Sequence[Part], journal: Journal, notify: Notify, limit: Budget):
        self.parts, self._journal, self._notify = parts, journal, notify
        self._scorers = [Scorer(part.metric, part.evidence, part.context) for part in parts]
        self._done, self._limit = 0, limit
        self.pace, self._measured = 0.0, 0

    def begin(self, text: str, total: int | None) -> None:
        """Say that a piece of work begins, of so many scores, where that is known."""
        self._done = 0
        self._notify(Stage(text, total))

    def of(self, method: Method, part: int) -> Score:
        """The score of a method on a part, from the journal or measured."""
        name = recorded_name(method)
        score = self._journal.known.get((name, part))
        if score is None:
            began = time.monotonic()
            score = self._scorers[part].score_method(method)
            self._journal.append(part, [name], [score])
            if part == SEARCH:
                each = (time.monotonic() - began) / len(self.parts[part].context)
                self._measured += 1
                self.pace += (each - self.pace) / self._measured
        self._done += 1
        self._notify(Step(self._done))
        return score

    def late(self, method: Method, part: int) -> bool:
        """Whether there is no time to measure this one, which is not known yet."""
        if (recorded_name(method), part) in self._journal.known:
            return False
        searching = part == SEARCH and self._limit.elapsed > self._limit.for_search(self.pace)
        return searching or self._limit.spent


def open_journal(folder: Path, parts: Sequence[Part], identity: str) -> Journal:
    """The folder's journal, made where it is absent.

    Raises:
        RunError: the folder cannot be used, or holds something else.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        strangers = sorted(path.name for path in folder.iterdir())
    except OSError as error:
        raise RunError(f"cannot use folder '{folder}': {error}") from None
    if strangers and JOURNAL_FILE not in strangers:
        raise RunError(
            f"'{folder}' holds other files ({', '.join(strangers[:3])}); choose an empty or new "
            f"folder by {argument('out')}"
        )
    counts = [len(part.context) for part in parts]
    blocks = [ImageBlock(0, count, count) for count in counts]
    return Journal(folder / JOURNAL_FILE, identity, [part.metric for part in parts], blocks)


def identity(explained: ExplainedNetwork, images: Mapping[int, ImageSet], metric: Metric) -> str:
    """Digest of all that the scores depend on, but for what the names of methods say.

    Args:
        explained: the network.
        images: of each part.
        metric: that scores all of them, or parts of it do.
    """
    facts = [identity_of(explained, images[part], metric, None) for part in sorted(images)]
    return hashlib.sha256(json.dumps(["ensemble", *facts]).encode()).hexdigest()
