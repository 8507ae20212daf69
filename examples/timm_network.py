"""A timm user: published CAMs side by side on any timm network, then a search.

    python examples/timm_network.py resnet50.a1_in1k photos/ [--layer layer4] [--budget 20m]

Preprocessing is timm's own for that network. A transformer's layout is told by a pass of some
images; ``--reshape`` says another.
"""

from __future__ import annotations

import argparse

import sycam


def main(arguments: list[str] | None = None) -> sycam.Result:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("network", help="a name of timm.list_models(), weights included")
    parser.add_argument("images", help="folder of images")
    parser.add_argument("--layer", default="auto")
    parser.add_argument("--reshape")
    parser.add_argument("--metric", default="insertion")
    parser.add_argument("--budget", default="20m")
    parser.add_argument("--search-images", type=int, default=48)
    parser.add_argument("--heldout-images", type=int, default=96)
    parser.add_argument("--out", default="runs/timm")
    given = parser.parse_args(arguments)

    network = f"timm:{given.network}"
    print(
        sycam.evaluate(
            network,
            given.layer,
            given.images,
            ["grad-cam", "layer-cam", "random-weights"],
            [given.metric],
            reshape=given.reshape,
        )
    )
    result = sycam.synthesize(
        network,
        given.layer,
        given.images,
        metric=given.metric,
        max_cost=3,
        budget=int(given.budget) if given.budget.isdigit() else given.budget,
        search_images=given.search_images,
        heldout=given.heldout_images,
        reshape=given.reshape,
        out=given.out,
    )
    print(result.best.expression, result.best.heldout)
    return result


if __name__ == "__main__":
    main()
