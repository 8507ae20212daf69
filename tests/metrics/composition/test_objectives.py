"""Several goals as one metric: each goal's own scores and figures, side by side."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sycam.data.images import ImageSet
from sycam.errors import OptionError
from sycam.language import parse
from sycam.metrics import METRICS, find_metric
from sycam.metrics.composition.objectives import Objectives
from sycam.problem.explained_network import ExplainedNetwork
from sycam.problem.options import ExplainOptions
from sycam.scoring.scorer import Scorer

FORMULAS = ["mean(G)", "relu(G)", "mean(relu(G)) * max(A)"]


def goals(*texts):
    return Objectives([find_metric(text) for text in texts])


def test_each_goal_scores_as_it_does_alone(score, small_network, small_images):
    """Plain metrics, one with components, and one that looks at other inputs."""
    texts = ("road", "adcc:reduction=of-means", "deletion", "max-sensitivity")
    together = goals(*texts)
    made = score(together, small_network, small_images, FORMULAS).numpy()
    assert made.shape == (3, 7, len(together.components)) == (3, 7, 6)
    figures = together.figures(made)
    for i, text in enumerate(texts):
        metric = find_metric(text)
        alone = score(metric, small_network, small_images, FORMULAS).numpy()
        np.testing.assert_allclose(together.part(made, i), alone, atol=1e-6)
        np.testing.assert_allclose(figures[:, i], metric.reduce(alone), atol=1e-6)
    np.testing.assert_allclose(together.reduce(made), figures[:, 0])
    np.testing.assert_allclose(together.per_image(made[1]), made[1][:, 0])


def test_where_one_figure_must_do_it_is_the_first_goals(context12):
    together, first = goals("deletion", "road"), find_metric("deletion")
    assert not together.higher_is_better
    assert together.range == first.range
    context = context12()
    torch.testing.assert_close(together.bound(context), first.bound(context))
    leading, alone = (
        goals("adcc:reduction=of-means", "road"),
        find_metric("adcc:reduction=of-means"),
    )
    values = np.random.default_rng(0).random((9, 4))
    np.testing.assert_allclose(leading.reduce(values), alone.reduce(values[:, :3]))
    np.testing.assert_allclose(leading.per_image(values), alone.per_image(values[:, :3]))


def test_goals_share_their_passes(context12, maps12):
    context, maps = context12(), maps12(2)
    passes = []
    for metric in (find_metric("road"), goals("road", "road-lerf", "road-morf")):
        before = context.classifier.passes
        metric.score(maps, context.scoring(None, None))
        passes.append(context.classifier.passes - before)
    assert passes[0] == passes[1] > 0


def test_what_the_search_images_decide_is_kept_for_each_goal():
    together = goals("iou", "iou-best-threshold")
    thresholds = len(together.metrics[1].components)
    seen, unseen = np.zeros((4, thresholds + 1)), np.zeros((4, thresholds + 1))
    seen[:, 3], unseen[:, 6] = 1.0, 1.0  # columns 2 and 5 of the thresholds
    fitted = together.fit(seen)
    assert together.figures(seen, fitted).tolist() == [0.0, 1.0]
    assert together.figures(unseen).tolist() == [0.0, 1.0]
    assert together.figures(unseen, fitted).tolist() == [0.0, 0.0]


def test_needs_and_price_are_those_of_all():
    texts = ("road", "iou", "sensitivity-axiom", "max-sensitivity")
    together, each = goals(*texts), [find_metric(text) for text in texts]
    assert together.needs_masks
    assert together.of_weights
    assert together.looks_elsewhere
    assert together.invariance == "weights"
    assert together.volumes
    assert together.leaves == each[2].leaves
    for price in ("passes", "measurements", "shared_measurements"):
        assert getattr(together, price) == sum(getattr(m, price) for m in each)


def test_the_identity_tells_all_goals_and_their_options_apart():
    def identity(*texts):
        metric = goals(*texts)
        return json.dumps([metric.text, metric.options, metric.version])

    assert goals("road", "iou").text == "road & iou"
    assert goals("0.5*road + 0.5*iou", "complexity").text == "0.5*road + 0.5*iou & complexity"
    made = [("road", "iou"), ("iou", "road"), ("road:noise=0", "iou"), ("road", "iou", "dice")]
    assert len({identity(*texts) for texts in made}) == len(made)
    assert len({goals(*texts).slug for texts in made}) == len(made)
    assert goals("road", "iou").slug.isascii()


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Objectives([]), "two or more metrics, got none"),
        (lambda: goals("road"), "two or more metrics, got road"),
        (lambda: goals("road", "iou", "road"), "goal 'road' is given twice"),
        (lambda: goals("road:noise=0.01", "road"), "goal 'road' is given twice"),
        (lambda: Objectives([goals("road", "iou"), find_metric("dice")]), "road & iou is several"),
    ],
)
def test_what_are_no_several_goals_is_refused(make, said):
    with pytest.raises(OptionError, match=said):
        make()


def test_a_goal_that_is_not_defined_here_is_refused(small_network, small_images):
    images = ImageSet.from_arrays(small_images)
    explained = ExplainedNetwork.prepare(
        small_network, "3", images, explain=ExplainOptions(target=lambda row: row[1])
    )
    _, context = explained.measure(images)
    find_metric("road").check(context)
    with pytest.raises(OptionError, match="class-sensitivity"):
        goals("road", "class-sensitivity").check(context)


def test_the_scorer_takes_goals_as_any_metric(small_network, small_images):
    masks = torch.zeros(7, 16, 16, dtype=torch.bool)
    masks[:, 4:10, 2:9] = True
    images = ImageSet.from_arrays(small_images, masks=masks)
    evidence, context = ExplainedNetwork.prepare(small_network, "3", images).measure(images)
    together = goals("energy-pointing-game", "complexity", "iou")
    together.check(context)
    for score in Scorer(together, evidence, context).score([parse(text) for text in FORMULAS]):
        assert score.finite
        assert score.mean == together.figures(score.values)[0]


@given(st.permutations(sorted(METRICS)).map(lambda names: names[:4]), st.integers(0, 100))
def test_parts_are_disjoint_and_cover_all_components(names, seed):
    together = goals(*names)
    values = np.random.default_rng(seed).random((5, len(together.components)))
    parts = [together.part(values, i).reshape(5, -1) for i in range(len(names))]
    np.testing.assert_array_equal(np.concatenate(parts, -1), values)
