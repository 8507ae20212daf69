"""Operators that users add: declared, used in expressions and grammars, replaced, refused."""

from __future__ import annotations

import copy
import json
import math
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

import sycam
from sycam import cli
from sycam.errors import ExpressionError, OptionError, UnknownNameError
from sycam.grammar import load_grammar, read_grammar
from sycam.heatmaps import evaluate
from sycam.language import OPERATORS, parse, to_latex
from sycam.language.declaring import _template
from sycam.language.operators import ORDER
from sycam.language.signatures import LAWS
from sycam.language.sources import standalone_source, version_text
from sycam.networks.sources.user_file import import_file
from sycam.testing import isolated_operators

FILE = '''
import torch
import torch.nn.functional as F
import math
import sycam
from torch import Tensor

SHARE = 0.5

def flat(t):
    return t.flatten(-2)

@sycam.operator(
    "map -> weight", latex=r"\\operatorname{median}_{ij} {0}", laws=["homogeneous"]
)
def median(t: Tensor) -> Tensor:
    """Lower median over places.

    More words.
    """
    return flat(t).median(-1).values[..., None, None] * (2 * SHARE)

@sycam.operator("weight -> weight", "map -> map", laws=("odd",))
def squash(t):
    return F.softsign(t) * math.sqrt(1)
'''


@pytest.fixture(autouse=True)
def _own_table():
    with isolated_operators():
        yield


