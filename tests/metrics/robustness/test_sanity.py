"""Class sensitivity and randomisation against Quantus, scipy and what must hold exactly."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import nn

import sycam
from sycam.data.images import ImageSet
from sycam.errors import OptionError
from sycam.evidence import find_layer
from sycam.metrics import ClassSensitivity, Randomisation
from sycam.metrics.robustness.correlation import average_ranks, pearson
from sycam.metrics.robustness.sanity import modules_in_order, reinitialised
from sycam.problem.explained_network import ExplainedNetwork

TEXT = "mean(relu(G))"  # flat on no image, so that the references are defined
ALL = ["7", "5", "2", "0"]  # the small network's modules with parameters, from the top


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=3, max_size=30))
@settings(max_examples=50, deadline=None)
def test_correlations_are_scipys_with_ties_and_0_where_constant(pairs):
    a, b = np.array(pairs, dtype=np.float32).T / 5
    rows = torch.from_numpy(np.stack([a, b]))
    linear, ranked = pearson(*rows).item(), pearson(*average_ranks(rows)).item()
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        assert linear == ranked == 0
    else:
        assert linear == pytest.approx(
            stats.pearsonr(a.astype(float), b.astype(float))[0], abs=1e-6
        )
        assert ranked == pytest.approx(stats.spearmanr(a, b)[0], abs=1e-6)


def test_class_sensitivity_is_that_of_quantus_random_logit(quantus, small_images, score, heatmaps):
    """Of two classes there is one other, so that both explain the same."""
    torch.manual_seed(1)
    network = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 256, 2)
    ).eval()
    targets = network(small_images).argmax(1)

    def explain(model, inputs, targets, **_):
        images, classes = torch.as_tensor(inputs), torch.as_tensor(targets)
        return heatmaps(network, images, TEXT, classes, layer="1").numpy()[:, None]

    metric = quantus.RandomLogit(
        similarity_func=quantus.similarity_func.correlation_pearson,
        num_classes=2,
        abs=False,
        normalise=False,
        disable_warnings=True,
    )
    expected = metric(
        model=network,
        x_batch=small_images.numpy(),
        y_batch=targets.numpy(),
        a_batch=explain(None, small_images, targets),
        explain_func=explain,
    )
    found = score("class-sensitivity", network, small_images, [TEXT], layer="1")[0]
    assert found.max() < 1
    assert np.allclose(found.numpy(), 1 - np.maximum(expected, 0), atol=1e-5)


@pytest.mark.parametrize(("other", "place"), [("runner-up", -2), ("least", 0)])
def test_the_other_class_is_chosen_by_its_score(
    other, place, small_network, small_images, score, heatmaps
):
    found = score(ClassSensitivity(other), small_network, small_images, [TEXT])[0]
    order = small_network(small_images).argsort(1)
    first = heatmaps(small_network, small_images, TEXT, order[:, -1])
    second = heatmaps(small_network, small_images, TEXT, order[:, place])
    for i in range(7):
        r = stats.pearsonr(first[i].flatten().double(), second[i].flatten().double()).statistic
        assert found[i].item() == pytest.approx(1 - max(0, r), abs=1e-5)


def test_the_random_class_is_another_and_any_other(small_network, small_images, score, heatmaps):
    """At two classes that are explained for one image each is drawn under some seed."""
    image, drawn = small_images[:1], set()
    order = small_network(image).argsort(1)[0]
    maps = heatmaps(small_network, image.expand(5, -1, -1, -1), TEXT, order)
    possible = {
        c: 1 - max(0, stats.pearsonr(maps[4].flatten(), maps[c].flatten()).statistic)
        for c in range(4)
    }
    for seed in range(20):
        (found,) = score("class-sensitivity", small_network, image, [TEXT], seed=seed)[0]
        near = min(possible, key=lambda c: abs(possible[c] - found.item()))
        assert found.item() == pytest.approx(possible[near], abs=1e-5)
        drawn.add(near)
    assert drawn == {0, 1, 2, 3}


def test_maps_that_ignore_the_class_and_flat_ones_are_insensitive(
    small_network, small_images, score
):
    texts = ["mean(A)", "mean(A - A)", "mean(G)"]
    blind, flat, useful = score("class-sensitivity", small_network, small_images, texts)
    assert torch.allclose(blind, torch.zeros_like(blind), atol=1e-6)
    assert (flat == 0).all()
    assert useful.mean() > 0.1


def test_a_map_of_the_explained_class_alone_is_sensitive(small_images, score):
    """The other class does not look at the layer: its map is zero."""
    network = nn.Sequential(
        nn.Conv2d(3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 2)
    ).eval()
    network[0].weight.data.fill_(1.0)
    network[4].weight.data.copy_(torch.tensor([[1.0, 1], [0, 0]]))
    network[4].bias.data.fill_(0)
    found = score("class-sensitivity", network, small_images, ["mean(G)"], layer="1")
    assert (found == 1).all()


@pytest.mark.parametrize("other", ["random", "runner-up", "least"])
def test_only_the_other_class_is_measured(other, small_network, small_images, score, measured):
    """The clean images' class scores, by which it is chosen, are known."""
    score(ClassSensitivity(other), small_network, small_images, [TEXT, "mean(A)"])
    assert sum(measured) == 7 * ClassSensitivity.shared_measurements == 7


