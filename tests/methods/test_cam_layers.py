"""CAMs at several layers, at transformers' tokens, and of volumes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sycam import CAM
from sycam.errors import LayerError, OptionError, SycamError
from sycam.evidence import measure
from sycam.heatmaps import norm01


def test_the_mean_over_layers_against_the_package(grad_cam, small_network, small_images):
    """The package scales each layer's map on the layer's own grid (by its maximum plus 1e-7), so
    that a coarse layer, whose peaks upsampling lowers, counts less; ours counts finished heatmaps
    alike."""
    target = grad_cam.utils.model_targets.ClassifierOutputTarget(2)
    with grad_cam.GradCAM(small_network, [small_network[1], small_network[3]]) as package:
        theirs = torch.from_numpy(package(small_images, [target] * 7))
    parts = []
    for name in ("1", "3"):
        evidence = measure(small_network, small_network.get_submodule(name), small_images, 2)
        weights = evidence.gradients.mean((2, 3), keepdim=True)
        sums = (weights * evidence.activations).sum(1).clamp(min=0)
        low = sums.amin((1, 2), keepdim=True)
        grid = ((sums - low) / (1e-7 + (sums - low).amax((1, 2), keepdim=True)))[:, None]
        parts.append(F.interpolate(grid, (16, 16), mode="bilinear", align_corners=False)[:, 0])
    torch.testing.assert_close(norm01(sum(parts) / 2), theirs, rtol=0, atol=1e-5)
    ours = CAM(small_network, ["1", small_network[3]], "grad-cam")(small_images, 2)
    torch.testing.assert_close(ours, norm01(sum(map(norm01, parts)) / 2), rtol=0, atol=1e-5)
    assert 1e-3 < (ours - theirs).abs().max() < 0.2


def test_fusions_by_their_definition(small_network, small_images):
    one, two = (CAM(small_network, name, "relu(G)")(small_images) for name in ("1", "3"))
    expected = {
        "mean": (one + two) / 2,
        "max": torch.maximum(one, two),
        "product": one * two,
        "0.25,0.75": 0.25 * one + 0.75 * two,
        (1, 0): one,
    }
    for fusion, maps in expected.items():
        found = CAM(small_network, ["1", "3"], "relu(G)", fusion=fusion)(small_images)
        torch.testing.assert_close(found, norm01(maps))
    with pytest.raises(SycamError, match="did you mean 'product'"):
        CAM(small_network, ["1", "3"], "G", fusion="produkt")
    for wrong in ((1, 2, 3), (0, 0), (-1, 2), "1"):
        with pytest.raises(OptionError, match="2 numbers that are not negative"):
            CAM(small_network, ["1", "3"], "G", fusion=wrong)


def test_direct_methods_fuse_too(small_network, small_images):
    cam = CAM(small_network, ["1", "3"], "kpca-cam", fusion="max")
    one, two = (CAM(small_network, name, "kpca-cam")(small_images) for name in ("1", "3"))
    torch.testing.assert_close(cam(small_images), norm01(torch.maximum(one, two)))
    assert cam.expression is None
    assert repr(cam) == "CAM(Sequential, '1 + 3', 'kpca-cam')"


class Transformer(nn.Module):
    """A small vision transformer: a class token, then the patches row by row."""

    def __init__(self, last: bool = False):
        super().__init__()
        torch.manual_seed(4)
        self.patches = nn.Conv2d(3, 8, 4, stride=4)
        self.token = nn.Parameter(torch.randn(1, 1, 8))
        self.block = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
        self.mix = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
        self.head = nn.Linear(8, 3)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.patches(images).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.token.expand(len(images), -1, -1), tokens], 1)
        return self.head(self.mix(self.block(tokens))[:, 0])


def test_tokens_of_a_transformer(grad_cam, small_images):
    network = Transformer().eval()
    reshape = grad_cam.utils.reshape_transforms.vit_reshape_transform
    with grad_cam.GradCAM(
        network, [network.block], lambda tokens: reshape(tokens, 4, 4)
    ) as package:
        expected = package(small_images, None)
    cam = CAM(network, "block", "grad-cam", reshape="tokens")
    np.testing.assert_allclose(cam(small_images).numpy(), expected, atol=1e-5)

    def by_hand(tokens: Tensor) -> Tensor:
        return tokens[:, 1:].reshape(-1, 4, 4, 8).permute(0, 3, 1, 2)

    own = CAM(network, "block", "grad-cam", reshape=by_hand)
    torch.testing.assert_close(own(small_images), cam(small_images))
    assert torch.equal(CAM(network, "block", "grad-cam")(small_images), cam(small_images))
    with pytest.raises(SycamError, match="did you mean 'tokens'"):
        CAM(network, "block", "grad-cam", reshape="token")


def test_ablation_of_a_transformers_channel(small_images):
    """A channel is switched off in the patches, not in the class token, which has no place."""
    network = Transformer().eval()
    found = CAM(network, "block", "D", reshape="tokens")(small_images[:1])
    with torch.no_grad():
        tokens = network.patches(small_images[:1]).flatten(2).transpose(1, 2)
        tokens = network.block(torch.cat([network.token, tokens], 1))
        outputs = network.head(network.mix(tokens)[:, 0])[0]
        best, drops = outputs.argmax(), []
        for k in range(8):
            left = tokens.clone()
            left[:, 1:, k] = 0
            score = network.head(network.mix(left)[:, 0])[0, best]
            drops.append((outputs[best] - score) / outputs[best])
        maps = tokens[0, 1:].T.reshape(8, 4, 4)
        sums = (torch.stack(drops)[:, None, None] * maps).sum(0).relu()
    expected = F.interpolate(sums[None, None], (16, 16), mode="bilinear", align_corners=False)
    torch.testing.assert_close(found, norm01(expected[0]), rtol=1e-3, atol=1e-4)


def test_tokens_that_fill_no_square(small_images):
    """280 patches of a 14 x 20 grid were once read as the last 256, 16 x 16."""
    network = Transformer().eval()
    with torch.inference_mode():  # where a reshape could not be differentiated
        square = CAM(network, "block", "D", reshape="tokens")(small_images)
    cam = CAM(network, "block", "D")
    assert torch.equal(square, cam(small_images))
    wide = torch.rand(2, 3, 56, 80)
    said = CAM(network, "block", "D", reshape="tokens:prefix=1,grid=14x20")(wide)
    assert torch.equal(cam(wide), said)  # after images of another size
    assert cam(wide).shape == (2, 56, 80)
    with pytest.raises(LayerError, match=r"needs \(N,T,K\) with T = 281 tokens"):
        CAM(network, "block", "G", reshape="tokens:prefix=1,grid=14x20")(small_images)


@pytest.mark.parametrize("text", ["tokens:", "tokens:grid=4", "tokens:grid=0x4", "tokens:prefix=1",
                                  "tokens:grid=4x4,prefix=-1", "tokens:grid=4x4,order=KTN",
                                  "tokens:grid=4x4,side=1"])  # fmt: skip
def test_tokens_that_are_not_understood(text):
    with pytest.raises(OptionError, match="expected tokens, or tokens:prefix=1,grid=8x16"):
        CAM(Transformer(), "block", "G", reshape=text)


def test_a_reshape_from_a_file(tmp_path, small_images):
    file = tmp_path / "mine.py"
    file.write_text("def places(t):\n    return t[:, 1:].unflatten(1, (4, 4)).movedim(3, 1)\n")
    network = Transformer().eval()
    found = CAM(network, "block", "D", reshape=f"{file}:places")(small_images)
    assert torch.equal(found, CAM(network, "block", "D")(small_images))
    with pytest.raises(SycamError, match="did you mean 'places'"):
        CAM(network, "block", "G", reshape=f"{file}:place")


class TokensFirst(Transformer):
    """``(T,N,K)``, with the class token at the end."""

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.patches(images).flatten(2).transpose(1, 2)
        tokens = torch.cat([tokens, self.token.expand(len(images), -1, -1)], 1).transpose(0, 1)
        tokens = self.block(tokens.transpose(0, 1)).transpose(0, 1)
        return self.head(self.mix(self.norm(tokens).transpose(0, 1))[:, -1])

    def __init__(self):
        super().__init__()
        self.norm = nn.LayerNorm(8)


@pytest.mark.parametrize("count", [1, 17])
def test_tokens_first_with_the_class_token_behind(count):
    """As many images as tokens make no difference."""
    images = torch.rand(count, 3, 16, 16, generator=torch.Generator().manual_seed(2))
    network = TokensFirst().eval()
    tokens_last = CAM(network, "block", "D", reshape="tokens:prefix=0,grid=4x4")(images)
    by_hand = CAM(
        network, "norm", "grad-cam", reshape=lambda t: t[:16].permute(1, 2, 0).unflatten(2, (4, 4))
    )
    told = CAM(network, "norm", "grad-cam")
    assert torch.equal(told(images), by_hand(images))
    assert torch.equal(CAM(network, "block", "D")(images), tokens_last)
    first, whole = CAM(network, "norm", "D")(images[:1]), CAM(network, "norm", "D")(images)
    torch.testing.assert_close(whole[:1], first)


def test_places_that_form_no_grid(small_images):
    """Attention's queries, (N, heads, tokens, dim), and tokens in no order."""

    class Shuffled(Transformer):
        def forward(self, images: Tensor) -> Tensor:
            tokens = self.patches(images).flatten(2).transpose(1, 2)
            order = torch.arange(16).flip(0).roll(3)
            return self.head(self.mix(self.block(tokens[:, order])).mean(1))

    for reshape in (None, "tokens"):
        with pytest.raises(LayerError) as caught:
            CAM(Shuffled().eval(), "block", "G", reshape=reshape)(small_images)
        said = str(caught.value)
        assert "'block' (TransformerEncoderLayer) returned (2, 16, 8)" in said
        assert "form one grid" in said
        assert "reshape='tokens:prefix=1,grid=8x16'" in said


