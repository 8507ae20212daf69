"""Does the demo's winner also beat the published CAMs at other layers of the same network?

    python benchmarks/demo_layers.py "smooth(G)" [--searched 64] [--count 256] [--seed 0]

A formula that wins at one layer proves little if Grad-CAM at the last layer were better still. All
figures of the table are ROAD on the same held-out scenes; p by a paired sign-flip test,
uncorrected. Its rows take the published method that is best on the held-out scenes themselves; the
last line takes what a careful user would: method and layer that the search scenes choose.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence

from sycam.data import demo
from sycam.methods import find_method, shown_methods
from sycam.methods.method import RIVALS
from sycam.metrics import Road
from sycam.problem.explained_network import ExplainedNetwork
from sycam.problem.images import demo_images
from sycam.scoring.scorer import Score, Scorer
from sycam.scoring.statistics import mean_interval, sign_flip_p

LAYERS = ("features.3", "features.5", "features.6", "features.8", "features.10", "features.12")


def make_parser() -> argparse.ArgumentParser:
    """What the command takes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("formula")
    parser.add_argument("--searched", type=int, default=64)
    parser.add_argument("--count", type=int, default=256)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--layers", nargs="+", default=LAYERS, choices=LAYERS, metavar="LAYER",
                        help=f"of {', '.join(LAYERS)}; all if none is named")  # fmt: skip
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    options = make_parser().parse_args(arguments)
    heldout = scorers("heldout", {demo.LAYER, *options.layers}, options.count, options.seed)
    winner = heldout[demo.LAYER].score_method(find_method(options.formula))
    print(f"{options.formula} at {demo.LAYER}: {winner.mean:.4f} on {options.count} scenes\n")
    print(f"{'layer':14}{'best published':16}{'ROAD':>8}{'winner minus it':>18}{'p':>9}")
    scored = {layer: published(heldout[layer]) for layer in options.layers}
    for layer, rivals in scored.items():
        name = max(rivals, key=lambda n: rivals[n].mean)
        difference = winner.values - rivals[name].values
        print(
            f"{layer:14}{name:16}{rivals[name].mean:8.4f}{difference.mean():+18.4f}"
            f"{sign_flip_p(difference):9.4f}"
        )
    searching = scorers("search", options.layers, options.searched, options.seed)
    searched = {
        (layer, name): score.mean
        for layer, scorer in searching.items()
        for name, score in published(scorer).items()
    }
    layer, name = max(searched, key=searched.get)
    chosen = scored[layer][name]
    difference = winner.values - chosen.values
    found = mean_interval(difference, options.seed)
    print(
        f"\nOf {len(searched)} published methods and layers {options.searched} search scenes "
        f"choose {name} at {layer} ({searched[layer, name]:.4f}): held-out {chosen.mean:.4f}, "
        f"winner minus it {found.mean:+.4f} [{found.low:+.4f}, {found.high:+.4f}], "
        f"p {sign_flip_p(difference):.4f}"
    )


def scorers(part: str, layers: Iterable[str], count: int, seed: int) -> dict[str, Scorer]:
    """ROAD at each layer on scenes of a part of the demo."""
    images, found = demo_images(part, count, seed), {}
    for layer in layers:
        subject = ExplainedNetwork.prepare("demo", layer, images, seed=seed)
        found[layer] = Scorer(Road(), *subject.measure(images))
    return found


def published(scorer: Scorer) -> dict[str, Score]:
    """The published CAMs and baselines under a scorer."""
    methods = (m for m in shown_methods() if m.kind in RIVALS)
    return {method.name: scorer.score_method(method) for method in methods}


if __name__ == "__main__":
    main()
