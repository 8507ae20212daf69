"""Whatever text users may give: how it is drawn, and what must hold of it.

Tests and the coverage-guided fuzzer (``coverage_fuzz.py``) check the same.
"""

from __future__ import annotations

import ast
import builtins
import random
import sys
import time
import unicodedata
from contextlib import contextmanager

from sycam.errors import ExpressionError, SycamError
from sycam.export import TARGETS
from sycam.grammar import grammar_names, load_grammar, read_grammar
from sycam.grammar.source import folder
from sycam.language import OPERATORS, heatmap_latex, parse, parse_weights, to_text
from sycam.language.operators import LEAVES
from sycam.language.signatures import SCALAR

SECONDS = {"expression": 2, "grammar": 10, "export": 10}  # of processor time, a call

RUNS = {  # audit events (PEP 578) of running or changing something
    "exec", "os.system", "os.exec", "os.posix_spawn", "os.fork", "subprocess.Popen", "os.remove",
    "os.rename", "os.mkdir", "os.rmdir", "os.chmod", "shutil.rmtree", "socket.connect",
    "socket.bind", "pickle.find_class", "marshal.loads", "ctypes.dlopen", "code.__new__",
}  # fmt: skip

"".encode("unicode_escape")  # a codec is imported, and so run, at its first use
SHIPPED = [load_grammar(name) for name in grammar_names()]  # compiled before the first measurement
FILES = {n: (folder() / f"{n}.lark").read_text(encoding="utf-8") for n in grammar_names()}
SEEDS = (
    "mean(G)",
    "sum(relu(G) / (2 + sum(A) * G))",
    "mean(above(A, 2)) * softmax(S) - D",
    "channelsum(relu(G * A))",
    "smooth(smooth(-G - 0.5 * H))",
    "normalize(MI) * C + y / p",
    "smooth(principal(abs(G) * A))",
)
TOKENS = (
    *LEAVES, *(name for name, op in OPERATORS.items() if not op.is_leaf),
    "(", ")", ",", "+", "-", "*", "/", " ", "\n", "3", "1e9", "0.50", "()", "**", "((", "))",
    "__import__('os').system('true')", "lambda: 0", "A.__class__", "{0}", "%s", "mean", "Ω", "\x00",
    "\u2028", "'", '"', "#", "\\",
)  # fmt: skip
NAMES = ("SomeCAM", "torch", "nn", "Tensor", "LEAVES", "len", "class", "1st", "ｔorch", "x y", "π")
# By an exported module.
IMPORTED = {"__future__", "collections", "contextlib", "math", "threading", "torch", "warnings"}
PIECES = (
    "?start: w\n", "start", "weight", "map", "scalar", "heat", ":", "|", "->", '"A"', '"mean"',
    '"("', "(", ")", "[", "]", "{", "}", "*", "+", "?", "~ 3", "~1..99999999", "!", ".2",
    "/[a-z]+/", "/(a|b)*a(a|b){30}/", "_X", "NAME", "NAME: /x/\n", "%ignore", "%import common.WS\n",
    "%extend", "%override", "%declare X\n", "%base gradient\n", "%base full\n", "%base ../x.lark\n",
    "\n", " ", "// c\n", "# c\n", "\\\n", "\\x", '"\\u12"', '""', '" "', '"a"i', '"a".."z"', "\x00",
    "é", "1", *OPERATORS,
)  # fmt: skip


@contextmanager
def watched(kind: str):
    """Fails where the block takes too long or runs anything."""
    seen: list[str] = []
    _listeners.append(seen)
    started = time.process_time()
    try:
        yield
    finally:
        took = time.process_time() - started
        _listeners.remove(seen)
    assert seen == []
    assert took < SECONDS[kind]


_listeners: list[list[str]] = []


def _hear(event: str, arguments: tuple) -> None:
    if _listeners:
        writes = (
            event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+")
        )
        if event in RUNS or writes:
            _listeners[-1].append(event)


sys.addaudithook(_hear)  # cannot be taken away again, but listens only inside `watched`


def check_expression(text: str) -> bool:
    """Whether it is an expression; if so, what is printed of it reads as the same."""
    with watched("expression"):
        try:
            expression = parse(text)
        except SycamError:
            return False
        assert parse(to_text(expression)) is expression
        assert expression.sort == SCALAR or heatmap_latex(expression)
        for grammar in SHIPPED:
            try:  # what a shipped grammar reads means the same everywhere
                assert grammar.parse(text) is expression
            except ExpressionError:
                continue
            assert expression in grammar
    return True


