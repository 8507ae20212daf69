"""What the network says about the images: one forward pass, one backward pass to the layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from sycam.errors import DataError, LayerError, OptionError, unknown_name
from sycam.evidence.layer import SHARED, Layer, layer_of
from sycam.networks.backward import QUANTISED, differentiate, scripted, where_lost
from sycam.networks.forward import forward, returned
from sycam.networks.layouts.reshaping import folded, to_map
from sycam.networks.output_forms import AUTO, LOGITS, PROBABILITIES, SOFTMAX, parse_output
from sycam.networks.outputs import (
    check_outputs,
    probabilities,
    tensors,
)
from sycam.networks.passes import hooked
from sycam.networks.readings import USUAL, Reading, Watched, told
from sycam.networks.untouched import device_of, dtype_of, untouched
from sycam.support.arguments import argument
from sycam.support.mapped_tensor import blank
from sycam.targets.resolve import Target, is_callable, part_of, reading_of, resolve
from sycam.targets.resolved import Resolved

BATCH = 32
_NAMED = 4  # layers inside another that a message names, the last of them


def layer_named(layers: Sequence[Evidence], name: str) -> Evidence:
    """The evidence of the layer of a name.

    Raises:
        UnknownNameError: it was not measured.
    """
    for layer in layers:
        if layer.name == name:
            return layer
    raise unknown_name("layer", name, [layer.name for layer in layers], "measure it as well")


@dataclass(frozen=True)
class Evidence:
    """Measurements on N images, all on one device.

    Attributes:
        activations: ``[N,K,h,w]`` output of the target layer (``[N,K,d*h,w]`` for volumes).
        gradients: of the target's score with respect to the activations, the same shape.
        outputs: ``[N, classes]`` class scores: logits, whatever the network returns; None where
            callables explain a network that returns something else.
        targets: ``[N]`` int64, the class explained.
        others: further leaves by name: a map as the activations are, a weight ``[N,K,1,1]``, a
            heat ``[N,1,h,w]``, a scalar ``[N,1,1,1]``.
        depth: slices of the layer's grid, 1 for images.
        name: of the layer, by which formulas of several layers read it; empty where it is not
            known.
    """

    activations: Tensor
    gradients: Tensor
    outputs: Tensor | None
    targets: Tensor
    others: Mapping[str, Tensor] = field(default_factory=dict)
    depth: int = 1
    name: str = ""

    def __len__(self) -> int:
        return len(self.activations)

    @property
    def differentiated(self) -> bool:
        """Whether there was a backward pass, so that gradients are known."""
        return not bool(self.gradients.flatten()[:1].isnan().any())

    @property
    def leaves(self) -> dict[str, Tensor]:
        """All measurements by the names of their leaves."""
        return {"activations": self.activations, "gradients": self.gradients, **self.others}

    @property
    def layers(self) -> tuple[Evidence, ...]:
        """This evidence as that of one layer: see :class:`sycam.evidence.stack.Stack`."""
        return (self,)

    def at(self, name: str) -> Evidence:
        """The evidence of the layer of a name.

        Raises:
            UnknownNameError: it was not measured.
        """
        return layer_named(self.layers, name)

    @property
    def fusion(self) -> str:
        """How the heatmaps of one layer become one."""
        return "mean"

    @property
    def probability(self) -> Tensor:
        """``[N]`` probability of the class explained, on the clean images."""
        return self.others["probability"].flatten()

    def subset(self, index: Tensor | slice) -> Evidence:
        """The measurements on some of the images."""
        return Evidence(
            self.activations[index],
            self.gradients[index],
            None if self.outputs is None else self.outputs[index],
            self.targets[index],
            {name: tensor[index] for name, tensor in self.others.items()},
            self.depth,
            self.name,
        )


def measure(
    network: nn.Module,
    layer: Layer | nn.Module,
    images: Tensor,
    target: Target = "predicted",
    labels: Tensor | None = None,
    batch: int = BATCH,
    progress: Callable[[int], None] | None = None,
    derivatives: int = 1,
) -> Evidence:
    """Activations and gradients at one layer: :func:`measure_layers` of it alone."""
    (evidence,) = measure_layers(
        network, [layer], images, target, labels, batch, progress, derivatives
    )
    return evidence


def measure_layers(
    network: nn.Module,
    layers: Sequence[Layer | nn.Module],
    images: Tensor,
    target: Target = "predicted",
    labels: Tensor | None = None,
    batch: int = BATCH,
    progress: Callable[[int], None] | None = None,
    derivatives: int = 1,
) -> tuple[Evidence, ...]:
    """Activations and gradients at each layer for each image, with its score and probability.

    All layers are measured in one forward and one backward pass. The backward pass stops at the
    first of them: no gradient of a parameter is computed. The network is left as it was (mode,
    buffers, ``.grad``, hooks, random state).

    Args:
        network: the classifier; it must return ``(N, classes)``, unless the target is a callable.
        layers: of :func:`sycam.evidence.find_layer`, with output ``(N,K,h,w)`` or ``(N,K,d,h,w)``
            once it is reshaped; or modules of the network alone.
        images: ``[N,C,H,W]`` or ``[N,C,D,H,W]`` in the network's input scale.
        target: what is explained, see :mod:`sycam.targets`.
        labels: ``[N]``, for target ``"label"``.
        batch: images a forward pass.
        progress: called with the number of images done.
        derivatives: how often the score is differentiated: once for gradients; twice for the leaf
            ``hessian_product`` as well; 0 times without a backward pass, so that gradients are NaN
            and the network may be one that cannot be differentiated.

    Raises:
        LayerError: a layer did not run once, or has no spatial output.
        NetworkError: the network failed or returned something else than ``(N, classes)``.
        DataError: no images, or targets that do not fit.
    """
    if not len(images):
        raise DataError("no images were given")
    if labels is not None and len(labels) != len(images):
        raise DataError(f"{len(images)} images need {len(images)} labels, got {len(labels)}")
    wholes: list[Evidence] = []
    for start in range(0, len(images), batch):
        part = slice(start, start + batch)
        wanted = part_of(target, len(images), part)
        known = None if labels is None else labels[part]
        measured = _batch(network, layers, images[part], wanted, known, derivatives)
        if len(measured[0]) == len(images):
            wholes = measured
        else:
            wholes = wholes or [_room(one, len(images)) for one in measured]
            for one, whole in zip(measured, wholes, strict=True):
                _put(one, whole, part)
        if progress:
            progress(min(start + batch, len(images)))
    return tuple(wholes)


def _room(part: Evidence, count: int) -> Evidence:
    """Evidence to be filled, like this of other images; what is large lies on disk."""

    def room(tensor: Tensor) -> Tensor:
        return blank((count, *tensor.shape[1:]), tensor.dtype, tensor.device)

    return Evidence(
        room(part.activations),
        room(part.gradients),
        None if part.outputs is None else room(part.outputs),
        room(part.targets),
        {name: room(tensor) for name, tensor in part.others.items()},
        part.depth,
        part.name,
    )


def _put(part: Evidence, whole: Evidence, place: slice) -> None:
    """Copy the evidence of some images to their places among all."""
    for name, tensor in part.leaves.items():
        whole.leaves[name][place] = tensor
    whole.targets[place] = part.targets
    if part.outputs is not None:
        whole.outputs[place] = part.outputs


class _Cut:
    """Where a layer's output is taken from the forward pass.

    The graph begins at the first layer that runs; at a later one, which the first leads to, it goes
    on. What follows gets a copy, which in-place operations may change.

    Args:
        layer: where to cut.
        images: that the network is given.
        recorded: whether the graph is needed.
        begun: layers that ran before, of those cut in the same pass.
    """

    def __init__(
        self,
        layer: Layer,
        images: Tensor,
        recorded: bool,
        begun: list[Layer],
    ):
        if scripted(layer.module):
            raise LayerError(
                "the target layer is TorchScript, which cannot be watched; give the network as an "
                "ordinary torch.nn.Module"
            )
        self.layer, self.images, self.recorded = layer, images, recorded
        self._begun = begun
        self._outputs: list[Tensor] = []

    def __call__(self, _module: nn.Module, _inputs: tuple, output: object) -> Tensor:
        if not isinstance(output, Tensor):
            raise LayerError(self._of_parts(output))
        _check_map(self.mapped(output), self.images)
        if not output.is_floating_point():
            raise LayerError(
                f"the target layer returned {output.dtype}, which has no gradient; choose a layer "
                f"whose output is floating point, or {QUANTISED}"
            )
        if self._begun and output.requires_grad:
            output = output.clone()  # an Identity returns what others may read as well
        else:
            output = output.detach().clone().requires_grad_()
        self._begun.append(self.layer)
        self._outputs.append(output)
        torch.set_grad_enabled(self.recorded)
        return output.clone()

    @property
    def output(self) -> Tensor:
        """What the layer returned.

        Raises:
            LayerError: it did not run once.
        """
        if len(self._outputs) != 1:
            raise LayerError(
                f"the target layer ran {len(self._outputs)} times in one forward pass, expected "
                "once; choose a layer that is neither skipped nor shared"
                + (f"; {SHARED}" if len(self._outputs) > 1 else "")
            )
        return self._outputs[0]

    def _of_parts(self, output: object) -> str:
        """What to do about a layer that returns something else than one tensor."""
        within = [name for name, _ in self.layer.module.named_children()]
        named = [f"{self.layer.name}.{name}".lstrip(".") for name in within]
        cure = (
            f"choose the layer inside that makes the map, of {', '.join(named[-_NAMED:])}"
            if named
            else "choose another layer, or let it return its map alone"
        )
        parts = ", ".join(str(tuple(t.shape)) for t in tensors(output))
        holds = f" of tensors {parts}" if parts else ""
        kind = f"{type(self.layer.module).__name__}"
        return (
            f"the target layer ({kind}) returned {type(output).__name__}{holds}, which has no "
            f"places of its own; expected one tensor (N,K,h,w): {cure}"
        )

    def mapped(self, output: object) -> Tensor:
        """The layer's output, or its gradient, as a map."""
        return to_map(output, self.layer.reshape, self.layer.module)


