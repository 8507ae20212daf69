"""The body of an exported module for TorchCAM: a subclass of its extractors.

As it stands, :class:`ExportedCAM` is Grad-CAM. The exporter writes :class:`MeasuringCAM` as well
where the formula reads leaves that TorchCAM does not record.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torchcam.methods.gradient import _GradCAM

from sycam.export.templates.formula import LEAVES, weighted_sum
from sycam.export.templates.measuring import measure
from sycam.heatmaps.heatmaps import is_degenerate

# --- exported from here on ---

RESHAPE: Callable | None = None  # makes a map of the output of the layer that the formula is for


class ExportedCAM(_GradCAM):
    """An extractor of TorchCAM, by the formula in this module's docstring.

    Several threads may use one object: each explains its own last forward pass.

    Args:
        model: a classifier that returns ``(N, classes)``.
        target_layer: by name or as a module, or a list of these; found by TorchCAM if None.
        input_shape: of one image, for the search of a layer.
        options: further ones of TorchCAM's extractors.

    Example::

        with ExportedCAM(model, "layer4") as extractor:
            scores = model(images)
            (heatmaps,) = extractor(scores.argmax(1).tolist(), scores)  # Tensor (N,h,w) in [0, 1]
    """

    def __init__(
        self,
        model: nn.Module,
        target_layer: nn.Module | str | list[nn.Module | str] | None = None,
        input_shape: tuple[int, ...] = (3, 224, 224),
        **options,
    ):
        self._of = threading.local()
        if RESHAPE is not None:
            options.setdefault("reshape_transform", RESHAPE)
        super().__init__(model, target_layer, input_shape, **options)
        self._score_used = "G" in LEAVES

    def _mine(self, name: str) -> list:
        """A record of this thread's passes, an entry per layer."""
        return vars(self._of).setdefault(name, [None] * len(self.target_names))

    hook_a = property(
        lambda self: self._mine("activations"),
        lambda self, value: vars(self._of).update(activations=value),
    )
    hook_g = property(
        lambda self: self._mine("gradients"),
        lambda self, value: vars(self._of).update(gradients=value),
    )
    _hook_outputs = property(
        lambda self: self._mine("outputs"),
        lambda self, value: vars(self._of).update(outputs=value),
    )

    def _hook_g(self, module: nn.Module, inputs: tuple, output: Tensor, idx: int = 0) -> Tensor:
        """The last hook: what follows gets a copy, which it may overwrite in place."""
        super()._hook_g(module, inputs, output, idx)
        return output.clone()

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
        **options,
    ) -> list[Tensor]:
        """``relu(sum_k w_k A_k)`` ``(N,h,w)`` of each layer, in [0, 1] if ``normalized``.

        Args:
            class_idx: the class explained, or one per image.
            scores: what the model returned.
            normalized: whether each map is scaled to [0, 1].
            targets: callables from a row of outputs to a scalar, instead of classes.
            options: ``retain_graph``, to explain the same scores again.
        """
        cams = []
        for leaves, depth in self._leaves(class_idx, scores, targets, **options):
            with torch.no_grad():
                sums = weighted_sum(*leaves, depth)
                sums = torch.nan_to_num(sums, nan=0.0, posinf=0.0, neginf=0.0)
                flat = is_degenerate(sums)[:, None, None]
                cam = torch.where(flat, 0, sums.clamp(min=0))
                if normalized:
                    # So that the 1e-8 that TorchCAM adds does not fade small maps.
                    most = cam.amax((1, 2), keepdim=True)
                    cam = self._normalize(cam / torch.where(most > 0, most, 1))
            cams.append(cam.unflatten(1, (depth, -1)) if depth > 1 else cam)
        return cams

    def _leaves(
        self,
        class_idx: int | list[int] | None,
        scores: Tensor | None,
        targets: Callable | list[Callable] | None,
        **options,
    ) -> list[tuple[list[Tensor], int]]:
        """What TorchCAM records, and the depth of the grid (1 for images), layer by layer."""
        if "G" in LEAVES:
            self._backprop(scores, class_idx, targets=targets, **options)
        found = []
        for recorded in zip(self.hook_a, self.hook_g, strict=True):
            by_name = dict(zip(("A", "G"), recorded, strict=True))
            depth = by_name["A"].shape[2] if by_name["A"].ndim == 5 else 1
            tensors = [by_name[name] for name in LEAVES]
            found.append(([t.flatten(2, 3) if t.ndim == 5 else t for t in tensors], depth))
        return found


class MeasuringCAM(ExportedCAM):
    """The same for a formula that reads more than TorchCAM records.

    It keeps the images of the last forward pass and measures all leaves by passes of its own.
    """

    def __init__(
        self,
        model: nn.Module,
        target_layer: nn.Module | str | list[nn.Module | str] | None = None,
        input_shape: tuple[int, ...] = (3, 224, 224),
        **options,
    ):
        if options.get("reshape_transform") is not None:
            raise ValueError(
                f"leaves {', '.join(LEAVES)} are measured at layers with an output (N,K,h,w): "
                "there is no reshape_transform"
            )
        super().__init__(model, target_layer, input_shape, **options)
        self._score_used = False
        hook = model.register_forward_pre_hook(self._keep_images, with_kwargs=True)
        self.hook_handles.append(hook)

    def _keep_images(self, _model: nn.Module, inputs: tuple, named: dict) -> None:
        if self._hooks_enabled:
            vars(self._of)["images"] = next(iter((*inputs, *named.values()))).detach()

    @property
    def _hooks_enabled(self) -> bool:
        """Off for the passes that measure, in this thread alone."""
        return self._enabled and not vars(self._of).get("measuring", False)

    @_hooks_enabled.setter
    def _hooks_enabled(self, value: bool) -> None:
        self._enabled = value

    def _leaves(
        self,
        class_idx: int | list[int] | None,
        scores: Tensor | None,
        targets: Callable | list[Callable] | None,
        **_,
    ) -> list[tuple[list[Tensor], int]]:
        """All leaves, measured on the images of the last forward pass."""
        wanted, mine = class_idx if targets is None else targets, vars(self._of)
        images = mine["images"]
        if not isinstance(wanted, list):
            wanted = [wanted] * len(images)
        layers = [self.submodule_dict[name] for name in self.target_names]
        mine["measuring"] = True
        try:
            return [measure(self.model, layer, images, wanted, columns=True) for layer in layers]
        finally:
            mine["measuring"] = False
