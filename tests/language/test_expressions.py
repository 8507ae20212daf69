"""Text, trees and back: every cheap expression of the shipped grammar, and random deeper ones."""

from __future__ import annotations

import copy
import gc
import pickle
import re
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.mathtext import MathTextParser

from sycam.errors import ExpressionError, UnknownNameError
from sycam.grammar import Grammar, load_grammar
from sycam.grammar.grammar import splits
from sycam.language import (
    OPERATORS,
    Expression,
    apply,
    heatmap_latex,
    parse,
    parse_weights,
    to_latex,
)
from sycam.language.expression import number
from sycam.language.signatures import COMMUTATIVE
from sycam.language.symbolic import from_sympy, to_sympy
from sycam.methods import find_method

GRADIENT = load_grammar("gradient")
MAX_COST = 4


def trees(grammar: Grammar, max_cost: int) -> dict[str, list[list[Expression]]]:
    """Every derivation tree, by symbol and cost, built naively from the productions."""
    bank = {symbol: [[] for _ in range(max_cost + 1)] for symbol in grammar.symbols}
    for cost in range(1, max_cost + 1):
        for p in grammar.productions:
            for split in splits(cost - p.operator.cost, len(p.arguments)):
                pools = [bank[a][c] for a, c in zip(p.arguments, split, strict=True)]
                for children in product(*pools):
                    made = apply(p.operator.name, *children)
                    for owner in p.owners:
                        bank[owner][cost].append(made)
    return bank


@pytest.fixture(scope="module")
def levels() -> list[list[Expression]]:
    return trees(GRADIENT, MAX_COST)["start"]


@pytest.fixture(scope="module")
def expressions(levels) -> list[Expression]:
    return [e for level in levels for e in level]


def by_sort(sort: str) -> list[tuple[str, tuple[str, ...]]]:
    """(operator, argument sorts) of everything that gives the sort, leaves left out."""
    return [
        (op.name, o.arguments)
        for op in OPERATORS.values()
        for o in op.overloads
        if o.result == sort and o.arguments
    ]


@st.composite
def any_expression(draw, sort: str | None = None, depth: int = 5) -> Expression:
    """Any typed tree over the whole operator table, not only over one grammar."""
    sort = sort or draw(st.sampled_from(["scalar", "weight", "map", "heat", "saliency"]))
    leaves = [op.name for op in OPERATORS.values() if op.is_leaf and op.overloads[0].result == sort]
    if leaves and (depth == 0 or draw(st.integers(0, 3)) == 0):
        if sort == "scalar" and draw(st.booleans()):
            return number(draw(st.sampled_from([0.37, 1.7, 3, 1e-5, 2.5e6, -0.37])))
        return apply(draw(st.sampled_from(leaves)))
    choices = by_sort(sort)
    if depth == 0:  # the cheapest way down to a leaf
        cheapest = {"weight": "mean", "heat": "smooth", "saliency": "cam[layer2.0]"}
        choices = [(cheapest[sort], ("map",))]
    name, arguments = draw(st.sampled_from(choices))
    return apply(name, *(draw(any_expression(s, max(depth - 1, 0))) for s in arguments))


# --- round trip --------------------------------------------------------------------------------


def test_text_of_every_cheap_expression_parses_back_to_the_same_object(expressions):
    assert [e for e in expressions if parse(str(e)) is not e] == []


def test_grammar_reads_the_text_of_its_own_expressions(expressions):
    assert [e for e in expressions if GRADIENT.parse(str(e)) is not e] == []


def test_every_tree_of_the_grammar_is_in_it(expressions):
    assert [e for e in expressions if e not in GRADIENT] == []


@settings(max_examples=200, deadline=None)
@given(any_expression())
def test_text_of_random_deep_expressions_parses_back(expression):
    assert parse(str(expression)) is expression
    assert parse(str(expression), sort=expression.sort) is expression


@settings(max_examples=200, deadline=None)
@given(any_expression(depth=4))
def test_what_the_grammar_reads_is_what_it_holds(expression):
    """Membership and the grammar's own parser agree, up to the order of commutative arguments."""
    commutes = any(COMMUTATIVE in n.operator.laws for n in expression.nodes())
    try:
        read = GRADIENT.parse(str(expression))
    except ExpressionError:
        assert commutes or expression not in GRADIENT
    else:
        assert read is expression
        assert expression in GRADIENT


def test_counts_of_trees_equal_brute_force(levels):
    assert GRADIENT.tree_counts(MAX_COST) == [len(level) for level in levels[1:]]
    assert all(e.cost == cost for cost, level in enumerate(levels) for e in level)


