"""Grammar files: what is accepted, and that each refusal names the line."""

from __future__ import annotations

import re
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sycam.errors import ExpressionError, GrammarError, UnknownNameError
from sycam.language import OPERATORS, apply, grammar_names, load_grammar, parse, read_grammar
from sycam.language.grammar import splits
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
    "Score-CAM": "softmax(S)",
    "Ablation-CAM": "D",
    "ShapleyCAM": "mean(G - 0.5 * H)",
    "MI-CAM": "MI",
    "MI-Grad-CAM": "mean(G) * normalize(MI)",
    "FEM": "mean(above(A, 2))",
}
SHIPPED = ("perturbation", "information", "gradient", "spatial", "full")
GRAMMARS = {name: load_grammar(name) for name in SHIPPED}


def test_these_grammars_are_shipped():
    assert set(grammar_names()) == set(SHIPPED)
    assert GRAMMARS["gradient"].leaves == {"activations", "gradients"}
    assert set(GRAMMARS["gradient"].symbols) == {"start", "weight", "map", "heat", "scalar"}
    measured = {op.name for op in OPERATORS.values() if op.is_leaf and op.value is None}
    assert GRAMMARS["full"].leaves == measured


@pytest.mark.parametrize("name", SHIPPED)
def test_the_comment_of_a_shipped_grammar_says_what_it_holds(name):
    grammar = GRAMMARS[name]
    own = grammar.text[grammar.text.index(f"// {name}:") :]  # without its base's
    counts = re.search(r"// Trees of cost 1 to 6: ([\d, ]+)\n", own)[1]
    assert [int(n.replace(",", "")) for n in counts.split()] == grammar.tree_counts(6)
    named = re.search(r"// Published CAMs: ([^.]+)\.", own)[1].replace("\n//", "")
    held = [cam for cam, text in PUBLISHED.items() if parse(text) in grammar]
    assert sorted(named.split(", ")) == sorted(held)
    assert held


@pytest.mark.parametrize("name", SHIPPED)
def test_every_published_cam_whose_leaves_a_large_grammar_has_is_in_it(name):
    grammar = GRAMMARS[name]
    expressions = {m.name: m.expression for m in METHODS.values() if m.kind == "published"}
    written = {cam for cam, e in expressions.items() if e is not None and e in grammar}
    assert written
    if name == "full":
        assert len(written) >= 13
        assert written == {cam for cam, e in expressions.items() if e is not None}
        assert parse("mean(G - H / 2)") in grammar
    if name == "gradient":
        assert {"grad-cam", "hirescam", "grad-cam++", "xgrad-cam", "layer-cam"} <= written


def test_sorts_and_constants_that_a_grammar_leaves_out():
    assert parse("1 + 2") not in GRAMMARS["full"]  # a scalar weights all channels alike
    assert parse("0.5 * G") not in GRAMMARS["gradient"]
    assert parse("mean(G)") not in GRAMMARS["spatial"]
    assert parse("G") not in GRAMMARS["perturbation"]


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
    """Any expression of a sort over SyCAM's own operators."""
    choices = [(o, v) for o in BUILT_IN for v in o.overloads if v.result == sort]
    if depth == 0:
        fewest = {"heat": "smooth", "weight": "mean"}.get(sort)
        choices = [c for c in choices if c[0].is_leaf] or [
            (OPERATORS[fewest], v) for v in OPERATORS[fewest].overloads if v.arguments == ("map",)
        ]
    op, overload = draw(st.sampled_from(choices))
    return apply(op.name, *(draw(typed(s, max(depth - 1, 0))) for s in overload.arguments))


BUILT_IN = tuple(op for op in OPERATORS.values() if not is_declared(op))


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(["weight", "map", "heat"]).flatmap(lambda sort: typed(sort, 5)))
def test_full_holds_every_expression_of_the_language_that_makes_a_heatmap(expression):
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


