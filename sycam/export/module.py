"""The text of an exported module: docstring, functions, formula, class."""

from __future__ import annotations

import ast
import builtins
import json
import re
import sys
import textwrap
from collections.abc import Iterable, Iterator
from importlib.resources import files as package_files

from sycam.errors import OptionError
from sycam.evidence import MEASURED, Leaf
from sycam.export.class_template import ClassTemplate
from sycam.export.python_file import check_class_name
from sycam.export.reshape_text import NAME as RESHAPE_NAME
from sycam.export.reshape_text import reshape_source
from sycam.heatmaps.program import Program, weighted_sum_source
from sycam.language import Expression, heatmap_latex
from sycam.language.operators import LEAVES
from sycam.language.signatures import Operator
from sycam.language.sources import standalone_source

_MARKER = "# --- exported from here on ---\n"
_RECORDED = {"A", "G"}  # what the libraries record
_CLASS, _MEASURING, _MAPS = "ExportedCAM", "MeasuringCAM", "weighted_maps"
_OF_LAYERS = "saliency_map"  # the function of a formula of several layers
_PASSES = "passes.py"  # of sycam.networks
_NO_RESHAPE = "RESHAPE: Callable | None = None"
_WIDTH = 100  # columns


def module_source(
    expression: Expression,
    name: str,
    template: ClassTemplate,
    provenance: str = "",
    layer: str = "layer4",
    reshape: str | None = None,
) -> str:
    """Source of a module with the class ``name`` for an expression.

    Args:
        expression: a weight, map or heat.
        name: of the class.
        template: of the library that the class is for.
        provenance: the end of the docstring.
        layer: name of the layer that it was found for.
        reshape: how its output lies over the images, as a run records it; for a template that
            takes a function for that.

    Raises:
        OptionError: ``name`` is no Python identifier, a leaf cannot be measured outside SyCAM, or
            a user's operator cannot be written down; or class or operator have the name of
            something else in the module.
    """
    check_class_name(name)
    program = Program(expression)
    leaves = [op.symbol for op in program.leaves]
    further = _further(expression, program.leaves)
    several = len(program.layers) > 1
    recorded = _RECORDED.issuperset(leaves) and not expression.pairs
    measured = several or template.measures or not recorded
    if several:
        formula = weighted_sum_source(expression, _OF_LAYERS)
    elif template.by_maps:
        formula = weighted_sum_source(expression, _MAPS, summed=False)
    else:
        formula = weighted_sum_source(expression)
    texts = [standalone_source(f) for f in (*template.helpers, *program.functions)]
    texts += [leaf.source() for leaf in further if leaf.source is not None]

    parts = [_what_is_read(program), formula, _body(_PASSES)]
    files = [template.file, _PASSES]
    if measured:
        part, those = _measuring(further, several, expression.pairs)
        parts.append(part)
        files += those
    own, named = _body(template.file), {_CLASS: name}
    if template.differs:
        own = _with(own, _body(template.differs))
        files.append(template.differs)
    if (function := reshape_source(reshape)) and _NO_RESHAPE in own:
        own = _replaced(own, _NO_RESHAPE, f"{function}\n\nRESHAPE = {RESHAPE_NAME}")
    if several:
        pass  # the one class measures
    elif not template.measures and measured:
        # Where both stand there, the second is what users want.
        named = {_CLASS: f"_Recorded{name}", _MEASURING: name}
    elif not template.measures:
        own = own[: own.index(f"class {_MEASURING}")]
    # In one pass: the name may hold one of those replaced.
    parts.append(re.sub("|".join(named), lambda m: named[m[0]], own))
    if template.ends:
        files.append(template.ends)
        if not several:
            parts += [
                f"LAYER = {json.dumps(layer, ensure_ascii=False)}  # that the formula was found "
                "for\n"
            ]
        parts += [_body(template.ends).replace(_CLASS, name)]
    text = "\n\n".join(part.strip() + "\n" for part in parts)

    imports, functions = _merged(texts, taken={*dict(_names(text)), *_locals(program)})
    imports += [line for file in files for line in _imports(file)]
    code = "\n\n\n".join([*functions, text.strip()]) + "\n"
    use = re.sub(r"NAME|LAYER\b", lambda m: {"NAME": name, "LAYER": layer}[m[0]], template.use)
    heads = [_docstring(program, name, use, provenance), _needed(imports, code)]
    gap = "\n\n" if isinstance(ast.parse(code).body[0], ast.Assign) else "\n\n\n"
    source = "\n\n".join(heads) + gap + code
    _check_names(source)
    return source


def _further(expression: Expression, leaves: Iterable[Operator]) -> list[Leaf]:
    """Those of the leaves that take further passes.

    Raises:
        OptionError: one cannot be measured outside SyCAM.
    """
    read = [MEASURED[op.name] for op in leaves]
    for leaf in read:
        if not leaf.exportable:
            able = ", ".join(leaf.symbol for leaf in MEASURED.values() if leaf.exportable)
            raise OptionError(
                f"{expression} cannot be exported: leaf {leaf.symbol} ({leaf.name}) is measured "
                f"by SyCAM alone; use sycam.CAM, or a formula of {able}"
            )
    return [leaf for leaf in read if not leaf.in_one_pass]


