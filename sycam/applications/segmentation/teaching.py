"""Training a segmenter from image labels, started and resumed."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sycam.applications.checkpoints import NETWORK, broken, keep_state, take_up_state
from sycam.applications.segmentation.exits import MultiExit
from sycam.applications.segmentation.options import SegmentOptions
from sycam.applications.segmentation.polarity import class_evidence, polarity_of
from sycam.applications.segmentation.segmenter import (
    Facts,
    Polarity,
    Segmenter,
    assembled,
    raw_heatmaps,
)
from sycam.applications.segmentation.subjects import (
    Foreground,
    exit_places,
    images_of,
    present_in,
)
from sycam.applications.segmentation.training import SIMCLR, EpochRow, Network, Phases
from sycam.data.images import ImageSet
from sycam.events import Note, Notify, Stage, Step, each, ignore
from sycam.evidence import AUTO, Layers
from sycam.networks import NamedNetwork, Reshape, open_network
from sycam.networks.untouched import copied, device_of, moved, seeded
from sycam.problem.devices import device_for
from sycam.problem.images import Images, Labels
from sycam.report.progress import Watcher, console_of
from sycam.support.content_digest import network_digest
from sycam.support.options import with_keywords
from sycam.support.schema import from_plain, to_plain

STATE_FILE = "state.safetensors"
_AT_ONCE = 32  # images


def train_segmenter(  # noqa: PLR0913 (public)
    network: nn.Module | str | NamedNetwork,
    images: Images,
    foreground: Foreground | None = None,
    *,
    layer: Layers = AUTO,
    labels: Labels | None = None,
    how: SegmentOptions = SegmentOptions(),
    reshape: Reshape = None,
    count: int | None = None,
    seed: int = 0,
    device: str | torch.device | None = None,
    out: str | Path | None = None,
    progress: bool | None = None,
    notify: Notify = ignore,
    **options: Any,
) -> Segmenter:
    """Learn masks from image labels alone: AME-CAM (Chen et al., 2023).

    After several layers of an encoder stands an exit, a 1x1 convolution to one map, whose mean is
    a logit for the object. All exits are trained together as classifiers, the deeper the heavier;
    then the classifier is frozen, and attention over the exits' maps learns from images with the
    object to keep foregrounds alike, backgrounds alike, and both apart. Which side is the object
    is told by the classifier. No mask is looked at. With ``simclr_epochs`` the encoder is first
    pre-trained on the same images, without their labels, by SimCLR (Chen et al., 2020): by knowing
    two random views of an image again among those of others.

    Args:
        network: the encoder, as for :func:`sycam.synthesize`; a copy is trained, from the weights
            that it has. What it returns, and its classes, do not matter.
        images: with labels; as for :func:`sycam.evaluate`. ``"demo"`` is 1,024 scenes, every
            second one without a digit.
        foreground: classes that show the object, by number or name, one, several, or text like
            ``"benign,malignant"``; if None 1, where labels are 0 and 1.
        layer: after which exits stand, names or modules; ``"auto"`` takes the layers that a
            search of the whole network would look at, the deepest of each resolution.
        labels: ``[N]`` beside images that are a tensor.
        how: the training.
        reshape: layout of the layers, as text; told by a pass if None.
        count: how many of the images, drawn by the seed; all if None.
        seed: decides the exits' first weights, order, flips, views and the sample.
        device: where to train; CUDA where there is one if None.
        out: a folder for the state after each epoch, and for ``segmenter.safetensors``,
            ``segmenter.json`` and ``epochs.csv``. A training that was interrupted goes on there,
            and ends with the weights that it would have had. Nothing is written if None.
        progress: show a bar; in a terminal and in a notebook if None.
        notify: is told of the progress.
        options: single options by their names: ``epochs=30``, ``fine_tune=False``.

    Returns:
        The trained segmenter; it prints itself.

    Raises:
        SycamError: for anything given that cannot be used; the message says how to mend it.
    """
    (how,) = with_keywords(options, how)
    known, folder = open_network(network), None if out is None else Path(out)
    with Watcher(console_of(progress)) as watch:
        notify = each(watch, notify)
        found = images_of(images, labels, None, known, count, seed, "train", notify)
        present, told = present_in(found, foreground)
        encoder = moved(copied(known.module), device_for(device, known.module)).eval()
        places = exit_places(encoder, layer, reshape, found, how.exits)
        before = network_digest(encoder)
        with seeded(seed):
            made = assembled(encoder, places, found.shape[0])
        moved(made, device_of(encoder)).eval()
        settings = _settings(how, seed, found, present.tolist(), made.exits, before)
        phases = Phases(made, found, present, how, seed)
        state = None if folder is None else folder / STATE_FILE
        if state is not None:
            _take_up(state, phases, settings, notify)
        _train(phases, state, settings, notify)
        if not how.attention_epochs:
            phases.orient()
        made.requires_grad_(False)
        shown = found.subset(present.nonzero().flatten().tolist())
        notify(Stage("Deciding polarity by class evidence", len(shown)))
        polarities = _polarities(made, shown, seed, notify)
    facts = Facts(
        known.name, known.source, tuple(p.layer for p in places),
        tuple(p.channels for p in places), tuple(p.reshape for p in places), found.shape, told,
        len(found), int(present.sum()), settings, tuple(phases.history), polarities, found.digests,
    )  # fmt: skip
    segmenter = Segmenter(made, facts, known.preprocessing, folder)
    if folder is not None:
        segmenter.save(folder)
    return segmenter


def _settings(
    how: SegmentOptions,
    seed: int,
    images: ImageSet,
    present: list[bool],
    exits: MultiExit,
    encoder: str,
) -> dict[str, Any]:
    """What decides the weights that come out, plain data."""
    listed = zip(images.digests, present, strict=True)
    content = hashlib.sha256("\n".join(f"{digest} {shown}" for digest, shown in listed).encode())
    return {
        **to_plain(how),
        "layers": [place.layer for place in exits.places],
        "seed": seed,
        "images": content.hexdigest(),
        "mean": list(images.mean),
        "std": list(images.std),
        NETWORK: encoder,
    }


def _take_up(state: Path, phases: Phases, settings: dict[str, Any], notify: Notify) -> None:
    kept = take_up_state(state, settings)
    if kept is None:
        return
    tensors, facts = kept
    try:
        history = from_plain(tuple[EpochRow, ...], facts, "history")
        phases.refill(tensors, list(history))
    except (KeyError, RuntimeError, ValueError, TypeError) as error:
        raise broken(state, error) from None
    total = sum(phases.epochs.values())
    notify(Note(f"{len(history)} of {total} epochs were done before"))


def _train(phases: Phases, state: Path | None, settings: dict[str, Any], notify: Notify) -> None:
    while not phases.done:
        phase = phases.phase
        epochs = phases.epochs[phase]
        title = "Pre-training by SimCLR" if phase == SIMCLR else f"Training the {phase}"
        notify(Stage(f"{title}, epoch {phases.number + 1} of {epochs}", len(phases.chosen)))
        row = phases.next(lambda done: notify(Step(done)))
        notify(Note(f"{phase}, epoch {row.epoch} of {epochs}: loss {row.loss:.4f}, "
                    f"accuracy {row.accuracy:.3f}"))  # fmt: skip
        if state is not None:
            keep_state(state, phases.tensors(), to_plain(phases.history), settings)


def _polarities(
    network: Network, images: ImageSet, seed: int, notify: Notify
) -> tuple[Polarity, ...]:
    """Of each kind of heatmap, by the training images that show the object."""
    parts: dict[str, list[torch.Tensor]] = {}
    device = device_of(network)
    done = 0
    for start in range(0, len(images), _AT_ONCE):
        part = images.images[start : start + _AT_ONCE].to(device)
        for batch in raw_heatmaps(network, part):
            for name, heat in batch.items():
                parts.setdefault(name, []).append(class_evidence(network.exits.logit, part, heat))
        done += len(part)
        notify(Step(done))
    found = {name: polarity_of(torch.cat(evidence), seed) for name, evidence in parts.items()}
    return tuple(Polarity(name, sign, evidence) for name, (sign, evidence) in found.items())
