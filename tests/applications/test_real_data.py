"""Each application on a real network and its images, at small size.

That of hot spots stands among the other tests of its study.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sycam.applications import (
    EnsembleResult,
    adversarial_images,
    ensemble,
    part,
    robust_accuracy,
    robustness,
    segment,
    segmentation_scores,
    train_segmenter,
)
from sycam.data.images import ImageSet, load_images

ROOT = Path(__file__).resolve().parents[2]
BUSI = f"{ROOT / 'benchmarks' / 'networks' / 'small_cnn.py'}:busi"
RESNET = f"{ROOT / 'benchmarks' / 'networks' / 'cifar10.py'}:resnet20"
pytestmark = pytest.mark.data


@pytest.fixture(scope="module")
def ultrasound(real_data) -> ImageSet:
    """With masks of lesions, which some images do not have."""
    return load_images(real_data / "busi" / "images_128.npz")


def test_members_of_an_ensemble_that_know_nothing_add_least(ultrasound, tmp_path):
    """On ultrasound by overlap with the lesions; the folder has it all."""
    members = ["grad-cam", "layer-cam", "hirescam", "random-weights"]
    result = ensemble(
        BUSI, "bn5_relu", ultrasound, "iou", members, percents=(20, 50), search_images=24,
        heldout=24, examples=1, out=tmp_path / "vote", progress=False,
    )  # fmt: skip
    worst, best = result.effects[-1], result.effects[0]
    assert worst.member == "random-weights"
    assert worst.effect.high < best.effect.mean
    assert result.ensemble.heldout.low > 0
    assert EnsembleResult.load(tmp_path / "vote") == result
    assert (tmp_path / "vote" / "ensemble.png").stat().st_size > 5000


def test_more_noise_moves_heatmaps_further(ultrasound):
    pytest.importorskip("skimage")
    result = robustness(
        BUSI, "bn5_relu", ultrasound, ["grad-cam", "layer-cam", "hirescam"], count=16,
        noises="gaussian:0.01+0.3", progress=False,
    )  # fmt: skip
    weak, strong = ({r.method: r for r in result.rows if r.level == one} for one in (0.01, 0.3))
    for method, row in weak.items():
        assert row.changed < strong[method].changed
        assert row.consistency.mean > 0.5
    assert result.ranks["consistency"] is not None
    assert set(result.ranks["consistency"].names) == set(weak)


def test_masks_from_labels_score_as_they_do_by_hand(ultrasound, tmp_path):
    """AME-CAM on lesions: two epochs, judged on images that it did not see."""
    train, unseen = (ultrasound.subset(range(start, 156, 5)) for start in (0, 2))
    trained = train_segmenter(
        BUSI, train, "benign,malignant", epochs=2, attention_epochs=1, out=tmp_path / "lesions",
        progress=False,
    )  # fmt: skip
    scores = segmentation_scores(trained, unseen, "grad-cam", progress=False)
    found = segment(tmp_path / "lesions", unseen, network=BUSI, progress=False).masks
    truth = unseen.masks.numpy().astype(bool)
    marked = truth.any((1, 2))
    both = (found & truth).sum((1, 2))
    dice = 2 * both / np.maximum(found.sum((1, 2)) + truth.sum((1, 2)), 1)
    row = next(one for one in scores.rows if one.method == "AME-CAM")
    assert row.dice.mean == pytest.approx(dice[marked].mean(), abs=1e-6)
    assert scores.images == marked.sum() < len(unseen)


def test_a_network_of_photographs_learns_to_withstand_attacks(real_data, tmp_path):
    """PART on ResNet-20 with CIFAR-10: budgets hold on real images, and training helps."""
    images = load_images(real_data / "cifar10" / "train_lossless_500.npz")
    train, test = images.subset(range(96)), images.subset(range(96, 128))
    attacked = adversarial_images(RESNET, test.subset(range(8)), "layer-cam", layer="layer2")
    moved = (attacked.adversarial - attacked.images.images).abs().amax(1)
    assert 0 < attacked.marked.float().mean() < 1
    assert moved[attacked.marked].max() > attacked.eps_low + 1e-3
    assert moved[attacked.marked].max() <= attacked.eps + 1e-6
    assert moved[~attacked.marked].max() <= attacked.eps_low + 1e-6
    before = robust_accuracy(RESNET, test, steps=5, progress=False)
    trained = part(
        RESNET, train, "grad-cam", layer="layer2", test=test, epochs=2, warm_up=0, steps=3,
        batch=32, learning_rate=0.01, progress=False,
    )  # fmt: skip
    assert before.robust < before.natural
    after = robust_accuracy(trained.module, test, steps=5, progress=False)
    assert after.robust > before.robust
