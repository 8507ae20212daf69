"""Network and heatmaps as one graph, for programs that run no Python: torch.export and ONNX."""

from __future__ import annotations

import copy
import importlib
import logging
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sycam.data.images import ImageSet
from sycam.errors import OptionError, RunError, SycamError
from sycam.evidence import Layer, measure
from sycam.evidence.leaves.head import class_weights
from sycam.heatmaps import Heatmaps, fuse
from sycam.heatmaps.compiled import graph_of
from sycam.heatmaps.program import Program
from sycam.language import Expression, heatmap_latex
from sycam.networks.readings import AUTO, LOGITS, USUAL
from sycam.networks.reshaping import folded, to_map
from sycam.problem.explained_network import ExplainedNetwork
from sycam.problem.options import ExplainOptions
from sycam.runs.recorded import output_of
from sycam.runs.result import Result
from sycam.support.files import check_target, place_of

CLOSE = 1e-4  # within which the graph must give the network's own scores and heatmaps
_OF_THE_CLASS = {"C", "y", "p"}
_POSSIBLE = {"A", *_OF_THE_CLASS}
_WHY = {
    "G": "a gradient, and a graph for inference has no backward pass",
    "H": "a second derivative, and a graph for inference has no backward pass",
    "S": "one forward pass a channel, which would multiply the batch by the layer's channels",
    "D": "one forward pass a channel, which would multiply the batch by the layer's channels",
    "MI": "a histogram of the image, which is taken on one image at a time",
}
_WHOLE = 2**30  # bytes of parameters up to which an ONNX file holds them itself


def export_graph(
    result: Result,
    expression: Expression,
    path: Path,
    base: str,
    provenance: str,
    network: nn.Module | str | None = None,
) -> Path:
    """Write network and heatmaps as one graph.

    Its input is ``images`` ``[N,C,H,W]`` of the run's size, in the network's input scale, for any
    N that the network takes; its outputs are ``scores`` ``[N,classes]`` and ``heatmaps``
    ``[N,H,W]`` in [0, 1], of the class that the run explained. Before it is kept, the graph is run
    on images of noise beside the network and :class:`sycam.CAM`.

    Args:
        result: of the run.
        expression: the formula.
        path: the file to write.
        base: ``"onnx"`` or ``"torch-export"``.
        provenance: goes into the file.
        network: for a run that was started from Python.

    Raises:
        OptionError: the formula reads a leaf that no such graph can measure, or a package is
            missing.
        RunError: the network cannot be exported, or its graph computes something else.
    """
    _check_leaves(expression)
    record, (*shape,) = result.record, result.record["data"]["shape"]
    explained = _explained_class(record["settings"], expression)
    noise = torch.randn(3, *shape, generator=torch.Generator().manual_seed(0))
    network, layers = _network(record, network, noise)
    fusion = record["network"]["fusion"]
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
    write = {"onnx": _write_onnx, "torch-export": _write_program}[base]
    try:
        place = place_of(path, result.path)
        place.parent.mkdir(parents=True, exist_ok=True)
        # Under its own name, by which a large ONNX graph finds its parameters.
        with tempfile.TemporaryDirectory(dir=place.parent, prefix=".draft-") as folder:
            run = write(whole, noise, Path(folder, place.name), facts)
            _check_parity(run, noise, expected)
            files = [*Path(folder).iterdir()]
            for file in files:
                check_target(place.parent / file.name, within=result.path)
            for file in files:
                file.replace(place.parent / file.name)
    except OSError as error:
        raise RunError(f"cannot write '{path}': {error}") from None
    return path


def _network(
    record: Mapping[str, Any], network: nn.Module | str | None, images: Tensor
) -> tuple[nn.Module, list[Layer]]:
    """A copy of the run's network on the CPU, and its target layers."""
    network = network or record["network"]["source"]
    reshape = record["network"]["reshape"]
    if network is None:
        raise RunError(
            "the run was started from Python, so its network is not on record; give --network, or "
            "sycam.export.export(..., network=network)"
        )
    if str(reshape).startswith("callable"):
        raise RunError(
            f"the run's reshape is {reshape!r}, which is not on record; use sycam.CAM in Python"
        )
    names = record["network"]["layers"]
    explained = ExplainedNetwork.prepare(
        network,
        names,
        ImageSet.from_arrays(images),
        explain=ExplainOptions(reshape=reshape, output="logits"),
        device="cpu",
    )
    network = copy.deepcopy(explained.network).float().eval().requires_grad_(False)
    return network, [
        replace(layer, module=network.get_submodule(layer.name)) for layer in explained.layers
    ]


