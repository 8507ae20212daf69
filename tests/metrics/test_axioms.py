"""XGrad-CAM's axioms by hand, and on networks where they hold exactly."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import sycam
from sycam.data.images import ImageSet
from sycam.errors import OptionError
from sycam.language import parse
from sycam.metrics import find_metric
from sycam.problem.explained_network import ExplainedNetwork
from sycam.scoring.scorer import Scorer

AXIOMS = ("sensitivity-axiom", "conservation-axiom")
XGRAD = "sum(G * A) / sum(A)"
TEXTS = ["mean(G)", XGRAD, "mean(A)"]


def linear_after(*layers, places=4, channels=2):
    network = nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels * places, 2))
    for parameter in network.parameters():
        parameter.data.fill_(0)
    return network.eval()


@pytest.fixture
def by_hand():
    """``y = sum(A_1) + 2 A_2[0,0] + 3`` at A_1 = [[1, 2], [3, 4]], A_2 = [[1, 0], [0, 1]]."""
    network = linear_after(nn.Identity())
    network[2].weight.data[0] = torch.tensor([1.0, 1, 1, 1, 2, 0, 0, 0])
    network[2].bias.data[0] = 3
    return network, torch.tensor([[[[1.0, 2], [3, 4]], [[1, 0], [0, 1]]]])


def test_axioms_by_hand(by_hand, score):
    network, image = by_hand
    # y = 15 and d = (10, 2); totals are (10, 0.5 * 2) for Grad-CAM, (10, 2) for XGrad-CAM, and
    # (2.5 * 10, 0.5 * 2) for the mean of the activations.
    sensitivity = score("sensitivity-axiom", network, image, TEXTS, layer="0")
    conservation = score("conservation-axiom", network, image, TEXTS, layer="0")
    assert sensitivity[:, 0].tolist() == pytest.approx([1 / 12, 0, (15 + 1) / 12], abs=1e-6)
    assert conservation[:, 0].tolist() == pytest.approx([4 / 15, 3 / 15, 11 / 15], abs=1e-6)


def test_a_score_of_zero_is_defined(by_hand, score):
    network, image = by_hand
    network[2].weight.data.fill_(0)
    network[2].bias.data.fill_(0)
    for name in AXIOMS:
        found = score(name, network, image, ["mean(G)", "mean(A)"], layer="0", target=0)
        assert found[:, 0].tolist() == [0, 1]


def relu_network(*above, channels=6):
    torch.manual_seed(8)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1),
        nn.ReLU(),
        *above,
        nn.Flatten(),
        nn.Linear(channels * 256, 4, bias=False),
    ).eval()


def test_xgrad_cam_fulfils_both_where_the_score_is_linear_in_the_layer(small_images, score):
    for target in (0, 3):
        for name in AXIOMS:
            found = score(name, relu_network(), small_images, TEXTS, layer="1", target=target)
            assert (found[1] < 1e-4).all()
            assert (found[[0, 2]] > 0.01).all()


def test_xgrad_cam_is_conservative_below_any_relu_network_without_biases(small_images, score):
    network = relu_network(nn.Conv2d(6, 4, 3, padding=1, bias=False), nn.ReLU(), channels=4)
    conservation = score("conservation-axiom", network, small_images, [XGRAD], layer="1")
    assert (conservation < 1e-4).all()
    sensitivity = score("sensitivity-axiom", network, small_images, [XGRAD], layer="1")
    assert (sensitivity > 0.01).all()


@pytest.mark.parametrize("target", [0, 1, 2, 3, 4])
def test_drops_of_the_score_itself_are_fully_sensitive(target, small_network, small_images, score):
    """D is relative to the score, of either sign: D y is the drop, on any network."""
    found = score(
        "sensitivity-axiom", small_network, small_images, ["D * y / sum(A)"], target=target
    )
    assert (found < 1e-4).all()


def test_the_scale_of_the_weights_counts(small_network, small_images, score):
    for name in AXIOMS:
        one, two = score(name, small_network, small_images, ["mean(G)", "2 * mean(G)"])
        assert not torch.allclose(one, two, rtol=0.01)


def test_heats_have_no_weights(small_network, small_images):
    image_set = ImageSet.from_arrays(small_images)
    explained = ExplainedNetwork.prepare(small_network, "3", image_set)
    metric = find_metric("conservation-axiom")
    scorer = Scorer(metric, *explained.measure(image_set))
    heat, weight = scorer.score([parse("channelsum(relu(G * A))"), parse("mean(G)")])
    assert not heat.finite
    assert weight.finite
    with pytest.raises(OptionError, match="grad-cam-elementwise does not have"):
        sycam.evaluate(small_network, "3", small_images, ["grad-cam-elementwise"], AXIOMS)


def test_several_layers_are_refused(small_network, small_images):
    with pytest.raises(OptionError, match="at one layer, not for several"):
        sycam.evaluate(small_network, ["1", "3"], small_images, ["grad-cam"], AXIOMS)
