"""The frozen copy that scores perturbed images: the plain network's probabilities."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from sycam.errors import NetworkError
from sycam.evidence import Classifier


@pytest.mark.parametrize("batch", [None, 1, 3, 7, 100])
def test_probabilities_are_the_plain_networks(small_network, small_images, batch):
    targets = torch.tensor([0, 1, 2, 3, 4, 0, 1])
    with torch.no_grad():
        expected = small_network(small_images).softmax(1).gather(1, targets[:, None])[:, 0]
    classifier = Classifier(small_network, batch=batch)
    found = classifier.probability(small_images, targets)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    assert found.dtype == torch.float32
    assert classifier.passes == 7
    assert classifier.probability(small_images[:0], targets[:0]).shape == (0,)


def test_one_output_is_a_sigmoid(small_network, small_images):
    network = nn.Sequential(*small_network, nn.Linear(5, 1))
    with torch.no_grad():
        expected = network(small_images)[:, 0].sigmoid()
    found = Classifier(network).probability(small_images, torch.zeros(7, dtype=torch.long))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_the_users_network_is_left_alone():
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3),
        nn.BatchNorm2d(4),
        nn.Dropout(0.5),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, 2),
    ).train()
    kept = {k: v.clone() for k, v in network.state_dict().items()}
    strides = [p.stride() for p in network.parameters()]
    random = torch.get_rng_state()
    images, targets = torch.rand(9, 3, 8, 8), torch.zeros(9, dtype=torch.long)
    random = torch.get_rng_state()
    classifier = Classifier(network)
    first = classifier.probability(images, targets)
    assert torch.equal(classifier.probability(images, targets), first)  # no dropout in the copy
    assert network.training
    assert all(m.training for m in network.modules())
    assert all(p.requires_grad and p.grad is None for p in network.parameters())
    assert [p.stride() for p in network.parameters()] == strides
    assert all(torch.equal(v, kept[k]) for k, v in network.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)
    # Nor does the copy follow the original afterwards.
    with torch.no_grad():
        network[5].weight.zero_()
    assert torch.equal(classifier.probability(images, targets), first)


def test_a_network_that_views_its_activations(small_images):
    """``view`` refuses the channels-last layout; such networks once failed here, and only here."""

    class Views(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.head = nn.Conv2d(3, 4, 3, padding=1), nn.Linear(4 * 256, 5)

        def forward(self, x):
            x = F.relu(self.conv(x))
            return self.head(x.view(x.size(0), -1))

    network = Views().eval()
    targets = torch.tensor([0, 1, 2, 3, 4, 0, 1])
    with torch.no_grad():
        expected = network(small_images).softmax(1).gather(1, targets[:, None])[:, 0]
    classifier = Classifier(network, batch=3)
    found = classifier.probability(small_images, targets)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    assert classifier.passes == 7


def test_failures_are_the_networks(small_network):
    classifier = Classifier(small_network)
    targets = torch.zeros(2, dtype=torch.long)
    with pytest.raises(NetworkError, match=r"failed on images of shape \(2, 5, 16, 16\)"):
        classifier.probability(torch.rand(2, 5, 16, 16), targets)
    with pytest.raises(NetworkError, match="NaN or infinite class scores"):
        classifier.probability(torch.full((2, 3, 16, 16), torch.nan), targets)


def test_a_network_that_cannot_be_copied(small_network):
    small_network.generator = (i for i in range(3))
    with pytest.raises(NetworkError, match="the network cannot be copied: TypeError"):
        Classifier(small_network)
