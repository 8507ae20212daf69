"""Networks whose outputs are probabilities, and networks of several labels."""

import copy
import json

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from typer.testing import CliRunner

import sycam
from sycam import CAM
from sycam.cli import app
from sycam.errors import NetworkError, OptionError
from sycam.evidence import measure, read_outputs
from sycam.inference import Classifier
from sycam.networks.forward import forward
from sycam.networks.readings import Reading
from sycam.problem.correctness import classified_correctly
from sycam.targets.class_targets import Probability, ReST


def net(classes=4, scale=1.0, seed=0):
    torch.manual_seed(seed)
    head = nn.Linear(6, classes)
    with torch.no_grad():
        head.weight *= scale
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(2),
        nn.Conv2d(6, 6, 2), nn.Flatten(), head,
    ).eval()  # fmt: skip


class Ends(nn.Module):
    """A network with a last step of its own."""

    def __init__(self, network, last):
        super().__init__()
        self.network, self.last = network, last

    def forward(self, images):
        return self.last(self.network(images))


IMAGES = torch.rand(6, 3, 8, 8, generator=torch.Generator().manual_seed(1))
SOFTMAXES = {
    "module": nn.Softmax(1),
    "function": lambda y: F.softmax(y, dim=1),
    "method": lambda y: y.softmax(-1),
    "viewed": lambda y: y[:, :, None, None].softmax(1).flatten(1),
}


@pytest.mark.parametrize("last", SOFTMAXES)
@pytest.mark.parametrize("target", ["predicted", "probability", "rest", "contrast"])
def test_a_network_that_ends_in_softmax_has_the_heatmaps_of_one_without(last, target):
    own = net(scale=30)  # confident: the logarithm of its softmax has no gradient left
    wrapped = Ends(copy.deepcopy(own), SOFTMAXES[last])
    for formula in ("grad-cam", "D * A", "y * G"):
        expected = CAM(own, "1", formula)(IMAGES, target)
        assert expected.amax() > 0
        torch.testing.assert_close(CAM(wrapped, "network.1", formula)(IMAGES, target), expected)


@pytest.mark.parametrize("last", [nn.Sigmoid(), lambda y: torch.sigmoid(y), lambda y: y.sigmoid()])
def test_a_network_that_ends_in_sigmoid_has_the_heatmaps_of_one_without(last):
    own = net(1, scale=30)
    wrapped = Ends(own, last)
    expected = CAM(own, "1", "grad-cam")(IMAGES, "probability")
    found = CAM(wrapped, "network.1", "grad-cam")(IMAGES, "probability")
    torch.testing.assert_close(found, expected)


def test_fullgrad_sees_the_logits_behind_a_softmax():
    own = net(scale=30)
    wrapped = nn.Sequential(own, nn.Softmax(1))
    torch.testing.assert_close(
        CAM(wrapped, "0.1", "fullgrad")(IMAGES), CAM(own, "1", "fullgrad")(IMAGES)
    )


def test_metrics_of_a_network_that_ends_in_softmax_are_those_of_one_without():
    own = net(scale=3)
    metrics = ["road", "average-drop", "deletion", "relative-drop", "class-sensitivity"]
    tables = [
        sycam.evaluate(network, layer, IMAGES, ["grad-cam", "layer-cam"], metrics, target=target)
        for network, layer in ((own, "1"), (nn.Sequential(own, nn.Softmax(1)), "0.1"))
        for target in ("predicted", "probability")
    ]
    for plain, wrapped in ((tables[0], tables[2]), (tables[1], tables[3])):
        for cell, expected in plain.cells.items():
            assert wrapped.cells[cell].mean == pytest.approx(expected.mean, abs=1e-5), cell


@pytest.mark.parametrize(
    ("last", "reading"),
    [
        (nn.Identity(), "logits:softmax"),
        (nn.LogSoftmax(1), "logits:softmax"),
        (nn.ReLU(), "logits:softmax"),
        (lambda y: 0.02 * y + 0.5, "logits:softmax"),  # in [0, 1], and no probabilities
        (nn.Softmax(1), "probabilities:softmax"),
        (lambda y: y.exp() / y.exp().sum(1, keepdim=True), "probabilities:softmax"),
        (
            lambda y: torch.stack([y.softmax(1), (2 * y).softmax(1)]).mean(0),
            "probabilities:softmax",
        ),
        (nn.Sigmoid(), "probabilities:sigmoid"),
        (lambda y: y.sigmoid()[:, :2], "probabilities:sigmoid"),
    ],
)
def test_what_the_outputs_are_is_told_by_the_last_step(last, reading):
    found, said = read_outputs(Ends(net(), last), IMAGES)
    assert str(found) == reading
    assert ("probabilities" in said) == found.probabilities


@pytest.mark.parametrize("classes", [1, 3])
def test_outputs_that_may_be_either_are_refused_with_the_cure(classes):
    network = Ends(net(classes), lambda y: y.sigmoid().clamp(0.01, 0.99))
    with pytest.raises(NetworkError, match="output='probabilities:sigmoid' or output='logits'"):
        CAM(network, "network.1", "grad-cam")(IMAGES)
    assert CAM(network, "network.1", "grad-cam", output="probabilities")(IMAGES).amax() > 0
    assert str(read_outputs(network, IMAGES, "probabilities")[0]) == "probabilities:sigmoid"


