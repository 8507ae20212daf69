"""Activations and gradients: equal to autograd on the full graph, and nothing left behind."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from sycam import CAM
from sycam.errors import DataError, LayerError, NetworkError
from sycam.evidence import measure, measure_layers


def reference(network: nn.Module, layer: nn.Module, images: Tensor, classes: Tensor):
    """Activations, gradients and outputs from one graph over the whole network."""
    kept = []
    handle = layer.register_forward_hook(lambda *call: kept.append(call[2]))
    outputs = network(images.clone().requires_grad_())
    handle.remove()
    score = outputs.gather(1, classes[:, None]).sum()
    return kept[0].detach(), torch.autograd.grad(score, kept[0])[0], outputs.detach()


# --- right -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["0", "1", "2", "3"])
def test_gradients_equal_autograd_on_the_full_graph(small_network, small_images, name):
    layer = small_network.get_submodule(name)
    found = measure(small_network, layer, small_images, batch=3)
    a, g, outputs = reference(small_network, layer, small_images, found.targets)
    torch.testing.assert_close(found.activations, a)
    torch.testing.assert_close(found.gradients, g)
    torch.testing.assert_close(found.outputs, outputs)
    assert torch.equal(found.targets, outputs.argmax(1))
    torch.testing.assert_close(found.probability, outputs.softmax(1).amax(1))
    assert not any(t.requires_grad for t in (found.activations, found.gradients, found.outputs))


@pytest.mark.parametrize("batch", [1, 2, 7, 50])
def test_batches_do_not_matter(small_network, small_images, batch):
    done = []
    whole = measure(small_network, small_network[3], small_images)
    parts = measure(
        small_network, small_network[3], small_images, batch=batch, progress=done.append
    )
    torch.testing.assert_close(parts.gradients, whole.gradients, rtol=0, atol=1e-6)
    torch.testing.assert_close(parts.activations, whole.activations, rtol=0, atol=1e-6)
    assert done[-1] == len(small_images)
    assert len(done) == -(-len(small_images) // batch)


def test_subset_of_the_evidence(small_network, small_images):
    evidence = measure(small_network, small_network[3], small_images)
    part = evidence.subset(slice(2, 5))
    assert len(evidence) == 7
    assert len(part) == 3
    assert torch.equal(part.gradients, evidence.gradients[2:5])
    assert set(part.leaves) == {"activations", "gradients", "score", "probability"}
    assert torch.equal(part.probability, evidence.probability[2:5])


def test_an_in_place_operation_after_the_layer_changes_nothing():
    """As in VGG: the ReLU overwrites the convolution's output, which is the A that is meant."""
    torch.manual_seed(1)

    def vgg(in_place: bool) -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1),
            nn.ReLU(in_place),
            nn.MaxPool2d(2),
            nn.Conv2d(8, 8, 3, padding=1),
            nn.ReLU(in_place),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(8 * 16, 20),
            nn.ReLU(in_place),
            nn.Linear(20, 4),
        ).eval()

    network, plain = vgg(True), vgg(False)
    plain.load_state_dict(network.state_dict())
    images = torch.rand(5, 3, 16, 16)
    for name in ("0", "3"):
        found = measure(network, network.get_submodule(name), images)
        a, g, _ = reference(plain, plain.get_submodule(name), images, found.targets)
        assert (a < 0).any()
        torch.testing.assert_close(found.activations, a)
        torch.testing.assert_close(found.gradients, g)


