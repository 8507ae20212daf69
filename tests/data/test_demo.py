"""The embedded default: scenes are exact and repeatable, the splits disjoint, the network good."""

from __future__ import annotations

from importlib import import_module, resources

import numpy as np
import pytest
import sklearn.datasets
import torch
from scipy import ndimage
from sklearn.datasets import load_digits, load_sample_images

from sycam.data.demo import (
    MEAN,
    SIDE,
    SPLITS,
    STD,
    DemoNet,
    digit_indices,
    network,
    normalise,
    photo_region,
    scenes,
    scenes_with_and_without,
)
from sycam.data.demo.network import WEIGHTS
from sycam.errors import OptionError

# The modules, whose names in the package are taken by functions or may not be imported yet.
generator = import_module("sycam.data.demo.scenes")
training = import_module("sycam.data.demo.train")


@pytest.fixture(scope="module")
def heldout():
    return scenes("heldout", 1000)


@pytest.fixture(scope="module")
def net() -> DemoNet:
    return network()


class TestScenes:
    def test_shapes_and_types(self):
        few = scenes("train", 5)
        assert len(few) == 5
        assert (few.images.shape, few.images.dtype) == ((5, SIDE, SIDE, 3), np.uint8)
        assert (few.labels.shape, few.labels.dtype) == ((5,), np.int64)
        assert (few.masks.shape, few.masks.dtype) == ((5, SIDE, SIDE), np.bool_)

    @pytest.mark.parametrize("split", SPLITS)
    def test_the_same_seed_gives_the_same_bytes(self, split):
        one, two = scenes(split, 8, seed=3), scenes(split, 8, seed=3)
        assert one.images.tobytes() == two.images.tobytes()
        assert one.labels.tobytes() == two.labels.tobytes()
        assert one.masks.tobytes() == two.masks.tobytes()

    def test_a_scene_does_not_depend_on_the_count(self):
        few, many = scenes("search", 3), scenes("search", 12)
        assert np.array_equal(few.images, many.images[:3])
        assert np.array_equal(few.masks, many.masks[:3])

    def test_a_slice_equals_the_same_scenes_of_the_whole(self):
        part, whole = generator.scenes_between("train", 2, 5), scenes("train", 5)
        assert np.array_equal(part.images, whole.images[2:])
        assert np.array_equal(part.labels, whole.labels[2:])

    def test_seeds_and_splits_give_different_scenes(self):
        images = [scenes(split, 2, seed).images for split in SPLITS for seed in (0, 1)]
        flat = [image.tobytes() for pair in images for image in pair]
        assert len(set(flat)) == len(flat)

    def test_every_class_occurs(self, heldout):
        share = np.bincount(heldout.labels, minlength=10) / len(heldout)
        assert share.min() > 0.05

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (("test", 4), "'test'"),
            (("train", 0), "0"),
            (("train", -2), "-2"),
            (("train", 2.5), "2.5"),
            (("train", True), "True"),
            (("train", 4, -1), "-1"),
        ],
    )
    def test_bad_arguments_are_named(self, arguments, said):
        with pytest.raises(OptionError, match=said):
            scenes(*arguments)


class TestMasks:
    def test_the_digit_lies_inside_and_has_a_plausible_area(self, heldout):
        area = heldout.masks.mean((1, 2))
        assert area.min() > 0.01
        assert area.max() < 0.35
        border = np.ones((SIDE, SIDE), bool)
        border[1:-1, 1:-1] = False
        assert not heldout.masks[:, border].any()

    def test_the_digit_has_one_colour_that_stands_out(self, heldout):
        """Inside the ink the picture is flat; across its outline it changes."""
        luma = heldout.images @ np.array([0.299, 0.587, 0.114])
        spread, step = [], []
        for picture, mask in zip(luma, heldout.masks, strict=True):
            core = ndimage.binary_erosion(mask)
            ring = ndimage.binary_dilation(mask, iterations=2) & ~ndimage.binary_dilation(mask)
            inside = picture[core] if core.any() else picture[mask]
            spread.append(inside.std())
            step.append(abs(np.median(inside) - np.median(picture[ring])))
        assert np.median(spread) < 8
        assert np.mean(np.array(step) > 45) > 0.99

    def test_nothing_covers_the_digit(self, monkeypatch):
        """No distractor shares a pixel with the digit; the mask is the ink that is painted."""
        painted = []
        monkeypatch.setattr(
            generator, "_paint", lambda canvas, alpha, colour: painted.append(alpha)
        )
        for index in range(40):
            painted.clear()
            _, _, mask = generator._scene("search", np.random.default_rng([0, 1, index]))
            *strokes, ink = painted
            assert mask.any()
            assert np.array_equal(mask, ink > 0.5 * ink.max())
            assert not any((stroke[mask] > 0).any() for stroke in strokes)


