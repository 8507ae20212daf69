"""What a worker does: it makes network and evidence once, and scores what it is told to."""

from __future__ import annotations

import multiprocessing
import pickle
import signal
import threading
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch

from sycam.evidence import Evidence, Stack
from sycam.metrics import Context
from sycam.problem.explained_network import ExplainedNetwork
from sycam.scoring.scorer import Scorer
from sycam.workers.orders import Answer, Done, Failed, Missing, Order, Parcel
from sycam.workers.portable import expression_of, method_of, metric_of
from sycam.workers.recipe import Recipe
from sycam.workers.shards import images_of, opened_shard

_Images = tuple[Evidence | Stack, Context]


class _Bench:
    """What this process has made of one recipe.

    Args:
        recipe: of the network.
    """

    def __init__(self, recipe: Recipe):
        self._recipe = recipe
        self._explained: ExplainedNetwork | None = None
        self._shards: dict[str, _Images] = {}
        self._scorers: dict[tuple[str, int, int], Scorer] = {}

    def has(self, shard: str) -> bool:
        return shard in self._shards

    def put(self, shard: str, data: bytes) -> None:
        """Take a shard in; with the first the network is made."""
        if self._explained is None:
            self._explained = self._recipe.made(images_of(data), *_device)
        self._shards[shard] = opened_shard(data, self._explained)

    def scorer(self, order: Order) -> Scorer:
        """Of the images of an order; kept, with what is drawn or measured for them once."""
        key = order.shard.digest, order.start, order.stop
        if key not in self._scorers:
            evidence, context = self._shards[order.shard.digest]
            part = slice(order.start, order.stop)
            self._scorers[key] = Scorer(
                metric_of(order.metrics[0]),
                evidence.subset(part),
                context.subset(part),
                order.share,
            )
        return self._scorers[key]


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
    wanted = [] if bench else [order.recipe]
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
    scorer = bench.scorer(order)
    metrics, before = [metric_of(one) for one in order.metrics], scorer.context.classifier.passes
    if order.method is not None:
        raw = scorer.raw_of(metrics, method_of(order.method), order.levels)
    else:
        raw = scorer.raw(metrics, [expression_of(e) for e in order.expressions], order.levels)
    return Done(raw, scorer.context.classifier.passes - before)


def _content(parcel: Parcel, attached: Mapping[str, bytes]) -> bytes | None:
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
