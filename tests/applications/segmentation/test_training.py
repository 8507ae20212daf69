"""Training: it learns, it goes on bit for bit, what it keeps can be loaded, errors say why."""

from __future__ import annotations

import copy
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from sycam.applications import Segmenter, train_segmenter
from sycam.applications.segmentation.exits import between_extremes
from sycam.applications.segmentation.options import MaskOptions, SegmentOptions
from sycam.applications.segmentation.polarity import class_evidence, polarity_of, turned
from sycam.applications.segmentation.segmenter import AME, MEAN, Facts, raw_heatmaps
from sycam.applications.segmentation.training import Phases
from sycam.data.image_set import ImageSet
from sycam.errors import DataError, OptionError, RunError, UnknownNameError
from sycam.events import Note
from sycam.support.schema import from_plain

LAYERS = ["stage1", "stage2"]
SHORT = {"epochs": 2, "attention_epochs": 2, "batch": 8, "flip": True, "layer": LAYERS}


def weights_of(segmenter) -> dict[str, torch.Tensor]:
    return {name: one.clone() for name, one in segmenter.network.state_dict().items()}


def same(one, other) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


def test_it_finds_bright_squares_from_labels_alone(encoder, images, unseen):
    before = {name: one.clone() for name, one in encoder.state_dict().items()}
    trained = train_segmenter(encoder, images, epochs=25, attention_epochs=5, batch=8, layer=LAYERS,
                              learning_rate=0.01)  # fmt: skip
    assert same(before, encoder.state_dict())  # a copy is trained
    shown = unseen.subset(unseen.marked)
    heat = trained.heatmaps(shown.images)
    assert set(heat) == {AME, MEAN, "exit at stage1", "exit at stage2"}
    found = heat[AME]
    assert found.dtype == np.float32
    assert found.min() == 0
    assert found.max() == 1
    inside = shown.masks.numpy()
    assert found[inside].mean() > found[~inside].mean() + 0.3
    logits = trained.logits(unseen.images)
    assert ((logits > 0) == (unseen.labels == 1)).float().mean() > 0.9
    phases = [row.phase for row in trained.facts.epochs]
    assert phases == ["exits"] * 25 + ["attention"] * 5


def test_the_classifier_is_frozen_while_the_attention_learns(encoder, images):
    first = train_segmenter(encoder, images, **{**SHORT, "attention_epochs": 0})
    both = train_segmenter(encoder, images, **SHORT)
    assert same(first.network.exits.state_dict(), both.network.exits.state_dict())
    assert not same(first.network.attention.state_dict(), both.network.attention.state_dict())


def test_without_fine_tuning_the_encoder_stays(encoder, images):
    trained = train_segmenter(encoder, images, fine_tune=False, **SHORT)
    assert same(encoder.state_dict(), trained.network.exits.encoder.state_dict())


class StopError(Exception):
    """Whoever watches loses patience."""


@pytest.mark.parametrize(("simclr", "epochs"), [(0, 1), (0, 2), (0, 3), (2, 1), (2, 2), (2, 3)])
def test_an_interrupted_training_goes_on_bit_for_bit(encoder, images, tmp_path, simclr, epochs):
    """In whichever phase, and between phases."""
    how = {**SHORT, "simclr_epochs": simclr, "simclr_batch": 8}
    whole = train_segmenter(encoder, images, **how)
    done = []

    def impatient(event) -> None:
        if isinstance(event, Note) and "loss" in event.text:
            if len(done) == epochs:  # after this epoch, before its state is kept
                raise StopError
            done.append(event)

    with pytest.raises(StopError):
        train_segmenter(encoder, images, out=tmp_path, notify=impatient, **how)
    told = []
    resumed = train_segmenter(encoder, images, out=tmp_path, notify=told.append, **how)
    assert Note(f"{epochs} of {simclr + 4} epochs were done before") in told
    assert same(weights_of(whole), weights_of(resumed))
    assert whole.facts == resumed.facts


