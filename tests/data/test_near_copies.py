"""Near copies are found and never divided; neither are groups; exact copies count once."""

from __future__ import annotations

import io
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, TensorDataset

import sycam
from sycam.data import demo
from sycam.data.images import ImageSet, choose, open_images, split
from sycam.data.near_copies import clusters, look_of, near
from sycam.errors import DataError, OptionError
from sycam.problem.images import divide, read_images, whole

SCENES = torch.from_numpy(demo.scenes("search", 30, seed=0).images).permute(0, 3, 1, 2) / 255


def encoded_anew(image: torch.Tensor) -> torch.Tensor:
    pixels = (image.permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=70)
    return torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1) / 255


def one_bit(image: torch.Tensor) -> torch.Tensor:
    changed = image.clone()
    changed[0, 3, 4] += 1 / 255
    return changed


COPIES = {
    "mirrored": lambda image: image.flip(-1),
    "upside down": lambda image: image.flip(-2),
    "encoded again": encoded_anew,
    "one bit changed": one_bit,
    "darker": lambda image: image * 0.8,
}


@pytest.mark.parametrize("name", COPIES)
def test_near_copies_are_found_and_other_scenes_are_not(name):
    looks = np.stack([look_of(image) for image in SCENES])
    copies = np.stack([look_of(COPIES[name](image)) for image in SCENES])
    found = clusters(np.concatenate([looks, copies]))
    assert found.tolist() == [*range(30), *range(30)]
    assert near(looks, copies[:12]).tolist() == [True] * 12 + [False] * 18


@pytest.mark.parametrize("name", COPIES)
@pytest.mark.parametrize("wanted", [(15, 12), (30, 30)])
def test_near_copies_are_on_one_side_of_the_split(name, wanted):
    """All of them may be wanted, too: then pairs are dealt out whole."""
    both = torch.cat([SCENES, torch.stack([COPIES[name](image) for image in SCENES])])
    numbered = ImageSet.from_arrays(both, labels=[*range(30), *range(30)])
    for seed in range(3):
        counts = dict(zip(("search", "heldout"), wanted, strict=True))
        searched, held_out = split(numbered, counts, seed)
        assert (len(searched), len(held_out)) == wanted
        assert not set(searched.labels.tolist()) & set(held_out.labels.tolist())
        assert searched.skipped[0].startswith("60 images are near copies of another one")


def test_images_that_all_look_alike_are_searched_on_and_it_is_said():
    """As parts on a conveyor belt do; pairs among them stay on one side."""
    alike = SCENES[:1] + torch.linspace(0, 0.01, 40)[:, None, None, None]
    both = torch.cat([alike, SCENES[1:6], SCENES[1:6].flip(-1)])
    numbered = ImageSet.from_arrays(both, labels=[*range(40), *range(50, 55), *range(50, 55)])
    searched, held_out = split(numbered, {"search": 20, "heldout": 20}, 0)
    assert (len(searched), len(held_out)) == (20, 20)
    assert not set(searched.labels.tolist()) & set(held_out.labels.tolist())
    assert searched.skipped[1].startswith("40 of them look alike in such numbers that they could")
    in_groups = replace(numbered, groups=tuple("ab" * 25))
    searched, held_out = split(in_groups, {"search": 20, "heldout": 20}, 0)
    assert not set(searched.groups) & set(held_out.groups)


def test_comparing_takes_little_memory_where_all_look_alike():
    looks = np.repeat(look_of(SCENES[0])[None], 2000, 0)  # 16 million pairs with the mirrored
    tracemalloc.start()
    assert clusters(looks).max() == 0
    assert tracemalloc.get_traced_memory()[1] < 100e6
    tracemalloc.stop()


def test_search_images_keep_apart_from_near_copies_in_a_set_that_is_held_out():
    held_out = ImageSet.from_arrays(SCENES[:10].flip(-1))
    searched = choose(ImageSet.from_arrays(SCENES), 20, 0, apart_from=held_out)
    assert set(searched.names) == {f"image[{i}]" for i in range(10, 30)}
    assert searched.skipped == ("10 images nearly the same as one of the other set left out",)


def test_exact_copies_in_a_whole_set_count_once():
    """Eight scenes eight times made p 0.0002 of 0.219."""
    found = whole(ImageSet.from_arrays(SCENES[:8].repeat(8, 1, 1, 1)))
    assert len(found) == len(set(found.digests)) == 8
    assert found.skipped == ("56 images identical to another one left out",)


