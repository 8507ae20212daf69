"""Which places of the images the values inside a network belong to.

A network may keep its maps as ``(N,K,h,w)``, as ``(N,h,w,K)`` or as tokens with others around
them, and shapes alone do not tell one from another. So one pass is followed operation by
operation: beside each tensor goes a *code* of the same shape, which says for each value the image
and the place that it belongs to. What moves values (views, permutations, concatenation, windows)
moves codes alike; a convolution makes a new grid over its input's; attention gives each query the
place that it had; what mixes all places, like global pooling, has none. A residual sum finds them
again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakTensorKeyDictionary

from sycam.networks.backward import scripted
from sycam.networks.passes import hooked
from sycam.networks.untouched import device_of, dtype_of, untouched

BITS = 20
SCALE = 1 << BITS  # of heights and widths: places are counted in millionths of the image's side
NOWHERE = -1  # the code of a value without a place, such as a class token's
FRAME = 3  # cells on each side, as a convolution of 7x7 needs them
NEAR = SCALE // 8  # places this close are taken for one, as after resampling by other means

# fmt: off
MOVES = frozenset([
    "permute", "transpose", "t", "slice", "select", "unsqueeze", "squeeze", "expand", "unfold",
    "split", "split_with_sizes", "unbind", "cat", "stack", "alias", "detach", "repeat", "roll",
    "flip", "rot90", "index", "index_select", "gather", "diagonal", "lift_fresh",
    "pixel_shuffle", "pixel_unshuffle",
])
PADS = frozenset(["constant_pad_nd", "im2col"])  # moves that put zeros among the values
VIEWS = frozenset(["view", "_unsafe_view", "_reshape_alias"])
MAKES = frozenset([
    "empty", "zeros", "ones", "full", "empty_like", "zeros_like", "ones_like", "full_like",
    "new_empty", "new_zeros", "new_ones", "new_full",
])
PRODUCTS = {"mm": 0, "bmm": 0, "addmm": 1, "baddbmm": 1}  # by the position of the left factor
ATTENTION = "_scaled_dot_product"
REDUCTIONS = {  # by the position of the dimensions
    "mean": 1, "sum": 1, "amax": 1, "amin": 1, "var": 1, "std": 1, "logsumexp": 1, "prod": 1,
    "linalg_vector_norm": 2,
}
# fmt: on
RESAMPLES = ("convolution", "max_pool", "avg_pool", "adaptive_max_pool", "upsample_")
SCATTERS = ("_fft_", "sort", "topk", "scatter", "argsort", "randperm")  # places are lost there


@dataclass(frozen=True)
class Seen:
    """What a module returned.

    Attributes:
        shape: of its output, for two images or as many as the network takes.
        layout: ``"channels-first"``, ``"channels-last"`` or ``"tokens:..."``, as
            :mod:`sycam.networks.layouts.reshaping` reads them; empty where it is no map.
        placed: whether the places of its values are known at all.
        runs: how many times it ran.
    """

    shape: tuple[int, ...]
    layout: str
    placed: bool
    runs: int = 1


def layouts(
    network: nn.Module, images: Tensor, modules: Collection[nn.Module] | None = None
) -> dict[str, Seen]:
    """How the outputs of a network's modules lie over the images, in the order of execution.

    Args:
        network: it is left as it was.
        images: ``[n,C,H,W]``; the first two are shown, one of them twice if there is no other, so
            that the dimension of the images is told from others of the same size.
        modules: to look at; all if None. Those that run twice are told by their last output.
    """
    pixels = images.detach().to(device_of(network), dtype_of(network))
    pair = pixels[:2] if len(pixels) > 1 else pixels.repeat(2, *(1,) * (images.ndim - 1))
    for shown in (pair, pixels):
        places = _Places(shown)
        returned: dict[str, tuple[torch.Size, Tensor | None, int]] = {}
        hooks = [
            (module.register_forward_hook, _watch(returned, name, places))
            for name, module in network.named_modules()
            if name and not scripted(module) and (modules is None or module in modules)
        ]
        try:
            with untouched(network), torch.no_grad(), hooked(*hooks), places:
                network(places.images)
        except torch.OutOfMemoryError:
            raise
        except Exception:  # it may take no other number of images; the pass that counts will tell
            continue
        found: dict[int, tuple[str, bool]] = {}  # many modules return one code
        for _, code, _ in returned.values():
            if code is not None and id(code) not in found:
                placed = bool((_thin(code) >= 0).any())
                found[id(code)] = layout_of(code, len(shown)) if placed else "", placed
        return {
            name: Seen(tuple(shape), *found.get(id(code), ("", False)), runs)
            for name, (shape, code, runs) in returned.items()
        }
    return {}


def _watch(
    returned: dict[str, tuple[torch.Size, Tensor | None, int]], name: str, places: _Places
) -> Callable:
    def hook(_module: nn.Module, _inputs: tuple, output: object) -> None:
        if isinstance(output, Tensor):  # looked at after the pass: nothing here is to be followed
            *_, before = returned.pop(name, (0,))
            returned[name] = output.shape, places.of(output), before + 1

    return hook


# --- codes ---


def _pack(image: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """Codes of places, ``y`` and ``x`` from 0 to SCALE."""
    y, x = (v.round().long().clamp(0, SCALE - 1) for v in (y, x))
    return (((image.long() << BITS) | y) << BITS) | x


def _parts(code: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Image, height and width of codes; of no meaning where there is no place."""
    return code >> (2 * BITS), (code >> BITS) & (SCALE - 1), code & (SCALE - 1)


