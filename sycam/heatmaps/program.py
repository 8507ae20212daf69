"""One expression as a program: sympy's cse finds what is shared, our printer writes torch.

The second form of what :func:`sycam.heatmaps.evaluate` computes, for formulas that are kept: the
source stands in exported modules, and :mod:`sycam.heatmaps.compiled` compiles the same program.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from functools import cached_property
from itertools import count

import sympy
from sympy.printing.printer import Printer

from sycam.errors import ExpressionError
from sycam.language import Expression
from sycam.language.numbers import is_number
from sycam.language.operators import OPERATORS, place
from sycam.language.signatures import SCALAR, WEIGHT, WEIGHTING, Operator, Overload
from sycam.language.symbolic import Operation, from_sympy, leaf, to_sympy

_WIDTH = 88  # characters of a call before its arguments are written one a line


class Program:
    """An expression in steps, each distinct subexpression that is used twice named by one.

    Args:
        expression: a weight, map or heat.

    Attributes:
        steps: the named subexpressions, each in terms of leaves and those before it.
        result: the expression in terms of leaves and steps.

    Raises:
        ExpressionError: the expression is a scalar, which makes no heatmap, or it reads layers by
            their names.

    >>> from sycam.language import parse
    >>> program = Program(parse("relu(G) * mean(relu(G))"))
    >>> program.steps, program.result
    ([(t0, relu(G))], mul(t0, mean(t0)))
    """

    def __init__(self, expression: Expression):
        if expression.sort == SCALAR:
            raise ExpressionError(f"{expression} is a scalar and makes no heatmap")
        if expression.sites:
            raise ExpressionError(
                f"{expression} reads layers by name ({', '.join(expression.sites)}), and a program "
                "reads one; use sycam.CAM(network, formula)"
            )
        self.expression = expression
        # Without order="none" sympy would sort arguments; our functions know no reordering.
        self.steps, (self.result,) = sympy.cse(
            [to_sympy(expression)], symbols=sympy.numbered_symbols("t"), order="none"
        )
        self._meaning: dict[sympy.Symbol, Expression] = {}
        for name, tree in self.steps:
            self._meaning[name] = from_sympy(tree, self._meaning)

    @cached_property
    def leaves(self) -> list[Operator]:
        """What the program takes: the activations, then the other leaves in the table's order."""
        names = self.expression.leaves | {"activations"}
        return [op for op in OPERATORS.values() if op.name in names]

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
        arguments += ["A"] * overload.weighs + ["depth"] * overload.neighbours
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
    ``sum_k w_k A_k``, before the ReLU. It needs the names ``torch`` and ``Tensor``.

    Args:
        expression: a weight, map or heat.
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
    lines = [f'"""``{shape}`` before the ReLU, by ``{expression}``."""']
    for constant, op in program.constants.items():
        lines.append(f"{constant} = A.new_full((1, 1, 1), {op.value})")
    lines += [f"{symbol} = {printer.doprint(tree)}" for symbol, tree in program.steps]
    value = expression.operator.symbol
    if expression.children:
        value = "weights" if expression.sort in WEIGHTING else "heat"
        lines.append(f"{value} = {printer.doprint(program.result)}")
    if not summed:
        weights = expression.sort in WEIGHTING
        lines.append(f"return {value} * A" if weights else f"return {value}")
    elif expression.sort not in WEIGHTING:
        lines.append(f"return {value}[..., 0, :, :]")
    elif expression.sort == WEIGHT:
        lines.append(f'return torch.einsum("...k,...khw->...hw", {value}[..., 0, 0], A)')
    else:
        lines.append(f"return ({value} * A).sum(-3)")
    taken = ", ".join(f"{op.symbol}: Tensor" for op in program.leaves)
    head = f"def {name}({taken}, depth: int = 1) -> Tensor:\n"
    return head + textwrap.indent("\n".join(lines), "    ") + "\n"