@torch.inference_mode(False)  # where the caller is in it, no gradient could be recorded
def _batch(
    network: nn.Module,
    layers: Sequence[Layer | nn.Module],
    images: Tensor,
    target: Target = None,
    labels: Tensor | None = None,
    derivatives: int = 1,
) -> list[Evidence]:
    """One batch of :func:`measure_layers`."""
    begun: list[Layer] = []
    cuts = [_Cut(layer_of(one), images, derivatives > 0, begun) for one in layers]
    # Nothing before the first layer is recorded; its hook switches recording on.
    hooks = [(cut.layer.module.register_forward_hook, cut) for cut in cuts]
    with untouched(network), torch.no_grad(), hooked(*hooks):
        outputs = forward(network, images, reading_of(target))
        explained = resolve(target, outputs, len(images), labels)
        taken = [cut.output for cut in cuts]
        scores = explained.scores(outputs)
        backward = _backward(scores, taken, derivatives) if derivatives else [{} for _ in cuts]
    for cut, derived in zip(cuts, backward, strict=True):
        if derivatives and not derived:
            raise LayerError(
                "the explained score does not depend on the target layer's output, as far as its "
                f"gradient tells: {where_lost(network, images, cut.layer.module)}"
            )
    classes, chance = _classes(outputs, scores, explained, target)
    scalars = {"score": scores.detach(), "probability": chance.detach()}
    shared = {name: tensor[:, None, None, None] for name, tensor in scalars.items()}
    evidence = []
    for cut, derived in zip(cuts, backward, strict=True):
        maps = cut.mapped(cut.output.detach())
        measured = {name: cut.mapped(tensor) for name, tensor in derived.items()}
        if not all(bool(torch.isfinite(tensor).all()) for tensor in (maps, *measured.values())):
            raise LayerError(
                "the target layer's activations or gradients are NaN or infinite on these images; "
                f"check the images' scale ({argument('mean')}, {argument('std')}) and the weights"
            )
        measured = {name: folded(tensor) for name, tensor in measured.items()}
        activations = folded(maps)
        if not derivatives:
            measured["gradients"] = torch.full_like(activations, torch.nan)
        evidence.append(
            Evidence(
                activations,
                measured.pop("gradients"),
                classes,
                explained.index.to(maps.device),
                measured | shared,
                maps.shape[2] if maps.ndim == 5 else 1,
                cut.layer.name,
            )
        )
    return evidence


