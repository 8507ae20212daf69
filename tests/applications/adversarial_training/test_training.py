"""Training: the same weights after an interruption, masks of their own images, what is refused."""

from __future__ import annotations

import json

import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

import sycam
from sycam.applications import part, robust_accuracy
from sycam.applications.adversarial_training.attacks import attacked_by, starts
from sycam.applications.adversarial_training.augmentation import shifted_and_flipped
from sycam.applications.adversarial_training.budgets import CamBudgets
from sycam.applications.adversarial_training.epochs import Epochs
from sycam.applications.adversarial_training.options import (
    BY_STEPS,
    BudgetOptions,
    TrainingOptions,
)
from sycam.applications.pixels import PixelScale
from sycam.applications.randomness import generator_of
from sycam.data.images import ImageSet
from sycam.errors import DataError, NetworkError, OptionError, RunError, UnknownNameError
from sycam.events import Stage

QUICK = {"eps": 0.1, "epochs": 3, "warm_up": 1, "steps": 2, "batch": 7, "learning_rate": 0.05,
         "layer": "4", "progress": False}  # fmt: skip


def weights(result) -> dict[str, torch.Tensor]:
    return result.module.state_dict()


def assert_equal_weights(one, other) -> None:
    ours, theirs = weights(one), weights(other)
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []


@pytest.mark.parametrize(
    "how",
    [{}, {"refresh": 2, "epochs": 4}, {"augment": True}, {"objective": "mart"}, {"attack": "mma"}],
    ids=["plain", "kept masks", "augmented", "mart", "minimum margin"],
)
@pytest.mark.parametrize("after", [1, 2])
def test_an_interrupted_training_ends_with_the_same_weights(
    make_network, images, tmp_path, how, after
):
    network, given = make_network(dropout=0.3), {**QUICK, **how, "labels": images[1]}
    whole = part(network, images[0], "grad-cam", **given)

    def interrupt(event):
        if isinstance(event, Stage) and f"epoch {after + 1} of" in event.text:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        part(network, images[0], "grad-cam", **given, out=tmp_path, notify=interrupt)
    assert not (tmp_path / "weights.safetensors").exists()
    resumed = part(network, images[0], "grad-cam", **given, out=tmp_path)
    assert_equal_weights(whole, resumed)
    assert whole.epochs == resumed.epochs
    again = part(network, images[0], "grad-cam", **given, out=tmp_path)  # finished: at once
    assert_equal_weights(again, resumed)
    assert json.loads((tmp_path / "training.json").read_text())["settings"]["seed"] == 0
    with pytest.raises(RunError, match=r"another training: it differs in beta \(there 6.0, now 1"):
        part(network, images[0], "grad-cam", **given, beta=1, out=tmp_path)
    with pytest.raises(RunError, match=r"differs in network .*torch.manual_seed\(0\) where it is"):
        part(make_network(seed=1), images[0], "grad-cam", **given, out=tmp_path)


@pytest.mark.parametrize(
    ("objective", "attack"),
    [("at", "pgd"), ("trades", "pgd"), ("mart", "pgd"), ("at", "mma"), ("mart", "mma")],
)
def test_equal_budgets_train_as_without_a_cam_bit_for_bit(network, images, objective, attack):
    given = {**QUICK, "labels": images[1], "objective": objective, "attack": attack}
    plain = part(network, images[0], None, **given)
    same = part(network, images[0], "grad-cam", eps_low=0.1, **given)
    other = part(network, images[0], "grad-cam", eps_low=0.0, **given)
    assert_equal_weights(plain, same)
    assert not torch.equal(plain.module[0].weight, other.module[0].weight)
    assert [row.marked for row in plain.epochs] == [1, 1, 1]
    assert other.epochs[0].marked == 1  # the warm-up
    assert 0 < other.epochs[1].marked < 0.9


@pytest.mark.parametrize("objective", ["at", "mart"])
def test_what_is_trained_on_stays_within_its_budgets_and_is_what_the_attack_finds(
    network, images, objective
):
    """Of pixels, on every channel; where the lower budget is 0 every bit stays."""
    pixels, labels = images
    scale, budget = PixelScale((0, 0), (1, 1)), BudgetOptions(eps=0.1, eps_low=0)
    marked = torch.rand(24, 8, 8, generator=torch.Generator().manual_seed(5)) < 0.4
    found = {}
    for attack in BY_STEPS:
        epochs = Epochs(
            network, ImageSet.from_arrays(pixels, labels), scale, budget,
            TrainingOptions(objective=objective, attack=attack, steps=3), CamBudgets(None, budget),
            0,
        )  # fmt: skip
        moved = epochs._attacked(pixels, labels, marked, generator_of("test"))
        allowed = 0.1 * marked[:, None].float()
        assert ((moved - pixels).abs() <= allowed + 1e-6).all()
        rest = ~marked[:, None].expand_as(pixels)
        assert torch.equal(moved[rest], pixels[rest])
        box = scale.box(pixels, allowed[:, 0])
        start = starts(pixels, scale.distance(allowed[:, 0], pixels), box, generator_of("test"))
        step = scale.distance(0.1 / 4, pixels)
        by_name = attacked_by(attack, network, pixels, labels, start, box, step, 3)
        assert torch.equal(moved, by_name)
        found[attack] = moved
    assert not torch.equal(*found.values())


