"""Grammar files: what they hold, and how they extend each other."""

from __future__ import annotations

import re
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sycam.errors import ExpressionError, GrammarError
from sycam.grammar import grammar_names, load_grammar, read_grammar
from sycam.grammar.grammar import splits
from sycam.language import OPERATORS, apply, parse
from sycam.language.sources import is_declared
from sycam.methods import METHODS

SMALL = """\
// a space of our own
?start: w
?w: "mean" "(" m ")" -> mean
 | "(" w ")"
?m: "A" -> activations
 | "G" -> gradients
 | "relu" "(" m ")" -> relu
%ignore " "
"""


# The published CAMs by the names that the files' comments use.
PUBLISHED = {
    "CAM": "C",
    "Grad-CAM": "mean(G)",
    "HiResCAM": "G",
    "Grad-CAM elementwise": "channelsum(relu(G * A))",
    "Grad-CAM++": "sum(relu(G) / (2 + sum(A) * G))",
    "XGrad-CAM": "sum(G * A) / sum(A)",
    "LayerCAM": "relu(G)",
    "LaFAM": "channelsum(A)",
    "LIFT-CAM": "C * mean(A)",
    "Score-CAM": "softmax(S)",
    "Ablation-CAM": "D",
    "ShapleyCAM": "mean(G - 0.5 * H)",
    "MI-CAM": "MI",
    "MI-Grad-CAM": "mean(G) * normalize(MI)",
    "FEM": "mean(above(A, 2))",
    "Eigen-CAM": "principal(A)",
    "Eigen-Grad-CAM": "principal(G * A)",
    "Seg-Eigen-CAM": "principal(abs(G) * A)",
}
# Leaves of users' own grammars.
TO_ADD = {"noisy_gradients", "path_gradients", "fitted_weights", "place_scores"}
SHIPPED = ("perturbation", "information", "gradient", "spatial", "full", "network")
GRAMMARS = {name: load_grammar(name) for name in SHIPPED}


def test_these_grammars_are_shipped():
    assert set(grammar_names()) == set(SHIPPED)
    assert GRAMMARS["gradient"].leaves == {"activations", "gradients"}
    assert set(GRAMMARS["gradient"].symbols) == {"start", "weight", "map", "heat", "scalar"}
    measured = {op.name for op in OPERATORS.values() if op.is_leaf and op.value is None}
    assert GRAMMARS["full"].leaves == measured - TO_ADD


@pytest.mark.parametrize("name", SHIPPED)
def test_the_comment_of_a_shipped_grammar_says_what_it_holds(name):
    grammar = GRAMMARS[name]
    own = grammar.text[grammar.text.index(f"// {name}:") :]  # without its base's
    counts = re.search(r"// Trees of cost 1 to 6: ([\d, ]+)\n", own)[1]
    assert [int(n.replace(",", "")) for n in counts.split()] == grammar.tree_counts(6)
    named = re.search(r"// Published CAMs: ([^.]+)\.", own)[1].replace("\n//", "")
    held = [cam for cam, text in PUBLISHED.items() if grammar.holds(parse(text))]
    assert sorted(named.split(", ")) == sorted(held)
    assert held


@pytest.mark.parametrize("name", SHIPPED)
def test_every_published_cam_whose_leaves_a_large_grammar_has_is_in_it(name):
    grammar = GRAMMARS[name]
    expressions = {m.name: m.expression for m in METHODS.values() if m.kind == "published"}
    written = {cam for cam, e in expressions.items() if e is not None and grammar.holds(e)}
    assert written
    if name == "full":
        assert len(written) >= 15
        leaves = {cam: e.leaves for cam, e in expressions.items() if e is not None}
        assert written == {cam for cam, read in leaves.items() if not read & TO_ADD}
        assert parse("mean(G - H / 2)") in grammar
    if name == "gradient":
        assert {"grad-cam", "hirescam", "grad-cam++", "xgrad-cam", "layer-cam"} <= written


def test_sorts_and_constants_that_a_grammar_leaves_out():
    assert parse("1 + 2") not in GRAMMARS["full"]  # a scalar weights all channels alike
    assert parse("0.5 * G") not in GRAMMARS["gradient"]
    assert parse("mean(G)") not in GRAMMARS["spatial"]
    assert parse("G") not in GRAMMARS["perturbation"]


@pytest.mark.parametrize("name", SHIPPED)
def test_no_grammar_holds_a_free_number(name):
    grammar = GRAMMARS[name]
    for text in ("0.37 * mean(G)", "3 * G", "mean(G) + 1.5 * max(A)", "mean(above(A, 1.7))"):
        assert parse(text) not in grammar
        with pytest.raises(ExpressionError, match="is not in grammar"):
            grammar.parse(text)


