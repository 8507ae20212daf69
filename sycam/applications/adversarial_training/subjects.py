"""What is attacked: a network that returns logits, images with labels, and a CAM that marks."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from sycam.applications.adversarial_training.budgets import CamBudgets
from sycam.applications.adversarial_training.options import BudgetOptions
from sycam.applications.cams import Given, named
from sycam.applications.pixels import PixelScale
from sycam.data.images import ImageSet
from sycam.data.names import DEMO
from sycam.errors import DataError, NetworkError, OptionError
from sycam.events import Note, Notify
from sycam.evidence import Layers, as_layers, read_outputs
from sycam.methods import CAM
from sycam.networks import NamedNetwork, Reshape
from sycam.networks.output_forms import LOGITS
from sycam.networks.readings import PROBES
from sycam.networks.untouched import copied, device_of, dtype_of, moved, untouched
from sycam.problem.devices import device_for
from sycam.problem.images import Images, Labels, demo_images, read_images, sample
from sycam.support.arguments import argument

SCENES = {"train": 512, "heldout": 256}  # of the demo, where no count is given
SLACK = 1e-3  # by which pixels may leave 0 to 1: resampling and rounding


@dataclass(frozen=True, eq=False)
class Subject:
    """A copy of a network, in evaluation mode on its device, with what it is attacked on.

    Attributes:
        network: the copy.
        name: for people.
        images: with labels.
        scale: of the images.
        given: the network that was copied.
    """

    network: nn.Module
    name: str
    images: ImageSet
    scale: PixelScale
    given: nn.Module


def subject_of(
    known: NamedNetwork,
    images: Images,
    labels: Labels | None,
    count: int | None,
    seed: int,
    device: str | torch.device | None,
    split: str,
    notify: Notify,
) -> Subject:
    """A copy of the network and the images, checked against each other.

    Args:
        known: the network; it is not changed.
        images, labels: as for :func:`sycam.evaluate`; ``"demo"`` takes scenes of ``split``.
        count: how many of the images, drawn by the seed; all if None.
        seed: of the sample, or of the scenes.
        device: where the copy goes.
        split: of the demo's scenes.
        notify: is told what was left out.

    Raises:
        SycamError: images without labels or of unknown range, a network without logits.
    """
    if isinstance(images, str) and images == DEMO:
        found = demo_images(split, SCENES[split] if count is None else count, seed)
    else:
        _check_range(images)
        found = sample(read_images(images, labels, None, known, notify), count, seed)
    for line in (*found.notes, *found.skipped):
        notify(Note(line))
    if found.labels is None:
        raise DataError(
            "the images have no labels, and what an attack makes wrong is told by them; give a "
            f"folder per class ({argument('labels')}), labels.csv, a column or an array 'labels'"
        )
    network = moved(copied(known.module), device_for(device, known.module)).eval()
    if dtype_of(network) != torch.float32:
        raise NetworkError(
            f"{known.name} is of {dtype_of(network)}; adversarial training and attacks need "
            "float32: network.float()"
        )
    classes = _classes(network, known.name, found)
    if int(found.labels.max()) >= classes:
        raise DataError(
            f"labels go up to {int(found.labels.max())}, and {known.name} has {classes} classes, "
            "counted from 0"
        )
    return Subject(network, known.name, found, PixelScale.of(found), known.module)


def _check_range(images: Images) -> None:
    """Of bare numbers nothing says which is black and which white, unless they are pixels."""
    if not isinstance(images, Tensor | np.ndarray) or images.ndim < 4 or not len(images):
        return  # said by who reads them
    low, high = float(images.min()), float(images.max())
    if images.dtype in (torch.uint8, np.uint8) or (low >= -SLACK and high <= 1 + SLACK):
        return
    raise DataError(
        f"the images go from {low:.4g} to {high:.4g}, and budgets are shares of pixels from 0 to "
        "1; say what takes them there: sycam.ImageSet.from_arrays(images, labels, mean=..., "
        "std=...)"
    )


def _classes(network: nn.Module, name: str, images: ImageSet) -> int:
    """How many logits the network has."""
    probes = images.images[:PROBES].to(device_of(network))
    reading, _ = read_outputs(network, probes)
    if reading.probabilities:
        raise NetworkError(
            f"{name} returns probabilities, and attacks and losses need logits; take its last "
            "softmax or sigmoid off"
        )
    with untouched(network), torch.no_grad():
        outputs = network(probes)
    if not isinstance(outputs, Tensor) or outputs.ndim != 2 or outputs.shape[1] < 2:
        shape = tuple(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
        raise NetworkError(
            f"{name} must return logits (N, classes) of two classes or more, got {shape}"
        )
    return outputs.shape[1]


def cam_budgets(
    subject: Subject,
    cam: Given,
    layer: Layers,
    reshape: Reshape,
    budget: BudgetOptions,
) -> CamBudgets:
    """Budgets from a CAM of the network; tried once, so that a layer or formula that cannot serve
    is told of before anything long begins.

    Raises:
        SycamError: none or several CAMs, or one that cannot be computed.
    """
    asked = named(cam)
    if len(asked) != 1:
        raise OptionError(f"{argument('cam')} must be one CAM, got {len(asked)}")
    method = asked[0].method
    if not method.sites:
        # A layer that was given as a module is one of the network that was given.
        names = {id(module): name for name, module in subject.given.named_modules()}
        wanted = [names.get(id(one), one) for one in as_layers(layer)]
        made = CAM(subject.network, wanted, method, reshape, output=LOGITS)
    else:
        made = CAM(subject.network, method, reshape=reshape, output=LOGITS)
    budgets = CamBudgets(made, budget)
    budgets.marked(subject.images.images[:PROBES].to(device_of(subject.network)))
    return budgets


def apart_from(test: ImageSet, trained: ImageSet, notify: Notify) -> ImageSet:
    """The test images that were not trained on.

    Raises:
        DataError: all of them were.
    """
    seen = set(trained.digests)
    kept = [i for i, digest in enumerate(test.digests) if digest not in seen]
    if not kept:
        raise DataError(f"all {len(test)} test images are trained on; give others")
    if len(kept) == len(test):
        return test
    note = f"{len(test) - len(kept)} of {len(test)} test images left out: they are trained on"
    notify(Note(note))
    return replace(test.subset(kept), skipped=(*test.skipped, note))
