"""The function that made maps of a layer's output in a run, as text for an exported module."""

from __future__ import annotations

from sycam.errors import OptionError
from sycam.networks.layouts.reshaping import ORDERS, TOKENS, TokenGrid

NAME = "reshape_transform"
_HEAD = f"def {NAME}(output: Tensor) -> Tensor:"
_CHANNELS_LAST = f'''{_HEAD}
    """``(N,h,w,K)``, or ``(N,d,h,w,K)``, to ``(N,K,h,w)``: channels first."""
    return output.movedim(-1, 1)
'''
_SQUARE = f'''{_HEAD}
    """``(N,T,K)`` to ``(N,K,h,w)``: the last tokens that fill a square are the places."""
    side = int(output.shape[1] ** 0.5)
    places = output[:, output.shape[1] - side * side :]
    return places.transpose(1, 2).unflatten(2, (side, side))
'''
_GRID = '''{head}
    """``({dimensions})`` to ``(N,K,{height},{width})``: tokens {prefix} to {last}."""
    places = output.permute({order})[..., {prefix} : {end}]
    return places.unflatten(2, ({height}, {width}))
'''


def reshape_source(reshape: str | None) -> str:
    """Source of the function ``reshape_transform(output)``; empty where a run's record does not
    say what it computes (a function of a user's), or where there is none."""
    if reshape in ("channels-last", "tokens"):
        return {"channels-last": _CHANNELS_LAST, "tokens": _SQUARE}[reshape]
    if reshape is None or not reshape.startswith(f"{TOKENS}:"):
        return ""
    try:
        grid = TokenGrid.parse(reshape)
    except OptionError:
        return ""
    end = grid.prefix + grid.height * grid.width
    return _GRID.format(
        head=_HEAD,
        dimensions=",".join(grid.order),
        order=", ".join(map(str, ORDERS[grid.order])),
        prefix=grid.prefix,
        end=end,
        last=end - 1,
        height=grid.height,
        width=grid.width,
    )