def _check_map(maps: Tensor, images: Tensor) -> None:
    """Refuse a layer's output that does not lie over the images."""
    if len(maps) != len(images):
        raise LayerError(
            f"the target layer returned {len(maps)} maps for {len(images)} images; "
            "expected one per image: images first, (N,K,h,w)"
        )
    if maps.ndim != images.ndim:
        said = ("(N,K,h,w)", "(N,K,d,h,w)")[images.ndim - 4] if images.ndim in (4, 5) else "?"
        raise LayerError(
            f"the target layer returned {tuple(maps.shape)} for images of shape "
            f"{tuple(images.shape)}; expected {said}, with as many sides: choose another layer, "
            f"or say by {argument('reshape')} how its output lies over the images"
        )


def _classes(
    outputs: object, scores: Tensor, explained: Resolved, target: Target
) -> tuple[Tensor | None, Tensor]:
    """Class scores, if there are any, and the probability (a callable's own score) ``[N]``."""
    if not is_callable(target):
        chance = probabilities(outputs.detach(), explained.reading.link)
        return outputs.detach(), chance.gather(1, explained.index[:, None])[:, 0]
    classes = isinstance(outputs, Tensor) and outputs.ndim == 2
    return check_outputs(outputs, len(scores)).detach() if classes else None, scores