class ChannelsLast(nn.Module):
    """As a Swin transformer's stages: ``(N,h,w,K)``."""

    def forward(self, maps: Tensor) -> Tensor:
        return maps.permute(0, 2, 3, 1)


def test_channels_last(small_network, small_images):
    class Turned(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.turn, self.head = small_network[:4], ChannelsLast(), small_network[4:]

        def forward(self, images: Tensor) -> Tensor:
            return self.head(self.turn(self.body(images)).permute(0, 3, 1, 2))

    for formula in ("grad-cam", "relu(G)", "D", "softmax(S)"):
        found = CAM(Turned().eval(), "turn", formula, reshape="channels-last")(small_images)
        torch.testing.assert_close(found, CAM(small_network, "3", formula)(small_images))


@pytest.fixture
def volumes() -> tuple[nn.Module, Tensor]:
    """A 3-D network; its layer ``"2"`` is ``[N,5,4,6,5]``."""
    torch.manual_seed(8)
    network = nn.Sequential(
        nn.Conv3d(1, 4, 3, padding=1),
        nn.ReLU(),
        nn.Conv3d(4, 5, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(5 * 4 * 6 * 5, 3),
    ).eval()
    return network, torch.rand(3, 1, 8, 12, 10, generator=torch.Generator().manual_seed(1))


def in_3d(sums: Tensor, size: tuple[int, int, int]) -> Tensor:
    up = F.interpolate(sums.clamp(min=0)[:, None], size, mode="trilinear", align_corners=False)
    return norm01(up[:, 0], 3)


def test_volumes_by_hand(volumes):
    network, images = volumes
    activations = network[:4](images).detach().requires_grad_()
    outputs = network[4:](activations)
    (gradients,) = torch.autograd.grad(outputs.amax(1).sum(), activations)
    A, G = activations.detach(), gradients
    weights = {
        "grad-cam": G.mean((2, 3, 4), keepdim=True),
        "xgrad-cam": (G * A).sum((2, 3, 4), keepdim=True) / A.sum((2, 3, 4), keepdim=True),
        "layer-cam": G.clamp(min=0),
        "std(A)": A.std((2, 3, 4), keepdim=True, correction=0),
    }
    for name, weight in weights.items():
        found = CAM(network, "3", name)(images)
        assert found.shape == (3, 8, 12, 10)
        assert (found.flatten(1).amax(1) == 1).any()
        torch.testing.assert_close(
            found, in_3d((weight * A).sum(1), (8, 12, 10)), rtol=0, atol=2e-5
        )


def test_the_blur_of_volumes_is_separable(volumes):
    network, images = volumes
    maps = network[:4](images).detach()
    kernel = torch.tensor([1.0, 2.0, 1.0]) / 4
    cube = kernel[:, None, None] * kernel[:, None] * kernel
    sums = F.pad(maps.sum(1, keepdim=True), (1,) * 6, mode="replicate")
    expected = F.conv3d(sums, cube[None, None])[:, 0]
    found = CAM(network, "3", "smooth(channelsum(A))")(images)
    torch.testing.assert_close(found, in_3d(expected, (8, 12, 10)), rtol=0, atol=1e-5)


def test_dear_leaves_of_volumes(volumes):
    network, images = volumes
    A = network[:4](images[:1]).detach()
    best = network(images[:1]).argmax()
    up = F.interpolate(A, (8, 12, 10), mode="trilinear", align_corners=False)[0]
    scores = torch.stack([network(images[:1] * norm01(m[None], 3))[0, best] for m in up]).detach()
    weights = scores.softmax(0).view(1, 5, 1, 1, 1)
    found = CAM(network, "3", "softmax(S)")(images[:1])
    torch.testing.assert_close(found, in_3d((weights * A).sum(1), (8, 12, 10)), rtol=0, atol=1e-5)
    for formula in ("D", "MI", "random-weights", "centre-prior", "eigen-cam"):
        maps = CAM(network, "3", formula)(images)
        assert maps.shape == (3, 8, 12, 10)
        assert torch.isfinite(maps).all()
        assert maps.amax() == 1


def test_auto_and_last_on_volumes(volumes):
    network, images = volumes
    for sought in ("auto", "last"):
        cam = CAM(network, sought, "grad-cam")
        torch.testing.assert_close(cam(images), CAM(network, "3", "grad-cam")(images))
        assert cam.layer == "3"
