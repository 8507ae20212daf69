"""How the texts of options become what the library takes: networks, images, operators."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sycam.data import demo
from sycam.data.images import ImageSet, ImageSource
from sycam.data.names import DEMO
from sycam.errors import OptionError
from sycam.events import Note, Notify
from sycam.language.operators import OPERATORS
from sycam.networks import NamedNetwork, open_network, read_class_names
from sycam.networks.sources.user_file import import_file
from sycam.problem.images import check_groups_of_scenes, open_source
from sycam.problem.options import FileOptions
from sycam.testing import check_operator


def open_inputs(
    network: str,
    checkpoint: Path | None,
    class_names: Path | None,
    images: str,
    files: FileOptions,
    operators: Sequence[Path] | None,
    notify: Notify,
) -> tuple[NamedNetwork, ImageSet | ImageSource | str]:
    """The network and the images that a command names, told of; its operators are declared first.

    Args:
        network, checkpoint, class_names, images, operators: as they were typed.
        files: how the images are read.
        notify: is told of the network and of the images.

    Raises:
        SycamError: anything of it cannot be used.
    """
    declare_operators(operators)
    known = network_of(network, checkpoint, class_names, notify)
    return known, image_set_of(images, known, notify, **files.given())


def network_of(
    network: str, checkpoint: Path | None, class_names: Path | None, notify: Notify
) -> NamedNetwork:
    """The network with its weights and class names, told of."""
    opened = open_network(network, checkpoint)
    if class_names is not None:
        opened = opened.with_class_names(read_class_names(class_names))
    if opened.weights:
        classes = f", {opened.classes} classes" if opened.classes else ""
        notify(Note(f"network {opened.name}: {opened.weights}{classes}"))
    return opened


def image_set_of(
    source: str, network: NamedNetwork, notify: Notify, **options: Any
) -> ImageSet | ImageSource | str:
    if source == DEMO:
        check_groups_of_scenes(options.get("groups"))
        return DEMO
    return open_source(source, network, notify, **options)


def declare_operators(files: Sequence[Path] | None) -> None:
    """Run the files in which users declare their operators, and check these.

    Raises:
        OptionError: a file cannot be run, or an operator of it does not keep what it declares.
    """
    for file in files or ():
        before = dict(OPERATORS)
        import_file(file, "operators", OptionError)
        for name, op in OPERATORS.items():
            if before.get(name) is op:
                continue
            try:
                check_operator(op)
            except AssertionError as error:
                raise OptionError(f"operators file '{file}': {error}") from None


def layer_of(network: str) -> str:
    return demo.LAYER if network == DEMO else "auto"
