"""Networks that torch.compile has wrapped, as a whole or in part, and parts in TorchScript."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sycam import evaluate, open_network
from sycam.errors import UnknownNameError
from sycam.events import Note
from sycam.methods import CAM

IMAGES = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))
pytestmark = pytest.mark.filterwarnings("ignore")


def plain() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU()),
        nn.Sequential(nn.Conv2d(6, 4, 3, stride=2), nn.ReLU()),
        nn.Flatten(), nn.Linear(196, 3),
    ).eval()  # fmt: skip


def compiled(module: nn.Module) -> nn.Module:
    return torch.compile(module, backend="eager")


@pytest.mark.parametrize("layer", ["1", "_orig_mod.1", "1.0", "_orig_mod.1.0", "auto", "last"])
def test_a_wrapper_is_the_network_inside(layer):
    expected = CAM(plain(), layer.removeprefix("_orig_mod."), "grad-cam")(IMAGES)
    wrapped = compiled(plain())
    wrapped(IMAGES)  # compiled before anything is hooked
    cam = CAM(wrapped, layer, "grad-cam")
    assert torch.equal(cam(IMAGES), expected)
    assert "_orig_mod" not in cam.layer
    module = CAM(wrapped, wrapped._orig_mod[1], "grad-cam")(IMAGES)
    assert torch.equal(module, CAM(plain(), "1", "grad-cam")(IMAGES))
    with pytest.raises(UnknownNameError, match="is not known"):
        CAM(wrapped, "_orig_mod.1.9", "grad-cam")


@pytest.mark.parametrize("layer", ["1", "1.1", "1._orig_mod.1", "auto"])
def test_a_part_that_is_compiled(layer):
    expected = CAM(plain(), layer.replace("_orig_mod.", ""), "grad-cam")(IMAGES)
    network = plain()
    network[1] = compiled(network[1])
    with torch.no_grad():
        network(IMAGES)
    assert torch.equal(CAM(network, layer, "grad-cam")(IMAGES), expected)


def test_a_network_that_compiled_itself():
    expected = CAM(plain(), "1", "grad-cam")(IMAGES)
    network = plain()
    network.compile(backend="eager")
    network(IMAGES)
    assert torch.equal(CAM(network, "1", "grad-cam")(IMAGES), expected)


def test_evaluate_says_so(tmp_path):
    said: list[str] = []

    def notify(event: object) -> None:
        said.extend([event.text] if isinstance(event, Note) else [])

    table = evaluate(
        compiled(plain()), "_orig_mod.1", IMAGES, ["grad-cam"], ["deletion"], notify=notify
    )
    expected = evaluate(plain(), "1", IMAGES, ["grad-cam"], ["deletion"])
    assert table.cells == expected.cells
    assert sum("wrapped by torch.compile" in line for line in said) == 1
    (tmp_path / "nets.py").write_text(
        "import torch\nfrom torch import nn\n\n\ndef net():\n"
        "    return torch.compile(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten()))\n"
    )
    known = open_network(f"{tmp_path}/nets.py:net")
    assert type(known.module) is nn.Sequential
    assert "torch.compile" in known.notes[0]


def test_evaluate_with_a_head_in_torchscript():
    network = plain()
    network[3] = torch.jit.script(network[3])
    table = evaluate(network, "1", IMAGES, ["grad-cam"], ["deletion"])
    expected = evaluate(plain(), "1", IMAGES, ["grad-cam"], ["deletion"])
    found, known = (t.cells["grad-cam", "deletion"].mean for t in (table, expected))
    assert found == pytest.approx(known, abs=1e-6)