def check_grammar(text: str) -> bool:
    """Whether it is a grammar; if so, it can be counted and its text says all of it."""
    with watched("grammar"):
        try:
            grammar = read_grammar(text)
        except SycamError:
            return False
        assert min(grammar.tree_counts(4)) >= 0
        assert all(p.operator.name in OPERATORS for p in grammar.productions)
        if "%base" in text:
            assert read_grammar(grammar.text).digest == grammar.digest
    return True


def check_exported(text: str, name: str = "SomeCAM", provenance: str = "") -> bool:
    """Whether a module can be written of it; if so, importing it runs nothing but definitions."""
    with watched("export"):
        try:
            source = TARGETS["torch"].source(parse_weights(text), name, provenance)
        except SycamError:
            return False
        assert source.encode("utf-8")
        assert not set(source) & set("\u202a\u202b\u202d\u202e\u2066\u2067\u2068\x00")
        module = ast.parse(source)
        document, *rest = module.body
        assert isinstance(document.value, ast.Constant)
        named: set[str] = set()
        for node in rest:
            if isinstance(node, ast.Import | ast.ImportFrom):
                new = {alias.asname or alias.name for alias in node.names}
                packages = [getattr(node, "module", None) or alias.name for alias in node.names]
                assert {p.split(".")[0] for p in packages} <= IMPORTED
            elif isinstance(node, ast.Assign):
                assert not any(isinstance(part, ast.Call) for part in ast.walk(node))
                new = {target.id for target in node.targets}
            else:
                assert isinstance(node, ast.FunctionDef | ast.ClassDef)
                new = {node.name}
            # Nothing hides an import, a builtin or another definition.
            assert not new & {*named, *dir(builtins)}
            named |= new
        assert unicodedata.normalize("NFKC", name) in named
        called = {n.func.id for n in ast.walk(module)
                  if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)}  # fmt: skip
        assert not called & {"eval", "exec", "compile", "__import__", "open"}
    return True


# --- texts of a random generator -----------------------------------------------------------------


def any_expression_text(rng: random.Random) -> str:
    kind = rng.randrange(5)
    if kind == 0:
        return "".join(
            chr(rng.choice((rng.randrange(128), rng.randrange(0xD800)))) for _ in range(12)
        )
    if kind == 1:
        return "".join(rng.choices(TOKENS, k=rng.randrange(30)))
    if kind == 2:
        return nested(rng)
    text = rng.choice(SEEDS)
    for _ in range(rng.randrange(4)):
        text = mutated(text, rng, TOKENS)
    return text * rng.choice((1, 1, 1, 30)) if rng.random() < 0.2 else text


def nested(rng: random.Random) -> str:
    """Deep or long, on one side or the other, mostly well formed."""
    depth = rng.choice((3, 30, 99, 100, 101, 500, 2000, 20_000))
    opening = rng.choice(("(", "-", "relu(", "abs(", "A+", "A*(", "G/(1+", "smooth("))
    closing = ")" * opening.count("(")
    text = opening * depth + rng.choice(("A", "mean(G)", "")) + closing * depth
    return text if rng.random() < 0.7 else mutated(text, rng, TOKENS)


def mutated(text: str, rng: random.Random, pieces: tuple[str, ...]) -> str:
    """One place deleted, doubled, replaced or added to."""
    start = rng.randrange(len(text) + 1)
    end = min(len(text), start + rng.randrange(1, 8))
    middle = rng.choice(("", text[start:end] * 2, rng.choice(pieces)))
    return text[:start] + middle + text[rng.choice((start, end)) :]


def any_grammar_text(rng: random.Random) -> str:
    kind = rng.randrange(8)
    if kind == 0:
        return "".join(rng.choices(PIECES, k=rng.randrange(40)))
    if kind == 1:
        return "%base gradient\n%extend " + "".join(rng.choices(PIECES, k=rng.randrange(12)))
    text = FILES[rng.choice(("information", "perturbation", "spatial", "gradient", "full"))]
    for _ in range(rng.randrange(1, 4)):
        lines = text.split("\n")
        i, j = rng.randrange(len(lines)), rng.randrange(len(lines))
        manner = rng.randrange(6)
        if manner == 0:
            del lines[i]
        elif manner == 1:
            lines.insert(j, lines[i])
        elif manner == 2:
            lines[i], lines[j] = lines[j], lines[i]
        elif manner == 3:
            lines[i] = lines[i].split("->")[0] + f"-> {rng.choice((*OPERATORS, 'meen', 'x'))}"
        elif manner == 4:
            lines[i] = lines[i].replace("map", "weight") if rng.random() < 0.5 else lines[j]
        else:
            lines[i] = mutated(lines[i], rng, PIECES)
        text = "\n".join(lines)
    return text
