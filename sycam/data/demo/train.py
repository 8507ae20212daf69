"""Train the demo's network again: ``python -m sycam.data.demo.train [--epochs --seed --out]``.

Trains on scenes of the split ``"train"``, keeps the epoch that reads ``"search"`` scenes best, and
reports the accuracy on ``"heldout"`` scenes, which no choice here looked at. Takes about five
minutes on two cores.
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from sycam.data.demo.network import WEIGHTS, DemoNet, normalise
from sycam.data.demo.scenes import Scenes, scenes_between

TRAIN_SCENES = 30_000
SEARCH_SCENES = 2_000
HELDOUT_SCENES = 4_000
BATCH = 128
LEARNING_RATE = 2e-3
WEIGHT_DECAY = 0.05
SHIFT = 3  # pixels


def train(epochs: int, seed: int, say: Callable[[str], None] = print) -> DemoNet:
    """Train on scenes of the split ``"train"`` and return the network of the best epoch.

    The same seed gives the same scenes, augmentation and initial weights; the result is the same
    up to the rounding of the machine's kernels.

    Args:
        epochs: passes over the training scenes, at least 1.
        seed: of initial weights, scenes and augmentation.
        say: called with each line of progress.

    Returns:
        The network with the best accuracy on ``"search"`` scenes, batch norm folded, in eval mode.
    """
    began = time.perf_counter()
    examples = _compose("train", TRAIN_SCENES, seed)
    search = _compose("search", SEARCH_SCENES, seed)
    say(f"{len(examples)} scenes composed, {time.perf_counter() - began:.0f} s")

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = _with_batch_norm(DemoNet()).to(memory_format=torch.channels_last)
    generator = torch.Generator().manual_seed(seed)
    steps = epochs * (len(examples) // BATCH)
    optimiser = torch.optim.AdamW(net.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, LEARNING_RATE, total_steps=steps, pct_start=0.15
    )

    best, best_accuracy = net, -1.0
    for epoch in range(1, epochs + 1):
        net.train()
        losses = []
        for images, labels in _batches(examples, generator):
            loss = F.cross_entropy(net(images), labels)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            losses.append(loss.item())
        reached = accuracy(net.eval(), search)
        if reached >= best_accuracy:
            best, best_accuracy = copy.deepcopy(net), reached
        say(
            f"epoch {epoch:3d}/{epochs}  loss {np.mean(losses):.4f}  "
            f"search {reached:.2%}  {time.perf_counter() - began:.0f} s"
        )
    return _folded(best)


@torch.no_grad()
def accuracy(net: nn.Module, examples: Scenes) -> float:
    """The share of scenes whose digit the network reads correctly, 0 to 1."""
    right = 0
    for start in range(0, len(examples), 256):
        part = slice(start, start + 256)
        predicted = net(normalise(examples.images[part])).argmax(1)
        right += int((predicted == torch.from_numpy(examples.labels[part])).sum())
    return right / len(examples)


def _compose(split: str, count: int, seed: int) -> Scenes:
    """``scenes(split, count, seed)``, composed by several processes."""
    starts = range(0, count, 1000)
    stops = [min(start + 1000, count) for start in starts]
    # Not forked: this process may already run the threads of torch.
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        parts = list(
            pool.map(
                scenes_between,
                [split] * len(stops),
                starts,
                stops,
                [seed] * len(stops),
            )
        )
    return Scenes(
        *(
            np.concatenate([getattr(part, field) for part in parts])
            for field in ("images", "labels", "masks")
        )
    )


# ---------------------------------------------------------------------------- batch norm


def _with_batch_norm(net: DemoNet) -> DemoNet:
    """The same network with a batch norm after each convolution, which speeds training up."""
    layers: list[nn.Module] = []
    for layer in net.features:
        layers.append(layer)
        if isinstance(layer, nn.Conv2d):
            layers.append(nn.BatchNorm2d(layer.out_channels))
    net.features = nn.Sequential(*layers)
    return net


def _folded(net: DemoNet) -> DemoNet:
    """The network with each batch norm folded into the convolution before it."""
    net.eval()
    layers: list[nn.Module] = []
    for layer in net.features:
        if isinstance(layer, nn.BatchNorm2d):
            layers[-1] = fuse_conv_bn_eval(layers[-1], layer)
        else:
            layers.append(layer)
    plain = DemoNet()
    plain.features.load_state_dict(nn.Sequential(*layers).state_dict())
    plain.head.load_state_dict(net.head.state_dict())
    return plain.eval()


# ---------------------------------------------------------------------------- augmentation


def _batches(
    examples: Scenes, generator: torch.Generator
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """One pass in random order: augmented, normalised images [B, 3, 64, 64] and labels [B]."""
    order = torch.randperm(len(examples), generator=generator)
    for rows in order[: len(order) // BATCH * BATCH].view(-1, BATCH).numpy():
        images = normalise(examples.images[rows])
        yield _augment(images, generator), torch.from_numpy(examples.labels[rows])


def _augment(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Images [B, 3, 64, 64] moved, recoloured, partly imputed and with noise."""
    images = _shift(images, generator)
    images = _recolour(images, generator)
    images = _impute(images, generator)
    noise = torch.randn(images.shape, generator=generator)
    return images + 0.05 * noise.contiguous(memory_format=torch.channels_last)


def _shift(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Move the whole batch by up to 3 pixels, edges replicated: one shift per batch is quick."""
    padded = F.pad(images, [SHIFT] * 4, mode="replicate")
    top, left = torch.randint(0, 2 * SHIFT + 1, (2,), generator=generator).tolist()
    height, width = images.shape[-2:]
    return padded[:, :, top : top + height, left : left + width]


def _recolour(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Another contrast, brightness and tint for each image; some as negatives."""
    shape = (len(images), 3, 1, 1)
    gain = 1.0 + 0.2 * torch.randn(shape, generator=generator)
    bias = 0.2 * torch.randn(shape, generator=generator)
    negative = torch.rand((len(images), 1, 1, 1), generator=generator) < 0.15
    return torch.where(negative, -images, images) * gain + bias


def _impute(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Replace up to half of the pixels of every fourth image by a smooth filling.

    Removal metrics show the network such images: pixels filled in from their neighbours. One that
    never saw any would answer to the filling's look, not to the missing evidence.
    """
    count, side = len(images) // 4, images.shape[-1]
    chosen = images[:count]  # the order is random already
    smooth = F.interpolate(F.avg_pool2d(chosen, 8), size=(side, side), mode="bilinear")
    grain = (1, 4, 8)[int(torch.randint(3, (), generator=generator))]  # side of a patch, pixels
    ranking = torch.rand((count, 1, side // grain, side // grain), generator=generator)
    ranking = ranking.repeat_interleave(grain, 2).repeat_interleave(grain, 3)
    share = 0.5 * torch.rand((count, 1, 1, 1), generator=generator)
    images[:count] = torch.where(ranking < share, smooth, chosen)
    return images


def main() -> None:
    parser = argparse.ArgumentParser(description="Train the network of the embedded default.")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name(WEIGHTS))
    options = parser.parse_args()

    net = train(options.epochs, options.seed)
    weights = {name: value.contiguous() for name, value in net.state_dict().items()}
    save_file(weights, options.out)
    reached = accuracy(net, _compose("heldout", HELDOUT_SCENES, options.seed))
    print(f"held-out accuracy {reached:.2%} on {HELDOUT_SCENES} scenes; weights in {options.out}")


if __name__ == "__main__":
    main()
