"""Import torchvision where its compiled operators do not load against the installed torch.

The grad-cam package imports torchvision at its top, and torchvision registers shape functions for
two compiled operators as it is imported. A build for another torch lacks them and fails there
("operator torchvision::nms does not exist"), although no test calls them: declaring their schemas
is enough. Where torchvision imports as it is, nothing is declared.
"""

from __future__ import annotations

import importlib
import sys

import torch

SCHEMAS = tuple(
    f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor" for name in ("nms", "qnms")
)
_declared: list[torch.library.Library] = []  # a library's operators live as long as it does


def import_torchvision() -> None:
    """Import torchvision, declaring the operators that it misses."""
    try:
        importlib.import_module("torchvision")
    except RuntimeError as error:
        if "operator torchvision::" not in str(error):
            raise
        for name in [n for n in sys.modules if n.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
        library = torch.library.Library("torchvision", "FRAGMENT")
        _declared.append(library)
        for schema in SCHEMAS:
            if not hasattr(torch.ops.torchvision, schema.partition("(")[0]):
                library.define(schema)
        importlib.import_module("torchvision")
