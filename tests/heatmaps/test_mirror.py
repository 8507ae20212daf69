"""The mean of a saliency map and that of the mirror image."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import sycam
from sycam.data.images import ImageSet
from sycam.errors import BlankHeatmapWarning, ExpressionError, OptionError
from sycam.evidence import Examples, Layer, measure_leaves, stacked
from sycam.grammar import load_grammar, read_grammar
from sycam.heatmaps import heatmaps, maps_of, norm01
from sycam.heatmaps.compiled import compiled_heatmaps, compiled_maps
from sycam.heatmaps.pairs import pairs_of
from sycam.language import heatmap_latex, parse
from sycam.language.symbolic import from_sympy, to_sympy
from sycam.search import Enumerator, Level

PRODUCT = "cam[1](relu(G)) * cam[3](mean(G))"
MIRRORED = f"mirror({PRODUCT})"
SIZE = (16, 16)


def measured(network, images, *texts, target="predicted"):
    layers = [Layer(name, network.get_submodule(name)) for name in ("1", "3")]
    leaves = frozenset().union(*(parse(text).leaves for text in texts))
    return stacked(measure_leaves(network, layers, Examples(images), leaves, target))


def product_by_hand(network, images, classes):
    """relu(G) at layer 1 times mean(G) at layer 3, each scaled to a maximum of 1, ``[N,16,16]``."""
    images = images.clone().requires_grad_()  # so that layer outputs are part of a graph
    fine = network[:2](images)
    deep = network[2:4](fine)
    scores = network[4:](deep).gather(1, classes[:, None]).sum()
    of_fine, of_deep = torch.autograd.grad(scores, [fine, deep])
    maps = []
    for weights, activations in (
        (of_fine.clamp(min=0), fine),
        (of_deep.mean((2, 3), keepdim=True), deep),
    ):
        heat = (weights * activations).sum(1, keepdim=True).clamp(min=0).detach()
        maps.append(heat / heat.amax((2, 3), keepdim=True).clamp(min=1e-30))
    larger = F.interpolate(maps[1], SIZE, mode="bilinear", align_corners=False)
    return (maps[0] * larger)[:, 0]


def test_it_is_the_mean_with_the_flipped_map_of_the_flipped_image(small_network, small_images):
    """What is explained of the mirror image is the class of the image, whatever it is taken for."""
    with torch.no_grad():  # so that predictions differ
        small_network[-1].bias -= small_network(small_images).mean(0)
    classes = small_network(small_images).argmax(1)
    assert (small_network(small_images.flip(-1)).argmax(1) != classes).any()
    one = product_by_hand(small_network, small_images, classes)
    other = product_by_hand(small_network, small_images.flip(-1), classes).flip(-1)
    with pytest.warns(BlankHeatmapWarning, match="2 of 7"):
        found = sycam.CAM(small_network, MIRRORED)(small_images)
    torch.testing.assert_close(found, norm01((one + other) / 2), rtol=0, atol=1e-5)
    assert (found - norm01(one)).abs().max() > 0.01


@pytest.mark.parametrize("target", [2, lambda row: row[1] - row[2], "probability:of=3"])
def test_the_map_of_the_mirror_image_is_the_mirror_image_of_the_map(
    small_network, small_images, target
):
    cam = sycam.CAM(small_network, "3", "mirror(cam(relu(G)))")
    found = cam(small_images, target)
    torch.testing.assert_close(cam(small_images.flip(-1), target).flip(-1), found)
    assert found.amax((1, 2)).gt(0).any()


def test_the_mirror_image_is_measured_only_where_it_is_used(small_network, small_images):
    passes = []
    small_network[0].register_forward_hook(lambda *_: passes.append(1))
    plain = measured(small_network, small_images, PRODUCT)
    assert len(passes) == 1
    assert not any("mirrored" in name for name in plain.layers[0].leaves)
    measured(small_network, small_images, MIRRORED)
    assert len(passes) == 3


def test_only_what_stands_inside_is_measured_twice():
    assert parse("mirror(cam(relu(G))) * cam(softmax(S))").leaves == {
        "gradients", "masked_scores", "mirrored activations", "mirrored gradients",
    }  # fmt: skip
    assert parse("mirror(mirror(cam(A)) + cam(G))").leaves == {
        "activations", "gradients", "mirrored activations", "mirrored gradients",
    }  # fmt: skip


def test_expressions_with_and_without_keep_their_order(small_network, small_images):
    texts = [
        PRODUCT,
        MIRRORED,
        "mean(G)",
        f"0.5 * mirror(cam[3](G)) + {PRODUCT}",
        f"mirror({MIRRORED})",
    ]
    evidence = measured(small_network, small_images, *texts)
    together = maps_of([parse(text) for text in texts], evidence, SIZE)
    for place, text in enumerate(texts):
        alone = maps_of([parse(text)], evidence, SIZE)
        torch.testing.assert_close(together.maps[place], alone.maps[0])
        assert together.degenerate[place].equal(alone.degenerate[0])
    torch.testing.assert_close(together.maps[1], together.maps[4])  # once more changes nothing
    assert together.maps.shape == (5, len(small_images), *SIZE)


@pytest.mark.parametrize("text", [MIRRORED, f"cam[1](A) + 0.3 * mirror({PRODUCT})"])
def test_the_compiled_form_agrees(small_network, small_images, text):
    evidence = measured(small_network, small_images, text)
    found = compiled_maps(parse(text), compile=False)(evidence, SIZE)
    expected = maps_of([parse(text)], evidence, SIZE)
    torch.testing.assert_close(found.maps, expected.maps, rtol=0, atol=1e-6)
    assert found.degenerate.equal(expected.degenerate)


def test_one_layer_is_compiled_from_its_leaves(small_network, small_images):
    formula = parse("mirror(cam(relu(G)))")
    (layer, _) = measured(small_network, small_images, str(formula)).layers
    found = compiled_heatmaps(formula, compile=False)(layer.leaves, SIZE).maps
    torch.testing.assert_close(found, maps_of([formula], layer, SIZE).maps, rtol=0, atol=1e-6)


def test_what_was_not_measured_is_told(small_network, small_images):
    plain = measured(small_network, small_images, PRODUCT)
    with pytest.raises(ExpressionError, match="reads activations, gradients of the images flipped"):
        maps_of([parse(MIRRORED)], plain, SIZE)
    with pytest.raises(ExpressionError, match="computed from pairs of images"):
        heatmaps([parse("mirror(cam(G))")], plain.layers[0].leaves, SIZE)


def test_how_it_is_written():
    formula = parse(MIRRORED)
    assert parse(str(formula)) is formula
    assert from_sympy(to_sympy(formula)) is formula
    assert heatmap_latex(parse("mirror(cam(G))")) == (
        r"\operatorname{mirror}\left(\operatorname{cam}\left(\sum_k G_k \cdot A_k\right)\right)"
    )


def test_a_volume_is_flipped_along_its_rows():
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv3d(1, 3, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(3 * 120, 2)
    )
    volumes = torch.randn(2, 1, 4, 5, 6)
    found = sycam.CAM(network, "1", "mirror(cam(relu(G)))")(volumes, 1)
    again = sycam.CAM(network, "1", "mirror(cam(relu(G)))")(volumes.flip(-1), 1)
    torch.testing.assert_close(found, again.flip(-1), rtol=0, atol=1e-5)


# --- searches -----------------------------------------------------------------------------------

GRAMMAR = """
?start: saliency
?saliency: "cam" "(" map ")" -> cam
      | "mirror" "(" saliency ")" -> mirror
