"""What is explained: classes and other scalars of the outputs, for each image its own."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from types import SimpleNamespace
from typing import NamedTuple

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sycam import CAM
from sycam.errors import DataError, NetworkError, OptionError, SycamError
from sycam.evidence import Examples, Layer, measure, measure_leaves
from sycam.heatmaps import evaluate
from sycam.language import parse
from sycam.networks.outputs import rows
from sycam.targets import Contrast, Logit, Probability, ReST, Similarity, parse_target
from sycam.targets.resolve import resolve


class ClassScore:
    """As pytorch-grad-cam's ClassifierOutputTarget."""

    def __init__(self, category: int):
        self.category = category

    def __call__(self, output: Tensor) -> Tensor:
        return output[self.category]


def test_one_class_however_it_is_said(small_network, small_images):
    import numpy as np

    expected = measure(small_network, small_network[3], small_images, [2] * 7)
    assert expected.targets.tolist() == [2] * 7
    for target in (
        2,
        np.int64(2),
        torch.tensor(2),
        torch.full((7,), 2),
        torch.full((7,), 2, dtype=torch.uint8),
        np.full(7, 2),
        (2,) * 7,
        [torch.tensor(2)] * 7,
    ):
        found = measure(small_network, small_network[3], small_images, target, batch=3)
        assert torch.equal(found.targets, expected.targets)
        torch.testing.assert_close(found.gradients, expected.gradients)
    for target in (ClassScore(2), [ClassScore(2)] * 7, (ClassScore(2),) * 7):
        found = measure(small_network, small_network[3], small_images, target, batch=3)
        torch.testing.assert_close(found.gradients, expected.gradients)


def test_each_image_gets_its_own_target_in_any_batch(small_network, small_images):
    classes = torch.tensor([0, 1, 2, 3, 4, 0, 1])
    activations = small_network[:4](small_images).detach().requires_grad_()
    scores = small_network[4:](activations).gather(1, classes[:, None])
    (gradients,) = torch.autograd.grad(scores.sum(), activations)
    for target in (classes, classes.tolist(), [ClassScore(int(c)) for c in classes]):
        for batch in (2, 7):
            found = measure(small_network, small_network[3], small_images, target, batch=batch)
            torch.testing.assert_close(found.gradients, gradients)
    labelled = measure(small_network, small_network[3], small_images, "label", classes, batch=4)
    torch.testing.assert_close(labelled.gradients, gradients)
    assert torch.equal(labelled.targets, classes)


def test_a_callable_may_contrast_classes(small_network, small_images):
    layer = small_network[3]
    one, two = (measure(small_network, layer, small_images, c).gradients for c in (1, 2))
    found = measure(small_network, layer, small_images, lambda row: row[1] - 0.6 * row[2:3])
    torch.testing.assert_close(found.gradients, one - 0.6 * two)


