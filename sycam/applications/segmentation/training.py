"""The two phases of AME-CAM's training: the classifier with all exits, then their attention."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from sycam.applications.checkpoints import optimizer_tensors, refill_optimizer
from sycam.applications.segmentation.attention import ExitAttention
from sycam.applications.segmentation.exits import MultiExit, logits_of, scaled
from sycam.applications.segmentation.losses import (
    contrastive_loss,
    exit_weights,
    exits_loss,
    ground_vectors,
)
from sycam.applications.segmentation.options import SegmentOptions
from sycam.applications.segmentation.polarity import class_evidence, polarity_of
from sycam.errors import NetworkError
from sycam.networks.untouched import device_of, seeded
from sycam.support.arguments import argument
from sycam.support.schema import Count, Figure

EXITS, ATTENTION = PHASES = ("exits", "attention")
_OPTIMIZER = "optimizer."
_AT_ONCE = 32  # images


@dataclass(frozen=True)
class EpochRow:
    """One epoch.

    Attributes:
        phase: ``"exits"`` or ``"attention"``.
        epoch: of the phase, counted from 1.
        loss: mean over the images.
        accuracy: share of the images that the deepest exit classifies as labelled, each before
            the update that it took part in; of the attention, on the images with the object.
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
        images: ``[N,C,H,W]``.
        present: bool ``[N]``, which of them show the object.
        how: the options.
        seed: decides order, flips and what the network draws (dropout).
        history: a row per finished epoch.
    """

    network: Network
    images: Tensor
    present: Tensor
    how: SegmentOptions
    seed: int
    history: list[EpochRow] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.device = device_of(self.network)
        self.weights = exit_weights(len(self.network.exits.places))
        shown = int(self.present.sum())
        self.balance = (len(self.present) - shown) / shown if self.how.balanced else 1.0
        self.optimizer = self._optimizer()

    @property
    def phase(self) -> str:
        """Of the next epoch."""
        return EXITS if len(self.history) < self.how.epochs else ATTENTION

    @property
    def number(self) -> int:
        """Of the next epoch in its phase, counted from 0."""
        done = len(self.history)
        return done if self.phase == EXITS else done - self.how.epochs

    @property
    def done(self) -> bool:
        return len(self.history) >= self.how.epochs + self.how.attention_epochs

    @property
    def chosen(self) -> Tensor:
        """Indices of the images of the next epoch: the attention learns from those with the object
        alone, as the others have no foreground."""
        everything = torch.arange(len(self.images))
        return everything if self.phase == EXITS else everything[self.present]

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
        generator = _generator(phase, self.seed, number)
        rate = self._rate(phase, number)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        order = chosen[torch.randperm(len(chosen), generator=generator)]
        totals, passed = torch.zeros(2, dtype=torch.float64), 0
        step = self._classify if phase == EXITS else self._contrast
        # Exits alone are trained on an encoder that is as it will be used.
        self.network.train(phase == EXITS and self.how.fine_tune)
        with seeded(int(torch.randint(1 << 31, (), generator=generator)), self.device):
            # Of nearly one size: neither batch norm nor pairs can do with a single image.
            for part in order.tensor_split(max(1, len(order) // self.how.batch)):
                images = self.images[part.to(self.images.device)].to(self.device)
                if self.how.flip:
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
        exits, shown, parts = self.network.exits, self.images[self.present], []
        for part in shown.split(_AT_ONCE):
            part = part.to(self.device)
            maps = scaled(exits.maps(exits.features(part)), part.shape[-2:])
            parts.append(torch.stack([class_evidence(exits.logit, part, one)
                                      for one in maps.unbind(1)]))  # fmt: skip
        evidence = torch.cat(parts, 1)
        self.network.signs.copy_(torch.tensor([polarity_of(one, self.seed)[0] for one in evidence]))

    def tensors(self) -> dict[str, Tensor]:
        """What a training that goes on needs beside the history."""
        return self.network.state_dict() | optimizer_tensors(self.optimizer, _OPTIMIZER)

    def refill(self, tensors: dict[str, Tensor], history: list[EpochRow]) -> None:
        """Put the training into a state of :meth:`tensors`.

        Raises:
            KeyError, RuntimeError, ValueError: tensors of another network.
        """
        own = {n: t for n, t in tensors.items() if not n.startswith(_OPTIMIZER)}
        self.network.load_state_dict(own)
        self.history = list(history)
        self.optimizer = self._optimizer()
        refill_optimizer(self.optimizer, tensors, _OPTIMIZER)

    def _optimizer(self) -> torch.optim.Optimizer:
        """A fresh one of the phase; what it does not train takes no gradient."""
        exits, attention = self.network.exits, self.network.attention
        of_exits = self.phase == EXITS
        exits.requires_grad_(of_exits)
        if of_exits and not self.how.fine_tune:
            exits.encoder.requires_grad_(False)
        attention.requires_grad_(not of_exits)
        trained = [one for one in self.network.parameters() if one.requires_grad]
        decay = self.how.weight_decay if of_exits else 0.0
        return torch.optim.AdamW(trained, weight_decay=decay)

    def _rate(self, phase: str, number: int) -> float:
        how = self.how
        first, epochs = (
            (how.learning_rate, how.epochs)
            if phase == EXITS
            else (how.attention_learning_rate, how.attention_epochs)
        )
        return first * 0.5 * (1 + math.cos(math.pi * number / epochs))

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
            name = "learning_rate" if self.phase == EXITS else "attention_learning_rate"
            raise NetworkError(
                f"the training diverged: the loss of a batch is {float(loss)}; take a smaller "
                f"{argument(name)} than {rate:g}"
            )
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()


def _generator(phase: str, seed: int, number: int) -> torch.Generator:
    text = f"{phase}/{seed}/{number}"
    drawn = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
    return torch.Generator().manual_seed(drawn)
