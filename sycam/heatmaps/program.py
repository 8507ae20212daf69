"""One expression as a program: sympy's cse finds what is shared, our printer writes torch.

The second form of what :func:`sycam.heatmaps.evaluate` computes, for formulas that are kept: the
source stands in exported modules, and :mod:`sycam.heatmaps.compiled` compiles the same program.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from functools import cached_property
from itertools import count

import sympy
from sympy.printing.printer import Printer

from sycam.errors import ExpressionError
from sycam.heatmaps.sites import check_named
from sycam.language import Expression
from sycam.language.expression import apply
from sycam.language.numbers import is_number
from sycam.language.operators import OPERATORS, place
from sycam.language.signatures import SCALAR, WEIGHT, WEIGHTING, Operator, Overload
from sycam.language.symbolic import Operation, from_sympy, leaf, to_sympy

_WIDTH = 88  # characters of a call before its arguments are written one a line
_COLUMNS = 100  # of a line


class Program:
    """An expression in steps, each distinct subexpression that is used twice named by one.

    What it takes of the only layer bears the names of the leaves: ``A``, ``G``. Of layers that the
    expression names, those of the first are ``A0``, ``G0``, of the second ``A1``, and so on.

    Args:
        expression: a weight, map, heat or saliency map.

    Attributes:
        steps: the named subexpressions, each in terms of leaves and those before it.
        result: the expression in terms of leaves and steps.

    Raises:
        ExpressionError: the expression is a scalar, which makes no heatmap, or it reads layers by
            name and one without.

    >>> from sycam.language import parse
    >>> program = Program(parse("relu(G) * mean(relu(G))"))
    >>> program.steps, program.result
    ([(t0, relu(G))], mul(t0, mean(t0)))
    >>> program = Program(parse("cam[1](relu(G)) * smooth(cam[4](mean(G)))"))
    >>> program.result
    mul(cam[1](relu(G0)), smooth(cam[4](mean(G1))))
    """

    def __init__(self, expression: Expression):
        if expression.sort == SCALAR:
            raise ExpressionError(f"{expression} is a scalar and makes no heatmap")
        check_named(expression)
        self.expression = expression
        self._meaning: dict[sympy.Symbol, Expression] = {}
        self._beside: dict[sympy.Symbol, str] = {}  # activations of the layer that a symbol is of
        # Without order="none" sympy would sort arguments; our functions know no reordering.
        self.steps, (self.result,) = sympy.cse(
            [self._tree()], symbols=sympy.numbered_symbols("t"), order="none"
        )
        for name, tree in self.steps:
            self._meaning[name] = from_sympy(tree, self._meaning)
            if beside := self._activations_of(tree):
                self._beside[name] = beside

    def _tree(self) -> sympy.Expr:
        """The expression as a tree in which leaves of different layers have different names."""
        maps: dict[Expression, sympy.Expr] = {}
        for index, (layer, leaves) in enumerate(self.layers.items()):
            number = str(index) if layer else ""
            names = {op: sympy.Symbol(op.symbol + number, real=True) for op in leaves}
            self._meaning |= {name: apply(op.name) for op, name in names.items()}
            self._beside |= dict.fromkeys(names.values(), f"A{number}")
            renamed = {leaf(op.symbol): name for op, name in names.items()}
            for node in self.expression.nodes() if layer else ():
                if node.operator.site == layer:
                    maps[node] = to_sympy(node).xreplace(renamed)
        return to_sympy(self.expression, maps)

    @cached_property
    def layers(self) -> dict[str, list[Operator]]:
        """What the program takes at each layer, by the layer's name: the activations, then the
        other leaves in the table's order. A layer without a name is the only one."""
        at: dict[str, list[Expression]] = {"": [self.expression]}
        if sites := self.expression.sites:
            maps = [node for node in self.expression.nodes() if node.operator.site]
            at = {site: [one for one in maps if one.operator.site == site] for site in sites}
        taken = {}
        for layer, read in at.items():
            names = {"activations"}.union(*(one.leaves for one in read))
            taken[layer] = [op for op in OPERATORS.values() if op.name in names]
        return taken

    @property
    def leaves(self) -> list[Operator]:
        """What the program takes at any layer, in the table's order."""
        taken = {op for leaves in self.layers.values() for op in leaves}
        return [op for op in OPERATORS.values() if op in taken]

    @property
    def arguments(self) -> list[str]:
        """The names of what the program takes, layer by layer."""
        numbers = [str(index) if layer else "" for index, layer in enumerate(self.layers)]
        taken = zip(numbers, self.layers.values(), strict=True)
        return [op.symbol + number for number, leaves in taken for op in leaves]

    def activations(self, node: Operation) -> str:
        """The name of the activations that a node's weights are combined with."""
        beside = self._activations_of(node)
        assert beside is not None  # weights are made of leaves of one layer
        return beside

    def _activations_of(self, tree: sympy.Expr) -> str | None:
        """The activations of the layer that a tree is of; None for what combines layers."""
        layers = {self._beside[one] for one in tree.free_symbols if one in self._beside}
        return layers.pop() if len(layers) == 1 else None

    @cached_property
    def constants(self) -> dict[str, Operator]:
        """The numbers that the expression names, in the order of expressions, by the names that
        the program gives them."""
        numbers = {n.operator for n in self.expression.nodes() if n.operator.value is not None}
        index = count()
        return {
            f"c{next(index)}" if is_number(op) else op.name: op for op in sorted(numbers, key=place)
        }

    @cached_property
    def functions(self) -> list[Callable]:
        """The functions that the program calls, each once."""
        nodes = [n for n in self.expression.nodes() if n.children]
        return list(dict.fromkeys(n.overload.function for n in nodes))

    def overload(self, node: Operation) -> Overload:
        """The typing, and with it the torch function, of a node of a step or of the result."""
        return from_sympy(node, self._meaning).overload


