"""Networks whose outputs are not decided by the image alone."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import sycam
from sycam.errors import NetworkError
from sycam.networks.steadiness import unsteadiness

IMAGES = torch.rand(14, 3, 16, 16, generator=torch.Generator().manual_seed(3))


class Dropping(nn.Module):
    def __init__(self, network, form=lambda y: y):
        super().__init__()
        self.network, self.form = network, form

    def forward(self, images):
        return self.form(F.dropout(self.network(images), 0.3))  # on in evaluation mode


class Counting(nn.Module):
    """Whose outputs depend on what it has seen before."""

    def __init__(self, network):
        super().__init__()
        self.network, self.seen = network, []

    def forward(self, images):
        self.seen.append(1)
        return self.network(images) * len(self.seen)


def batch_normed(network):
    norm = nn.BatchNorm2d(4, track_running_stats=False)
    return nn.Sequential(network[0], norm, *network[1:])


@pytest.mark.parametrize(
    "form", [lambda y: y, lambda y: {"out": y}, lambda y: (y, None), lambda y: list(y)]
)
def test_a_network_that_draws_is_told(small_network, form):
    assert "other outputs each time" in unsteadiness(Dropping(small_network, form), IMAGES[:8])


def test_a_network_whose_outputs_depend_on_its_state_is_told(small_network):
    network = Counting(small_network)
    assert "a state that it keeps" in unsteadiness(network, IMAGES[:8])
    assert network.seen == []


def test_a_network_that_looks_at_its_batch_is_told(small_network):
    network = batch_normed(small_network)
    assert "other images of its batch" in unsteadiness(network, IMAGES[:8])


@pytest.mark.parametrize("form", [lambda y: y, lambda y: 1e4 + y, lambda y: {"out": 0 * y}])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_steady_network_is_not(small_network, form, dtype):
    network = nn.Sequential(small_network).to(dtype)
    network.register_forward_hook(lambda _module, _inputs, output: form(output.float()))
    assert unsteadiness(network, IMAGES[:8]) == ""


@pytest.mark.parametrize("made", [Dropping, batch_normed])
def test_no_search_on_an_unsteady_network_and_a_note_in_an_evaluation(
    tmp_path, small_network, made
):
    network = made(small_network)
    layer = "network.3" if made is Dropping else "4"
    options = {"metric": "average-drop", "search_images": 8, "heldout": 6, "budget": 4}
    with pytest.raises(NetworkError, match=r"no search .*(training=self\.training|track_running)"):
        sycam.synthesize(network, layer, IMAGES, out=tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()
    notes = []
    sycam.evaluate(network, layer, IMAGES, ["grad-cam"], ["average-drop"], notify=notes.append)
    assert any(getattr(n, "text", "").startswith("the network") for n in notes)
