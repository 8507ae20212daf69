"""``cam[layer](...)``: an operator for each target layer that a formula reads.

Like a number, a layer's name is part of the operator's own: ``cam[layer2]`` is made when it is
first named, and ``cam`` without a name reads the only layer there is.
"""

from __future__ import annotations

import re
from dataclasses import replace
from weakref import WeakValueDictionary

from sycam.errors import ExpressionError
from sycam.language.saliency import saliency, saliency_weighted
from sycam.language.signatures import (
    CLOSED,
    DELIMITED,
    HEAT,
    MAP,
    SALIENCY,
    SCALE_FREE,
    WEIGHT,
    Operator,
    Overload,
)

_LONGEST = 200  # characters of a layer's name
_NAME = re.compile(r"cam\[([^\[\]{}\s]+)\]")

CAM = Operator(
    "cam",
    (
        Overload((WEIGHT,), SALIENCY, saliency_weighted, weighs=True),
        Overload((MAP,), SALIENCY, saliency_weighted, weighs=True),
        Overload((HEAT,), SALIENCY, saliency),
    ),
    r"\operatorname{{cam}}\left({0}\right)",
    "the saliency map of a target layer: the weighted sum of its activations after the ReLU, "
    "scaled to a maximum of 1; cam[NAME](...) reads the layer of that name",
    laws=frozenset({SCALE_FREE}),
    bracketing=frozenset({CLOSED, DELIMITED}),
    phrase="the positive part, scaled to a maximum of 1, of {0}",
)

# So that a layer's operator is one object as long as any expression holds it.
_operators: WeakValueDictionary[str, Operator] = WeakValueDictionary()


def cam_at(site: str) -> Operator:
    """The operator that reads the layer of a name, always the same object.

    Raises:
        ExpressionError: a text that no layer can have as its name.
    """
    name = f"cam[{site}]"
    if not site:
        return CAM
    if len(site) > _LONGEST or not _NAME.fullmatch(name):
        raise ExpressionError(
            f"{site[:_LONGEST]!r} is no name of a layer; write one of network.named_modules(), "
            "like cam[layer2.0](G)"
        )
    found = _operators.get(name)
    if found is None:
        index = site.replace("_", r"\_")
        latex = rf"\operatorname{{{{cam}}}}_{{{{\text{{{{{index}}}}}}}}}\left({{0}}\right)"
        phrase = f"the positive part at {site}, scaled to a maximum of 1, of {{0}}"
        made = replace(CAM, name=name, latex=latex, site=site, phrase=phrase)
        found = _operators.setdefault(name, made)
    return found


def site_of(name: str) -> str | None:
    """The layer that an operator of this name reads; None where it reads none by name."""
    match = _NAME.fullmatch(name)
    return match and match[1]
