"""The expensive leaves against their definitions, one channel at a time."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import mutual_info_score
from torch import Tensor, nn

from sycam.errors import LayerError, NetworkError
from sycam.evidence import MEASURED, Cache, Examples, Layer, add_leaves, measure, measure_leaves
from sycam.evidence.leaves.ablation import ablation_drops
from sycam.evidence.leaves.copies import noisy_copies, path_copies
from sycam.evidence.leaves.information import mutual_information
from sycam.evidence.leaves.masked import masked_scores
from sycam.language.operators import LEAVES
from sycam.targets import Contrast, Probability


def leaf(network: nn.Module, module: nn.Module, images: Tensor, name: str, target=None) -> Tensor:
    layer, examples = Layer("", module), Examples(images)
    evidence = measure(network, layer, images, target)
    found = add_leaves(evidence, [name], network, layer, examples, target).leaves[name]
    channels, *grid = evidence.activations.shape[1:]
    shape = {"weight": (channels, 1, 1), "map": (channels, *grid), "heat": (1, *grid)}
    sort = MEASURED[name].sort
    assert found.shape == (len(images), *shape[sort])
    return found[..., 0, 0] if sort == "weight" else found


def test_masked_scores_by_the_papers_loop(small_network, small_images):
    """Score-CAM, equations 3 to 5: f(x * s(up(A_k))), one mask at a time."""
    classes = small_network(small_images).argmax(1)
    activations = small_network[:4](small_images).detach()
    found = leaf(small_network, small_network[3], small_images, "masked_scores")
    for n, image in enumerate(small_images):
        for k in range(6):
            up = F.interpolate(
                activations[n, k][None, None], (16, 16), mode="bilinear", align_corners=False
            )[0, 0]
            span = up.max() - up.min()
            mask = (up - up.min()) / span if span > 0 else torch.zeros_like(up)
            expected = small_network((image * mask)[None])[0, classes[n]]
            torch.testing.assert_close(found[n, k], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("target", [None, 1, Probability(1), Contrast(1, references=(0, 2))])
def test_ablation_drops_by_the_papers_loop(small_network, small_images, target):
    """Ablation-CAM, equation 1, with the score of whatever target."""
    found = leaf(small_network, small_network[3], small_images, "ablation_drops", target)
    activations = small_network[:4](small_images).detach()
    outputs = small_network(small_images).detach()

    def score(rows: Tensor, n: int) -> Tensor:
        if target is None:
            return rows[outputs[n].argmax()]
        if target == 1:
            return rows[1]
        if isinstance(target, Probability):
            return rows.softmax(0)[1]
        return rows[1] - 0.6 * (rows[0] + rows[2]) / 2

    for n in range(len(small_images)):
        whole = score(outputs[n], n)
        for k in range(6):
            left = activations[n].clone()
            left[k] = 0
            expected = (whole - score(small_network[4:](left[None])[0], n)) / whole
            torch.testing.assert_close(found[n, k], expected, rtol=2e-4, atol=2e-5)


class Forked(nn.Module):
    """A skip connection around the layer that a single row cannot run through."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(2)
        self.stem, self.body = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 5, 3, padding=1)
        self.head = nn.Linear(9 * 256, 3)

    def forward(self, images: Tensor) -> Tensor:
        stem = self.stem(images).relu()
        return self.head(torch.cat([stem, self.body(stem).relu()], 1).flatten(1))


