"""Networks with images and masks that the benchmarks score heatmaps on."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import torch
from imputation import natural_images

from sycam.data.images import ImageSet, load_images
from sycam.problem.explained_network import ExplainedNetwork
from sycam.problem.images import demo_images

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))
OWN = {"resnet20": "cifar10", "squeezenet": "squeezenet"}  # trained, in benchmarks/networks/
LAYERS = {
    "demo": "auto",
    "resnet20": "layer2",
    "squeezenet": "fire9",
    "squeezenet1_1": "features.12",
    "mobilenet_v2": "features.18",
    "resnet50": "layer4",
}


def images_for(network: str, count: int) -> ImageSet:
    """Images of the network's size: real ones for the trained networks, else noise with a natural
    spectrum; each with a disc as its mask."""
    if network == "demo":
        found = demo_images("heldout", count, 0).images
    elif network == "resnet20":
        data = ROOT / os.environ.get("SYCAM_DATA", "../shared/data")
        found = load_images(data / "cifar10" / "test_lossless_500.npz").images[:count]
    else:
        found = natural_images(min(count, 16), 227 if network == "squeezenet" else 224)
    found = found[torch.arange(count) % len(found)]
    # No image twice: noise is drawn, and evidence kept, by content.
    found = found + 1e-3 * torch.arange(count)[:, None, None, None]
    side = torch.linspace(-1, 1, found.shape[-1])
    disc = side[:, None] ** 2 + side**2 < 0.3
    return ImageSet.from_arrays(found, masks=disc.expand(count, -1, -1))


def subject_of(network: str, images: ImageSet) -> ExplainedNetwork:
    """A network by name: demo, resnet20 (CIFAR-10), squeezenet (ImageNet), or torchvision's with
    random weights."""
    if network == "demo":
        source: object = "demo"
    elif network in OWN:
        source = f"{ROOT / 'benchmarks' / 'networks' / OWN[network]}.py:{network}"
    else:
        from torchvision_ops import import_torchvision

        import_torchvision()  # its compiled operators may not load
        import torchvision

        torch.manual_seed(0)
        source = getattr(torchvision.models, network)(weights=None).eval()
    return ExplainedNetwork.prepare(source, LAYERS[network], images)
