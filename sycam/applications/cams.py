"""CAMs as they are named: published ones, formulas and winners of runs, each at a layer."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from sycam.data.images import ImageSet
from sycam.errors import RunError, SycamError
from sycam.events import Notify, ignore
from sycam.evidence import Layers
from sycam.language import Expression, apply, parse_weights
from sycam.language.operators import LEAVES
from sycam.language.sites import cam_at
from sycam.methods import METHODS, Method, find_method
from sycam.methods.method import OWN
from sycam.networks import NamedNetwork
from sycam.problem.explained_network import ExplainedNetwork
from sycam.problem.options import ExplainOptions
from sycam.runs.file_names import RESULT_FILE
from sycam.runs.result import Result, load

Given = str | Path | Expression | Method | Result
ELEVEN = (
    "grad-cam", "hirescam", "grad-cam++", "xgrad-cam", "layer-cam", "grad-cam-elementwise",
    "eigen-cam", "eigen-grad-cam", "fullgrad", "score-cam", "ablation-cam",
)  # fmt: skip
"""The eleven CAMs of pytorch-grad-cam when MetaCAM was published, which we take for its own."""
ALL = "eleven"  # stands for all of them


@dataclass(frozen=True, eq=False)
class Named:
    """A CAM that was asked for.

    Attributes:
        method: what it is.
        run: whose winner it is; None of others.
    """

    method: Method
    run: Result | None = None


def named(given: Sequence[Given] | Given) -> list[Named]:
    """The CAMs that were asked for, any number of them; of those that go by one name the first.

    Args:
        given: names of ``sycam methods`` (``"layer-cam@layer4"`` at a layer), formulas, folders of
            runs or their results, whose winners are meant, or ``"eleven"``.

    Raises:
        UnknownNameError, ExpressionError, RunError: something that is none of these.
    """
    listed = given if isinstance(given, Sequence) and not isinstance(given, str) else [given]
    found: dict[str, Named] = {}
    for one in listed:
        for known in _found(one):
            found.setdefault(known.method.name, known)
    return list(found.values())


def _found(one: Given) -> Iterator[Named]:
    if isinstance(one, str) and one.strip() == ALL:
        yield from (Named(METHODS[name]) for name in ELEVEN)
    elif isinstance(one, Result):
        yield Named(winner_of(one), one)
    elif isinstance(one, Path) or (isinstance(one, str) and _is_run(one)):
        run = load(one)
        yield Named(winner_of(run), run)
    else:
        yield Named(_method(one))


def _method(one: str | Expression | Method) -> Method:
    try:
        return find_method(one)
    except SycamError as error:
        if isinstance(one, str) and re.fullmatch(r"[\w.~-]+([/\\][\w.~-]+)+", one.strip()):
            raise RunError(f"{one!r} is no folder of a run, and no formula: {error}") from None
        raise


def _is_run(text: str) -> bool:
    """Whether it names a run's folder, or a path that can be nothing else."""
    if text.strip() in METHODS or text.strip() in LEAVES:  # whatever lies in the folder
        return False
    try:
        path = Path(text)
        return path.is_dir() or path.name == RESULT_FILE or text.startswith(("/", "./", "../"))
    except (OSError, ValueError):
        return False


def winner_of(result: Result) -> Method:
    """The winner of a run at its layer, called by the run's folder.

    Raises:
        RunError: there is none, or it is joined from several layers otherwise than by a formula.
    """
    where = "the run" if result.path is None else f"run '{result.path}'"
    if result.best is None:
        raise RunError(f"{where} has no winner")
    expression, layers = parse_weights(result.best.expression), result.record.network.layers
    if not expression.sites:
        if len(layers) > 1:
            raise RunError(
                f"{where} explains {' + '.join(layers)} joined by fusion, which no formula says; "
                f"its winner {expression} can stand at one layer: name it as a formula"
            )
        expression = apply(cam_at(layers[0]).name, expression)
    name = str(expression) if result.path is None else result.path.resolve().name
    return Method(name, OWN, expression, note=f"winner of {where} under {result.metric}")


@dataclass(frozen=True, eq=False)
class Setting:
    """What all of them look at, as for :meth:`ExplainedNetwork.prepare`."""

    network: NamedNetwork
    layer: Layers
    explain: ExplainOptions
    seed: int
    device: str | torch.device | None

    def prepared(self, layer: Layers, images: ImageSet, notify: Notify) -> ExplainedNetwork:
        return ExplainedNetwork.prepare(
            self.network, layer, images, self.explain, self.seed, self.device, notify
        )

    def placed(
        self, groups: Sequence[Sequence[Method]], images: ImageSet, notify: Notify
    ) -> tuple[ExplainedNetwork, list[list[Method]]]:
        """The network with all layers that are looked at, and the methods each at its own.

        A method that names no layer stands at each of those that were given.

        Args:
            groups: of methods.
            images: some of them serve as probes.
            notify: is told of what is found.

        Raises:
            SycamError: a layer that does not exist, or has no places.
        """
        explained = self.prepared(self.layer, images, notify)
        own = [one.name for one in explained.layers]
        named = dict.fromkeys(s for group in groups for m in group for s in m.sites)
        if others := [site for site in named if site not in own]:
            explained = self.prepared([*own, *others], images, ignore)  # its notes were told
        several = len(explained.layers) > 1
        return explained, [_at_layers(group, own, several) for group in groups]


def _at_layers(methods: Sequence[Method], own: Sequence[str], several: bool) -> list[Method]:
    if several:
        methods = [one for m in methods for one in ([m] if m.sites else map(m.at, own))]
    elif any(method.sites for method in methods):
        methods = [_at_the_one(method, own[0]) for method in methods]
    return list({method.name: method for method in methods}.values())


def _at_the_one(method: Method, layer: str) -> Method:
    """The method at the only layer, by its own name: formulas that name their layer cannot be
    combined with such that do not."""
    return method if method.sites else replace(method.at(layer), name=method.name)
