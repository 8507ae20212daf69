"""Network and heatmaps as one graph, for programs that run no Python: torch.export and ONNX."""

from __future__ import annotations

import copy
import logging
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn

from sycam.data.images import ImageSet
from sycam.errors import OptionError, RunError, SycamError
from sycam.evidence import MEASURED, Layer, Leaf
from sycam.export.target import ExportTarget, Winner, classes, listed
from sycam.language import Expression, heatmap_latex
from sycam.language.signatures import BROADCAST
from sycam.networks.output_forms import AUTO, LOGITS
from sycam.networks.readings import USUAL
from sycam.problem.explained_network import ExplainedNetwork
from sycam.problem.options import ExplainOptions
from sycam.support.arguments import argument
from sycam.support.files import check_target, place_of

CLOSE = 1e-4  # within which the graph must give the network's own scores and heatmaps

Run = Callable[[Tensor], tuple[Tensor, ...]]  # images to scores and heatmaps
ToFile = Callable[[nn.Module, Tensor, Path, dict[str, str]], Run | None]


@dataclass(frozen=True)
class GraphTarget:
    """A format for network and heatmaps in one graph; it is an :class:`ExportTarget`.

    The graph's input is ``images`` ``[N,C,H,W]`` of the run's size, in the network's input scale,
    for any N that the network takes; its outputs are ``scores`` ``[N,classes]`` and ``heatmaps``
    ``[N,H,W]`` in [0, 1], of the class that the run explained.

    Attributes:
        name: how users choose it.
        suffix: of the file.
        file: what it is called, with its article.
        summary: what it is for, for people.
        to_file: writes a module of images, with examples of them, to a path, with lines about it
            by their names; it gives what runs the written graph, or None where nothing here can.
    """

    writes_network: ClassVar[bool] = True
    needs_sycam: ClassVar[bool] = False

    name: str
    suffix: str
    file: str
    summary: str
    to_file: ToFile

    def supports(self, winner: Winner, targets: Mapping[str, ExportTarget]) -> SycamError | None:
        """Why network and heatmaps cannot be one graph, if so."""
        expression, settings = winner.expression, winner.result.record.settings
        able = _able()
        for leaf in _leaves(expression):
            if leaf.no_graph:
                return OptionError(
                    f"{expression} cannot be one graph with the network: leaf {leaf.symbol} is "
                    f"{leaf.no_graph}. Formulas of {listed([leaf.symbol for leaf in able])} can; "
                    f"for this one export a class ({argument('base')} "
                    f"{listed(classes(targets), 'or')})"
                )
        if not _of_the_class(expression):
            return None
        target, output = settings.target, settings.reading
        of_the_class = [leaf.symbol for leaf in able if leaf.of_target]
        if output not in (AUTO, LOGITS, str(USUAL)):
            return OptionError(
                f"the run's network returns {output}; in one graph {listed(of_the_class)} are "
                f"those of a network that returns logits of classes; {_a_class()}"
            )
        if target not in ("predicted", "label") and not target.isdecimal():
            return OptionError(
                f"the run explains {target!r}; in one graph a formula of "
                f"{listed(of_the_class, 'or')} explains the predicted class or one that is always "
                f"the same; {_a_class()}"
            )
        return None

    def write(self, winner: Winner, path: Path, provenance: str) -> None:
        """Write the graph; before it is kept, it is run on images of noise beside the network and
        :class:`sycam.CAM`.

        Raises:
            OptionError: a package is missing.
            RunError: the network is not the run's or cannot be exported, or its graph computes
                something else.
        """
        from sycam.export.explained import Explained  # which imports sympy

        result, expression = winner.result, winner.expression
        record, shape = result.record, result.record.data.shape
        explained = _explained_class(record.settings.target, expression)
        noise = torch.randn(3, *shape, generator=torch.Generator().manual_seed(0))
        network, layers = _network(winner, noise)
        fusion = record.network.fusion
        whole = Explained(network, layers, expression, fusion, tuple(shape[1:]), explained, noise)
        with torch.no_grad():
            expected = whole(noise)
        facts = {
            "formula": str(expression),
            "latex": heatmap_latex(expression),
            "provenance": provenance,
            "images": f"(N, {', '.join(map(str, shape))}) in the network's input scale",
            "explains": "the predicted class" if explained is None else f"class {explained}",
        }
        try:
            place = place_of(path, result.path)
            place.parent.mkdir(parents=True, exist_ok=True)
            # Under its own name, by which a large ONNX graph finds its parameters.
            with tempfile.TemporaryDirectory(dir=place.parent, prefix=".draft-") as folder:
                run = self.to_file(whole, noise, Path(folder, place.name), facts)
                _check_parity(run, noise, expected)
                files = [*Path(folder).iterdir()]
                for file in files:
                    check_target(place.parent / file.name, within=result.path)
                for file in files:
                    file.replace(place.parent / file.name)
        except OSError as error:
            raise RunError(f"cannot write '{path}': {error}") from None


