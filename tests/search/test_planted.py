"""Planted winners: when the metric is the distance to a hidden heatmap, the search finds it.

Fifty hidden expressions are found among candidates that are enumerated, and whose heatmaps are
made, once for all; three more go through the whole synthesis, each on its own.
"""

from __future__ import annotations

import pytest
import torch
from torch import nn

import sycam
from sycam.data.images import ImageSet
from sycam.grammar import read_grammar
from sycam.grammar.sampling import sample_expressions
from sycam.heatmaps import maps_of
from sycam.language import Expression, parse_weights
from sycam.metrics import POSITIVE_SCALE, Metric
from sycam.problem.explained_network import ExplainedNetwork
from sycam.search import Enumerator

GRAMMAR = read_grammar(
    """
    ?start: weight | map
    ?weight: weight_atom
           | weight "*" weight_atom  -> mul
           | weight "/" weight_atom  -> div
    ?weight_atom: "(" weight ")"
           | "mean" "(" map ")"  -> mean
           | "max" "(" map ")"   -> max
           | "std" "(" map ")"   -> std
    ?map: map_product
        | map "+" map_product  -> add
        | map "-" map_product  -> sub
    ?map_product: map_atom
        | map_product "*" map_atom  -> mul
        | weight "*" map_atom       -> mul
    ?map_atom: "(" map ")"
        | "A"  -> activations
        | "G"  -> gradients
        | "relu" "(" map ")"    -> relu
        | "abs" "(" map ")"     -> abs
        | "square" "(" map ")"  -> square
    %ignore " "
    """,
    "planted",
)
LAYER, DEAREST, IMAGES = "2", 6, 12


class Planted(Metric):
    """Minus the mean absolute difference from the heatmap of a hidden expression."""

    name = "planted"
    summary = "how near a hidden heatmap is"
    source = "this test"
    family = "custom"
    range = (-1.0, 0.0)
    invariance = POSITIVE_SCALE

    def __init__(self, hidden: str = "G"):
        self.hidden = hidden

    @property
    def options(self):
        return {"hidden": self.hidden}

    def score(self, maps, context):
        # By the reusable class, which shares neither enumeration nor batches with the search.
        hidden = context.once(
            ("planted", self.hidden),
            lambda: heatmaps(context.source.network, context.images, self.hidden),
        )
        return -(maps - hidden).abs().mean((-2, -1))


def heatmaps(network, images, expression: str):
    with sycam.CAM(network, LAYER, expression) as cam:
        return cam(images)


@pytest.fixture(scope="module")
def network() -> nn.Module:
    """Signed activations, and gradients that vary over places, so that few expressions agree."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, stride=2, padding=1),
        nn.Tanh(),
        nn.Conv2d(6, 5, 3, padding=1),
        nn.Tanh(),
        nn.Flatten(),
        nn.Linear(5 * 64, 16),
        nn.Tanh(),
        nn.Linear(16, 4),
    ).eval()


@pytest.fixture(scope="module")
def images() -> ImageSet:
    generator = torch.Generator().manual_seed(1)
    return ImageSet.from_arrays(torch.randn(IMAGES + 6, 3, 16, 16, generator=generator))


def hidden_expressions(network, images) -> list[str]:
    """Fifty expressions drawn from the grammar's trees, whose heatmaps are flat on no image."""
    drawn = dict.fromkeys(map(str, sample_expressions(GRAMMAR, DEAREST, 400, seed=5)))
    ranking = [e for e in drawn if heatmaps(network, images, e).flatten(1).amax(1).all()]
    return ranking[:50]


def test_fifty_hidden_expressions_are_found_among_all_that_are_enumerated(network, images):
    searched = images.subset(range(IMAGES))
    explained = ExplainedNetwork.prepare(network, LAYER, searched)
    evidence, context = explained.measure(searched)
    probe = {name: tensor[:3] for name, tensor in evidence.leaves.items()}
    items = Enumerator(GRAMMAR, probe, POSITIVE_SCALE, context.size).candidates(DEAREST)
    candidates = [item for item in items if isinstance(item, Expression)]
    assert 1000 < len(candidates) < 20_000
    maps = maps_of(candidates, evidence, context.size).maps
    hidden = hidden_expressions(network, searched.images)
    assert len(set(hidden)) == 50
    assert {parse_weights(e).cost for e in hidden} == set(range(1, DEAREST + 1))
    written_otherwise = 0
    for expression in hidden:
        distances = Planted(expression).score(maps, context).mean(1)
        best = int(distances.argmax())
        gap = maps[best] - heatmaps(network, searched.images, expression)
        assert float(gap.abs().max()) <= 1e-6, (expression, str(candidates[best]))
        written_otherwise += str(candidates[best]) != expression
    assert written_otherwise > 0  # some are found as a simpler expression of the same meaning


@pytest.mark.slow
@pytest.mark.parametrize(
    "hidden",
    [
        "max(abs(G)) / std(A)",
        "relu(G - A) * G",
        "square(relu(A) + G)",
    ],
)
def test_the_whole_synthesis_finds_a_hidden_expression(hidden, network, images, tmp_path):
    assert parse_weights(hidden) in GRAMMAR
    result = sycam.synthesize(
        network,
        LAYER,
        images,
        metric=Planted(hidden),
        grammar=GRAMMAR,
        max_cost=DEAREST,
        budget=20_000,
        search_images=IMAGES,
        heldout=6,
        mode="exact",
        allow="class-agnostic",  # the first one hardly changes with the class
        out=tmp_path / "run",
    )
    assert result.record.search.complete_cost == DEAREST
    assert result.best.cost <= parse_weights(hidden).cost
    # On all images, the held-out ones too.
    found, wanted = (heatmaps(network, images.images, e) for e in (result.best.expression, hidden))
    assert float((found - wanted).abs().max()) <= 1e-6
    assert result.validation.winner.heldout.mean == pytest.approx(0, abs=1e-6)
