"""Attention learnt on top of a backbone: gates of channels, of points and of places."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from sycam.errors import LayerError, OptionError
from sycam.evidence import find_layer
from sycam.networks.untouched import copied, device_of, dtype_of, untouched
from sycam.support.arguments import argument

GATES = ("channel", "point", "spatial")


class AttentionNetwork(nn.Module):
    """A backbone whose activations at one layer pass three gates.

    Mishra et al. (2022, arXiv:2202.12788) put channel, point and spatial attention on CNN
    backbones; how these are wired here is ours. Each gate multiplies the activations ``[N,K,h,w]``
    by values between 0 and 2: the channel gate by ``[N,K,1,1]``, a small network of the means and
    maxima over places; the point gate by ``[N,K,h,w]``, the same of the channels at each place
    alone (1x1 convolutions); the spatial gate by ``[N,1,h,w]``, a 7x7 convolution of the mean and
    maximum over channels. All gates are 1 at first, so that an untrained module gives the
    backbone's outputs bit for bit.

    The gated layer keeps its name below ``backbone``: CAMs are taken at ``backbone.LAYER``.

    Args:
        backbone: the network; a copy of it is kept.
        layer: name of a layer whose output is ``[N,K,h,w]``, or ``"auto"``.
        example: ``[1,C,H,W]``, a batch that the backbone takes, from which K is told.
        gates: which of :data:`GATES`, in their order.
        reduction: K is divided by it within the channel and the point gate.
        frozen: whether the backbone's parameters stay as they are (and its batch norms and dropout
            in evaluation mode), so that only gates learn.

    Attributes:
        backbone: the copy with the gates in it.
        layer: the name of the gated layer, of the backbone as it was given.

    Raises:
        OptionError: gates or a reduction that cannot be used.
        UnknownNameError, LayerError: the layer does not exist, or its output is no such map.
        NetworkError: the backbone cannot be copied.

    Example:
        >>> from sycam import open_network
        >>> backbone, images = open_network("demo").module, torch.rand(2, 3, 64, 64)
        >>> network = AttentionNetwork(backbone, "features.8", images[:1])
        >>> torch.equal(network(images), backbone(images))
        True
    """

    def __init__(
        self,
        backbone: nn.Module,
        layer: str,
        example: Tensor,
        *,
        gates: tuple[str, ...] = GATES,
        reduction: int = 8,
        frozen: bool = True,
    ):
        super().__init__()
        if not gates or not set(gates) <= set(GATES):
            raise OptionError(
                f"{argument('gates')} must be some of {', '.join(GATES)}, got {gates!r}"
            )
        if isinstance(reduction, bool) or not isinstance(reduction, int) or reduction < 1:
            raise OptionError(
                f"{argument('reduction')} must be a whole number of at least 1, got {reduction!r}"
            )
        found = find_layer(backbone, layer, example)
        self.frozen, self.layer = frozen, found.name
        self.backbone = copied(backbone)
        inner = self.backbone.get_submodule(found.name)
        channels = None if found.reshape else _channels(self.backbone, inner, example)
        if channels is None:
            raise LayerError(
                f"layer {found.name!r} does not return maps [N,K,h,w], which the gates multiply; "
                "name a convolutional layer"
            )
        gated = Gated(inner, channels, [one for one in GATES if one in gates], reduction)
        place = device_of(self.backbone)
        gated.gates.to(place, dtype_of(self.backbone))
        parent, _, own = found.name.rpartition(".")
        setattr(self.backbone.get_submodule(parent), own, gated)
        if frozen:
            for parameter in self._of_backbone():
                parameter.requires_grad_(False)
        self.train(backbone.training)

    def forward(self, images: Tensor) -> Tensor:
        """What the backbone returns with the gates in place."""
        return self.backbone(images)

    def train(self, mode: bool = True) -> AttentionNetwork:
        """Training mode; a frozen backbone stays in evaluation mode."""
        super().train(mode)
        if self.frozen and mode:
            self.backbone.eval()
            for module in self._gates():
                module.train()
        return self

    def learnt(self) -> list[nn.Parameter]:
        """What an optimiser is given: the parameters of the gates, and of the backbone unless it is
        frozen."""
        return [parameter for parameter in self.parameters() if parameter.requires_grad]

    def _gates(self) -> Iterator[nn.Module]:
        yield from (one.gates for one in self.modules() if isinstance(one, Gated))

    def _of_backbone(self) -> Iterator[nn.Parameter]:
        own = {id(parameter) for gates in self._gates() for parameter in gates.parameters()}
        yield from (one for one in self.backbone.parameters() if id(one) not in own)


class Gated(nn.Module):
    """A layer and the gates that its output passes."""

    def __init__(self, inner: nn.Module, channels: int, gates: list[str], reduction: int):
        super().__init__()
        self.inner = inner
        made: dict[str, nn.Module] = {
            "channel": ChannelGate(channels, reduction),
            "point": PointGate(channels, reduction),
            "spatial": SpatialGate(),
        }
        self.gates = nn.ModuleDict({name: made[name] for name in gates})

    def forward(self, *given: Tensor) -> Tensor:
        maps = self.inner(*given)
        for gate in self.gates.values():
            maps = maps * gate(maps)
        return maps


class ChannelGate(nn.Module):
    """``[N,K,h,w]`` to ``[N,K,1,1]`` between 0 and 2."""

    def __init__(self, channels: int, reduction: int):
        super().__init__()
        self.layers = _narrow(channels, reduction)

    def forward(self, maps: Tensor) -> Tensor:
        pooled = maps.mean((2, 3), keepdim=True), maps.amax((2, 3), keepdim=True)
        return _gate(sum(self.layers(one) for one in pooled))


class PointGate(nn.Module):
    """``[N,K,h,w]`` to the same between 0 and 2, each place on its own."""

    def __init__(self, channels: int, reduction: int):
        super().__init__()
        self.layers = _narrow(channels, reduction)

    def forward(self, maps: Tensor) -> Tensor:
        return _gate(self.layers(maps))


class SpatialGate(nn.Module):
    """``[N,K,h,w]`` to ``[N,1,h,w]`` between 0 and 2."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = _zeroed(nn.Conv2d(2, 1, 7, padding=3))

    def forward(self, maps: Tensor) -> Tensor:
        seen = torch.cat([maps.mean(1, keepdim=True), maps.amax(1, keepdim=True)], 1)
        return _gate(self.layer(seen))


def _gate(logits: Tensor) -> Tensor:
    return 2 * logits.sigmoid()


def _narrow(channels: int, reduction: int) -> nn.Sequential:
    inner = max(1, channels // reduction)
    return nn.Sequential(
        nn.Conv2d(channels, inner, 1), nn.ReLU(), _zeroed(nn.Conv2d(inner, channels, 1))
    )


def _zeroed(layer: nn.Conv2d) -> nn.Conv2d:
    """The last layer of a gate, whose output is 0 at first: twice its sigmoid is 1."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


def _channels(network: nn.Module, inner: nn.Module, example: Tensor) -> int | None:
    """K of a layer's output ``[N,K,h,w]``; None where it is something else."""
    seen: list[object] = []
    hook = inner.register_forward_hook(lambda _, __, output: seen.append(output))
    try:
        with untouched(network), torch.no_grad():
            network(example.to(device_of(network), dtype_of(network)))
    finally:
        hook.remove()
    maps = seen[0] if seen else None
    return maps.shape[1] if isinstance(maps, Tensor) and maps.ndim == 4 else None
