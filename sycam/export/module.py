"""The text of an exported module: docstring, functions, formula, class."""

from __future__ import annotations

import ast
import builtins
import inspect
import keyword
import re
import textwrap
from collections.abc import Iterable, Iterator
from types import ModuleType

from sycam.errors import OptionError
from sycam.evidence import head
from sycam.evidence.ablation import ablation_drops
from sycam.evidence.information import mutual_information
from sycam.evidence.masked import masked_scores
from sycam.export import channels, standalone
from sycam.kernels.heatmaps import finish
from sycam.kernels.source import Program, weighted_sum_source
from sycam.language import Expression, heatmap_latex
from sycam.language.operators import LEAVES
from sycam.language.sources import standalone_source

_MARKER = "# --- exported from here on ---\n"
_IN_ONE_PASS = ("A", "G", "H", "y", "p")  # what the class measures itself
_FUNCTIONS = {"S": masked_scores, "D": ablation_drops, "MI": mutual_information}


def module_source(expression: Expression, name: str, provenance: str = "") -> str:
    """Source of a module with the class ``name`` for an expression.

    Raises:
        OptionError: ``name`` is no Python identifier, a leaf cannot be measured outside SyCAM, or
            a user's operator cannot be written down; or class or operator have the name of
            something else in the module.
    """
    if not name.isidentifier() or keyword.iskeyword(name):
        raise OptionError(f"class name {name!r} is not a Python identifier")
    program = Program(expression)
    leaves = [op.symbol for op in program.leaves]
    further = [symbol for symbol in leaves if symbol not in _IN_ONE_PASS]
    for symbol in further:
        if symbol not in (*_FUNCTIONS, "C"):
            raise OptionError(
                f"{expression} cannot be exported: leaf {symbol} ({LEAVES[symbol].name}) is "
                f"measured by SyCAM alone; use sycam.CAM, or a formula of "
                f"{', '.join([*_IN_ONE_PASS, *_FUNCTIONS, 'C'])}"
            )
    texts = [standalone_source(function) for function in (finish, *program.functions)]
    texts += [standalone_source(_FUNCTIONS[s]) for s in further if s in _FUNCTIONS]
    texts += [_class_weights_source()] if "C" in further else []

    template = _body(standalone)
    template = _replaced(template, 'LEAVES = ("A", "G")', f"LEAVES = {_tuple(leaves)}")
    default = inspect.getsource(standalone.weighted_sum)
    template = _replaced(template, default, weighted_sum_source(expression))
    if further:
        default = inspect.getsource(standalone.channel_leaves)
        template = _replaced(template, default, _channel_leaves(further))
    template = template.replace(standalone.ExportedCAM.__name__, name)

    imports, functions = _merged(
        texts, taken={*dict(_names(template)), *_locals(expression, leaves)}
    )
    imports = [*_imports(standalone), *imports]
    parts = [_docstring(expression, name, leaves, provenance), _sorted(imports)]
    source = "\n\n".join(parts) + "\n\n" + "\n\n\n".join([*functions, template.strip()]) + "\n"
    _check_names(source)
    return source


def _docstring(expression: Expression, name: str, leaves: list[str], provenance: str) -> str:
    prices = [f"{s}: {LEAVES[s].meaning}; it costs {LEAVES[s].price}" for s in leaves]
    prices = [_wrapped(line) for line in prices]
    text = f"""{name}: class activation maps by the weights {expression}

    heatmap = {heatmap_latex(expression)}

It reads, on each image:

{chr(10).join(prices)}

{_printable(provenance)}""".rstrip()
    text = text.replace('"""', "'''")
    return f'r"""{text}\n"""'


def _printable(text: str) -> str:
    """Text with an escape for what Python source cannot hold, or an editor would not show.

    Paths and names of a user's may hold a null byte, a lone surrogate or a change of direction.
    """
    shown = (
        c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text
    )
    return "".join(shown)


def _wrapped(line: str) -> str:
    return textwrap.fill(line, 96, initial_indent=" " * 4, subsequent_indent=" " * 8)