def test_single_output_networks(small_network, small_images):
    network = nn.Sequential(*small_network, nn.Linear(5, 1))
    found = measure(network, network[3], small_images)
    assert found.outputs.shape == (7, 1)
    assert found.targets.tolist() == [0] * 7
    torch.testing.assert_close(found.probability, found.outputs[:, 0].sigmoid())
    # Class 0 once got the positive class's map, and 1, its label, was out of range.
    for target in (0, 1, [0] * 7, torch.ones(7, dtype=torch.long), Probability(0), ReST(1)):
        with pytest.raises(DataError, match=r"cannot be told: .* one output.*-row\[0\]"):
            measure(network, network[3], small_images, target)
    with pytest.raises(DataError, match="class 0 cannot be told"):
        measure(network, network[3], small_images, "label", torch.zeros(7, dtype=torch.long))
    with pytest.raises(DataError, match="class 0 cannot be told"):
        CAM(network, "3", "grad-cam")(small_images, 0)
    negative = measure(network, network[3], small_images, lambda row: -row[0])
    torch.testing.assert_close(negative.gradients, -found.gradients)


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ([0, 1], "7 images need 7 targets, got 2"),
        (torch.zeros(8, dtype=torch.long), "7 images need 7 targets, got 8"),
        ([ClassScore(0)] * 3, "7 images need 7 targets, got 3"),
        ([ClassScore(0), *[1] * 6], r"need 7 callable targets, got 7 \(1 of them callable\)"),
        (5, "target class 5 is out of range: the network has 5 classes, 0 to 4"),
        (-1, "target class -1 is out of range"),
        ([0, 1, 2, 3, 4, 9, 0], "target class 9 is out of range"),
        (torch.zeros(7), r"targets must be integers, got torch.float32"),
        (torch.ones(7, dtype=torch.bool), "targets must be integers"),
        (1.5, "targets must be class indices or callables"),
        (["cat"] * 7, "targets must be class indices or callables"),
        (torch.zeros(7, 5, dtype=torch.long), r"got targets of shape \(7, 5\)"),
        (lambda row: 3.0, "must return one scalar tensor"),
        (lambda row: row, "must return one scalar tensor"),
        ("label", "needs labels"),
    ],
)
def test_targets_that_do_not_fit(small_network, small_images, target, said):
    with pytest.raises(DataError, match=said):
        measure(small_network, small_network[3], small_images, target)


def test_labels_of_another_number(small_network, small_images):
    """Too many labels once went unnoticed where the number of images was a multiple of 32."""
    for count in (6, 8):
        labels = torch.zeros(count, dtype=torch.long)
        with pytest.raises(DataError, match=f"7 images need 7 labels, got {count}"):
            measure(small_network, small_network[3], small_images, "label", labels, batch=7)


def test_unknown_target_word(small_network, small_images):
    with pytest.raises(OptionError, match="'predicted', 'label' or class indices"):
        measure(small_network, small_network[3], small_images, "prediction")


def test_scores_are_those_of_the_targets(small_network, small_images):
    evidence = measure(small_network, small_network[3], small_images, 4)
    assert torch.equal(evidence.leaves["score"].flatten(), evidence.outputs[:, 4])
    chance = evidence.outputs.softmax(1)[:, 4]
    torch.testing.assert_close(evidence.leaves["probability"].flatten(), chance)


def gradients_of(network: nn.Module, images: Tensor, target) -> Tensor:
    return measure(network, network[3], images, target).gradients


def test_probability_and_rest_are_the_packages(grad_cam, small_network, small_images):
    package = grad_cam.utils.model_targets
    for ours, theirs in (
        (Probability(2), package.ClassifierOutputSoftmaxTarget(2)),
        (ReST(2), package.ClassifierOutputReST(2)),
    ):
        found = gradients_of(small_network, small_images, ours)
        expected = gradients_of(small_network, small_images, theirs)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-7)
    of_one = nn.Sequential(*small_network, nn.Linear(5, 1))
    chance = measure(of_one, of_one[3], small_images, Probability())
    torch.testing.assert_close(chance.leaves["score"][:, 0, 0, 0], chance.outputs[:, 0].sigmoid())


def test_the_contrast_with_released_weighting_is_the_packages(
    grad_cam, small_network, small_images
):
    """Finer-CAM's released code: nearest three by logit, strength 1, weighted by probability."""
    outputs = small_network(small_images).detach()
    per_image = []
    for row in outputs:
        near = sorted(range(5), key=lambda i: abs(float(row[i] - row.max())))
        per_image.append(grad_cam.utils.model_targets.FinerWeightedTarget(near[0], near[1:4], 1.0))
    expected = gradients_of(small_network, small_images, per_image)
    target = Contrast(nearest=3, gamma=1.0, weighting="probability")
    found = gradients_of(small_network, small_images, target)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-7)
    assert (found - gradients_of(small_network, small_images, Contrast())).abs().max() > 1e-4


