"""Networks that return no classes: what a heatmap explains is a function of one row of outputs.

    python examples/detectors_segmentation_clip.py yolo photo.jpg [--size 320]

Recipes: faster-rcnn and deeplab (torchvision's, here with random weights: give yours), yolo and
clip (small modules of the same form). Each scores CAMs at a layer under a metric and draws the
best. docs/recipes.md explains the parts.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path

import matplotlib
import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

import sycam
from sycam.targets import Similarity

METHODS = ("grad-cam", "hirescam", "layer-cam", "random-weights")


class Yolo(nn.Module):
    """A one-stage detector: at each cell a box, an objectness and classes ``[N,5+classes,h,w]``."""

    def __init__(self, classes: int = 3):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 16, 3, 2, 1), nn.SiLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.SiLU(),
            nn.Conv2d(32, 32, 3, 2, 1), nn.SiLU(),
        )  # fmt: skip
        self.head = nn.Conv2d(32, 5 + classes, 1)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.body(images))


def best_cell(label: int) -> Callable[[Tensor], Tensor]:
    """The objectness times class probability of the cell that is surest of a class."""
    return lambda row: (row[4].sigmoid() * row[5 + label].sigmoid()).max()


def best_box(
    label: int, place: Tensor | None = None, overlap: float = 0.5
) -> Callable[[Mapping[str, Tensor]], Tensor]:
    """The score of the surest box of a class; of those that overlap a place ``[4]``, if one is
    given. 0 where there is none."""
    from torchvision.ops import box_iou

    def score(row: Mapping[str, Tensor]) -> Tensor:
        found = row["labels"] == label
        if place is not None:
            found &= box_iou(place[None], row["boxes"])[0] >= overlap
        return row["scores"][found].max() if found.any() else row["scores"].sum() * 0

    return score


def share_of_class(label: int) -> Callable[[Mapping[str, Tensor]], Tensor]:
    """The mean probability of a class over the pixels, of a segmentation network's ``out``."""
    return lambda row: row["out"].softmax(0)[label].mean()


class ImageEncoder(nn.Module):
    """The image half of a CLIP-like pair: ``[N,3,H,W]`` to features ``[N,D]``."""

    def __init__(self, width: int = 16):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 16, 5, 4, 2), nn.GELU(), nn.Conv2d(16, 32, 3, 2, 1), nn.GELU()
        )
        self.project = nn.Linear(32, width)

    def forward(self, images: Tensor) -> Tensor:
        return self.project(self.body(images).mean((2, 3)))


class TextEncoder(nn.Module):
    """The text half: a mean over the prompt's bytes."""

    def __init__(self, width: int = 16):
        super().__init__()
        self.bytes = nn.Embedding(256, width)

    def forward(self, prompt: str) -> Tensor:
        return self.bytes(torch.tensor(list(prompt.encode()))).mean(0)


def with_statistics(part: nn.Module, images: Tensor) -> None:
    """Random weights know no batch statistics, without which the signal fades: a pass learns them.
    Leave it out for weights that were trained."""
    for module in part.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        part.train()(images)


def faster_rcnn(images: Tensor) -> tuple[nn.Module, str, Callable]:
    from torchvision.models.detection import fasterrcnn_mobilenet_v3_large_320_fpn

    side = images.shape[-1]
    # No threshold: the score of a box that is removed bit by bit shall fall, not vanish.
    network = fasterrcnn_mobilenet_v3_large_320_fpn(
        weights=None, weights_backbone=None, num_classes=4, min_size=side, max_size=side,
        box_score_thresh=0.0, rpn_score_thresh=0.0, rpn_post_nms_top_n_test=50,
    )  # fmt: skip
    with_statistics(network.backbone, network.transform(list(images))[0].tensors)
    return network.eval(), "backbone.body.16", best_box(1)


def deeplab(images: Tensor) -> tuple[nn.Module, str, Callable]:
    from torchvision.models.segmentation import deeplabv3_mobilenet_v3_large

    network = deeplabv3_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=4)
    with_statistics(network, images)
    return network.eval(), "backbone.16", share_of_class(1)


def yolo(images: Tensor) -> tuple[nn.Module, str, Callable]:
    return Yolo().eval(), "body.4", best_cell(1)


def clip(images: Tensor) -> tuple[nn.Module, str, Callable]:
    text = TextEncoder()
    target = Similarity(text("a photo of a cat").detach(), text("a photo of a dog").detach())
    return ImageEncoder().eval(), "body.2", target


RECIPES = {"faster-rcnn": faster_rcnn, "deeplab": deeplab, "yolo": yolo, "clip": clip}


def main(arguments: list[str] | None = None) -> sycam.Table:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipe", choices=RECIPES)
    parser.add_argument("photos", nargs="+", type=Path)
    parser.add_argument("--size", type=int, default=320)
    parser.add_argument("--metric", default="top-k-drop")
    parser.add_argument("--out", type=Path, default=Path("explained.png"))
    given = parser.parse_args(arguments)

    side = given.size, given.size
    pictures = [np.asarray(Image.open(p).convert("RGB").resize(side)) for p in given.photos]
    images = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 255
    torch.manual_seed(0)
    network, layer, target = RECIPES[given.recipe](images)

    table = sycam.evaluate(network, layer, images, METHODS, [given.metric], target=target)
    print(table)
    means = {name: table.scores[name, given.metric].mean() for name in METHODS}
    best = max(means, key=lambda name: means[name])
    with sycam.CAM(network, layer, best) as cam:
        heatmaps = cam(images, targets=target)
    heat = matplotlib.colormaps["inferno"](heatmaps.numpy())[..., :3] * 255
    shown = (0.5 * np.stack(pictures) + 0.5 * heat).astype(np.uint8)
    Image.fromarray(np.concatenate(list(shown), 1)).save(given.out)
    return table


if __name__ == "__main__":
    main()