def _body(module: ModuleType) -> str:
    return inspect.getsource(module).split(_MARKER, 1)[1].strip() + "\n"


def _replaced(text: str, old: str, new: str) -> str:
    before, found, after = text.partition(old)
    if not found:
        raise ValueError(f"the template holds no {old!r}")
    return before + new + after


def _channel_leaves(wanted: Iterable[str]) -> str:
    """The text of ``channel_leaves`` without the entries of other leaves."""
    text = _body(channels)
    lines = text.splitlines(keepends=True)
    (entries,) = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Dict)]
    for key, value in zip(entries.keys, entries.values, strict=True):
        if key.value not in wanted:
            for i in range(key.lineno - 1, value.end_lineno):
                lines[i] = ""
    return "".join(lines)


def _class_weights_source() -> str:
    """Its error is one of SyCAM's; outside it is a ValueError."""
    text = inspect.getsource(head.class_weights).replace("LayerError", "ValueError")
    return f"from torch import Tensor, nn\n\nCLOSE = {head.CLOSE!r}\n\n\n{text}"


def _merged(texts: Iterable[str], taken: set[str]) -> tuple[list[str], list[str]]:
    """Import lines and definitions of several modules, each once.

    Raises:
        OptionError: two different definitions have one name, or one has a name of ``taken``.
    """
    imports: list[str] = []
    definitions: dict[str, str] = {}
    for text in texts:
        for node in ast.parse(text).body:
            segment = ast.get_source_segment(text, node)
            if isinstance(node, ast.Import | ast.ImportFrom):
                imports.append(segment)
                continue
            named = node.targets[0].id if isinstance(node, ast.Assign) else node.name
            if named in taken or definitions.setdefault(named, segment) != segment:
                raise _ambiguous(named)
    return imports, list(definitions.values())


def _ambiguous(name: str) -> OptionError:
    return OptionError(
        f"cannot export: {name!r} would mean two things in the module; rename the operator's "
        "function, or what it uses, or the class"
    )


def _check_names(source: str) -> None:
    """Refuse a class or operator that takes the name of an import, a builtin or each other."""
    meanings: dict[str, str] = {}
    for name, meaning in _names(source):
        reserved = hasattr(builtins, name) or name[:2] == name[-2:] == "__"
        if reserved or meanings.setdefault(name, meaning) != meaning:
            raise _ambiguous(name)


def _names(text: str) -> Iterator[tuple[str, str]]:
    """What a module's text names at its top, as Python reads it (NFKC), and what that means."""
    for node in ast.parse(text).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name, f"line {node.lineno}"
        elif isinstance(node, ast.Assign):
            yield from ((target.id, f"line {node.lineno}") for target in node.targets)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            for alias in node.names:
                # `import a.b` names a.
                named = alias.asname or alias.name.partition(".")[0]
                yield named, f"{getattr(node, 'module', '')}.{alias.name}"


def _locals(expression: Expression, leaves: list[str]) -> set[str]:
    """What the formula's function names."""
    source = ast.walk(ast.parse(weighted_sum_source(expression)))
    return {n.id for n in source if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)} | {
        *leaves,
        "depth",
    }


def _imports(module: ModuleType) -> list[str]:
    text = inspect.getsource(module)
    nodes = [n for n in ast.parse(text).body if isinstance(n, ast.Import | ast.ImportFrom)]
    lines = [ast.get_source_segment(text, node) for node in nodes]
    return [line for line in lines if "sycam" not in line]


def _sorted(lines: Iterable[str]) -> str:
    """Import lines once each: the future, the standard library, torch."""
    future, standard, torches = [], [], []
    for line in sorted(set(lines), key=lambda line: (line.startswith("from"), line)):
        if "__future__" in line:
            future.append(line)
        else:
            (torches if re.match(r"(import|from) torch\b", line) else standard).append(line)
    return "\n\n".join("\n".join(group) for group in (future, standard, torches) if group)


def _tuple(names: list[str]) -> str:
    return "(" + ", ".join(f'"{name}"' for name in names) + ("," if len(names) == 1 else "") + ")"