REFUSED = {
    "ambiguous": (
        '?start: w\n?w: "m" m -> mean\n | w "+" w -> add\n?m: "A" -> activations\n',
        3,
        "ambiguous",
    ),
    "ambiguous between rules": (
        '?start: a | b\n?a: "m" m -> mean\n?b: "m" m -> mean\n?m: "A" -> activations\n',
        2,
        "ambiguous",
    ),
    "unreachable rule": (
        '?start: m\n?m: "A" -> activations\n?w: "mean" m -> mean\n',
        3,
        "rule 'w' cannot be reached",
    ),
    "empty sort": (
        '?start: m\n?m: "A" -> activations\n | "f" w m -> mul\n?w: "abs" w -> abs\n',
        4,
        "rule 'w' can derive no expression",
    ),
    "empty start": (
        '?start: m\n?m: "relu" m -> relu\n',
        2,
        "rule 'm' can derive no expression",
    ),
    "unknown operator": (
        '?start: m\n?m: "A" -> activations\n | "r" m -> rellu\n',
        3,
        "operator 'rellu' is not known; did you mean 'relu'",
    ),
    "wrong arity": (
        '?start: m\n?m: "A" -> activations\n | "r" m "," m -> relu\n',
        3,
        "operator 'relu' takes 1 argument.*gives it 2",
    ),
    "wrong sort": (
        '?start: w\n?w: "a" m -> mean\n | "b" w -> mean\n?m: "A" -> activations\n',
        3,
        r"operator 'mean' takes \(map\), but rules give it \(weight\)",
    ),
    "mixed sorts": (
        '?start: m\n?m: "A" -> activations\n | "mean" m -> mean\n | "r" m -> relu\n',
        2,
        "rule 'm' mixes the sorts map, weight",
    ),
    "repetition +": (
        '?start: a_b\n?a_b: "A" -> activations\n | "r" a_b+ ")" -> relu\n',
        3,
        "repetition",
    ),
    "repetition *": (
        '?start: m\n?m: "A" -> activations\n | "r" "(" m ("," m)* ")" -> relu\n',
        3,
        "repetition",
    ),
    "template": (
        '?start: m\n?m: "A" -> activations\n | f{m}\nf{x}: "r" x -> relu\n',
        3,
        "templates",
    ),
    "terminal with text": (
        '?start: m\n?m: "G" -> gradients\n | NAME -> activations\nNAME: /[a-z]+/\n',
        3,
        "terminal NAME would carry text",
    ),
    "regular expression": (
        '?start: m\n?m: "G" -> gradients\n | /[a-z]+/ -> activations\n',
        3,
        "would carry text",
    ),
    "no alias": (
        '?start: m\n?m: "A" -> activations\n | "r" m\n | "s" m -> relu\n',
        3,
        "names no operator",
    ),
    "no alias of a leaf": ('?start: m\n?m: "A"\n', 2, "names no operator"),
    "scalar start": ('?start: s\n?s: "1" -> one\n', 1, "'start' can be a scalar"),
    "scalar or map start": (
        '// a comment\n?start: s | m\n?s: "1" -> one\n?m: "A" -> activations\n',
        2,
        "'start' can be a scalar",
    ),
    "syntax error": ('?start: m\n?m: ( "A" -> activations\n', 2, "unexpected"),
    "rule that does not exist": (
        '?start: m\n?m: "A" -> activations\n | "r" mop -> relu\n',
        3,
        "rule 'mop' is not known; did you mean 'm'",
    ),
    "rule defined twice": (
        '?start: m\n?m: "A" -> activations\n?m: "G" -> gradients\n',
        3,
        "defined more than once",
    ),
    "repeated a number of times": (
        '?start: m\n?m: "A" -> activations\n | "r"~1..100000 m -> relu\n',
        3,
        "repetition",
    ),
    "option": ('?start: m\n?m: "A" -> activations\n | "r" [m] -> relu\n', 3, "options"),
    "alternative without text": (
        '?start: m\n?m: "A" -> activations\n | -> gradients\n',
        3,
        "no text",
    ),
    "juxtaposition": (
        '?start: m\n?m: "A" -> activations\n | m m -> add\n',
        3,
        "no text of its own",
    ),
    "empty alternative": ('?start: m\n?m: "A" -> activations\n | \n', 2, "names no operator"),
    "circle of two": (
        '?start: a\n?a: b | "A" -> activations\n?b: a | "G" -> gradients\n',
        2,
        "'a' and 'b' stand for each other.*circle of no cost",
    ),
    "circle of one": ('?start: a\n?a: "A" -> activations\n | a\n', 3, "circle of no cost"),
    "same text twice": (
        '?start: m\n?m: "A" -> activations\n | "A" -> gradients\n',
        3,
        "ambiguous.*same text, for activations",
    ),
    "either case": ('?start: m\n?m: "A" -> activations\n | "a"i m -> relu\n', 3, "either case"),
    "blank text": ('?start: m\n?m: "A" -> activations\n | " " m -> relu\n', 3, "blank text"),
    "priority": ('?start: m\n?m.2: "A" -> activations\n', 2, "priority would hide"),
    "kept text": ('?start: m\n!m: "A" -> activations\n', 2, "modifier !"),
    "inlined rule": ('?start: _m\n_m: "A" -> activations\n', 2, "begins with a letter"),
    "alias inside": (
        '?start: m\n?m: ("A" -> activations | "G" -> gradients)\n',
        2,
        "at the end of an alternative",
    ),
    "import": (
        '%import common.WS\n?start: m\n?m: "A" -> activations\n%ignore WS\n',
        1,
        "%import is not used.*%base gradient.*%ignore",
    ),
    "declare": ('?start: m\n?m: "A" -> activations\n%declare X\n', 3, "%declare has no use"),
    "ignored text": ('?start: m\n?m: "A" -> activations\n%ignore /./\n', 3, "only white space"),
    "ignored twice": (
        '?start: m\n?m: "A" -> activations\n%ignore " "\n%ignore /[ \\t]+/\n',
        4,
        "ignored already",
    ),
    "pattern of a terminal": (
        '?start: m\n?m: "A" -> activations\n | _X m -> relu\n_X: /(a|b)*a(a|b){30}/\n',
        4,
        "pattern is unbounded",
    ),
    "terminal that does not exist": (
        '?start: m\n?m: "A" -> activations\n | _X m -> relu\n',
        3,
        "terminal '_X' is not known",
    ),
    "groups that multiply": (
        '?start: m\n?m: "A" -> activations\n | ' + '("r" | "s") ' * 40 + "m -> relu\n",
        3,
        "more than 300 alternatives",
    ),
    "deep parentheses": (
        '?start: m\n?m: "A" -> activations\n | ' + "(" * 5000 + "m" + ")" * 5000 + "\n",
        3,
        "parentheses nest",
    ),
    "extended rule that does not exist": (
        '?start: m\n?m: "A" -> activations\n%extend mm: "G" -> gradients\n',
        3,
        "nothing to extend: rule 'mm' is not known; did you mean 'm'",
    ),
    "second base": (
        '?start: m\n%base gradient\n?m: "A" -> activations\n',
        2,
        "the file's first line",
    ),
    "base that does not exist": (
        '// ours\n%base gradeint\n%extend map: "X" -> score\n',
        2,
        "did you mean 'gradient'",
    ),
    "base without name": ("%base\n", 1, "needs a shipped grammar's name"),
}