class TestSplits:
    def test_no_source_digit_is_shared(self):
        parts = [digit_indices(split) for split in SPLITS]
        together = np.concatenate(parts)
        assert np.array_equal(np.sort(together), np.arange(len(load_digits().target)))

    def test_every_split_has_every_digit(self):
        target = load_digits().target
        for split in SPLITS:
            assert len(np.unique(target[digit_indices(split)])) == 10

    def test_no_pixel_of_a_photograph_is_shared(self):
        for photo in load_sample_images().images:
            users = np.zeros(photo.shape[:2], int)
            for split in SPLITS:
                users[photo_region(split)] += 1
            assert users.max() == 1

    @pytest.mark.parametrize("split", SPLITS)
    def test_scenes_use_their_own_digits_and_region_only(self, split, monkeypatch):
        """Whatever lies outside a split's share can change without changing a scene."""
        before = scenes(split, 20)
        digits, photos = load_digits(), load_sample_images()
        others = np.setdiff1d(np.arange(len(digits.target)), digit_indices(split))
        digits.images[others] = 16 - digits.images[others]
        changed = []
        for photo in photos.images:
            poisoned = 255 - photo
            poisoned[photo_region(split)] = photo[photo_region(split)]
            changed.append(poisoned)
        photos.images = changed
        monkeypatch.setattr(sklearn.datasets, "load_digits", lambda: digits)
        monkeypatch.setattr(sklearn.datasets, "load_sample_images", lambda: photos)
        for cached in (generator._glyphs, generator._sources):
            cached.cache_clear()
        try:
            after = scenes(split, 20)
        finally:
            for cached in (generator._glyphs, generator._sources):
                cached.cache_clear()
        assert np.array_equal(before.images, after.images)
        assert np.array_equal(before.labels, after.labels)

    def test_unknown_split(self):
        for function in (digit_indices, photo_region):
            with pytest.raises(OptionError, match="train, search, heldout"):
                function("validation")


class TestNetwork:
    def test_reads_digits_it_never_saw_in_places_it_never_saw(self, net, heldout):
        with torch.inference_mode():
            predicted = net(normalise(heldout.images)).argmax(1).numpy()
        assert np.mean(predicted == heldout.labels) >= 0.97

    def test_shapes(self, net):
        images = normalise(scenes("search", 3).images)
        assert images.shape == (3, 3, SIDE, SIDE)
        features = net.get_submodule("features")(images)
        assert features.shape == (3, 48, 8, 8)
        assert features.min() >= 0
        assert net(images).shape == (3, 10)

    def test_evaluation_mode_and_size(self, net):
        assert not any(module.training for module in net.modules())
        packed = resources.files("sycam.data.demo").joinpath(WEIGHTS).read_bytes()
        assert len(packed) < 2_000_000

    def test_normalise_is_the_documented_formula(self):
        images = scenes("search", 2).images
        expected = (images / 255 - np.array(MEAN)) / np.array(STD)
        assert np.allclose(normalise(images).numpy(), expected.transpose(0, 3, 1, 2), atol=1e-5)

    def test_gradients_at_the_layer_vary_over_space(self, net):
        """Else Grad-CAM, XGrad-CAM and HiResCAM would be one method."""
        features = net.features(normalise(scenes("search", 16).images)).detach()
        features.requires_grad_()
        top = net.head(features).max(1).values.sum()
        (gradient,) = torch.autograd.grad(top, features)
        over_space = gradient.std((2, 3)).mean(1)
        assert (over_space > 0.5 * gradient.abs().mean((1, 2, 3))).all()


def test_a_short_training_lowers_the_error_and_folds_batch_norm_exactly(monkeypatch):
    monkeypatch.setattr(training, "TRAIN_SCENES", 256)
    monkeypatch.setattr(training, "SEARCH_SCENES", 32)
    monkeypatch.setattr(training, "BATCH", 32)
    monkeypatch.setattr(training, "_compose", scenes)
    lines: list[str] = []
    net = training.train(epochs=2, seed=0, say=lines.append)
    losses = [float(line.split("loss ")[1].split()[0]) for line in lines if "loss" in line]
    assert losses[1] < losses[0]
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in net.modules())

    normed = training._with_batch_norm(DemoNet())
    images = normalise(scenes("search", 4).images)
    normed(images)  # in training mode: moves the running statistics off their start
    normed.eval()
    with torch.no_grad():
        assert torch.allclose(normed(images), training._folded(normed)(images), atol=1e-5)


def test_scenes_without_a_digit_are_those_with_it_but_for_its_ink():
    found, usual = scenes_with_and_without("search", 6), scenes("search", 6)
    assert found.labels.tolist() == [1, 0, 1, 0, 1, 0]
    np.testing.assert_array_equal(found.images[::2], usual.images[::2])
    np.testing.assert_array_equal(found.masks[::2], usual.masks[::2])
    assert not found.masks[1::2].any()
    for without, with_digit, ink in zip(
        found.images[1::2], usual.images[1::2], usual.masks[1::2], strict=True
    ):
        changed = (without != with_digit).any(-1)
        assert changed[ink].mean() > 0.95
        assert not changed[~ndimage.maximum_filter(ink, 5)].any()
