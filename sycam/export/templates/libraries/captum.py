"""The body of an exported module for Captum: a layer attribution.

As it stands, :class:`ExportedCAM` is Grad-CAM. The exporter writes :class:`MeasuringCAM` as well
where the formula reads leaves that Captum does not measure.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from captum._utils.common import (
    _format_additional_forward_args,
    _format_output,
    _format_tensor_into_tuples,
)
from captum._utils.gradient import compute_layer_gradients_and_eval
from captum.attr import LayerAttribution
from captum.attr._utils.attribution import GradientAttribution
from captum.log import log_usage
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from sycam.export.templates.formula import LEAVES, weighted_sum
from sycam.export.templates.measuring import measure
from sycam.networks.passes import _Here, alone

# --- exported from here on ---


class OwnPasses:
    """A layer, for Captum to put hooks on that see this thread's passes only."""

    def __init__(self, layer: nn.Module):
        self._layer = layer

    def register_forward_hook(self, hook: Callable) -> RemovableHandle:
        return self._layer.register_forward_hook(_Here(hook))

    def register_forward_pre_hook(self, hook: Callable) -> RemovableHandle:
        return self._layer.register_forward_pre_hook(_Here(hook))


class ExportedCAM(LayerAttribution, GradientAttribution):
    """A layer attribution of Captum, by the formula in this module's docstring.

    Several threads may call one object, or several of one model: their passes wait for each other.

    Args:
        forward_func: the model, or a function around it.
        layer: the target layer.
        device_ids: of a ``DataParallel`` model.

    Example::

        cam = ExportedCAM(model, model.layer4)
        maps = cam.attribute(images, target=classes, relu_attributions=True)  # Tensor (N,1,h,w)
        maps = ExportedCAM.interpolate(maps, images.shape[2:], "bilinear")
    """

    def __init__(
        self, forward_func: Callable, layer: nn.Module, device_ids: list[int] | None = None
    ):
        LayerAttribution.__init__(self, forward_func, layer, device_ids)
        GradientAttribution.__init__(self, forward_func)

    @log_usage(part_of_slo=True)  # NoiseTunnel needs the function that it wraps
    def attribute(
        self,
        inputs: Tensor | tuple[Tensor, ...],
        target: int | Tensor | Sequence | tuple | None = None,
        additional_forward_args: object = None,
        attribute_to_layer_input: bool = False,
        relu_attributions: bool = False,
        grad_kwargs: dict | None = None,
    ) -> Tensor | tuple[Tensor, ...]:
        """``sum_k w_k A_k`` ``(N,1,h,w)`` at the layer; a tuple where the layer returns several.

        Args:
            inputs, target, additional_forward_args, attribute_to_layer_input, grad_kwargs: as for
                Captum's ``LayerGradCam``.
            relu_attributions: keep the positive part only, as CAMs do; Captum's default is not to.
        """
        found = self._leaves(
            _format_tensor_into_tuples(inputs),
            target,
            _format_additional_forward_args(additional_forward_args),
            attribute_to_layer_input,
            grad_kwargs,
        )
        with torch.no_grad():
            sums = tuple(_attribution(leaves, depth) for leaves, depth in found)
            if relu_attributions:
                sums = tuple(one.clamp(min=0) for one in sums)
        return _format_output(len(sums) > 1, sums)

    def _leaves(
        self,
        inputs: tuple[Tensor, ...],
        target: int | Tensor | Sequence | tuple | None,
        forward_args: object,
        of_layer_input: bool,
        grad_kwargs: dict | None,
    ) -> list[tuple[list[Tensor], int]]:
        """Activations and gradients, and the depth of the grid (1 for images)."""
        # DataParallel runs replicas in threads of its own, whose passes count.
        apart = not isinstance(self.forward_func, nn.DataParallel) and self.device_ids is None
        with alone():
            gradients, activations = compute_layer_gradients_and_eval(
                self.forward_func,
                [OwnPasses(self.layer)] if apart else [self.layer],
                inputs,
                target,
                forward_args,
                device_ids=self.device_ids,
                attribute_to_layer_input=of_layer_input,
                grad_kwargs=grad_kwargs,
            )
        (gradients,), (activations,) = gradients, activations
        found = []
        for G, A in zip(gradients, activations, strict=True):
            tensors = [{"A": A, "G": G}[name].detach() for name in LEAVES]
            depth = A.shape[2] if A.ndim == 5 else 1
            found.append(([t.flatten(2, 3) if t.ndim == 5 else t for t in tensors], depth))
        return found


def _attribution(leaves: Sequence[Tensor], depth: int) -> Tensor:
    """``(N,1,h,w)`` or ``(N,1,d,h,w)``; what overflowed counts as 0."""
    sums = torch.nan_to_num(weighted_sum(*leaves, depth), nan=0.0, posinf=0.0, neginf=0.0)
    return (sums.unflatten(1, (depth, -1)) if depth > 1 else sums)[:, None]


class MeasuringCAM(ExportedCAM):
    """The same for a formula that reads more than Captum measures, by passes of its own.

    The model itself must be given, with one input, and a class per image as the target.
    """

    def _leaves(
        self,
        inputs: tuple[Tensor, ...],
        target: int | Tensor | Sequence | tuple | None,
        forward_args: object,
        of_layer_input: bool,
        grad_kwargs: dict | None,
    ) -> list[tuple[list[Tensor], int]]:
        """All leaves, measured."""
        if not isinstance(self.forward_func, nn.Module):
            raise ValueError(
                f"leaves {', '.join(LEAVES)} are measured on the model itself: give a torch.nn."
                f"Module, got {type(self.forward_func).__name__}"
            )
        if len(inputs) > 1 or forward_args or of_layer_input or grad_kwargs:
            raise ValueError(
                f"leaves {', '.join(LEAVES)} are measured with one input and at the layer's "
                "output: no additional_forward_args, attribute_to_layer_input or grad_kwargs"
            )
        count = len(inputs[0])
        if target is None:
            measure(self.forward_func, self.layer, inputs[0][:1], [_the_only_one])
        classes = torch.as_tensor(0 if target is None else target).flatten()
        if len(classes) not in (1, count):
            raise ValueError(f"target must be one class, or one per image, got {target!r}")
        targets = classes.expand(count).tolist()
        return [measure(self.forward_func, self.layer, inputs[0], targets, columns=True)]


def _the_only_one(row: Tensor) -> Tensor:
    """The score that needs no target."""
    if len(row) > 1:
        raise ValueError(f"target is missing: the network has {len(row)} classes")
    return row[0]