@pytest.mark.parametrize("fault", REFUSED)
def test_refusals_name_the_line(fault):
    text, line, said = REFUSED[fault]
    with pytest.raises(GrammarError, match=said) as caught:
        read_grammar(text, "mine")
    message = str(caught.value)
    assert message.startswith("grammar 'mine'")
    assert f"line {line}" in message
    assert text.splitlines()[line - 1].strip() in message or len(text) > 300
    assert len(message) < 1000


def test_a_grammar_may_be_large_but_not_without_end():
    many = "".join(f' | "f{i}" m -> relu\n' for i in range(400))
    with pytest.raises(GrammarError, match=r"line 2: .*more than 300 alternatives"):
        read_grammar('?start: m\n?m: "A" -> activations\n' + many)
    with pytest.raises(GrammarError, match="more than 100,000 characters"):
        read_grammar("// " + "x" * 200_000)


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


def test_white_space_that_the_base_ignores_is_not_ignored_again():
    with pytest.raises(GrammarError, match="line 2: white space is ignored already"):
        read_grammar("%base gradient\n%ignore /[ ]+/\n")


def test_an_ambiguity_between_base_and_extension_names_a_line():
    with pytest.raises(GrammarError, match="ambiguous") as caught:
        read_grammar('%base gradient\n%extend weight: weight "+" weight -> add\n', "mine")
    assert "line 2" in str(caught.value)
    assert '%extend weight: weight "+" weight -> add' in str(caught.value)


def test_synonyms_in_parentheses():
    grammar = read_grammar(SMALL.replace('"relu" "("', '("relu" | "positive") "("'))
    assert grammar.digest == read_grammar(SMALL).digest
    assert grammar.parse("mean(positive(A))") is grammar.parse("mean(relu(A))")


# --- refusals without a line -------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", '?map: "A" -> activations\n', "// nothing\n"])
def test_a_grammar_needs_a_start(text):
    with pytest.raises(GrammarError, match="no rule 'start'"):
        read_grammar(text)


def test_a_syntax_error_has_a_caret():
    with pytest.raises(GrammarError) as caught:
        read_grammar('?start: m\n?m: "A" => activations\n')
    shown, caret = str(caught.value).splitlines()[-2:]
    assert shown[4:] == '?m: "A" => activations'
    assert caret.index("^") - 4 == 8


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(GrammarError, match="cannot read grammar file"):
        load_grammar(tmp_path / "absent.lark")
    (tmp_path / "folder.lark").mkdir()
    with pytest.raises(GrammarError, match="cannot read grammar file"):
        load_grammar(tmp_path / "folder.lark")
    (tmp_path / "binary.lark").write_bytes(b"\xff\xfe\x00start")
    with pytest.raises(GrammarError, match="cannot read grammar file"):
        load_grammar(tmp_path / "binary.lark")
    with pytest.raises(UnknownNameError, match=r"did you mean 'gradient'\?.*\.lark"):
        load_grammar("gradeint")


def test_every_operator_can_be_used_in_a_grammar():
    """One grammar a typing of an operator, so that none is tied to the shipped file."""
    leaves = {
        "map": '"A" -> activations',
        "weight": '"mean" map -> mean',
        "heat": '"smooth" map -> smooth',
        "scalar": '"1" -> one',
    }
    for op in OPERATORS.values():
        for overload in op.overloads:
            if not overload.arguments or overload.result == "scalar":
                continue
            rules = {*overload.arguments}
            rules |= {"map"} if rules & {"weight", "heat"} else set()
            lines = [f'?start: "op" {" ".join(overload.arguments)} -> {op.name}']
            lines += [f"?{sort}: {leaves[sort]}" for sort in sorted(rules)]
            grammar = read_grammar("\n".join(lines) + "\n")
            assert sum(grammar.tree_counts(6)) == 1, (op.name, overload.arguments)
