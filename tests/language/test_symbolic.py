"""Expressions as sympy trees: lossless both ways, simplified for people; LaTeX of leaves."""

from __future__ import annotations

import subprocess
import sys
from itertools import accumulate

import pytest
import sympy
import torch

from sycam.errors import ExpressionError, SycamError
from sycam.grammar import grammar_names, load_grammar
from sycam.grammar.sampling import all_expressions, sample_expressions
from sycam.heatmaps import evaluate
from sycam.language import Expression, apply, heatmap_latex, parse, to_latex
from sycam.language.operators import OPERATORS
from sycam.language.signatures import SCALAR
from sycam.language.symbolic import from_sympy, operation, simplify, to_sympy

CHEAPEST = {"scalar": "1", "weight": "mean(G)", "map": "G", "heat": "smooth(G)",
            "saliency": "cam[layer1.0](G)"}  # fmt: skip


def lost(expressions: list[Expression]) -> list[Expression]:
    return [e for e in expressions if from_sympy(to_sympy(e)) is not e]


def bound(name: str, most: int) -> int:
    """The largest cost up to 5 to which the grammar has at most that many trees."""
    totals = list(accumulate(load_grammar(name).tree_counts(5)))
    return sum(total <= most for total in totals)


def test_importing_sycam_does_not_import_sympy():
    """It takes half a second, which no command but export needs."""
    code = "import sys, sycam.cli; sys.exit('sympy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("name", grammar_names())
def test_every_cheap_expression_survives_the_way_to_sympy_and_back(name):
    grammar = load_grammar(name)
    assert lost(all_expressions(grammar, bound(name, 12_000))) == []
    assert lost(sample_expressions(grammar, 5, 2_000, seed=0)) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", grammar_names())
def test_every_expression_up_to_cost_five_survives(name):
    """All of them where they are fewer than 200,000, else all of some cost and a sample."""
    grammar = load_grammar(name)
    whole = bound(name, 200_000)
    assert lost(all_expressions(grammar, whole if whole == 5 else bound(name, 50_000))) == []
    if whole < 5:
        assert lost(sample_expressions(grammar, 5, 20_000, seed=0)) == []


def test_every_typing_of_every_operator_survives():
    made = [
        apply(op.name, *(parse(CHEAPEST[sort]) for sort in overload.arguments))
        for op in OPERATORS.values()
        for overload in op.overloads
    ]
    assert len(made) > len(OPERATORS)
    assert lost(made) == []
    assert len({to_sympy(e) for e in made}) == len(set(made))


@pytest.mark.parametrize(
    "text",
    ["A * G / G", "G + A", "A + G", "A - A", "1 + 2 + G", "0.5 * (2 * G)", "(A * G) * A",
     "A * (G * A)", "neg(neg(G))", "exp(G) * exp(A)", "(1 + 1) * G", "square(A) * A",
     "0.37 * (0.37 * G)", "0.1 + 0.2 + G", "-0.37 * G", "neg(-3) * G", "1e-5 / 1e5 * G", "0 * G"],
)  # fmt: skip
def test_sympy_neither_reorders_nor_merges_nor_cancels(text):
    assert from_sympy(to_sympy(parse(text))) is parse(text)


@pytest.mark.parametrize("name", grammar_names())
def test_nothing_is_lost_through_cse(name):
    for expression in sample_expressions(load_grammar(name), 9, 200, seed=1):
        steps, (result,) = sympy.cse([to_sympy(expression)], order="none")
        meaning = {}
        for symbol, tree in steps:
            meaning[symbol] = from_sympy(tree, meaning)
        assert from_sympy(result, meaning) is expression


def test_the_deepest_expression_survives():
    expression = parse("-" * 99 + "A")
    assert from_sympy(to_sympy(expression)) is expression


@pytest.mark.parametrize(
    ("tree", "said"),
    [
        (sympy.Symbol("A", real=True) + 1, "Add"),
        (sympy.Symbol("Q"), "Q"),
        (sympy.Rational(1, 3), "1/3"),  # no decimal
        (sympy.Integer(-7), "-7"),  # neg(7) is
        (sympy.Float("0.37"), "0.37"),
        (operation("mean")(sympy.Integer(2)), r"'mean' takes \(map\)"),
        (operation("mean")(), "nothing"),
        (operation("wibble")(sympy.Symbol("A", real=True)), "'wibble' is not known"),
        (sympy.sin(sympy.Symbol("A", real=True)), "sin"),
    ],
)
def test_a_tree_that_is_no_expression_is_refused(tree, said):
    with pytest.raises(SycamError, match=said) as caught:
        from_sympy(tree)
    assert "in the sympy tree" in str(caught.value)


def test_a_tree_too_deep_is_refused():
    tree = sympy.Symbol("A", real=True)
    for _ in range(5000):
        tree = operation("neg")(tree)
    with pytest.raises(ExpressionError, match="too deeply"):
        from_sympy(tree)