def test_a_constant_of_the_grammar_is_in_it_however_it_is_written():
    assert parse("mean(above(A, 2.00))") in GRAMMARS["full"]
    assert parse("5e-1 * mean(G)") in GRAMMARS["full"]


@pytest.mark.parametrize("name", SHIPPED)
def test_a_grammar_reads_the_text_of_each_of_its_cheap_trees_and_counts_it_once(name):
    """Lark's reading of the file and ours agree: each derivation tree is read back as itself."""
    grammar = GRAMMARS[name]
    bank = {symbol: {0: []} for symbol in grammar.symbols}
    for cost in (1, 2, 3):
        for symbol in bank:
            bank[symbol][cost] = []
        for p in grammar.productions:
            for split in splits(cost - p.operator.cost, len(p.arguments)):
                pools = [bank[a][c] for a, c in zip(p.arguments, split, strict=True)]
                for children in product(*pools):
                    for owner in p.owners:
                        bank[owner][cost].append(apply(p.operator.name, *children))
        complete = bank[grammar.start][cost]
        assert len(complete) == len(set(complete)) == grammar.tree_counts(cost)[-1]
        assert [e for e in complete if grammar.parse(str(e)) is not e] == []
        assert [e for e in complete if e not in grammar] == []


@st.composite
def typed(draw, sort: str, depth: int):
    """Any expression of a sort over SyCAM's own operators and the leaves of ``full``, without
    numbers below zero."""
    choices = [(o, v) for o in BUILT_IN for v in o.overloads if v.result == sort]
    choices = [(o, v) for o, v in choices if (o.name, sort) != ("neg", "scalar")]
    if depth == 0:
        fewest = {"heat": "smooth", "weight": "mean"}.get(sort)
        choices = [c for c in choices if c[0].is_leaf] or [
            (OPERATORS[fewest], v) for v in OPERATORS[fewest].overloads if v.arguments == ("map",)
        ]
    op, overload = draw(st.sampled_from(choices))
    return apply(op.name, *(draw(typed(s, max(depth - 1, 0))) for s in overload.arguments))


BUILT_IN = tuple(op for op in OPERATORS.values() if not (is_declared(op) or op.name in TO_ADD))


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(["weight", "map", "heat"]).flatmap(lambda sort: typed(sort, 5)))
def test_full_holds_every_expression_of_its_leaves_that_makes_a_heatmap(expression):
    assert expression in GRAMMARS["full"]


def test_a_grammar_of_the_user_loads_by_path(tmp_path):
    file = tmp_path / "mine.lark"
    file.write_text(SMALL, encoding="utf-8")
    grammar = load_grammar(str(file))
    assert grammar.name == "mine"
    assert load_grammar(file) == grammar
    assert grammar.tree_counts(5) == [0, 2, 2, 2, 2]
    assert grammar.parse("((mean(relu(G))))") is parse("mean(relu(G))")
    assert parse("mean(relu(relu(A)))") in grammar
    assert parse("relu(mean(A))") not in grammar
    assert parse("G") not in grammar  # a map is no start here
    with pytest.raises(ExpressionError, match="is not in grammar 'mine'") as caught:
        grammar.parse("mean(std(A))")
    assert str(caught.value).splitlines()[-1].index("^") - 4 == 5


def test_the_digest_is_of_the_space_not_of_the_text():
    base = read_grammar(SMALL)
    assert read_grammar(SMALL.replace("our own", "another")).digest == base.digest
    assert read_grammar(SMALL.replace('"relu"', '"positive"')).digest == base.digest
    assert read_grammar(SMALL.replace("-> relu", "-> abs")).digest != base.digest
    lines = SMALL.splitlines()
    lines[5], lines[6] = lines[6], lines[5]
    assert read_grammar("\n".join(lines)).digest == base.digest


def test_commutative_arguments_may_be_swapped_for_membership():
    grammar = GRAMMARS["gradient"]
    assert parse("G + mean(A)") in grammar
    assert parse("mean(A) + G") in grammar
    assert parse("G - mean(A)") not in grammar


def test_a_rule_may_have_the_name_of_an_operator():
    """``sum: atom`` once read every atom as ``sum(atom)``."""
    grammar = read_grammar(
        'start: sum\nsum: atom\n | "relu" "(" atom ")" -> relu\natom: "A" -> activations\n'
    )
    assert grammar.parse("A") is parse("A")
    assert grammar.parse("relu(A)") is parse("relu(A)")


# --- bases -------------------------------------------------------------------------------------


