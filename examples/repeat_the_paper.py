"""A researcher who repeats Luque-Cerpa et al. (2025) on a network and images of their own.

    python examples/repeat_the_paper.py torchvision:vgg16 val/ [--metric average-drop]

The paper's two oracles: formulas that score alike count as one (``equivalence="metric"``), and the
search ends at the first that is above every published CAM (``threshold="best-published"``); one
winner for all images, and one for each class. Beside it the same with what SyCAM does by default,
and both on images that no search has seen, which the oracles do not ask for.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import sycam

SEARCHES = {
    "paper": {"mode": "exact", "equivalence": "metric", "threshold": "best-published"},
    "default": {},
}


def main(arguments: list[str] | None = None) -> dict[str, sycam.Result]:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("network", help="like torchvision:vgg16, or FILE.py:FACTORY")
    parser.add_argument("images", help="folder, table or .npz file")
    parser.add_argument("--metric", default="average-drop")
    parser.add_argument("--layer", default="last", help="the paper's: the last convolution")
    parser.add_argument("--max-cost", type=int, default=4)
    parser.add_argument("--budget", default="30m", help="of each of the two searches")
    parser.add_argument("--search-images", type=int, default=64)
    parser.add_argument("--heldout-images", type=int, default=256)
    parser.add_argument("--out", type=Path, default=Path("runs/paper"))
    given = parser.parse_args(arguments)

    results = {
        name: sycam.synthesize(
            given.network,
            given.layer,
            given.images,
            given.metric,
            "gradient",  # the paper's space: weights of gradients, activations and score changes
            max_cost=given.max_cost,
            budget=int(given.budget) if given.budget.isdigit() else given.budget,
            scope="per-class",
            search_images=given.search_images,
            heldout=given.heldout_images,
            out=given.out / name,
            **how,
        )
        for name, how in SEARCHES.items()
    }
    for name, result in results.items():
        search, best = result.record.search, result.best
        print(f"{name:8} {search.candidates} candidates, stopped by the {search.stopped}")
        if best is None or best.heldout is None:
            print("         no winner")
            continue
        print(
            f"         {best.expression}, search {best.score:.4f}, held out {best.heldout.mean:.4f}"
        )
        for one in result.record.classes.classes if result.record.classes else ():
            print(
                f"         class {one.label}: {one.expression}, {one.search_images} search images"
            )
        print(f"         beats every published CAM, held out: {result.validation.beats_published}")
    return results


if __name__ == "__main__":
    main()
