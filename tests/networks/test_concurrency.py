"""Several threads on one network at once: right heatmaps, and no trace."""

from __future__ import annotations

import copy
import pickle
import random
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import sycam
from sycam import CAM
from sycam.errors import NetworkError, RunError
from sycam.evidence import find_layer, measure
from sycam.inference.acceleration import folded
from sycam.metrics.robustness.sanity import modules_in_order
from sycam.networks.untouched import untouched

THREADS, CALLS = 8, 500


@pytest.fixture(autouse=True)
def often_switched() -> Iterator[None]:
    """Threads take turns a hundred times as often as usual."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(5e-5)
    yield
    sys.setswitchinterval(before)


def small(seed: int = 3) -> nn.Sequential:
    """In train mode, where dropout and batch norm would give other heatmaps."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(inplace=True),
        nn.Conv2d(4, 5, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Flatten(),
        nn.Linear(80, 3),
    ).train()


@pytest.fixture
def network() -> nn.Sequential:
    return small()


@pytest.fixture
def images() -> Tensor:
    return torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def trace(network: nn.Module) -> object:
    """All that a call could leave behind, apart from parameters and buffers."""
    modules = [
        (m.training, len(m._forward_hooks), len(m._forward_pre_hooks), sorted(vars(m)))
        for m in network.modules()
    ]
    return modules, [p.grad for p in network.parameters()], torch.get_rng_state().tolist()


def at_once(works: list[Callable[[], object]], threads: int = THREADS) -> list:
    with ThreadPoolExecutor(threads) as pool:
        return [future.result() for future in [pool.submit(work) for work in works]]


