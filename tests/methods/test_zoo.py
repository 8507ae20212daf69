"""The zoo: what stands in it is on record, and its names serve wherever formulas do."""

from __future__ import annotations

import json
import re
from importlib.resources import files
from pathlib import Path

import pytest
import torch

from sycam import CAM, open_network
from sycam.errors import ExpressionError, UnknownNameError
from sycam.language import parse
from sycam.methods import find_expression, find_method
from sycam.methods.zoo import TRANSFER, Entry, find_entry, formula, zoo
from sycam.search import SearchOptions
from sycam.support.bounded_json import SchemaError
from sycam.support.schema import from_plain, to_plain

ROOT = Path(__file__).resolve().parents[2]
TEN_TIMES = {"squeezenet-road-30-70": "`smooth` ten times over `G`"}  # as the page writes it


def record(entry: Entry) -> str:
    """The text of the page that an entry's figures are from, in one line."""
    return page(entry.source.partition("#")[0])


def page(path: str) -> str:
    """The text of a page of the project, in one line."""
    return " ".join((ROOT / path).read_text(encoding="utf-8").split())


@pytest.mark.parametrize("entry", zoo().values(), ids=lambda entry: entry.name)
def test_formula_figures_and_command_stand_in_the_page_that_is_named(entry):
    text = record(entry)
    assert TEN_TIMES.get(entry.name, entry.formula) in text
    if entry.heldout is not None:
        assert entry.heldout.text() in text
    for rival in entry.rivals:
        assert f"{rival.mean:.3f}" in text
        found = rival.difference
        assert f"{found.mean:+.3f}" in text
        if found.low is not None:
            comma = re.escape(f"[{found.low:+.3f}, {found.high:+.3f}]")
            to = re.escape(f"({found.low:+.3f} to {found.high:+.3f})")
            assert re.search(f"{comma}|{to}", text)
        if rival.p is not None:
            assert re.search(rf"\b{rival.p:g}\b", text)
    if "reproducing.md" in text:  # where it leads to for commands
        text += page("docs/reproducing.md")
    # Continued lines of a command are one, and words of benchmarks stand for folders.
    assert entry.command in text.replace("\\ ", "")


def test_the_warning_is_what_the_benchmark_says():
    (share,) = re.findall(r"in (\d+ of \d+) cases, ahead in one$", TRANSFER)
    text = page("benchmarks/RESULTS.md")
    assert f"the interval lies below 0 in {share} cells and above it in one" in text


def test_the_file_is_as_the_schema_writes_it():
    content = (files("sycam.methods") / "zoo.json").read_text(encoding="utf-8")
    as_written = to_plain([*zoo().values()])
    assert json.loads(content) == as_written
    assert len(as_written) == len(zoo())  # no name twice


def test_a_name_is_its_formula_wherever_formulas_are_taken():
    wanted = parse("smooth(relu(G))")
    assert find_expression("zoo:resnet20-layer2-road") == wanted
    assert find_method(" zoo:resnet20-layer2-road ").kind == "expression"
    options = SearchOptions(guesses=["zoo:resnet20-layer2-road", "relu(G)", "smooth(relu(G))"])
    assert options.guessed == (wanted, parse("relu(G)"))
    assert SearchOptions.from_dict(options.to_dict()) == options  # a run keeps the formula itself


def test_layers_that_a_formula_names_stay_as_they_are():
    assert set(find_method("zoo:demo-road").sites) == {"features", "features.1", "features.5"}
    network = open_network("demo").module
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    at_its_layer = CAM(network, str(find_expression("zoo:demo-road")))
    assert torch.equal(CAM(network, "zoo:demo-road")(images), at_its_layer(images))
    layered = CAM(network, "features.5", "zoo:resnet20-layer2-road")
    assert torch.equal(layered(images), CAM(network, "features.5", "smooth(relu(G))")(images))


def test_a_name_that_is_not_there_lists_those_that_are():
    with pytest.raises(UnknownNameError, match=r"'demo-raod' is not known; did you mean 'demo-roa"):
        find_method("zoo:demo-raod")
    with pytest.raises(UnknownNameError, match="known: demo-road, resnet20-road"):
        formula("zoo:")
    with pytest.raises(ExpressionError):
        formula("no formula(")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"formula": "mean("}, "the text ends too early"),
        ({"name": "Two words"}, "no name of the zoo"),
        ({"rivals": []}, "has no rival"),
        ({"layers": []}, "names no layer"),
        ({"search_images": -1}, "search_images"),
        ({"heldout": {"mean": 0.5, "low": 0.1, "high": 0.2}}, "outside of its interval"),
        ({"heldout": {"mean": 0.5, "low": 0.1}}, "two ends"),
    ],
)
def test_an_entry_that_cannot_be_right_is_refused(change, message):
    data = to_plain(find_entry("demo-road")) | change
    with pytest.raises(SchemaError, match=message):
        from_plain(Entry, data, "entry")


def test_a_rival_of_no_known_kind_is_refused():
    data = to_plain(find_entry("demo-road"))
    data["rivals"][0]["why"] = "friend"
    with pytest.raises(SchemaError, match="kind of rival 'friend'"):
        from_plain(Entry, data, "entry")


def test_the_hardest_rival_is_the_one_it_is_least_ahead_of():
    assert find_entry("demo-road").hardest.name == "blurred-hirescam@features.5"
