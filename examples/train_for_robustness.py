"""Somebody whose classifier must withstand small changes trains it adversarially, by a CAM (PART).

    python examples/train_for_robustness.py [--cam layer-cam] [--eps 0.15] [--out robust]

On scikit-learn's digits, so that it takes a minute: the same network by plain adversarial training
and by PART, both measured on digits that neither saw, and a picture of what an attack does.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from sklearn.datasets import load_digits
from torch import nn

from sycam import ImageSet
from sycam.applications import PartResult, adversarial_images, part

LAYER = "4"  # of the network below, after the ReLU of its second convolution


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(),
        nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(512, 10),
    )  # fmt: skip


def main(arguments: list[str] | None = None) -> dict[str, PartResult]:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cam", default="grad-cam", help="a method, a formula, a run's folder")
    parser.add_argument("--eps", default="0.15")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--train", type=int, default=1000)
    parser.add_argument("--out", type=Path, default=Path("robust"))
    given = parser.parse_args(arguments)

    digits = load_digits()
    pixels = torch.tensor(digits.images / 16, dtype=torch.float32)[:, None]
    train = ImageSet.from_arrays(pixels[: given.train], digits.target[: given.train])
    test = ImageSet.from_arrays(pixels[1200:], digits.target[1200:])

    results = {}
    for cam in (None, given.cam):
        name = "plain" if cam is None else "part"
        results[name] = part(
            network(), train, cam, layer=LAYER, test=test, eps=given.eps, epochs=given.epochs,
            warm_up=given.epochs // 4, batch=64, learning_rate=0.05, out=given.out / name,
        )  # fmt: skip
        print(results[name], end="\n\n")

    few = test.subset(range(6))
    attacked = adversarial_images(
        results["part"].module, few, given.cam, layer=LAYER, eps=given.eps, eps_low=0
    )
    print(attacked)
    attacked.plot().save(given.out / "attacked.png")
    return results


if __name__ == "__main__":
    main()
