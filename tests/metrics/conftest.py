"""What tests of several metrics share."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from types import ModuleType

import pytest
import torch
from torch import Tensor, nn

from sycam.data.images import ImageSet
from sycam.evidence import measure
from sycam.heatmaps import maps_of, norm01
from sycam.inference import Classifier
from sycam.language import parse
from sycam.metrics import Context, Metric, find_metric
from sycam.problem.explained_network import ExplainedNetwork
from sycam.problem.options import ExplainOptions
from sycam.scoring.scorer import Scorer


@pytest.fixture(scope="session")
def score() -> Callable[..., Tensor]:
    """Score expressions under a metric through the engine that a search uses."""

    def score(
        metric: Metric | str,
        network: nn.Module,
        images: Tensor,
        expressions: Sequence[str],
        layer: str = "3",
        seed: int = 0,
        **settings,
    ) -> Tensor:
        """Scores ``[P,N]`` or ``[P,N,c]``; settings of ``ExplainOptions``."""
        metric, image_set = find_metric(metric), ImageSet.from_arrays(images)
        explained = ExplainedNetwork.prepare(
            network, layer, image_set, ExplainOptions(**settings), seed
        )
        parsed = [parse(text) for text in expressions]
        leaves = metric.leaves.union(*(e.leaves for e in parsed))
        evidence, context = explained.measure(image_set, leaves=leaves)
        metric.check(context)
        found = Scorer(metric, evidence, context).score(parsed)
        return torch.stack([torch.from_numpy(one.values) for one in found])

    return score


@pytest.fixture(scope="session")
def heatmaps() -> Callable[..., Tensor]:
    """Heatmaps ``[N,H,W]`` of one expression, without an engine."""

    def heatmaps(
        network: nn.Module, images: Tensor, expression: str, target="predicted", layer: str = "3"
    ) -> Tensor:
        evidence = measure(network, network.get_submodule(layer), images, target)
        return maps_of([parse(expression)], evidence, tuple(images.shape[2:])).maps[0]

    return heatmaps


@pytest.fixture
def network12() -> nn.Module:
    """``[N,3,12,12]`` to four classes that depend on every pixel."""
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 12 * 12, 4)
    ).eval()


@pytest.fixture
def context12(network12) -> Callable[..., Context]:
    """Random images under ``network12``, of which the likeliest class is explained."""

    def build(count: int = 3, network: nn.Module = network12, colours: int = 3) -> Context:
        generator = torch.Generator().manual_seed(7)
        images = torch.randn(count, colours, 12, 12, generator=generator)
        classifier = Classifier(network)
        with torch.no_grad():
            outputs = network(images)
        targets = outputs.argmax(1)
        return Context(
            images=images,
            targets=targets,
            clean=classifier.probability(images, targets),
            classifier=classifier,
            digests=[f"image {i}" for i in range(count)],
            outputs=outputs,
        )

    return build


@pytest.fixture(scope="session")
def maps12() -> Callable[..., Tensor]:
    """Random heatmaps ``[P,N,12,12]`` without ties."""

    def build(candidates: int, count: int = 3, seed: int = 1) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        return norm01(torch.rand(candidates, count, 12, 12, generator=generator))

    return build


@pytest.fixture
def wavering(small_network, small_images) -> nn.Module:
    """The small network with its mean scores taken off, so that noise changes predictions."""
    with torch.no_grad():
        small_network[-1].bias -= small_network(small_images).mean(0)
    return small_network


@pytest.fixture(scope="session")
def quantus(grad_cam) -> ModuleType:
    """The quantus package; it needs the torchvision that ``grad_cam`` has imported."""
    return pytest.importorskip("quantus")


class GivenMaps:
    """Heatmaps that are there already, as TorchCAM's metrics ask an extractor for them."""

    def __init__(self, network, maps):
        self.model, self.maps = network, maps

    def __call__(self, class_idx=None, scores=None, **_):
        return [self.maps]

    def fuse_cams(self, maps):
        return maps[0]

    def _hooks_off(self):
        return contextlib.nullcontext()


@pytest.fixture(scope="session")
def given_maps() -> type[GivenMaps]:
    """Makes a TorchCAM extractor of a network and heatmaps ``[N,H,W]``."""
    return GivenMaps


@pytest.fixture
def measured(monkeypatch) -> list[int]:
    """Grows by the number of images whenever changed inputs are measured."""
    counts = []
    remeasure = ExplainedNetwork.remeasure

    def counted(self, images, *rest):
        counts.append(len(images))
        return remeasure(self, images, *rest)

    monkeypatch.setattr(ExplainedNetwork, "remeasure", counted)
    return counts