@pytest.fixture
def file(tmp_path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(FILE)
    return path


def load(path: Path):
    return import_file(path, "operators", OptionError)


@pytest.fixture
def leaves() -> dict[str, Tensor]:
    g = torch.Generator().manual_seed(0)
    return {
        "activations": torch.rand(3, 5, 7, 3, generator=g),
        "gradients": torch.randn(3, 5, 7, 3, generator=g),
    }


# --- use -----------------------------------------------------------------------------------------


def test_an_expression_can_use_it_at_once(file, leaves):
    load(file)
    expression = parse("relu(median(G)) * squash(A)")
    assert str(expression) == "relu(median(G)) * squash(A)"
    assert parse(str(expression)) is expression
    assert (expression.sort, expression.cost) == ("map", 6)
    a, g = leaves["activations"], leaves["gradients"]
    middle = g.flatten(-2).sort(-1).values[..., 10, None, None]
    (value,) = evaluate([expression], leaves)
    torch.testing.assert_close(value, middle.clamp(min=0) * (a / (1 + a.abs())))


def test_what_the_table_says_of_it(file):
    load(file)
    median, squash = OPERATORS["median"], OPERATORS["squash"]
    assert median.meaning == "Lower median over places."
    assert median.laws == {"homogeneous"}
    assert median.cost == 1
    assert [o.arguments for o in squash.overloads] == [("weight",), ("map",)]
    assert squash.meaning == ""
    assert list(OPERATORS)[-2:] == ["median", "squash"]
    assert ORDER["squash"] == ORDER["median"] + 1 == len(OPERATORS) - 1
    assert to_latex(parse("median(G)")) == r"\operatorname{median}_{ij} G_k"
    with pytest.raises(TypeError):
        OPERATORS["other"] = median


def test_the_function_is_given_back_unchanged():
    def halve(t: Tensor) -> Tensor:
        return t / 2

    assert sycam.operator("map -> map")(halve) is halve
    assert OPERATORS["halve"].overloads[0].function is halve


def test_a_grammar_file_can_use_it(file, tmp_path, leaves):
    grammar = tmp_path / "mine.lark"
    grammar.write_text(
        '?start: "median" "(" map ")" -> median\n'
        '?map: "A" -> activations | "G" -> gradients | "squash" "(" map ")" -> squash\n'
    )
    with pytest.raises(sycam.SycamError, match=r"line 1.*'median' is not known"):
        load_grammar(grammar)
    load(file)
    space = load_grammar(grammar)
    assert space.tree_counts(4) == [0, 2, 2, 2]
    assert space.parse("median(squash(G))") is parse("median(squash(G))")


def test_heats_scalars_and_several_arguments():
    @sycam.operator("heat, scalar -> heat", latex=r"{0}^{{1}}", cost=2)
    def gamma(t: Tensor, exponent: Tensor) -> Tensor:
        """Power of the positive part."""
        return t.clamp(min=0) ** exponent

    expression = parse("gamma(smooth(G), 0.5)")
    assert (expression.sort, expression.cost) == ("heat", 5)
    assert OPERATORS["gamma"].latex.format("x", "y") == "x^{y}"
    assert sycam.testing.check_operator("gamma").operator == "gamma"


def test_a_reusable_class_by_a_users_formula(file, small_network, small_images):
    load(file)
    found = sycam.CAM(small_network, "3", "median(A) * squash(A)")(small_images)
    assert found.shape == (7, 16, 16)
    assert found.amax((-2, -1)).eq(1).any()


# --- replacement ---------------------------------------------------------------------------------


def test_declaring_again_replaces_and_no_stale_expression_comes_back(file, leaves):
    load(file)
    before = parse("median(G) * 2")  # kept alive, so that it stays interned
    old_text = version_text(OPERATORS["median"])
    place = ORDER["median"]
    file.write_text(FILE.replace("SHARE = 0.5", "SHARE = 2.0"))
    load(file)
    after = parse("median(G) * 2")
    assert after is not before
    assert ORDER["median"] == place
    old, new = evaluate([before, after], leaves)
    torch.testing.assert_close(new, 4 * old)
    assert parse("median(G) * 2") is after is copy.copy(after)
    assert version_text(OPERATORS["median"]) != old_text
    load(file)
    assert version_text(OPERATORS["median"]) != old_text


def test_a_notebook_cell_can_be_run_twice():
    """Its functions have no file; each run compiles the cell under another name."""
    cell = "import sycam\n@sycam.operator('map -> map')\ndef double(t):\n    return FACTOR * t\n"
    names = {"__name__": "__main__"}
    for run, factor in enumerate(("2", "3")):
        exec(compile(cell.replace("FACTOR", factor), f"<cell {run}>", "exec"), names)  # noqa: S102
    (value,) = evaluate([parse("double(A)")], {"activations": torch.ones(1, 1, 1, 1)})
    assert value.item() == 3


def test_another_files_operator_is_not_replaced(file, tmp_path):
    load(file)
    other = tmp_path / "other" / file.name
    other.parent.mkdir()
    other.write_text(FILE)
    with pytest.raises(
        OptionError, match=rf"already is an operator 'median', of '{file}'; .*name="
    ):
        load(other)


# --- refusals ------------------------------------------------------------------------------------


def single(t):
    return t


def pair(a, b):
    return a + b


def keyword_only(t, *, share):
    return t * share


REFUSED = [
    ((), {}, single, r'write @sycam.operator\("map -> weight"\)'),
    (
        ("map",),
        {},
        single,
        r"typing 'map' of operator 'single' is not understood; .*'map -> weight'",
    ),
    (
        ("mpa -> weight",),
        {},
        single,
        r"'mpa' is no sort; expected sorts of scalar, weight, map, heat, saliency",
    ),
    (("-> weight",), {}, single, r"'' is no sort"),
    (("map -> weight",), {}, pair, r"has 1 argument.* takes \(a, b\); expected 1 positional"),
    (("map, map -> map",), {}, single, r"has 2 argument"),
    (("map -> map",), {}, keyword_only, r"takes \(t, \*, share\)"),
    (("map -> map", "map, map -> map"), {}, single, r"different numbers of arguments"),
    (("map -> map", "map -> weight"), {}, single, r"two typings for the same arguments"),
    (("map -> map",), {"name": "Median"}, single, r"'Median' must be a lowercase identifier"),
    (("map -> map",), {"name": "lambda"}, single, r"'lambda' must be a lowercase identifier"),
    (("map -> map",), {"name": "y"}, single, r"'y' is how the leaf 'score' is written"),
    (("map -> map",), {"name": "mean"}, single, r"already is an operator 'mean', of SyCAM"),
    (("map -> map",), {"name": "gradients"}, single, r"already is an operator 'gradients'"),
    (
        ("map -> map",),
        {"laws": ["linear"]},
        single,
        r"law 'linear' .* expected some of commutative",
    ),
    (("map -> map",), {"laws": ["commutative"]}, single, r"speaks of 2 argument.*has 1; leave it"),
    (("map, map -> map",), {"laws": ["odd"]}, pair, r"speaks of 1 argument"),
    (("map -> weight",), {"laws": ["idempotent"]}, single, r"does not take what it gives"),
    (("map -> map",), {"latex": r"\mathrm{f}"}, single, r"has no \{0\}; expected LaTeX"),
    (("map, map -> map",), {"latex": r"{0} \circ x"}, pair, r"has no \{1\}"),
    (("map -> map",), {"latex": r"\mathrm{f {0}"}, single, r"braces that do not match"),
    (("map -> map",), {"cost": 0}, single, r"positive integer, got 0"),
    (("map -> map",), {}, lambda t: t, r"a function written with def"),
    (("map -> map",), {}, torch.abs, r"a function written with def"),
]


@pytest.mark.parametrize(("typings", "options", "function", "said"), REFUSED)
def test_what_cannot_be_an_operator(typings, options, function, said):
    before = dict(OPERATORS)
    with pytest.raises(OptionError, match=rf"(?s){said}"):
        sycam.operator(*typings, **options)(function)
    assert dict(OPERATORS) == before


def test_a_decorator_without_its_parentheses():
    with pytest.raises(OptionError, match=r'write @sycam.operator\("map -> weight"\)'):
        sycam.operator(single)


def test_laws_may_be_one_word_and_are_known_to_the_table():
    sycam.operator("map -> map", laws="odd")(single)
    assert OPERATORS["single"].laws == {"odd"} <= set(LAWS)


def test_an_operator_that_nobody_declared():
    with pytest.raises(
        UnknownNameError, match=r"operator 'median' is not known.*the import of the file"
    ):
        parse("median(G)")


# --- LaTeX ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("plain", "arguments", "made"),
    [
        (r"\operatorname{median}_{ij} {0}", ("x",), r"\operatorname{median}_{ij} x"),
        (r"\overline{{0}}", ("x",), r"\overline{x}"),
        (r"\frac{{0}}{{1}}", ("x", "y"), r"\frac{x}{y}"),
        (r"{0}^{2}", ("x",), r"x^{2}"),  # no third argument: LaTeX's own braces
        (r"\left\{{0}\right\}", ("x",), r"\left\{x\right\}"),
        (r"{1} {0} {1}", (r"\a{b}", "{}"), r"{} \a{b} {}"),
    ],
)
def test_plain_latex_becomes_a_template(plain, arguments, made):
    assert _template(plain, "f", len(arguments)).format(*arguments) == made


