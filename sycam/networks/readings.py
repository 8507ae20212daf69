"""How a network's outputs are read: as logits or as probabilities, of classes or of labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import overload

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from sycam.errors import NetworkError
from sycam.networks.output_forms import (
    AUTO,
    LINKS,
    LOGITS,
    PROBABILITIES,
    SIGMOID,
    SOFTMAX,
)
from sycam.support.arguments import argument

_OF_LABELS = f"{PROBABILITIES}:{SIGMOID}"
PROBES = 8  # images on which the network is looked at, its outputs and layers
SUMS = 1e-2  # by which a row of probabilities may miss the sum 1: half precision does
_SUMS_SEEN = 1e-4  # the same, where the sum is the only sign
_CALLS = {
    **dict.fromkeys((torch.softmax, Tensor.softmax, F.softmax, torch.special.softmax), SOFTMAX),
    **dict.fromkeys((torch.sigmoid, Tensor.sigmoid, F.sigmoid, torch.special.expit), SIGMOID),
}


@dataclass(frozen=True)
class Reading:
    """What a network's outputs ``[N, classes]`` are.

    Attributes:
        probabilities: whether they are probabilities already, not logits.
        link: ``"softmax"``: probabilities of classes of which one is right; ``"sigmoid"``: each
            output is a label of its own (a single output always is).
    """

    probabilities: bool = False
    link: str = SOFTMAX

    @overload
    def logits(self, outputs: Tensor, watched: Watched | None = None) -> Tensor: ...

    @overload
    def logits(self, outputs: object, watched: Watched | None = None) -> object: ...

    def logits(self, outputs: object, watched: Watched | None = None) -> object:
        """The outputs as logits.

        Args:
            outputs: what the network returned; what is no table is handed on as it is.
            watched: saw the pass. Where the outputs are those of a softmax or sigmoid that it
                saw, its input is taken: the logarithm of a probability near 1 has lost its digits,
                and its gradient vanishes.

        Raises:
            NetworkError: they are no probabilities.
        """
        if not self.probabilities or not isinstance(outputs, Tensor) or outputs.ndim != 2:
            return outputs
        self._check(outputs.detach())
        link = self.link if outputs.shape[1] > 1 else SIGMOID
        own = None if watched is None else watched.logits(outputs, link)
        if own is not None:
            return own
        tiny, eps = torch.finfo(torch.float32).tiny, torch.finfo(torch.float32).eps
        wide = outputs.float() if outputs.dtype in (torch.float16, torch.bfloat16) else outputs
        if link == SOFTMAX:
            return wide.clamp_min(tiny).log()
        wide = wide.clamp(tiny, 1 - eps / 2)
        return wide.log() - (-wide).log1p()

    def _check(self, outputs: Tensor) -> None:
        if not len(outputs) or not torch.isfinite(outputs).all():
            return  # said by check_outputs
        low, high = float(outputs.min()), float(outputs.max())
        if low < -SUMS or high > 1 + SUMS:
            raise NetworkError(
                f"{argument('output', str(self))} says that the network returns probabilities, "
                f"but its outputs go from {low:.4g} to {high:.4g}; say "
                f"{argument('output', LOGITS)}"
            )
        if self.link == SOFTMAX and outputs.shape[1] > 1 and not _sum_to_one(outputs, SUMS):
            raise NetworkError(
                f"{argument('output', str(self))} says that the network's probabilities are of "
                "classes of which one is right, but they do not sum to 1; say "
                f"{argument('output', _OF_LABELS)} if each output is a label of its own"
            )

    def predicted(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """``[N]`` bool: whether the class scores (logits) say what the labels ``[N]`` say.

        The likeliest class is the label; of one output, whether it is positive is; of labels that
        do not exclude each other, the label is among those with a probability above one half.
        """
        labels = labels.to(outputs.device)
        if outputs.shape[1] == 1:
            return (outputs[:, 0] > 0).long() == labels
        if self.link == SIGMOID:
            return outputs.gather(1, labels[:, None])[:, 0] > 0
        return outputs.argmax(1) == labels

    def __str__(self) -> str:
        return f"{PROBABILITIES if self.probabilities else LOGITS}:{self.link}"


USUAL = Reading()


class Watched(TorchFunctionMode):
    """Sees the last softmax or sigmoid of a pass, with its input."""

    def __init__(self) -> None:
        super().__init__()
        self._last: tuple[str, Tensor, Tensor, int | None] | None = None

    def __torch_function__(
        self, func: object, types: object, args: Sequence = (), kwargs: dict | None = None
    ) -> object:
        kwargs = kwargs or {}
        made = func(*args, **kwargs)  # type: ignore[operator]
        if func in _CALLS and isinstance(made, Tensor):
            given = args[0] if args else kwargs["input"]
            self._last = (_CALLS[func], given, made, _version(made))
        return made

    @property
    def link(self) -> str | None:
        """Of the last call that was seen."""
        return None if self._last is None else self._last[0]

    def logits(self, outputs: Tensor, link: str) -> Tensor | None:
        """The input of the softmax or sigmoid that made these outputs, or None."""
        if self._last is None or self._last[0] != link:
            return None
        _, given, made, version = self._last
        whole = made is outputs or (
            made.data_ptr() == outputs.data_ptr()
            and made.dtype == outputs.dtype
            and made.numel() == outputs.numel()
            and made.is_contiguous()
            and outputs.is_contiguous()
        )
        if not whole or version != _version(made) or given.numel() != outputs.numel():
            return None
        given = given.reshape(outputs.shape)
        if link == SOFTMAX:  # along the classes, not along another side
            again = given.detach().to(outputs.dtype).softmax(1)
            if not torch.allclose(again, outputs.detach(), atol=SUMS):
                return None
        return given


def told(outputs: object, watched: Watched, wanted: tuple[str, str | None]) -> tuple[Reading, str]:
    """The reading of a network's outputs, and a line for people where they are no logits.

    Told by the operation that made them, as far as the autograd graph or ``watched`` know it; else
    by their values.

    Args:
        outputs: on some images; from a pass with gradients, as far as the network has them.
        watched: saw the pass.
        wanted: see :func:`sycam.networks.output_forms.parse_output`.

    Raises:
        NetworkError: values from 0 to 1 that may be either.
    """
    form, link = wanted
    unfit = Reading(form == PROBABILITIES, link or SOFTMAX), ""  # others are told later
    if not isinstance(outputs, Tensor) or not outputs.is_floating_point():
        return unfit
    if outputs.ndim != 2 or not outputs.numel():
        return unfit
    single = outputs.shape[1] == 1
    seen, directly = _maker(outputs)
    if watched.link is not None and watched.logits(outputs, watched.link) is not None:
        seen, directly = watched.link, True
    values = outputs.detach().float()
    sums = not single and _within(values) and _sum_to_one(values, _SUMS_SEEN)
    if directly and seen in LINKS:
        are_probabilities, own = True, SIGMOID if seen == SIGMOID or not sums else SOFTMAX
    elif directly and seen == LOGITS:
        are_probabilities, own = False, SOFTMAX
    elif sums:
        are_probabilities, own = True, SOFTMAX
    elif form == AUTO and seen != LOGITS and _within(values):
        raise NetworkError(
            f"the network's outputs on {len(values)} images go from {float(values.min()):.4g} to "
            f"{float(values.max()):.4g}: they may be probabilities or logits; say which by "
            f"{argument('output', _OF_LABELS)} or {argument('output', LOGITS)}"
        )
    else:
        are_probabilities, own = False, SOFTMAX
    if form != AUTO:
        if form == PROBABILITIES and not are_probabilities and not sums:
            own = SIGMOID
        are_probabilities = form == PROBABILITIES
    if not are_probabilities:
        return Reading(False, link or SOFTMAX), ""
    reading = Reading(True, SIGMOID if single else link or own)
    by = "the input of its softmax or sigmoid stands for its logits"
    if watched.logits(outputs, reading.link) is None:
        by = (
            "their logarithms stand for its logits, with less precision where it is confident: "
            "a network without that last step is exact"
        )
    return reading, f"the network returns probabilities ({reading.link}): {by}"


def _version(tensor: Tensor) -> int | None:
    """How often it was changed in place."""
    return None if tensor.is_inference() else tensor._version


def _within(values: Tensor) -> bool:
    return bool(((values >= 0) & (values <= 1)).all())


def _sum_to_one(values: Tensor, tolerance: float) -> bool:
    return bool(((values.float().sum(1) - 1).abs() <= tolerance).all())


# Backward nodes by what their names begin with.
_LINEAR = ("Addmm", "Mm", "Bmm", "Baddbmm", "Convolution", "Linear", "Mkldnn", "LogSoftmax",
           "LogSigmoid", "Slow", "Thnn")  # fmt: skip
_VIEWS = ("View", "UnsafeView", "Reshape", "Squeeze", "Unsqueeze", "Slice", "Select", "T",
          "Transpose", "Permute", "Clone", "Alias", "Expand", "ToCopy", "AsStrided")  # fmt: skip
_BOUNDED = ("Softmax", "Sigmoid", "Hardsigmoid", "Clamp", "Hardtanh", "Exp", "Reciprocal",
            "Compiled", "Cat", "Stack")  # fmt: skip


def _maker(outputs: Tensor) -> tuple[str | None, bool]:
    """The operation that made the outputs (logits, softmax, sigmoid, None where it is another),
    and whether nothing but views came after it."""
    node, directly = outputs.grad_fn, True
    while node is not None:
        name = node.name().split("Backward")[0]
        if name in _LINEAR or name.startswith(("Cudnn", "Slow", "Mkldnn")):
            return LOGITS, directly
        if name in _BOUNDED:
            return {"Softmax": SOFTMAX, "Sigmoid": SIGMOID}.get(
                name
            ) if directly else None, directly
        directly = directly and name in _VIEWS
        after = [following for following, _ in node.next_functions if following is not None]
        node = after[0] if after else None
    return None, False