@pytest.mark.parametrize("size", [1, 2, 5, 7])
def test_groups_never_straddle_the_split(size):
    groups = [i // size for i in range(30)]
    images = read_images(SCENES, groups=groups)
    assert images.groups == tuple(map(str, groups))
    for seed in range(4):
        searched, held_out = split(images, {"search": 12, "heldout": 8}, seed)
        assert (len(searched), len(held_out)) == (12, 8)
        assert not set(searched.groups) & set(held_out.groups)
    searched = choose(images, 5, 0, apart_from=held_out)
    assert not set(searched.groups) & set(held_out.groups)


def test_groups_that_cannot_be_divided_so_say_how_far_they_go():
    one = ImageSet.from_arrays(SCENES, groups=["a"] * 25 + ["b"] * 5)
    with pytest.raises(DataError, match="they divide into 10 and 5 at best") as error:
        split(one, {"search": 10, "heldout": 10}, 0)
    assert "30 images of 2 groups" in str(error.value)


def written(folder, patients) -> None:
    rows = ["path,patient"]
    for i, patient in enumerate(patients):
        pixels = (SCENES[i].permute(1, 2, 0).numpy() * 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
        rows.append(f"{i}.png,{patient}")
    (folder / "table.csv").write_text("\n".join(rows), encoding="utf-8")


def test_a_tables_column_says_the_groups(tmp_path):
    written(tmp_path, "aabbccdd")
    images = open_images(tmp_path / "table.csv", groups="patient")
    searched, held_out = split(images, {"search": 4, "heldout": 4}, 0)
    assert sorted(searched.groups + held_out.groups) == list("aabbccdd")
    assert not set(searched.groups) & set(held_out.groups)
    again = open_images(**images.origin)  # as a record has it
    assert split(again, {"search": 4, "heldout": 4}, 0)[1].names == held_out.names


def test_a_run_of_a_table_with_groups_is_read_and_verified(tmp_path, small_run):
    written(tmp_path, "aabbccdd")
    done = small_run(
        tmp_path / "run", "--images", str(tmp_path / "table.csv"), "--size", "16",
        "--groups", "patient", "--mean", "0,0,0", "--std", "1,1,1", pictures=False,
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    result = sycam.load(tmp_path / "run")
    for side in ("search_origin", "heldout_origin"):
        assert getattr(result.record.data, side)["groups"] == "patient"
    assert sycam.verify(tmp_path / "run", trust=True).holds


def test_groups_that_are_missing_are_refused(tmp_path):
    written(tmp_path, ["a", "", "b"])
    with pytest.raises(DataError, match=r"line 3: 1\.png has no patient"):
        open_images(tmp_path / "table.csv", groups="patient")
    with pytest.raises(DataError, match="no column 'video' of groups; its columns are path, pat"):
        open_images(tmp_path / "table.csv", groups="video")
    with pytest.raises(OptionError, match="name a column of a table"):
        open_images(tmp_path, groups="patient")
    with pytest.raises(DataError, match="one per image, 30 in all"):
        read_images(SCENES, groups=["a"])
    with pytest.raises(DataError, match=r"groups\[3\] is empty"):
        read_images(SCENES, groups=["a", "a", "b", float("nan"), *"c" * 26])
    with pytest.raises(OptionError, match="embedded scenes have no groups, got 'patient'"):
        sycam.synthesize("demo", "auto", "demo", groups="patient")


def test_an_archives_array_says_the_groups(tmp_path):
    pixels = (SCENES[:8].permute(0, 2, 3, 1).numpy() * 255).astype(np.uint8)
    file = tmp_path / "images.npz"
    np.savez(file, images=pixels, patient=np.array([3, 3, 4, 4, 5, 5, 6, 6]), half=np.zeros(4, int))
    images = read_images(file, groups="patient")
    assert images.groups == tuple("33445566")
    assert images.whole().groups == open_images(**images.origin).groups == tuple("33445566")
    with pytest.raises(DataError, match="has no array 'video' of groups"):
        read_images(file, groups="video")
    with pytest.raises(DataError, match=r"array 'half' is int64 \[4\]; expected whole numbers"):
        read_images(file, groups="half")


def test_a_data_sets_groups_are_in_its_order():
    groups = torch.arange(30) // 3
    dataset = TensorDataset(SCENES)
    for given in (dataset, DataLoader(dataset, batch_size=7, shuffle=True)):
        images = read_images(given, groups=groups)
        searched, held_out = split(images, {"search": 12, "heldout": 9}, 0)
        assert not set(searched.groups) & set(held_out.groups)
        for image, group in zip(searched.images, searched.groups, strict=True):
            members = SCENES[3 * int(group) : 3 * int(group) + 3]
            assert any(torch.equal(image, member) for member in members)
    with pytest.raises(DataError, match="one per image, 30 in all"):
        read_images(dataset, groups=["a"])


def test_groups_of_one_side_only_are_refused():
    known = ImageSet.from_arrays(SCENES[:15], groups=range(15))
    unknown = ImageSet.from_arrays(SCENES[15:])
    with pytest.raises(DataError, match="the held-out images have no groups, the others have"):
        divide(known, unknown, 5, 0, needs_masks=False)
    with pytest.raises(DataError, match="the search images have no groups, the others have"):
        divide(unknown, known, 5, 0, needs_masks=False)
    shared = ImageSet.from_arrays(SCENES[15:], groups=range(5, 20))
    searched, _ = divide(known, shared, 5, 0, needs_masks=False)
    assert set(searched.groups) == set("01234")
    assert searched.skipped == ("10 images of the other set's groups left out",)
