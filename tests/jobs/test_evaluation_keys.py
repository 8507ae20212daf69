"""The table of ``evaluate`` is filed under what was asked."""

from __future__ import annotations

import pytest

from sycam import evaluate
from sycam.metrics import find_metric


def test_keys_are_what_was_asked_and_the_full_text_finds_the_same(small_network, small_images):
    asked = "equivariance:transform=translate"
    full = find_metric(asked).text
    table = evaluate(small_network, "3", small_images, ["grad-cam"], [asked, "average-drop", full])
    assert full != asked
    assert table.metrics == (asked, "average-drop")
    assert set(table.cells) == {("grad-cam", asked), ("grad-cam", "average-drop")}
    assert table.cells["grad-cam", full] is table.cells["grad-cam", asked]
    assert table.scores["grad-cam", full] is table.scores["grad-cam", asked]
    assert table.directions[full] == table.directions[asked]
    assert table.best(full) == table.best(asked) == "grad-cam"
    assert asked in table.to_dict()["methods"][0]["metrics"]
    with pytest.raises(KeyError):
        table.cells["grad-cam", "road"]