def test_ablation_around_a_skip_connection(small_images):
    """The shortcut of running what lies before the layer once must not change the result."""
    network = Forked().eval()
    found = leaf(network, network.body, small_images[:2], "ablation_drops", 1)
    stem = network.stem(small_images[:2]).relu()
    body = network.body(stem).detach()
    whole = network(small_images[:2])[:, 1]
    for k in range(5):
        left = body.clone()
        left[:, k] = 0
        score = network.head(torch.cat([stem, left.relu()], 1).flatten(1))[:, 1]
        torch.testing.assert_close(found[:, k], (whole - score) / whole, rtol=1e-4, atol=1e-5)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    grid=st.sampled_from([(1, 2), (3, 3), (5, 2)]),
    kind=st.sampled_from(["random", "constant", "spike", "binary"]),
)
def test_mutual_information_is_scikit_learns_of_the_same_bins(seed, grid, kind):
    generator = torch.Generator().manual_seed(seed)
    image = torch.randn(3, 9, 8, generator=generator)
    maps = torch.randn(4, *grid, generator=generator)
    if kind == "constant":
        maps = torch.full_like(maps, 0.3)
    elif kind == "spike":
        maps = torch.zeros_like(maps)
        maps[:, 0, 0] = 1e20
    elif kind == "binary":
        maps = (maps > 0).float()
    found = mutual_information(image, maps, batch=3)
    for k in range(4):
        up = F.interpolate(maps[k][None, None], (9, 8), mode="bilinear", align_corners=False)
        labels = []
        for values in (image.mean(0).flatten(), up.flatten()):
            v = values.numpy()
            span = v.max() - v.min()
            unit = (v - v.min()) / span if span > 0 else np.zeros_like(v)
            labels.append(np.minimum((unit * np.float32(32) + np.float32(1e-5)).astype(int), 31))
        expected = mutual_info_score(*labels)
        assert math.isclose(float(found[k]), expected, rel_tol=1e-5, abs_tol=1e-6)


def test_mutual_information_ignores_the_class(small_network, small_images):
    found = [
        leaf(small_network, small_network[3], small_images, "mutual_information", c) for c in (0, 1)
    ]
    assert torch.equal(*found)
    assert (found[0] > 0).any()


def test_batches_of_channels_do_not_matter(small_network, small_images):
    image, maps = small_images[0], small_network[:4](small_images)[0].detach()

    def score(images: Tensor) -> Tensor:
        return small_network(images).detach()[:, 2]

    whole = masked_scores(image, maps, score)
    for batch in (1, 4):
        torch.testing.assert_close(masked_scores(image, maps, score, batch), whole)
    assert (ablation_drops(torch.tensor(0.0), 3, lambda c: c.float()) == 0).all()


def pooled(head: nn.Module, *after: nn.Module) -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), head, *after).eval()