def test_simclr_learns_to_know_images_again_whatever_their_labels(encoder, images):
    """And then what is trained on labels starts from it."""
    alone = {"layer": LAYERS, "simclr_epochs": 12, "simclr_batch": 24, "epochs": 0,
             "attention_epochs": 0, "simclr_learning_rate": 0.01}  # fmt: skip
    learned = train_segmenter(encoder, images, **alone)
    rows = learned.facts.epochs
    assert [row.phase for row in rows] == ["simclr"] * 12
    assert rows[0].loss == pytest.approx(np.log(47), abs=0.5)  # 47 others, told apart by chance
    assert rows[-1].loss < rows[0].loss - 0.3
    assert rows[-1].accuracy > rows[0].accuracy
    others = replace(images, labels=1 - images.labels)
    without = train_segmenter(encoder, others, **alone).network.exits
    known = learned.network.exits
    assert same(known.encoder.state_dict(), without.encoder.state_dict())
    assert not same(known.encoder.state_dict(), encoder.state_dict())
    frozen = {**alone, "attention_epochs": 1, "epochs": 1, "fine_tune": False}
    after = train_segmenter(encoder, images, **frozen).network.exits
    assert same(known.encoder.state_dict(), after.encoder.state_dict())
    assert not same(known.exits.state_dict(), after.exits.state_dict())


def test_another_training_or_a_broken_state_is_refused(encoder, images, tmp_path):
    train_segmenter(encoder, images, out=tmp_path, **SHORT)
    with pytest.raises(RunError, match=r"learning_rate \(there 0.001, now 0.5\)"):
        train_segmenter(encoder, images, out=tmp_path, **SHORT, learning_rate=0.5)
    (tmp_path / "state.safetensors").write_bytes(b"nothing")
    with pytest.raises(RunError, match="delete it"):
        train_segmenter(encoder, images, out=tmp_path, **SHORT)


def test_what_is_kept_is_loaded_again(encoder, images, unseen, tmp_path):
    trained = train_segmenter(encoder, images, out=tmp_path, **SHORT)
    again = Segmenter.load(tmp_path, encoder)
    assert again.facts == trained.facts
    for name, heat in trained.heatmaps(unseen.images).items():
        np.testing.assert_array_equal(heat, again.heatmaps(unseen.images)[name])
    facts = json.loads((tmp_path / "segmenter.json").read_text())
    assert from_plain(Facts, facts, "facts") == trained.facts
    lines = (tmp_path / "epochs.csv").read_text().splitlines()
    assert len(lines) == 1 + 4


def test_nothing_that_a_folder_names_is_run(encoder, images, tmp_path):
    train_segmenter(encoder, images, out=tmp_path, **SHORT)
    with pytest.raises(RunError, match="name it yourself"):
        Segmenter.load(tmp_path)
    facts = json.loads((tmp_path / "segmenter.json").read_text())
    ran = tmp_path / "ran"
    (tmp_path / "evil.py").write_text(f"open({str(ran)!r}, 'w')\ndef make(x): return x\n")
    for change in ({"source": f"{tmp_path}/evil.py:make"},
                   {"reshapes": [f"{tmp_path}/evil.py:make", None]}):  # fmt: skip
        (tmp_path / "segmenter.json").write_text(json.dumps({**facts, **change}))
        with pytest.raises(RunError):
            Segmenter.load(tmp_path, encoder if "reshapes" in change else None)
    assert not ran.exists()


def test_weights_of_another_encoder_are_refused(encoder, images, tmp_path):
    train_segmenter(encoder, images, out=tmp_path, **SHORT)
    weights = load_file(tmp_path / "segmenter.safetensors")
    weights.pop("exits.encoder.head.bias")
    save_file(weights, tmp_path / "segmenter.safetensors")
    with pytest.raises(RunError, match="not those of encoder"):
        Segmenter.load(tmp_path, encoder)
    with pytest.raises(RunError, match="no trained segmenter"):
        Segmenter.load(tmp_path / "absent")


def test_polarity_flips_with_the_sign_of_the_class_evidence():
    """A classifier of brightness, then one of darkness, looks at the same heatmaps."""
    generator = torch.Generator().manual_seed(0)
    heat = (torch.rand(12, 8, 8, generator=generator) > 0.7).float()
    images = heat[:, None] * torch.ones(12, 3, 8, 8)  # bright where it is hot

    def bright(inputs: torch.Tensor) -> torch.Tensor:
        return inputs.amax((1, 2, 3)) - inputs.mean((1, 2, 3))

    for sign in (1, -1):
        evidence = class_evidence(lambda x, sign=sign: sign * bright(x), images, heat)
        found, interval = polarity_of(evidence, 0)
        assert found == sign
        assert interval.low <= interval.mean <= interval.high
        torch.testing.assert_close(turned(heat, found), heat if sign > 0 else 1 - heat)
        other = class_evidence(lambda x, sign=sign: sign * bright(x), images, 1 - heat)
        torch.testing.assert_close(other, -evidence)


