"""Expensive leaves on disk: found again by content, and never trusted when damaged."""

from __future__ import annotations

import copy
import shutil
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from sycam.evidence import Cache, Examples, Layer, add_leaves, default_folder, measure
from sycam.evidence.cache import key_of
from sycam.targets import Probability

LEAF = "masked_scores"


class Counting(nn.Module):
    """A network that counts the images it was shown."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network, self._note = network, [].append  # not of a list that is put back

    @property
    def shown(self) -> int:
        return sum(self._note.__self__)

    def forward(self, images: Tensor) -> Tensor:
        self._note(len(images))
        return self.network(images)


def masked(network: Counting, images: Tensor, cache: Cache | None, target=None, **options):
    """The leaf, and how many images the network was shown for it."""
    layer, examples = Layer("3", network.network[3]), Examples(images)
    evidence = measure(network, layer, images, target)
    before = network.shown
    found = add_leaves(evidence, [LEAF], network, layer, examples, target, cache, **options)
    return found.leaves[LEAF], network.shown - before


def test_a_second_time_nothing_is_measured(small_network, small_images, tmp_path):
    network = Counting(small_network)
    first, shown = masked(network, small_images, Cache(tmp_path))
    assert shown == 7 * 6
    again, shown = masked(network, small_images.flip(0), Cache(tmp_path))
    assert shown == 0
    assert torch.equal(again, first.flip(0))
    one_more = torch.cat([small_images, torch.rand(1, 3, 16, 16)])
    assert masked(network, one_more, Cache(tmp_path))[1] == 6
    assert masked(network, small_images, Cache(None))[1] == 42


def test_whatever_decides_the_scores_decides_the_key(small_network, small_images, tmp_path):
    network = Counting(small_network)
    masked(network, small_images, Cache(tmp_path), 1)
    assert masked(network, small_images, Cache(tmp_path), torch.full((7,), 1))[1] == 0
    assert masked(network, small_images, Cache(tmp_path), 2)[1] == 42
    assert masked(network, small_images, Cache(tmp_path), Probability(1))[1] == 42
    assert masked(network, small_images + 1e-6, Cache(tmp_path), 1)[1] == 42
    other = Counting(copy.deepcopy(small_network))
    with torch.no_grad():
        other.network[7].bias[0] += 1e-3
    assert masked(other, small_images, Cache(tmp_path), 1)[1] == 42
    # A callable has no content that could be told apart from another's: never kept.
    for _ in range(2):
        assert masked(network, small_images, Cache(tmp_path), lambda row: row[1])[1] == 42
    assert key_of(a=1, b=2) == key_of(b=2, a=1) != key_of(a=1, b=3)


def test_values_of_older_versions_are_not_read(small_network, small_images, tmp_path, monkeypatch):
    """Version 2 had differences of probabilities near 1 that were rounding, in float32."""
    network, target = Counting(small_network), Probability(1)
    monkeypatch.setattr("sycam.evidence.cache.VERSION", 2)
    masked(network, small_images, Cache(tmp_path), target)
    assert masked(network, small_images, Cache(tmp_path), target)[1] == 0
    monkeypatch.undo()
    assert masked(network, small_images, Cache(tmp_path), target)[1] == 42


def damage_cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-3])


def damage_flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[-2] ^= 0x40  # inside the numbers: the header stays whole
    file.write_bytes(bytes(data))


def damage_empty(file: Path) -> None:
    file.write_bytes(b"")


def damage_text(file: Path) -> None:
    file.write_text("not a tensor")


def damage_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def damage_swap(file: Path) -> None:
    """Another image's whole file under this one's name."""
    other = next(f for f in file.parents[1].rglob("*.safetensors") if f != file)
    shutil.copy(other, file)


@pytest.mark.parametrize(
    "damage",
    [damage_cut, damage_flip, damage_empty, damage_text, damage_folder, damage_swap],
)
def test_a_damaged_file_is_measured_again(small_network, small_images, tmp_path, damage):
    network = Counting(small_network)
    whole, _ = masked(network, small_images, Cache(tmp_path))
    files = sorted(tmp_path.rglob("*.safetensors"))
    assert len(files) == 7
    damage(files[2])
    again, shown = masked(network, small_images, Cache(tmp_path))
    assert shown == 6
    assert torch.equal(again, whole)
    if damage is not damage_folder:  # which cannot be replaced by a file
        assert masked(network, small_images, Cache(tmp_path))[1] == 0


def test_an_interrupted_measurement_goes_on(small_network, small_images, tmp_path):
    network = Counting(small_network)

    def stop(_name: str, _layer: str, done: int, _count: int) -> None:
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        masked(network, small_images, Cache(tmp_path), progress=stop)
    assert masked(network, small_images, Cache(tmp_path))[1] == 3 * 6


def test_a_folder_that_cannot_be_written_costs_only_time(small_network, small_images, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    cache = Cache(blocked / "leaves")
    found, shown = masked(Counting(small_network), small_images, cache)
    assert shown == 42
    assert "not kept for the next run" in cache.trouble
    assert torch.equal(found, masked(Counting(small_network), small_images, None)[0])
    assert not list(tmp_path.rglob("*.safetensors"))


def test_where_measurements_are_kept(monkeypatch, tmp_path):
    monkeypatch.setenv("SYCAM_CACHE", str(tmp_path / "mine"))
    assert default_folder() == tmp_path / "mine"
    monkeypatch.setenv("SYCAM_CACHE", "off")
    assert default_folder() is None
    monkeypatch.delenv("SYCAM_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "sycam" / "leaves"
