"""Volumes through the main job: search, held-out figures, pictures."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import sycam
from sycam import cli
from sycam.data.images import ImageSet
from sycam.drawing.overlays import draw_grid
from sycam.errors import OptionError
from sycam.metrics import find_metric
from sycam.problem.explained_network import ExplainedNetwork
from sycam.report.pictures.image_rows import image_rows


@pytest.fixture(scope="module")
def spheres() -> tuple[nn.Module, Tensor, Tensor]:
    """A 3-D network, and noise with a bright ball somewhere: ``[40,1,8,12,12]`` and its masks."""
    generator = torch.Generator().manual_seed(0)
    places = [torch.arange(float(side)) for side in (8, 12, 12)]
    grid = torch.stack(torch.meshgrid(*places, indexing="ij"))
    centres = torch.rand(40, 3, generator=generator) * torch.tensor([4.0, 6.0, 6.0]) + 2
    masks = (grid - centres[:, :, None, None, None]).square().sum(1) < 7
    images = torch.rand(40, 1, 8, 12, 12, generator=generator) * 0.3 + masks[:, None].float()
    torch.manual_seed(1)
    network = nn.Sequential(
        nn.Conv3d(1, 6, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool3d(2),
        nn.Conv3d(6, 8, 3, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(8 * 4 * 6 * 6, 3),
    ).eval()
    return network, images, masks


@pytest.mark.parametrize(
    "metric",
    ["iou", *(pytest.param(name, marks=pytest.mark.slow) for name in ("road", "insertion", "rm"))],
)
def test_a_search_on_volumes(spheres, tmp_path, metric):
    network, images, masks = spheres
    result = sycam.synthesize(
        network,
        "4",
        images,
        masks=masks,
        metric=metric,
        budget=40,
        max_cost=3,
        search_images=12,
        heldout=8,
        out=tmp_path / "run",
    )
    assert result.best is not None
    assert {"deletion", "energy-pointing-game"} <= set(result.validation.winner.panel)
    assert ("road" in result.validation.winner.panel) == (metric != "road")
    maps = result.best.cam(network, "4")(images[:2])
    assert maps.shape == (2, 8, 12, 12)
    # What the result reports is what the class's heatmaps score, an image each.
    table = sycam.evaluate(
        network, "4", images, [result.best.expression], [metric], masks=masks, seed=0
    )
    scores = table.scores[result.best.expression, metric].tolist()
    if metric != "rm":  # a figure of all images together
        for reported in result.validation.winner.scores:
            assert min(abs(reported - s) for s in scores) < 1e-5
    # Pictures show the slice that has most of the object.
    two = ImageSet.from_arrays(images[:2], masks=masks[:2])
    explained = ExplainedNetwork.prepare(network, "4", two)
    for i, row in enumerate(image_rows(explained, two, {"winner": "grad-cam"}, result)):
        assert row.heatmaps["winner"].shape == (8, 12, 12)
        assert row.mask.sum() == masks[i].sum((1, 2)).max()
        assert (row.mask == masks[i, row.depth].numpy()).all()
        assert row.picture[row.mask].mean() > row.picture[~row.mask].mean() + 50
        assert row.caption.endswith(f"slice {row.depth + 1} of 8")
    assert draw_grid([row], tmp_path / "volume.png").is_file()


def test_a_search_of_the_whole_network_is_one_of_a_layer(spheres, tmp_path):
    network, images, masks = spheres
    options = {"masks": masks, "metric": "iou", "out": tmp_path / "run"}
    few = {"budget": 12, "max_cost": 2, "search_images": 6, "heldout": 6}
    result = sycam.synthesize(network, "auto", images, **options, **few)
    assert result.record.grammar.name == "gradient"
    with pytest.raises(OptionError, match=r"grammar='network' has formulas of several"):
        sycam.synthesize(network, "auto", images, grammar="network", **options)


def test_a_metric_for_flat_images_says_so(spheres, tmp_path):
    network, images, masks = spheres
    metric = type("Flat", (type(find_metric("iou")),), {"name": "flat", "volumes": False})()
    with pytest.raises(OptionError, match=r"'flat' is defined for images, not for volumes.*road"):
        sycam.synthesize(network, "4", images, metric, masks=masks, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


NETWORK = """
import torch
from torch import nn

def ct():
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Conv3d(1, 6, 3, padding=1), nn.ReLU(), nn.AdaptiveMaxPool3d(1), nn.Flatten(),
        nn.Linear(6, 3),
    ).eval()
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["npz", "nifti"])
def test_volumes_from_the_command_line(spheres, tmp_path, monkeypatch, kind):
    _, images, masks = spheres
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nets.py").write_text(NETWORK, encoding="utf-8")
    intensities = (images[:14] * 1000).round().to(torch.int16).numpy()
    source = ["--images", "scans.npz"]
    if kind == "npz":
        np.savez("scans.npz", images=intensities, masks=masks[:14].numpy())
    else:
        nibabel = pytest.importorskip("nibabel")
        source = ["--images", "scans", "--masks", "masks"]
        for folder, arrays in (("scans", intensities[:, 0]), ("masks", masks[:14].byte().numpy())):
            (tmp_path / folder).mkdir()
            for i, array in enumerate(arrays):
                image = nibabel.Nifti1Image(array.transpose(2, 1, 0), np.eye(4))
                nibabel.save(image, tmp_path / folder / f"{i:02}.nii.gz")
    network = ["--network", "nets.py:ct"]
    few = ["--budget", "10", "--max-cost", "2", "--search-images", "6", "--heldout-images", "4"]
    scale = ["--mean", "500", "--std", "400", "--metric", "iou", "--layer", "0"]
    searched = ["synthesize", *network, *source, *scale, *few, "--out", "run", "--quiet"]
    for command in (searched, ["verify", "run", *network]):
        monkeypatch.setattr("sys.argv", ["sycam", *command])
        with pytest.raises(SystemExit) as end:
            cli.main()
        assert not end.value.code
    result = sycam.load("run")
    assert result.record.data.shape == (1, 8, 12, 12)
    assert {"overview.png", "report.html"} <= {file.name for file in result.path.iterdir()}