def test_the_users_network_stays_as_it_was(network, images):
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    network.train()
    result = part(network, images[0], labels=images[1], **QUICK)
    assert network.training
    assert all(torch.equal(before[n], t) for n, t in network.state_dict().items())
    assert not torch.equal(result.module[0].weight, network[0].weight)
    assert not result.module.training
    assert torch.are_deterministic_algorithms_enabled() is False


def test_kept_masks_are_those_of_the_images_themselves(network, make_images):
    """In whatever order they come: PART's code matches them to other images."""
    pixels, labels = make_images(20, 4)

    class Bright:
        calls = 0

        def marked(self, images):
            self.calls += 1
            return images[:, 0] > 0.5

    bright = Bright()
    epochs = Epochs(
        network, ImageSet.from_arrays(pixels, labels), PixelScale((0, 0), (1, 1)),
        BudgetOptions(), TrainingOptions(refresh=3, warm_up=1, epochs=9), bright, 0,
    )  # fmt: skip
    generator = torch.Generator().manual_seed(0)
    for epoch in range(9):
        for chosen in torch.randperm(20, generator=generator).split(6):
            found = epochs._marked(pixels[chosen], chosen, epoch)
            if epoch < 1:
                assert found is None
            else:
                assert torch.equal(found, pixels[chosen][:, 0] > 0.5)
    assert bright.calls == 3 * 4  # epochs 1, 4 and 7


@pytest.fixture(scope="module")
def digits():
    """scikit-learn's, from 0 to 1: 400 to train on and 200 to test on."""
    found = load_digits()
    images = torch.tensor(found.images / 16, dtype=torch.float32)[:, None]
    labels = torch.tensor(found.target)
    return (
        ImageSet.from_arrays(images[:400], labels[:400]),
        ImageSet.from_arrays(images[400:600], labels[400:600]),
    )


def digit_network() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(8, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.Flatten(),
            nn.Linear(256, 10),
        )  # fmt: skip


def test_a_network_that_trained_on_attacks_withstands_more(digits):
    """By each objective, a tenth of the images more than after training on images as they are."""
    train, test = digits
    how = {"epochs": 8, "warm_up": 4, "steps": 3, "batch": 32, "learning_rate": 0.05,
           "layer": "6", "progress": False}  # fmt: skip
    plain = part(digit_network(), train, None, eps=1e-6, **how).module
    least = robust_accuracy(plain, test, eps=0.15, progress=False).robust + 0.1
    for objective in ("at", "trades", "mart"):
        found = part(digit_network(), train, "layer-cam", objective=objective, eps=0.15, test=test,
                     **how).accuracy  # fmt: skip
        assert found.robust > least, objective
        assert found.natural > 0.65, objective


def test_a_formula_that_names_its_layers_decides_budgets(network, images):
    one = part(network, images[0], "cam[4](mean(relu(G)))", labels=images[1], **QUICK)
    assert one.cam == "cam[4](mean(relu(G)))"
    assert one.layer == "4"
    same = part(network, images[0], "mean(relu(G))", labels=images[1], **QUICK)
    assert_equal_weights(one, same)
    module = part(network, images[0], "mean(relu(G))", labels=images[1],
                  **{**QUICK, "layer": network[4]})  # fmt: skip
    assert_equal_weights(one, module)


def test_the_winner_of_a_run_decides_budgets(small_run, tmp_path):
    assert small_run(tmp_path / "run", pictures=False).exit_code == 0
    pixels = torch.rand(12, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(7)
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 6, 3, stride=2, padding=1),
        nn.ReLU(), nn.Flatten(), nn.Linear(6 * 64, 5),
    )  # fmt: skip
    given = {**QUICK, "labels": torch.arange(12) % 5, "warm_up": 0, "epochs": 1, "layer": "1"}
    result = sycam.load(tmp_path / "run")
    found = part(network, pixels, tmp_path / "run", **given)
    assert (found.cam, found.layer) == ("run", "3")  # the run's own layer
    formula = part(network, pixels, f"cam[3]({result.best.expression})", **given)
    assert_equal_weights(found, formula)
    assert_equal_weights(found, part(network, pixels, result, **given))