def test_the_contrast_is_linear_in_the_logits(small_network, small_images):
    """Gradients, and all that is linear in them, are those of the class minus gamma times the
    references' mean (Finer-CAM, uniform weighting)."""
    of = [gradients_of(small_network, small_images, c) for c in range(5)]
    found = gradients_of(small_network, small_images, Contrast(1, references=(3, 4), gamma=0.7))
    torch.testing.assert_close(found, of[1] - 0.7 * (of[3] + of[4]) / 2)
    zero = gradients_of(small_network, small_images, Contrast(1, gamma=0.0))
    torch.testing.assert_close(zero, of[1])
    for text in ("mean(G)", "G", "sum(G * A) / sum(A)"):
        weights = [
            evaluate(
                [parse(text)], {"activations": small_network[:4](small_images), "gradients": g}
            )
            for g in (found, of[1], of[3], of[4])
        ]
        (whole,), (own,), (first,), (second,) = weights
        torch.testing.assert_close(whole, own - 0.7 * (first + second) / 2)


def test_nearest_references_are_fixed_by_the_clean_image(small_network, small_images):
    outputs = small_network(small_images).detach()
    explained = resolve(Contrast(), outputs, 7)
    other = outputs.flip(1)  # another order of classes, as a perturbed copy may have
    index = outputs.argmax(1)
    for i in range(7):
        gaps = [(abs(float(outputs[i, c] - outputs[i, index[i]])), c) for c in range(5)]
        near = [c for _, c in sorted(gaps)[1:4]]
        expected = other[i, index[i]] - 0.6 * other[i, near].mean()
        torch.testing.assert_close(explained.scores(other)[i], expected)
    # A row may be a copy of any image.
    swapped = explained.scores(other[[3, 3]], torch.tensor([3, 3]))
    assert torch.equal(swapped, explained.scores(other)[[3, 3]])


@pytest.mark.parametrize(
    ("target", "said"),
    [
        (Contrast(1, references=(1, 2)), "class 1 cannot be contrasted with itself"),
        (Contrast(1, references=(7,)), "references must be classes from 0 to 4"),
        (Logit("nearest"), "'predicted', 'label' or class indices"),
        (Probability([1, 2]), "7 images need 7 targets, got 2"),
    ],
)
def test_class_targets_that_do_not_fit(small_network, small_images, target, said):
    with pytest.raises(SycamError, match=said):
        measure(small_network, small_network[3], small_images, target)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"weighting": "softmax"}, "expected 'uniform' or 'probability'"),
        ({"gamma": float("nan")}, "gamma must be a finite number"),
        ({"nearest": 0}, "nearest must be a positive integer"),
        ({"references": ()}, "references must be one or several class numbers"),
        ({"references": "35"}, "references must be one or several class numbers"),
        ({"references": [1.5]}, "references must be one or several class numbers"),
    ],
)
def test_contrasts_that_cannot_be(options, said):
    with pytest.raises(OptionError, match=said):
        Contrast(1, **options)
    same = [Contrast(1, references=r) for r in ((3, 4), [3, 4], torch.tensor([3, 4]))]
    assert same[0] == same[1] == same[2]


def test_a_contrast_needs_two_classes(small_network, small_images):
    of_one = nn.Sequential(*small_network, nn.Linear(5, 1))
    with pytest.raises(DataError, match="needs at least two classes"):
        measure(of_one, of_one[3], small_images, Contrast())


TEXTS = {
    "predicted": Logit(),
    "label": Logit("label"),
    "12": Logit(12),
    "probability": Probability(),
    "probability:of=3": Probability(3),
    "rest:of=label": ReST("label"),
    "contrast": Contrast(),
    "contrast:of=2,references=3+5,gamma=1,weighting=probability": Contrast(
        2, (3, 5), gamma=1.0, weighting="probability"
    ),
    "contrast:nearest=2": Contrast(nearest=2),
}


