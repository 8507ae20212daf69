"""The body of an exported module for pytorch-grad-cam, of a formula of several layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from pytorch_grad_cam.base_cam import BaseCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import Tensor, nn

from sycam.export.templates.formula_of_layers import saliency_map
from sycam.export.templates.layers import measure, modules_of
from sycam.heatmaps.heatmaps import finish

# --- exported from here on ---


class ExportedCAM(BaseCAM):
    """A class activation map of pytorch-grad-cam, by the formula in this module's docstring.

    It measures all layers in one forward and one backward pass of its own. Several threads may
    call one object. Other than the package's own, it leaves the gradients of the model's
    parameters as they are, and no hook on the model.

    Args:
        model: a classifier that returns ``(N, classes)``.
        target_layers: modules of the model in the order of LAYERS, or by the names in LAYERS; the
            layers of these names if None.
        reshape_transform: makes the layers' outputs maps, for transformers: one function for all,
            or one (or None) per layer.
        options: further ones of ``BaseCAM``.

    Example::

        with ExportedCAM(model) as cam:
            heatmaps = cam(images, targets=None)  # ndarray (N,H,W) in [0, 1]
    """

    def __init__(
        self,
        model: nn.Module,
        target_layers: Sequence[nn.Module] | Mapping[str, nn.Module] | None = None,
        reshape_transform: Callable | Sequence[Callable | None] | None = None,
        **options,
    ):
        # Without layers the package puts no hooks on the model.
        super().__init__(model, [], None, **{**options, "uses_gradients": False})
        self.target_layers = modules_of(model, target_layers)
        self.reshape_transform = reshape_transform

    def forward(
        self,
        input_tensor: Tensor,
        targets: Sequence[Callable] | None = None,
        eigen_smooth: bool = False,
    ) -> np.ndarray:
        """Heatmaps ``(N,H,W)`` in [0, 1]."""
        maps = self.compute_cam_per_layer(input_tensor, targets, eigen_smooth)
        return self.aggregate_multi_layers(maps)

    def compute_cam_per_layer(
        self,
        input_tensor: Tensor,
        targets: Sequence[Callable] | None,
        eigen_smooth: bool = False,
    ) -> list[np.ndarray]:
        """The formula's heatmaps ``(N,1,H,W)``, one entry for all layers together.

        A ``ClassifierOutputTarget`` counts as its class, None as the predicted ones.
        """
        if eigen_smooth:
            raise ValueError("eigen_smooth looks at the channels of one layer, not of several")
        count = len(input_tensor)
        wanted = [None] * count if targets is None else list(targets)
        wanted = [int(t.category) if type(t) is ClassifierOutputTarget else t for t in wanted]
        leaves, depth = measure(
            self.model,
            self.target_layers,
            input_tensor,
            wanted,
            columns=True,
            reshape=self.reshape_transform,
        )
        with torch.no_grad():
            sums = saliency_map(*leaves, depth)
            sums = torch.nan_to_num(sums, nan=0.0, posinf=0.0, neginf=0.0)
            maps = finish(sums[None], tuple(input_tensor.shape[2:]), depth)[0]
        return [maps[:, None].cpu().numpy()]
