"""Enumeration over several layers: the same formula is another candidate at another layer."""

from __future__ import annotations

import pytest
import torch

from sycam.evidence import Examples, Layer, measure_leaves
from sycam.grammar import load_grammar
from sycam.heatmaps import maps_of
from sycam.language import parse
from sycam.search import Enumerator, Level


class _Stacked:
    """Evidence of layers, as heatmaps are made from."""

    def __init__(self, layers):
        self.layers, self.fusion = layers, "mean"


@pytest.fixture
def evidence(small_network, small_images):
    layers = [Layer(name, small_network.get_submodule(name)) for name in ("1", "3")]
    return _Stacked(measure_leaves(small_network, layers, Examples(small_images), ["gradients"]))


def enumerator(*layers):
    sites = {one.name: one.leaves for one in layers}
    grammar = load_grammar("network").at(list(sites))
    return Enumerator(grammar, layers[0].leaves, "exact", (16, 16), sites=sites)


def test_each_layer_has_its_own_candidates_and_none_merges_with_anothers(evidence):
    found = [e for e in enumerator(*evidence.layers).candidates(3) if not isinstance(e, Level)]
    by_site = {site: {str(e.children[0]) for e in found if e.sites == (site,)} for site in "13"}
    assert {"A", "G"} <= by_site["1"] & by_site["3"]
    alone = enumerator(evidence.layers[0])
    single = [e for e in alone.candidates(3) if not isinstance(e, Level)]
    assert {str(e) for e in single} == {str(e) for e in found if e.sites == ("1",)}


def test_the_layers_share_the_memory_for_values(evidence, monkeypatch):
    """Each had as much as one layer alone: a search of six might take 18 GiB."""
    whole = [str(e) for e in enumerator(*evidence.layers).candidates(3) if not isinstance(e, Level)]
    room = 100_000
    monkeypatch.setattr("sycam.search.enumeration.probe.KEPT_BYTES", room)
    frugal = enumerator(*evidence.layers)
    assert [str(e) for e in frugal.candidates(3) if not isinstance(e, Level)] == whole
    probes = [frugal.probe, *frugal.probe.sites.values()]
    kept = [sum(v.nbytes for v in probe._kept.values.values()) for probe in probes]
    assert all(kept[1:])
    assert sum(kept) <= room


@pytest.mark.slow
def test_pairs_of_layers_follow_at_the_cost_of_both(evidence):
    levels = []
    pairs = set()
    for one in enumerator(*evidence.layers).candidates(5):
        if isinstance(one, Level):
            levels.append(one)
        elif len(one.sites) > 1:
            pairs.add(str(one))
    assert "cam[1](G) * cam[3](G)" in pairs or "cam[3](G) * cam[1](G)" in pairs
    assert all(level.complete for level in levels)


def test_candidates_that_count_as_one_have_one_heatmap(evidence):
    names = ("cam[3](relu(relu(G)))", "cam[3](relu(G))", "cam[1](G) + cam[3](G)",
             "cam[3](G) + cam[1](G)")  # fmt: skip
    made = enumerator(*evidence.layers)
    stands = [made.represent(parse(text)) for text in names]
    assert stands[0] is stands[1] is not stands[2]
    assert stands[2] is stands[3]
    maps = maps_of([parse(text) for text in names], evidence, (16, 16)).maps
    torch.testing.assert_close(maps[0], maps[1])
    torch.testing.assert_close(maps[2], maps[3])


def test_portraits_of_all_layers_can_be_compared(evidence):
    made = enumerator(*evidence.layers)
    portraits = [made.portrait(parse(t)) for t in ("cam[1](G)", "cam[3](G)", "cam[1](A)*cam[3](A)")]
    assert len({len(one) for one in portraits}) == 1
