"""3x3 convolutions by minimal filtering, in place of torch's, in networks that run on a CPU."""

from __future__ import annotations

import copy
import ctypes
import operator
from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor, fx, nn
from torch.fx.passes.shape_prop import ShapeProp

from sycam.c_code import c_library

PLACES = 16  # transformed weights of a 3x3 filter
MOST = 128 * 128  # pairs of channels whose transformed weights the caches still hold

_ADDS = {operator.add, operator.iadd, torch.add, "add", "add_"}
_RELUS = {torch.relu, torch.relu_, nn.functional.relu, nn.functional.relu_, "relu", "relu_"}


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
        _library().pack(_address(weight), _address(packed), plain.in_channels, plain.out_channels)
        bias = torch.zeros(plain.out_channels) if plain.bias is None else plain.bias.detach()
        self.register_buffer("packed", packed)
        self.register_buffer("bias", bias.contiguous())

    def forward(self, x: Tensor, more: Tensor | None = None, relu: bool = False) -> Tensor:
        """``conv(x)``, plus ``more`` of the same shape, rectified."""
        return torch.ops.sycam.minimal_convolution(x, self.packed, self.bias, more, relu)


def suits(module: nn.Module) -> bool:
    """Whether a module is a convolution that minimal filtering is fast for."""
    if type(module) is not nn.Conv2d or (library := _library()) is None:
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
    twin = copy.deepcopy(network)
    found = [(name, module) for name, module in twin.named_modules() if suits(module)]
    for name, module in found:
        if not name:
            return MinimalConvolution(module)
        twin.set_submodule(name, MinimalConvolution(module))
    if not found:
        return None
    try:
        return _joined(twin, image)
    except Exception:  # whatever a user's forward does that cannot be traced
        return twin


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, MinimalConvolution) or super().is_leaf_module(m, module_qualified_name)


def _joined(network: nn.Module, image: Tensor) -> nn.Module:
    traced = fx.GraphModule(network, _Tracer().trace(network))
    # Of two images, so that what all images share has another shape than what each has.
    ShapeProp(traced).propagate(torch.cat([image, image]))
    for node in list(traced.graph.nodes):
        if node.op != "call_module":
            continue
        if not isinstance(traced.get_submodule(node.target), MinimalConvolution):
            continue
        x, more, last = node.args[0], None, node
        if (after := _only_user(last, traced, _ADDS)) is not None and len(after.args) == 2:
            (other,) = [arg for arg in after.args if arg is not node] or [None]
            if isinstance(other, fx.Node) and _shape(other) == _shape(node) and not after.kwargs:
                more, last = other, after
        relu = _only_user(last, traced, _RELUS, nn.ReLU)
        if more is None and relu is None:
            continue
        last = relu or last
        with traced.graph.inserting_before(last):
            joined = traced.graph.call_module(node.target, (x, more, relu is not None))
        joined.meta = last.meta
        last.replace_all_uses_with(joined)
    traced.graph.eliminate_dead_code()
    traced.recompile()
    return traced


def _only_user(
    node: fx.Node, traced: fx.GraphModule, functions: set[object], kind: type | None = None
) -> fx.Node | None:
    """The node's only user, where that is one of these functions or modules."""
    if len(node.users) != 1:
        return None
    (user,) = node.users
    if user.op == "call_module":
        fits = kind is not None and type(traced.get_submodule(user.target)) is kind
    else:
        fits = user.op in ("call_function", "call_method") and user.target in functions
    return user if fits else None


def _shape(node: fx.Node) -> torch.Size | None:
    return getattr(node.meta.get("tensor_meta"), "shape", None)


@cache
def _library() -> ctypes.CDLL | None:
    """``winograd.c``, where there is a C compiler; with it the operator that calls it."""
    library = c_library("sycam.evidence", "winograd")
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
        x = x.contiguous(memory_format=torch.channels_last)
        more = None if more is None else more.contiguous(memory_format=torch.channels_last)
        found = _empty(x, packed, bias, more, relu)
        tensors = (x, packed, bias, more, found)
        (count, _, height, width), (_, channels, filters) = x.shape, packed.shape
        sizes = (count, height, width, channels, filters, relu, torch.get_num_threads())
        if convolve(*map(_address, tensors), *map(int, sizes)) < 0:
            raise MemoryError("no memory left to convolve")
        return found

    return minimal_convolution


def _address(tensor: Tensor | None) -> ctypes.c_void_p | None:
    return None if tensor is None else ctypes.c_void_p(tensor.data_ptr())
