"""Per-image scores of many formulas on real networks, computed once and kept in a cache folder.

    python benchmarks/score_tables.py [NAME ...] [--cache FOLDER]

A table is what searches and selection rules are compared on without scoring anything again. It
holds the published CAMs and baselines, every distinct formula up to cost 3 and a random part of
those of cost 4 (all of them are ``sycam``'s own candidates: distinct under the metric on three
images), with a score for each image. Where masks are compared with, images are those that the
network classifies correctly and whose mask is not empty.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from sycam.data.images import ImageSet, load_images
from sycam.evidence.cache import default_folder
from sycam.grammar import load_grammar
from sycam.language import Expression, parse
from sycam.methods import find_method, shown_methods
from sycam.metrics import find_metric
from sycam.problem.explained_network import ExplainedNetwork
from sycam.problem.images import demo_images, with_masks
from sycam.scoring.scorer import Score, Scorer
from sycam.search import Enumerator

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT / os.environ.get("SYCAM_DATA", "../shared/data")
PUBLISHED = ("published", "baseline")
PROBES = 4  # images on which candidates are told apart; the last confirms
CHUNK = 8
FORMAT = 2  # of the kept tables


@dataclass(frozen=True)
class Setting:
    """What a table is of.

    Attributes:
        network: ``demo``, or ``FILE:FACTORY`` of ``benchmarks/networks``.
        layer: of the network.
        images: ``demo``, or a file of the data folder.
        metric: text of the metric.
        count: images, at most.
        candidates: formulas, at most; of the costliest cost a random part.
        max_cost: of the formulas.
        grammar: their space.
    """

    network: str
    layer: str
    images: str
    metric: str
    count: int
    candidates: int
    max_cost: int
    grammar: str = "gradient"


# Two of ROAD's nine percentiles: the whole of it takes five times as long. The tables named
# "...-whole" are of all nine and of every formula up to cost 4; they want a GPU.
ROAD = "road:percentiles=30+70"


def _grey(name: str, metric: str, layer: str = "bn5_relu", candidates: int = 2700) -> Setting:
    images = f"{name}/images_128.npz"
    return Setting(f"small_cnn:{name}", layer, images, metric, 250, candidates, 4)


CIFAR = ("cifar10:resnet20", "layer2", "cifar10/test_lossless_500.npz")
SETTINGS = {
    "demo-road": Setting("demo", "auto", "demo", ROAD, 400, 180, 3),
    "demo-iou": Setting("demo", "auto", "demo", "iou", 500, 2700, 4),
    "demo-average-drop": Setting("demo", "auto", "demo", "average-drop", 400, 700, 4),
    # A race over cells is compared with one over images on these, of nine percentiles and of three.
    "demo-road-levels": Setting("demo", "auto", "demo", "road", 200, 180, 3),
    "cifar10-road-levels": Setting(*CIFAR, "road:percentiles=20+50+80", 200, 180, 3),
    "demo-road-whole": Setting("demo", "auto", "demo", "road", 200, 3000, 4),
    "cifar10-road": Setting(*CIFAR, ROAD, 400, 180, 3),
    "cifar10-road-whole": Setting(*CIFAR, "road", 200, 3000, 4),
    "cifar10-average-drop": Setting(*CIFAR, "average-drop", 400, 700, 4),
    **{
        f"{name}-{metric}": _grey(name.replace("-", "_"), text)
        for name in ("busi", "brain-tumour", "magnetic-tile")
        for metric, text in (("iou", "iou"), ("energy", "energy-pointing-game"))
    },
    "busi-iou-bn6": _grey("busi", "iou", "bn6_relu", 720),
}


@dataclass(frozen=True)
class Table:
    """Scores of formulas and published methods on the same images.

    Attributes:
        names: ``[C]`` expression texts.
        scores: ``[C,N]`` float64, oriented: higher is better.
        published: ``[P]`` names of published CAMs and baselines.
        published_scores: ``[P,N]``, oriented.
        cells: ``[C,N,L]`` what each of the metric's levels adds to the scores.
        published_cells: ``[P,N,L]``.
    """

    names: tuple[str, ...]
    scores: np.ndarray
    published: tuple[str, ...]
    published_scores: np.ndarray
    cells: np.ndarray
    published_cells: np.ndarray

    @classmethod
    def of(
        cls,
        names: Sequence[str],
        cells: np.ndarray,
        published: Sequence[str],
        published_cells: np.ndarray,
    ) -> Table:
        """Of cells, or of ``[C,N]`` scores of a metric without levels."""
        cells = cells.reshape(*cells.shape[:2], -1)
        known = published_cells.reshape(*published_cells.shape[:2], -1)
        return cls(tuple(names), cells.sum(2), tuple(published), known.sum(2), cells, known)

    @property
    def expressions(self) -> list[Expression]:
        """``[C]`` the formulas."""
        return [parse(name) for name in self.names]


def default_cache() -> Path:
    """A folder beside the one where expensive leaves are kept."""
    return (default_folder() or Path.home() / ".cache" / "sycam" / "leaves").parent / "tables"


def table(name: str, cache: Path) -> Table:
    """A table from the cache, where it is computed if it is not there."""
    setting = SETTINGS[name]
    content = json.dumps([FORMAT, asdict(setting)], sort_keys=True)
    key = hashlib.sha256(content.encode()).hexdigest()[:12]
    file = cache / f"{name}-{key}.npz"
    if not file.exists():
        found = compute(setting)
        cache.mkdir(parents=True, exist_ok=True)
        partial = file.with_suffix(".part.npz")
        kept = ("names", "cells", "published", "published_cells")
        np.savez_compressed(partial, **{name: getattr(found, name) for name in kept})
        partial.replace(file)
    with np.load(file, allow_pickle=False) as kept:
        return Table.of(
            kept["names"].tolist(),
            kept["cells"],
            kept["published"].tolist(),
            kept["published_cells"],
        )


def compute(setting: Setting) -> Table:
    """Score everything; minutes."""
    metric, grammar = find_metric(setting.metric), load_grammar(setting.grammar)
    source, images = _network(setting), _images(setting)
    subject = ExplainedNetwork.prepare(source, setting.layer, images)
    if metric.needs_masks:
        images = _correct(subject, with_masks(images, True))
    images = _part(images, setting.count)
    if lacking := subject.lacking(images, grammar.leaves):
        grammar = grammar.without({leaf.name for leaf in lacking})
    evidence, context = subject.measure(images, leaves=grammar.leaves | metric.leaves)
    probe = {name: tensor[:PROBES] for name, tensor in evidence.layers[0].leaves.items()}
    enumerator = Enumerator(grammar, probe, metric.invariance, context.size)
    formulas = _some(enumerator.candidates(setting.max_cost), setting)
    known = [m for m in shown_methods(grammar.leaves) if m.kind in PUBLISHED]
    scorer = Scorer(metric, evidence, context)
    scorer.prepare(len(formulas) + len(known))
    which = None
    if metric.levels > 1:
        which = np.tile(np.arange(metric.levels), (len(images), 1))
    scored: list[tuple[Expression, Score]] = []
    for start in range(0, len(formulas), CHUNK):
        chunk = formulas[start : start + CHUNK]
        scored += zip(chunk, scorer.score(chunk, which), strict=True)
    # As in a search: what overflows or is flat on more than one image in twenty cannot win.
    scored = [(e, s) for e, s in scored if s.finite and s.degenerate <= 0.05 * len(images)]
    references = [scorer.score_method(find_method(m.name), which) for m in known]
    return Table.of(
        [str(e) for e, _ in scored],
        metric.oriented(np.stack([s.values for _, s in scored])),
        [m.name for m in known],
        metric.oriented(np.stack([s.values for s in references])),
    )


def _network(setting: Setting) -> str:
    if setting.network == "demo":
        return "demo"
    file, factory = setting.network.split(":")
    return f"{ROOT / 'benchmarks' / 'networks' / file}.py:{factory}"


def _images(setting: Setting) -> ImageSet:
    if setting.images == "demo":
        return demo_images("heldout", setting.count, 0)
    return load_images(DATA / setting.images)


def _correct(subject: ExplainedNetwork, images: ImageSet) -> ImageSet:
    with torch.no_grad():
        shown = images.images.to(subject.classifier.device)
        said = subject.network.eval()(shown).argmax(1).cpu()
    return images.subset((said == images.labels).nonzero().flatten().tolist())


def _part(images: ImageSet, count: int) -> ImageSet:
    chosen = np.random.default_rng(0).permutation(len(images))[:count]
    return images.subset(sorted(chosen.tolist()))


def _some(stream: Iterable, setting: Setting) -> list[Expression]:
    """All formulas, but of the highest cost no more than there is room for."""
    found = [item for item in stream if isinstance(item, Expression)]
    cheap = [e for e in found if e.cost < setting.max_cost]
    expensive = [e for e in found if e.cost == setting.max_cost]
    room = max(0, setting.candidates - len(cheap))
    chosen = np.random.default_rng(0).permutation(len(expensive))[:room]
    return cheap + [expensive[i] for i in sorted(chosen.tolist())]


def make_parser() -> argparse.ArgumentParser:
    """What the command takes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", default=list(SETTINGS), help=", ".join(SETTINGS))
    parser.add_argument("--cache", type=Path, default=default_cache())
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    options = make_parser().parse_args(arguments)
    for name in options.names:
        started = time.perf_counter()
        found = table(name, options.cache)
        best = found.published_scores.mean(1).argmax()
        print(
            f"{name}: {found.scores.shape[0]} formulas, {found.scores.shape[1]} images, best mean "
            f"{found.scores.mean(1).max():.4f}, best published {found.published[best]} "
            f"{found.published_scores.mean(1)[best]:.4f}, {time.perf_counter() - started:.0f} s",
            flush=True,
        )


if __name__ == "__main__":
    main()