def test_the_context_of_a_subject_holds_the_outputs(small_network, small_images):
    images = ImageSet.from_arrays(small_images)
    _, context = ExplainedNetwork.prepare(small_network, "3", images).measure(images)
    torch.testing.assert_close(context.outputs, small_network(small_images).detach())
    assert torch.equal(context.subset(slice(2, 4)).outputs, context.outputs[2:4])


def test_networks_and_targets_without_classes_are_refused(small_network, small_images, score):
    single = nn.Sequential(nn.Conv2d(3, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(512, 1)).eval()
    with pytest.raises(OptionError, match="the network has one output; use metric"):
        score("class-sensitivity", single, small_images, ["mean(G)"], layer="1")
    with pytest.raises(OptionError, match="compares classes, but a callable is explained"):
        score(
            "class-sensitivity",
            small_network,
            small_images,
            ["mean(G)"],
            target=lambda row: row[0] - row[1],
        )


def test_randomisation_is_that_of_quantus_without_its_1(
    quantus, small_network, small_images, score, heatmaps
):
    """On the same copies: Quantus averages the unchanged network's own correlation, 1, in."""
    targets = small_network(small_images).argmax(1)

    def explain(model, inputs, targets, **_):
        changed = [
            name
            for name in ALL
            if not torch.equal(
                model.get_submodule(name).weight, small_network.get_submodule(name).weight
            )
        ]
        copied = reinitialised(small_network, changed, seed=0)
        images, classes = torch.as_tensor(inputs), torch.as_tensor(targets)
        return heatmaps(copied, images, TEXT, classes).numpy()[:, None]

    settings = {
        "similarity_func": quantus.similarity_func.correlation_spearman,
        "abs": False,
        "normalise": False,
        "disable_warnings": True,
    }
    batch = {
        "model": copy.deepcopy(small_network),
        "x_batch": small_images.numpy(),
        "y_batch": targets.numpy(),
        "a_batch": explain(small_network, small_images, targets),
        "explain_func": explain,
    }
    layers = quantus.MPRT(**settings)(**batch)
    average = np.array(quantus.MPRT(return_average_correlation=True, **settings)(**batch))
    assert list(layers) == ["original", *ALL]
    assert np.allclose(layers["original"], 1)
    found = score(Randomisation(4, "all"), small_network, small_images, [TEXT])[0].numpy()
    assert np.allclose(found, np.mean([layers[name] for name in ALL], 0), atol=1e-5)
    assert np.allclose(average, (1 + 4 * found) / 5, atol=1e-5)


@pytest.mark.parametrize(
    ("stages", "scope", "steps"),
    [
        (4, "above", [["7"], ["7", "5"]]),
        (1, "above", [["7", "5"]]),
        (2, "all", [["7", "5"], ALL]),
        (3, "all", [["7"], ["7", "5", "2"], ALL]),
    ],
)
def test_stages_are_cumulative_and_end_with_the_whole_scope(
    stages, scope, steps, small_network, small_images, score, heatmaps
):
    found = score(Randomisation(stages, scope), small_network, small_images, [TEXT])[0]
    targets = small_network(small_images).argmax(1)
    own = heatmaps(small_network, small_images, TEXT, targets)
    expected = np.zeros(7)
    for names in steps:
        copied = reinitialised(small_network, names, seed=0)
        maps = heatmaps(copied, small_images, TEXT, targets)
        expected += [
            stats.spearmanr(a.flatten(), b.flatten()).statistic
            for a, b in zip(own, maps, strict=True)
        ]
    assert np.allclose(found.numpy(), expected / len(steps), atol=1e-5)


def test_what_no_layer_above_decides_has_1(small_network, small_images, score):
    texts = ["mean(A)", "mean(A - A)", "mean(G)"]
    activations, flat, gradients = score("randomisation", small_network, small_images, texts)
    assert torch.allclose(activations, torch.ones_like(activations), atol=1e-6)
    assert (flat == 1).all()
    assert gradients.mean() < 0.9
    (below,) = score(Randomisation(scope="all"), small_network, small_images, ["mean(A)"])
    assert (below < 0.99).all()


class Odd(nn.Module):
    """Branches, a parameter of the root, one without reset_parameters, and a frozen layer."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(4, 3)  # defined first, runs last
        self.shift = nn.Parameter(torch.zeros(1))
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.block = nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4), nn.PReLU(4))
        self.scale = Scale()
        self.block.requires_grad_(False)

    def forward(self, images):
        stem = self.stem(images + self.shift).relu()
        return self.head((stem + self.scale(self.block(stem))).mean((2, 3)))


class Scale(nn.Module):
    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.tensor([1.0, 2, 3, 4]))

    def forward(self, maps):
        return maps * self.gain[:, None, None]


def test_layers_are_found_in_the_order_in_which_they_run(small_images):
    network = Odd().eval()
    layer = find_layer(network, "stem", small_images)
    below, above = modules_in_order(network, [layer], small_images)
    assert below == ["", "stem"]
    assert above == ["block.0", "block.1", "block.2", "scale", "head"]
    assert not network.stem._forward_hooks
    assert not network.head._forward_pre_hooks


def test_new_parameters_are_seeded_by_module_and_nothing_else_changes(small_images):
    network = Odd().train()
    before, random = copy.deepcopy(network.state_dict()), torch.get_rng_state()
    top = reinitialised(network, ["head"], seed=3)
    more = reinitialised(network, ["scale", "head", "block.0"], seed=3)
    other = reinitialised(network, ["head"], seed=4)
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)
    assert network.training
    assert torch.equal(top.head.weight, more.head.weight)
    assert not torch.equal(top.head.weight, other.head.weight)
    assert not torch.equal(top.head.weight, network.head.weight)
    assert torch.equal(top.block[0].weight, network.block[0].weight)
    assert torch.equal(more.scale.gain.sort().values, network.scale.gain)
    assert not torch.equal(more.block[0].weight, network.block[0].weight)


def test_a_last_layer_has_nothing_above_it(small_images, score):
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    with pytest.raises(OptionError, match="choose an earlier layer, or scope 'all'"):
        score("randomisation", network, small_images, ["mean(A)"], layer="0")
    found = score(Randomisation(scope="all"), network, small_images, ["mean(A)"], layer="0")
    assert torch.isfinite(found).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ClassSensitivity("best"), "'random' or 'runner-up' or 'least'"),
        (lambda: Randomisation(0), "stages must be a positive integer, got 0"),
        (lambda: Randomisation(scope="below"), "'above' or 'all'"),
    ],
)
def test_bad_options_are_refused(make, message):
    with pytest.raises(OptionError, match=message):
        make()


def test_several_layers_and_callables_can_be_randomised(small_network, small_images):
    table = sycam.evaluate(
        small_network,
        ["1", "3"],
        small_images,
        ["mean(A)", "grad-cam"],
        ["randomisation"],
        target=lambda row: row[0] - row[1],
    )
    assert table.cells["mean(A)", "randomisation"].mean == pytest.approx(1)
    assert table.cells["grad-cam", "randomisation"].mean < 0.9
