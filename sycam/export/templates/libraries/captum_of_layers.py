"""The body of an exported module for Captum, of a formula of several layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from captum._utils.common import _format_tensor_into_tuples
from captum.attr import LayerAttribution
from captum.attr._utils.attribution import GradientAttribution
from captum.log import log_usage
from torch import Tensor, nn

from sycam.export.templates.formula_of_layers import saliency_map
from sycam.export.templates.layers import measure, modules_of

# --- exported from here on ---


class ExportedCAM(LayerAttribution, GradientAttribution):
    """A layer attribution of Captum, by the formula in this module's docstring.

    It measures all layers in one forward and one backward pass of its own: the model itself must be
    given, with one input, and a class per image as the target. Several threads may call one
    object, or several of one model: their passes wait for each other.

    Args:
        forward_func: the model.
        layer: the target layers, modules of the model in the order of LAYERS, or by the names in
            LAYERS; the layers of these names if None.
        device_ids: None, as there is no ``DataParallel`` model.

    Example::

        cam = ExportedCAM(model)
        maps = cam.attribute(images, target=classes, relu_attributions=True)  # Tensor (N,1,h,w)
        maps = ExportedCAM.interpolate(maps, images.shape[2:], "bilinear")
    """

    def __init__(
        self,
        forward_func: nn.Module,
        layer: Sequence[nn.Module] | Mapping[str, nn.Module] | None = None,
        device_ids: list[int] | None = None,
    ):
        if not isinstance(forward_func, nn.Module):
            raise ValueError(
                "several layers are measured on the model itself: give a torch.nn.Module, got "
                f"{type(forward_func).__name__}"
            )
        layers = modules_of(forward_func, layer)
        LayerAttribution.__init__(self, forward_func, layers, device_ids)
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
    ) -> Tensor:
        """The formula's map ``(N,1,h,w)`` on the finest grid of its layers.

        Args:
            inputs: one tensor of images.
            target: a class, or one per image; not needed where the network has one output.
            additional_forward_args, attribute_to_layer_input, grad_kwargs: refused, as all layers
                are measured at their outputs.
            relu_attributions: keep the positive part only, as CAMs do; Captum's default is not to.
        """
        inputs = _format_tensor_into_tuples(inputs)
        further = additional_forward_args is not None
        if len(inputs) > 1 or further or attribute_to_layer_input or grad_kwargs:
            raise ValueError(
                "several layers are measured with one input and at their outputs: no "
                "additional_forward_args, attribute_to_layer_input or grad_kwargs"
            )
        (images,) = inputs
        wanted = [_the_only_one] * len(images)
        if target is not None:
            classes = torch.as_tensor(target).flatten()
            if len(classes) not in (1, len(images)):
                raise ValueError(f"target must be one class, or one per image, got {target!r}")
            wanted = classes.expand(len(images)).tolist()
        leaves, depth = measure(self.forward_func, self.layer, images, wanted, columns=True)
        with torch.no_grad():
            sums = saliency_map(*leaves, depth)
            sums = torch.nan_to_num(sums, nan=0.0, posinf=0.0, neginf=0.0)[:, None]
            return sums.clamp(min=0) if relu_attributions else sums


def _the_only_one(row: Tensor) -> Tensor:
    """The score that needs no target."""
    if len(row) > 1:
        raise ValueError(f"target is missing: the network has {len(row)} classes")
    return row[0]