def test_text_and_latex_tell_all_expressions_apart(expressions):
    assert len({*expressions}) == len({str(e) for e in expressions})
    assert len({*expressions}) == len({to_latex(e) for e in expressions})


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("A-(G-A)", "A - (G - A)"),
        ("A-G-A", "A - G - A"),
        ("A/(G*A)/G", "A / (G * A) / G"),
        ("(A/G)*A", "A / G * A"),
        ("((A))", "A"),
        ("-G", "neg(G)"),
        ("--G", "neg(neg(G))"),
        ("-A*G", "neg(A) * G"),
        ("A - -G", "A - neg(G)"),
        ("0.50 * G", "0.5 * G"),
        ("2.0*G\n+ 1", "2 * G + 1"),
        ("above( A ,2 )", "above(A, 2)"),
        ("0.370*G", "0.37 * G"),
        (".5*G", "0.5 * G"),
        ("5e-1*G", "0.5 * G"),
        ("2.*G", "2 * G"),
        ("1E+06 * G", "1e6 * G"),
        ("0.00001 * G", "1e-5 * G"),
        ("0.123456789 * G", "0.123457 * G"),
        ("-0.37 * G", "-0.37 * G"),
        ("A - -0.37", "A - -0.37"),
        ("neg(1)*G", "-1 * G"),
        ("--3*G", "neg(-3) * G"),
    ],
)
def test_reading_and_printing(text, printed):
    assert str(parse(text)) == printed


# --- numbers -----------------------------------------------------------------------------------

VALUES = st.floats(1e-37, 1e38)


@given(VALUES, st.sampled_from(["{} * G", "above(A, {})", "A - {}", "-{} * mean(G)", "{} / A"]))
def test_a_number_is_read_to_six_digits_and_printed_as_it_is_read(value, form):
    expression = parse(form.format(f"{value!r}"))
    assert parse(str(expression)) is expression
    assert pickle.loads(pickle.dumps(expression)) is expression  # noqa: S301
    assert from_sympy(to_sympy(expression)) is expression
    (leaf,) = (n for n in expression.nodes() if n.operator.value is not None)
    assert leaf.operator.value == pytest.approx(value, rel=5.1e-6)
    assert len(re.sub(r"e-?\d+|\.|^0\.0*", "", str(leaf)).strip("0")) <= 6
    assert (leaf.sort, leaf.cost) == ("scalar", apply("half").cost)
    assert expression.leaves <= {"activations", "gradients"}


@given(VALUES, VALUES)
def test_equal_numbers_are_one_object_and_others_are_ordered(a, b):
    first, second = number(a), number(b)
    assert number(first.operator.value) is first is parse(str(first))
    assert number(-a) is parse(f"-{first}")
    assert (first is second) == (first.operator.value == second.operator.value)
    both = [parse(f"{n} * G") for n in (first, second, apply("half"), apply("one"))]
    assert len({e.sort_key() for e in both}) == len(set(both))
    ordered = sorted(both, key=Expression.sort_key)
    both.reverse()
    assert sorted(both, key=Expression.sort_key) == ordered


@pytest.mark.parametrize(
    ("texts", "name"),
    [(("2", "2.0", "2.", "20e-1", "2.0000001"), "two"), (("0.5", ".5", "5e-1", "0.50"), "half")],
)
def test_the_tables_constants_are_known_however_they_are_written(texts, name):
    assert {parse(text) for text in texts} == {apply(name)}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 1e-40, 1e40, "x"])
def test_what_is_no_number_of_the_language_is_refused(value):
    with pytest.raises(ExpressionError, match="number"):
        number(value)


def test_forgotten_numbers_are_freed_and_built_anew():
    for _ in range(3):
        made = [parse(f"{i}.25 * G") for i in range(50)]
        assert [str(e) for e in made] == [f"{i}.25 * G" for i in range(50)]
        assert [parse(f"{i}.25 * G") for i in range(50)] == made
        del made
        gc.collect()


# --- hash-consing ------------------------------------------------------------------------------


def test_equal_trees_are_one_object():
    first, second = parse("mean(relu(G)) * max(A)"), parse(" mean(relu(G))*max( A )")
    assert first is second
    assert first == apply("mul", parse("mean(relu(G))"), parse("max(A)"))
    assert len({first, second}) == 1
    assert parse("A * G") is not parse("G * A")


def test_copies_and_pickles_are_the_same_object():
    expression = parse("sum(relu(G) / (2 + sum(A) * G))")
    assert copy.copy(expression) is expression
    assert copy.deepcopy([expression])[0] is expression
    assert pickle.loads(pickle.dumps(expression)) is expression  # noqa: S301


def test_expressions_are_immutable():
    with pytest.raises(AttributeError, match="immutable"):
        parse("A").cost = 3