def _of_images(images: Tensor) -> Tensor:
    """Codes of the pixels ``[n,C,H,W]``."""
    count, _, height, width = images.shape
    y = (torch.arange(height) + 0.5) * (SCALE / height)
    x = (torch.arange(width) + 0.5) * (SCALE / width)
    image = torch.arange(count).view(-1, 1, 1, 1)
    code = _pack(image, y.view(1, 1, -1, 1).double(), x.view(1, 1, 1, -1).double())
    return code.to(images.device).expand(images.shape)


def _thin(code: Tensor, *others: Tensor) -> Tensor:
    """Dimensions along which a code (and the others) is the same memory, made one long."""
    for dim, size in enumerate(code.shape):
        if size > 1 and all(one.stride(dim) == 0 for one in (code, *others)):
            code = code.narrow(dim, 0, 1)
    return code


def _collapse(code: Tensor, dims: int | Sequence[int], within: int = SCALE // 2) -> Tensor:
    """One code along dimensions, which stay: the middle of the places that lie less than
    ``within`` apart, as the pixels of a patch do; NOWHERE where they do not, or there is none."""
    dims = [dims] if isinstance(dims, int) else list(dims)
    shape = [1 if d in {dim % code.ndim for dim in dims} else s for d, s in enumerate(code.shape)]
    code = _thin(code)
    known = code >= 0
    lows, highs = [], []
    for part in _parts(code):
        lows.append(part.masked_fill(~known, SCALE).amin(dims, keepdim=True))
        highs.append(part.masked_fill(~known, -1).amax(dims, keepdim=True))
    spread = [high - low for low, high in zip(lows, highs, strict=True)]
    one = (spread[0] == 0) & (spread[1] < within) & (spread[2] < within)
    middle = [(low + high).double() / 2 for low, high in zip(lows, highs, strict=True)]
    collapsed = _pack(*middle).masked_fill(~(one & (highs[0] >= 0)), NOWHERE)
    return collapsed.expand(shape)


def _merge(codes: Sequence[Tensor]) -> Tensor:
    """What codes of one shape agree on; where only some know a place, theirs."""
    merged, *others = codes
    for other in others:
        if other is merged:
            continue
        a, b = _thin(merged, other), _thin(other, merged)
        if torch.equal(a, b):
            continue
        (n, y, x), (m, v, u) = _parts(a), _parts(b)
        near = (n == m) & ((y - v).abs() <= NEAR) & ((x - u).abs() <= NEAR)
        a_or_none = torch.where(near | (b < 0), a, NOWHERE)
        merged = torch.where(a < 0, b, a_or_none).expand(merged.shape)
    return merged


def _unframed(code: Tensor) -> Tensor:
    """Codes ``(n,1,*places)`` without the frame of zeros that TensorFlow's padding puts round a map
    before a convolution. More of it, as a network adds to images that its strides do not divide,
    stays."""
    for dim in range(2, code.ndim):
        inside = (code >= 0).movedim(dim, 0).flatten(1).any(1).nonzero().flatten().tolist()
        if inside and inside[0] <= FRAME and code.shape[dim] - 1 - inside[-1] <= FRAME:
            code = code.narrow(dim, inside[0], inside[-1] - inside[0] + 1)
    return code


def _resampled(code: Tensor, size: Sequence[int]) -> Tensor:
    """Codes ``(n,1,*places)`` on another grid over the same places."""
    for dim, wanted in enumerate(size, 2):
        given = code.shape[dim]
        if given == wanted:
            continue
        if wanted == 1:
            return code.new_full((*code.shape[:2], *size), NOWHERE)
        centres = (torch.arange(wanted, device=code.device) + 0.5) * (given / wanted) - 0.5
        first = centres.floor().long().clamp(0, max(given - 2, 0))
        second = (first + 1).clamp(max=given - 1)
        share = (centres - first).view(-1, *(1,) * (code.ndim - dim - 1))
        low, high = code.index_select(dim, first), code.index_select(dim, second)
        n, *ends = _parts(low)
        mixed = [a + (b - a) * share for a, b in zip(ends, _parts(high)[1:], strict=True)]
        code = _pack(n, *mixed).masked_fill((low < 0) | (high < 0), NOWHERE)
    return code


class _Places(TorchDispatchMode):
    """Within it the codes of all tensors that come from some images are kept.

    Attributes:
        images: what the network is to be given.
    """

    def __init__(self, images: Tensor):
        super().__init__()
        self.images = images.clone()
        self._codes = WeakTensorKeyDictionary()
        if images.ndim == 4:
            self._codes[self.images] = _of_images(images)

    def of(self, tensor: Tensor) -> Tensor | None:
        """The code of a tensor; None where none of its values has a place."""
        code = self._codes.get(tensor)
        return code if code is not None and code.shape == tensor.shape else None

    def __torch_dispatch__(
        self, func: Any, types: object, args: tuple = (), kwargs: dict | None = None
    ) -> object:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        try:
            self._follow(func, args, kwargs, result)
        except torch.OutOfMemoryError:
            raise
        except Exception:  # an operation in a form that is not known: places are lost there
            pass
        return result

    def _follow(self, func: Any, args: tuple, kwargs: dict, result: object) -> None:
        name = func.name().rpartition("::")[2].partition(".")[0]
        if name in MAKES:
            for made in _values(result):
                self._codes[made] = torch.full(made.shape, NOWHERE, device=made.device)
            return
        codes = [self.of(t) for t in _values((args, kwargs))]
        if all(code is None for code in codes) or name.startswith(SCATTERS):
            return
        if name in MOVES:
            self._keep(result, func(self._coded(args[0]), *args[1:], **kwargs))
        elif name in VIEWS:  # the code's own strides may not allow one
            self._keep(result, self._coded(args[0]).reshape(result.shape))
        elif name == "clone":
            code = self._coded(args[0])
            self._keep(result, _thin(code).clone().expand(code.shape))
        elif name in PADS:
            rest = args[1:2] if name == "constant_pad_nd" else args[1:]
            moved = func((self._coded(args[0]) + 1).double(), *rest)
            self._keep(result, moved.long() - 1)
        elif name in ("copy_", "index_put_"):
            self._write(name, args)
        elif name in PRODUCTS:
            self._keep(result, self._product(*args[PRODUCTS[name] : PRODUCTS[name] + 2]))
        elif name.startswith(ATTENTION):
            heads = next(iter(_values(result)))
            self._keep(heads, _collapse(self._coded(args[0]), -1).expand(heads.shape))
        elif name in REDUCTIONS:
            reduced = _collapse(self._coded(args[0]), args[REDUCTIONS[name]])
            self._keep(result, reduced.reshape(result.shape))
        elif any(part in name for part in RESAMPLES):
            made = next(iter(_values(result)))
            grid = _resampled(_unframed(_collapse(self._coded(args[0]), 1)), made.shape[2:])
            self._keep(made, grid.expand(made.shape))
        else:
            self._elementwise(name, args, [c for c in codes if c is not None], result)

    def _coded(self, values: Any) -> Any:
        """A tensor's code, or those of a list."""
        if isinstance(values, list | tuple):
            return [self._coded(one) for one in values]
        code = self.of(values)
        if code is None:
            code = torch.full((1,) * values.ndim, NOWHERE, device=values.device)
            code = code.expand(values.shape)
        return code

    def _keep(self, results: object, codes: object) -> None:
        for tensor, code in zip(tree_leaves(results), tree_leaves(codes), strict=True):
            self._codes[tensor] = code

    def _write(self, name: str, args: tuple) -> None:
        """Values written into a tensor, which may be a view: so is its code."""
        tensor, code = args[0], self._coded(args[0])
        if any(
            step == 0 and size > 1 for step, size in zip(code.stride(), code.shape, strict=True)
        ):
            code = code.contiguous()
        if name == "copy_":
            code.copy_(self._coded(args[1]).expand(code.shape))
        else:
            code.index_put_(args[1], self._coded(args[2]))
        self._codes[tensor] = code

    def _product(self, left: Tensor, right: Tensor) -> Tensor:
        """Of a matrix product: rows keep their place; where they have none, columns do."""
        rows, columns = _collapse(self._coded(left), -1), _collapse(self._coded(right), -2)
        shape = (*left.shape[:-1], right.shape[-1])
        rows, columns = rows.expand(shape), columns.expand(shape)
        if not (_thin(rows) >= 0).any():
            return columns
        return rows if not (_thin(columns) >= 0).any() else torch.where(rows >= 0, rows, columns)

    def _elementwise(self, name: str, args: tuple, codes: Sequence[Tensor], result: object) -> None:
        for made in _values(result):
            same = [code for code in codes if code.shape == made.shape]
            if not same:
                wide = [c for c in codes if c.ndim <= made.ndim and _broadcasts(c, made)]
                same = [code.expand(made.shape) for code in wide]
            if not same:
                continue
            merged = _merge(same)
            own = self._codes.get(made)
            if own is None or not name.endswith("_"):
                self._codes[made] = merged
            elif not torch.equal(own, merged):
                self._codes[made] = own.copy_(merged) if own.is_contiguous() else merged


def _broadcasts(code: Tensor, made: Tensor) -> bool:
    pairs = zip(reversed(code.shape), reversed(made.shape), strict=False)
    return all(a in (1, b) for a, b in pairs)


def _values(values: object) -> Iterator[Tensor]:
    """The floating tensors among what an operation takes or returns."""
    for one in tree_leaves(values):
        if isinstance(one, Tensor) and (one.is_floating_point() or one.is_complex()):
            yield one


# --- layouts ---


def layout_of(code: Tensor, count: int) -> str:
    """The layout of a tensor, by its code, for so many images; empty where it is no map."""
    if code.ndim == 4:
        for layout, channels in (("channels-first", 1), ("channels-last", 3)):
            cells = _cells(code, 0, channels, count)
            if cells is not None and _is_grid(cells):
                return layout
    if code.ndim == 3:
        for order, images, channels in (("", 0, 2), ("NKT", 0, 1), ("TNK", 1, 2)):
            cells = _cells(code, images, channels, count)
            if cells is not None and (found := _grid_of_tokens(cells)):
                prefix, height, width = found
                text = f"tokens:prefix={prefix},grid={height}x{width}"
                return text + (f",order={order}" if order else "")
    return ""


def _cells(code: Tensor, images: int, channels: int, count: int) -> Tensor | None:
    """Codes of the first image along the places, where dimensions are those of images and
    channels; None where they are not."""
    if code.shape[images] != count:
        return None
    cells = _collapse(code, channels).select(channels, 0)
    if channels < images:
        images -= 1
    cells = cells.movedim(images, 0)
    known = cells >= 0
    numbers = torch.arange(count, device=code.device).view(-1, *(1,) * (cells.ndim - 1))
    if not bool(((cells >> (2 * BITS) == numbers) | ~known).all()):
        return None
    return cells[0]


def _is_grid(cells: Tensor) -> bool:
    """Whether codes ``(h,w)`` are of rows and columns of an image, from the top left."""
    if cells.numel() < 2 or not bool((cells >= 0).all()):
        return False
    _, y, x = _parts(cells)
    return _runs(y, 0) and _runs(x, 1)


def _runs(values: Tensor, dim: int) -> bool:
    """Whether positions ``(h,w)`` go over the image along a dimension, and along that only."""
    steps = values.diff(dim=dim)
    across = values.amax(1 - dim) - values.amin(1 - dim)
    if values.shape[dim] == 1:
        return int(across.max()) < SCALE // 2
    length = values.amax(dim) - values.amin(dim)
    step = length.min() / (values.shape[dim] - 1)
    return (
        bool((steps >= 0).all()) and int(length.min()) >= 0.45 * SCALE and bool(across.max() < step)
    )


def _grid_of_tokens(cells: Tensor) -> tuple[int, int, int] | None:
    """Tokens in front, height and width, where codes ``(T,)`` are a grid row by row with tokens
    without a place around it; None where they are not, or might be several grids."""
    known = (cells >= 0).nonzero().flatten()
    if len(known) < 2 or int(known[-1] - known[0]) != len(known) - 1:
        return None
    prefix, count = int(known[0]), len(known)
    placed = cells[prefix : prefix + count]
    sizes = [
        (count // width, width)
        for width in range(1, count + 1)
        if count % width == 0 and _is_grid(placed.view(count // width, width))
    ]
    return (prefix, *sizes[0]) if len(sizes) == 1 else None
