"""3x3 convolutions by minimal filtering, in place of torch's, in networks that run on a CPU."""

from __future__ import annotations

import ctypes
import operator
from collections.abc import Callable
from functools import cache
from threading import Lock
from typing import Any, TypeGuard

import torch
from torch import Tensor, fx, nn

from sycam.inference.acceleration import OwnTracer
from sycam.networks.untouched import copied
from sycam.support.compiling.compiled_c import CLibrary, c_library

PLACES = 16  # transformed weights of a 3x3 filter
MOST = 128 * 128  # pairs of channels whose transformed weights the caches still hold

_ADDS = {operator.add, torch.add, "add"}
_ADDS_TO = {operator.iadd, "add_"}
_RELUS = {torch.relu, torch.relu_, nn.functional.relu, nn.functional.relu_, "relu", "relu_"}
_registering = Lock()


class MinimalConvolution(nn.Module):
    """A 3x3 convolution of stride 1, and what commonly follows it.

    ``F(2x2, 3x3)`` of Lavin and Gray, Fast Algorithms for Convolutional Neural Networks, CVPR
    2016: 16 products instead of 36 for four pixels and a pair of channels.

    Args:
        plain: the convolution, for which :func:`suits` holds.
    """

    def __init__(self, plain: nn.Conv2d):
        super().__init__()
        weight = plain.weight.detach().contiguous(memory_format=torch.contiguous_format)
        packed = torch.empty(PLACES, plain.in_channels, plain.out_channels)
        channels = plain.in_channels, plain.out_channels
        convolution_library().pack(_address(weight), _address(packed), *channels)
        bias = torch.zeros(plain.out_channels) if plain.bias is None else plain.bias.detach()
        self.packed = nn.Parameter(packed, requires_grad=False)
        self.bias = nn.Parameter(bias.contiguous(), requires_grad=False)

    def forward(self, input: Tensor, more: Tensor | None = None, relu: bool = False) -> Tensor:
        """``conv(input)``, plus ``more``, rectified. No gradients pass through it.

        Raises:
            TypeError: tensors that are not float32, or of other shapes than the convolution's.
        """
        return torch.ops.sycam.minimal_convolution(input, self.packed, self.bias, more, relu)


def suits(module: nn.Module) -> TypeGuard[nn.Conv2d]:
    """Whether a module is a convolution that minimal filtering is fast for."""
    if type(module) is not nn.Conv2d or (library := convolution_library()) is None:
        return False
    channels = module.in_channels, module.out_channels
    return (
        module.kernel_size == (3, 3)
        and module.stride == module.dilation == (1, 1)
        and module.padding in ((1, 1), "same")
        and module.padding_mode == "zeros"
        and module.groups == 1
        and module.weight.dtype == torch.float32
        and module.weight.device.type == "cpu"
        and not module._forward_hooks
        and not module._forward_pre_hooks
        and all(count % library.lanes() == 0 for count in channels)
        and channels[0] * channels[1] <= MOST
    )


def with_minimal_filters(network: nn.Module, image: Tensor) -> nn.Module | None:
    """A copy of the network whose 3x3 convolutions run by minimal filtering; None without any.

    Where torch can trace the network, sums and rectifiers that follow them are done with them.

    Args:
        network: on a CPU; it is left as it is, and gradients do not pass through the copy.
        image: ``[1,...]``, that it takes.
    """
    suited = [(name, module) for name, module in network.named_modules() if suits(module)]
    if not suited:
        return None
    if not suited[0][0]:  # it is one itself
        return MinimalConvolution(suited[0][1])
    twin = copied(network)
    for name, module in suited:
        twin.set_submodule(name, MinimalConvolution(module))
    try:
        return _joined(twin, image)
    except Exception:  # whatever a user's forward does that cannot be traced
        return twin


class _Tracer(OwnTracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, MinimalConvolution) or super().is_leaf_module(m, module_qualified_name)


class _Kinds(fx.Interpreter):
    """Notes the shape and dtype of what each node makes."""

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        if isinstance(value, Tensor):
            n.meta["kind"] = value.shape, value.dtype
        return value


def _joined(network: nn.Module, image: Tensor) -> nn.Module:
    traced = fx.GraphModule(network, _Tracer().trace(network))
    # Of two images, so that what all images share has another shape than what each has.
    _Kinds(traced).run(torch.cat([image, image]))
    for node in list(traced.graph.nodes):
        if isinstance(_module(node, traced), MinimalConvolution):
            _join(node, traced)
    traced.recompile()
    return traced