def test_forgotten_expressions_are_freed_and_built_anew():
    for _ in range(3):  # a stale identity would give the wrong node
        texts = [f"abs(cube({op}(A - G)))" for op in ("mean", "max", "min", "std", "sum")]
        made = [parse(t) for t in texts]
        assert [str(e) for e in made] == texts
        del made
        gc.collect()


def test_nodes_come_children_first_and_once():
    expression = parse("(A + G) * relu(A + G)")
    assert [str(n) for n in expression.nodes()] == [
        "A",
        "G",
        "A + G",
        "relu(A + G)",
        "(A + G) * relu(A + G)",
    ]
    assert expression.cost == 8
    assert expression.leaves == {"activations", "gradients"}
    assert parse("mean(A) + 1").leaves == {"activations"}


@settings(max_examples=100, deadline=None)
@given(st.lists(any_expression(depth=3), max_size=6))
def test_the_order_of_expressions_is_total_and_by_cost(some):
    ordered = sorted(some, key=Expression.sort_key)
    assert [e.cost for e in ordered] == sorted(e.cost for e in some)
    some.reverse()
    assert sorted(some, key=Expression.sort_key) == ordered
    assert len({e.sort_key() for e in some}) == len(set(some))


# --- errors ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "column"),
    [
        ("mean(G", 6),
        ("mean(G))", 7),
        ("A * * G", 4),
        ("A $ G", 2),
        ("", 0),
        ("mean()", 5),
        ("A G", 2),
        ("above(A,,2)", 8),
        ("A[0]", 4),
    ],
)
def test_a_syntax_error_has_a_caret_under_the_place(text, column):
    with pytest.raises(ExpressionError, match="cannot read expression") as caught:
        parse(text)
    shown, caret = str(caught.value).splitlines()[-2:]
    assert shown[4:] == text
    assert caret.index("^") - 4 == column


def test_the_caret_is_under_the_line_that_fails():
    with pytest.raises(ExpressionError) as caught:
        parse("A +\n  G G")
    assert str(caught.value).splitlines()[-2:] == ["      G G", "        ^"]


@pytest.mark.parametrize(
    "text", ["mean(G)\r\n", "\tmean(G) ", "mean(\r\n    G\r\n)", "\u00a0mean(G)\u00a0"]
)
def test_white_space_of_any_kind_is_read_over(text):
    """A line of a file that was written on Windows was refused."""
    assert parse(text) is parse("mean(G)")
    assert find_method(text).expression is parse("mean(G)")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("A × G", r"write \* for '×'"),
        ("A÷G", "write / for '÷'"),
        ("A − G", "write - for '−'"),
        ("A^2", r"write square\(t\), cube\(t\), symsqrt\(t\) or a product for '\^'"),
        ("relu(A)**2", r"write square\(t\), .* for '\*\*'"),
        ("A²", r"write square\(t\), .* for '²'"),
    ],
)
def test_the_sign_of_another_language_comes_with_the_right_one(text, said):
    with pytest.raises(ExpressionError, match=said):
        parse(text)
    with pytest.raises(ExpressionError, match=said):
        find_method(text)


@pytest.mark.parametrize(
    ("text", "near"),
    [("meen(G)", "'mean'"), ("relue(A)", "'relu'"), ("mean(a)", "'A'"), ("GG", "'G'")],
)
def test_an_unknown_name_comes_with_the_nearest(text, near):
    with pytest.raises(UnknownNameError, match=r"in expression .* is not known") as caught:
        parse(text)
    assert near in str(caught.value)
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("mean(mean(G))", r"'mean' takes \(map\), but was given mean\(G\) \(weight\)"),
        ("softmax(G)", r"'softmax' takes \(weight\)"),
        ("above(A, G)", r"'above' takes \(map, scalar\), but was given A \(map\), G \(map\)"),
        ("relu(A, G)", r"'relu' takes"),
        ("above(A)", r"'above' takes"),
        ("relu(1)", r"given 1 \(scalar\)"),
        ("A(G)", "'A' is a leaf and takes no arguments"),
        ("relu", r"'relu' needs arguments, like relu\(G\)"),
        ("above(A, 1.7, 2)", r"'above' takes"),
        ("1e999 * G", "number 1e999 is out of range: it must be 0 or from 1e-37 to 1e38"),
        ("1e-999 * G", "number 1e-999 is out of range"),
        ("G + 1e39", r"number 1e\+39 is out of range"),
        ("nan * G", "'nan' is not known"),
        ("inf", "'inf' is not known"),
        ("0." + "3" * 300, "has 302 characters"),
        ("1_000 * G", "unexpected '_000'"),
        ("٣ * G", "unexpected character"),
        ("activations", "needs arguments|is not known"),
    ],
)
def test_wrong_sorts_and_numbers_of_arguments(text, said):
    with pytest.raises((ExpressionError, UnknownNameError), match=said):
        parse(text)