def test_class_weights_of_a_linear_head(small_images):
    linear = pooled(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4))
    found = leaf(linear, linear[1], small_images, "class_weights", 3)
    assert torch.equal(found, linear[4].weight[3].detach().expand(7, 6))
    convolution = pooled(nn.Conv2d(6, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    found = leaf(convolution, convolution[1], small_images, "class_weights")
    classes = convolution(small_images).argmax(1)
    assert torch.equal(found, convolution[2].weight[classes, :, 0, 0].detach())


def test_no_class_weights_without_such_a_head(small_network, small_images):
    evidence = measure(small_network, small_network[3], small_images)
    assert not MEASURED["class_weights"].had_by(small_network, evidence)
    with pytest.raises(LayerError, match="leaf C needs a linear head directly after"):
        leaf(small_network, small_network[3], small_images, "class_weights")
    # A head of the right shape behind another layer is none of this one's.
    hidden = pooled(nn.Conv2d(6, 6, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4))
    with pytest.raises(LayerError, match="leaf C needs"):
        leaf(hidden, hidden[1], small_images, "class_weights")


def hessian_product(head: nn.Module, activations: Tensor, score) -> Tensor:
    """H A by the full Hessian of one image, in float64."""
    flat = activations.double().flatten()
    head = head.double()

    def of(values: Tensor) -> Tensor:
        return score(head(values.view(1, *activations.shape))[0])

    hessian = torch.autograd.functional.hessian(of, flat)
    return (hessian @ flat).view(activations.shape).float()


def test_the_hessian_product_by_the_full_hessian(small_network, small_images):
    small_network.double()
    images = small_images[:2].double()
    evidence = measure(small_network, small_network[3], images, Probability(2), derivatives=2)
    for n in range(2):
        expected = hessian_product(
            small_network[4:], evidence.activations[n], lambda row: row.softmax(0)[2]
        )
        found = evidence.leaves["hessian_product"][n].float()
        assert expected.abs().max() > 0
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-9)


def test_the_hessian_vanishes_on_relu_networks_with_a_logit(small_images):
    """ShapleyCAM is Grad-CAM there, as METHODS and the authors say."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(784, 9), nn.ReLU(), nn.Linear(9, 3)
    ).eval()
    by_logit = measure(network, network[1], small_images, derivatives=2)
    assert not by_logit.leaves["hessian_product"].any()
    by_chance = measure(network, network[1], small_images, Probability(), derivatives=2)
    assert by_chance.leaves["hessian_product"].any()


@pytest.mark.parametrize(
    ("name", "copies"), [("noisy_gradients", noisy_copies), ("path_gradients", path_copies)]
)
def test_mean_gradients_copy_by_copy(small_network, small_images, name, copies):
    """Each copy by itself, for the class of the clean image whatever the copy shows."""
    classes = small_network(small_images).argmax(1)
    found = leaf(small_network, small_network[3], small_images, name)
    for n, image in enumerate(small_images):
        gradients = []
        for copy in copies(image):
            a = small_network[:4](copy[None]).detach().requires_grad_()
            small_network[4:](a)[0, classes[n]].backward()
            gradients.append(a.grad[0])
        expected = torch.stack(gradients).mean(0)
        torch.testing.assert_close(found[n], expected, rtol=1e-5, atol=1e-7)
    assert (found - measure(small_network, small_network[3], small_images).gradients).any()


def test_path_gradients_add_up_to_the_score(small_images):
    """Completeness: of a layer that is linear in the image, gradients along the path times
    activations are what the score gains from zeros to the image."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3, bias=False), nn.Softplus(), nn.Flatten(), nn.Linear(784, 3)
    ).eval()
    images, layer = small_images, network[0]
    found = leaf(network, layer, images, "path_gradients", 1)
    gains = (network(images) - network(torch.zeros_like(images)))[:, 1]
    total = (found * layer(images)).sum((1, 2, 3))
    torch.testing.assert_close(total, gains, rtol=1e-3, atol=1e-3)


def test_noise_is_a_share_of_the_images_range(small_images):
    image = small_images[0]
    deviations = (noisy_copies(image, 400, sigma=0.1) - image).std()
    expected = 0.1 * (image.max() - image.min())
    torch.testing.assert_close(deviations, expected, rtol=0.02, atol=0)
    assert torch.equal(noisy_copies(image), noisy_copies(image))  # seeded
    assert torch.equal(noisy_copies(image, sigma=0), image.expand(8, *image.shape))


def test_fitted_weights_need_a_gradient_of_the_image(small_images):
    class Cut(nn.Module):
        def __init__(self):
            super().__init__()
            self.features = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU())
            self.head = nn.Linear(6, 4)

        def forward(self, images: Tensor) -> Tensor:
            return self.head(self.features(images.detach()).mean((2, 3)))

    network = Cut().eval()
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    with pytest.raises(NetworkError, match="leaf O"):
        leaf(network, network.features, small_images[:1], "fitted_weights")


def test_fitted_weights_of_a_layer_that_is_nowhere_active(small_network, small_images):
    """Nothing to fit: all channels stay alike."""
    dead = nn.Sequential(*small_network)
    with torch.no_grad():
        dead[2].bias.fill_(-100)
    found = leaf(dead, dead[3], small_images[:1], "fitted_weights")
    torch.testing.assert_close(found, torch.full_like(found, 1 / 6))


@pytest.mark.parametrize("target", [1, Probability(1), lambda row: row[1] - row[0]])
def test_place_scores_by_the_papers_loop(small_network, small_images, target):
    """Recipro-CAM: the probability of the class, of a callable what it returns."""
    found = leaf(small_network, small_network[3], small_images, "place_scores", target)
    activations = small_network[:4](small_images).detach()
    for i in range(activations.shape[2]):
        for j in range(activations.shape[3]):
            alone = torch.zeros_like(activations)
            alone[..., i, j] = activations[..., i, j]
            rows = small_network[4:](alone).detach()
            expected = (
                rows[:, 1] - rows[:, 0]
                if callable(target) and not isinstance(target, Probability)
                else rows.softmax(1)[:, 1]
            )
            torch.testing.assert_close(found[:, 0, i, j], expected, rtol=1e-5, atol=1e-6)


