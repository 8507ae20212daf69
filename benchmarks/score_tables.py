"""Per-image scores of many formulas on real networks, computed once and kept in a cache folder.

    python benchmarks/score_tables.py [NAME ...] [--cache FOLDER]

A table is what searches and selection rules are compared on without scoring anything again. It
holds the published CAMs and baselines, every distinct formula up to cost 3 and a random part of
those of cost 4 (all of them are ``sycam``'s own candidates: distinct under the metric on three
images), with a score for each image. A table of several layers holds the formulas of one layer,
and the products and sums of those that lead at each layer with those of each other; its published
CAMs stand at every layer and, under metrics that reward blur, blurred. Where masks are compared
with, images are those that the network classifies correctly and whose mask is not empty.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import chain, combinations, product
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sycam.data.images import ImageSet, load_images
from sycam.evidence.cache import default_folder
from sycam.grammar import load_grammar
from sycam.language import Expression, apply, parse
from sycam.language.sites import cam_at
from sycam.methods import shown_methods
from sycam.methods.method import RIVALS
from sycam.metrics import find_metric
from sycam.problem.explained_network import ExplainedNetwork
from sycam.problem.images import demo_images, with_masks
from sycam.scoring.scorer import Score, Scorer
from sycam.search import Enumerator

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT / os.environ.get("SYCAM_DATA", "../shared/data")
PROBES = 4  # images on which candidates are told apart; the last confirms
CHUNK = 8
FORMAT = 2  # of the kept tables
LEADERS = 3  # formulas of each layer that are combined with those of others


@dataclass(frozen=True)
class Setting:
    """What a table is of.

    Attributes:
        network: ``demo``, or ``FILE:FACTORY`` of ``benchmarks/networks``.
        layer: of the network; several for formulas that name theirs.
        images: ``demo``, or a file of the data folder.
        metric: text of the metric.
        count: images, at most.
        candidates: formulas, at most; of the costliest cost a random part.
        max_cost: of the formulas.
        grammar: their space.
    """

    network: str
    layer: str | tuple[str, ...]
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


FIVE = ("layer3.2", "layer2.2", "layer2.0", "layer1.2", "layer1.0")  # of ResNet-20, deepest first
FOUR = ("bn6_relu", "bn5_relu", "bn4_relu", "bn2_relu")  # of the small CNNs
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
    # Of several layers: all formulas of one layer up to cost 3, and pairs.
    "demo-layers-average-drop": Setting(
        "demo", "sites", "demo", "average-drop", 200, 400, 3, "network"
    ),
    "demo-layers-road": Setting("demo", "sites", "demo", ROAD, 200, 400, 3, "network"),
    "cifar10-layers-road": Setting(
        "cifar10:resnet20", FIVE, CIFAR[2], ROAD, 200, 400, 3, "network"
    ),
    **{
        f"{name}-layers-iou": Setting(
            f"small_cnn:{name.replace('-', '_')}",
            FOUR,
            f"{name.replace('-', '_')}/images_128.npz",
            "iou",
            250,
            400,
            3,
            "network",
        )
        for name in ("busi", "brain-tumour")
    },
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
    layer = setting.layer if isinstance(setting.layer, str) else list(setting.layer)
    subject = ExplainedNetwork.prepare(source, layer, images)
    if metric.needs_masks:
        images = _correct(subject, with_masks(images, True))
    images = _part(images, setting.count)
    if lacking := subject.lacking(images, grammar.leaves):
        grammar = grammar.without({leaf.name for leaf in lacking})
    evidence, context = subject.measure(images, leaves=grammar.leaves | metric.leaves)
    probes = {
        at.name: {name: tensor[:PROBES] for name, tensor in at.leaves.items()}
        for at in evidence.layers
    }
    grammar = grammar.at(list(probes))
    enumerator = Enumerator(
        grammar,
        next(iter(probes.values())),
        metric.invariance,
        context.size,
        sites=probes if grammar.sites else None,
    )
    if grammar.sites:
        made = of_one_layer(probes, metric.invariance, context.size, setting.max_cost)
        formulas = [e for e in dict.fromkeys(enumerator.represent_all(made)) if e is not None]
    else:
        formulas = _some(enumerator.candidates(setting.max_cost), setting)
    blurred = bool(grammar.sites) and metric.rewards_blur
    known = [m for m in shown_methods(grammar.leaves, grammar.sites, blurred) if m.kind in RIVALS]
    scorer = Scorer(metric, evidence, context)
    scorer.prepare(len(formulas) + len(known))
    which = None
    if metric.levels > 1:
        which = np.tile(np.arange(metric.levels), (len(images), 1))

    def score(expressions: Sequence[Expression]) -> list[tuple[Expression, Score]]:
        chunks = [expressions[i : i + CHUNK] for i in range(0, len(expressions), CHUNK)]
        scored = chain(*(zip(c, scorer.score(c, which), strict=True) for c in chunks))
        # As in a search: what overflows or is flat on more than one image in twenty cannot win.
        return [(e, s) for e, s in scored if s.finite and s.degenerate <= 0.05 * len(images)]

    scored = score(formulas)
    if grammar.sites:
        ranked = sorted(scored, key=lambda one: -metric.oriented(one[1].mean))
        made = pairs_of([e for e, _ in ranked], grammar.sites, LEADERS)
        pairs = dict.fromkeys(enumerator.represent_all(made))
        scored += score([e for e in pairs if e is not None and e not in formulas])
    references = [scorer.score_method(m, which) for m in known]
    return Table.of(
        [str(e) for e, _ in scored],
        metric.oriented(np.stack([s.values for _, s in scored])),
        [m.name for m in known],
        metric.oriented(np.stack([s.values for s in references])),
    )


def of_one_layer(
    sites: Mapping[str, Mapping[str, Tensor]],
    invariance: str,
    size: tuple[int, ...],
    max_cost: int,
) -> list[Expression]:
    """Saliency maps of each layer's distinct formulas of ``gradient``, the cheapest first.

    The grammar `network` has the same in another order, and builds on the way what only more
    expensive ones are made of.

    Args:
        sites: the leaves of each layer on probe images.
        invariance: of the metric.
        size: of the images.
        max_cost: of the saliency maps.
    """
    made = []
    for site, leaves in sites.items():
        alone = Enumerator(load_grammar("gradient"), leaves, invariance, size)
        formulas = (e for e in alone.candidates(max_cost - 1) if isinstance(e, Expression))
        made += [apply(cam_at(site).name, formula) for formula in formulas]
    return sorted(made, key=lambda e: e.cost)  # stable: a layer's of a cost stay together


def pairs_of(ranked: Sequence[Expression], sites: Sequence[str], leaders: int) -> list[Expression]:
    """Products and sums of what leads at each layer with what leads at each other.

    Args:
        ranked: formulas, the best first.
        sites: the layers.
        leaders: how many of each.
    """
    leading = [[e for e in ranked if e.sites == (site,)][:leaders] for site in sites]
    return [
        apply(name, one, other)
        for some, others in combinations(leading, 2)
        for one, other in product(some, others)
        for name in ("mul", "add")
    ]


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
