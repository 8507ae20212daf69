"""What a worker does: it makes network and evidence once, and scores what it is told to."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

import torch

from sycam.evidence import Evidence, Stack
from sycam.metrics import Context
from sycam.problem.explained_network import ExplainedNetwork
from sycam.scoring.scorer import Scorer
from sycam.support.cores import cores
from sycam.support.mapped_tensor import VARIABLE, limit, memory
from sycam.workers.orders import Answer, Done, Facts, Failed, Missing, Order
from sycam.workers.parcels import Parcel
from sycam.workers.portable import expression_of, method_of, metric_of
from sycam.workers.recipe import Recipe
from sycam.workers.shards import images_of, opened_shard
from sycam.workers.unmeasured import Unmeasured, measured_bytes

_Images = tuple[Evidence | Stack, Context]


class _Bench:
    """What this process has made of one recipe.

    Shards are kept while there is room, those that were wanted last.

    Args:
        recipe: of the network.
    """

    def __init__(self, recipe: Recipe):
        self._recipe = recipe
        self._explained: ExplainedNetwork | None = None
        self._shards: dict[str, tuple[_Images, int]] = {}  # with their bytes
        self._scorers: dict[tuple, Scorer] = {}

    def has(self, shard: str) -> bool:
        return shard in self._shards

    def put(self, shard: str, data: bytes) -> None:
        """Take a shard in, and measure it if need be; with the first the network is made."""
        if self._explained is None:
            self._explained = self._recipe.made(images_of(data), *_device)
        data = measured_bytes(data, self._explained)
        room = _room(self._explained.classifier.device) - len(data)
        while self._shards and sum(size for _, size in self._shards.values()) > room:
            oldest = next(iter(self._shards))
            del self._shards[oldest]
            self._scorers = {k: v for k, v in self._scorers.items() if k[0] != oldest}
        self._shards[shard] = opened_shard(data, self._explained), len(data)

    def images(self, shard: str) -> _Images:
        """A shard that is here."""
        self._shards[shard] = kept = self._shards.pop(shard)  # the last that was wanted
        return kept[0]

    def scorer(self, order: Order) -> Scorer:
        """Of the images of an order; kept, with what is drawn or measured for them once."""
        evidence, context = self.images(order.shard.digest)
        key = order.shard.digest, order.start, order.stop, order.seed, order.scale
        if key not in self._scorers:
            part = slice(order.start, order.stop)
            self._scorers[key] = Scorer(
                metric_of(order.metrics[0]),
                evidence.subset(part),
                replace(context.subset(part), seed=order.seed, scale=order.scale),
                order.share,
            )
        return self._scorers[key]


def _room(device: torch.device) -> int:
    """Bytes for shards: of the memory a quarter, shared with as many workers as there are cores."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory // _PART
    if VARIABLE in os.environ:
        return limit()
    return max(memory() // (_PART * cores()), _LEAST)


_PART = 4
_LEAST = 2**28
_benches: dict[str, _Bench] = {}
_device: list[str] = []  # of this process, where it is not the run's
_MOST = 2  # recipes: a run's own, and the same network in another precision
_one_at_a_time = threading.RLock()  # an executor may be of threads


def compute_on(device: str) -> None:
    """Compute on a device of this process's own, whichever the run's is."""
    _device[:] = [device]


def perform(order: Order, attached: Mapping[str, bytes]) -> Answer:
    """Carry an order out.

    Args:
        order: what is to be scored.
        attached: content by its digest, for a worker that said it was missing.
    """
    _let_the_driver_be_interrupted()
    try:
        with _one_at_a_time, one_thread():
            return _performed(order, attached)
    except Exception as error:  # it is the driver's to tell
        text = traceback.format_exc()
        try:
            pickle.loads(pickle.dumps(error))  # noqa: S301 (it was made in the line itself)
        except Exception:
            return Failed(None, text)
        return Failed(error, text)


def _performed(order: Order, attached: Mapping[str, bytes]) -> Answer:
    bench = _benches.get(order.recipe.digest)
    wanted: list[Parcel | Unmeasured] = [] if bench else [order.recipe]
    if bench is None or not bench.has(order.shard.digest):
        wanted.append(order.shard)
    contents = {one.digest: _content(one, attached) for one in wanted}
    if missing := tuple(digest for digest, data in contents.items() if data is None):
        return Missing(missing)
    if bench is None:
        while len(_benches) >= _MOST:
            del _benches[next(iter(_benches))]
        bench = _Bench(Recipe.from_bytes(contents[order.recipe.digest] or b""))
        _benches[order.recipe.digest] = bench
    if (data := contents.get(order.shard.digest)) is not None:
        bench.put(order.shard.digest, data)
    if not order.metrics:
        evidence, context = bench.images(order.shard.digest)
        outputs = None if evidence.outputs is None else evidence.outputs.cpu().numpy()
        facts = Facts(context.targets.cpu().numpy(), context.clean.cpu().numpy(), outputs)
        return Done(None, len(context), facts)
    scorer = bench.scorer(order)
    metrics, before = [metric_of(one) for one in order.metrics], scorer.context.classifier.passes
    if order.method is not None:
        raw = scorer.raw_of(metrics, method_of(order.method), order.levels)
    else:
        raw = scorer.raw(metrics, [expression_of(e) for e in order.expressions], order.levels)
    return Done(raw, scorer.context.classifier.passes - before)


def _content(parcel: Parcel | Unmeasured, attached: Mapping[str, bytes]) -> bytes | None:
    return attached.get(parcel.digest) or parcel.content()


@contextmanager
def one_thread() -> Iterator[None]:
    """Torch computes on one thread, as everywhere: how many there are may decide the last bits."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _let_the_driver_be_interrupted() -> None:
    """Ctrl-C reaches all processes of a terminal; it is the driver that decides what ends."""
    child = multiprocessing.parent_process() is not None
    if child and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def ready() -> bool:
    """Nothing, so that a process is there when it is wanted."""
    return True
