"""Formulas that read several target layers by their names."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F

from sycam.errors import ExpressionError
from sycam.language import heatmap_latex, parse, to_text
from sycam.language import saliency as maps
from sycam.language.symbolic import from_sympy, to_sympy

FORMULA = "cam[layer2.0](relu(G)) * smooth(cam[layer4](mean(G))) + 0.5 * top(cam[stem_1](A), 20)"


def test_text_sympy_and_copies_give_the_same_formula_back():
    formula = parse(FORMULA)
    assert to_text(formula) == FORMULA
    assert from_sympy(to_sympy(formula)) is formula
    assert copy.deepcopy(formula) is formula


def test_it_knows_its_layers_leaves_and_latex():
    formula = parse(FORMULA)
    assert formula.sort == "saliency"
    assert formula.sites == ("layer2.0", "layer4", "stem_1")
    assert formula.leaves == {"activations", "gradients"}
    assert r"\operatorname{cam}_{\text{stem\_1}}" in heatmap_latex(formula)
    assert parse("mean(G)").sites == parse("cam(G)").sites == ()


def test_the_same_weights_at_two_layers_are_two_formulas():
    one, other = parse("cam[a](G)"), parse("cam[b](G)")
    assert one is not other
    assert one.children == other.children
    assert one.sort_key() < other.sort_key()
    assert parse("cam(G)").sort_key() < one.sort_key()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("mean[layer4](G)", "only cam reads a layer by its name"),
        ("cam[layer4](2)", "takes (heat) or (map) or (weight), but was given 2 (scalar)"),
        ("cam[a](cam[b](G))", "but was given cam[b](G) (saliency)"),
        ("cam[a](G) * mean(G)", "'mul' takes"),
        ("cam[a](G) - cam[b](G)", "'sub' takes"),
        ("top(mean(G), 20)", "'top' takes (saliency, scalar)"),
        ("cam[a b](G)", "unexpected character '['"),
        ("cam[](G)", "unexpected character '['"),
        ("cam[a]", "the text ends too early"),
        (f"cam[{'x' * 300}](G)", "is no name of a layer"),
    ],
)
def test_what_makes_no_sense_is_refused(text, said):
    with pytest.raises(ExpressionError) as refused:
        parse(text)
    assert said in str(refused.value)


def test_two_grids_meet_on_the_finer_one():
    generator = torch.Generator().manual_seed(0)
    fine = torch.rand(2, 1, 8, 6, generator=generator)
    coarse = torch.rand(2, 1, 4, 3, generator=generator)
    resized = F.interpolate(coarse, (8, 6), mode="bilinear", align_corners=False)
    torch.testing.assert_close(maps.multiply_saliency(coarse, fine), resized * fine)
    torch.testing.assert_close(maps.add_saliency(fine, coarse), fine + resized)
    torch.testing.assert_close(maps.maximum_saliency(fine, coarse), fine.maximum(resized))


def test_top_marks_as_many_places_as_it_says_and_ties_in_order():
    ramp = torch.arange(20.0).view(1, 1, 4, 5)
    marked = maps.top(ramp, torch.full((1, 1, 1), 20.0))
    assert marked.flatten().nonzero().flatten().tolist() == [16, 17, 18, 19]
    tied = maps.top(torch.ones(1, 1, 4, 5), torch.full((1, 1, 1), 15.0))
    assert tied.flatten().nonzero().flatten().tolist() == [0, 1, 2]
    spike = torch.zeros(1, 1, 4, 5)
    spike[..., 2, 2] = 1
    assert maps.top(spike, torch.full((1, 1, 1), 50.0)).sum() == 1  # what is 0 is never marked