# --- for people --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("A * G / G", "A"),
        ("A - A", "0"),
        ("A / 0", "0"),  # was zoo*A
        ("0 / 0 + G", "G"),
        ("A / (relu(G) - relu(G))", "0"),
        ("exp(A) / (square(G + 1) - square(G) - 2 * G - 1)", "0"),
        ("neg(neg(G))", "G"),
        ("0.5 * G + 0.5 * G", "G"),
        ("square(abs(G))", "G**2"),
        ("square(abs(mean(G)))", "mean(G)**2"),
        ("relu(relu(G))", "Max(0, G)"),
        ("sum(G * A) / sum(A)", "sum(A*G)/sum(A)"),
        ("cube(G) / square(G)", "G"),
        ("softmax(S) + softmax(S)", "2*softmax(S)"),
        ("exp(G) * exp(A)", "exp(A + G)"),
        ("channelsum(relu(G * A))", "channelsum(Max(0, A*G))"),
        ("principal(G * A)", "principal(A*G)"),
        ("0.37 * mean(G) + max(A)", "max(A) + 0.37*mean(G)"),
        ("0.1 * G + 0.2 * G", "0.3*G"),
    ],
)
def test_simplified_forms(text, form):
    assert str(simplify(parse(text))) == form


def test_a_simplified_form_is_no_longer_than_the_expression_in_algebra():
    """sympy once made a case distinction of five lines out of ``symsqrt(cube(sign(A)))``."""
    for expression in sample_expressions(load_grammar("gradient"), 6, 60, seed=2):
        assert len(str(simplify(expression))) <= 2 * len(str(expression))


ALGEBRAIC = [op for op in OPERATORS.values() if op.algebra is not None]


@pytest.mark.parametrize("op", ALGEBRAIC, ids=lambda op: op.name)
def test_the_form_in_algebra_is_what_the_operator_computes(op):
    """Away from where they are declared to differ: denominators at 0, exponents over 20."""
    symbols = sympy.symbols(f"u:{op.arity}", real=True)
    form = sympy.lambdify(symbols, op.algebra(sympy, *symbols), "math")
    for a, b in [(0.7, 1.3), (-2.5, 0.9), (1.1, -0.4), (-0.3, -3.0), (2.0, 2.0)]:
        given = [a, b][: op.arity]
        tensors = [torch.full((1, 2, 2), v, dtype=torch.float64) for v in given]
        computed = op.overloads[-1].compute(tensors, tensors[0])
        assert computed[0, 0, 0].item() == pytest.approx(form(*given), rel=1e-9)


def test_simplified_forms_keep_the_value_where_nothing_is_zero():
    g = torch.Generator().manual_seed(0)
    a, b = torch.rand(2, 1, 3, 4, 4, generator=g, dtype=torch.float64) + 0.5
    leaves = {"activations": a, "gradients": b}
    symbols = sympy.symbols("A G", real=True)
    for text in (
        "(A + G) * (A - G)", "square(A / G) * cube(G)", "(A + 1) / A + G",
        "relu(A - G) + neg(relu(G - A))", "exp(A) / exp(G) * abs(neg(A))",
    ):  # fmt: skip
        form = sympy.lambdify(symbols, simplify(parse(text)), "numpy")
        (computed,) = evaluate([parse(text)], leaves)
        torch.testing.assert_close(torch.from_numpy(form(a.numpy(), b.numpy())), computed)


# --- LaTeX of what is measured besides activations and gradients --------------------------------


@pytest.mark.parametrize(
    ("text", "latex"),
    [
        ("softmax(S)", r"\operatorname{softmax}_k(S_k)"),
        ("mean(G - 0.5 * H)", r"\overline{G_k - \frac{1}{2} \cdot H_k}"),
        ("mean(G) * normalize(MI)", r"\overline{G_k} \cdot \frac{\mathrm{MI}_k}{\|\cdot\|_1}"),
        ("y * D", r"y \cdot D_k"),
        ("0.37 * C", r"0.37 \cdot C_k"),
        ("2.5e-7 * C / 1e6", r"\frac{2.5 \cdot 10^{-7} \cdot C_k}{10^{6}}"),
        ("above(A, 1e6)", r"\left[A_k > \mu + \left(10^{6}\right)\,\sigma\right]"),
        ("(1 - p) * C", r"\left(1 - p\right) \cdot C_k"),
        ("square(D - C)", r"\left(D_k - C_k\right)^{2}"),
        ("abs(S) / y", r"\frac{\left|S_k\right|}{y}"),
        ("above(A, 1 + p)", r"\left[A_k > \mu + \left(1 + p\right)\,\sigma\right]"),
    ],
)
def test_latex_with_dear_leaves(text, latex):
    assert to_latex(parse(text)) == latex


@pytest.mark.parametrize(
    ("text", "inside"),
    [
        ("channelsum(relu(G * A))", r"\sum_k \mathrm{ReLU}(G_k \cdot A_k)"),
        ("channelsum(G * A)", r"\sum_k \left(G_k \cdot A_k\right)"),
        ("channelsum(G + H)", r"\sum_k \left(G_k + H_k\right)"),
        ("channelsum(sum(A) * G)", r"\sum_k \left(\left(\sum_{ij} A_k\right) \cdot G_k\right)"),
        ("smooth(channelsum(A))", r"\operatorname{blur}\left(\sum_k A_k\right)"),
        ("S + D", r"\sum_k \left(S_k + D_k\right) \cdot A_k"),
    ],
)
def test_latex_of_whole_heatmaps(text, inside):
    """A heat is not multiplied by the activations again."""
    assert heatmap_latex(parse(text)) == rf"\mathrm{{ReLU}}\left({inside}\right)"


def test_every_leaf_has_a_drawable_formula():
    for op in OPERATORS.values():
        if op.is_leaf and op.overloads[0].result != SCALAR:
            assert op.symbol in to_latex(apply(op.name))
