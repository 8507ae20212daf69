"""The explained network as a recipe, by which a worker makes the same."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sycam.errors import NetworkError, OptionError
from sycam.evidence import Layer
from sycam.inference import Classifier
from sycam.inference.classifier import Form
from sycam.metrics import Context
from sycam.networks import NamedNetwork, open_network
from sycam.networks.layouts.reshaping import UserReshape, find_reshape
from sycam.networks.readings import Reading
from sycam.problem.devices import on_device
from sycam.problem.explained_network import ExplainedNetwork
from sycam.support.content_digest import network_digest
from sycam.targets.resolve import is_callable
from sycam.version import __version__
from sycam.workers.portable import declare, declared_operators, pickled, unpickled

_CURE = "name the network instead, as FILE.py:FACTORY, torchvision:NAME or timm:NAME"


@dataclass(frozen=True)
class Recipe:
    """What a worker makes the network of.

    Attributes:
        versions: of SyCAM and torch.
        network: its name, by which it is opened again; or the module, pickled.
        digest: of the network that was explained here.
        layers: name, note and reshape of each.
        own: what the user's own objects decide, pickled: target and reshapes.
        seed, fusion, reading, precision, device, form: of :class:`ExplainedNetwork` and its
            classifier.
        operators: files of the user's operators, and those declared elsewhere, pickled.
    """

    versions: tuple[str, str]
    network: str | bytes
    digest: str
    layers: tuple[tuple[str, str], ...]
    own: bytes
    seed: int
    fusion: str | tuple[float, ...]
    reading: Reading
    precision: str
    device: str
    form: Form
    operators: tuple[tuple[str, ...], bytes | None]

    @classmethod
    def of_context(cls, context: Context) -> Recipe:
        """The recipe of the network that a context's source explains, as its classifier runs it.

        Raises:
            OptionError: something of the user's cannot be sent.
        """
        explained = context.source
        if not isinstance(explained, ExplainedNetwork):
            raise OptionError("workers score what sycam.synthesize and sycam.evaluate measure")
        return cls.of(explained, context.classifier)

    @classmethod
    def of(cls, explained: ExplainedNetwork, classifier: Classifier) -> Recipe:
        """The recipe of a network, as a classifier of it runs it.

        Raises:
            OptionError: something of the user's cannot be sent.
        """
        own = {
            "target": explained.target,
            "reshapes": [_sent(layer) for layer in explained.layers],
        }
        network: str | bytes
        if explained.source is not None:
            network = _wherever(explained.source)
        else:
            network = pickled(explained.network, "the network", _CURE)
        return cls(
            versions=(__version__, torch.__version__),
            network=network,
            digest=explained.digest,
            layers=tuple((layer.name, layer.note) for layer in explained.layers),
            own=pickled(own, "the target or a reshape", "use functions of a module"),
            seed=int(explained.seed),
            fusion=explained.fusion,
            reading=explained.reading,
            precision=classifier.precision,
            device=str(classifier.device),
            form=classifier.settle(),
            operators=declared_operators(),
        )

    def to_bytes(self) -> bytes:
        """The recipe as :meth:`from_bytes` reads it."""
        return pickle.dumps(self)

    @staticmethod
    def from_bytes(data: bytes) -> Recipe:
        """What :meth:`to_bytes` wrote, in this run's own process."""
        return unpickled(data)

    def made(self, images: Tensor, device: str | None = None) -> ExplainedNetwork:
        """The network, ready to be measured.

        Args:
            images: ``[1,...]`` or more, that it takes.
            device: where it runs; on the run's own if None.

        Raises:
            NetworkError: it is another one here.
        """
        here = __version__, torch.__version__
        if here != self.versions:
            said = " and ".join(f"{n} {v}" for n, v in zip(("SyCAM", "torch"), here, strict=True))
            raise NetworkError(
                f"a worker has {said}, the run SyCAM {self.versions[0]} and torch "
                f"{self.versions[1]}; scores are the same where the releases are: install the same"
            )
        declare(*self.operators)
        place = device or self.device
        known = self._opened(place)
        network = known.module
        if network_digest(network) != self.digest:
            raise NetworkError(
                f"the network {known.name!r} that a worker made has other weights or code than the "
                "run's: a factory must make the same network each time (torch.manual_seed, or "
                "weights from a file), and the file must be the same wherever workers are"
            )
        own: dict[str, Any] = unpickled(self.own)
        target = own["target"]
        layers = tuple(
            Layer(name, network.get_submodule(name), note, find_reshape(reshape)
                  if isinstance(reshape, str) and ".py:" in reshape else reshape)
            for (name, note), reshape in zip(self.layers, own["reshapes"], strict=True)
        )  # fmt: skip
        classifier = Classifier(
            network,
            torch.device(place),
            score=target if is_callable(target) else None,
            precision=self.precision,
            reading=self.reading,
        )
        classifier.adopt(self.form, images)
        return ExplainedNetwork(
            network, known, layers, target, self.seed, classifier, self.fusion, reading=self.reading
        )

    def _opened(self, device: str) -> NamedNetwork:
        if isinstance(self.network, str):
            return on_device(open_network(self.network), device)
        module: nn.Module = unpickled(self.network)
        return replace(open_network(module), module=module.to(device))


def _wherever(source: str) -> str:
    """What names a network, also for a process in another folder."""
    file, of_file, factory = source.partition(".py:")
    return f"{Path(file).resolve()}{of_file}{factory}" if of_file else source


def _sent(layer: Layer) -> Any:
    """How the output of a layer becomes a map; of a user's file by the file's name."""
    return layer.reshape.text if isinstance(layer.reshape, UserReshape) else layer.reshape
