"""The body of an exported module for pytorch-grad-cam: a subclass of its ``BaseCAM``.

As it stands, :class:`ExportedCAM` is Grad-CAM. The exporter writes :class:`MeasuringCAM` as well
where the formula reads leaves that the package does not record.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import numpy as np
import torch
from pytorch_grad_cam.activations_and_gradients import ActivationsAndGradients
from pytorch_grad_cam.base_cam import BaseCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from pytorch_grad_cam.utils.svd_on_activations import get_2d_projection
from torch import Tensor, nn

from sycam.export.templates.formula import LEAVES, weighted_maps
from sycam.export.templates.measuring import measure
from sycam.heatmaps.heatmaps import finish
from sycam.networks.passes import alone

# --- exported from here on ---

RESHAPE: Callable | None = None  # makes a map of the output of the layer that the formula is for


class ThreadsApart(ActivationsAndGradients):
    """What the package records, for each thread's own passes through it and no others."""

    def __init__(self, *arguments, **options):
        self._of = threading.local()
        super().__init__(*arguments, **options)

    def __call__(self, x: Tensor) -> Tensor:
        mine = vars(self._of)
        mine.update(recording=True, edges=[])
        try:
            return super().__call__(x)
        finally:
            mine["recording"] = False

    def gradients_of(self, loss: Tensor) -> None:
        """Record the gradients at the layers; no parameter receives one."""
        edges = vars(self._of).pop("edges")
        if edges and loss.requires_grad:
            found = torch.autograd.grad(loss, edges, retain_graph=True, allow_unused=True)
            whole = all(gradient is not None for gradient in found)
            self.gradients = [self._plain(g) for g in found] if whole else []

    def save_activation(self, module: nn.Module, inputs: tuple, output: Tensor) -> None:
        if vars(self._of).get("recording"):
            super().save_activation(module, inputs, output)

    def save_gradient(self, module: nn.Module, inputs: tuple, output: Tensor) -> Tensor | None:
        mine = vars(self._of)  # on a GPU, the backward pass runs in a thread of torch's
        if not mine.get("recording") or not isinstance(output, Tensor):
            return None
        if output.requires_grad:
            mine["edges"].append(torch.autograd.graph.get_gradient_edge(output))
            output.register_hook(lambda g: mine["gradients"].insert(0, self._plain(g)))
        return output.clone()  # what follows may overwrite it in place

    def _plain(self, gradient: Tensor) -> Tensor:
        if not self.detach:
            return gradient
        if self.reshape_transform is not None:
            gradient = self.reshape_transform(gradient)
        return gradient.cpu().detach()

    @property
    def activations(self) -> list[Tensor]:
        return vars(self._of).setdefault("activations", [])

    @activations.setter
    def activations(self, value: list[Tensor]) -> None:
        vars(self._of)["activations"] = value

    @property
    def gradients(self) -> list[Tensor]:
        return vars(self._of).setdefault("gradients", [])

    @gradients.setter
    def gradients(self, value: list[Tensor]) -> None:
        vars(self._of)["gradients"] = value

    def __getstate__(self) -> dict:
        """For copies of the model, whose hooks lead here."""
        return {name: value for name, value in vars(self).items() if name != "_of"}

    def __setstate__(self, state: dict) -> None:
        vars(self).update(state, _of=threading.local())