class Barrier(torch.autograd.Function):
    """Anything that goes backward through it fails."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        raise AssertionError("the backward pass went past the layer")


def test_the_backward_pass_stops_at_the_layer(small_images):
    recorded = []

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.early = nn.Conv2d(3, 4, 3, padding=1)
            self.layer = nn.Conv2d(4, 4, 3, stride=4)
            self.head = nn.Linear(64, 3)

        def forward(self, x):
            early = Barrier.apply(self.early(x))
            recorded.append(early.requires_grad)
            return self.head(self.layer(early).relu().flatten(1))

    network = Net()
    found = measure(network, network.layer, small_images)
    assert found.gradients.abs().sum() > 0
    assert recorded == [False]
    assert all(p.grad is None for p in network.parameters())


class TwoViews(nn.Module):
    """A backbone that sees each image twice, mirrored."""

    def __init__(self):
        super().__init__()
        self.body, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 2)

    def forward(self, images: Tensor) -> Tensor:
        both = self.body(torch.cat([images, images.flip(3)])).mean((2, 3))
        return self.head(both[: len(images)] + both[len(images) :])


class Stacked(nn.Module):
    """Slices of an image as a volume inside the network."""

    def __init__(self):
        super().__init__()
        self.body, self.head = nn.Conv3d(1, 4, 3), nn.Linear(4, 2)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.body(images[:, None]).mean((2, 3, 4)))


def test_layers_whose_output_does_not_lie_over_the_images(small_images):
    views, stacked = TwoViews().eval(), Stacked().eval()
    with pytest.raises(LayerError, match="returned 14 maps for 7 images"):
        measure(views, views.body, small_images)
    with pytest.raises(LayerError, match=r"expected \(N,K,h,w\), with as many sides"):
        measure(stacked, stacked.body, small_images)


# --- in any surroundings -----------------------------------------------------------------------


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_inside_the_callers_grad_mode(small_network, small_images, context):
    """Under inference_mode it once said that the score does not depend on the layer."""
    whole = measure(small_network, small_network[3], small_images)
    with context():
        images = small_images.clone()  # made in inference mode, where that is on
        classes = whole.targets.clone()
        for target in ("predicted", classes, lambda row: row.max()):
            found = measure(small_network, small_network[3], images, target)
            torch.testing.assert_close(found.gradients, whole.gradients)
        assert torch.is_grad_enabled() == (context is torch.enable_grad)
        assert torch.is_inference_mode_enabled() == (context is torch.inference_mode)


def test_images_that_require_gradients_are_no_trouble(small_network, small_images):
    images = small_images.clone().requires_grad_()
    found = measure(small_network, small_network[3], images)
    assert not found.gradients.requires_grad
    assert images.grad is None


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_precisions(small_network, small_images, dtype):
    network = small_network.to(dtype)
    found = measure(network, network[3], small_images.to(dtype))
    assert found.activations.dtype == found.gradients.dtype == dtype
    # Images of another floating type are brought to the network's.
    assert torch.equal(measure(network, network[3], small_images).gradients, found.gradients)


def test_channels_last_images_and_network(small_network, small_images):
    expected = measure(small_network, small_network[3], small_images)
    network = copy.deepcopy(small_network).to(memory_format=torch.channels_last)
    images = small_images.contiguous(memory_format=torch.channels_last)
    found = measure(network, network[3], images)
    torch.testing.assert_close(found.gradients, expected.gradients, rtol=1e-5, atol=1e-6)
    assert network[0].weight.is_contiguous(memory_format=torch.channels_last)


# --- no trace ----------------------------------------------------------------------------------


def test_layers_without_places(small_network, small_images):
    for name in ("4", "5"):
        with pytest.raises(LayerError, match=r"returned \(7, \d+\), which has no places"):
            measure(small_network, small_network.get_submodule(name), small_images)
    pooled = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)
    )
    with pytest.raises(LayerError, match=r"\(7, 4, 1, 1\), which has no places"):
        measure(pooled, pooled[1], small_images)


def test_layers_that_run_twice_or_never(small_images):
    class Shared(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.never = nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 1)
            self.head = nn.Linear(3, 2)

        def forward(self, x):
            return self.head(self.layer(self.layer(x)).mean((2, 3)))

    network = Shared()
    with pytest.raises(LayerError, match="ran 2 times in one forward pass, expected once"):
        measure(network, network.layer, small_images)
    with pytest.raises(LayerError, match="ran 0 times"):
        measure(network, network.never, small_images)


def test_a_score_that_does_not_depend_on_the_layer(small_images):
    class Detached(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 2)

        def forward(self, x):
            return self.head(self.layer(x).detach().mean((2, 3)))

    class Aside(Detached):
        def forward(self, x):
            self.layer(x)
            return self.head(x.mean((2, 3)).repeat(1, 2)[:, :4])

    for network in (Detached(), Aside()):
        with pytest.raises(LayerError, match="does not depend on the target layer"):
            measure(network, network.layer, small_images)


def test_a_tuple_from_the_layer(small_images):
    class Two(nn.Module):
        def forward(self, x):
            return x, x

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.two, self.head = Two(), nn.Linear(3, 2)

        def forward(self, x):
            return self.head(self.two(x)[0].mean((2, 3)))

    network = Net()
    with pytest.raises(LayerError, match=r"\(Two\) returned tuple"):
        measure(network, network.two, small_images)


def test_activations_that_are_not_finite(small_network, small_images):
    small_images[2, 0, 3, 3] = torch.inf
    network = nn.Sequential(small_network[0], nn.Sigmoid(), *small_network[2:])
    network[0].weight.data.abs_()
    with pytest.raises(LayerError, match="NaN or infinite on these images"):
        measure(network, network[0], small_images)


def test_an_in_place_operation_that_breaks_the_backward_pass(small_images):
    class Broken(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 2)

        def forward(self, x):
            y = self.layer(x).exp()
            y += 1  # autograd needs the exponential as it was
            return self.head(y.mean((2, 3)))

    network = Broken()
    with pytest.raises(NetworkError, match=r"backward pass .* failed.*inplace"):
        measure(network, network.layer, small_images)


# --- outputs that cannot serve -------------------------------------------------------------------


class Returns(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.layer, self.function = nn.Conv2d(3, 4, 3), function

    def forward(self, x):
        return self.function(self.layer(x))


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda y: (y.mean((2, 3)), y), "returned tuple, expected a tensor"),
        (lambda y: {"logits": y.mean((2, 3))}, "returned dict"),
        (lambda y: y, r"shape \(7, 4, 14, 14\) for 7 images, expected \(7, classes\)"),
        (lambda y: y.mean((1, 2, 3)), r"shape \(7,\) for 7 images"),
        (lambda y: y.mean((2, 3))[:3], r"shape \(3, 4\) for 7 images"),
        (lambda y: y.mean((2, 3)) * torch.nan, "NaN or infinite class scores"),
        (lambda y: y.mean((2, 3)) / 0, "NaN or infinite class scores"),
    ],
)
def test_networks_that_return_something_else(small_images, function, said):
    network = Returns(function)
    with pytest.raises(NetworkError, match=said):
        measure(network, network.layer, small_images)


def test_images_of_another_shape(small_network):
    with pytest.raises(NetworkError, match=r"images of shape \(2, 5, 16, 16\).*RuntimeError"):
        measure(small_network, small_network[3], torch.rand(2, 5, 16, 16))


# --- targets -------------------------------------------------------------------------------------


def test_no_images(small_network):
    with pytest.raises(DataError, match="no images"):
        measure(small_network, small_network[3], torch.empty(0, 3, 16, 16))


@pytest.mark.parametrize("derivatives", [0, 1, 2])
def test_several_layers_in_one_pass_are_as_each_alone(small_network, small_images, derivatives):
    calls = []
    with small_network[0].register_forward_hook(lambda *_: calls.append(1)):
        together = measure_layers(
            small_network, [small_network[3], small_network[1]], small_images, batch=4,
            derivatives=derivatives,
        )  # fmt: skip
    assert len(calls) == 2  # 7 images in batches of 4
    for layer, found in zip((3, 1), together, strict=True):
        alone = measure(small_network, small_network[layer], small_images, derivatives=derivatives)
        assert found.leaves.keys() == alone.leaves.keys()
        for name, tensor in alone.leaves.items():
            torch.testing.assert_close(found.leaves[name], tensor, equal_nan=True)
        assert found.targets.equal(alone.targets)


def test_layers_of_parallel_branches_in_one_pass(small_images):
    class Branches(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.one, self.other = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(3, 4, 5, padding=2)
            self.join, self.head = nn.Conv2d(8, 5, 3), nn.Linear(5, 3)

        def forward(self, x):
            joined = torch.cat([self.one(x).relu_(), self.other(x).relu_()], 1)
            return self.head(self.join(joined).relu_().mean((2, 3)))

    network = Branches().eval()
    layers = [network.join, network.one, network.other]
    together = measure_layers(network, layers, small_images)
    for layer, found in zip(layers, together, strict=True):
        alone = measure(network, layer, small_images)
        torch.testing.assert_close(found.gradients, alone.gradients)
        assert found.activations.equal(alone.activations)
    assert all(p.grad is None for p in network.parameters())


class Siamese(nn.Module):
    """One encoder for the images and for their mirror images; what it makes is in a dict."""

    def __init__(self, twice: bool = True):
        super().__init__()
        self.twice, self.encoder = twice, Boxed()
        self.head = nn.Linear(4 * 256, 3)

    def forward(self, images: Tensor) -> Tensor:
        features = self.encoder(images)["features"]
        if self.twice:
            features = features + self.encoder(images.flip(-1))["features"]
        return self.head(features.flatten(1))


class Boxed(nn.Module):
    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        return {"features": self.convolution(images).relu()}


class WithTable(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.head = nn.Conv2d(3, 4, 3, padding=1), nn.Linear(4 * 256 + 2, 3)

    def forward(self, images: Tensor, table: Tensor, *, weight: float) -> Tensor:
        return self.head(torch.cat([self.body(images).flatten(1), weight * table], 1))


def test_networks_of_several_inputs_and_layers_of_several_outputs_are_told_the_cure(small_images):
    """Words like 'are their size and channels right?' led nowhere."""
    twice, once, more = Siamese().eval(), Siamese(twice=False).eval(), WithTable().eval()
    for network, layer, error, said in (
        (twice, "encoder.convolution", LayerError, "ran 2 times .*Siamese.* encodes the images al"),
        (once, "encoder", LayerError, r"dict of tensors \(7, 4, 16, 16\).*of convolution$"),
        (more, "body", NetworkError, r"more than the images \('table'\); wrap it in a module that"),
    ):
        with pytest.raises(error, match=said):
            measure(network, network.get_submodule(layer), small_images)


@pytest.mark.parametrize("layer", ["encoder.convolution", "auto"])
def test_a_shared_encoder_is_told_its_cure_where_a_layer_is_named_or_found(small_images, layer):
    with pytest.raises(LayerError, match=r"several times|ran 2 times") as told:
        CAM(Siamese().eval(), layer, "mean(G)")(small_images, 1)
    assert "encodes the images alone" in str(told.value)