def test_the_sort_asked_for_is_checked():
    with pytest.raises(ExpressionError, match=r"is a map \[N,K,h,w\], but a weight \[N,K\]"):
        parse("relu(G)", sort="weight")
    assert parse_weights("relu(G)").sort == "map"
    with pytest.raises(ExpressionError, match="is a scalar"):
        parse_weights("1 + 2")


@pytest.mark.parametrize(
    "text",
    [
        "-" * 3000 + "A",
        "relu(" * 700 + "A" + ")" * 700,
        "+".join("A" * 1900),
        "-" * 150 + "A",
        "A" * 5000,
    ],
)
def test_monstrous_text_is_refused_with_a_typed_error(text):
    """Once, a text nested 900 deep was accepted and printing it ran into the recursion limit."""
    with pytest.raises(ExpressionError, match=r"nested|too long"):
        parse(text)


def test_the_deepest_text_allowed_can_be_used_everywhere():
    expression = parse("-" * 99 + "A")
    assert parse(str(expression)) is expression
    assert len(list(expression.nodes())) == 100
    assert expression.sort_key()
    assert to_latex(expression).count("{") == to_latex(expression).count("}")
    assert expression in GRADIENT  # the grammar has neg of maps


def test_only_what_the_operator_table_says_is_built():
    with pytest.raises(UnknownNameError, match="did you mean 'mean'"):
        apply("maen", apply("gradients"))
    with pytest.raises(ExpressionError, match="nothing"):
        apply("mean")
    with pytest.raises(ExpressionError, match="is a leaf"):
        apply("gradients", apply("gradients"))


# --- LaTeX -------------------------------------------------------------------------------------


def well_formed(latex: str) -> bool:
    r"""Braces nest, and each ``\left`` has its ``\right`` inside the same braces."""
    closers = []
    i = 0
    while i < len(latex):
        if latex.startswith(r"\left", i):
            closers.append("right")
            i += 5
        elif latex.startswith(r"\right", i):
            if not closers or closers.pop() != "right":
                return False
            i += 6
        elif latex[i] == "\\":
            i += 2
        else:
            if latex[i] == "{":
                closers.append("brace")
            elif latex[i] == "}" and (not closers or closers.pop() != "brace"):
                return False
            i += 1
    return not closers


def test_latex_of_every_cheap_expression_is_well_formed(expressions):
    assert [str(e) for e in expressions if not well_formed(heatmap_latex(e))] == []


@settings(max_examples=100, deadline=None)
@given(any_expression())
def test_latex_of_random_expressions_is_well_formed(expression):
    assert well_formed(heatmap_latex(expression))
    assert "{0}" not in to_latex(expression)


def test_matplotlib_can_draw_the_formulas(levels):
    r"""It knows neither ``\Big`` nor ``\lVert``."""
    parser = MathTextParser("path")
    drawn = [*levels[1], *levels[2], *levels[3][::9], *levels[4][::197]]
    drawn += [parse(t) for t in ("softmax(mean(G)) * A", "0.5 - neg(A)", "(A - G) / exp(neg(G))")]
    drawn += [parse("square(neg(A))"), parse("exp(exp(square(exp(G))))")]
    for expression in drawn:
        parser.parse(f"${heatmap_latex(expression)}$")


@pytest.mark.parametrize(
    ("text", "latex"),
    [
        ("mean(G)", r"\overline{G_k}"),
        ("sum(A) * G", r"\left(\sum_{ij} A_k\right) \cdot G_k"),
        ("sum(A * G)", r"\sum_{ij} \left(A_k \cdot G_k\right)"),
        ("G * max(A)", r"G_k \cdot \max_{ij} A_k"),
        ("square(exp(A))", r"\left(e^{A_k}\right)^{2}"),
        ("A - (G - A)", r"A_k - \left(G_k - A_k\right)"),
        ("0.5 * G", r"\frac{1}{2} \cdot G_k"),
        ("square(neg(A))", r"\left(-A_k\right)^{2}"),
    ],
)
def test_latex_reads_as_the_expression_means(text, latex):
    """``sum(A) * G`` once read as the sum of the product."""
    assert to_latex(parse(text)) == latex


def test_the_factor_of_the_activations_is_not_drawn_into_a_reduction():
    weight = r"\left(\overline{G_k} \cdot \max_{ij} A_k\right)"
    drawn = heatmap_latex(parse("mean(G) * max(A)"))
    assert drawn == rf"\mathrm{{ReLU}}\left(\sum_k {weight} \cdot A_k\right)"
