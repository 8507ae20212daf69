"""Metrics of Quantus and in torchmetrics' style: the libraries' own scores, an image at a time."""

from __future__ import annotations

import json
import math
import random
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner

import sycam
from sycam.cli import app
from sycam.errors import DataError, OptionError, UnknownNameError
from sycam.metrics import find_metric
from sycam.testing import check_metric

FILE = """
from torchmetrics.classification import BinaryAveragePrecision, BinaryJaccardIndex
from torchmetrics.functional import mean_squared_error
from torchmetrics.image import StructuralSimilarityIndexMeasure
from torchmetrics.regression import PearsonCorrCoef

loose = BinaryJaccardIndex(threshold=0.2)


def overlap(preds, target, threshold: float = 0.5):
    '''Share of the mask that is hot.'''
    return ((preds > threshold) & (target > 0)).sum() / target.sum()


class Hottest:
    '''Whether the hottest pixel is inside.'''

    higher_is_better = True

    def reset(self):
        self.hits = []

    def update(self, preds, target):
        self.hits.append(bool(target.flatten()[preds.argmax()]))

    def compute(self):
        return sum(self.hits) / len(self.hits)
"""


@pytest.fixture
def file(tmp_path, monkeypatch):
    """The name of a file with metrics in torchmetrics' style."""
    pytest.importorskip("torchmetrics")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pairs.py").write_text(FILE)
    return "pairs.py"


@pytest.fixture
def masked(context12) -> sycam.metrics.Context:
    masks = torch.zeros(3, 12, 12, dtype=torch.bool)
    masks[:, 2:8, 3:9] = True
    return replace(context12(), masks=masks)


# --- Quantus ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "quantus:Sparseness",
        "quantus:AttributionLocalisation",
        "quantus:PixelFlipping:features_in_step=256",
        "quantus:FaithfulnessCorrelation:nr_runs=3,subset_size=32,undefined=0",
        "quantus:MaxSensitivity:nr_samples=1",
    ],
)
def test_metrics_of_quantus_keep_what_every_metric_must(quantus, text):
    """Deterministic, blind to other candidates and images, arguments untouched."""
    assert check_metric(text).metric == text


@pytest.mark.parametrize(
    ("text", "direction"),
    [
        ("quantus:Sparseness", "higher"),
        ("quantus:Complexity", "lower"),
        ("quantus:PixelFlipping", "lower"),
        ("quantus:MaxSensitivity", "lower"),
        ("quantus:RelevanceRankAccuracy", "higher"),
        ("quantus:PixelFlipping:direction=higher", "higher"),
    ],
)
def test_the_direction_is_quantus_own_or_stated(quantus, text, direction):
    metric = find_metric(text)
    assert metric.higher_is_better == (direction == "higher")
    assert metric.text == text
    assert json.loads(json.dumps(metric.options))["quantus"] == "0.6.0"


def test_scores_are_those_of_quantus(quantus, masked, maps12):
    maps = maps12(2)
    for text, ours in (("quantus:RelevanceRankAccuracy", "relevance-rank-accuracy"),
                       ("quantus:RelevanceMassAccuracy", "relevance-mass-accuracy")):  # fmt: skip
        found = find_metric(text).score(maps, masked)
        torch.testing.assert_close(
            found.float(), find_metric(ours).score(maps, masked).float(), rtol=0, atol=1e-5
        )
    model = masked.classifier.plain
    options = {"features_in_step": 24, "disable_warnings": True}
    theirs = quantus.PixelFlipping(**options)(
        model=model,
        x_batch=masked.images.numpy(),
        y_batch=masked.targets.numpy(),
        a_batch=maps[0][:, None].numpy(),
        device="cpu",
    )
    found = find_metric("quantus:PixelFlipping:features_in_step=24").score(maps, masked)
    assert found[0].tolist() == pytest.approx(np.mean(theirs, 1).tolist(), abs=1e-6)


def test_quantus_leaves_arguments_and_generators_alone(quantus, masked, maps12):
    maps = maps12(1)
    before = maps.clone(), masked.images.clone()
    np.random.seed(3)
    random.seed(3)
    torch.manual_seed(3)
    states = np.random.get_state()[1].copy(), random.getstate(), torch.get_rng_state()
    for text in ("quantus:Sparseness", "quantus:Complexity", "quantus:Infidelity"):
        first, second = (find_metric(text).score(maps, masked) for _ in range(2))
        assert torch.equal(first, second)
    assert torch.equal(maps, before[0])
    assert torch.equal(masked.images, before[1])
    assert np.array_equal(np.random.get_state()[1], states[0])
    assert random.getstate() == states[1]
    assert torch.equal(torch.get_rng_state(), states[2])
    assert hasattr(np, "trapz") == (np.lib.NumpyVersion(np.__version__) < "2.4.0")


