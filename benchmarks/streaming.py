"""What the run's own process keeps of images that workers read and measure.

    python benchmarks/streaming.py [--images 100 1000 10000] [--size 64] [--in-process 100 1000]

For each number a folder of pictures is drawn, and a process of its own searches on all of them by
the demo network, with workers that are simulated: they answer at once, with probabilities drawn at
random and scores as ROAD's are, so that all that is measured is what the run itself keeps. Memory
is that which is resident and no page of a file (``RssAnon``, asked fifty times a second), as the
system takes pages of files back where it needs the room: at its peak, and at the end. Beside it
stands a process that reads and measures the images itself, and does no more.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

FORMULAS = 24
LEVELS = 9  # of ROAD
HELD_OUT = 16


class Simulated:
    """Answers as workers would, at once."""

    _max_workers = 64

    def __init__(self) -> None:
        self._chance = np.random.default_rng(0)

    def submit(self, _function: Callable[..., Any], order: Any, _attached: dict) -> Future:
        """What an order's worker would have said."""
        from sycam.scoring.scorer import Raw
        from sycam.workers.orders import Done, Facts

        chance = self._chance
        future: Future = Future()
        if not order.metrics:
            count = len(order.shard.digests)
            outputs = chance.normal(size=(count, 4)).astype(np.float32)
            clean = chance.random(count).astype(np.float32)
            facts = Facts(outputs.argmax(1).astype(np.int64), clean, outputs)
            future.set_result(Done(None, count, facts))
            return future
        texts = order.expressions or (str(order.method),)
        scores = np.stack([self._scores(text, order) for text in texts])
        flat = np.zeros((len(texts), order.stop - order.start), bool)
        raw = Raw((scores,) * len(order.metrics), flat, np.ones(len(texts), bool))
        future.set_result(Done(raw, flat.shape[1]))
        return future

    def _scores(self, text: str, order: Any) -> np.ndarray:
        """Of one candidate: images are harder or easier for all, and formulas differ by less."""
        image = zlib.crc32(order.shard.digest.encode())
        hard = np.random.default_rng(image).normal(0.2, 0.1, 64)
        good = np.random.default_rng(zlib.crc32(text.encode())).normal(0.0, 0.03)
        each = hard[order.start : order.stop] + good
        levels = each[:, None] if order.levels is None else order.levels
        # Whoever asks, and whenever: noise that content decides.
        asked = zlib.crc32(f"{text} {order.start}".encode() + levels.tobytes(), image)
        noise = np.random.default_rng(asked).normal(0, 0.05, levels.shape)
        scores = (each[:, None] + noise) / (1 if order.levels is None else LEVELS)
        return scores[:, 0] if order.levels is None else scores


def draw(folder: Path, count: int, size: int) -> None:
    """So many pictures, each another."""
    chance = np.random.default_rng(0)
    for i in range(count):
        small = chance.integers(0, 256, (8, 8, 3), np.uint8)
        Image.fromarray(small).resize((size, size), Image.Resampling.BILINEAR).save(
            folder / f"{i:06}.jpg", quality=90
        )


def resident() -> float:
    """MiB of this process, on Linux."""
    lines = Path("/proc/self/status").read_text().splitlines()
    fields = dict(line.split(":", 1) for line in lines)
    return int(fields["RssAnon"].split()[0]) / 1024


class Watched:
    """The most memory that was resident within this context."""

    def __enter__(self) -> Watched:
        self.peak, self._ended = 0.0, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(0.02):
            self.peak = max(self.peak, resident())


def child(folder: Path, own: bool) -> None:
    """Search, or measure, and print what was resident."""
    import sycam
    from sycam.data.images import open_images
    from sycam.events import ignore
    from sycam.methods import ALWAYS
    from sycam.problem.explained_network import ExplainedNetwork

    started = time.monotonic()
    images = open_images(folder / "images", mean=[0.5] * 3, std=[0.25] * 3)
    with Watched() as watched:
        if own:
            read = images.whole()
            kept = ExplainedNetwork.prepare("demo", "last", read).measure(read, ignore, ALWAYS)
        else:
            kept = sycam.synthesize(
                "demo", "last", images, "road", "gradient", budget=FORMULAS, out=folder / "run",
                search_images=len(images), heldout=open_images(folder / "heldout", **_SCALE),
                executor=Simulated(), report=False,
            )  # fmt: skip
    said = {"seconds": time.monotonic() - started, "peak": watched.peak, "end": resident()}
    print(json.dumps(said | {"kept": str(type(kept))}))


_SCALE: dict[str, Any] = {"mean": [0.5] * 3, "std": [0.25] * 3}


def measured(count: int, size: int, own: bool) -> dict:
    """What a child says."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "images").mkdir()
        (folder / "heldout").mkdir()
        draw(folder / "images", count + HELD_OUT, size)
        for file in sorted((folder / "images").iterdir())[:HELD_OUT]:
            file.rename(folder / "heldout" / file.name)
        command = [sys.executable, __file__, "--child", str(folder), *(["--own"] if own else [])]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(done.stderr[-2000:])
        return json.loads(done.stdout.splitlines()[-1])


def make_parser() -> argparse.ArgumentParser:
    """What the command takes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", nargs="+", type=int, default=[100, 1000, 10_000])
    parser.add_argument("--in-process", nargs="*", type=int, default=[100, 1000])
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--own", action="store_true", help=argparse.SUPPRESS)
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    asked = make_parser().parse_args(arguments)
    if asked.child is not None:
        child(asked.child, asked.own)
        return
    print("| images | who measures | peak, MiB | at the end | s |")
    print("|---|---|---|---|---|")
    rows = [(n, False) for n in asked.images] + [(n, True) for n in asked.in_process]
    for count, own in rows:
        said = measured(count, asked.size, own)
        print(
            f"| {count:,} | {'this process' if own else 'workers, simulated'} "
            f"| {said['peak']:.0f} | {said['end']:.0f} | {said['seconds']:.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