@pytest.mark.parametrize("text", TEXTS)
def test_targets_as_text(text):
    assert parse_target(text) == TEXTS[text]
    assert parse_target(str(TEXTS[text])) == TEXTS[text]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("predictd", "target 'predictd' is not known; did you mean 'predicted'"),
        ("contrast:gama=1", "did you mean 'gamma'"),
        ("contrast:gamma=much", "option 'gamma' of target 'contrast' cannot be 'much'"),
        ("contrast:references=cat", "cannot be 'cat'"),
        ("probability:of=cat", "cannot be 'cat'"),
        ("-1", "target '-1' is not known"),
        ("", "target '' is not known"),
    ],
)
def test_texts_that_are_no_targets(text, said):
    with pytest.raises(SycamError, match=said):
        parse_target(text)


class Encoder(nn.Module):
    """A CLIP-like image encoder: features instead of class scores."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(5)
        self.body = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU())
        self.head = nn.Linear(6 * 196, 12)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.body(images).flatten(1))


def test_similarity_to_prompts_of_an_encoder(small_images):
    network, generator = Encoder().eval(), torch.Generator().manual_seed(1)
    cat, dog = torch.randn(2, 12, generator=generator)
    found = measure(network, network.body, small_images, Similarity(cat, dog, gamma=0.5))
    activations = network.body(small_images).detach().requires_grad_()
    features = F.normalize(network.head(activations.flatten(1)), dim=1)
    expected = features @ F.normalize(cat, dim=0) - 0.5 * features @ F.normalize(dog, dim=0)
    torch.testing.assert_close(found.leaves["score"].flatten(), expected.detach())
    (gradients,) = torch.autograd.grad(expected.sum(), activations)
    torch.testing.assert_close(found.gradients, gradients, rtol=1e-4, atol=1e-8)
    maps = CAM(network, network.body, "mean(G)")(small_images, Similarity(cat))
    assert maps.shape == (7, 16, 16)
    assert (maps.amax((1, 2)) == 1).any()
    with pytest.raises(DataError, match=r"features \(12,\), the prompt has \(9,\)"):
        measure(network, network.body, small_images, Similarity(torch.rand(9)))
    with pytest.raises(DataError, match="one finite row"):
        Similarity(torch.rand(2, 9))


class Segments(nn.Module):
    """As torchvision's segmentation networks: a mapping of per-pixel class scores."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(6)
        self.body = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU())
        self.head = nn.Conv2d(6, 4, 3, padding=1)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        return {"out": self.head(self.body(images))}


class Detects(Segments):
    """As torchvision's detection networks: a list with a mapping an image."""

    def forward(self, images: Tensor) -> list[dict[str, Tensor]]:
        scores = super().forward(images)["out"].mean((2, 3))
        return [{"scores": row, "labels": torch.arange(4)} for row in scores]


def test_segmentation_and_detection_by_a_callable(small_images):
    region = torch.zeros(16, 16)
    region[4:9, 5:12] = 1
    segments = Segments().eval()
    found = measure(
        segments, segments.body, small_images, lambda row: (row["out"][2] * region).sum()
    )
    activations = segments.body(small_images).detach().requires_grad_()
    score = (segments.head(activations)[:, 2] * region).sum((1, 2))
    (expected,) = torch.autograd.grad(score.sum(), activations)
    torch.testing.assert_close(found.gradients, expected)
    torch.testing.assert_close(found.probability, score.detach())
    assert found.outputs is None
    detects = Detects().eval()
    found = measure(detects, detects.body, small_images, lambda row: row["scores"][1])
    score = detects.head(activations).mean((2, 3))[:, 1]
    (expected,) = torch.autograd.grad(score.sum(), activations)
    torch.testing.assert_close(found.gradients, expected)
    with pytest.raises(NetworkError, match="or explain a callable target"):
        measure(detects, detects.body, small_images)


