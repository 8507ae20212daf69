"""The demo's network: a small CNN that reads the digit in a scene, with its weights.

Its head is fully connected on a spatial feature map. With global average pooling in its place the
gradient at the last convolution would be constant over space and the published CAMs would
coincide; here they differ.
"""

from __future__ import annotations

from importlib import resources

import numpy as np
import torch
from safetensors.torch import load as load_safetensors
from torch import nn

from sycam.data.demo.scenes import CLASS_NAMES, SIDE

MEAN = (0.38, 0.36, 0.34)
"""Per channel (R, G, B), what a loader subtracts from images scaled to 0..1; fixed constants."""

STD = (0.27, 0.25, 0.25)
"""Per channel (R, G, B), what a loader then divides by; fixed constants."""

LAYER = "features.5"
"""The layer to explain: the finest map whose receptive field spans a stroke, [N, 32, 16, 16],
after its ReLU. Max pooling comes next, so that only the largest of each 2×2 places has a gradient:
the published CAMs are patchy here, and formulas differ more than at the last map, ``features``."""

WEIGHTS = "weights.safetensors"


class DemoNet(nn.Module):
    """Six convolutions, then two fully connected layers on the 8×8 map.

    ``features`` ends in a ReLU, so a hook on it sees non-negative activations. No operation works
    in place, and nothing behaves differently in training mode.
    """

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 16, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(32, 32, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(32, 48, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(48, 48, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(48, 48, 3, padding=1),
            nn.ReLU(),
        )
        cells = (SIDE // 8) ** 2
        self.head = nn.Sequential(
            nn.Flatten(), nn.Linear(48 * cells, 64), nn.ReLU(), nn.Linear(64, len(CLASS_NAMES))
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits [N, 10] of images [N, 3, 64, 64] normalised with :data:`MEAN`, :data:`STD`."""
        return self.head(self.features(images))


def network() -> DemoNet:
    """The trained network, in evaluation mode.

    It takes images [N, 3, 64, 64] that the caller has normalised, ``(x / 255 - MEAN) / STD`` for
    each channel (:func:`normalise` does so), and returns logits [N, 10].

    >>> from sycam.data.demo import normalise, scenes
    >>> network()(normalise(scenes("heldout", 2).images)).shape
    torch.Size([2, 10])
    """
    net = DemoNet()
    packed = resources.files("sycam.data.demo").joinpath(WEIGHTS).read_bytes()
    net.load_state_dict(load_safetensors(packed))
    return net.eval()


def normalise(images: np.ndarray | torch.Tensor) -> torch.Tensor:
    """Images uint8 [N, 64, 64, 3] as the network takes them: float32 [N, 3, 64, 64].

    The result is in channels-last memory format, the faster one on CPUs.
    """
    pixels = torch.as_tensor(images).permute(0, 3, 1, 2).to(torch.float32)
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, STD))
    return (pixels / 255.0 - mean) / std
