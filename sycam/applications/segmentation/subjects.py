"""Images with labels that say whether they show the object, and the encoder's exits for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from numbers import Integral

import torch
from torch import Tensor, nn

from sycam.applications.segmentation.exits import ExitPlace
from sycam.data import demo
from sycam.data.images import ImageSet
from sycam.data.names import DEMO
from sycam.errors import DataError, LayerError, NetworkError, OptionError, unknown_name
from sycam.events import Note, Notify
from sycam.evidence import AUTO, Layer, Layers, as_layers, find_layer, find_sites
from sycam.networks import NamedNetwork, Reshape
from sycam.networks.layouts.reshaping import to_map
from sycam.networks.readings import PROBES
from sycam.networks.untouched import device_of, dtype_of, untouched
from sycam.problem.images import Images, Labels, Masks, read_images, sample
from sycam.support.arguments import argument

Foreground = str | int | Sequence[str | int]
SCENES = {"train": 1024, "heldout": 256}  # of the demo, where no count is given


def scenes(split: str, count: int | None, seed: int) -> ImageSet:
    """Scenes of the demo, every second one without a digit, ready for the demo's network."""
    number = SCENES[split] if count is None else count
    made = demo.scenes_with_and_without(split, number, seed)
    images = demo.normalise(made.images).contiguous()
    names = [f"{split}[{i}]" for i in range(number)]
    found = ImageSet.from_arrays(images, made.labels, made.masks, names, demo.MEAN, demo.STD)
    return replace(found, class_names=("none", "digit"))


def images_of(
    images: Images,
    labels: Labels | None,
    masks: Masks | None,
    known: NamedNetwork,
    count: int | None,
    seed: int,
    split: str,
    notify: Notify,
) -> ImageSet:
    """The images, read as the network expects them; its classes do not matter.

    Args:
        images, labels, masks: as for :func:`sycam.evaluate`; ``"demo"`` takes scenes of ``split``,
            every second one without a digit.
        known: the network.
        count: how many, drawn by the seed; all if None.
        seed: of the sample, or of the scenes.
        split: of the demo's scenes.
        notify: is told what was left out.

    Raises:
        DataError: nothing there, or volumes.
    """
    if isinstance(images, str) and images == DEMO:
        found = scenes(split, count, seed)
    else:
        bare = replace(known, classes=None, class_names=None)
        found = sample(read_images(images, labels, masks, bare, notify), count, seed)
    for line in (*found.notes, *found.skipped):
        notify(Note(line))
    if len(found.shape) != 3:
        raise DataError("volumes cannot be segmented so; give slices, images (N,C,H,W)")
    return found


def present_in(images: ImageSet, foreground: Foreground | None) -> tuple[Tensor, tuple[str, ...]]:
    """bool ``[N]`` on the CPU: whether the image shows the object, and the classes that say so.

    Args:
        images: with labels.
        foreground: these classes, by number or name, as text separated by commas; if None 1, where
            the labels are 0 and 1.

    Raises:
        DataError: no labels, or all images or none show the object.
        OptionError, UnknownNameError: classes that are none of the images'.
    """
    if images.labels is None:
        raise DataError(
            "the images have no labels, and whether an image shows the object is told by them; "
            f"give a folder per class ({argument('labels')}), labels.csv, a column or an array "
            "'labels'"
        )
    names = images.class_names or ()
    known = sorted(set(images.labels.tolist()))
    if foreground is None:
        if not set(known) <= {0, 1}:
            listed = ", ".join(f"{k} ({names[k]})" if k < len(names) else str(k) for k in known)
            raise OptionError(
                f"{argument('foreground')} must say which classes show the object, of {listed}"
            )
        chosen = [1]
    else:
        chosen = [_class(one, names, known) for one in _listed(foreground)]
    present = torch.isin(images.labels.cpu(), torch.tensor(chosen))
    told = tuple(names[k] if k < len(names) else str(k) for k in chosen)
    if not present.any() or present.all():
        which = "every" if present.all() else "no"
        raise DataError(f"{which} image shows {' or '.join(told)}; both kinds are needed")
    return present, told


def _listed(foreground: Foreground) -> list[str | int]:
    if isinstance(foreground, str):
        return [part.strip() for part in foreground.split(",") if part.strip()]
    return [foreground] if isinstance(foreground, int) else list(foreground)


def _class(one: str | int, names: Sequence[str], known: Sequence[int]) -> int:
    if one in names:
        return names.index(one)
    if (isinstance(one, Integral) or str(one).isdecimal()) and int(one) in known:
        return int(one)
    raise unknown_name("class", str(one), [*names, *map(str, known)])


def exit_places(
    encoder: nn.Module, layer: Layers, reshape: Reshape, images: ImageSet, most: int
) -> tuple[ExitPlace, ...]:
    """Where exits stand, in the order in which the layers run.

    Args:
        encoder: in evaluation mode, on its device.
        layer: names or modules; ``"auto"`` takes the layers that a search of the whole network
            would look at, the deepest of each resolution; all of them where there is one
            resolution, as in transformers.
        reshape: layout of the layers; told by a pass if None.
        images: some serve as probes.
        most: exits at most, where they are sought: the deepest.

    Raises:
        LayerError, UnknownNameError: a layer that does not exist, or returns no map.
    """
    if dtype_of(encoder) != torch.float32:
        raise NetworkError(f"training needs float32, the network is {dtype_of(encoder)}")
    probes = images.images[:PROBES].to(device_of(encoder))
    wanted = as_layers(layer)
    sought = wanted == [AUTO]
    if sought and reshape is not None:
        raise OptionError(
            f"the layers are sought with their layouts; leave out {argument('reshape')}, or name "
            "the layers"
        )
    if sought:
        found = list(find_sites(encoder, probes))
    else:
        found = [find_layer(encoder, one, probes, reshape) for one in wanted]
    for one in found:
        if callable(one.reshape):
            raise OptionError(
                f"{argument('reshape')} must be a layout here, like tokens:prefix=1,grid=8x16, so "
                "that a trained segmenter can be loaded without running anything"
            )
    shapes = _shapes(encoder, found, probes)
    names = list(shapes)
    if sought:
        deepest = {shape[1:]: name for name, shape in shapes.items()}  # the last of each grid
        names = [name for name in names if len(deepest) == 1 or name in deepest.values()][-most:]
    layouts = {one.name: one.reshape for one in found}
    return tuple(ExitPlace(name, shapes[name][0], layouts[name]) for name in names)


def _shapes(
    encoder: nn.Module, layers: Sequence[Layer], probes: Tensor
) -> dict[str, tuple[int, ...]]:
    """``(K,h,w)`` of each layer, in the order in which they run."""
    shapes: dict[str, tuple[int, ...]] = {}

    def keep(layer: Layer, module: nn.Module, _given: object, output: object) -> None:
        shapes[layer.name] = tuple(to_map(output, layer.reshape, module).shape[1:])

    hooks = [one.module.register_forward_hook(partial(keep, one)) for one in layers]
    try:
        with untouched(encoder), torch.no_grad():
            encoder(probes)
    finally:
        for hook in hooks:
            hook.remove()
    if missing := [one.name for one in layers if one.name not in shapes]:
        raise LayerError(f"layer {missing[0]!r} did not run, so that no exit can stand there")
    return shapes