def confident(dtype: torch.dtype, classes: int, gap: float) -> nn.Module:
    """A network whose first class leads by about ``gap``; the same weights in any type."""
    with torch.random.fork_rng():
        torch.manual_seed(5)
        network = nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.Softplus(), nn.Conv2d(4, 6, 3), nn.Softplus(), nn.Flatten(),
            nn.Linear(6 * 8 * 8, classes),
        )  # fmt: skip
    with torch.no_grad():
        network[5].bias[0] += gap
    return network.to(dtype)


@pytest.mark.parametrize("gap", [0.0, 9.0, 18.0, 40.0])
@pytest.mark.parametrize("classes", [1, 2, 5])
@pytest.mark.parametrize("target", [Probability(0), ReST(0), Probability()])
def test_float32_explains_confident_probabilities_as_float64_does(gap, classes, target):
    """1 - p has no digits left in float32 from a logit of 17 on: heatmaps were noise, or flat."""
    target = type(target)() if classes == 1 else target
    images = torch.rand(3, 3, 12, 12, generator=torch.Generator().manual_seed(1))
    single, double = (confident(t, classes, gap) for t in (torch.float32, torch.float64))
    names = ["ablation_drops", "hessian_product"]
    found, exact = (
        measure_leaves(n, [Layer("3", n[3])], Examples(i), names, target)[0]
        for n, i in ((single, images), (double, images.double()))
    )
    for name in ("gradients", "hessian_product", "ablation_drops"):
        a, b = found.leaves[name].double(), exact.leaves[name]
        scale = b.abs().amax((1, 2, 3), keepdim=True)
        assert (scale > 0).all()
        torch.testing.assert_close(a / scale, b / scale, rtol=0, atol=2e-4)
    for formula in ("grad-cam", "layer-cam"):
        a, b = (
            CAM(single, "3", formula)(images, target),
            CAM(double, "3", formula)(images.double(), target),
        )
        torch.testing.assert_close(a.double(), b, rtol=0, atol=1e-3)


class Returning(nn.Module):
    """A network whose outputs are packed by a function."""

    def __init__(self, network: nn.Module, pack):
        super().__init__()
        self.network, self.pack = network, pack

    def forward(self, images: Tensor) -> object:
        return self.pack(self.network(images))


PACKED = {
    "dict": (lambda y: {"out": y}, lambda row: row["out"][0]),
    "tuple": (lambda y: (y, y * 2), lambda row: row[0][0]),
    "detections": (lambda y: [{"scores": one} for one in y], lambda row: row["scores"][0]),
    "4-D": (lambda y: y[:, :, None, None], lambda row: row[0, 0, 0]),
    "1-D": (lambda y: y[:, 0], lambda row: row),
}


@pytest.mark.parametrize("packed", PACKED)
def test_a_resolved_callable_explains_whatever_the_network_returns(
    packed, small_network, small_images
):
    """Held-out validation and metrics of changed inputs measure a target that is resolved."""
    pack, target = PACKED[packed]
    network = Returning(small_network, pack)
    layer = small_network[3]
    first = measure(network, layer, small_images, target)
    again = measure(network, layer, small_images, resolve(target, None, 7), batch=3)
    plain = measure(small_network, layer, small_images, 0)
    torch.testing.assert_close(again.gradients, plain.gradients)
    torch.testing.assert_close(again.probability, first.probability)
    assert again.outputs is None


class Heads(NamedTuple):
    logits: Tensor
    loss: Tensor | None


def test_rows_of_several_outputs_keep_their_type():
    y = torch.arange(6.0).view(2, 3)
    found = rows(Heads(y, None), 2)
    assert isinstance(found[1], Heads)
    assert found[1].loss is None
    assert torch.equal(found[1].logits, y[1])
    loss = torch.tensor(4.0)
    assert rows((y, loss), 2)[1][1] is loss
    assert rows({"out": y, "note": "text"}, 2)[0]["note"] == "text"
    heads = rows([y, 2 * y, 3 * y], 2)  # as many images as heads is another matter
    assert torch.equal(heads[1][2], 3 * y[1])
    assert rows([y, loss, None, y], 2)[1][1:3] == [loss, None]
    for either in ([y, 2 * y], [y, None], [{"a": y}, {"a": y}]):
        with pytest.raises(NetworkError, match="an image or a head cannot be told"):
            rows(either, 2)