def _join(node: fx.Node, traced: fx.GraphModule) -> None:
    """Let a convolution do the sum and the rectifier that follow it and nothing else."""
    (x,), more, done = node.args, None, [node]
    if (after := _only_user(node, traced, _ADDS | _ADDS_TO)) is not None:
        to_it = after.target in _ADDS or after.args[0] is node
        others = [arg for arg in after.args if isinstance(arg, fx.Node) and arg is not node]
        alike = len(others) == 1 and others[0].meta.get("kind") == node.meta.get("kind", ())
        if to_it and alike and len(after.args) == 2 and not after.kwargs:
            more = others[0]
            done.append(after)
    if (relu := _only_user(done[-1], traced, _RELUS, nn.ReLU)) is not None:
        done.append(relu)
    last = done[-1]
    if last is node or _mutated_between(node, last, traced, done):
        return
    with traced.graph.inserting_before(last):
        joined = traced.graph.call_module(str(node.target), (x, more, relu is not None))
    joined.meta = last.meta
    last.replace_all_uses_with(joined)
    for one in reversed(done):
        traced.graph.erase_node(one)


def _only_user(
    node: fx.Node, traced: fx.GraphModule, functions: set[Any], kind: type | None = None
) -> fx.Node | None:
    """The node's only user, where that is one of these functions or modules."""
    if len(node.users) != 1:
        return None
    (user,) = node.users
    if user.op == "call_module":
        fits = kind is not None and type(_module(user, traced)) is kind
    else:
        fits = user.op in ("call_function", "call_method") and user.target in functions
    return user if fits else None


def _mutated_between(
    first: fx.Node, last: fx.Node, traced: fx.GraphModule, done: list[fx.Node]
) -> bool:
    """Whether a node between two others may change a tensor that is there already."""
    node = first.next
    while node is not last:
        name = getattr(node.target, "__name__", str(node.target))
        in_place = name.endswith("_") or name in ("iadd", "isub", "imul", "itruediv", "setitem")
        in_place |= bool(node.kwargs.get("inplace") or "out" in node.kwargs)
        in_place |= bool(getattr(_module(node, traced), "inplace", False))
        if in_place and node not in done:
            return True
        node = node.next
    return False


def _module(node: fx.Node, traced: fx.GraphModule) -> nn.Module | None:
    return traced.get_submodule(str(node.target)) if node.op == "call_module" else None


def convolution_library() -> CLibrary | None:
    """``winograd.c``, or None; with it the operator that calls it."""
    with _registering:
        return _registered()


@cache
def _registered() -> CLibrary | None:
    library = c_library(__package__, "winograd")
    if library is not None:
        torch.library.define(
            "sycam::minimal_convolution",
            "(Tensor x, Tensor packed, Tensor bias, Tensor? more, bool relu) -> Tensor",
        )
        torch.library.impl("sycam::minimal_convolution", "CPU", _through(library.convolve))
        torch.library.register_fake("sycam::minimal_convolution", _empty)
    return library


def _empty(x: Tensor, packed: Tensor, bias: Tensor, more: Tensor | None, relu: bool) -> Tensor:
    shape = x.shape[0], packed.shape[2], *x.shape[2:]
    return torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)


def _through(convolve: Callable[..., int]) -> Callable[..., Tensor]:
    def minimal_convolution(
        x: Tensor, packed: Tensor, bias: Tensor, more: Tensor | None, relu: bool
    ) -> Tensor:
        given = [x] if more is None else [x, more]
        fits = x.ndim == 4 and x.shape[1] == packed.shape[1]
        if not fits or any(one.dtype != torch.float32 for one in given):
            raise TypeError(f"float32 of {packed.shape[1]} channels, not {x.dtype} of {x.shape}")
        result = _empty(x, packed, bias, more, relu)
        x = x.contiguous(memory_format=torch.channels_last)
        if more is not None:
            more = more.expand(result.shape).contiguous(memory_format=torch.channels_last)
        tensors = (x, packed, bias, more, result)
        (count, _, height, width), (_, channels, filters) = x.shape, packed.shape
        sizes = (count, height, width, channels, filters, relu, torch.get_num_threads())
        if convolve(*map(_address, tensors), *map(int, sizes)) < 0:
            raise MemoryError("no memory left to convolve")
        return result

    return minimal_convolution


def _address(tensor: Tensor | None) -> ctypes.c_void_p | None:
    return None if tensor is None else ctypes.c_void_p(tensor.data_ptr())
