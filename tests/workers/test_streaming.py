"""Workers read and measure the images that they score."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import sycam
import sycam.workers.worker as worker_room
from sycam.data.images import load_images, open_images
from sycam.data.readers import archive
from sycam.events import ignore
from sycam.language import parse
from sycam.methods import ALWAYS, find_method
from sycam.metrics import find_metric
from sycam.problem.explained_network import ExplainedNetwork
from sycam.problem.options import ExplainOptions
from sycam.scoring.scorer import Scorer
from sycam.scoring.scoring import IN_PROCESS
from sycam.workers.remote_scorer import RemoteScoring
from sycam.workers.streaming import SHARD, StreamedContext, StreamedEvidence
from sycam.workers.team import Team
from sycam.workers.unmeasured import Unmeasured

FORMULAS = [parse(text) for text in ("mean(G)", "max(A) * mean(G)", "A * mean(G)")]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """36 pictures of four classes, with masks beside them."""
    noise = np.random.default_rng(1)
    images, masks = tmp_path / "photos", tmp_path / "masks"
    images.mkdir()
    masks.mkdir()
    for i in range(36):
        pixels = noise.integers(0, 256, (16, 16, 3), np.uint8)
        Image.fromarray(pixels).save(images / f"{i:02}.png")
        mask = np.zeros((16, 16), np.uint8)
        mask[i % 8 : i % 8 + 6, 3:9] = 255
        Image.fromarray(mask).save(masks / f"{i:02}.png")
    lines = "".join(f"{i:02}.png,{i % 4}\n" for i in range(36))
    (images / "labels.csv").write_text("file,label\n" + lines)
    return images


@pytest.fixture
def found(searched, content, folder, apart, monkeypatch) -> Callable[..., Any]:
    """What a search says of the pictures in the folder, or of other images."""
    monkeypatch.setattr(worker_room, "_benches", {})

    def find(name: str, images: Any = folder, width: int = 2, **options: Any) -> dict:
        apart._max_workers = width
        return content(searched(name, pictures=images, executor=apart, **options))

    return find


@pytest.mark.parametrize("target", ["predicted", "label", "contrast:of=label"])
def test_what_workers_measure_is_what_one_process_does(factory, folder, apart, tmp_path, target):
    source = open_images(folder, masks=folder.parent / "masks", mean=[0.5] * 3, std=[0.25] * 3)
    read, stays = source.whole(), source.staying().whole()
    explained = ExplainedNetwork.prepare(factory, "4", read, ExplainOptions(target=target))
    scoring = RemoteScoring(Team(apart), tmp_path)
    (ours, here), (theirs, there) = (
        one.measure(explained, images, ignore, ALWAYS)
        for one, images in ((IN_PROCESS, read), (scoring, stays))
    )
    assert isinstance(theirs, StreamedEvidence)
    assert isinstance(there, StreamedContext)
    assert len(there) == len(here) == 36
    assert torch.equal(there.targets, here.targets)
    assert torch.equal(there.masks[:], here.masks)
    torch.testing.assert_close(there.clean, here.clean)
    torch.testing.assert_close(there.outputs, here.outputs)
    # A part that begins and ends within shards.
    part = slice(SHARD - 3, 2 * SHARD + 5)
    torch.testing.assert_close(theirs.subset(part).gradients, ours.gradients[part])
    assert there.subset(part).digests == here.digests[part]
    for name, most in (("road", 1e-5), ("pointing-game", 0.0), ("average-drop", 1e-5)):
        metric = find_metric(name)
        for some in (slice(None), part):
            scored = scoring.scorer(metric, theirs, there, some)
            own = Scorer(metric, ours.subset(some), here.subset(some))
            for a, b in zip(scored.score(FORMULAS), own.score(FORMULAS), strict=True):
                np.testing.assert_allclose(a.values, b.values, atol=most)
            method = find_method("grad-cam")
            np.testing.assert_allclose(
                scored.score_method(method).values, own.score_method(method).values, atol=most
            )


def test_pictures_that_stay_in_their_folder_give_the_same_run(found, folder):
    expected = found("read", load_images(folder))
    assert found("stay-1", width=1) == found("stay-5", width=5) == expected


def test_pixels_are_sent_to_workers_that_do_not_see_the_folder(found, monkeypatch):
    expected = found("seen")
    missed = []

    def blind(parcel: Any, attached: dict[str, bytes]) -> bytes | None:
        missed.append(parcel.digest not in attached)
        return attached.get(parcel.digest)

    monkeypatch.setattr(worker_room, "_benches", {})
    monkeypatch.setattr(worker_room, "_content", blind)
    assert found("unseen") == expected
    assert any(missed)


def test_a_worker_without_room_measures_again(found, monkeypatch):
    expected = found("room")
    monkeypatch.setattr(worker_room, "_benches", {})
    monkeypatch.setattr(worker_room, "_room", lambda device: 1)
    assert found("none") == expected
    (bench,) = worker_room._benches.values()
    assert len(bench._shards) == 1


def test_masks_in_a_folder_are_read_by_workers(factory, folder, apart):
    images = open_images(folder, masks=folder.parent / "masks", mean=[0.5] * 3, std=[0.25] * 3)
    given = factory, "4", images, ["grad-cam", "relu(G)"], ["pointing-game", "road"]
    ours, theirs = sycam.evaluate(*given), sycam.evaluate(*given, executor=apart)
    for cell, scores in ours.scores.items():
        np.testing.assert_allclose(theirs.scores[cell], scores, atol=1e-6)


def test_what_takes_passes_of_its_own_is_measured_by_workers(factory, folder, apart, tmp_path):
    given = factory, "4", str(folder), ["score-cam"], ["road"]
    ours, theirs = sycam.evaluate(*given), sycam.evaluate(*given, executor=apart)
    for cell, scores in ours.scores.items():
        np.testing.assert_allclose(theirs.scores[cell], scores, atol=1e-6)
    images, leaves = open_images(folder).staying().whole(), {"masked_scores", "gradients"}
    explained = ExplainedNetwork.prepare(factory, "4", images)
    whole, _ = explained.measure(images, leaves=leaves)
    seen, _ = RemoteScoring(Team(apart), tmp_path).measure(explained, images, ignore, leaves)
    assert isinstance(seen, StreamedEvidence)
    part = slice(3, 12)
    there = seen.subset(part).leaves["masked_scores"]
    torch.testing.assert_close(there, whole.leaves["masked_scores"][part])


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_archives_are_read_in_place_or_their_pixels_are_sent(
    factory, apart, tmp_path, monkeypatch, save
):
    """No worker unpacks all images for the few that it scores."""
    monkeypatch.setattr(archive, "IN_MEMORY", 100)
    pixels = np.random.default_rng(4).integers(0, 256, (20, 16, 16, 3), np.uint8)
    save(tmp_path / "all.npz", images=pixels)
    given = factory, "4", str(tmp_path / "all.npz"), ["grad-cam"], ["road"]
    ours, theirs = sycam.evaluate(*given), sycam.evaluate(*given, executor=apart)
    for cell, scores in ours.scores.items():
        np.testing.assert_allclose(theirs.scores[cell], scores, atol=1e-6)
    some = open_images(tmp_path / "all.npz").staying().whole().subset(range(4, 12))
    sent = Unmeasured.of(some, (), True, tmp_path)
    assert (sent.pixels is None) == (save is np.savez)
    assert sent.content() == sent.bytes_of(some)
