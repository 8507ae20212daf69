"""The pictures of the pages on ensembles, noise, adversarial training and masks from labels.

    python benchmarks/applications.py [ensemble noise noise_levels attacks segmentation]
        [--out docs/pictures]

Each is drawn by the application itself, with the true masks or classes in it: an attack on the
photographs of ``gallery.py`` by MobileNet v1, whose weights are not part of the project
(``SYCAM_DATA``), all others on the embedded demo's scenes; the segmenter is trained here, which
takes a minute.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from gallery import DEMO, GRAINY, MOBILENET, drawn, parser_of, photographs, rows_of, small
from hot_spots import with_imagenet_names
from torch import Tensor

from sycam.applications import (
    adversarial_images,
    ensemble,
    robustness,
    segmentation_scores,
    train_segmenter,
)
from sycam.data.images import ImageSet
from sycam.drawing.overlays import draw_grid
from sycam.metrics.robustness.noise import Noise
from sycam.networks import open_network
from sycam.problem.explained_network import ExplainedNetwork
from sycam.problem.images import demo_images

LAYER = "features.8"  # of the demo's network
SCENES = 192  # a third of which choose the ensemble, the others judge
VOTING = ("grad-cam", "layer-cam", "hirescam", "grad-cam++")
STEADY = {"HiResCAM": "hirescam", "LayerCAM": "layer-cam", "random weights": "random-weights"}
NOISES = (Noise("gaussian", 0.2), Noise("salt-and-pepper", 0.2))
GRAINIER, HALF = 0.6, 0.5  # shares of the side that pictures full of noise keep
SHOWN = 119  # the scene that is shown under noise


def draw_ensemble(out: Path) -> Path:
    with tempfile.TemporaryDirectory() as folder:
        found = ensemble(
            "demo", LAYER, "demo", "iou", VOTING, percents=(10, 20, 40, 100),
            search_images=SCENES // 3, heldout=2 * SCENES // 3, examples=3, out=folder,
            progress=False,
        )  # fmt: skip
        print(found)
        return small(found.plot().save(out / "ensemble.png"), GRAINY)


def copies(image: ImageSet) -> Mapping[str, Tensor]:
    """The scene as it is, and under noise."""
    _, context = ExplainedNetwork.prepare("demo", LAYER, image).measure(image)
    noisy = {f"{one.kind} {one.level:g}": one.applied(context) for one in NOISES}
    return {"as it is": image.images, **noisy}


def draw_noise(out: Path) -> Path:
    """Each copy explained by the digit that is predicted on it."""
    image = demo_images("heldout", SCENES, 0).subset([SHOWN])
    found = replace(DEMO, layers=(LAYER,), columns=STEADY, metric="iou")
    module, rows = open_network("demo").module.eval(), []
    for caption, pixels in copies(image).items():
        copy = replace(image, images=pixels)
        with torch.no_grad():
            digit = int(module(pixels).argmax())
        said = f"digit {int(image.labels)}, {caption}\npredicted: {digit}"
        (row,), *_ = rows_of(found, copy, [said])
        rows.append(row)
    return small(draw_grid(rows, out / "noise.png"), GRAINIER)


def draw_noise_levels(out: Path) -> Path:
    methods = list(STEADY.values())
    found = robustness("demo", LAYER, "demo", methods, count=64, progress=False)
    print(found)
    return small(found.plot().save(out / "noise_levels.png"))


def draw_attacks(out: Path) -> Path:
    images = photographs()
    network = with_imagenet_names(MOBILENET.network())
    with torch.no_grad():
        labels = network.module.eval()(images.images).argmax(1)
    found = adversarial_images(
        network, replace(images, labels=labels), "layer-cam", layer="blocks.10", eps="4/255",
        eps_low=0, progress=False,
    )  # fmt: skip
    print(found)
    return small(found.plot().save(out / "attacks.png"))


def draw_segmentation(out: Path) -> Path:
    trained = train_segmenter("demo", "demo", "digit", count=512, progress=False)
    cams = ["grad-cam", "layer-cam@features.5"]
    scores = segmentation_scores(trained, "demo", cams, count=128, progress=False)
    print(scores)
    few = replace(scores, examples=scores.examples[::2])
    return small(few.plot().save(out / "segmentation.png"), HALF)


PARTS = {
    "ensemble": draw_ensemble,
    "noise": draw_noise,
    "noise_levels": draw_noise_levels,
    "attacks": draw_attacks,
    "segmentation": draw_segmentation,
}


def make_parser() -> argparse.ArgumentParser:
    return parser_of(PARTS, __doc__.splitlines()[0])


def main(arguments: Sequence[str] | None = None) -> list[Path]:
    return drawn(PARTS, make_parser(), arguments)


if __name__ == "__main__":
    main()
