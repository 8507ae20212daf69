"""Adversarial training whose budget per pixel follows a CAM, started, resumed and tested."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sycam.applications.adversarial_training.accuracy import RobustAccuracy
from sycam.applications.adversarial_training.checkpoints import keep, keep_weights, take_up
from sycam.applications.adversarial_training.epochs import Epochs
from sycam.applications.adversarial_training.evaluating import BATCH, accuracy_of
from sycam.applications.adversarial_training.losses import OBJECTIVES
from sycam.applications.adversarial_training.options import (
    MMA,
    PGD,
    AttackOptions,
    BudgetOptions,
    TrainingOptions,
)
from sycam.applications.adversarial_training.result import PartResult
from sycam.applications.adversarial_training.subjects import (
    Subject,
    apart_from,
    cam_budgets,
    subject_of,
)
from sycam.applications.cams import Given
from sycam.applications.checkpoints import NETWORK
from sycam.errors import DataError
from sycam.events import Note, Notify, Stage, Step, each, ignore
from sycam.evidence import Layers
from sycam.networks import NamedNetwork, Reshape, open_network
from sycam.problem.images import Images, Labels
from sycam.report.progress import Watcher, console_of
from sycam.support.content_digest import network_digest
from sycam.support.options import with_keywords
from sycam.support.schema import to_plain

PLAIN = {"at": "adversarial training", "trades": "TRADES", "mart": "MART"}


def part(  # noqa: PLR0913 (public)
    network: nn.Module | str | NamedNetwork,
    images: Images,
    cam: Given | None = "grad-cam",
    *,
    layer: Layers = "auto",
    test: Images | None = None,
    labels: Labels | None = None,
    budget: BudgetOptions = BudgetOptions(),
    how: TrainingOptions = TrainingOptions(),
    reshape: Reshape = None,
    count: int | None = None,
    seed: int = 0,
    device: str | torch.device | None = None,
    out: str | Path | None = None,
    progress: bool | None = None,
    notify: Notify = ignore,
    **options: Any,
) -> PartResult:
    """Adversarial training in which a CAM says how far each pixel may be moved.

    Pixel-reweighted adversarial training (Zhang et al., 2024): after a warm-up of plain
    adversarial training the attack may move a pixel by ``eps`` where the heat for the predicted
    class stands out, and by ``eps_low`` elsewhere. The heatmaps are made of each batch itself, by
    the network as it then is.

    Args:
        network: as for :func:`sycam.synthesize`; it returns logits. A copy is trained, from the
            weights that it has.
        images: to train on, with labels; as for :func:`sycam.evaluate`. ``"demo"`` is 512 scenes.
        cam: a name of ``sycam methods``, a formula, the folder of a run or its result, whose
            winner is meant; None for plain adversarial training.
        layer: the target layer; not read where the CAM names its own.
        test: images on which the natural accuracy and that under PGD of 20 steps, and under the
            attack that was trained by, are measured in the end; those that are trained on are left
            out.
        labels: ``[N]`` beside images that are a tensor.
        budget: how far pixels may be moved.
        how: the training.
        reshape: layout of the layer, see :class:`sycam.CAM`.
        count: how many of the images, drawn by the seed; all if None.
        seed: decides order, starts, augmentation and the sample.
        device: where to train; CUDA where there is one if None.
        out: a folder for the state after each epoch, ``weights.safetensors``, ``training.json``
            and ``epochs.csv``. A training that was interrupted goes on there, and ends with the
            weights that it would have had. Nothing is written if None.
        progress: show a bar; in a terminal and in a notebook if None.
        notify: is told of the progress.
        options: single options by their names: ``eps=4/255``, ``objective="trades"``,
            ``epochs=30``.

    Returns:
        The trained network with its epochs and accuracies; it prints itself.

    Raises:
        SycamError: for anything given that cannot be used; the message says how to mend it.
    """
    budget, how = with_keywords(options, budget, how)
    known, folder = open_network(network), None if out is None else Path(out)
    with Watcher(console_of(progress)) as watch:
        notify = each(watch, notify)
        subject = subject_of(known, images, labels, count, seed, device, "train", notify)
        if len(subject.images) < 2:
            raise DataError("one image is too few to train on")
        tested = None
        if test is not None:
            tested = subject_of(known, test, None, None, seed, device, "heldout", notify)
        budgets = None if cam is None else cam_budgets(subject, cam, layer, reshape, budget)
        name = None if budgets is None else budgets.cam.method.name
        where = None if budgets is None else budgets.cam.layer
        formula = None if budgets is None else budgets.cam.method.formula
        settings = _settings(subject, budget, how, formula, where, seed)
        epochs = Epochs(subject.network, subject.images, subject.scale, budget, how, budgets, seed)
        if folder is not None and take_up(folder, epochs, settings):
            notify(Note(f"{len(epochs.history)} of {how.epochs} epochs were done before"))
        title = _title(how, name)
        while len(epochs.history) < how.epochs:
            number = len(epochs.history) + 1
            notify(Stage(f"{title}, epoch {number} of {how.epochs}", len(subject.images)))
            row = epochs.next(lambda done: notify(Step(done)))
            notify(
                Note(
                    f"epoch {number} of {how.epochs}: loss {row.loss:.4f}, accuracy under attack "
                    f"{row.attacked_accuracy:.3f}, full budget on {row.marked:.0%} of the pixels"
                )
            )
            if folder is not None:
                keep(folder, epochs, settings)
        if folder is not None:
            keep_weights(folder, epochs)
        accuracy = _tested(subject, tested, budget, how.attack, seed, notify)
    result = PartResult(
        title, subject.name, name, where, len(subject.images), settings, tuple(epochs.history),
        accuracy, subject.network.eval(), folder,
    )  # fmt: skip
    if folder is not None:
        result.save(folder)
    return result


def _title(how: TrainingOptions, cam: str | None) -> str:
    title = OBJECTIVES[how.objective].title
    told = PLAIN[how.objective] if cam is None else f"{title} with {cam}"
    return f"{told}, minimum-margin attack" if how.attack == MMA else told


def _settings(
    subject: Subject,
    budget: BudgetOptions,
    how: TrainingOptions,
    formula: str | None,
    layer: str | None,
    seed: int,
) -> dict[str, Any]:
    """What decides the weights that come out, plain data."""
    listed = zip(subject.images.digests, subject.images.labels.tolist(), strict=True)
    images = hashlib.sha256("\n".join(f"{digest} {label}" for digest, label in listed).encode())
    return {
        **to_plain(budget),
        "eps_low": budget.low,
        **to_plain(how),
        "cam": formula,
        "layer": layer,
        "seed": seed,
        "mean": list(subject.scale.mean),
        "std": list(subject.scale.std),
        "images": images.hexdigest(),
        NETWORK: network_digest(subject.network),
    }


def _tested(
    trained: Subject,
    tested: Subject | None,
    budget: BudgetOptions,
    attack: str,
    seed: int,
    notify: Notify,
) -> RobustAccuracy | None:
    if tested is None:
        return None
    # In the scale of the images trained on, as bare pixels of one set say nothing of another's.
    images = apart_from(tested.images, trained.images, notify)
    subject = replace(trained, network=trained.network.eval(), images=images)
    attacks = dict.fromkeys((PGD, attack))
    return accuracy_of(subject, list(attacks), budget.full, AttackOptions(), BATCH, seed, notify)
