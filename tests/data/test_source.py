"""Images read when they are wanted: the same as all at once, in bounded memory, or refused."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset, SubsetRandomSampler

from sycam.data.images import ImageSource, load_images, open_images, split
from sycam.data.preprocessing import Preprocessing
from sycam.data.readers.datasets import open_dataset
from sycam.errors import DataError, OptionError
from sycam.networks import NamedNetwork
from sycam.problem.explained_network import ExplainedNetwork
from sycam.problem.images import divide, read_images, sample, with_masks
from sycam.support import mapped_tensor

IMAGES = torch.rand(9, 3, 6, 6, generator=torch.Generator().manual_seed(0))


class Items(Dataset):
    """IMAGES with labels, or what a function makes of them."""

    def __init__(self, item=lambda i: (IMAGES[i], i % 3)):
        self.item = item

    def __len__(self):
        return len(IMAGES)

    def __getitem__(self, i):
        if not 0 <= i < len(IMAGES):
            raise IndexError(i)
        return self.item(i)


@pytest.fixture
def folder(tmp_path):
    noise = np.random.default_rng(0)
    images, masks = tmp_path / "images", tmp_path / "masks"
    images.mkdir()
    masks.mkdir()
    for i in range(40):
        pixels = noise.integers(0, 256, (9, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(images / f"{i:02}.png")
        mask = np.full((9, 8), i % 4, np.uint8)  # empty for every fourth
        Image.fromarray(mask).save(masks / f"{i:02}.png")
    (images / "broken.png").write_bytes(b"no picture")
    (images / "labels.csv").write_text(
        "file,label\n" + "".join(f"{i:02}.png,{i % 5}\n" for i in range(40))
    )
    return images


def test_a_split_of_a_source_is_that_of_the_same_images_in_memory(folder):
    options = {
        "size": 6,
        "mean": [0.5],
        "std": [0.2],
        "channels": 3,
        "masks": folder.parent / "masks",
    }
    counts = {"search": 7, "heldout": 9}
    lazily = split(with_masks(open_images(folder, **options), True), counts, seed=3)
    at_once = split(with_masks(load_images(folder, **options), True), counts, seed=3)
    for one, other in zip(lazily, at_once, strict=True):
        assert one.images.equal(other.images)
        assert one.labels.equal(other.labels)
        assert one.masks.equal(other.masks)
        assert one.names == other.names
        assert one.skipped == other.skipped
        assert one.origin == other.origin
        assert one.mean == other.mean


def test_tensors_above_the_limit_lie_on_disk_and_hold_the_same(folder, monkeypatch, small_network):
    from sycam.evidence import measure

    def both():
        images = load_images(folder, size=16).images
        return images, measure(small_network, small_network[3], images, batch=16)

    images, evidence = both()
    monkeypatch.setenv("SYCAM_MEMORY", "1k")
    mapped, there = both()
    assert mapped.equal(images)
    assert there.activations.equal(evidence.activations)
    assert there.gradients.equal(evidence.gradients)
    assert there.outputs.equal(evidence.outputs)
    assert all(there.others[name].equal(tensor) for name, tensor in evidence.others.items())


@pytest.mark.parametrize(("text", "size"), [("1024", 1024), ("2K", 2048), ("1.5 GiB", 3 << 29)])
def test_the_limit(monkeypatch, text, size):
    monkeypatch.setenv("SYCAM_MEMORY", text)
    assert mapped_tensor.limit() == size


def test_a_limit_that_is_none(monkeypatch):
    monkeypatch.setenv("SYCAM_MEMORY", "much")
    with pytest.raises(OptionError, match="SYCAM_MEMORY is 'much'"):
        mapped_tensor.limit()


@pytest.mark.parametrize("version", [0, 1])
def test_the_memory_that_a_container_is_granted(monkeypatch, tmp_path, version):
    monkeypatch.delenv("SYCAM_MEMORY", raising=False)
    granted = tmp_path / "granted"
    granted.write_text("80000000\n")
    files = [tmp_path / "absent", tmp_path / "absent"]
    files[version] = granted
    monkeypatch.setattr(mapped_tensor, "_CGROUPS", files)
    assert mapped_tensor.limit() == 10_000_000
    granted.write_text("max\n")
    assert mapped_tensor.limit() > 10_000_000


def test_images_that_change_between_looks_are_refused(folder):
    source = open_images(folder)
    assert len(source) == 40
    Image.fromarray(np.zeros((9, 8, 3), np.uint8)).save(folder / "07.png")
    with pytest.raises(DataError, match=r"1 images in .* not what they were .*: 07\.png"):
        source.subset(range(40))
    (folder / "08.png").unlink()
    with pytest.raises(DataError, match=r"2 images in .*: 07\.png, 08\.png;"):
        source.subset([3, 7, 8])
    with pytest.raises(DataError, match=r"1 images in .*: 08\.png;"):
        source.subset([8])


def test_data_sets_and_loaders_are_read_as_tensors_are():
    whole = read_images(IMAGES, [i % 3 for i in range(9)])
    expected = divide(whole, 4, 4, 0, False)
    sampler = SubsetRandomSampler(range(9))
    for given in (
        Items(),
        Items(lambda i: {"image": IMAGES[i].numpy(), "label": i % 3}),
        DataLoader(Items(), batch_size=4, shuffle=True),
        DataLoader(Items(), batch_size=4, sampler=sampler),
    ):
        found = divide(read_images(given), 4, 4, 0, False)
        for one, other in zip(found, expected, strict=True):
            assert one.images.equal(other.images)
            assert one.labels.equal(other.labels)


def test_a_sampler_of_a_loader_is_obeyed():
    loader = DataLoader(Items(), batch_size=2, sampler=SubsetRandomSampler([1, 4, 6]))
    assert sorted(open_dataset(loader).labels.tolist()) == [0, 1, 1]
    assert len(open_dataset(loader)) == 3


def test_a_data_set_that_can_only_be_gone_through():
    class Stream(IterableDataset):
        def __iter__(self):
            return ((IMAGES[i], i) for i in range(9))

    assert open_dataset(Stream()).labels.tolist() == list(range(9))


def test_pictures_of_a_data_set_get_the_networks_preprocessing():
    pictures = [Image.fromarray((i * np.ones((8, 8))).astype(np.uint8)) for i in range(9)]
    reading = Preprocessing(4, None, (0.5,) * 3, (0.25,) * 3, channels=3)
    found = open_dataset(Items(lambda i: (pictures[i], i)), reading).whole()
    assert found.images.shape == (9, 3, 4, 4)
    torch.testing.assert_close(found.images[3], torch.full((3, 4, 4), (3 / 255 - 0.5) / 0.25))
    assert found.picture(3)[0, 0].tolist() == [3, 3, 3]


@pytest.mark.parametrize(
    ("item", "said"),
    [
        (lambda i: (IMAGES[i] * torch.rand(()), 0), "random"),
        (lambda i: "photo.png", "is str; expected an image"),
        (lambda i: {"x": IMAGES[i]}, "has the keys x"),
        (lambda i: (IMAGES[i] * torch.nan, 0), "NaN"),
        (lambda i: (IMAGES[i].byte(), 0), "divide by 255"),
        (lambda i: (IMAGES[i] * (torch.nan if i == 4 else 1), 0), r"^Items\[4\].* NaN"),
        (lambda i: (IMAGES[i], "cat"), r"^Items\[0\].*labels are no array of numbers"),
        (lambda i: (None, 1), r"^Items\[0\].*images are no array of numbers"),
        (lambda i: 1 / 0, r"failed at Items\[0\]: ZeroDivisionError"),
    ],
)
def test_items_that_cannot_be_used(item, said):
    with pytest.raises(DataError, match=said):
        divide(open_dataset(Items(item)), 3, 3, 0, False)


@pytest.mark.parametrize(
    ("loader", "said"),
    [
        (DataLoader(Items(), batch_size=None), "do not make one tensor"),
        (DataLoader(Items(lambda i: (IMAGES[i], "a")), sampler=[0, 1]), "do not make one tensor"),
        (DataLoader(Items(lambda i: 1 / 0), sampler=[0, 1]), "loader failed: ZeroDivisionError"),
    ],
)
def test_loaders_that_cannot_be_used(loader, said):
    with pytest.raises(DataError, match=said):
        open_dataset(loader)


def test_a_disk_without_room_is_told_before_it_is_written_to(monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setenv("SYCAM_MEMORY", "1K")
    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    with pytest.raises(DataError, match=r"has no room \(No space left on device\); set TMPDIR"):
        mapped_tensor.blank((1024,), torch.float32)


def test_only_images_that_are_classified_correctly(folder, small_network):
    source = open_images(folder, size=16)
    images = source.whole()
    with torch.no_grad():
        right = small_network(images.images).argmax(1) == images.labels
    names = {n for n, fits in zip(images.names, right.tolist(), strict=True) if fits}
    assert 4 <= len(names) < len(images)
    searched, unseen = divide(source, 2, 2, 0, False, only=small_network)
    assert {*searched.names, *unseen.names} < names
    looked_at = 40 - len(names)
    assert any("left out: the network classifies them wrongly" in s for s in searched.skipped)
    for given in (source, images):
        kept = sample(given, None, 0, only=small_network)
        assert {*kept.names} == names
        assert kept.skipped[-1].startswith(f"{looked_at} of 40 images left out")
    unlabelled = open_images(folder, size=16, labels="none")
    with pytest.raises(DataError, match="without labels"):
        sample(unlabelled, 3, 0, only=small_network)


SCRIPT = """
import os
import re
import resource
from pathlib import Path
from sycam.data.images import open_images, split

