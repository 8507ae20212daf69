"""Does the demo's winner also beat the published CAMs at other layers of the same network?

    python benchmarks/demo_layers.py "smooth(G)" [--count 256] [--seed 0]

A formula that wins at one layer proves little if Grad-CAM at the last layer were better still. All
figures are ROAD on the same held-out scenes; p by a paired sign-flip test, uncorrected.
"""

from __future__ import annotations

import argparse

from sycam.data import demo
from sycam.inputs import demo_images
from sycam.methods import find_method, scored_along
from sycam.metrics import Road
from sycam.search import Scorer
from sycam.subject import Subject
from sycam.validation import PUBLISHED, sign_flip_p

LAYERS = ("features.3", "features.5", "features.6", "features.8", "features.10", "features.12")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("formula")
    parser.add_argument("--count", type=int, default=256)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    images = demo_images("heldout", options.count, options.seed)
    scorers = {}
    for layer in LAYERS:
        subject = Subject.prepare("demo", layer, images, seed=options.seed)
        scorers[layer] = Scorer(Road(), *subject.measure(images))
    winner = scorers[demo.LAYER].score_method(find_method(options.formula))
    print(f"{options.formula} at {demo.LAYER}: {winner.mean:.4f} on {options.count} scenes\n")
    print(f"{'layer':14}{'best published':16}{'ROAD':>8}{'winner minus it':>18}{'p':>9}")
    for layer, scorer in scorers.items():
        published = {
            method.name: scorer.score_method(method)
            for method in scored_along()
            if method.kind in PUBLISHED
        }
        name = max(published, key=lambda n: published[n].mean)
        difference = winner.values - published[name].values
        print(
            f"{layer:14}{name:16}{published[name].mean:8.4f}{difference.mean():+18.4f}"
            f"{sign_flip_p(difference):9.4f}"
        )


if __name__ == "__main__":
    main()