class TorchPrinter(Printer):
    """Writes a tree of a :class:`Program` as calls of the functions of the operator table."""

    def __init__(self, program: Program):
        super().__init__()
        self.program = program
        self._constants = {leaf(op.symbol): name for name, op in program.constants.items()}

    def _print_Function(self, node: Operation) -> str:  # noqa: N802 - sympy looks it up by this name
        overload = self.program.overload(node)
        arguments = [self._print(argument) for argument in node.args]
        arguments += [self.program.activations(node)] if overload.weighs else []
        arguments += ["depth"] * overload.neighbours
        name = overload.function.__name__
        line = f"{name}({', '.join(arguments)})"
        if len(line) <= _WIDTH and "\n" not in line:
            return line
        listed = textwrap.indent(",\n".join(arguments), "    ")
        return f"{name}(\n{listed},\n)"

    def _print_Symbol(self, node: sympy.Symbol) -> str:  # noqa: N802
        return node.name

    def _print_Number(self, node: sympy.Number) -> str:  # noqa: N802
        return self._constants[node]


def weighted_sum_source(
    expression: Expression, name: str = "weighted_sum", summed: bool = True
) -> str:
    """Source of the function ``name(A, G, ..., depth=1) -> Tensor[..., h, w]``.

    It takes the activations, then the other leaves that the expression names by their symbols,
    and the depth of the layer's grid (1 for images); shapes are those of
    :mod:`sycam.language.numerics`, whose functions it calls by name. It returns the heat, or
    ``sum_k w_k A_k``, before the ReLU. It needs the names ``torch`` and ``Tensor``. Of an
    expression that names its layers, it takes those leaves layer by layer (``A0, G0, A1, ...``).
    One that holds ``mirror`` takes leaves of images in pairs, each followed by itself flipped
    left-right, and returns the maps of the images themselves.

    Args:
        expression: a weight, map, heat or saliency map.
        name: of the function.
        summed: if not, it returns ``w_k A_k`` ``[..., K, h, w]``; the heat as the only channel.

    >>> from sycam.language import parse
    >>> print(weighted_sum_source(parse("relu(G) * mean(relu(G))")), end="")
    def weighted_sum(A: Tensor, G: Tensor, depth: int = 1) -> Tensor:
        \"\"\"``[..., h, w]`` before the ReLU, by ``relu(G) * mean(relu(G))``.\"\"\"
        t0 = relu(G)
        weights = multiply(t0, mean(t0))
        return (weights * A).sum(-3)
    """
    program = Program(expression)
    printer = TorchPrinter(program)
    shape = "[..., h, w]" if summed else "[..., K, h, w]"
    # Names of layers are a user's text, and could end the string.
    said = "the formula of this module" if expression.sites else f"``{expression}``"
    lines = [f'"""``{shape}`` before the ReLU, by {said}."""']
    for constant, op in program.constants.items():
        lines.append(f"{constant} = {program.arguments[0]}.new_full((1, 1, 1), {op.value})")
    lines += [f"{symbol} = {printer.doprint(tree)}" for symbol, tree in program.steps]
    value = expression.operator.symbol
    if expression.children:
        value = "weights" if expression.sort in WEIGHTING else "heat"
        lines.append(f"{value} = {printer.doprint(program.result)}")
    of_images = "[..., ::2, :, :, :]" if expression.pairs else ""
    if not summed:
        weights = expression.sort in WEIGHTING
        lines.append(f"return {value} * A" if weights else f"return {value}{of_images}")
    elif expression.sort not in WEIGHTING:
        lines.append(f"return {value}{of_images}[..., 0, :, :]")
    elif expression.sort == WEIGHT:
        lines.append(f'return torch.einsum("...k,...khw->...hw", {value}[..., 0, 0], A)')
    else:
        lines.append(f"return ({value} * A).sum(-3)")
    taken = [*(f"{one}: Tensor" for one in program.arguments), "depth: int = 1"]
    return _head(name, taken) + textwrap.indent("\n".join(lines), "    ") + "\n"


def _head(name: str, taken: Sequence[str]) -> str:
    """The first line of a function of tensors, or its first lines."""
    listed = ", ".join(taken)
    line = f"def {name}({listed}) -> Tensor:\n"
    if len(line) <= _COLUMNS + 1:
        return line
    if 4 + len(listed) > _COLUMNS:
        listed = ",\n    ".join(taken) + ","
    return f"def {name}(\n    {listed}\n) -> Tensor:\n"
