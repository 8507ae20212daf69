"""Images moved by an attack, everywhere as far or as the heat of a CAM allows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sycam.applications.adversarial_training.adversarial import AdversarialImages, AttackedRow
from sycam.applications.adversarial_training.evaluating import (
    BATCH,
    attacked_images,
    check_batch,
    title_of,
)
from sycam.applications.adversarial_training.options import (
    PGD,
    AttackOptions,
    BudgetOptions,
    check_by_steps,
)
from sycam.applications.adversarial_training.subjects import cam_budgets, subject_of
from sycam.applications.cams import Given
from sycam.applications.randomness import generator_of
from sycam.errors import OptionError
from sycam.events import Notify, Stage, Step, each, ignore
from sycam.evidence import Layers
from sycam.networks import NamedNetwork, Reshape, open_network
from sycam.networks.untouched import device_of
from sycam.problem.images import Images, Labels
from sycam.report.progress import Watcher, console_of
from sycam.support.arguments import argument
from sycam.support.options import with_keywords


def adversarial_images(  # noqa: PLR0913 (public)
    network: nn.Module | str | NamedNetwork,
    images: Images,
    cam: Given | None = None,
    *,
    layer: Layers = "auto",
    labels: Labels | None = None,
    attack: str = PGD,
    budget: BudgetOptions = BudgetOptions(),
    how: AttackOptions = AttackOptions(),
    reshape: Reshape = None,
    count: int | None = None,
    batch: int = BATCH,
    seed: int = 0,
    device: str | torch.device | None = None,
    out: str | Path | None = None,
    progress: bool | None = None,
    notify: Notify = ignore,
    **options: Any,
) -> AdversarialImages:
    """Images moved by an attack within budgets per pixel.

    Args:
        network, images, labels, count, seed, device, progress, notify: as for
            :func:`sycam.applications.robust_accuracy`.
        cam: whose heatmaps for the predicted class say where the budget is ``eps``, elsewhere it
            is ``eps_low``, as in PART (see :func:`sycam.applications.part`); everywhere ``eps`` if
            None.
        layer, reshape: of the CAM, as there.
        attack: ``"pgd"``, projected gradient descent on the cross-entropy (Madry et al., 2018), or
            ``"mma"``, the minimum-margin attack (Gao et al., 2022).
        budget: how far pixels may be moved.
        how: steps of the attack, which starts once.
        batch: images of a pass.
        out: a folder for what :meth:`AdversarialImages.save` writes; nothing is written if None.
        options: single options by their names: ``eps=4/255``, ``eps_low=0``.

    Returns:
        The attacked images with their predictions.

    Raises:
        SycamError: for anything given that cannot be used; the message says how to mend it.
    """
    budget, how = with_keywords(options, budget, how)
    check_batch(batch)
    check_by_steps(attack)
    if how.restarts > 1:
        raise OptionError(
            f"{argument('restarts')} is {how.restarts}, and one attacked image is made of each "
            f"image; take {argument('restarts', 1)}"
        )
    eps = budget.full
    with Watcher(console_of(progress)) as watch:
        notify = each(watch, notify)
        known = open_network(network)
        subject = subject_of(known, images, labels, count, seed, device, "heldout", notify)
        given, device_used = subject.images, device_of(subject.network)
        budgets = None if cam is None else cam_budgets(subject, cam, layer, reshape, budget)
        notify(Stage(f"{title_of(how, attack)} within {eps:.4g}", len(given)))
        parts: list[tuple[Tensor, ...]] = []
        for start in range(0, len(given), batch):
            one = given.subset(range(start, min(start + batch, len(given))))
            pixels, wanted = one.images.to(device_used), one.labels.to(device_used)
            marked = torch.ones(len(one), *one.shape[1:], dtype=torch.bool, device=device_used)
            allowed: float | Tensor = eps
            if budgets is not None:
                marked = budgets.marked(pixels)
                allowed = budgets.map(marked)
            draws = [generator_of("start", 0, seed, digest) for digest in one.digests]
            moved = attacked_images(subject, attack, pixels, wanted, allowed, eps, how, draws)
            with torch.no_grad():
                before, after = (subject.network(x).argmax(1) for x in (pixels, moved))
            away = (subject.scale.pixels(moved) - subject.scale.pixels(pixels)).abs()
            largest = away.flatten(1).amax(1)
            share = marked.flatten(1).double().mean(1)
            parts.append(tuple(t.cpu() for t in (moved, marked, before, after, share, largest)))
            notify(Step(start + len(one)))
    moved, marked, before, after, share, largest = map(torch.cat, zip(*parts, strict=True))
    columns = (t.tolist() for t in (given.labels, before, after, share, largest))
    rows = tuple(
        AttackedRow(name, *values) for name, *values in zip(given.names, *columns, strict=True)
    )
    result = AdversarialImages(
        network=subject.name,
        attack=title_of(how, attack),
        cam=None if budgets is None else budgets.cam.method.name,
        layer=None if budgets is None else budgets.cam.layer,
        eps=eps,
        eps_low=eps if budgets is None else budget.low,
        rows=rows,
        images=given,
        adversarial=moved,
        marked=marked,
        class_names=known.class_names or given.class_names,
    )
    if out is not None:
        result.save(out)
    return result
