"""What holds for every metric that looks at candidates again: on noise, other classes, copies."""

from __future__ import annotations

import copy

import pytest
import torch

from sycam.data.images import ImageSet
from sycam.methods import find_method
from sycam.metrics import find_metric
from sycam.problem.explained_network import ExplainedNetwork
from sycam.scoring import scorer as scoring
from sycam.scoring.scorer import Scorer

METRICS = [
    "max-sensitivity:samples=3",
    "equivariance",
    "equivariance:transform=rotate",
    "rm",
    "class-sensitivity",
    "randomisation",
    "sensitivity-axiom",
    "conservation-axiom",
]
TEXTS = ["mean(G)", "mean(relu(G))", "std(A)"]


@pytest.mark.parametrize("name", METRICS)
def test_scores_depend_on_neither_blocks_nor_order_nor_other_candidates(
    name, wavering, small_images, score, monkeypatch
):
    together = score(name, wavering, small_images, TEXTS)
    for p, text in enumerate(TEXTS):
        assert torch.allclose(
            score(name, wavering, small_images, [text])[0], together[p], atol=1e-5
        )
    order = [4, 1, 6, 0, 3, 2, 5]
    monkeypatch.setitem(scoring._ELEMENTS, "cpu", 8 * 16 * 16 * 2)  # two images a block
    turned = score(name, wavering, small_images[order], TEXTS)
    assert torch.allclose(turned, together[:, order], atol=1e-5)


@pytest.mark.parametrize("name", METRICS)
def test_network_images_and_random_state_are_left_as_they_were(name, wavering, small_images, score):
    wavering.train()
    weights, images = copy.deepcopy(wavering.state_dict()), small_images.clone()
    random = torch.get_rng_state()
    score(name, wavering, small_images, TEXTS[:1])
    assert all(torch.equal(v, weights[k]) for k, v in wavering.state_dict().items())
    assert all(p.grad is None for p in wavering.parameters())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in wavering.modules())
    assert wavering.training
    assert torch.equal(small_images, images)
    assert torch.equal(torch.get_rng_state(), random)


@pytest.mark.parametrize("name", METRICS[:-2])
def test_changed_inputs_are_measured_once_for_all_candidates(
    name, wavering, small_images, measured
):
    metric, image_set = find_metric(name), ImageSet.from_arrays(small_images)
    explained = ExplainedNetwork.prepare(wavering, "3", image_set)
    scorer = Scorer(metric, *explained.measure(image_set))
    measured.clear()
    # Formulas that read other leaves of the same pass share it, too.
    for text in ("mean(G)", "std(A)", "max(G) * y"):
        scorer.score_method(find_method(text))
    assert 0 < sum(measured) <= metric.shared_measurements * 7
