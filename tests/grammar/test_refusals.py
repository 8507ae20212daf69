"""Grammar files that are refused: each refusal says why, and names the line where there is one."""

from __future__ import annotations

import pytest

from sycam.errors import GrammarError, UnknownNameError
from sycam.grammar import load_grammar, read_grammar

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


def test_white_space_that_the_base_ignores_is_not_ignored_again():
    with pytest.raises(GrammarError, match="line 2: white space is ignored already"):
        read_grammar("%base gradient\n%ignore /[ ]+/\n")


def test_an_ambiguity_between_base_and_extension_names_a_line():
    with pytest.raises(GrammarError, match="ambiguous") as caught:
        read_grammar('%base gradient\n%extend weight: weight "+" weight -> add\n', "mine")
    assert "line 2" in str(caught.value)
    assert '%extend weight: weight "+" weight -> add' in str(caught.value)