?map: "A" -> activations | "G" -> gradients | "relu" "(" map ")" -> relu
"""


def test_a_grammar_that_names_it_asks_for_the_mirror_images():
    grammar = read_grammar(GRAMMAR, "mirrored")
    assert grammar.leaves == {
        "activations", "gradients", "mirrored activations", "mirrored gradients",
    }  # fmt: skip
    assert not any("mirrored" in name for name in load_grammar("network").leaves)


def test_candidates_are_told_apart_on_pairs(small_network, small_images):
    grammar = read_grammar(GRAMMAR, "mirrored").at(["1", "3"])
    evidence = measured(small_network, small_images[:3], "mirror(cam[1](G)) * cam[3](A)")
    sites = {one.name: pairs_of(grammar.leaves, one.leaves) for one in evidence.layers}
    made = Enumerator(grammar, sites["1"], "positive-scale", SIZE, confirm=2, sites=sites)
    found = [str(e) for e in made.candidates(3) if not isinstance(e, Level)]
    assert {"cam[1](G)", "mirror(cam[1](G))", "mirror(cam[3](G))"} <= set(found)
    assert not any("mirror(mirror(" in text for text in found)
    with pytest.raises(OptionError, match="told apart on images in pairs"):
        Enumerator(grammar, evidence.layers[0].leaves, "positive-scale", SIZE)


@pytest.mark.slow
def test_a_search_finds_it(small_network, tmp_path):
    path = tmp_path / "mirrored.lark"
    path.write_text(GRAMMAR)
    images = torch.rand(16, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    result = sycam.synthesize(
        small_network, ["1", "3"], ImageSet.from_arrays(images), metric="average-drop",
        grammar=str(path), mode="exact", max_cost=3, budget=1000, search_images=8, heldout=8,
        out=tmp_path / "run",
    )  # fmt: skip
    listed = {formula.expression for formula in (*result.front, *result.hall)}
    mirrored = next(text for text in listed if "mirror" in text)
    assert sycam.CAM(small_network, mirrored)(images).shape == (16, 16, 16)


def test_metrics_of_changed_images_see_the_mirror_images_of_those(small_network, small_images):
    images = ImageSet.from_arrays(small_images)
    texts = ["cam[3](relu(G))", "mirror(cam[3](relu(G)))"]
    table = sycam.evaluate(small_network, ["1", "3"], images, texts, ["equivariance", "coherency"])
    assert all(0 <= table.cells[text, "coherency"].mean <= 1 for text in texts)
    flips = sycam.evaluate(small_network, ["1", "3"], images, texts, ["class-sensitivity"])
    assert flips.cells[texts[1], "class-sensitivity"].mean > 0