@dataclass(frozen=True)
class Named:
    logits: Tensor
    hidden: tuple[Tensor, ...]
    loss: Tensor | None = None
    anchors: Tensor | None = None


class ModelOutput(OrderedDict):
    """Entries by key and by attribute, as transformers' networks return them."""

    def __init__(self, entries):
        super().__init__(entries)
        for key, value in entries.items():
            object.__setattr__(self, key, value)


def test_rows_of_objects_keep_their_type_and_attributes():
    y, anchors = torch.arange(6.0).view(2, 3), torch.zeros(9, 4)
    made = {"logits": y, "hidden": (2 * y, 3 * y), "loss": None, "anchors": anchors}
    for whole in (Named(**made), SimpleNamespace(**made), ModelOutput(made)):
        found = rows(whole, 2)
        for i, row in enumerate(found):
            assert type(row) is type(whole)
            assert torch.equal(row.logits, y[i])
            assert torch.equal(row.hidden[1], 3 * y[i])
            assert row.loss is None
            assert row.anchors is anchors
            if isinstance(row, ModelOutput):
                assert row["logits"] is row.logits
        assert torch.equal(whole.logits, y)  # the network's own is left alone
    for nothing in (Named(anchors, ()), SimpleNamespace(loss=3.0), "text", {"loss": anchors}, 3.5):
        with pytest.raises(NetworkError, match="not one row per image"):
            rows(nothing, 2)


class Slotted:
    __slots__ = ("logits",)

    def __init__(self, logits):
        self.logits = logits


def cyclic(y):
    made = SimpleNamespace(logits=y)
    made.itself = made
    return made


FORMS = {
    "list of two heads": (lambda y: [y, -y], lambda row: row[0][0]),
    "list of one head": (lambda y: [y], lambda row: row[0][0]),
    "list of images": (lambda y: [one[None] for one in y], lambda row: row[0, 0]),
    "list of images' boxes": (lambda y: [one[:2, None] for one in y], lambda row: row[0, 0]),
    "tuple with a loss": (lambda y: (y, y.sum()), lambda row: row[0][0]),
    "dataclass": (lambda y: Named(y, ()), lambda row: row.logits[0]),
    "list with None": (lambda y: [y, None], lambda row: row[0][0]),
    "list with a loss": (lambda y: [y.mean(), y], lambda row: row[1][0]),
    "list of mappings": (lambda y: [{"of": y}, {"of": -y}], lambda row: row[0]["of"][0]),
    "list of detections": (lambda y: [{"of": one[:2]} for one in y], lambda row: row["of"][0]),
    "nested": (lambda y: {"heads": [y, -y]}, lambda row: row["heads"][0][0]),
    "object": (lambda y: SimpleNamespace(heads=[y, -y]), lambda row: row.heads[0][0]),
    "object with slots": (lambda y: Slotted(y), lambda row: row.logits[0]),
    "object with a cycle": (lambda y: cyclic(y), lambda row: row.logits[0]),
}


@pytest.mark.parametrize("form", FORMS)
def test_heatmaps_do_not_depend_on_the_number_of_images(small_network, small_images, form):
    shaped, target = FORMS[form]
    network = nn.Sequential(small_network, Formed(shaped))
    expected = CAM(small_network, "3", "grad-cam")(small_images, 0)
    for count in (1, 2, 3):
        for formula in ("grad-cam", "D * A"):
            found = CAM(network, "0.3", formula)(small_images[:count], target)
            if formula == "grad-cam":
                torch.testing.assert_close(found, expected[:count])


class Formed(nn.Module):
    def __init__(self, form):
        super().__init__()
        self.form = form

    def forward(self, y):
        return self.form(y)
