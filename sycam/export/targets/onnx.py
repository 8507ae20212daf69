"""Network and heatmaps as one ONNX graph."""

from __future__ import annotations

import importlib
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sycam.errors import OptionError
from sycam.export.graph import GraphTarget, Run, exported, quiet, refusing
from sycam.export.summaries import SUMMARIES

_WHOLE = 2**30  # bytes of parameters up to which an ONNX file holds them itself


def to_file(whole: nn.Module, noise: Tensor, path: Path, facts: dict[str, str]) -> Run | None:
    """Write the graph; what runs it, or None without ONNX Runtime."""
    for package in ("onnx", "onnxscript"):
        try:
            importlib.import_module(package)
        except ImportError:
            raise OptionError(
                f"base 'onnx' needs the package {package}: pip install onnx onnxscript onnxruntime"
            ) from None
    program = exported(whole, noise)
    size = sum(p.numel() * p.element_size() for p in whole.parameters())
    with quiet(), refusing("ONNX"):
        made = torch.onnx.export(
            program,
            (noise,),
            dynamo=True,
            verbose=False,
            input_names=["images"],
            output_names=["scores", "heatmaps"],
            custom_translation_table={torch.ops.aten.sort.stable: _sorted},
        )
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


def _sorted(
    values: Any, *, stable: bool | None = None, dim: int = -1, descending: bool = False
) -> Any:
    """``torch.sort`` in ONNX, whose TopK puts the first of equal values first; the exporter knows
    it without ``stable`` alone."""
    onnx = importlib.import_module("onnxscript").opset18
    count = onnx.Gather(onnx.Shape(values), onnx.Constant(value_ints=[dim]), axis=0)
    return onnx.TopK(values, count, axis=dim, largest=int(descending), sorted=1)


TARGET = GraphTarget(
    "onnx",
    ".onnx",
    "one ONNX graph",
    SUMMARIES["onnx"],
    to_file,
)
