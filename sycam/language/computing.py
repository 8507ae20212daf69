"""What a node of an expression computes from its arguments; users' operators are watched."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from weakref import WeakSet

import torch
from torch import Tensor

from sycam.errors import ExpressionError, SycamError
from sycam.language.expression import Expression
from sycam.language.signatures import SORT_SHAPES
from sycam.language.sources import is_declared

# Functions of users that left copies of their arguments alone; of later calls it is told by
# torch's own count of changes, which costs nothing.
_harmless: WeakSet[Callable] = WeakSet()


def compute(
    node: Expression, arguments: Sequence[Tensor], activations: Tensor, depth: int = 1
) -> Tensor:
    """The value of a node, which is no leaf.

    Args:
        node: an expression.
        arguments: values of its children, with three trailing dimensions each.
        activations: ``[..., K, h, w]``.
        depth: slices of a volume, which lie below one another.

    Raises:
        ExpressionError: a user's operator failed, changed its arguments, or returned something
            else than its typing says.
    """
    if not is_declared(node.operator):
        return node.overload.compute(arguments, activations, depth)
    function = node.overload.function
    first = function not in _harmless
    given = [t.clone() for t in arguments] if first else arguments
    before = [_changes(t) for t in given]
    try:
        value = node.overload.compute(given, activations, depth)
    except (SycamError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        raise _fault(node, f"raised {type(error).__name__}: {error}") from error
    changed = before != [_changes(t) for t in given]
    if changed or (first and not all(map(_same, given, arguments))):
        raise _fault(
            node,
            "changed its argument in place, which other formulas read as well; write t * 2 instead "
            "of t.mul_(2), or begin with t = t.clone()",
        )
    _harmless.add(function)
    if not isinstance(value, Tensor):
        raise _fault(node, f"returned {type(value).__name__}, expected a torch.Tensor")
    expected = node.overload.shape(arguments, activations)
    if value.shape != expected:
        raise _fault(
            node,
            f"returned shape {tuple(value.shape)}, expected {expected}: a {node.sort} "
            f"{SORT_SHAPES[node.sort]} with three trailing dimensions",
        )
    return value


def _changes(tensor: Tensor) -> int:
    """How often it was changed in place, as far as torch counts."""
    return 0 if tensor.is_inference() else tensor._version


def _same(one: Tensor, other: Tensor) -> bool:
    return torch.allclose(one, other, rtol=0, atol=0, equal_nan=True)


def _fault(node: Expression, fault: str) -> ExpressionError:
    name = node.operator.name
    return ExpressionError(
        f"operator {name!r}, in {node}, {fault} (sycam.testing.check_operator({name!r}) checks it)"
    )
