"""Somebody who has pytorch-grad-cam code, and wants a better CAM in it.

    python examples/better_cam_for_grad_cam.py

The code around it stays: the class that SyCAM writes is a ``BaseCAM``, and its own ROAD decides. On
the embedded demo; put your network, layer and images in its place.
"""

from __future__ import annotations

import argparse
import importlib.util

import numpy as np

import sycam
from sycam.data import demo
from sycam.export import export


def main(arguments: list[str] | None = None) -> dict[str, float]:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--budget", default="90s")
    parser.add_argument("--search-images", type=int, default=64)
    parser.add_argument("--heldout-images", type=int, default=64)
    parser.add_argument("--count", type=int, default=16, help="images for pytorch-grad-cam's ROAD")
    given = parser.parse_args(arguments)
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.metrics.road import ROADCombined
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputSoftmaxTarget

    model = demo.network()
    layers = [model.get_submodule(demo.LAYER)]
    scenes = demo.scenes("heldout", given.count)
    images = demo.normalise(scenes.images)
    targets = [ClassifierOutputSoftmaxTarget(int(c)) for c in model(images).argmax(1)]

    # What was there before.
    with GradCAM(model=model, target_layers=layers) as cam:
        before = cam(input_tensor=images, targets=targets)

    # One search, one file, one other name.
    result = sycam.synthesize(
        model,
        demo.LAYER,
        "demo",
        metric="road",
        max_cost=2,
        budget=int(given.budget) if given.budget.isdigit() else given.budget,
        search_images=given.search_images,
        heldout=given.heldout_images,
        out="runs/grad-cam",
    )
    path = export(result, result.path / "better_cam.py", "BetterCAM", base="grad-cam")
    spec = importlib.util.spec_from_file_location("better_cam", path)
    better = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(better)
    with better.BetterCAM(model=model, target_layers=layers) as cam:
        after = cam(input_tensor=images, targets=targets)

    road = ROADCombined(percentiles=[20, 50, 80])
    figures = {
        "GradCAM": float(np.mean(road(images, before, targets, model))),
        result.best.expression: float(np.mean(road(images, after, targets, model))),
    }
    for name, figure in figures.items():
        print(f"{name:32} ROADCombined {figure:.4f}")
    return figures


if __name__ == "__main__":
    main()
