"""Callable targets through searches and all metrics, whatever the network returns."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import sycam
from sycam.errors import OptionError
from sycam.metrics import METRICS

FORMS = {
    "dict": (lambda y: {"out": y}, lambda row: row["out"][0]),
    "tuple": (lambda y: (y, y * 2), lambda row: row[0][0]),
    "detections": (lambda y: [{"scores": one} for one in y], lambda row: row["scores"][0]),
    "4-D": (lambda y: y[:, :, None, None], lambda row: row[0, 0, 0]),
    "1-D": (lambda y: y[:, 0], lambda row: row),
}
OF_CLASSES = ("class-sensitivity", "relative-drop", "rm")  # what a callable knows nothing of
OF_SCORES = [name for name in METRICS if name not in OF_CLASSES]
IMAGES = torch.rand(12, 3, 16, 16, generator=torch.Generator().manual_seed(1))


class Returning(nn.Module):
    """A network whose outputs are packed by a function."""

    def __init__(self, network: nn.Module, pack: Callable[[Tensor], object]):
        super().__init__()
        self.network, self.pack = network, pack

    def forward(self, images: Tensor) -> object:
        return self.pack(self.network(images))


def figures(network: nn.Module, target: Callable) -> dict[str, float]:
    masks = torch.zeros(4, 16, 16, dtype=torch.bool)
    masks[:, 3:9, 5:12] = True
    found = sycam.evaluate(
        network, "network.3", IMAGES[:4], ["grad-cam"], OF_SCORES, masks=masks, target=target
    )
    return {metric: found.cells["grad-cam", metric].mean for metric in OF_SCORES}


def search(network: nn.Module, target: Callable, folder: Path) -> dict[str, float]:
    """Held-out figures of a search."""
    found = sycam.synthesize(
        network, "network.3", IMAGES, metric="average-drop", target=target, search_images=4,
        heldout=4, budget=2, max_cost=2, out=folder,
    )  # fmt: skip
    return {row.name: row.heldout.mean for row in found.validation.rows}


@pytest.fixture(scope="module")
def once() -> Callable:
    """``once(f, ...)``: what f returned at the first call."""
    made = {}

    def call(function: Callable, *arguments: object) -> object:
        if function not in made:
            made[function] = function(*arguments)
        return made[function]

    return call


def plain(network: nn.Module) -> tuple[nn.Module, Callable]:
    return Returning(network, lambda y: y), lambda row: row[0].sigmoid()


@pytest.mark.parametrize("form", FORMS)
def test_every_metric_has_the_figure_of_plain_outputs(form, small_network, once):
    pack, target = FORMS[form]
    network = Returning(small_network, pack)
    found = figures(network, lambda row: target(row).sigmoid())
    assert len(found) + len(OF_CLASSES) >= 35
    expected = once(figures, *plain(small_network))
    assert found == pytest.approx(expected, abs=1e-4, nan_ok=True)
    for metric in OF_CLASSES:
        with pytest.raises(OptionError, match=f"metric '{metric}' .*explain a class"):
            sycam.evaluate(network, "network.3", IMAGES[:4], "grad-cam", metric, target=target)


@pytest.mark.parametrize("form", FORMS)
def test_a_search_and_its_validation(form, small_network, once, tmp_path):
    """Validation on held-out images once failed after the whole budget."""
    pack, target = FORMS[form]
    network = Returning(small_network, pack)
    found = search(network, lambda row: target(row).sigmoid(), tmp_path / "run")
    expected = once(search, *plain(small_network), tmp_path / "plain")
    assert len(found) > 10
    assert found == pytest.approx(expected, abs=1e-4)