def test_a_file_extends_a_shipped_grammar(tmp_path):
    file = tmp_path / "mine.lark"
    file.write_text(
        "// with the score\n%base gradient  // as shipped\n\n"
        '%extend scalar: "y" -> score\n'
        '%extend weight_atom: "boost" "(" weight ")" -> square\n'
    )
    mine, base = load_grammar(file), load_grammar("gradient")
    assert mine.leaves == base.leaves | {"score"}
    assert len(mine.productions) == len(base.productions) + 1  # square is there already
    assert mine.parse("y + boost(mean(G))") is parse("y + square(mean(G))")
    assert parse("y + mean(G)") in mine
    assert parse("y + mean(G)") not in base
    assert read_grammar(mine.text).digest == mine.digest != base.digest
    assert read_grammar("%base gradient\n").digest == base.digest


def test_bases_may_be_chained_and_rules_replaced(tmp_path):
    (tmp_path / "nets").mkdir()
    (tmp_path / "small.lark").write_text(SMALL)
    (tmp_path / "nets" / "more.lark").write_text(
        '%base ../small.lark\n%extend m: "H" -> hessian_product\n'
    )
    (tmp_path / "last.lark").write_text(
        '%base nets/more.lark\n%override ?w: "max" "(" m ")" -> max\n'
    )
    last = load_grammar(tmp_path / "last.lark")
    assert last.tree_counts(4) == [0, 3, 3, 3]
    assert parse("max(relu(H))") in last
    assert parse("mean(H)") not in last
    assert read_grammar(last.text).digest == last.digest
    relative = read_grammar(
        '%base small.lark\n%extend m: "H" -> hessian_product\n', folder=tmp_path
    )
    assert relative.tree_counts(3) == [0, 3, 3]


def test_a_fault_is_told_by_the_line_of_the_file_that_has_it(tmp_path):
    (tmp_path / "small.lark").write_text(SMALL)
    with pytest.raises(GrammarError) as caught:
        read_grammar('%base small.lark\n\n%extend m: "r" m -> rellu\n', "mine", tmp_path)
    shown = str(caught.value).splitlines()
    assert shown[0].startswith("grammar 'mine', line 3: operator 'rellu' is not known; did you")
    assert shown[1] == '    %extend m: "r" m -> rellu'
    assert shown[2].index("^") == shown[1].index("rellu")
    with pytest.raises(GrammarError) as caught:  # the rule that none of ours reaches any more
        read_grammar('%base small.lark\n%override start: "A" -> activations\n', "mine", tmp_path)
    assert "line 3 of its base 'small': rule 'w' cannot be reached" in str(caught.value)
    (tmp_path / "small.lark").write_text(SMALL.replace("-> relu", "-> rely"))
    with pytest.raises(GrammarError) as caught:
        read_grammar("\n%base small.lark\n", "mine", tmp_path)
    assert "line 7 of its base 'small': operator 'rely' is not known" in str(caught.value)
    assert str(caught.value).splitlines()[1] == '     | "relu" "(" m ")" -> rely'


def test_bases_that_go_round_or_cannot_be_read(tmp_path):
    for name, base in [("a", "b"), ("b", "c"), ("c", "a"), ("self", "self"), ("lost", "absent")]:
        (tmp_path / f"{name}.lark").write_text(f"%base {base}.lark\n")
    with pytest.raises(GrammarError, match=r"circle: a.lark -> b.lark -> c.lark -> a.lark"):
        load_grammar(tmp_path / "a.lark")
    with pytest.raises(GrammarError, match=r"circle: self.lark -> self.lark"):
        load_grammar(tmp_path / "self.lark")
    with pytest.raises(GrammarError, match=r"line 1: .*cannot read grammar file"):
        load_grammar(tmp_path / "lost.lark")


def test_synonyms_in_parentheses():
    grammar = read_grammar(SMALL.replace('"relu" "("', '("relu" | "positive") "("'))
    assert grammar.digest == read_grammar(SMALL).digest
    assert grammar.parse("mean(positive(A))") is grammar.parse("mean(relu(A))")


def test_every_operator_can_be_used_in_a_grammar():
    """One grammar a typing of an operator, so that none is tied to the shipped file."""
    leaves = {
        "map": '"A" -> activations',
        "weight": '"mean" map -> mean',
        "heat": '"smooth" map -> smooth',
        "saliency": '"cam" map -> cam',
        "scalar": '"1" -> one',
    }
    for op in OPERATORS.values():
        for overload in op.overloads:
            if not overload.arguments or overload.result == "scalar":
                continue
            rules = {*overload.arguments}
            rules |= {"map"} if rules & {"weight", "heat", "saliency"} else set()
            lines = [f'?start: "op" {" ".join(overload.arguments)} -> {op.name}']
            lines += [f"?{sort}: {leaves[sort]}" for sort in sorted(rules)]
            grammar = read_grammar("\n".join(lines) + "\n")
            assert sum(grammar.tree_counts(6)) == 1, (op.name, overload.arguments)