def test_an_empty_mask_is_no_hit(quantus, masked, maps12):
    """Quantus counts it as one."""
    masked.masks[1] = False
    metric = find_metric("quantus:PointingGame")
    with pytest.raises(DataError, match="image 1 has an empty mask"):
        metric.check(masked)
    with pytest.raises(DataError, match=r"nan for image 1.*undefined="):
        metric.score(maps12(1), masked)
    forgiving = find_metric("quantus:PointingGame:undefined=0.0")
    forgiving.check(masked)
    assert forgiving.score(maps12(1), masked)[0, 1] == 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("quantus:ROAD", "fails on images of several channels .*use 'road'"),
        ("quantus:IROF", "fails on images of several channels"),
    ],
)
def test_what_quantus_cannot_do_in_colour_is_said(quantus, text, said, masked):
    with pytest.raises(OptionError, match=said):
        find_metric(text).check(masked)


@pytest.mark.parametrize(
    ("text", "error", "said"),
    [
        ("quantus:Pixelflipping", UnknownNameError, "did you mean 'PixelFlipping'"),
        ("quantus:MaxSensitivity:nr_sample=3", UnknownNameError, "did you mean 'nr_samples'"),
        ("quantus:PixelFlipping:features_in_step=x", OptionError, "expected a whole number"),
        ("quantus", OptionError, "quantus:NAME is a metric of Quantus, one of AUC, "),
        ("quantus:Sufficiency", OptionError, "an image has no score of its own"),
        ("quantus:MaxSensitivity:similarity_func=diff", UnknownNameError, "'difference'"),
        ("quantus:Sparseness:direction=up", OptionError, "expected higher or lower"),
    ],
)
def test_errors_name_what_there_is(quantus, text, error, said):
    with pytest.raises(error, match=said):
        find_metric(text)


def test_mprt_leaves_the_network_itself_out_of_its_mean(
    quantus, small_network, small_images, score
):
    """Quantus averages the 1 of the network itself in; and fails on a batch of one."""
    found = score("quantus:MPRT", small_network, small_images[:2], ["mean(relu(G)) * max(A)"])
    assert found.shape == (1, 2)
    assert (found < 0.999).all()


def test_a_metric_of_quantus_is_evaluated_by_a_command(quantus, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command = ["evaluate", "grad-cam", "mean(relu(G))", "--metric", "0.5*quantus:Sparseness + iou",
               "--json"]  # fmt: skip
    found = CliRunner().invoke(app, command)
    assert found.exit_code == 0, found.output
    assert "quantus:Sparseness" in found.output
    shown = CliRunner().invoke(app, ["metrics", "show", "quantus:PixelFlipping"])
    assert shown.exit_code == 0
    assert "features_in_step" in shown.output


# --- torchmetrics' style ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "higher"),
    [
        ("BinaryAveragePrecision", True),
        ("BinaryJaccardIndex:threshold=0.3", True),
        ("StructuralSimilarityIndexMeasure:sigma=0.5,kernel_size=3", True),
        ("PearsonCorrCoef:direction=higher,undefined=0", True),
        ("mean_squared_error:direction=lower,numbers=float", False),
        ("overlap:threshold=0.4,direction=higher", True),
        ("loose", True),
        ("Hottest", True),
    ],
)
def test_metrics_in_torchmetrics_style_keep_what_every_metric_must(
    grad_cam, file, name, higher, masked, maps12
):
    metric = find_metric(f"{file}:{name}")
    assert metric.higher_is_better == higher
    assert metric.text == f"{file}:{name}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check_metric(metric)


def test_scores_are_those_of_torchmetrics(grad_cam, file, masked, maps12):
    from torchmetrics.classification import BinaryAveragePrecision
    from torchmetrics.functional import structural_similarity_index_measure

    maps = maps12(2)
    found = find_metric(BinaryAveragePrecision()).score(maps, masked)
    expected = find_metric("average-precision").score(maps, masked)
    torch.testing.assert_close(found.float(), expected.float(), rtol=0, atol=1e-5)
    found = find_metric(f"{file}:StructuralSimilarityIndexMeasure").score(maps, masked)
    for p in range(2):
        for n in range(3):
            image, mask = maps[p, n][None, None], masked.masks[n][None, None].float()
            expected = structural_similarity_index_measure(image, mask)
            assert math.isclose(found[p, n], expected, abs_tol=1e-5)


def test_what_is_no_metric_is_said(grad_cam, file):
    with pytest.raises(OptionError, match="add direction=higher or direction=lower"):
        find_metric(f"{file}:PearsonCorrCoef")
    with pytest.raises(OptionError, match=r"a function of preds and target, got <built-in"):
        find_metric(abs)

    def blunt(preds: Tensor, target: Tensor) -> Tensor:
        return preds

    with pytest.raises(OptionError, match="add direction="):
        find_metric(blunt)
