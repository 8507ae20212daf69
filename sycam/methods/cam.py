"""A class activation map that can be reused: network, layer and formula in one object."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from numbers import Integral

import numpy as np
import torch
from torch import Tensor, nn

from sycam.data.image_set import form_hint
from sycam.errors import BlankHeatmapWarning, DataError, ExpressionError, NetworkError, OptionError
from sycam.evidence import (
    SOUGHT,
    Examples,
    Layer,
    Layers,
    as_layers,
    find_layer,
    measure_leaves,
    read_outputs,
    stacked,
)
from sycam.evidence.capture import BATCH
from sycam.heatmaps import Fusion, Heatmaps, check_fusion
from sycam.heatmaps.measured import Measured
from sycam.inference import Classifier
from sycam.language import Expression, heatmap_latex
from sycam.methods.published import Method, find_method
from sycam.metrics import Context
from sycam.networks.layouts.reshaping import Reshape
from sycam.networks.output_forms import AUTO, parse_output
from sycam.networks.readings import PROBES
from sycam.networks.untouched import device_of, dtype_of, uncompiled
from sycam.support.content_digest import tensor_digest
from sycam.targets.class_targets import parse_target
from sycam.targets.resolve import Target, is_callable, part_of, read_as, resolve


class CAM:
    """Heatmaps of a network by a formula.

    The network is used as it is at the time of the call and left as it was; nothing stays hooked
    on it between calls. Several threads may call one object, or several of one network: their
    passes wait for each other. What other threads do to the network meanwhile, without SyCAM, is
    theirs to keep right, see :func:`sycam.networks.untouched` and ``docs/troubleshooting.md``.

    Args:
        network: a classifier that returns ``(N, classes)``; any network, if the targets are
            callables. Of a wrapper of ``torch.compile`` the network inside is explained.
        layer: the target layer, by name or as a module of the network, ``"auto"`` or ``"last"``;
            or several, whose heatmaps are fused. A formula that names the layers that it reads
            stands in its place.
        formula: an expression (``"mean(relu(G)) * max(A)"``), a named method (``"grad-cam"``) or
            an :class:`~sycam.language.Expression`.
        reshape: makes the layer's output a map: ``"tokens:prefix=1,grid=8x16"`` (vision
            transformers), ``"channels-last"`` (Swin), ``"channels-first"``, or a function to
            ``(N,K,h,w)``. Told by a pass of the first images if None.
        fusion: of several layers: ``"mean"``, ``"max"``, ``"product"``, or one weight per layer.
        compile: compile the formula by ``torch.compile`` at the first call, which takes seconds;
            without a compiler it runs as it is, with a warning.
        output: what the network's outputs are, see :func:`sycam.synthesize`; told at the first
            call where it is ``"auto"``.

    Raises:
        ExpressionError, UnknownNameError, LayerError: where one of them cannot be used.

    Example:
        >>> from torch import nn
        >>> net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2))
        >>> CAM(net, "1", "mean(G)")(torch.rand(5, 3, 8, 8)).shape
        torch.Size([5, 8, 8])
        >>> net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 6, 2),
        ...                     nn.ReLU(), nn.Flatten(), nn.Linear(24, 2))
        >>> CAM(net, "cam[1](relu(G)) * cam[4](mean(G))")(torch.rand(5, 3, 8, 8)).shape
        torch.Size([5, 8, 8])
    """

    def __init__(
        self,
        network: nn.Module,
        layer: Layers | Expression | Method,
        formula: str | Expression | Method | None = None,
        reshape: Reshape = None,
        fusion: Fusion = "mean",
        compile: bool = False,
        output: str = AUTO,
    ):
        if not isinstance(network, nn.Module):
            raise NetworkError(
                f"the network must be a torch.nn.Module, got {type(network).__name__}"
            )
        self.method, wanted = _asked(network, layer, formula)
        self.network, self.reshape = uncompiled(network), reshape
        self._wanted = as_layers(wanted)
        self.fusion = check_fusion(fusion, len(self._wanted))
        self._layers: list[Layer] | None = None
        parse_output(output)
        self._output, self._reading = output, None
        self._fused = self._compiled() if compile else None
        sought = any(one in SOUGHT for one in self._wanted if isinstance(one, str))
        self._layers = None if sought else self._find(torch.empty(0))
        self._laid_out: dict[tuple[int, ...], list[Layer]] = {}  # by the size of the images

    def __call__(self, images: Tensor, targets: Target = None, batch: int = BATCH) -> Tensor:
        """Heatmaps of the images.

        Args:
            images: ``[N,C,H,W]`` (or volumes ``[N,C,D,H,W]``) in the network's input scale.
            targets: what is explained: a class for all images, one per image, a target of
                :mod:`sycam.targets` or its text, or callables from one row of outputs to a
                scalar; the predicted class if None.
            batch: images per forward pass; the result does not depend on it.

        Returns:
            Tensor[N,H,W] (``[N,D,H,W]``) in [0, 1] on the images' device; zeros where flat, which
            a :class:`~sycam.errors.BlankHeatmapWarning` says.

        Raises:
            DataError: images or targets that cannot be used.
            LayerError: a leaf of the formula cannot be had at this layer.
            ExpressionError: the formula overflows on these images.
        """
        volumes = isinstance(images, Tensor) and images.ndim == 5
        if not isinstance(images, Tensor):
            hint = "; take torch.from_numpy(images)" if isinstance(images, np.ndarray) else ""
            raise DataError(
                f"images must be a float tensor (N,C,H,W), got {type(images).__name__}{hint}"
            )
        if images.ndim not in (4, 5):
            raise DataError(
                f"images must be a float tensor (N,C,H,W), got {tuple(images.shape)}"
                f"{form_hint(images)}"
            )
        if not images.is_floating_point():
            raise DataError(f"images must be a float tensor (N,C,H,W), got {images.dtype}")
        if not len(images):
            raise DataError("no images were given")
        if not isinstance(batch, Integral) or batch < 1:
            raise OptionError(f"batch must be a positive integer, got {batch!r}")
        if isinstance(targets, str):
            targets = parse_target(targets)
        probes = slice(0, 2 if volumes else PROBES)
        if is_callable(targets):
            reading, _ = read_outputs(self.network, images[probes], self._output, targets)
        else:
            if self._reading is None:
                self._reading, _ = read_outputs(self.network, images[probes], self._output)
            reading = self._reading
        targets = read_as(targets, reading)
        layers = self._layers_for(images[probes], part_of(targets, len(images), probes))
        classifier = Classifier(self.network, reading=reading) if self.method.runs else None
        batches, blank = [], 0
        for start in range(0, len(images), batch):
            part = slice(start, start + batch)
            wanted = part_of(targets, len(images), part)
            pixels = images[part].to(device_of(self.network), dtype_of(self.network))
            made = self._heatmaps(layers, pixels, wanted, classifier)
            batches.append(made.maps[0])
            blank += int(made.degenerate[0].sum())
        if blank:
            warnings.warn(
                f"{blank} of {len(images)} heatmaps are blank: {self.method.name} is the same at "
                f"all places of layer {self.layer}, mostly since nothing there speaks for what is "
                "explained; take another class, a layer after its ReLU (or 'auto'), or for what "
                "speaks against it neg(...); docs/troubleshooting.md has more",
                BlankHeatmapWarning,
                stacklevel=2,
            )
        return torch.cat(batches).to(images.device)

    def _find(self, probes: Tensor, targets: Target = None) -> list[Layer]:
        found = None if self._layers is None else [layer.name for layer in self._layers]
        return [
            find_layer(self.network, one, probes, self.reshape, targets)
            for one in found or self._wanted
        ]

    def _layers_for(self, probes: Tensor, targets: Target) -> list[Layer]:
        """The layers, with the layout that their outputs have for images of this size."""
        size = tuple(probes.shape[1:])
        if size not in self._laid_out:
            self._laid_out[size] = self._find(probes, targets)
        self._layers = self._layers or self._laid_out[size]
        return self._laid_out[size]

    def _heatmaps(
        self,
        layers: Sequence[Layer],
        images: Tensor,
        targets: Target,
        classifier: Classifier | None,
    ) -> Heatmaps:
        measured = measure_leaves(
            self.network,
            layers,
            Examples(images),
            self.method.leaves,
            targets,
            batch=len(images),
        )
        evidence = stacked(measured, self.fusion)
        if self._fused is not None:
            made = self._fused(evidence, tuple(images.shape[2:]))
        else:
            context = Context(
                images,
                evidence.targets,
                evidence.probability,
                classifier,  # type: ignore[arg-type]  # only a method that runs it reads it
                # Only random weights, a direct method, are drawn by an image's content.
                () if self.method.direct is None else [tensor_digest(image) for image in images],
                explained=resolve(targets, evidence.outputs, len(images)),
            )
            made = self.method.heatmaps(evidence, context)
        if not made.finite.all():
            raise ExpressionError(
                f"{self.method.formula} overflows on these images: its values leave the floating "
                "range; use a tamer formula (symlog, normalize), or float64"
            )
        return made

    def _compiled(self) -> Callable[[Measured, tuple[int, ...]], Heatmaps]:
        if self.expression is None:
            raise ExpressionError(
                f"method {self.method.name!r} is computed directly: there is nothing to compile"
            )
        from sycam.heatmaps.compiled import compiled_maps  # sympy takes half a second to import

        return compiled_maps(self.expression)

    def __enter__(self) -> CAM:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to undo: no hook outlives a call."""

    @property
    def expression(self) -> Expression | None:
        """The formula; None for a method that no expression can say."""
        return self.method.expression

    @property
    def layer(self) -> str:
        """Name of the target layer, or the names of several."""
        if self._layers is None:
            return " + ".join(one if isinstance(one, str) else "…" for one in self._wanted)
        return " + ".join(layer.name for layer in self._layers)

    @property
    def latex(self) -> str | None:
        """The formula of the heatmap in LaTeX; None for a method that no expression can say."""
        return None if self.expression is None else heatmap_latex(self.expression)

    def __repr__(self) -> str:
        formula = self.method.name if self.expression is None else str(self.expression)
        return f"CAM({type(self.network).__name__}, {self.layer!r}, {formula!r})"


def _asked(
    network: nn.Module,
    layer: Layers | Expression | Method,
    formula: str | Expression | Method | None,
) -> tuple[Method, Layers]:
    """The method and its layers, which a formula may name itself."""
    if formula is None:
        named = isinstance(layer, str) and (
            layer in SOUGHT or layer in dict(network.named_modules())
        )
        if named or not isinstance(layer, str | Expression | Method):
            raise OptionError("a formula is needed beside the layer: CAM(network, layer, formula)")
        method = find_method(layer)
        if not method.sites:
            raise OptionError(
                f"{method.formula} does not say at which layer: write CAM(network, layer, "
                "formula), or name layers in it, like cam[layer4](mean(G))"
            )
        return method, method.sites
    method = find_method(formula)
    if method.sites:
        raise OptionError(
            f"{method.formula} names the layers that it reads itself; leave out layer: "
            "CAM(network, formula)"
        )
    if isinstance(layer, Expression | Method):
        raise OptionError(f"layer must be a name or a module of the network, got {layer!r:.80}")
    return method, layer