def heatmaps_at_once(cams: list[Callable], images: Tensor) -> None:
    """500 calls in 8 threads give, to the last bit, what each gives alone."""
    jobs = [(cam, i) for cam in cams for i in range(len(images))]
    alone = {(cam, i): cam(images[i : i + 1], [1]) for cam, i in jobs}
    calls = (jobs * (CALLS // len(jobs) + 1))[:CALLS]
    random.Random(0).shuffle(calls)
    found = at_once([lambda cam=cam, i=i: cam(images[i : i + 1], [1]) for cam, i in calls])
    wrong = [call for call, maps in zip(calls, found, strict=True) if not maps.equal(alone[call])]
    assert not wrong


def test_heatmaps_of_one_network_in_eight_threads(network, images):
    before = trace(network), copy.deepcopy(network.state_dict())
    texts = ["max(A)", "mean(G)", "D", "softmax(S)", "mean(relu(G)) * D"]
    heatmaps_at_once([CAM(network, "4", text) for text in texts], images)
    assert trace(network) == before[0]
    assert all(torch.equal(t, before[1][n]) for n, t in network.state_dict().items())


def test_layers_are_found_in_eight_threads(network, images):
    kinds = [
        lambda: find_layer(network, "auto", images).name,
        lambda: modules_in_order(network, [find_layer(network, "4", images)], images),
        lambda: CAM(network, "4", "fullgrad")(images[:1]).tolist(),
    ]
    before, alone = trace(network), [kind() for kind in kinds]
    assert at_once(kinds * 20) == alone * 20
    assert trace(network) == before


def test_another_threads_own_backward_keeps_its_gradients(network, images):
    """Not through SyCAM, so not locked out; the hooks of our passes must not see its passes."""
    network.eval()
    wanted = CAM(network, "4", "mean(G) * D")(images, [1] * 4)
    parameters = list(network.parameters())

    def gradients() -> list[Tensor]:
        return list(
            torch.autograd.grad(F.cross_entropy(network(images), torch.arange(4) % 3), parameters)
        )

    expected, stop, lost = gradients(), threading.Event(), []

    def own() -> int:
        passes = 0
        while not stop.is_set():
            lost.extend(not a.equal(b) for a, b in zip(gradients(), expected, strict=True))
            passes += 1
        return passes

    def explained() -> bool:
        found = [CAM(network, "4", "mean(G) * D")(images, [1] * 4) for _ in range(40)]
        find_layer(network, "auto", images)
        return all(maps.equal(wanted) for maps in found)

    with ThreadPoolExecutor(4) as pool:
        owns = [pool.submit(own) for _ in range(2)]
        ours = [pool.submit(explained) for _ in range(2)]
        try:
            assert all(future.result() for future in ours)
        finally:
            stop.set()
        assert sum(future.result() for future in owns) > 20
    assert not any(lost)
    assert all(p.grad is None for p in parameters)


class Samples(nn.Module):
    """Dropout that is always on."""

    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(x, 0.3, training=True)


def test_networks_that_sample_draw_the_same_in_any_thread(images):
    networks = [small(seed) for seed in (1, 2, 3)]
    for network in networks:
        network.insert(5, Samples())
    cams = [CAM(network, "4", text) for network in networks for text in ("mean(G)", "D")]
    torch.manual_seed(11)
    before = torch.get_rng_state()
    heatmaps_at_once(cams, images)
    assert torch.get_rng_state().equal(before)


def test_a_thread_that_trains_meanwhile_is_told_and_stays_in_train_mode(network, images):
    """The values may be of train mode, so they are not given."""
    network.eval()

    def other_thread(row: Tensor) -> Tensor:
        at_once([network.train])
        return row[0]

    with pytest.raises(NetworkError, match=r"switched Sequential to train mode.*copy"):
        CAM(network, "4", "mean(G)")(images, other_thread)
    assert all(module.training for module in network.modules())
    network.eval()
    assert CAM(network, "4", "mean(G)")(images).amax() == 1


def test_modes_are_not_set_where_they_need_not_be(network, images):
    """So that nothing is put back under another thread."""
    seen = []

    class Watched(nn.Conv2d):
        def __setattr__(self, name: str, value: object) -> None:
            if name == "training":
                seen.append(value)
            super().__setattr__(name, value)

    network[3] = Watched(4, 5, 3, stride=2, padding=1)
    network.eval()
    seen.clear()
    CAM(network, "4", "D")(images)
    assert not seen


def pickled(network: nn.Module) -> nn.Module:
    return pickle.loads(pickle.dumps(network))  # noqa: S301 (its own)


@pytest.mark.parametrize("copied", [copy.deepcopy, pickled])
def test_a_copy_that_is_made_meanwhile_has_no_working_hook(copied, network, images):
    network.eval()
    made = []

    def target(row: Tensor) -> Tensor:
        made.append(at_once([lambda: copied(network)])[0])
        return row[0]

    CAM(network, "4", "mean(G)")(images[:1], target)
    assert made[0](images).equal(network(images))
    made[0](images).sum().backward()
    assert made[0][0].weight.grad.abs().max() > 0


def test_a_lock_leaves_nothing_on_the_network(network, images):
    keys = list(network.state_dict())
    with untouched(network):
        twin = pickled(copy.deepcopy(network))
        assert list(twin.state_dict()) == keys
    assert measure(network, network[4], images).activations.shape == (4, 5, 4, 4)


@pytest.mark.slow
def test_two_searches_of_one_network_at_once(network, tmp_path):
    many = torch.rand(24, 3, 8, 8, generator=torch.Generator().manual_seed(2))

    def search(name: str, metric: str) -> tuple:
        result = sycam.synthesize(
            network, "4", many, metric=metric, grammar="full", budget=12, search_images=8,
            heldout=8, max_cost=2, out=tmp_path / name,
        )  # fmt: skip
        return result.best, result.hall

    before = trace(network)
    kinds = [("a", "insertion"), ("b", "randomisation")]
    alone = [search(f"alone {name}", metric) for name, metric in kinds]
    found = at_once([lambda kind=kind: search(*kind) for kind in kinds])
    assert found == alone
    assert trace(network) == before

    def of_one_run() -> str:
        try:
            return search("c", "insertion")[0].expression
        except RunError as error:
            return str(error)

    best, refused = sorted(at_once([of_one_run] * 2), key=len)
    assert best == alone[0][0].expression
    assert str(tmp_path / "c") in refused


def test_passes_go_on_while_another_thread_folds_batch_norms():
    """Torch patches the calls of all modules, whoever makes them, while it traces a network."""
    blocks = [(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4), nn.ReLU()) for _ in range(12)]
    network, images = nn.Sequential(*sum(blocks, ())).eval(), torch.rand(1, 4, 2, 2)
    stop = threading.Event()

    def fold() -> bool:
        try:
            return all(folded(network) is not None for _ in range(10))
        finally:
            stop.set()

    def forward() -> bool:
        expected = network(images)
        while not stop.is_set():
            torch.testing.assert_close(network(images), expected)
        return True

    assert at_once([fold, forward]) == [True, True]
