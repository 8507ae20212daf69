"""Metrics of a heatmap and a mask as torchmetrics writes them: ``update``, ``compute``, ``reset``,
or one function of ``preds`` and ``target``."""

from __future__ import annotations

import copy
import hashlib
import inspect
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from sycam.metrics.adapters.base import Borrowed, Direction
from sycam.metrics.base import Metric, signature
from sycam.metrics.context import Context
from sycam.support.content_digest import version_digest

_METHODS = ("update", "compute", "reset")
_PAIR = ("preds", "target")
_USUAL: dict[object, str] = {True: "higher", False: "lower"}  # by what the metric says of itself
Layout = Literal["flat", "map", "image"]
Numbers = Literal["int", "float"]


class Pair(Borrowed):
    """A metric that compares predictions with a target; :func:`pair_metric` makes a subclass.

    Args:
        direction, undefined: see :class:`~sycam.metrics.adapters.base.Borrowed`; torchmetrics' own
            ``higher_is_better`` is known.
        layout: how heatmap and mask are given: ``flat`` ``[H*W]``, ``map`` ``[1,H,W]`` or
            ``image`` ``[1,1,H,W]``; ``image`` for torchmetrics' image metrics, ``flat`` for all
            others if None.
        numbers: whether the mask is whole numbers or floats; floats for torchmetrics' image and
            regression metrics, whole numbers for all others if None.
        options: of the class or function.
    """

    thing: ClassVar[Any]
    needs_masks = True
    traps = (
        "It sees the mask, not the network: a map may mark what the network does not look at. "
        "Scored one image at a time: slow in a search."
    )

    def __init__(
        self,
        direction: Direction | None = None,
        undefined: float | None = None,
        layout: Layout | None = None,
        numbers: Numbers | None = None,
        **options: Any,
    ):
        super().__init__(direction, undefined)
        home = getattr(self.thing, "__module__", None) or type(self.thing).__module__
        own = home.startswith("torchmetrics.")
        pictures = own and ".image." in f"{home}."
        self._layout = layout or ("image" if pictures else "flat")
        dense = pictures or (own and ".regression." in f"{home}.")
        self._numbers = numbers or ("float" if dense else "int")
        self._given = {**options, "layout": layout, "numbers": numbers}
        self._judge = self._made(options)
        self._version = _version(self.thing, home)

    @classmethod
    def parameters(cls) -> Mapping[str, inspect.Parameter]:
        """The options of every borrowed metric, and those of the class or function."""
        own = dict(signature(Pair.__init__).parameters)
        for name in ("self", "options"):
            del own[name]
        return _options_of(cls.thing) | own

    @property
    def version(self) -> str:
        return self._version

    @property
    def options(self) -> dict[str, object]:
        usual = {name: p.default for name, p in _options_of(self.thing).items()}
        return {**usual, **self._given, **super().options, "version": self._version}

    def judge(self, heatmap: Tensor, candidate: int, image: int, context: Context) -> float:
        side = heatmap.shape
        shapes: dict[str, tuple[int, ...]] = {
            "flat": (-1,), "map": (1, *side), "image": (1, 1, *side),
        }  # fmt: skip
        shape = shapes[self._layout]
        mask = context.ground_truth[image].reshape(shape)
        mask = mask.long() if self._numbers == "int" else mask.to(heatmap.dtype)
        score = self._judge(heatmap.detach().clone().reshape(shape), mask.clone())
        score = torch.as_tensor(score)
        if score.numel() != 1:
            raise ValueError(f"it gave a tensor of shape {list(score.shape)}, expected one number")
        return float(score)

    def _made(self, options: dict[str, Any]) -> Callable[[Tensor, Tensor], Any]:
        if not all(hasattr(self.thing, name) for name in _METHODS):
            return lambda preds, target: self.thing(preds, target, **options)
        made = self.thing(**options) if isinstance(self.thing, type) else copy.deepcopy(self.thing)

        def judge(preds: Tensor, target: Tensor) -> Any:
            judge_there = made.to(preds.device) if hasattr(made, "to") else made
            judge_there.reset()
            judge_there.update(preds, target)
            return judge_there.compute()

        return judge


def pair_metric(thing: Any, name: str | None = None) -> type[Metric] | None:
    """The metric that an object, class or function of torchmetrics' style is, else None.

    Args:
        thing: something with ``update(preds, target)``, ``compute()`` and ``reset()``, the class
            of such things, or a function whose first two parameters are ``preds`` and ``target``.
        name: of the metric; its own if None.
    """
    stateful = all(callable(getattr(thing, method, None)) for method in _METHODS)
    if not (stateful or _takes_a_pair(thing)):
        return None
    own = getattr(thing, "__name__", type(thing).__name__)
    higher = getattr(thing, "higher_is_better", None)
    doc = (inspect.getdoc(thing) or "").strip()
    facts = {
        "__module__": __name__,
        "thing": thing if stateful else staticmethod(thing),
        "name": name or own,
        "summary": doc.partition("\n")[0].replace("`", "") or f"{own} of heatmap and mask",
        "source": getattr(thing, "__module__", None) or type(thing).__module__,
        "definition": f"{own} of the heatmap (preds) and the mask (target), an image at a time.",
        "usual": _USUAL.get(higher),
    }
    return type(own, (Pair,), facts)


def _takes_a_pair(thing: Any) -> bool:
    if not callable(thing) or isinstance(thing, type):
        return False
    try:
        names = list(signature(thing).parameters)
    except (TypeError, ValueError):
        return False
    return tuple(names[:2]) == _PAIR


def _options_of(thing: Any) -> dict[str, inspect.Parameter]:
    """What text can set of a class or function: what has a plain default."""
    if not isinstance(thing, type) and hasattr(thing, "update"):
        return {}  # an object is as it was made
    plain = (bool, int, float, str, type(None))
    return {
        name: p
        for name, p in signature(thing).parameters.items()
        if name not in _PAIR and p.kind is not p.VAR_KEYWORD and isinstance(p.default, plain)
    }


def _version(thing: Any, home: str) -> str:
    """Digest of what it computes, with the version of the package that it comes from."""
    root = home.partition(".")[0]
    try:
        package = version(root)
    except PackageNotFoundError:
        package = ""
    return hashlib.sha256(f"{version_digest(thing)}{package}".encode()).hexdigest()[:16]
