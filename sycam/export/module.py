"""The text of an exported module: docstring, functions, formula, class."""

from __future__ import annotations

import ast
import builtins
import json
import keyword
import re
import sys
import textwrap
from collections.abc import Iterable, Iterator
from importlib.resources import files as package_files

from sycam.errors import OptionError
from sycam.evidence import MEASURED, Leaf
from sycam.export.class_template import ClassTemplate
from sycam.heatmaps.program import Program, weighted_sum_source
from sycam.language import Expression, heatmap_latex
from sycam.language.operators import LEAVES
from sycam.language.sources import standalone_source

_MARKER = "# --- exported from here on ---\n"
_RECORDED = {"A", "G"}  # what the libraries record
_CLASS, _MEASURING, _MAPS = "ExportedCAM", "MeasuringCAM", "weighted_maps"
_PASSES = "passes.py"  # of sycam.networks
_WIDTH = 100  # columns


def module_source(
    expression: Expression,
    name: str,
    template: ClassTemplate,
    provenance: str = "",
    layer: str = "layer4",
) -> str:
    """Source of a module with the class ``name`` for an expression.

    Args:
        expression: a weight, map or heat.
        name: of the class.
        template: of the library that the class is for.
        provenance: the end of the docstring.
        layer: name of the layer that it was found for.

    Raises:
        OptionError: ``name`` is no Python identifier, a leaf cannot be measured outside SyCAM, or
            a user's operator cannot be written down; or class or operator have the name of
            something else in the module.
    """
    if not name.isidentifier() or keyword.iskeyword(name):
        raise OptionError(f"class name {name!r} is not a Python identifier")
    program = Program(expression)
    leaves = [op.symbol for op in program.leaves]
    read = [MEASURED[op.name] for op in program.leaves]
    for leaf in read:
        if not leaf.exportable:
            able = ", ".join(leaf.symbol for leaf in MEASURED.values() if leaf.exportable)
            raise OptionError(
                f"{expression} cannot be exported: leaf {leaf.symbol} ({leaf.name}) is measured "
                f"by SyCAM alone; use sycam.CAM, or a formula of {able}"
            )
    further = [leaf for leaf in read if not leaf.in_one_pass]
    measured = template.measures or not _RECORDED.issuperset(leaves)
    formula = (
        weighted_sum_source(expression, _MAPS, summed=False)
        if template.by_maps
        else weighted_sum_source(expression)
    )
    texts = [standalone_source(f) for f in (*template.helpers, *program.functions)]
    texts += [leaf.source() for leaf in further if leaf.source is not None]

    parts = [f"LEAVES = {_tuple(leaves)}  # what the formula reads\n", formula, _body(_PASSES)]
    files = [template.file, _PASSES]
    if measured:
        part = _body("measuring.py")
        if further:
            part = _replaced(part, _definition(part, "channel_leaves"), _channel_leaves(further))
            files.append("channels.py")
        files.append("measuring.py")
        parts.append(part)
    own, named = _body(template.file), {_CLASS: name}
    if not template.measures and measured:
        # Where both stand there, the second is what users want.
        named = {_CLASS: f"_Recorded{name}", _MEASURING: name}
    elif not template.measures:
        own = own[: own.index(f"class {_MEASURING}")]
    # In one pass: the name may hold one of those replaced.
    parts.append(re.sub("|".join(named), lambda m: named[m[0]], own))
    if template.ends:
        files.append(template.ends)
        parts += [
            f"LAYER = {json.dumps(layer, ensure_ascii=False)}  # that the formula was found for\n"
        ]
        parts += [_body(template.ends).replace(_CLASS, name)]
    text = "\n\n".join(part.strip() + "\n" for part in parts)

    imports, functions = _merged(texts, taken={*dict(_names(text)), *_locals(expression, leaves)})
    imports += [line for file in files for line in _imports(file)]
    code = "\n\n\n".join([*functions, text.strip()]) + "\n"
    use = re.sub("NAME|LAYER", lambda m: {"NAME": name, "LAYER": layer}[m[0]], template.use)
    heads = [_docstring(expression, name, leaves, use, provenance), _needed(imports, code)]
    gap = "\n\n" if isinstance(ast.parse(code).body[0], ast.Assign) else "\n\n\n"
    source = "\n\n".join(heads) + gap + code
    _check_names(source)
    return source