def test_test_images_that_were_trained_on_are_left_out(network, make_images):
    pixels, labels = make_images(20, 5)
    more, others = make_images(6, 6)
    test = ImageSet.from_arrays(torch.cat([pixels[:4], more]), torch.cat([labels[:4], others]))
    found = part(network, pixels, None, labels=labels, test=test, **{**QUICK, "epochs": 1})
    assert found.accuracy.images == 6
    with pytest.raises(DataError, match="all 4 test images are trained on"):
        part(network, pixels, None, labels=labels, test=test.subset(range(4)), **QUICK)


def test_shifts_and_flips_keep_the_pixels_and_bring_black_in():
    scale = PixelScale((0.5,), (0.25,))
    pixels = torch.rand(40, 1, 16, 24, generator=torch.Generator().manual_seed(0)) * 0.9 + 0.1
    made = scale.pixels(
        shifted_and_flipped(scale.inputs(pixels), scale, torch.Generator().manual_seed(1))
    )
    placed = set()
    for old, new in zip(pixels, made, strict=True):
        inner = new[0, 2:14, 3:21]  # under any shift inside the old image
        found = [
            (down, right, flipped)
            for flipped in (False, True)
            for down in range(5)
            for right in range(7)
            for source in [old[0].flip(-1) if flipped else old[0]]
            if torch.allclose(source[down : down + 12, right : right + 18], inner, atol=1e-6)
        ]
        assert len(found) == 1
        placed |= set(found)
        down = found[0][0]
        if down > 2:  # what lies above the new image's content
            assert new[0, 18 - down :].abs().max() < 1e-6
    assert len({flip for *_, flip in placed}) == 2
    assert len({down for down, *_ in placed}) == 5


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"eps": 0}, OptionError, "eps must lie above 0"),
        ({"eps": "8/0"}, OptionError, "a fraction like 8/255, got '8/0'"),
        ({"eps": 8}, OptionError, "eight grey levels are eps='8/255'"),
        ({"eps": "4/255", "eps_low": "5/255"}, OptionError, "between 0 and eps"),
        ({"threshold": float("nan")}, OptionError, "threshold must be a number"),
        ({"objective": "trade"}, UnknownNameError, "trades"),
        ({"attack": "autoattack"}, UnknownNameError, "known: pgd, mma"),
        ({"attack": "mma", "objective": "trades"}, OptionError, "take attack='pgd', or objective"),
        ({"steps": 0}, OptionError, "steps must be a whole number of at least 1"),
        ({"step_size": -1}, OptionError, "step_size must be above 0"),
        ({"learning_rate": 0}, OptionError, "learning_rate must be above 0"),
        ({"momentum": 1}, OptionError, "momentum must lie"),
        ({"precision": "float16"}, OptionError, "float32 or bfloat16"),
        ({"augment": True, "refresh": 5}, OptionError, "take refresh=1"),
        ({"epoch": 3}, UnknownNameError, "epochs"),
        ({"layer": "44"}, UnknownNameError, "'4'"),
    ],
)
def test_options_that_cannot_be_used_are_said(network, images, options, error, said):
    with pytest.raises(error, match=said):
        part(network, images[0], labels=images[1], **{**QUICK, **options})


def test_images_and_networks_that_cannot_be_used_are_said(network, images):
    pixels, labels = images
    with pytest.raises(DataError, match="no labels"):
        part(network, pixels, **QUICK)
    with pytest.raises(DataError, match="budgets are shares of pixels from 0 to 1"):
        part(network, pixels * 4 - 2, labels=labels, **QUICK)
    with pytest.raises(DataError, match=r"labels go up to 3, and .* has 3 classes"):
        part(network, pixels, labels=labels + 1, **QUICK)
    with pytest.raises(NetworkError, match="take its last softmax"):
        part(torch.nn.Sequential(*network, torch.nn.Softmax(1)), pixels, labels=labels, **QUICK)
    with pytest.raises(NetworkError, match=r"diverged.*smaller learning_rate"):
        part(network, pixels, labels=labels, **{**QUICK, "learning_rate": 1e30})
    with pytest.raises(NetworkError, match="need float32"):
        part(network.double(), pixels, labels=labels, **QUICK)


def test_a_broken_checkpoint_is_told_of(network, images, tmp_path):
    (tmp_path / "checkpoint.safetensors").write_bytes(b"no archive")
    with pytest.raises(RunError, match="delete it to begin anew"):
        part(network, images[0], labels=images[1], **QUICK, out=tmp_path)


def test_bfloat16_trains_nearly_as_float32(network, images):
    given = {**QUICK, "labels": images[1], "epochs": 1}
    one = part(network, images[0], None, **given)
    other = part(network, images[0], None, precision="bfloat16", **given)
    assert other.epochs[0].loss == pytest.approx(one.epochs[0].loss, rel=0.05)
    assert other.epochs[0].loss != one.epochs[0].loss
    assert all(t.dtype == weights(one)[n].dtype for n, t in weights(other).items())
