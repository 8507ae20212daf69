"""The function that made maps of a layer's output in a run, as text for an exported module."""

from __future__ import annotations

import re

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
_ORDERS = {"NTK": (0, 2, 1), "NKT": (0, 1, 2), "TNK": (1, 2, 0)}
_TOKENS = re.compile(
    r"tokens:prefix=(?P<prefix>\d+),grid=(?P<height>\d+)x(?P<width>\d+)(,order=(?P<order>\w+))?"
)


def reshape_source(reshape: str | None) -> str:
    """Source of the function ``reshape_transform(output)``; empty where a run's record does not
    say what it computes (a function of a user's), or where there is none."""
    if reshape in ("channels-last", "tokens"):
        return {"channels-last": _CHANNELS_LAST, "tokens": _SQUARE}[reshape]
    told = _TOKENS.fullmatch(reshape or "")
    if told is None or (told["order"] or "NTK") not in _ORDERS:
        return ""
    order = told["order"] or "NTK"
    prefix, height, width = (int(told[name]) for name in ("prefix", "height", "width"))
    return _GRID.format(
        head=_HEAD,
        dimensions=",".join(order),
        order=", ".join(map(str, _ORDERS[order])),
        prefix=prefix,
        end=prefix + height * width,
        last=prefix + height * width - 1,
        height=height,
        width=width,
    )