@given(st.text(alphabet="ab{}01\\ ", max_size=12))
def test_every_latex_that_is_accepted_keeps_its_other_braces(text):
    try:
        template = _template(text, "f", 1)
    except OptionError:
        return
    assert template.format("{0}") == text


def test_latex_by_default_shows_the_name():
    assert _template(None, "top_mean", 2).format("x", "y") == (
        r"\operatorname{top\_mean}\left(x, y\right)"
    )


# --- source --------------------------------------------------------------------------------------


def test_the_source_stands_alone(file, leaves):
    module = load(file)
    names: dict = {}
    exec(standalone_source(module.median) + standalone_source(module.squash), names)  # noqa: S102
    assert "sycam" not in names
    for name in ("median", "squash"):
        assert torch.equal(
            names[name](leaves["gradients"]), getattr(module, name)(leaves["gradients"])
        )


def test_what_a_module_of_its_own_cannot_hold(tmp_path):
    path = tmp_path / "bad.py"
    path.write_text(
        textwrap.dedent("""
        import numpy
        def uses_numpy(t): return t * numpy.float64(2)
        def outer(c):
            def inner(t): return t * c
            return inner
        table = {1: 2}
        def uses_a_table(t, *, k=table): return t * k[1]
        """)
    )
    module = load(path)
    for function, said in (
        (module.uses_numpy, r"'uses_numpy' uses 'numpy' \(module\)"),
        (module.outer(2), r"'inner' is defined inside another function"),
        (module.uses_a_table, r"uses 'table' \(dict\)"),
    ):
        with pytest.raises(OptionError, match=said):
            standalone_source(function)


# --- files and commands --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import sycam\n@sycam.operator('map')\ndef f(t): return t\n", r"failed: typing 'map' of"),
        ("1 / 0\n", r"failed: ZeroDivisionError"),
    ],
)
def test_files_that_fail(tmp_path, text, said):
    path = tmp_path / "broken.py"
    path.write_text(text)
    with pytest.raises(OptionError, match=rf"operators file '.*broken.py' {said}"):
        load(path)
    with pytest.raises(OptionError, match=r"operators file 'absent.py' does not exist"):
        load(Path("absent.py"))


def command(capsys, *arguments) -> tuple[int, str, str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["sycam", *map(str, arguments)])
        try:
            cli.main()
            code = 0
        except SystemExit as end:
            code = end.code or 0
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.mark.slow
def test_the_commands_run_the_file_that_declares(file, tmp_path, capsys):
    """A whole run in a user's grammar of a user's operator; each later command needs the file."""
    grammar = tmp_path / "mine.lark"
    grammar.write_text(
        '?start: "median" "(" map ")" -> median | "squash" "(" map ")" -> squash\n'
        '?map: "A" -> activations | "G" -> gradients\n'
    )
    run = tmp_path / "run"
    few = "--metric iou --max-cost 2 --budget 8 --search-images 8 --heldout-images 8 --quiet"
    problem = ["synthesize", "--grammar", grammar, "--out", run, *few.split()]
    code, _, err = command(capsys, *problem)
    assert (code, run.exists()) == (2, False)
    assert "'median' is not known" in err
    declared = ["--operators", file]
    with isolated_operators():
        code, out, err = command(capsys, *problem, *declared)
        assert code == 0, err
    record = json.loads((run / "result.json").read_text())
    best = (record["best_new"] or record["best"])["expression"]  # Grad-CAM++ may be ahead of it
    assert best.startswith(("median(", "squash("))
    assert best in out

    photo = tmp_path / "photo.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(
        photo
    )
    for problem in (
        ["evaluate", best, "--metric", "iou", "--json", "--quiet"],
        ["explain", run, photo, "--out", tmp_path / "png", "--method", best],
        ["export", run, "--new", "-o", tmp_path / "my_cam.py"],
    ):
        code, _, err = command(capsys, *problem)
        assert code == 2, problem
        assert "--operators FILE.py" in err, problem
        with isolated_operators():
            code, out, err = command(capsys, *problem, *declared)
            assert code == 0, (problem, err)
    code, out, err = command(capsys, "grammars", "show", grammar, *declared)
    assert code == 0, err
    assert "median" in out.split('"G" -> gradients')[1]  # beyond the file's own text


