"""What is told of a network and its outputs before anything is scored."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import sycam
from sycam.events import Note


def notes_of(network, images, **options) -> tuple[sycam.Table, list[str]]:
    notes = []
    table = sycam.evaluate(
        network, "3", images, ["grad-cam", "mean(relu(G))"], ["insertion", "road"],
        notify=notes.append, **options,
    )  # fmt: skip
    return table, [n.text for n in notes if isinstance(n, Note) and "saturate" in n.text]


@pytest.mark.parametrize("outputs", [1, 3])
def test_outputs_that_saturate_are_told_with_the_cure(small_network, small_images, outputs):
    """A regression around 80 had insertion 1.0 and road 0.0 for every formula."""
    shift = 80.0 if outputs == 1 else torch.tensor([80.0, 20.0, 5.0])
    head = nn.Linear(5, outputs)
    with torch.no_grad():
        head.bias += shift
    network = nn.Sequential(*small_network, head).eval()
    table, said = notes_of(network, small_images)
    assert table.cells["grad-cam", "insertion"].mean == pytest.approx(1)
    assert table.cells["grad-cam", "road"].mean == pytest.approx(0, abs=1e-6)
    assert len(said) == 1
    assert "explain one as it is, in Python by target=lambda o: o[0]" in said[0]
    for target in (lambda o: o[0], lambda o: (o[0] - 80).sigmoid()):
        table, said = notes_of(network, small_images, target=target)
        assert not said
        assert abs(table.cells["grad-cam", "road"].mean) > 1e-6


def test_a_classifier_that_is_sure_of_its_images_is_not_warned_of(small_images):
    """Of an image it may be certain, while of an empty one it is not."""
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AvgPool2d(2), nn.Identity(), nn.Flatten(),
        nn.Linear(4 * 49, 4, bias=False),
    ).eval()  # fmt: skip
    with torch.no_grad():
        network[0].bias.zero_()
        network[-1].weight *= 1e5
    _, said = notes_of(network, small_images)
    assert not said
