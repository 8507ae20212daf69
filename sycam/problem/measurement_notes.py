"""What a user should know of a network's measurements before trusting what is made of them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sycam.data.images import ImageSet
from sycam.data.readers.archive import of_archive
from sycam.data.readers.class_folders import check_classes
from sycam.events import Note, Notify
from sycam.evidence import Evidence, Layer, Stack, varies
from sycam.inference import Classifier
from sycam.networks import NamedNetwork
from sycam.networks.readings import Reading
from sycam.support.arguments import argument

_CERTAIN = 1e-6  # by which a probability misses 0 or 1 that is taken for it
_NEARLY_ALL = 0.9  # of the images


def note_classes(
    images: ImageSet, outputs: Tensor, known: NamedNetwork, reading: Reading, notify: Notify
) -> None:
    """What labels and ``outputs [N, classes]`` say of each other.

    Raises:
        DataError: the images' folders name other classes than the network.
    """
    classes, labels = outputs.shape[1], images.labels
    if not of_archive(images.origin):
        check_classes(images.class_names, classes, known.class_names)
    if classes == 1:
        notify(Note("the network has one output: its probability is the sigmoid"))
    if labels is not None and int(labels.max()) >= max(classes, 2):
        notify(
            Note(
                f"label {int(labels.max())} is out of range: the network has {classes} "
                f"classes, 0 to {classes - 1}"
            )
        )
    elif labels is not None:
        right = reading.predicted(outputs, labels).float().mean()
        notify(Note(f"the network classifies {right:.1%} of these images correctly"))


def note_gradients(layers: Sequence[Layer], evidence: Evidence | Stack, notify: Notify) -> None:
    """Where they are zero or constant over places."""
    elsewhere = ""
    if len(layers) == 1:
        elsewhere = f"; an earlier layer, or {argument('layer', 'auto')}, gives more"
    for layer, measured in zip(layers, evidence.layers, strict=True):
        if not measured.differentiated:
            continue
        if not measured.gradients.any():
            notify(
                Note(
                    f"at layer {layer.name!r} all gradients are zero: the explained score does "
                    "not depend on these places; choose an earlier layer"
                )
            )
        elif not varies(measured.gradients):
            notify(
                Note(
                    f"at layer {layer.name!r} the gradients are constant over places (global "
                    "average pooling): Grad-CAM, XGrad-CAM, HiResCAM and CAM coincide and "
                    f"much of the grammar collapses{elsewhere}"
                )
            )


def note_saturation(
    classifier: Classifier,
    images: Tensor,
    evidence: Evidence | Stack,
    clean: Tensor,
    notify: Notify,
) -> None:
    """A note where probabilities are 0 or 1 with and without the image, as those of a
    regression's outputs are that are read as logits."""
    if classifier.score is not None or evidence.outputs is None:
        return
    certain = (clean - clean.round()).abs() < _CERTAIN
    if certain.float().mean() < _NEARLY_ALL:
        return
    empty = classifier.probability(torch.zeros_like(images[:1]), evidence.targets[:1])
    if not bool((empty.round() == clean[0].round()) & ((empty - empty.round()).abs() < _CERTAIN)):
        return
    low, high = float(evidence.outputs.min()), float(evidence.outputs.max())
    notify(
        Note(
            f"on {int(certain.sum())} of {len(clean)} images the probability explained is 0 or "
            f"1 to six digits, as it is of an empty image (outputs go from {low:.4g} to "
            f"{high:.4g}): metrics of probabilities saturate, and scores tell little. If the "
            "outputs are no logits, as of a regression, explain one as it is, in Python by "
            "target=lambda o: o[0]; of several, one on a scale of its own, by "
            "target=lambda o: o[k].sigmoid()"
        )
    )
