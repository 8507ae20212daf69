"""What every explanation should pass: it depends on the class, and on the network's weights."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from sycam.errors import NetworkError, OptionError
from sycam.evidence import Layer
from sycam.metrics.base import Metric, register
from sycam.metrics.context import Context
from sycam.metrics.removal.perturbation import count_of, one_of
from sycam.metrics.robustness.correlation import average_ranks, pearson
from sycam.networks.backward import scripted
from sycam.networks.forward import forward
from sycam.networks.passes import hooked
from sycam.networks.untouched import copied, device_of, moved, seeded, untouched

INSENSITIVE = 0.05  # class-sensitivity below which a heatmap hardly changes with the class
_DIGITS = 6  # of heat that are ranked: on upsampled maps many pixels differ by rounding alone


@register
class ClassSensitivity(Metric):
    """``1 - max(0, Pearson(L_c, L_d))`` for another class d."""

    name = "class-sensitivity"
    summary = "how little the heatmap resembles that of another class"
    source = (
        "Sixt et al., When Explanations Lie: Why Many Modified BP Attributions Fail, ICML 2020 "
        "(random logit test)"
    )
    family = "sanity"
    definition = (
        "1 less the Pearson correlation (0 where that is negative) of the heatmap with that of the "
        "logit of another class of the same image. `other` says which: random (drawn for each "
        "image among all others, as in the paper), runner-up (the likeliest of the others) or "
        "least (the least likely). 0 where the heatmap ranks nothing, 1 where only the other one "
        "ranks nothing. The paper, and Quantus, compare by structural similarity."
    )
    formula = r"1 - \max\left(0, \operatorname{corr}(L_c, L_d)\right), \quad d \ne c"
    traps = (
        "Noise that depends on the class scores 1. It guards a search against maps that ignore "
        "the class; it does not say that the right class is shown."
    )
    shared_measurements = 1

    def __init__(self, other: str = "random"):
        """
        Args:
            other: ``"random"``, ``"runner-up"`` or ``"least"``.
        """
        self.other = one_of("other", other, tuple(_OTHERS))

    @property
    def options(self) -> dict[str, object]:
        return {"other": self.other}

    def check(self, context: Context) -> None:
        """Refuse callable targets and networks with one output."""
        if context.source is not None:
            self._classes(context)

    def score(self, maps: Tensor, context: Context) -> Tensor:
        again = context.again(self.name)
        classes = context.once(
            (__name__, "other class", self.other), lambda: self._classes(context)
        )
        other = again.heatmaps(f"{__name__}: class {self.other}", context.images, target=classes)
        alike = pearson(maps.flatten(2), other.flatten(2)).clamp(min=0)
        return (1 - alike).masked_fill(_degenerate(context), 0.0)

    def _classes(self, context: Context) -> Tensor:
        """``[N]`` the other class of each image."""
        if context.classifier.score is not None:
            raise OptionError(
                f"metric {self.name!r} compares classes, but a callable is explained; explain a "
                "class, like target='predicted'"
            )
        scores = context.class_scores(self.name)
        if scores.shape[1] < 2:
            raise OptionError(
                f"metric {self.name!r} compares classes, but the network has one output; "
                "use metric 'randomisation' as a guard instead"
            )
        return _OTHERS[self.other](scores, context)


def _random_class(scores: Tensor, context: Context) -> Tensor:
    draw = context.drawn("other class", lambda g: torch.rand((), generator=g, dtype=torch.float64))
    drawn = (draw * (scores.shape[1] - 1)).long()
    return drawn + (drawn >= context.targets)


def _runner_up(scores: Tensor, context: Context) -> Tensor:
    return scores.scatter(1, context.targets[:, None], -torch.inf).argmax(1)


def _least_likely(scores: Tensor, context: Context) -> Tensor:
    return scores.scatter(1, context.targets[:, None], torch.inf).argmin(1)


_OTHERS = {"random": _random_class, "runner-up": _runner_up, "least": _least_likely}


@register
class Randomisation(Metric):
    """Mean Spearman correlation with heatmaps of networks with re-initialised layers."""

    name = "randomisation"
    summary = "how much the heatmap resembles those of a network whose upper layers are random"
    source = "Adebayo et al., Sanity Checks for Saliency Maps, NeurIPS 2018"
    family = "sanity"
    definition = (
        "Mean Spearman correlation of the heatmap with those of copies of the network whose layers "
        "are initialised again from the output down, cumulatively: the layers with parameters that "
        "run after the target layer are cut into `stages` steps of equal size, the last of which "
        'takes them all; `scope="all"` goes on to the first layer of the network. The class '
        "explained stays the same, and heat is ranked to 6 decimals. 1 where the heatmap ranks "
        "nothing, and 0 for a copy whose heatmap ranks nothing. Quantus averages in the "
        "correlation of the network with itself, 1."
    )
    formula = (
        r"\frac{1}{S} \sum_{s=1}^{S} \operatorname{corr}\left("
        r"\operatorname{rank} L_\theta, \operatorname{rank} L_{\theta_s}\right)"
    )
    traps = (
        "Noise scores 0, and less than 0 is no better: use it as a requirement, not as a goal. "
        "A formula of the activations alone has 1 under scope above, whatever it shows."
    )
    higher_is_better = False
    range = (-1.0, 1.0)

    def __init__(self, stages: int = 4, scope: str = "above"):
        """
        Args:
            stages: number of copies; fewer where there are fewer layers.
            scope: ``"above"`` the target layer, or ``"all"`` layers.
        """
        count_of("stages", stages)
        self.stages, self.scope = stages, one_of("scope", scope, ("above", "all"))

    @property
    def shared_measurements(self) -> int:
        return self.stages

    @property
    def options(self) -> dict[str, object]:
        return {"stages": self.stages, "scope": self.scope}

    def check(self, context: Context) -> None:
        """Refuse a target layer with nothing to initialise above it."""
        if context.source is not None:
            self._modules(context)

    def score(self, maps: Tensor, context: Context) -> Tensor:
        again = context.again(self.name)
        modules = context.once((__name__, "modules", self.scope), lambda: self._modules(context))
        stages = min(self.stages, len(modules))
        ranks = _ranks(maps)
        total = maps.new_zeros(maps.shape[:2])
        for stage in range(1, stages + 1):
            top = modules[: round(stage * len(modules) / stages)]
            network = partial(reinitialised, context.source.network, top, context.seed)
            key = f"{__name__}: randomised {self.scope} {len(top)}"
            randomised = again.heatmaps(key, context.images, network=network)
            total += pearson(ranks, _ranks(randomised))
        return (total / stages).masked_fill(_degenerate(context), 1.0)

    def _modules(self, context: Context) -> list[str]:
        """Names of the modules to initialise, the one that runs last in front."""
        source = context.source
        below, above = modules_in_order(source.network, source.layers, context.images[:1])
        modules = above[::-1] + (below[::-1] if self.scope == "all" else [])
        if not modules:
            raise OptionError(
                f"metric {self.name!r} initialises the layers above the target layer again, but "
                "none above it has parameters; choose an earlier layer, or scope 'all'"
            )
        return modules


def _degenerate(context: Context) -> Tensor:
    assert context.degenerate is not None  # it comes with the candidates, without which none scores
    return context.degenerate


def _ranks(maps: Tensor) -> Tensor:
    """Average ranks ``[P,N,H*W]``; rounding errors on a plateau rank nothing."""
    return average_ranks(maps.flatten(2).round(decimals=_DIGITS))


@torch.inference_mode(False)
def modules_in_order(
    network: nn.Module, layers: Sequence[Layer], images: Tensor
) -> tuple[list[str], list[str]]:
    """Modules with parameters of their own in the order in which they first run.

    Returns:
        names of those that run before the last of the layers has returned, and after it.
    """
    names: dict[str, None] = {}
    last = 0

    def begins(name: str) -> Any:
        return lambda *_: names.setdefault(name)

    def returns(*_: object) -> None:
        nonlocal last
        last = len(names)

    hooks = [(layer.module.register_forward_hook, returns) for layer in layers]
    for name, module in network.named_modules():
        if next(module.parameters(recurse=False), None) is not None:
            if scripted(module):
                raise NetworkError(
                    f"{name!r} is TorchScript, which cannot be watched: in what order modules run "
                    "is not known; give the network as an ordinary torch.nn.Module"
                )
            hooks.append((module.register_forward_pre_hook, begins(name)))
    with untouched(network), torch.no_grad(), hooked(*hooks):
        forward(network, images)
    order = list(names)
    return order[:last], order[last:]


@torch.inference_mode(False)
def reinitialised(network: nn.Module, names: Sequence[str], seed: int) -> nn.Module:
    """A copy of the network with new parameters in some modules.

    They come from the module's own ``reset_parameters``; where it has none, the entries of each
    of its parameters are shuffled. A module gets the same ones on any device, whatever the others.
    """
    with untouched(network):
        twin = copied(network)
    place = device_of(network)
    moved(twin, torch.device("cpu"))
    for name in names:
        number = hashlib.sha256(f"randomisation/{seed}/{name}".encode()).digest()[:7]
        module = twin.get_submodule(name)
        with seeded(int.from_bytes(number, "big")), torch.no_grad():
            if callable(getattr(module, "reset_parameters", None)):
                module.reset_parameters()
                continue
            for parameter in module.parameters(recurse=False):
                flat = parameter.flatten()
                parameter.copy_(flat[torch.randperm(len(flat))].view_as(parameter))
    return moved(twin, place)
