"""How often a network is right on images, and on images that an attack has moved."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sycam.applications.adversarial_training.accuracy import NATURAL, RobustAccuracy, row_of
from sycam.applications.adversarial_training.attacks import attacked_by, starts
from sycam.applications.adversarial_training.options import (
    AUTOATTACK,
    PGD,
    AttackOptions,
    BudgetOptions,
    check_attacks,
)
from sycam.applications.adversarial_training.subjects import Subject, subject_of
from sycam.applications.randomness import generator_of
from sycam.errors import OptionError
from sycam.events import Notify, Stage, Step, each, ignore
from sycam.networks import NamedNetwork, open_network
from sycam.networks.untouched import device_of, seeded
from sycam.problem.images import Images, Labels
from sycam.report.progress import Watcher, console_of
from sycam.support.arguments import argument
from sycam.support.options import with_keywords

BATCH = 256
UNUSED = ("eps_low", "threshold")  # every pixel may be moved as far
_FEWEST_DLR = 4  # classes that the difference of logits ratio needs


def robust_accuracy(  # noqa: PLR0913 (public)
    network: nn.Module | str | NamedNetwork,
    images: Images,
    attacks: str | Sequence[str] = PGD,
    *,
    labels: Labels | None = None,
    budget: BudgetOptions = BudgetOptions(),
    how: AttackOptions = AttackOptions(),
    count: int | None = None,
    batch: int = BATCH,
    seed: int = 0,
    device: str | torch.device | None = None,
    out: str | Path | None = None,
    progress: bool | None = None,
    notify: Notify = ignore,
    **options: Any,
) -> RobustAccuracy:
    """Natural accuracy, and accuracy under attacks that may move every pixel by ``eps``.

    Args:
        network, images, count, seed, device, progress, notify: as for :func:`sycam.evaluate`. The
            images need labels; ``"demo"`` is 256 held-out scenes.
        attacks: ``"pgd"``, projected gradient descent on the cross-entropy with a random start per
            image (Madry et al., 2018); ``"mma"``, the minimum-margin attack (Gao et al., 2022), the
            same towards each of three false classes; ``"autoattack"``, the standard ensemble of
            Croce and Hein (2020), which needs ``pip install 'sycam[autoattack]'``; or several.
        labels: ``[N]`` beside images that are a tensor.
        budget: of which ``eps`` counts.
        how: steps and restarts of PGD and of the minimum-margin attack.
        batch: images of a pass.
        out: a folder for ``robust_accuracy.json`` and ``.csv``; nothing is written if None.
        options: single options by their names: ``eps=4/255``, ``steps=50``.

    Returns:
        Accuracies with intervals, and which images withstood.

    Raises:
        SycamError: for anything given that cannot be used; the message says how to mend it.
    """
    asked = check_attacks(attacks)
    budget, how = with_keywords(options, budget, how, without=UNUSED)
    check_batch(batch)
    for name in asked:
        if name == AUTOATTACK:
            _autoattack()
    with Watcher(console_of(progress)) as watch:
        notify = each(watch, notify)
        subject = subject_of(
            open_network(network), images, labels, count, seed, device, "heldout", notify
        )
        result = accuracy_of(subject, asked, budget.full, how, batch, seed, notify)
    if out is not None:
        result.save(out)
    return result


def check_batch(batch: int) -> None:
    """OptionError where it is no number of images."""
    if not isinstance(batch, int) or isinstance(batch, bool) or batch < 1:
        raise OptionError(f"{argument('batch')} must be a positive whole number, got {batch!r}")


def accuracy_of(
    subject: Subject,
    attacks: Sequence[str],
    eps: float,
    how: AttackOptions,
    batch: int,
    seed: int,
    notify: Notify,
) -> RobustAccuracy:
    """The accuracies of a subject; arguments as for :func:`robust_accuracy`."""
    withstood = {NATURAL: _natural(subject, batch, notify)}
    for name in attacks:
        if name == AUTOATTACK:
            notify(Stage("AutoAttack", len(subject.images)))
            withstood[name] = _by_autoattack(subject, eps, batch, seed)
        else:
            withstood[title_of(how, name)] = _by_steps(
                subject, name, eps, how, batch, seed, withstood[NATURAL], notify
            )
    return RobustAccuracy(
        network=subject.name,
        images=len(subject.images),
        eps=eps,
        rows=tuple(row_of(name, correct) for name, correct in withstood.items()),
        correct=withstood,
    )


def title_of(how: AttackOptions, name: str = PGD) -> str:
    """``pgd-20``; with restarts ``pgd-20x5``."""
    return f"{name}-{how.steps}" + (f"x{how.restarts}" if how.restarts > 1 else "")


def _natural(subject: Subject, batch: int, notify: Notify) -> np.ndarray:
    """bool ``[N]``: which images are classified as labelled."""
    notify(Stage("Classifying the images", len(subject.images)))
    device, correct = device_of(subject.network), []
    for start in range(0, len(subject.images), batch):
        part = slice(start, start + batch)
        pixels = subject.images.images[part].to(device)
        correct.append(right(subject.network, pixels, subject.images.labels[part].to(device)))
        notify(Step(min(start + batch, len(subject.images))))
    return np.concatenate(correct)


@torch.no_grad()
def right(network: nn.Module, images: Tensor, labels: Tensor) -> np.ndarray:
    """bool ``[N]``: which images are classified as labelled; a logit that is no number is not."""
    logits = network(images)
    found = (logits.argmax(1) == labels) & logits.isfinite().all(1)
    return found.cpu().numpy()


def attacked_images(
    subject: Subject,
    attack: str,
    images: Tensor,
    labels: Tensor,
    budget: float | Tensor,
    eps: float,
    how: AttackOptions,
    draws: Sequence[torch.Generator],
) -> Tensor:
    """A batch moved by an attack by steps.

    Args:
        subject: whose network, in evaluation mode, is attacked, in the scale of its images.
        attack: its name, ``"pgd"`` or ``"mma"``.
        images: ``[N,C,H,W]``, on the network's device.
        labels: ``[N]``, there as well.
        budget: one number or ``[N,H,W]``, see :meth:`PixelScale.box`.
        eps: from which the size of a step follows where it is not given.
        how: the attack.
        draws: a generator per image, of its random start.
    """
    scale = subject.scale
    box, away = scale.box(images, budget), scale.distance(budget, images)
    start, step = starts(images, away, box, draws), scale.distance(how.step(eps), images)
    return attacked_by(attack, subject.network, images, labels, start, box, step, how.steps)


def _by_steps(
    subject: Subject,
    attack: str,
    eps: float,
    how: AttackOptions,
    batch: int,
    seed: int,
    natural: np.ndarray,
    notify: Notify,
) -> np.ndarray:
    """bool ``[N]``: the images on which the network stays right from every start."""
    withstood = natural.copy()  # what is wrong before an attack needs none
    device, digests = device_of(subject.network), subject.images.digests
    left = np.flatnonzero(withstood)
    notify(Stage(f"{title_of(how, attack)} within {eps:.4g}", how.restarts * len(left)))
    done = 0
    for restart in range(how.restarts):
        left = np.flatnonzero(withstood)
        for start in range(0, len(left), batch):
            chosen = left[start : start + batch]
            part = subject.images.subset(chosen)
            images, labels = part.images.to(device), part.labels.to(device)
            draws = [generator_of("start", restart, seed, digests[i]) for i in chosen]
            moved = attacked_images(subject, attack, images, labels, eps, eps, how, draws)
            withstood[chosen] = right(subject.network, moved, labels)
            done += len(chosen)
            notify(Step(done))
    return withstood


def _autoattack() -> Callable[..., Any]:
    try:
        return import_module("pyautoattack").AutoAttack
    except ImportError as error:
        raise OptionError(
            f"{argument('attacks', AUTOATTACK)} needs the package pyautoattack, which is not "
            f"installed: pip install 'sycam[autoattack]' ({error})"
        ) from None


def _by_autoattack(subject: Subject, eps: float, batch: int, seed: int) -> np.ndarray:
    """bool ``[N]``: the images that withstand AutoAttack.

    Of fewer than ten classes all others are targets, and of fewer than four the attack by the
    ratio of logit differences, which compares four logits, is left out.
    """
    network, scale, images = subject.network, subject.scale, subject.images
    device = device_of(network)

    def logits(pixels: Tensor) -> Tensor:
        return network(scale.inputs(pixels))

    with torch.no_grad():
        classes = network(images.images[:1].to(device)).shape[1]
    pixels = scale.pixels(images.images).clamp(0, 1)
    parts = ["apgd-ce", "apgd-t", "fab-t", "square"]
    if classes < _FEWEST_DLR:
        parts.remove("apgd-t")
    attack = _autoattack()(
        logits, attacks=parts, eps=eps, norm="Linf", seed=seed, version="custom", device=device
    )
    # The standard version's, which the custom one leaves at more restarts.
    attack.apgd.n_restarts = attack.apgd_targeted.n_restarts = attack.fab.n_restarts = 1
    attack.apgd_targeted.n_target_classes = attack.fab.n_target_classes = min(9, classes - 1)
    with seeded(seed, device):
        moved, _ = attack.run_standard_evaluation(pixels, images.labels, batch_size=batch)
    correct = [
        right(network, scale.inputs(m).to(device), y.to(device))
        for m, y in zip(moved.split(batch), images.labels.split(batch), strict=True)
    ]
    return np.concatenate(correct)
