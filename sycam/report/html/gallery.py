"""Heatmaps of the best, typical and worst held-out images, kept beside the result."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from sycam.data.images import ImageSet
from sycam.problem.explained_network import ExplainedNetwork
from sycam.report.pictures.explain import columns_of, draw_heatmaps
from sycam.report.pictures.image_rows import image_rows, recorded_figures
from sycam.runs.result import Result
from sycam.support.bounded_json import parse_json
from sycam.support.files import PICTURE, TEXT, NotPlainError, read_plain, write_whole
from sycam.support.text.terminal import json_text

FOLDER = "gallery"
INDEX = "gallery.json"
EACH = 2  # images of a kind
KINDS = ("best", "typical", "worst")


@dataclass(frozen=True)
class Picture:
    """One image with its heatmaps.

    Attributes:
        kind: ``best``, ``typical`` or ``worst`` by the winner's score.
        image: its name.
        score: of the winner on it.
        file: in the gallery's folder.
    """

    kind: str
    image: str
    score: float
    file: str


def keep_gallery(result: Result, explained: ExplainedNetwork, unseen: ImageSet) -> list[Picture]:
    """Draw the pictures and write them into ``gallery/`` of the run's folder; none without a
    winner that was validated."""
    if result.validation.winner is None:
        return []
    scores = np.asarray(result.validation.winner.scores)
    best_first = np.argsort(-scores if _higher(result) else scores, kind="stable")
    count = len(best_first)
    middle = max(0, count // 2 - EACH // 2)
    places = {"best": range(EACH), "typical": range(middle, middle + EACH),
              "worst": range(count - EACH, count)}  # fmt: skip
    folder = result.path / FOLDER
    columns = columns_of(result)
    made, shown = [], set()
    for kind in KINDS:
        for place in places[kind]:
            if not 0 <= place < count or place in shown:
                continue
            shown.add(place)
            i = int(best_first[place])
            file = f"{kind}-{place}.png"
            figures = recorded_figures(result, columns, [i])
            rows = image_rows(explained, unseen.subset([i]), columns, result, figures)
            draw_heatmaps(rows, folder / file, result, "")
            made.append(Picture(kind, Path(unseen.names[i]).name, float(scores[i]), file))
    index = json_text([asdict(picture) for picture in made], ensure_ascii=False, indent=1)
    write_whole(folder / INDEX, index + "\n", within=result.path)
    return made


def kept_gallery(result: Result) -> list[tuple[Picture, bytes]]:
    """What :func:`keep_gallery` wrote, with the PNG files; nothing where it is not there or is
    damaged.

    Raises:
        NotPlainError: a link, or something else that is no plain file.
    """
    try:
        folder = result.path / FOLDER
        index = parse_json(read_plain(folder / INDEX, TEXT, within=result.path))
        # A file's own name only: an index that was tampered with reads nothing from elsewhere.
        pictures = [Picture(**{**entry, "file": Path(entry["file"]).name}) for entry in index]
        return [
            (p, read_plain(folder / p.file, PICTURE, within=result.path))
            for p in pictures[: len(KINDS) * EACH]
            if p.kind in KINDS
        ]
    except NotPlainError:
        raise
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _higher(result: Result) -> bool:
    return result.validation.directions[result.metric]