class ExportedCAM(BaseCAM):
    """A class activation map of pytorch-grad-cam, by the formula in this module's docstring.

    Several threads may call one object. Other than the package's own, it leaves the gradients of
    the model's parameters as they are.

    Args:
        model: a classifier that returns ``(N, classes)``.
        target_layers: one or several; their maps are averaged, as the package does.
        reshape_transform: makes a layer's output a map, for transformers; this module's own, if
            it has one, where None.
        options: further ones of ``BaseCAM``.

    Example::

        with ExportedCAM(model, [model.layer4]) as cam:
            heatmaps = cam(images, targets=None)  # ndarray (N,H,W) in [0, 1]
    """

    def __init__(
        self,
        model: nn.Module,
        target_layers: list[nn.Module],
        reshape_transform: Callable | None = None,
        **options,
    ):
        reshape_transform = reshape_transform or RESHAPE
        options.setdefault("uses_gradients", "G" in LEAVES)
        super().__init__(model, target_layers, reshape_transform, **options)
        self.activations_and_grads.release()
        self.activations_and_grads = ThreadsApart(
            model, target_layers, reshape_transform, self.detach
        )

    def forward(
        self, input_tensor: Tensor, targets: Sequence[Callable] | None, eigen_smooth: bool = False
    ) -> np.ndarray:
        """Heatmaps ``(N,H,W)`` in [0, 1], as the package computes them."""
        with alone():
            if not (self.uses_gradients and self.detach):
                return super().forward(input_tensor, targets, eigen_smooth)
            images = input_tensor.to(self.device)
            if self.compute_input_gradient:
                images = images.detach().requires_grad_()
            self.outputs = outputs = self.activations_and_grads(images)
            if targets is None:
                targets = [ClassifierOutputTarget(c) for c in outputs.argmax(-1).tolist()]
            loss = sum(target(output) for target, output in zip(targets, outputs, strict=False))
            self.activations_and_grads.gradients_of(loss)
            maps = self.compute_cam_per_layer(images, targets, eigen_smooth)
            return self.aggregate_multi_layers(maps)

    def get_cam_image(
        self,
        input_tensor: Tensor,
        target_layer: nn.Module,
        targets: Sequence[Callable],
        activations: np.ndarray | None,
        grads: np.ndarray | None,
        eigen_smooth: bool = False,
    ) -> np.ndarray:
        """Heatmaps ``(N,H,W)`` in [0, 1] of a layer; with ``eigen_smooth`` the first principal
        component of ``w_k A_k``, ``(N,h,w)``.

        They have the images' size already, so that the package's resizing and scaling, which adds
        1e-7 to small maps, change nothing.
        """
        leaves, depth = self._leaves(input_tensor, target_layer, targets, activations, grads)
        with torch.no_grad():
            maps = weighted_maps(*leaves, depth)
            if eigen_smooth:
                if maps.shape[1] == 1 or input_tensor.ndim == 5:
                    raise ValueError("eigen_smooth needs images and a formula of channel weights")
                return get_2d_projection(maps.cpu().numpy())
            sums = torch.nan_to_num(maps.sum(1), nan=0.0, posinf=0.0, neginf=0.0)
            return finish(sums[None], tuple(input_tensor.shape[2:]), depth)[0].cpu().numpy()

    def _leaves(
        self,
        input_tensor: Tensor,
        target_layer: nn.Module,
        targets: Sequence[Callable],
        activations: np.ndarray | None,
        grads: np.ndarray | None,
    ) -> tuple[list[Tensor], int]:
        """What the package has recorded, and the depth of the layer's grid (1 for images)."""
        found = {"A": activations, "G": grads}
        for name in LEAVES:
            if found[name] is None:
                raise ValueError(
                    f"nothing was recorded as {name} at {type(target_layer).__name__}: the target "
                    "does not depend on this layer, or nothing before it needs a gradient (then "
                    "give compute_input_gradient=True)"
                )
        tensors = [torch.from_numpy(found[name]) for name in LEAVES]
        depth = tensors[0].shape[2] if tensors[0].ndim == 5 else 1
        return [t.flatten(2, 3) if t.ndim == 5 else t for t in tensors], depth


class MeasuringCAM(ExportedCAM):
    """The same for a formula that reads more than the package records.

    It measures all leaves by passes of its own through the model, with no hook in between.
    """

    def __init__(
        self,
        model: nn.Module,
        target_layers: list[nn.Module],
        reshape_transform: Callable | None = None,
        **options,
    ):
        super().__init__(model, target_layers, None, **{**options, "uses_gradients": False})
        self.activations_and_grads.release()
        if reshape_transform is not None:
            raise ValueError(
                f"leaves {', '.join(LEAVES)} are measured at layers with an output (N,K,h,w): "
                "there is no reshape_transform"
            )

    def _leaves(
        self,
        input_tensor: Tensor,
        target_layer: nn.Module,
        targets: Sequence[Callable],
        activations: np.ndarray | None,
        grads: np.ndarray | None,
    ) -> tuple[list[Tensor], int]:
        """All leaves, measured; a ``ClassifierOutputTarget`` counts as its class."""
        targets = [int(t.category) if type(t) is ClassifierOutputTarget else t for t in targets]
        return measure(self.model, target_layer, input_tensor, targets, columns=True)