def test_place_scores_through_a_reshape(small_network, small_images):
    """Of a layer with its channels last, the same places."""

    class ChannelsLast(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.turn, self.head = small_network[:4], nn.Identity(), small_network[4:]

        def forward(self, images: Tensor) -> Tensor:
            return self.head(self.turn(self.stem(images).movedim(1, -1)).movedim(-1, 1))

    network = ChannelsLast().eval()
    layer, examples = (
        Layer("turn", network.turn, reshape="channels-last"),
        Examples(small_images[:2]),
    )
    (evidence,) = measure_leaves(network, [layer], examples, ["place_scores"], 1)
    expected = leaf(small_network, small_network[3], small_images[:2], "place_scores", 1)
    torch.testing.assert_close(evidence.leaves["place_scores"], expected)


def test_leaves_of_every_sort_are_kept_and_read_again(small_network, small_images, tmp_path):
    layer, examples = Layer("3", small_network[3]), Examples(small_images[:2])
    names = ["noisy_gradients", "place_scores", "mutual_information"]
    arguments = (small_network, [layer], examples, names, 1)
    (first,) = measure_leaves(*arguments, cache=Cache(tmp_path))
    assert len(list(tmp_path.glob("*/*.safetensors"))) == 6
    (again,) = measure_leaves(*arguments, cache=Cache(tmp_path))
    for name in names:
        assert torch.equal(first.leaves[name], again.leaves[name])


def test_leaves_of_volumes():
    torch.manual_seed(2)
    network = nn.Sequential(
        nn.Conv3d(1, 5, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(5 * 4 * 6 * 7, 3)
    ).eval()
    images = torch.rand(2, 1, 4, 6, 7)
    for name in ("noisy_gradients", "place_scores"):
        found = leaf(network, network[1], images, name)
        assert found.shape[-2:] == (4 * 6, 7)
    alone = torch.zeros(1, 5, 4, 6, 7)
    alone[..., 2, 3, 4] = network[:2](images[:1])[..., 2, 3, 4].detach()
    chosen = network(images[:1]).argmax()
    expected = network[2:](alone).softmax(1)[0, chosen].detach()
    torch.testing.assert_close(
        leaf(network, network[1], images, "place_scores")[0, 0, 2 * 6 + 3, 4], expected
    )


def test_progress_is_told_image_by_image(small_network, small_images):
    seen = []
    evidence = measure(small_network, small_network[3], small_images)
    names = ["masked_scores", "mutual_information"]
    add_leaves(
        evidence,
        names,
        small_network,
        Layer("3", small_network[3]),
        Examples(small_images),
        progress=lambda *step: seen.append(step),
    )
    assert seen == [(name, "3", i, 7) for name in names for i in range(1, 8)]


def test_the_table_of_leaves_has_each_of_the_language():
    own = [row for row in MEASURED.values() if not row.stands_in_for]
    assert [row.name for row in own] == [op.name for op in LEAVES.values() if op.value is None]
    assert {row.operator.name for row in MEASURED.values()} == {row.name for row in own}


def test_each_row_says_what_people_are_told():
    for row in MEASURED.values():
        assert bool(row.absent) == (row.of_evidence is not None), row.name
        assert bool(row.call) == (row.source is not None), row.name
        own_passes = row.of_image is not None or row.derivatives > 0
        assert row.stands_in_for or bool(row.no_graph) == own_passes, row.name


def test_a_leaf_depends_on_the_target_where_its_row_says_so(small_images):
    """Else the cache would give one target's values for another's."""
    network = pooled(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4))
    layer, examples = Layer("1", network[1]), Examples(small_images)
    one, other = (
        measure_leaves(network, [layer], examples, MEASURED, target)[0]
        for target in (Probability(0), Probability(1))
    )
    for name, row in MEASURED.items():
        assert torch.equal(one.leaves[name], other.leaves[name]) != row.of_target, name