def test_exits_are_joined_with_the_object_hot_whatever_the_sign_of_their_maps(trained, images):
    """The map of the shallow exit is negated: its polarity turns, and nothing else changes."""
    shown = images.subset(images.marked).images
    negated = copy.deepcopy(trained.network)
    with torch.no_grad():
        for one in negated.exits.exits[0].parameters():
            one.neg_()
    phases = Phases(negated, images, images.labels == 1, SegmentOptions(epochs=0), 0)
    phases.orient()
    assert (negated.signs * trained.network.signs).tolist() == [-1, 1]
    before, after = (
        {title: torch.cat([batch[title] for batch in raw_heatmaps(network, shown)])
         for title in (AME, MEAN, "exit at stage1")}
        for network in (trained.network, negated)
    )  # fmt: skip
    torch.testing.assert_close(after.pop("exit at stage1"), 1 - before.pop("exit at stage1"))
    torch.testing.assert_close(after, before, atol=1e-4, rtol=0)
    heat = trained.heatmaps(shown)
    joined = torch.from_numpy(np.stack([heat["exit at stage1"], heat["exit at stage2"]])).mean(0)
    torch.testing.assert_close(torch.from_numpy(heat[MEAN]), between_extremes(joined))


def test_layers_are_sought_where_none_are_named_one_per_resolution(encoder, images):
    facts = [
        train_segmenter(encoder, images, epochs=1, attention_epochs=0, exits=most).facts
        for most in (1, 4)
    ]
    assert facts[0].layers == facts[1].layers[-1:]
    assert facts[1].channels == (6, 8)  # of the first stage, then of the second
    assert facts[1].layers[1].startswith("stage2")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("network", "side", "layers"),
    [
        ("torchvision:resnet18@random", 64, ("layer1", "layer2", "layer3", "layer4")),
        ("timm:vit_tiny_patch16_224@random", 224, ("blocks.8", "blocks.9", "blocks.10")),
    ],
)
def test_encoders_of_libraries(timm, tmp_path, network, side, layers):
    """Of a residual network the stages, as in the paper; of a transformer several blocks."""
    images = torch.rand(4, 3, side, side, generator=torch.Generator().manual_seed(0))
    trained = train_segmenter(network, images, labels=[0, 1, 0, 1], epochs=1, attention_epochs=1,
                              batch=2, out=tmp_path)  # fmt: skip
    assert trained.facts.layers == layers
    again = Segmenter.load(tmp_path).heatmaps(images[:2])
    for title, heat in trained.heatmaps(images[:2]).items():
        np.testing.assert_array_equal(heat, again[title])


def test_classes_are_named_or_numbered(encoder, images):
    labels = torch.where(images.labels == 1, torch.arange(len(images)) % 4 // 2, 2)
    named = ImageSet.from_arrays(images.images, labels)
    named = replace(named, class_names=("benign", "malignant", "normal"))
    facts = [
        train_segmenter(encoder, named, which, **{**SHORT, "epochs": 1}).facts
        for which in ("benign,malignant", [0, "malignant"], (0, 1))
    ]
    assert facts[0] == facts[1] == facts[2]
    assert facts[0].foreground == ("benign", "malignant")
    assert facts[0].shown == int((labels < 2).sum())
    with pytest.raises(UnknownNameError, match="benign"):
        train_segmenter(encoder, named, "benigm", **SHORT)
    with pytest.raises(OptionError, match="foreground must say which classes"):
        train_segmenter(encoder, named, **SHORT)
    with pytest.raises(DataError, match="every image shows"):
        train_segmenter(encoder, named, (0, 1, 2), **SHORT)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"epochs": -1}, "epochs must be a whole number of at least 0"),
        ({"batch": 1}, "batch must"),
        ({"simclr_epochs": 1.5}, "simclr_epochs must be a whole number of at least 0"),
        ({"simclr_batch": 1}, "simclr_batch must"),
        ({"temperature": 0}, "temperature must be a number above 0"),
        ({"learning_rate": 0}, "learning_rate must be a number above 0"),
        ({"rank_decay": float("nan")}, "rank_decay must"),
    ],
)
def test_options_that_cannot_be_used_are_said(options, said):
    with pytest.raises(OptionError, match=said):
        SegmentOptions(**options)


def test_a_threshold_that_cannot_be_used_is_said():
    for threshold in (0, 1.5, "half"):
        with pytest.raises(OptionError, match="threshold must lie"):
            MaskOptions(threshold=threshold)


def test_images_without_labels_or_volumes_are_said(encoder, images):
    with pytest.raises(DataError, match="no labels"):
        train_segmenter(encoder, images.images, **SHORT)
    with pytest.raises(DataError, match="volumes"):
        train_segmenter(encoder, torch.rand(4, 3, 4, 8, 8), labels=[0, 1, 0, 1], **SHORT)
