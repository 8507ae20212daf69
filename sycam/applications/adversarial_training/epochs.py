"""Epochs of adversarial training: heatmaps, attack, update, batch after batch."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from sycam.applications.adversarial_training.attacks import attacked_by, divergence, pgd, starts
from sycam.applications.adversarial_training.augmentation import shifted_and_flipped
from sycam.applications.adversarial_training.budgets import CamBudgets
from sycam.applications.adversarial_training.losses import OBJECTIVES
from sycam.applications.adversarial_training.options import BudgetOptions, TrainingOptions
from sycam.applications.pixels import PixelScale
from sycam.applications.randomness import generator_of
from sycam.data.images import ImageSet
from sycam.errors import NetworkError
from sycam.inference.precisions import FLOAT32
from sycam.networks.untouched import device_of, seeded
from sycam.support.arguments import argument
from sycam.support.schema import Count, Figure


@dataclass(frozen=True)
class EpochRow:
    """One epoch.

    Attributes:
        epoch: counted from 1.
        loss: mean over the images.
        attacked_accuracy: share of the attacked training images that were classified as labelled,
            each before the update that it took part in.
        marked: share of the pixels that had the full budget.
        learning_rate: of this epoch.
    """

    epoch: Count
    loss: Figure
    attacked_accuracy: Figure
    marked: Figure
    learning_rate: Figure


@dataclass(eq=False)
class Epochs:
    """A network in training, which is changed.

    All that is drawn in an epoch is decided by the seed and the epoch, so that a training that
    goes on draws what it would have drawn.

    Attributes:
        network: on its device.
        images: with labels.
        scale: of the images.
        budget, how: the options.
        budgets: from a CAM of the network; None for the full budget everywhere.
        seed: decides order, starts, augmentation and what the network draws (dropout).
        marked: bool ``[N,H,W]`` of the last heatmaps, where they are kept for several epochs.
        history: a row per finished epoch.
    """

    network: nn.Module
    images: ImageSet
    scale: PixelScale
    budget: BudgetOptions
    how: TrainingOptions
    budgets: CamBudgets | None
    seed: int
    marked: Tensor | None = None
    history: list[EpochRow] = field(default_factory=list)

    def __post_init__(self) -> None:
        how = self.how
        self.device = device_of(self.network)
        self.optimizer = torch.optim.SGD(
            self.network.parameters(),
            lr=how.learning_rate,
            momentum=how.momentum,
            weight_decay=how.weight_decay,
        )
        if self.budgets is not None and how.refresh > 1 and self.marked is None:
            shape = (len(self.images), *self.images.shape[1:])
            self.marked = torch.ones(shape, dtype=torch.bool)

    def next(self, done: Callable[[int], None]) -> EpochRow:
        """Train for one more epoch.

        Args:
            done: is told how many images of it are done.

        Raises:
            NetworkError: the loss is no number any more.
        """
        epoch = len(self.history)
        generator = generator_of("epoch", self.seed, epoch)
        for group in self.optimizer.param_groups:
            group["lr"] = self.how.rate(epoch)
        count = len(self.images)
        order = torch.randperm(count, generator=generator)
        totals, passed = torch.zeros(3, dtype=torch.float64), 0
        with seeded(int(torch.randint(1 << 31, (), generator=generator)), self.device):
            # Of nearly one size: batch norm cannot train on a single image that is left over.
            for chosen in order.tensor_split(-(-count // self.how.batch)):
                totals += self._batch(chosen, epoch, generator)
                passed += len(chosen)
                done(passed)
        loss, right, marked = (totals / count).tolist()
        row = EpochRow(epoch + 1, loss, right, marked, self.how.rate(epoch))
        self.history.append(row)
        self.network.eval()
        return row

    def _batch(self, chosen: Tensor, epoch: int, generator: torch.Generator) -> Tensor:
        """Sums over a batch: loss, images classified as labelled, share of marked pixels."""
        images = self.images.images[chosen.to(self.images.images.device)].to(self.device)
        labels = self.images.labels[chosen.to(self.images.labels.device)].to(self.device)
        if self.how.augment:
            images = shifted_and_flipped(images, self.scale, generator)
        self.network.eval()  # attacked as it will be used, and batch norm learns no attack halfway
        marked = self._marked(images, chosen, epoch)
        attacked = self._attacked(images, labels, marked, generator)
        self.network.train()
        objective = OBJECTIVES[self.how.objective]
        natural = self._logits(images) if objective.natural else None
        logits = self._logits(attacked)
        loss = objective.loss(natural, logits, labels, self.how.beta)
        if not torch.isfinite(loss):
            raise NetworkError(
                f"the training diverged: the loss of a batch in epoch {epoch + 1} is "
                f"{float(loss.detach())}; take a smaller {argument('learning_rate')} than "
                f"{self.how.learning_rate:g}"
            )
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        right = (logits.detach().argmax(1) == labels).sum()
        share = marked.double().mean() if isinstance(marked, Tensor) else 1.0
        return torch.tensor(
            [float(loss.detach()) * len(chosen), float(right), float(share) * len(chosen)],
            dtype=torch.float64,
        )

    def _marked(self, images: Tensor, chosen: Tensor, epoch: int) -> Tensor | None:
        """The pixels with the full budget; None where these are all."""
        since = epoch - self.how.warm_up
        if self.budgets is None or since < 0:
            return None
        if self.marked is None:
            return self.budgets.marked(images)
        if since % self.how.refresh == 0:
            self.marked[chosen] = self.budgets.marked(images).cpu()
        return self.marked[chosen].to(images.device)

    def _attacked(
        self, images: Tensor, labels: Tensor, marked: Tensor | None, generator: torch.Generator
    ) -> Tensor:
        budget = torch.full((len(images), *images.shape[2:]), self.budget.full)
        if marked is not None and self.budgets is not None:
            budget = self.budgets.map(marked)
        budget = budget.to(self.device)
        box, away = self.scale.box(images, budget), self.scale.distance(budget, images)
        start = starts(images, away, box, generator)
        step, steps = self.scale.distance(self.how.step(self.budget.full), images), self.how.steps
        if not OBJECTIVES[self.how.objective].diverging:
            return attacked_by(
                self.how.attack, self._logits, images, labels, start, box, step, steps
            )
        with torch.no_grad():
            natural = self._logits(images)
        return pgd(lambda x: divergence(self._logits(x), natural), start, box, steps, step)

    def _logits(self, images: Tensor) -> Tensor:
        with self._mixed():
            return self.network(images).float()

    def _mixed(self) -> AbstractContextManager:
        mixed = self.how.precision != FLOAT32
        return torch.autocast(self.device.type, torch.bfloat16, enabled=mixed)
