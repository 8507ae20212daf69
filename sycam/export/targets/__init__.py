"""The table of export targets; each is declared in a file of its own."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from sycam.export.target import ExportTarget
from sycam.export.targets import (
    adaptive,
    captum,
    grad_cam,
    onnx,
    quantus,
    torch,
    torch_export,
    torchcam,
)

_TABLE: tuple[ExportTarget, ...] = (
    torch.TARGET,
    grad_cam.TARGET,
    torchcam.TARGET,
    captum.TARGET,
    quantus.TARGET,
    onnx.TARGET,
    torch_export.TARGET,
    adaptive.TARGET,
)

TARGETS: Mapping[str, ExportTarget] = MappingProxyType({target.name: target for target in _TABLE})