class Explained(nn.Module):
    """A network that returns its class scores and the heatmaps of a formula without gradients.

    Args:
        network: in evaluation mode.
        layers: target layers of it.
        expression: of the leaves A, C, y and p.
        fusion: of several layers.
        size: of the images.
        explained: the class; the predicted one if None.
        images: examples, by which a linear head is recognised.
    """

    def __init__(
        self,
        network: nn.Module,
        layers: list[Layer],
        expression: Expression,
        fusion: str | list[float],
        size: tuple[int, ...],
        explained: int | None,
        images: Tensor,
    ):
        super().__init__()
        program = Program(expression)
        self.network, self.heat = network, graph_of(program)
        self.names = [op.symbol for op in program.leaves]
        self.layers, self.fusion, self.size = layers, fusion, size
        self.explained = explained
        self.heads = []
        for layer in layers if "C" in self.names else []:
            seen = measure(network, layer.module, images, reshape=layer.reshape)
            every = torch.arange(seen.outputs.shape[1])
            self.heads.append(class_weights(network, seen.activations, seen.outputs, every))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """``scores [N,classes]`` and ``heatmaps [N,*size]`` in [0, 1]."""
        found: dict[int, Tensor] = {}

        def keep(index: int) -> Callable[[nn.Module, tuple, Tensor], None]:
            return lambda _module, _inputs, output: found.__setitem__(index, output)

        handles = [
            layer.module.register_forward_hook(keep(i)) for i, layer in enumerate(self.layers)
        ]
        try:
            scores = self.network(images)
        finally:
            for handle in handles:
                handle.remove()
        chosen = scores.argmax(1) if self.explained is None else None
        maps = []
        for i, layer in enumerate(self.layers):
            grid = to_map(found[i], layer.reshape, layer.module)
            depth = grid.shape[2] if grid.ndim == 5 else 1
            leaves = self._leaves(i, folded(grid), scores, chosen)
            maps.append(Heatmaps(*self.heat(*leaves, self.size, depth)))
        return scores, fuse(maps, self.fusion).maps[0]

    def _leaves(self, layer: int, A: Tensor, scores: Tensor, chosen: Tensor | None) -> list[Tensor]:
        """The leaves of a layer; ``chosen`` ``[N]`` are the classes, None for always the same."""

        def of_class(rows: Tensor) -> Tensor:
            if chosen is None:
                return rows[:, self.explained : self.explained + 1]
            return rows.gather(1, chosen[:, None])

        leaves = {"A": A}
        if not _OF_THE_CLASS.isdisjoint(self.names):
            p = scores.sigmoid() if scores.shape[1] == 1 else scores.softmax(1)
            leaves |= {"y": of_class(scores)[..., None, None], "p": of_class(p)[..., None, None]}
        if self.heads:
            head = self.heads[layer]
            rows = head[chosen] if chosen is not None else head[self.explained][None]
            leaves["C"] = rows[..., None, None]
        return [leaves[name] for name in self.names]


def _check_leaves(expression: Expression) -> None:
    names = [op.symbol for op in Program(expression).leaves]
    for name in names:
        if name not in _POSSIBLE:
            raise OptionError(
                f"{expression} cannot be one graph with the network: leaf {name} is "
                f"{_WHY.get(name, 'measured by SyCAM alone')}. Formulas of A, C, y and p can; "
                "for this one export a class (--base torch, grad-cam, torchcam, captum or quantus)"
            )


def _explained_class(settings: Mapping[str, Any], expression: Expression) -> int | None:
    """The class of a run's target; None for the predicted one."""
    target, output = settings["target"], output_of(settings)
    names = {op.symbol for op in Program(expression).leaves}
    if names.isdisjoint(_OF_THE_CLASS):
        return None
    if output not in (AUTO, LOGITS, str(USUAL)):
        raise OptionError(
            f"the run's network returns {output}; in one graph C, y and p are those of a network "
            "that returns logits of classes; export a class (--base torch)"
        )
    if target in ("predicted", "label"):
        return None
    if target.isdecimal():
        return int(target)
    raise OptionError(
        f"the run explains {target!r}; in one graph a formula of C, y or p explains the predicted "
        "class or one that is always the same; export a class (--base torch)"
    )


Run = Callable[[Tensor], tuple[Tensor, Tensor]]


def _write_program(whole: Explained, noise: Tensor, path: Path, facts: dict[str, str]) -> Run:
    program = _exported(whole, noise)
    lines = {f"{name}.txt": text for name, text in facts.items()}
    with _quiet():
        torch.export.save(program, path, extra_files=lines)
        return torch.export.load(path).module()


def _write_onnx(whole: Explained, noise: Tensor, path: Path, facts: dict[str, str]) -> Run | None:
    for package in ("onnx", "onnxscript"):
        try:
            importlib.import_module(package)
        except ImportError:
            raise OptionError(
                f"base 'onnx' needs the package {package}: pip install onnx onnxscript onnxruntime"
            ) from None
    program = _exported(whole, noise)
    size = sum(p.numel() * p.element_size() for p in whole.parameters())
    names = {"input_names": ["images"], "output_names": ["scores", "heatmaps"]}
    with _quiet(), _refusing("ONNX"):
        made = torch.onnx.export(program, (noise,), dynamo=True, verbose=False, **names)
        made.model.metadata_props.update({f"sycam.{k}": v for k, v in facts.items()})
        made.save(path, external_data=size > _WHOLE)
    try:
        runtime = importlib.import_module("onnxruntime")
    except ImportError:
        warnings.warn(
            "onnxruntime is not installed: the graph was written, but not compared with the "
            "network (pip install onnxruntime)",
            stacklevel=4,
        )
        return None
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda images: tuple(
        map(torch.from_numpy, session.run(None, {"images": images.numpy()}))
    )


def _exported(whole: Explained, noise: Tensor) -> torch.export.ExportedProgram:
    """The program, for any batch."""
    batch = {0: torch.export.Dim("batch", min=1)}
    with torch.no_grad(), _quiet(), _refusing("torch.export"):
        return torch.export.export(whole, (noise,), dynamic_shapes=(batch,), strict=False)


@contextmanager
def _refusing(what: str) -> Iterator[None]:
    try:
        yield
    except (SycamError, OSError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        reason = (str(error).strip() or "no reason given").splitlines()[0]
        raise RunError(
            f"{what} cannot say this network or formula for any batch: {type(error).__name__}: "
            f"{reason}; export a class (--base torch)"
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
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
        with _refusing("the graph"):
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
