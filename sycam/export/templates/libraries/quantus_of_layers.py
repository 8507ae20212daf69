"""The end of an exported module for Quantus, of a formula of several layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import nn

from sycam.export.templates.standalone_of_layers import ExportedCAM

# --- exported from here on ---


def explain(
    model: nn.Module,
    inputs: np.ndarray,
    targets: Sequence[int] | np.ndarray,
    layers: Mapping[str, str] | Sequence[str] | None = None,
    device: str | None = None,
    batch: int = 32,
    **_,
) -> np.ndarray:
    """Heatmaps ``(N,1,H,W)`` in [0, 1], as Quantus asks an ``explain_func`` for them.

    The layers are looked up by their names on the model that is given: Quantus gives copies with
    other weights. Its own options for explanations are ignored.

    Args:
        model: a classifier that returns ``(N, classes)``.
        inputs: ``(N,C,H,W)``.
        targets: N classes.
        layers: names of the target layers, by those in LAYERS or in their order; the layers of
            these names if None; ``explain_func_kwargs={"layers": ...}`` sets it.
        device: where the images are moved; where the model is if None.
        batch: images a forward pass; the result does not depend on it.
    """
    first = next(model.parameters(), torch.empty(0))
    images = torch.as_tensor(np.asarray(inputs)).to(device or first.device, first.dtype)
    with ExportedCAM(model, layers) as cam:
        maps = cam(images, [int(target) for target in targets], batch=batch)
    return maps[:, None].float().cpu().numpy()
