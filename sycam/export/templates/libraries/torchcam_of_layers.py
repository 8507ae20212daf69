"""The body of an exported module for TorchCAM, of a formula of several layers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torchcam.methods.core import _CAM

from sycam.export.templates.formula_of_layers import saliency_map
from sycam.export.templates.layers import measure, modules_of
from sycam.heatmaps.heatmaps import is_degenerate

# --- exported from here on ---


class ExportedCAM(_CAM):
    """An extractor of TorchCAM, by the formula in this module's docstring.

    It keeps the images of the last forward pass and measures all layers in one forward and one
    backward pass of its own. Several threads may use one object: each explains its own last pass.

    Args:
        model: a classifier that returns ``(N, classes)``.
        target_layer: the layers, by name or as modules, in the order of LAYERS or by the names in
            LAYERS; the layers of these names if None.
        input_shape: not read, as the layers have names.
        reshape_transform: makes the layers' outputs maps, for transformers: one function for all,
            or one (or None) per layer.
        options: further ones of TorchCAM's extractors.

    Example::

        with ExportedCAM(model) as extractor:
            scores = model(images)
            (heatmaps,) = extractor(scores.argmax(1).tolist(), scores)  # Tensor (N,h,w) in [0, 1]
    """

    def __init__(
        self,
        model: nn.Module,
        target_layer: Mapping[str, str | nn.Module] | Sequence[str | nn.Module] | None = None,
        input_shape: tuple[int, ...] = (3, 224, 224),
        reshape_transform: Callable | Sequence[Callable | None] | None = None,
        **options,
    ):
        self._of = threading.local()
        self._layers, self._reshape = modules_of(model, target_layer), reshape_transform
        super().__init__(model, self._layers, input_shape, **options)
        self._targets_supported = True
        self.remove_hooks()  # TorchCAM's, which record the layers
        hook = model.register_forward_pre_hook(self._keep_images, with_kwargs=True)
        self.hook_handles.append(hook)

    def _keep_images(self, _model: nn.Module, inputs: tuple, named: dict) -> None:
        mine = vars(self._of)
        if self._hooks_enabled and not mine.get("measuring"):
            mine["images"] = next(iter((*inputs, *named.values()))).detach()

    # By which TorchCAM tells whether the model has run, and on how many images.
    hook_a = property(
        lambda self: [vars(self._of).get("images")] * len(self.target_names),
        lambda self, _: vars(self._of).pop("images", None),
    )

    def __getstate__(self) -> dict:
        """For copies of the model, whose hooks lead here."""
        return {name: value for name, value in vars(self).items() if name != "_of"}

    def __setstate__(self, state: dict) -> None:
        vars(self).update(state, _of=threading.local())

    def compute_cams(
        self,
        class_idx: int | list[int] | None = None,
        scores: Tensor | None = None,
        normalized: bool = True,
        *,
        targets: Callable | list[Callable] | None = None,
        **_,
    ) -> list[Tensor]:
        """The formula's map ``(N,h,w)`` on the finest grid, the only entry; in [0, 1] if
        ``normalized``.

        Args:
            class_idx: the class explained, or one per image.
            scores: not read: the images of the last forward pass are measured again.
            normalized: whether the map is scaled to [0, 1].
            targets: callables from a row of outputs to a scalar, instead of classes.
        """
        wanted, mine = class_idx if targets is None else targets, vars(self._of)
        images = mine["images"]
        if not isinstance(wanted, list):
            wanted = [wanted] * len(images)
        mine["measuring"] = True
        try:
            leaves, depth = measure(
                self.model, self._layers, images, wanted, columns=True, reshape=self._reshape
            )
        finally:
            mine["measuring"] = False
        with torch.no_grad():
            sums = saliency_map(*leaves, depth)
            sums = torch.nan_to_num(sums, nan=0.0, posinf=0.0, neginf=0.0)
            cam = torch.where(is_degenerate(sums)[:, None, None], 0, sums.clamp(min=0))
            if normalized:
                # So that the 1e-8 that TorchCAM adds does not fade small maps.
                most = cam.amax((1, 2), keepdim=True)
                cam = self._normalize(cam / torch.where(most > 0, most, 1))
        return [cam]
