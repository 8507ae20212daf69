"""``timm:NAME[@WEIGHTS]``: timm's classification networks."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from sycam.data.preprocessing import FILTERS, Preprocessing
from sycam.errors import NetworkError, unknown_name
from sycam.networks.sources.checkpoint import file_digest, fitted, read_weights
from sycam.networks.sources.named import WORD, NamedNetwork
from sycam.networks.untouched import seeded
from sycam.support.arguments import argument

PREFIX = "timm:"
HUB = "hf-hub:"
PUBLISHED = "published weights"


def library() -> ModuleType:
    """timm; NetworkError where it cannot be imported."""
    try:
        return importlib.import_module("timm")
    except ImportError as error:
        raise NetworkError(
            f"timm: networks need the package timm: pip install 'sycam[networks]' ({error})"
        ) from error
    except RuntimeError as error:  # of torchvision, which timm imports
        raise NetworkError(
            f"timm cannot be imported: {error}; it needs a torchvision that fits the installed "
            f"torch {torch.__version__}, see https://pytorch.org/get-started"
        ) from error


def names() -> list[str]:
    """Names of all architectures."""
    return library().list_models()


def load(name: str, weights: str | None) -> NamedNetwork:
    """A classification network of timm.

    Args:
        name: as ``timm.create_model`` takes it, with or without the tag of its weights
            (``resnet50`` or ``resnet50.a1_in1k``).
        weights: None for the published weights, ``"random"``, or a file, see
            :func:`sycam.networks.sources.checkpoint.read_weights`.

    Raises:
        SycamError: a name that is not known, weights that cannot be had or do not fit.
    """
    timm = library()
    if not (name.startswith(HUB) or timm.is_model(name.partition(".")[0])):
        raise unknown_name("timm network", name, names())
    build = partial(_build, timm, name)
    source = f"{PREFIX}{name}"
    if weights is None:
        network = _pretrained(timm, name, source)
        return _named(timm, network, name, source, PUBLISHED)
    if weights == WORD:
        with seeded(0):
            network = build(None)
        return _named(timm, network, name, f"{source}@{WORD}", "random weights")
    file = Path(weights)
    if not file.is_file():
        raise NetworkError(
            f"no checkpoint at {weights}; timm's own weights are chosen by their tag, like "
            "timm:resnet50.a1_in1k (timm.list_pretrained lists them)"
        )
    digest = file_digest(file)
    network = fitted(build, read_weights(file), source, file)
    return _named(
        timm, network, name, f"{source}@{file.resolve()}", f"checkpoint {file.name}",
        (file.resolve(), digest),
    )  # fmt: skip


def _build(timm: ModuleType, name: str, classes: int | None) -> nn.Module:
    given = {} if classes is None else {"num_classes": classes}
    try:
        return timm.create_model(name, pretrained=False, **given)
    except Exception as error:
        raise NetworkError(f"timm cannot build {name!r}: {error}") from error


def _pretrained(timm: ModuleType, name: str, source: str) -> nn.Module:
    try:
        return timm.create_model(name, pretrained=True)
    except Exception as error:
        # Whatever the libraries below raise: no connection, no such weights, a missing package.
        where = _address(timm, name)
        get = f"Download them where there is a connection ({where}) and" if where else "Please"
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise NetworkError(
            f"the published weights of {source} are not on this machine and cannot be downloaded "
            f"({reason}). {get} give the file by {argument('network', f'{source}@FILE')}"
        ) from error


def _address(timm: ModuleType, name: str) -> str:
    """Where the published weights of a network lie; empty if timm does not say."""
    if name.startswith(HUB):
        return f"https://huggingface.co/{name.removeprefix(HUB)}"
    config = timm.get_pretrained_cfg(name)
    if config is not None and config.hf_hub_id:
        return f"https://huggingface.co/{config.hf_hub_id}"
    return (config and config.url) or ""


def _named(
    timm: ModuleType,
    network: Any,  # timm's, which knows its classes
    name: str,
    source: str,
    weights: str,
    checkpoint: tuple[Path, str] | None = None,
) -> NamedNetwork:
    return NamedNetwork(
        module=network.eval(),
        name=name.rpartition("/")[2],
        source=source,
        weights=weights,
        preprocessing=preprocessing_of(timm.data.resolve_model_data_config(network)),
        class_names=_class_names(timm, network) if weights == PUBLISHED else None,
        classes=network.num_classes,
        checkpoint=checkpoint,
    )


def preprocessing_of(config: Mapping[str, Any]) -> Preprocessing | None:
    """timm's data config of a network, as far as it can be said here; None where it cannot."""
    channels, height, width = config["input_size"]
    usual = config["crop_mode"] in ("center", "squash") and height == width and channels in (1, 3)
    if not usual or config["interpolation"] not in FILTERS:
        return None  # nothing is better than another preprocessing than its own
    return Preprocessing(
        size=height,
        resize=int(height / config["crop_pct"]),
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
        interpolation=config["interpolation"],
        channels=channels,
        squash=config["crop_mode"] == "squash",
    )


def _class_names(timm: ModuleType, network: nn.Module) -> tuple[str, ...] | None:
    """ImageNet's names, where the published weights were trained on it."""
    subset = timm.data.infer_imagenet_subset(network)
    if subset is None:
        return None
    info = timm.data.ImageNetInfo(subset)
    # The first of the synonyms, as torchvision has them.
    names = [info.index_to_description(i).partition(",")[0] for i in range(info.num_classes())]
    return tuple(f"{n} ({i})" if names.count(n) > 1 else n for i, n in enumerate(names))


def weights_of(name: str) -> list[str]:
    """What may stand after the ``@`` beside a file; the library's weights are tags of names."""
    return [WORD]