def test_a_grammar_that_was_read_before_the_operator_existed(file):
    with pytest.raises(sycam.SycamError):
        read_grammar('?start: "median" map -> median\n?map: "A" -> activations\n')
    load(file)
    assert read_grammar('?start: "median" map -> median\n?map: "A" -> activations\n').leaves


@pytest.mark.parametrize("name", [op.name for op in OPERATORS.values() if op.degrees])
def test_degrees_of_the_table_hold(name):
    """What passes through an operator as a power is not tuned by a search for numbers."""
    op = OPERATORS[name]
    for typing in op.overloads:
        values = [torch.rand(2, 3, 4, 5, generator=torch.Generator().manual_seed(7)) + 0.1]
        ends = op.ranges[-1] if op.ranges else None
        number = math.sqrt(math.prod(ends)) if ends else 0.5  # well inside what matters
        values += [torch.full((2, 1, 1, 1), number)] * (op.arity - 1)
        before = typing.compute(values, values[0])
        for i, degree in enumerate(op.degrees):
            changed = [4 * v if i == j else v for j, v in enumerate(values)]
            after = typing.compute(changed, values[0])
            if degree is None:
                assert not torch.allclose(after, before)
            else:
                torch.testing.assert_close(after, before * 4**degree)


FAULTS = {
    "changed its argument in place": "return t.mul_(-1)",
    "changed its argument in place, ": "t.numpy()[...] = 0; return t.clone()",
    "returned NoneType, expected a torch.Tensor": "pass",
    r"returned shape \(3, 5\), expected \(3, 5, 7, 3\): a map": "return t.sum((-2, -1))",
    "raised ValueError: no such thing": "raise ValueError('no such thing')",
}


def declare_faulty(body: str, path: Path) -> None:
    path.write_text(f"import sycam\n@sycam.operator('map -> map')\ndef faulty(t):\n    {body}\n")
    load(path)


@pytest.mark.parametrize("said", FAULTS)
def test_an_operator_that_harms_is_refused_before_it_does(said, leaves, tmp_path):
    """t.mul_(-1) turned the sign of the gradients for every formula that came after it."""
    declare_faulty(FAULTS[said], tmp_path / "faulty.py")
    before = {name: tensor.clone() for name, tensor in leaves.items()}
    for _ in range(2):
        with pytest.raises(ExpressionError, match=r"'faulty', in faulty\(G\), " + said):
            evaluate([parse("relu(faulty(G))")], leaves)
    for name, tensor in leaves.items():
        assert torch.equal(tensor, before[name])


def test_an_operator_that_harms_later_is_refused(leaves):
    @sycam.operator("map -> map")
    def later(t):
        if t.max() > 100:
            t.mul_(-1)
        return t.abs()

    evaluate([parse("later(G)")], leaves)
    with pytest.raises(ExpressionError, match="changed its argument in place"):
        evaluate([parse("later(G)")], leaves | {"gradients": 1e6 * leaves["gradients"]})


@pytest.mark.parametrize("compile", [False, True])
def test_a_cam_of_an_operator_that_harms(compile, small_network, small_images, tmp_path):
    declare_faulty("return t.neg_()", tmp_path / "faulty.py")
    cam = sycam.CAM(small_network, "3", "faulty(G) * A", compile=compile)
    with pytest.raises(ExpressionError, match="operator 'faulty'"):
        cam(small_images)


def test_the_commands_check_the_operators_of_a_file(tmp_path, capsys):
    path = tmp_path / "faulty.py"
    path.write_text(
        "import sycam\n@sycam.operator('map -> map')\ndef faulty(t):\n    return t.mul_(-1)\n"
    )
    code, _, err = command(capsys, "grammars", "show", "gradient", "--operators", path)
    assert code == 2
    assert "'faulty' (map -> map)" in err
    assert "the function changed its argument in place" in err
