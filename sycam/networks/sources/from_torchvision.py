"""``torchvision:NAME[@WEIGHTS]``: torchvision's classification networks."""

from __future__ import annotations

import importlib
import re
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from sycam.data.preprocessing import Preprocessing
from sycam.errors import NetworkError, unknown_name
from sycam.networks.sources.checkpoint import file_digest, fitted, read_weights
from sycam.networks.sources.fetching import downloaded
from sycam.networks.sources.named import WORD, NamedNetwork
from sycam.networks.untouched import seeded
from sycam.support.arguments import argument

PREFIX = "torchvision:"

IMPLICIT = ("googlenet", "inception_v3")
"""Networks whose forward pass depends on an argument (``transform_input``) that no weights say."""


def library() -> ModuleType:
    """torchvision's module of networks; NetworkError where it cannot be imported."""
    try:
        return importlib.import_module("torchvision.models")
    except ImportError as error:
        raise NetworkError(
            f"torchvision: networks need the package torchvision: pip install 'sycam[networks]' "
            f"({error})"
        ) from error
    except RuntimeError as error:  # its compiled operators do not load
        raise NetworkError(
            f"torchvision does not fit the installed torch {torch.__version__}: {error}; install "
            "both from the same place, see https://pytorch.org/get-started"
        ) from error


def names() -> list[str]:
    """Names of all classification networks."""
    models = library()
    return models.list_models(module=models)


def load(name: str, weights: str | None) -> NamedNetwork:
    """A classification network of torchvision.

    Args:
        name: as ``torchvision.models.get_model`` takes it.
        weights: a name of the network's weights, ``"DEFAULT"`` (also if None), ``"random"``, or
            a file, see :func:`sycam.networks.sources.checkpoint.read_weights`.

    Raises:
        SycamError: a name that is not known, weights that cannot be had or do not fit.
    """
    models = library()
    if name not in names():
        raise unknown_name("torchvision network", name, names())
    known = models.get_model_weights(name)
    build = partial(_build, models, name)
    source = f"{PREFIX}{name}"
    if weights == WORD:
        usual = next(iter(known))
        with seeded(0):
            network = build(None)
        return _named(network, name, f"{source}@{WORD}", "random weights", usual)
    if weights is None or weights == "DEFAULT" or weights in known.__members__:
        entry = known[weights or "DEFAULT"]
        file = downloaded(entry.url, f"{source}@{entry.name}")
        network = models.get_model(name, weights=None, **_arguments(entry, name))
        tensors = read_weights(file)
        network = fitted(lambda _: network, tensors, source, file)
        named = _named(network, name, f"{source}@{entry.name}", f"weights {entry.name}", entry)
        return _with_names(named, entry)
    file = Path(weights)
    if not file.is_file():
        if re.fullmatch(r"\w+", weights):
            raise unknown_name(f"weights of {source}", weights, known.__members__)
        raise NetworkError(f"no checkpoint at {weights}")
    if name in IMPLICIT:
        raise NetworkError(
            f"a checkpoint does not say whether {name} transforms its input, so that it may not "
            "be built from the name alone; build it in a file of your own: "
            f"{argument('network', 'FILE.py:FACTORY@FILE')}"
        )
    digest = file_digest(file)
    network = fitted(build, read_weights(file), source, file)
    published = next((w for w in known if _is_file_of(w.url, file, digest)), None)
    named = _named(
        network, name, f"{source}@{file.resolve()}", f"checkpoint {file.name}",
        published or next(iter(known)), (file.resolve(), digest),
    )  # fmt: skip
    return _with_names(named, published) if published else named


def weights_of(name: str) -> list[str]:
    """Names of the weights of a network."""
    return [*library().get_model_weights(name).__members__, WORD]


def _build(models: ModuleType, name: str, classes: int | None) -> nn.Module:
    given = {} if classes is None else {"num_classes": classes}
    return models.get_model(name, weights=None, **given)


def _arguments(entry: Any, name: str) -> dict[str, Any]:
    """What torchvision's own builders set together with published weights."""
    return {"transform_input": True} if name in IMPLICIT else {}


def _is_file_of(url: str, file: Path, digest: str) -> bool:
    """Whether a file is the one behind a URL, by the digest in its name."""
    start = re.search(r"-([0-9a-f]{8,})\.", url)
    return start is not None and digest.startswith(start[1])


def _named(
    network: nn.Module,
    name: str,
    source: str,
    weights: str,
    entry: Any,
    checkpoint: tuple[Path, str] | None = None,
) -> NamedNetwork:
    return NamedNetwork(
        module=network.eval(),
        name=name,
        source=source,
        weights=weights,
        preprocessing=_preprocessing(entry.transforms()),
        classes=_classes(network),
        checkpoint=checkpoint,
    )


def _with_names(network: NamedNetwork, entry: Any) -> NamedNetwork:
    return network.with_class_names(entry.meta["categories"])


def _preprocessing(transforms: Any) -> Preprocessing:
    return Preprocessing(
        size=transforms.crop_size[0],
        resize=transforms.resize_size[0],
        mean=tuple(transforms.mean),
        std=tuple(transforms.std),
        interpolation=transforms.interpolation.value,
        channels=3,
    )


def _classes(network: nn.Module) -> int:
    """How many classes the head has: the last layer with weights."""
    heads = [m for m in network.modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    head = heads[-1]
    return head.out_features if isinstance(head, nn.Linear) else head.out_channels
