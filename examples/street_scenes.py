"""A traffic engineer with photographs of streets, a folder per class, and masks of what counts.

    python examples/street_scenes.py nets.py:resnet scenes/ --masks objects/ --layer layer4

Attention is learnt on top of the network, on every second image. On the others: how accurate are
both, and which features of a scene decide the class? What LayerCAM marks is removed, as far as the
masks mark it (what a driver can be told of), and the network is asked again. The pictures are in
``--out``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import nn

import sycam
from sycam.applications import AblationResult, AttentionNetwork, ablate
from sycam.data.images import ImageSet


def learn(network: AttentionNetwork, images: ImageSet, steps: int) -> None:
    """Train the gates; the backbone is frozen."""
    optimiser = torch.optim.Adam(network.learnt(), lr=1e-3)
    network.train()
    for _ in range(steps):
        chosen = torch.randperm(len(images))[:32]
        loss = nn.functional.cross_entropy(network(images.images[chosen]), images.labels[chosen])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    network.eval()


@torch.no_grad()
def accuracy(network: nn.Module, images: ImageSet) -> float:
    return (network(images.images).argmax(1) == images.labels).float().mean().item()


def main(arguments: list[str] | None = None) -> dict[str, AblationResult]:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("network", help="FILE.py:FACTORY, torchvision:NAME or timm:NAME")
    parser.add_argument("images", help="folder with a folder per class")
    parser.add_argument("--masks", help="folder of PNG masks: objects that may be told of")
    parser.add_argument("--layer", default="auto")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--out", type=Path, default=Path("spots"))
    given = parser.parse_args(arguments)

    torch.manual_seed(0)
    backbone = sycam.open_network(given.network).module.eval()
    images = sycam.load_images(
        given.images, size=given.size, labels="sorted", masks=given.masks,
        mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225),
    )  # fmt: skip
    learnt, unseen = (images.subset(range(first, len(images), 2)) for first in (0, 1))
    gated = AttentionNetwork(backbone, given.layer, learnt.images[:4])
    learn(gated, learnt, given.steps)

    found = {}
    for name, network, layer in (
        ("backbone", backbone, gated.layer),
        ("attention", gated, f"backbone.{gated.layer}"),
    ):
        result = ablate(
            network, layer, unseen, "layer-cam", allowed=given.masks is not None,
            out=given.out / name,
        )  # fmt: skip
        print(f"{name}: {accuracy(network, unseen):.1%} of the images that trained nothing")
        print(f"  {result.headlines[0]}")
        found[name] = result
    return found


if __name__ == "__main__":
    main()