def test_where_no_step_is_seen_the_logarithm_stands_for_the_logits():
    own = net()
    wrapped = torch.jit.trace(nn.Sequential(own, nn.Softmax(1)), IMAGES)
    reading, said = read_outputs(wrapped, IMAGES)
    assert str(reading) == "probabilities:softmax"
    assert "less precision" in said
    expected = forward(own, IMAGES).log_softmax(1)
    torch.testing.assert_close(forward(wrapped, IMAGES, reading), expected)


def test_an_output_that_the_network_does_not_have_is_refused():
    with pytest.raises(NetworkError, match="outputs go from"):
        CAM(net(scale=30), "1", "grad-cam", output="probabilities:softmax")(IMAGES)
    wrapped = nn.Sequential(net(), nn.Sigmoid())
    with pytest.raises(NetworkError, match="do not sum to 1"):
        CAM(wrapped, "0.1", "grad-cam", output="probabilities:softmax")(IMAGES)
    for text in ("softmax:logits", "probability", "logits:tanh", "", 3, None):
        with pytest.raises(OptionError, match="is not understood; expected 'auto'"):
            CAM(net(), "1", "grad-cam", output=text)
    with pytest.raises(OptionError, match="a callable target reads the network's outputs itself"):
        CAM(net(), "1", "grad-cam", output="logits")(IMAGES, lambda row: row[0])


def test_each_label_of_several_has_the_sigmoid_for_its_probability():
    network, reading = net(), Reading(False, "sigmoid")
    outputs = network(IMAGES).detach()
    index = outputs.argmax(1)
    expected = outputs.sigmoid().gather(1, index[:, None])[:, 0]
    classifier = Classifier(network, reading=reading)
    torch.testing.assert_close(classifier.probability(IMAGES, index), expected)
    torch.testing.assert_close(
        classifier.probability(IMAGES, torch.tensor([[0, 3]] * 6)), outputs[:, [0, 3]].sigmoid()
    )
    target = Probability(reading=reading)
    found = measure(network, network[1], IMAGES, target)
    torch.testing.assert_close(found.probability, expected)
    torch.testing.assert_close(found.others["score"].flatten(), expected)
    rest = measure(network, network[1], IMAGES, ReST(reading=reading))
    own = outputs.gather(1, index[:, None])[:, 0]
    torch.testing.assert_close(rest.others["score"].flatten(), own + F.logsigmoid(own))


def test_average_drop_of_a_network_of_several_labels_is_of_sigmoids():
    network = net()

    def drop(output, network=network, layer="1"):
        table = sycam.evaluate(
            network, layer, IMAGES, ["grad-cam"], ["average-drop"], output=output
        )
        return table.scores["grad-cam", "average-drop"]

    maps = CAM(network, "1", "grad-cam", output="logits:sigmoid")(IMAGES)
    with torch.no_grad():
        clean, masked = network(IMAGES), network(IMAGES * maps[:, None])
    index = clean.argmax(1, keepdim=True)
    before, after = (y.sigmoid().gather(1, index)[:, 0] for y in (clean, masked))
    expected = ((before - after).clamp(min=0) / before).numpy()
    assert drop("logits:sigmoid") == pytest.approx(expected, abs=1e-5)
    assert drop("auto") != pytest.approx(expected, abs=1e-3)  # softmax, where nothing is said
    wrapped = nn.Sequential(network, nn.Sigmoid())
    assert drop("auto", wrapped, "0.1") == pytest.approx(expected, abs=1e-5)


def test_the_command_takes_what_the_outputs_are():
    def score(*options):
        command = ["evaluate", "grad-cam", "--metric", "average-drop", "--count", "4", "--json"]
        found = CliRunner().invoke(app, [*command, *options])
        assert found.exit_code == 0, found.output
        return json.loads(found.stdout)["methods"][0]["metrics"]["average-drop"]["mean"]

    softmax = score()
    assert score("--output", "logits") == softmax
    assert score("--output", "logits:sigmoid") != pytest.approx(softmax, abs=1e-3)
    wrong = CliRunner().invoke(app, ["evaluate", "grad-cam", "--output", "tanh"])
    assert wrong.exit_code != 0
    assert isinstance(wrong.exception, OptionError) or wrong.exit_code == 2


def test_correct_only_keeps_the_negatives_of_one_sigmoid_output():
    network = net(1)
    with torch.no_grad():
        network[-1].bias -= network(IMAGES).median()
    says = (network(IMAGES)[:, 0] > 0).long()
    assert 0 < says.sum() < 6
    wrapped = nn.Sequential(network, nn.Sigmoid())
    reading = read_outputs(wrapped, IMAGES)[0]
    assert all(classified_correctly(wrapped, IMAGES, says, reading))
    assert not any(classified_correctly(wrapped, IMAGES, 1 - says, reading))
    assert torch.equal(Classifier(wrapped, reading=reading).predictions(IMAGES).cpu(), says)
    for labels in (says, torch.zeros(6, dtype=torch.int64)):
        table = sycam.evaluate(
            wrapped, "0.1", IMAGES, ["grad-cam"], ["average-drop"], labels=labels, correct_only=True
        )
        assert table.images == int((says == labels).sum())


def test_a_label_of_several_is_right_where_it_is_present():
    outputs = torch.tensor([[2.0, 1.0, -1.0], [2.0, 1.0, -1.0], [-2.0, -1.0, -3.0]])
    labels = torch.tensor([1, 2, 1])
    assert Reading(False, "sigmoid").predicted(outputs, labels).tolist() == [True, False, False]
    assert Reading().predicted(outputs, labels).tolist() == [False, False, True]