def _docstring(
    expression: Expression, name: str, leaves: list[str], use: str, provenance: str
) -> str:
    prices = [f"{s}: {LEAVES[s].meaning}; it costs {LEAVES[s].price}" for s in leaves]
    prices = [_wrapped(line) for line in prices]
    text = f"""{name}: class activation maps by the weights {expression}

    heatmap = {heatmap_latex(expression)}

It reads, on each image:

{chr(10).join(prices)}

{_printable(use)}

{_printable(provenance)}""".rstrip()
    text = re.sub(r"\n{3,}", "\n\n", text)
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


def _text(file: str) -> str:
    """A template, which need not be importable: the library may not be installed."""
    home = "sycam.networks" if file == _PASSES else "sycam.export.templates"
    return package_files(home).joinpath(file).read_text(encoding="utf-8")


def _body(file: str) -> str:
    return _text(file).split(_MARKER, 1)[1].strip() + "\n"


def _definition(text: str, name: str) -> str:
    """The text of a function."""
    (node,) = [n for n in ast.parse(text).body if getattr(n, "name", "") == name]
    return ast.get_source_segment(text, node) or ""


def _replaced(text: str, old: str, new: str) -> str:
    before, found, after = text.partition(old)
    if not found:
        raise ValueError(f"the template holds no {old!r}")
    return before + new + after


def _channel_leaves(leaves: Iterable[Leaf]) -> str:
    """The text of ``channel_leaves`` that measures these."""
    entries = "\n".join(f'"{leaf.symbol}": {leaf.call},' for leaf in leaves)
    filled = f"return {{\n{textwrap.indent(entries, ' ' * 8)}\n    }}"
    return _replaced(_body("channels.py").strip(), "return {}", filled)


def _merged(texts: Iterable[str], taken: set[str]) -> tuple[list[str], list[str]]:
    """Import lines and definitions of several modules, each once.

    Raises:
        OptionError: two different definitions have one name, or one has a name of ``taken``.
    """
    imports: list[str] = []
    definitions: dict[str, str] = {}
    for text in texts:
        for node in ast.parse(text).body:
            segment = ast.get_source_segment(text, node) or ""
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


def _imports(file: str) -> list[str]:
    text = _text(file)
    nodes = [n for n in ast.parse(text).body if isinstance(n, ast.Import | ast.ImportFrom)]
    lines = [ast.get_source_segment(text, node) for node in nodes]
    return [line for line in lines if "sycam" not in line]


def _needed(lines: Iterable[str], code: str) -> str:
    """The imports that the code uses, once each: the future, the standard library, the others."""
    used = {node.id for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Name)}
    plain, named = set(), {}
    for node in (node for line in lines for node in ast.parse(line).body):
        future = getattr(node, "module", "") == "__future__"
        for alias in node.names:
            bound = alias.asname or alias.name.partition(".")[0]
            said = alias.name + (f" as {alias.asname}" if alias.asname else "")
            if isinstance(node, ast.Import) and bound in used:
                plain.add(said)
            elif isinstance(node, ast.ImportFrom) and (future or bound in used):
                named.setdefault(node.module, set()).add(said)
    groups: dict[int, list[str]] = {0: [], 1: [], 2: []}
    for said in sorted(plain):
        groups[_section(said)].append(f"import {said}")
    for module in sorted(named):
        listed = sorted(named[module], key=_import_order)
        line = f"from {module} import {', '.join(listed)}"
        if len(line) > _WIDTH:
            line = f"from {module} import (\n    " + ",\n    ".join(listed) + ",\n)"
        groups[_section(module)].append(line)
    return "\n\n".join("\n".join(group) for group in groups.values() if group)


def _section(module: str) -> int:
    root = module.split(" ")[0].partition(".")[0]
    return 0 if root == "__future__" else 1 if root in sys.stdlib_module_names else 2


def _import_order(name: str) -> tuple[int, str]:
    """As isort has it: constants, classes, the rest."""
    kind = 0 if name.isupper() else 1 if name[:1].isupper() else 2
    return kind, name


def _tuple(names: list[str]) -> str:
    return "(" + ", ".join(f'"{name}"' for name in names) + ("," if len(names) == 1 else "") + ")"
