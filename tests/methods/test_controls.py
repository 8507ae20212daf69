"""The controls of every leaderboard: random weights, edges, a centre blob."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from sycam.evidence import Evidence, measure
from sycam.inference import Classifier
from sycam.methods import find_method
from sycam.metrics import Context

DIGESTS = [f"{i:064x}" for i in range(7)]


def run(
    name: str, network: nn.Module, images: Tensor, digests: list[str] = DIGESTS, seed: int = 0
) -> Tensor:
    """``[N,H,W]`` heatmaps of a method."""
    evidence, context = prepared(network, images, digests, seed)
    found = find_method(name).heatmaps(evidence, context)
    assert found.maps.shape == (1, *images.shape[:1], *images.shape[2:])
    assert found.degenerate.shape == (1, len(images))
    assert found.finite.tolist() == [True]
    assert found.maps.min() >= 0
    assert found.maps.max() <= 1
    return found.maps[0]


def prepared(
    network: nn.Module, images: Tensor, digests: list[str], seed: int = 0
) -> tuple[Evidence, Context]:
    evidence = measure(network, network[3], images)
    classifier = Classifier(network)
    context = Context(
        images, evidence.targets, evidence.probability, classifier, digests, seed=seed
    )
    return evidence, context


def test_random_weights_depend_on_content_and_seed_alone(small_network, small_images):
    first = run("random-weights", small_network, small_images)
    torch.rand(5)
    assert torch.equal(run("random-weights", small_network, small_images), first)
    order = [4, 0, 6, 1]
    some = run("random-weights", small_network, small_images[order], [DIGESTS[i] for i in order])
    torch.testing.assert_close(some, first[order], rtol=0, atol=1e-6)
    assert not torch.equal(run("random-weights", small_network, small_images, seed=1), first)
    twins = small_images[:1].expand(2, -1, -1, -1)
    same = run("random-weights", small_network, twins, [DIGESTS[0]] * 2)
    torch.testing.assert_close(same[0], same[1], rtol=0, atol=1e-6)
    other = run("random-weights", small_network, twins, DIGESTS[:2])
    assert (other[0] - other[1]).abs().max() > 0.01


def test_random_weights_are_of_either_sign(small_network, small_images):
    evidence, context = prepared(small_network, small_images, DIGESTS)
    ones = Evidence(
        torch.eye(6).view(1, 6, 6, 1).expand(7, 6, 6, 6).contiguous(),
        evidence.gradients,
        evidence.outputs,
        evidence.targets,
    )
    maps = find_method("random-weights").heatmaps(ones, context).maps[0]
    dark = (maps == 0).float().mean()
    assert 0.2 < dark < 0.8  # rows of negative weights are cut by the ReLU


def test_edges_are_where_the_picture_changes(small_network):
    images = torch.zeros(3, 3, 16, 16)
    images[0, :, :, 8:] = 1  # an upright edge between columns 7 and 8
    images[1, :, 5:, :] = 1  # a level one between rows 4 and 5
    maps = run("sobel-edges", small_network, images, DIGESTS[:3])
    assert torch.equal(maps[0, :, 7:9], torch.ones(16, 2))
    assert maps[0].sum() == 32
    assert torch.equal(maps[1, 4:6], torch.ones(2, 16))
    assert maps[1].sum() == 32
    assert not maps[2].any()  # and no edge along the picture's border
    evidence, context = prepared(small_network, images, DIGESTS[:3])
    flags = find_method("sobel-edges").heatmaps(evidence, context).degenerate
    assert flags.tolist() == [[False, False, True]]


def test_edges_do_not_see_brightness(small_network, small_images):
    maps = run("sobel-edges", small_network, small_images)
    torch.testing.assert_close(
        run("sobel-edges", small_network, small_images * 3 + 5), maps, rtol=0, atol=1e-4
    )


@pytest.mark.parametrize("size", [(16, 16), (16, 8)])
def test_the_centre_prior_is_a_centred_blob(small_images, size):
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),
        nn.ReLU(),
        nn.Identity(),
        nn.Identity(),
        nn.Flatten(),
        nn.Linear(4 * size[0] * size[1], 3),
    )
    maps = run("centre-prior", network, small_images[..., : size[0], : size[1]])
    assert torch.equal(maps, maps[:1].expand_as(maps))
    one = maps[0]
    # To the last bit: places as far from the centre tie where pixels are ranked.
    assert torch.equal(one, one.flip(0))
    assert torch.equal(one, one.flip(1))
    assert size[0] != size[1] or torch.equal(one, one.T)
    assert one.max() == 1
    middle = one[size[0] // 2]
    assert (middle[: size[1] // 2].diff() > 0).all()
    assert one[0, 0] == one.min() == 0
    assert one[size[0] // 2, size[1] // 2] == 1


def test_volumes():
    """A control sees a volume as it sees its slices, where they are all alike."""
    torch.manual_seed(0)
    flat = torch.rand(2, 1, 8, 9)
    deep = flat[:, :, None].expand(-1, -1, 5, -1, -1).contiguous()
    layers = [nn.Conv3d(1, 4, 3, padding=1), nn.ReLU(), nn.Identity(), nn.Identity()]
    network = nn.Sequential(*layers, nn.Flatten(), nn.Linear(4 * 5 * 72, 3))
    edges = run("sobel-edges", network, deep, DIGESTS[:2])
    plain = nn.Sequential(nn.Conv2d(1, 4, 1), *layers[1:], nn.Flatten(), nn.Linear(4 * 72, 3))
    expected = run("sobel-edges", plain, flat, DIGESTS[:2])
    torch.testing.assert_close(edges, expected[:, None].expand_as(edges), rtol=0, atol=1e-5)
    blob = run("centre-prior", network, deep, DIGESTS[:2])
    assert blob[0].argmax() == 2 * 72 + 4 * 9 + 4 or blob[0].argmax() == 2 * 72 + 3 * 9 + 4
    assert blob[0, 0, 0, 0] == 0
    assert (blob[0, :3, 4, 4].diff() > 0).all()
    random = run("random-weights", network, deep, DIGESTS[:2])
    assert (random.amax((1, 2, 3)) == 1).all()


def test_direct_methods_survive_overflow(small_network, small_images):
    """No NaN reaches the metrics: the candidate is told to be not finite."""
    evidence, context = prepared(small_network, small_images, DIGESTS)
    big = Evidence(
        evidence.activations * 1e30, evidence.gradients * 1e30, evidence.outputs, evidence.targets
    )
    found = find_method("grad-cam++-lib").heatmaps(big, context)
    assert found.maps.isfinite().all()
    assert found.finite.tolist() == [False]


def test_an_image_whose_edges_overflow_is_told(small_network, small_images):
    evidence, context = prepared(small_network, small_images, DIGESTS)
    context = Context(
        small_images * 1e30, evidence.targets, evidence.probability, context.classifier, DIGESTS
    )
    found = find_method("sobel-edges").heatmaps(evidence, context)
    assert found.maps.isfinite().all()
    assert found.finite.tolist() == [False]
