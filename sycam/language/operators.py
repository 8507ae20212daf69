"""The operator table: everything an expression can be made of, each declared once.

A grammar chooses among these operators; sorts, cost, laws, numbers and LaTeX live here only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from types import MappingProxyType
from typing import Any, cast

from torch import Tensor

from sycam.errors import UnknownNameError, unknown_name
from sycam.language import numerics, saliency
from sycam.language.numbers import (
    constant,
    is_number,
    no_function,
    number_operator,
    read_number,
    rounded,
)
from sycam.language.signatures import (
    BROADCAST,
    CLOSED,
    COMMUTATIVE,
    DELIMITED,
    EVEN,
    HEAT,
    HOMOGENEOUS,
    IDEMPOTENT,
    INVOLUTION,
    MAP,
    ODD,
    OPEN,
    OPEN_AS_LAST,
    PRODUCT,
    SALIENCY,
    SCALAR,
    SCALE_FREE,
    SIGNED,
    SUM,
    WEIGHT,
    Operator,
    Overload,
)
from sycam.language.sites import CAM, cam_at, site_of
from sycam.support.arguments import argument


def _leaf(
    name: str, symbol: str, sort: str, latex: str, meaning: str, price: str, phrase: str
) -> Operator:
    typing = (Overload((), sort, no_function),)
    return Operator(name, typing, latex, meaning, symbol=symbol, price=price, phrase=phrase)


def _said(phrase: str, op: Operator) -> Operator:
    """An operator whose meaning is not what a sentence can say of its argument."""
    return replace(op, phrase=phrase)


_WRITTEN_AS_CALL = (CLOSED, DELIMITED)
# Of a saliency map they keep the order of the places, and change how much of it is high.
RESHAPED = (WEIGHT, MAP, SALIENCY)


def _unary(
    name: str,
    typings: Mapping[str, tuple[str, Callable[..., Tensor]]],
    latex: str,
    meaning: str,
    *laws: str,
    bracketing: tuple[str, ...] = (),
    algebra: Callable[..., Any] | None = None,
    degree: float | None = None,
) -> Operator:
    return Operator(
        name,
        tuple(Overload((given,), made, f) for given, (made, f) in typings.items()),
        latex,
        meaning,
        laws=frozenset(laws),
        bracketing=frozenset(bracketing),
        algebra=algebra,
        degrees=() if degree is None else (degree,),
        phrase=f"the {meaning} of {{0}}",
    )


def _reduction(
    name: str,
    function: Callable,
    latex: str,
    meaning: str,
    *laws: str,
    bracketing: tuple[str, ...] = (OPEN,),
) -> Operator:
    return _unary(name, {MAP: (WEIGHT, function)}, latex, meaning, *laws, bracketing=bracketing)


def _elementwise(
    name: str,
    function: Callable,
    latex: str,
    meaning: str,
    *laws: str,
    sorts: tuple[str, ...] = (WEIGHT, MAP),
    bracketing: tuple[str, ...] = (),
    algebra: Callable[..., Any] | None = None,
    degree: float | None = None,
) -> Operator:
    typings = {sort: (sort, function) for sort in sorts}
    return _unary(
        name,
        typings,
        latex,
        meaning,
        *laws,
        bracketing=bracketing,
        algebra=algebra,
        degree=degree,
    )


def _broadcast(function: Callable[..., Tensor]) -> tuple[Overload, ...]:
    """Typings of an infix operator, which broadcasts the narrower argument."""
    return tuple(
        Overload((a, b), max(a, b, key=BROADCAST.index), function)
        for a in BROADCAST
        for b in BROADCAST
    )


_TABLE = (
    _leaf(
        "activations",
        "A",
        MAP,
        "A_k",
        "activations of the target layer",
        "one forward pass",
        "the activations",
    ),
    _leaf(
        "gradients",
        "G",
        MAP,
        "G_k",
        "gradients of the target's score with respect to the activations",
        "one forward and one backward pass, to the layer only",
        "the gradients",
    ),
    _leaf(
        "hessian_product",
        "H",
        MAP,
        "H_k",
        "Hessian of the target's score times the activations; zero where the score is piecewise "
        "linear in them (ReLU networks with a logit target)",
        "one more backward pass",
        "the Hessian times the activations",
    ),
    _leaf(
        "noisy_gradients",
        "Gn",
        MAP,
        r"\mathrm{{Gn}}_k",
        "gradients, mean over 8 copies of the image with Gaussian noise, its deviation a tenth of "
        "the image's range (SmoothGrad)",
        "8 forward and backward passes",
        "the gradients averaged over noisy copies of the image",
    ),
    _leaf(
        "path_gradients",
        "Gi",
        MAP,
        r"\mathrm{{Gi}}_k",
        "gradients, mean over 16 images on the line from zeros to the image (integrated gradients)",
        "16 forward and backward passes",
        "the gradients averaged from zeros to the image",
    ),
    _leaf("score", "y", SCALAR, "y", "the target's score", "nothing", "the target's score"),
    _leaf(
        "probability",
        "p",
        SCALAR,
        "p",
        "probability of the class explained",
        "nothing",
        "the probability of the class",
    ),
    _leaf(
        "masked_scores",
        "S",
        WEIGHT,
        "S_k",
        "the target's score on the image times its upsampled, scaled activation (Score-CAM)",
        "K forward passes",
        "the score of the image masked by each channel",
    ),
    _leaf(
        "ablation_drops",
        "D",
        WEIGHT,
        "D_k",
        "relative drop of the target's score when the channel is set to zero (Ablation-CAM)",
        "K forward passes from the layer on",
        "the drop of the score without each channel",
    ),
    _leaf(
        "mutual_information",
        "MI",
        WEIGHT,
        r"\mathrm{{MI}}_k",
        "mutual information of the grey image and the upsampled activation, in nats, 32 bins each",
        "K two-dimensional histograms",
        "the mutual information of the image and each channel",
    ),
    _leaf(
        "class_weights",
        "C",
        WEIGHT,
        "C_k",
        "the class's weights of a linear head after global average pooling (the original CAM)",
        "nothing",
        "the class's weights of the linear head",
    ),
    _leaf(
        "fitted_weights",
        "O",
        WEIGHT,
        "O_k",
        "weights of sum 1, fitted so that the image times its heatmap has a high score (Opti-CAM)",
        "50 forward and backward passes, one after another",
        "the fitted weights",
    ),
    _leaf(
        "place_scores",
        "R",
        HEAT,
        "R_{{ij}}",
        "probability of the class explained with all places of the layer zero but this one "
        "(Recipro-CAM)",
        "h * w forward passes from the layer on",
        "the probability of the class from each place alone",
    ),
    constant("one", "1", 1.0),  # any other number is a leaf as well, but in no grammar
    constant("two", "2", 2.0),
    constant("half", r"\frac{{1}}{{2}}", 0.5),
    Operator(
        "channelsum",
        (Overload((MAP,), HEAT, numerics.sum_channels),),
        r"\sum_k {0}",
        "sum over channels, place by place: a heatmap that is not of the form sum_k w_k A_k",
        laws=frozenset({ODD, HOMOGENEOUS}),
        bracketing=frozenset(),
        phrase="the sum over channels of {0}",
    ),
    Operator(
        "principal",
        (Overload((MAP,), HEAT, numerics.principal),),
        r"\operatorname{{PC}}_1\left({0}\right)",
        "first principal component over places: each place's score on the axis along which the "
        "channels vary most, the largest in magnitude positive",
        laws=frozenset({EVEN, HOMOGENEOUS}),
        bracketing=frozenset({CLOSED, DELIMITED}),
        phrase="the first principal component over places of {0}",
    ),
    Operator(
        "smooth",
        (
            Overload((WEIGHT,), HEAT, numerics.smooth_weighted, weighs=True, neighbours=True),
            Overload((MAP,), HEAT, numerics.smooth_weighted, weighs=True, neighbours=True),
            Overload((HEAT,), HEAT, numerics.smooth, neighbours=True),
            Overload((SALIENCY,), SALIENCY, numerics.smooth, neighbours=True),
        ),
        r"\operatorname{{blur}}\left({0}\right)",
        "the weighted sum of the activations, blurred by [1 2 1] / 4 along both sides",
        laws=frozenset({ODD, HOMOGENEOUS}),
        bracketing=frozenset({DELIMITED}),
        phrase="the blur of {0}",
    ),
    _reduction(
        "mean",
        numerics.mean,
        r"\overline{{{0}}}",
        "average over places",
        ODD,
        HOMOGENEOUS,
        bracketing=_WRITTEN_AS_CALL,
    ),
    _reduction("sum", numerics.sum_places, r"\sum_{{ij}} {0}", "sum over places", ODD, HOMOGENEOUS),
    _reduction("max", numerics.maximum, r"\max_{{ij}} {0}", "largest value", HOMOGENEOUS),
    _reduction("min", numerics.minimum, r"\min_{{ij}} {0}", "smallest value", HOMOGENEOUS),
    _reduction(
        "std",
        numerics.std,
        r"\operatorname{{std}}_{{ij}} {0}",
        "standard deviation over places",
        EVEN,
        HOMOGENEOUS,
    ),
    _reduction(
        "topmean",
        numerics.topmean,
        r"\operatorname{{topmean}}_{{ij}} {0}",
        "average of the largest tenth of the places",
        HOMOGENEOUS,
    ),
    _elementwise(
        "relu",
        numerics.relu,
        r"\mathrm{{ReLU}}({0})",
        "positive part",
        IDEMPOTENT,
        HOMOGENEOUS,
        bracketing=_WRITTEN_AS_CALL,
        algebra=lambda sympy, t: sympy.Max(t, 0),
    ),
    _elementwise(
        "abs",
        numerics.absolute,
        r"\left|{0}\right|",
        "magnitude",
        IDEMPOTENT,
        EVEN,
        HOMOGENEOUS,
        bracketing=_WRITTEN_AS_CALL,
        algebra=lambda sympy, t: sympy.Abs(t),
    ),
    _said(
        "the negative of {0}",
        _elementwise(
            "neg",
            numerics.negative,
            r"-{0}",
            "negation",
            INVOLUTION,
            ODD,
            HOMOGENEOUS,
            sorts=BROADCAST,  # of a scalar as well, for numbers below zero
            bracketing=(OPEN_AS_LAST, SIGNED),
            algebra=lambda sympy, t: -t,
        ),
    ),
    _elementwise(
        "square",
        numerics.square,
        r"{0}^{{2}}",
        "square",
        EVEN,
        sorts=RESHAPED,
        algebra=lambda sympy, t: t**2,
        degree=2,
    ),
    _elementwise(
        "cube", numerics.cube, r"{0}^{{3}}", "cube", ODD, algebra=lambda sympy, t: t**3, degree=3
    ),
    _said(
        "the signed logarithm of {0}",
        _elementwise(
            "symlog",
            numerics.symlog,
            r"\operatorname{{symlog}}({0})",
            "sign(t) log(1 + |t|)",
            ODD,
            bracketing=_WRITTEN_AS_CALL,
        ),
    ),
    _said(
        "the signed square root of {0}",
        _elementwise(
            "symsqrt",
            numerics.symsqrt,
            r"\operatorname{{symsqrt}}({0})",
            "sign(t) sqrt|t|",
            ODD,
            sorts=RESHAPED,
            bracketing=_WRITTEN_AS_CALL,
            degree=0.5,
        ),
    ),
    _said(
        "the exponential of {0}",
        _elementwise(
            "exp",
            numerics.exponential,
            r"e^{{{0}}}",
            "exponential, flat above 20",
            bracketing=(DELIMITED,),
            algebra=lambda sympy, t: sympy.exp(t),
        ),
    ),
    _said(
        "the sign of {0}",
        _elementwise(
            "sign",
            numerics.sign,
            r"\operatorname{{sign}}({0})",
            "-1, 0 or 1",
            IDEMPOTENT,
            ODD,
            SCALE_FREE,
            bracketing=_WRITTEN_AS_CALL,
        ),
    ),
    _said(
        "the L1-normalised form of {0}",
        _unary(
            "normalize",
            {WEIGHT: (WEIGHT, numerics.normalize_channels), MAP: (MAP, numerics.normalize_places)},
            r"\frac{{{0}}}{{\|\cdot\|_1}}",
            "divided by the L1 norm: over channels for a weight, over places for a map",
            IDEMPOTENT,
            ODD,
            SCALE_FREE,
        ),
    ),
    _said(
        "the scaling to [0, 1], channel by channel, of {0}",
        _unary(
            "minmax",
            {MAP: (MAP, numerics.minmax)},
            r"\operatorname{{minmax}}_{{ij}}({0})",
            "each channel scaled to [0, 1]",
            IDEMPOTENT,
            SCALE_FREE,
            bracketing=_WRITTEN_AS_CALL,
        ),
    ),
    Operator(
        "above",
        (Overload((MAP, SCALAR), MAP, numerics.above),),
        r"\left[{0} > \mu + {1}\,\sigma\right]",
        "1 where a place exceeds its channel's mean by that many standard deviations, else 0",
        bracketing=frozenset({CLOSED}),
        degrees=(0, None),
        ranges=(None, (0.1, 4.0)),  # beyond them nearly all places or none are above
        phrase="the mask of places more than {1} standard deviations above the mean of {0}",
    ),
    _unary(
        "softmax",
        {WEIGHT: (WEIGHT, numerics.softmax_channels)},
        r"\operatorname{{softmax}}_k({0})",
        "softmax over channels",
        bracketing=_WRITTEN_AS_CALL,
    ),
    Operator(
        "add",
        (
            *_broadcast(numerics.add),
            Overload((SALIENCY, SALIENCY), SALIENCY, saliency.add_saliency),
        ),
        "{0} + {1}",
        "sum",
        laws=frozenset({COMMUTATIVE}),
        symbol="+",
        precedence=SUM,
        algebra=lambda sympy, a, b: a + b,
        bracketing=frozenset(),
        phrase="the sum of {0} and {1}",
    ),
    Operator(
        "sub",
        _broadcast(numerics.subtract),
        "{0} - {1}",
        "difference",
        symbol="-",
        precedence=SUM,
        algebra=lambda sympy, a, b: a - b,
        bracketing=frozenset(),
        phrase="the difference of {0} and {1}",
    ),
    Operator(
        "mul",
        (
            *_broadcast(numerics.multiply),
            Overload((SALIENCY, SALIENCY), SALIENCY, saliency.multiply_saliency),
            Overload((SCALAR, SALIENCY), SALIENCY, numerics.multiply),
            Overload((SALIENCY, SCALAR), SALIENCY, numerics.multiply),
        ),
        r"{0} \cdot {1}",
        "product",
        laws=frozenset({COMMUTATIVE, HOMOGENEOUS}),
        symbol="*",
        precedence=PRODUCT,
        algebra=lambda sympy, a, b: a * b,
        bracketing=frozenset({OPEN_AS_LAST}),
        phrase="the product of {0} and {1}",
    ),
    Operator(
        "div",
        _broadcast(numerics.divide),
        r"\frac{{{0}}}{{{1}}}",
        "total division: 0 where b is 0",
        symbol="/",
        precedence=PRODUCT,
        # As it computes where b is 0 everywhere; else the algebra takes division as exact.
        algebra=lambda sympy, a, b: a / b if sympy.simplify(b) != 0 else sympy.Integer(0),
        bracketing=frozenset({DELIMITED}),
        degrees=(1, -1),
        phrase="the ratio of {0} to {1}",
    ),
    CAM,
    Operator(
        "maximum",
        (Overload((SALIENCY, SALIENCY), SALIENCY, saliency.maximum_saliency),),
        r"\max\left({0}, {1}\right)",
        "the larger of two saliency maps, place by place",
        laws=frozenset({COMMUTATIVE}),
        bracketing=frozenset({CLOSED, DELIMITED}),
        algebra=lambda sympy, a, b: sympy.Max(a, b),
        phrase="the larger, place by place, of {0} and {1}",
    ),
    Operator(
        "mirror",
        (Overload((SALIENCY,), SALIENCY, saliency.mirror, pairs=True),),
        r"\operatorname{{mirror}}\left({0}\right)",
        "the mean of a saliency map and that of the image flipped left-right, flipped back; it "
        "takes one more forward and backward pass, and once more what expensive leaves take",
        laws=frozenset({IDEMPOTENT, ODD, HOMOGENEOUS}),
        bracketing=frozenset({CLOSED, DELIMITED}),
        phrase="the mean over the image and its mirror image of {0}",
    ),
    Operator(
        "top",
        (Overload((SALIENCY, SCALAR), SALIENCY, saliency.top),),
        r"\operatorname{{top}}_{{{1}\,\%}}\left({0}\right)",
        "1 in the highest places of a saliency map, that many percent of all, else 0 (the vote of "
        "a map in MetaCAM)",
        bracketing=frozenset({CLOSED, DELIMITED}),
        degrees=(0, None),
        ranges=(None, (1.0, 99.0)),
        phrase="the mask of the highest {1} % of the places of {0}",
    ),
)

_OPERATORS = {op.name: op for op in _TABLE}
_ORDER = {op.name: i for i, op in enumerate(_TABLE)}

OPERATORS: Mapping[str, Operator] = MappingProxyType(_OPERATORS)
ORDER: Mapping[str, int] = MappingProxyType(_ORDER)  # of operators, for the order of expressions
LEAVES: Mapping[str, Operator] = MappingProxyType({op.symbol: op for op in _TABLE if op.is_leaf})
_CONSTANTS = {op.value: op for op in _TABLE if op.value is not None}


def operator(name: str) -> Operator:
    """The operator called ``name``; of a number, like ``"0.37"``, the leaf that stands for it; of
    ``"cam[layer2]"`` what reads that layer.

    Raises:
        UnknownNameError: there is none; with the nearest names.
        ExpressionError: a number that is out of range.
    """
    try:
        return OPERATORS[name]
    except KeyError:
        if name[:1].isdecimal() or name[:1] == ".":
            return number_leaf(read_number(name))
        if site := site_of(name):
            return cam_at(site)
        raise unknown_operator(name) from None


def number_leaf(value: float) -> Operator:
    """The leaf of a number that is not negative, to six significant digits.

    Raises:
        ExpressionError: NaN, or out of range.
    """
    value = rounded(value)
    return _CONSTANTS.get(value) or number_operator(value)


def place(op: Operator) -> tuple[float | str, ...]:
    """Of an operator in the order of expressions; numbers stand after the last constant, and what
    reads a layer by name after what reads the only one."""
    if is_number(op):
        return ORDER["half"], cast(float, op.value)
    if op.site:
        return ORDER[CAM.name], op.site
    return (ORDER[op.name],)


def unknown_operator(name: str) -> UnknownNameError:
    """The error for an operator that does not exist, or that its user has not declared yet."""
    declaring = argument(
        "operators", metavar="FILE.py", python="the import of the file that declares it"
    )
    hint = f"sycam grammars show NAME lists a grammar's; one of your own needs {declaring}"
    return unknown_name("operator", name, OPERATORS, hint)


def register(op: Operator) -> None:
    """Put an operator into the table, for every expression and grammar from now on.

    One of the same name is replaced and keeps its place in the order. Nothing is checked: see
    :func:`sycam.operator`.
    """
    _OPERATORS[op.name] = op
    _ORDER.setdefault(op.name, len(_ORDER))


@contextmanager
def isolated() -> Iterator[None]:
    """Within this context the table may grow; afterwards it is as it was."""
    before, order = dict(_OPERATORS), dict(_ORDER)
    try:
        yield
    finally:
        _OPERATORS.clear()
        _OPERATORS.update(before)
        _ORDER.clear()
        _ORDER.update(order)