status = Path("/proc/self/status").read_text()
held = int(re.search(r"VmData:\\s+(\\d+) kB", status)[1]) << 10
resource.setrlimit(resource.RLIMIT_DATA, (held + (100 << 20), resource.RLIM_INFINITY))
search, heldout = split(open_images({source!r}, size=96), {{"search": 8, "heldout": 8}}, 0)
print(len(search), len(heldout), flush=True)
os.environ["SYCAM_MEMORY"] = "1G"
open_images({source!r}, size=96).whole()
"""


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits memory as Linux does")
def test_an_archive_larger_than_memory(tmp_path, save):
    """208 MB of pixels (177 MB at the network's size) where a process may take 100 MB."""
    rng = np.random.default_rng(0)
    images = np.repeat(rng.integers(0, 256, (1, 208, 208, 3), dtype=np.uint8), 1600, axis=0)
    images[:, 100:110, 100:110, 1] = rng.integers(0, 256, (1600, 10, 10), dtype=np.uint8)
    save(tmp_path / "large.npz", images=images)
    del images
    script = SCRIPT.format(source=str(tmp_path / "large.npz"))
    environment = {**os.environ, "SYCAM_MEMORY": "32M", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=environment
    )
    assert done.stdout.split() == ["8", "8"], done.stderr
    # And with everything in memory it fails, so that the limit is one.
    assert done.returncode
    assert "allocate" in done.stderr


def test_classes_of_the_images_that_are_not_the_networks_are_refused(folder, small_network):
    images = replace(load_images(folder, size=16), class_names=("cat", "dog"))
    explained = ExplainedNetwork.prepare(small_network, "3", images)
    with pytest.raises(DataError, match="are of 2 classes, the network has 5"):
        explained.measure(images)
    five = replace(images, class_names=tuple("abcde"))
    explained = ExplainedNetwork.prepare(small_network, "3", five)
    explained.measure(five)
    assert explained.class_names == tuple("abcde")


def test_a_source_says_what_it_is(folder):
    source = open_images(folder, size=6)
    assert isinstance(source, ImageSource)
    assert source.shape == (3, 6, 6)
    assert source.skipped == ("broken.png: not an image",)


def test_labels_that_count_the_networks_classes_in_another_order_are_refused(small_network):
    network = NamedNetwork(small_network, "net", None, class_names=tuple("abcde"), classes=5)
    items = Items()
    items.classes = list("aecdb")
    with pytest.raises(DataError, match="class 1 is 'e' by their labels, 'b' in the network"):
        read_images(Subset(items, range(8)), network=network)
    items.classes = list("ABCDE")
    assert len(read_images(Subset(items, range(8)), network=network)) == 8
    items.classes = ["a", "b"]
    with pytest.raises(DataError, match="of 2 classes, the network has 5"):
        read_images(items, network=network)


def test_correctness_by_the_labels_of_another_network_is_refused(folder, small_network):
    images = replace(load_images(folder, size=16), labels=torch.full((40,), 5))
    with pytest.raises(DataError, match="label 5 is out of range: the network has 5 classes"):
        sample(images, 8, 0, small_network)
