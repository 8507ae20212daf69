"""A researcher with a fine-tuned torchvision ResNet-50 and a folder per class of validation images.

    python examples/fine_tuned_resnet50.py best.pth val/ [--budget 30m] [--out runs/resnet50]

Which published CAM is most faithful on this network, is there a better formula, and what
does it cost on metrics that were not optimised? Then the class for the paper's code.
"""

from __future__ import annotations

import argparse

import sycam
from sycam.export import export


def main(arguments: list[str] | None = None) -> sycam.Result:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", help="state dict of the fine-tuned network")
    parser.add_argument("images", help="folder with a folder per class, in the order of training")
    parser.add_argument("--metric", default="road")
    parser.add_argument("--budget", default="30m")
    parser.add_argument("--search-images", type=int, default=64)
    parser.add_argument("--heldout-images", type=int, default=256)
    parser.add_argument("--size", type=int, help="if you did not train at 224")
    parser.add_argument("--out", default="runs/resnet50")
    given = parser.parse_args(arguments)

    # The checkpoint says how many classes there are; the folders' sorted order is torchvision's.
    network = f"torchvision:resnet50@{given.checkpoint}"
    size = {} if given.size is None else {"size": given.size, "resize": given.size}
    result = sycam.synthesize(
        network,
        "auto",
        sycam.load_images(
            given.images, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), **size
        )
        if size
        else given.images,
        metric=given.metric,
        max_cost=3,
        budget=int(given.budget) if given.budget.isdigit() else given.budget,
        search_images=given.search_images,
        heldout=given.heldout_images,
        out=given.out,
    )
    for row in result.validation.rows:
        print(f"{row.name:32} {row.kind:10} {row.heldout.mean:.4f}")
    print("beats every published CAM, held out:", result.validation.beats_published)
    print(export(result, result.path / "my_cam.py", "MyCAM"))
    return result


if __name__ == "__main__":
    main()