def _a_class() -> str:
    """What to do where network and heatmaps cannot be one graph."""
    return f"export a class ({argument('base', 'torch')})"


def _leaves(expression: Expression) -> list[Leaf]:
    """What the expression reads, in the table's order."""
    return [leaf for leaf in MEASURED.values() if leaf.name in expression.leaves]


def _able() -> list[Leaf]:
    """The leaves that a graph can have: maps, weights, scalars."""
    found = [leaf for leaf in MEASURED.values() if not (leaf.no_graph or leaf.stands_in_for)]
    return sorted(found, key=lambda leaf: -BROADCAST.index(leaf.sort))


def _of_the_class(expression: Expression) -> bool:
    """Whether what the expression reads depends on the class explained."""
    return any(leaf.of_target for leaf in _leaves(expression))


def _network(winner: Winner, images: Tensor) -> tuple[nn.Module, list[Layer]]:
    """A copy of the run's network on the CPU, and its target layers."""
    record = winner.result.record
    network = winner.network or record.network.source
    reshape = record.network.reshape
    if network is None:
        raise RunError(
            "the run was started from Python, so its network is not on record; give it by "
            f"{argument('network')}, or in Python by sycam.export.export(..., network=network)"
        )
    if not record.network.reshape_recorded:
        raise RunError(
            f"the run's reshape is {reshape!r}, which is not on record; use sycam.CAM in Python"
        )
    names = winner.layers
    explained = ExplainedNetwork.prepare(
        network,
        names,
        ImageSet.from_arrays(images),
        explain=ExplainOptions(reshape=reshape, output="logits"),
        device="cpu",
    )
    if explained.digest != record.network.digest:
        raise RunError(
            f"{explained.name} computes something else than the run's network (other weights, code "
            "or package versions), of which the graph would state the figures; give the run's own, "
            f"or {_a_class()}, which takes any network"
        )
    network = copy.deepcopy(explained.network).float().eval().requires_grad_(False)
    return network, [
        replace(layer, module=network.get_submodule(layer.name)) for layer in explained.layers
    ]


def _explained_class(target: str, expression: Expression) -> int | None:
    """The class of a run's target; None for the predicted one, or where it does not matter."""
    return int(target) if _of_the_class(expression) and target.isdecimal() else None


def exported(whole: nn.Module, noise: Tensor) -> torch.export.ExportedProgram:
    """The program, for any batch."""
    batch = {0: torch.export.Dim("batch", min=1)}
    with torch.no_grad(), quiet(), refusing("torch.export"):
        return torch.export.export(whole, (noise,), dynamic_shapes=(batch,), strict=False)


@contextmanager
def refusing(what: str) -> Iterator[None]:
    try:
        yield
    except (SycamError, OSError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        reason = (str(error).strip() or "no reason given").splitlines()[0]
        raise RunError(
            f"{what} cannot say this network or formula for any batch: {type(error).__name__}: "
            f"{reason}; {_a_class()}"
        ) from error


@contextmanager
def quiet() -> Iterator[None]:
    """Without what exporters say of themselves."""
    loud = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(loud)


def _check_parity(run: Run | None, noise: Tensor, expected: tuple[Tensor, Tensor]) -> None:
    if run is None:
        return
    for count in (len(noise), 1):
        with refusing("the graph"):
            found = run(noise[:count])
        for name, one, other in zip(("scores", "heatmaps"), found, expected, strict=True):
            wanted = other[:count]
            if one.shape != wanted.shape:
                raise RunError(
                    f"the graph's {name} have shape {list(one.shape)}, the network's "
                    f"{list(wanted.shape)}; nothing was written"
                )
            error = float((one - wanted).abs().max() / wanted.abs().max().clamp(min=1))
            if not error <= CLOSE:
                raise RunError(
                    f"the graph's {name} differ from the network's by {error:.2g} (at most "
                    f"{CLOSE:g} is allowed) in a batch of {count}; nothing was written"
                )