def _measuring(further: list[Leaf], several: bool, pairs: bool) -> tuple[str, list[str]]:
    """The text that measures the leaves at one or several layers, and the files it is of."""
    part, files = _body("measuring.py"), ["measuring.py"]
    if further:
        leaves = _channel_leaves(further, lazily=several)
        part = _replaced(part, _definition(part, "channel_leaves"), leaves)
        files.append("channels.py")
    if several:
        part = _with(part, _body("layers.py"))
        files.append("layers.py")
    if pairs:
        part = _replaced(part, "def measure(", "def measure_each(") + "\n\n" + _body("pairs.py")
        files.append("pairs.py")
    return part, files


def _what_is_read(program: Program) -> str:
    """The text that says what the formula reads."""
    leaves = [op.symbol for op in program.leaves]
    if len(program.layers) == 1:
        return f"LEAVES = {_tuple(leaves)}  # what the formula reads\n"
    layers = [_literal(layer) for layer in program.layers]
    read = [_tuple([op.symbol for op in leaves]) for leaves in program.layers.values()]
    return _assigned("LAYERS", layers, "that the formula reads") + _assigned(
        "LEAVES", read, "what it reads at each"
    )


def _assigned(name: str, items: list[str], said: str) -> str:
    line = f"{name} = ({', '.join(items)})  # {said}\n"
    if len(line) <= _WIDTH:
        return line
    return f"{name} = (  # {said}\n" + textwrap.indent(",\n".join(items), "    ") + ",\n)\n"


def _literal(text: str) -> str:
    """A string of Python; with escapes where it holds what an editor would not show."""
    return json.dumps(text, ensure_ascii=False) if text.isprintable() else ascii(text)


def _docstring(program: Program, name: str, use: str, provenance: str) -> str:
    expression, leaves = program.expression, [op.symbol for op in program.leaves]
    prices = [f"{s}: {LEAVES[s].meaning}; it costs {LEAVES[s].price}" for s in leaves]
    prices = [_wrapped(line) for line in prices]
    by, where = "by the weights", ""
    if expression.pairs:
        prices.append(_wrapped("all of them also of the image flipped left-right"))
    if len(program.layers) > 1:
        by, where = "by", "of each layer that it names, "
    text = f"""{name}: class activation maps {by} {_printable(str(expression))}

    heatmap = {_printable(heatmap_latex(expression))}

It reads, {where}on each image:

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
    return _segment(text, node)


def _replaced(text: str, old: str, new: str) -> str:
    before, found, after = text.partition(old)
    if not found:
        raise ValueError(f"the template holds no {old!r}")
    return before + new + after


def _channel_leaves(leaves: Iterable[Leaf], lazily: bool = False) -> str:
    """The text of ``channel_leaves`` that measures these; lazily, each when it is called, as no
    layer need have them all."""
    when = "lambda: " if lazily else ""
    entries = "\n".join(f'"{leaf.symbol}": {when}{leaf.call},' for leaf in leaves)
    filled = f"return {{\n{textwrap.indent(entries, ' ' * 8)}\n    }}"
    text = _replaced(_body("channels.py").strip(), "return {}", filled)
    if lazily:
        text = _replaced(text, "dict[str, Tensor]:", "dict[str, Callable[[], Tensor]]:")
        text = _replaced(text, "per channel: ``[K]`` each.", "per channel, ``[K]``, when called.")
    return text


def _with(text: str, other: str) -> str:
    """A text with the definitions of another; those of the same names, and of classes the
    docstrings and methods of the same names, take the place of its own."""
    for node in ast.parse(other).body:
        named = getattr(node, "name", "")
        own = next((n for n in ast.parse(text).body if getattr(n, "name", "") == named), None)
        if own is None:
            text = text.rstrip() + "\n\n\n" + _segment(other, node) + "\n"
        elif isinstance(own, ast.ClassDef) and isinstance(node, ast.ClassDef):
            text = _with_members(text, own, other, node)
        else:
            text = _replaced(text, _segment(text, own), _segment(other, node))
    return text


def _with_members(text: str, own: ast.ClassDef, other: str, node: ast.ClassDef) -> str:
    members = {getattr(n, "name", ""): _segment(text, n) for n in reversed(own.body)}
    for member in node.body:  # a docstring has no name
        text = _replaced(text, members[getattr(member, "name", "")], _segment(other, member))
    return text


def _segment(text: str, node: ast.stmt) -> str:
    """The text of a definition; decorators stand before it."""
    return ast.get_source_segment(text, node) or ""


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


def _locals(program: Program) -> set[str]:
    """What the formula's function names."""
    source = ast.walk(ast.parse(weighted_sum_source(program.expression)))
    return {n.id for n in source if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)} | {
        *program.arguments,
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
