"""The phases of AME-CAM's training: an encoder by SimCLR where it is asked for, the classifier with
all exits, then their attention."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor, nn

from sycam.applications.checkpoints import optimizer_tensors, refill_optimizer
from sycam.applications.pixels import PixelScale
from sycam.applications.randomness import generator_of
from sycam.applications.segmentation.attention import ExitAttention
from sycam.applications.segmentation.exits import MultiExit, logits_of, scaled
from sycam.applications.segmentation.losses import (
    contrastive_loss,
    exit_weights,
    exits_loss,
    ground_vectors,
    nt_xent,
)
from sycam.applications.segmentation.options import SegmentOptions
from sycam.applications.segmentation.polarity import class_evidence, polarity_of
from sycam.applications.segmentation.views import two_views
from sycam.data.images import ImageSet
from sycam.errors import NetworkError
from sycam.networks.untouched import device_of, seeded
from sycam.support.arguments import argument
from sycam.support.schema import Count, Figure

SIMCLR, EXITS, ATTENTION = PHASES = ("simclr", "exits", "attention")
_OPTIMIZER, _PROJECTION = "optimizer.", "projection."
_RATES = {SIMCLR: "simclr_learning_rate", EXITS: "learning_rate",
          ATTENTION: "attention_learning_rate"}  # fmt: skip
_PROJECTED = 128  # numbers in which SimCLR compares views (Chen et al., 2020)
_AT_ONCE = 32  # images


@dataclass(frozen=True)
class EpochRow:
    """One epoch.

    Attributes:
        phase: ``"simclr"``, ``"exits"`` or ``"attention"``.
        epoch: of the phase, counted from 1.
        loss: mean over the images.
        accuracy: share of the images that the deepest exit classifies as labelled, each before
            the update that it took part in; of the attention, on the images with the object; of
            SimCLR, share of the views to which none of their batch is more alike than the other
            view of the same image.
        learning_rate: of this epoch.
    """

    phase: str
    epoch: Count
    loss: Figure
    accuracy: Figure
    learning_rate: Figure


class Network(nn.Module):
    """Exits and attention together, as they are kept.

    ``signs`` ``[E]`` says of each exit's map on which side the object is: 1 hot, -1 cold.

    Args:
        exits: the encoder with exits.
        attention: over them.
    """

    signs: Tensor

    def __init__(self, exits: MultiExit, attention: ExitAttention):
        super().__init__()
        self.exits, self.attention = exits, attention
        self.register_buffer("signs", torch.ones(len(exits.places)))

    def oriented(self, maps: Tensor) -> Tensor:
        """Scaled maps ``[N,E,H,W]`` with the object hot."""
        return torch.where(self.signs[:, None, None] > 0, maps, 1 - maps)


@dataclass(eq=False)
class Phases:
    """A network in training, which is changed.

    All that is drawn in an epoch is decided by the seed, the phase and the epoch, so that a
    training that goes on draws what it would have drawn.

    Attributes:
        network: on its device.
        images: to train on.
        present: bool ``[N]``, which of them show the object.
        how: the options.
        seed: decides order, flips, views, and what the network draws (dropout).
        history: a row per finished epoch.
    """

    network: Network
    images: ImageSet
    present: Tensor
    how: SegmentOptions
    seed: int
    history: list[EpochRow] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.device, how = device_of(self.network), self.how
        self.epochs = {SIMCLR: how.simclr_epochs, EXITS: how.epochs,
                       ATTENTION: how.attention_epochs}  # fmt: skip
        self.scale = PixelScale.of(self.images)
        self.weights = exit_weights(len(self.network.exits.places))
        shown = int(self.present.sum())
        self.balance = (len(self.present) - shown) / shown if how.balanced else 1.0
        self.projection = self._projection()
        self.optimizer = self._optimizer()

    @property
    def phase(self) -> str:
        """Of the next epoch."""
        left = len(self.history)
        for phase, epochs in self.epochs.items():
            if left < epochs:
                return phase
            left -= epochs
        return ATTENTION

    @property
    def number(self) -> int:
        """Of the next epoch in its phase, counted from 0."""
        before = PHASES[: PHASES.index(self.phase)]
        return len(self.history) - sum(self.epochs[phase] for phase in before)

    @property
    def done(self) -> bool:
        return len(self.history) >= sum(self.epochs.values())

    @property
    def chosen(self) -> Tensor:
        """Indices of the images of the next epoch: the attention learns from those with the object
        alone, as the others have no foreground."""
        everything = torch.arange(len(self.images))
        return everything[self.present] if self.phase == ATTENTION else everything

    def next(self, progress: Callable[[int], None]) -> EpochRow:
        """Train for one more epoch.

        Args:
            progress: is told how many images of it are done.

        Raises:
            NetworkError: the loss is no number any more.
        """
        phase, number, chosen = self.phase, self.number, self.chosen
        if phase == ATTENTION and number == 0:
            self.orient()
        generator = generator_of(phase, self.seed, number)
        rate = self._rate(phase, number)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        order = chosen[torch.randperm(len(chosen), generator=generator)]
        totals, passed = torch.zeros(2, dtype=torch.float64), 0
        step, batch = self._classify, self.how.batch
        if phase == SIMCLR:
            step, batch = partial(self._recognise, generator), self.how.simclr_batch
        elif phase == ATTENTION:
            step = self._contrast
        # Exits alone are trained on an encoder that is as it will be used.
        self.network.train(phase == SIMCLR or (phase == EXITS and self.how.fine_tune))
        with seeded(int(torch.randint(1 << 31, (), generator=generator)), self.device):
            # Of nearly one size: neither batch norm nor pairs can do with a single image.
            for part in order.tensor_split(max(1, len(order) // batch)):
                images = self.images.images[part.to(self.images.images.device)].to(self.device)
                if self.how.flip and phase != SIMCLR:
                    mirrored = torch.rand(len(part), generator=generator) < 0.5
                    mirrored = mirrored.to(self.device)[:, None, None, None]
                    images = torch.where(mirrored, images.flip(-1), images)
                loss, right = step(images, self.present[part].to(self.device))
                self._update(loss, rate)
                totals += torch.tensor([float(loss.detach()) * len(part), right])
                passed += len(part)
                progress(passed)
        self.network.eval()
        loss, accuracy = (totals / len(order)).tolist()
        row = EpochRow(phase, number + 1, loss, accuracy, rate)
        self.history.append(row)
        if self.phase != phase:
            self.optimizer = self._optimizer()
        return row

    @torch.no_grad()
    def orient(self) -> None:
        """Decide by class evidence which side of each exit's map is the object."""
        exits, shown, parts = self.network.exits, self.images.images[self.present], []
        for part in shown.split(_AT_ONCE):
            part = part.to(self.device)
            maps = scaled(exits.maps(exits.features(part)), part.shape[-2:])
            parts.append(torch.stack([class_evidence(exits.logit, part, one)
                                      for one in maps.unbind(1)]))  # fmt: skip
        evidence = torch.cat(parts, 1)
        self.network.signs.copy_(torch.tensor([polarity_of(one, self.seed)[0] for one in evidence]))

    def tensors(self) -> dict[str, Tensor]:
        """What a training that goes on needs beside the history."""
        kept = self.network.state_dict() | optimizer_tensors(self.optimizer, _OPTIMIZER)
        if self.phase == SIMCLR:  # afterwards nothing needs it any more
            head = self.projection.state_dict()
            kept |= {f"{_PROJECTION}{name}": tensor for name, tensor in head.items()}
        return kept

    def refill(self, tensors: dict[str, Tensor], history: list[EpochRow]) -> None:
        """Put the training into a state of :meth:`tensors`.

        Raises:
            KeyError, RuntimeError, ValueError: tensors of another network.
        """
        apart = (_OPTIMIZER, _PROJECTION)
        own = {n: t for n, t in tensors.items() if not n.startswith(apart)}
        self.network.load_state_dict(own)
        self.history = list(history)
        if self.phase == SIMCLR:
            self.projection.load_state_dict(
                {n.removeprefix(_PROJECTION): t for n, t in tensors.items()
                 if n.startswith(_PROJECTION)}
            )  # fmt: skip
        self.optimizer = self._optimizer()
        refill_optimizer(self.optimizer, tensors, _OPTIMIZER)

    def _optimizer(self) -> torch.optim.Optimizer:
        """A fresh one of the phase; what it does not train takes no gradient."""
        exits, attention, phase = self.network.exits, self.network.attention, self.phase
        exits.requires_grad_(phase == EXITS)
        exits.encoder.requires_grad_(phase == SIMCLR or (phase == EXITS and self.how.fine_tune))
        attention.requires_grad_(phase == ATTENTION)
        trained = [one for one in self.network.parameters() if one.requires_grad]
        if phase == SIMCLR:
            trained += self.projection.parameters()
        decay = 0.0 if phase == ATTENTION else self.how.weight_decay
        return torch.optim.AdamW(trained, weight_decay=decay)

    def _projection(self) -> nn.Module:
        """SimCLR's head: from features of the deepest exit, pooled, to what views are compared by
        (Chen et al., 2020: two layers, 128 numbers)."""
        channels = self.network.exits.places[-1].channels
        drawn = torch.randint(1 << 31, (), generator=generator_of("projection", self.seed))
        with seeded(int(drawn)):
            head = nn.Sequential(
                nn.Linear(channels, channels), nn.ReLU(), nn.Linear(channels, _PROJECTED)
            )
        return head.to(self.device)

    def _rate(self, phase: str, number: int) -> float:
        first = getattr(self.how, _RATES[phase])
        return first * 0.5 * (1 + math.cos(math.pi * number / self.epochs[phase]))

    def _recognise(
        self, generator: torch.Generator, images: Tensor, _present: Tensor
    ) -> tuple[Tensor, float]:
        """Loss of a batch, and in how many images' worth of views the other view is known again."""
        views = two_views(images, self.scale, generator)
        features = self.network.exits.features(views)[-1]
        loss, known = nt_xent(self.projection(features.mean((2, 3))), self.how.temperature)
        return loss, float(known) / 2

    def _classify(self, images: Tensor, present: Tensor) -> tuple[Tensor, float]:
        """Loss of a batch, and how many images the deepest exit classifies as labelled."""
        exits = self.network.exits
        logits = logits_of(exits.maps(exits.features(images)))
        right = ((logits[:, -1] > 0) == present).sum()
        return exits_loss(logits, present, self.weights, self.balance), float(right)

    def _contrast(self, images: Tensor, present: Tensor) -> tuple[Tensor, float]:
        exits = self.network.exits
        with torch.no_grad():
            features = exits.features(images)
            maps = exits.maps(features)
        right = ((logits_of(maps)[:, -1] > 0) == present).sum()
        large = self.network.oriented(scaled(maps, images.shape[-2:]))
        heat = self.network.attention(large, images)
        front, back = ground_vectors(heat, features[-1])
        return contrastive_loss(front, back, self.how.rank_decay), float(right)

    def _update(self, loss: Tensor, rate: float) -> None:
        if not torch.isfinite(loss):
            raise NetworkError(
                f"the training diverged: the loss of a batch is {float(loss)}; take a smaller "
                f"{argument(_RATES[self.phase])} than {rate:g}"
            )
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