@torch.inference_mode(False)  # where the caller is in it, no gradient could be recorded
def read_outputs(
    network: nn.Module, images: Tensor, output: str = AUTO, target: Target = None
) -> tuple[Reading, str]:
    """What a network's outputs are, and a line for people where they are no logits.

    Args:
        network: it is left as it was.
        images: ``[N,C,H,W]``, some of those to explain; one pass is made, unless ``output`` says
            all there is to know.
        output: see :func:`sycam.networks.output_forms.parse_output`.
        target: a callable takes the outputs as they are.

    Raises:
        OptionError: an output that is not understood, or said of a callable target.
        NetworkError: the network failed, or its outputs may be either.
    """
    form, link = wanted = parse_output(output)
    if is_callable(target):
        if wanted != (AUTO, None):
            raise OptionError(
                f"output {output!r} says how classes are read, and a callable target reads the "
                "network's outputs itself; leave output out"
            )
        return USUAL, ""
    if isinstance(target, Resolved):
        return target.reading, ""
    if form == LOGITS:
        return Reading(False, link or SOFTMAX), ""
    if form == PROBABILITIES and link is not None:
        return Reading(True, link), ""
    pixels = images.detach().to(device_of(network), dtype_of(network)).clone().requires_grad_()
    with untouched(network), torch.enable_grad(), Watched() as watched:
        return told(returned(network, pixels), watched, wanted)


def _backward(
    scores: Tensor, outputs: Sequence[Tensor], derivatives: int
) -> list[dict[str, Tensor]]:
    """By leaf, the gradients of the scores with respect to each output, and where the score is
    differentiated twice the Hessian times the output; nothing where they do not depend on it."""
    gradients = differentiate(scores, outputs, create_graph=derivatives > 1)
    found = []
    for gradient, output in zip(gradients, outputs, strict=True):
        if gradient is None:
            found.append({})
            continue
        derived = {"gradients": gradient.detach()}
        if derivatives > 1:
            derived["hessian_product"] = _product(gradient, output)
        found.append(derived)
    return found


def _product(gradient: Tensor, output: Tensor) -> Tensor:
    """The Hessian of the scores times a layer's output."""
    product = None
    if gradient.requires_grad:
        weighted = (gradient * output.detach()).sum()
        (product,) = differentiate(weighted, [output], retain_graph=True)
    # Where the score is piecewise linear in the activations there is nothing to differentiate.
    return torch.zeros_like(gradient) if product is None else product
