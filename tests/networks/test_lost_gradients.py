"""Networks whose forward pass loses the gradient: one typed sentence that says where, and the
cure."""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import sycam
from sycam.errors import LayerError, NetworkError
from sycam.methods import CAM

IMAGES = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))
LAYERS = ["auto", "last", "body.4"]


class Body(nn.Module):
    """A small network; what its parts are joined by is given."""

    def __init__(self, joined: Callable[[Body, Tensor], object] | None = None):
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(),
        )  # fmt: skip
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(512, 4))
        self.joined = joined

    def forward(self, x: Tensor) -> object:
        return self.head(self.body(x)) if self.joined is None else self.joined(self, x)


def under(context: Callable, part: str) -> Callable:
    """The whole pass, the body or the head under a context."""

    def joined(net: Body, x: Tensor) -> Tensor:
        if part == "all":
            with context():
                return net.head(net.body(x))
        if part == "body":
            with context():
                y = net.body(x)
            return net.head(y)
        y = net.body(x)
        with context():
            return net.head(y)

    return joined


class NoDerivative(torch.autograd.Function):
    @staticmethod
    def forward(ctx, t):
        return t * 2

    @staticmethod
    def backward(ctx, gradient):
        raise ValueError("no derivative")


def switched_off(net: Body, x: Tensor) -> Tensor:
    y = net.body(x)
    torch.set_grad_enabled(False)
    return net.head(y)


NO_GRAD, INFERENCE = r"take torch.no_grad\(\)", "take torch.inference_mode out"
DETACH, CHECKPOINT = r"take \.detach\(\)", "use_reentrant=False"
LOST = {
    "no_grad all": (under(torch.no_grad, "all"), NO_GRAD),
    "no_grad body": (under(torch.no_grad, "body"), NO_GRAD),
    "no_grad head": (under(torch.no_grad, "head"), NO_GRAD),
    "inference all": (under(torch.inference_mode, "all"), INFERENCE),
    "inference body": (under(torch.inference_mode, "body"), INFERENCE),
    "inference head": (under(torch.inference_mode, "head"), INFERENCE),
    "detached before the head": (
        lambda n, x: n.head(n.body(x).detach()),
        rf"lost after 'body' \(Sequential\): .*{DETACH}",
    ),
    "detached after it": (
        lambda n, x: n.head(n.body(x)).detach(),
        rf"lost after 'head' \(Sequential\): .*{DETACH}",
    ),
    "through numpy": (
        lambda n, x: n.head(torch.from_numpy(n.body(x).detach().numpy())),
        rf"lost after 'body' \(Sequential\): .*{DETACH}",
    ),
    "numpy without detach": (lambda n, x: torch.from_numpy(n.body(x).numpy()), DETACH),
    "argmax": (
        lambda n, x: nn.functional.one_hot(n.head(n.body(x)).argmax(1), 4).float(),
        rf"lost after 'head' \(Sequential\): .*{DETACH}",
    ),
    "integers": (lambda n, x: n.head(n.body(x)).long(), DETACH),
    "through int8": (lambda n, x: n.head((n.body(x) * 9).to(torch.int8).float()), DETACH),
    "reentrant body": (
        lambda n, x: n.head(checkpoint(n.body, x, use_reentrant=True)),
        f"runs in a reentrant checkpoint: .*{CHECKPOINT}",
    ),
    "reentrant head": (
        lambda n, x: checkpoint(lambda y: n.head(y), n.body(x), use_reentrant=True),
        CHECKPOINT,
    ),
    "no derivative": (lambda n, x: n.head(NoDerivative.apply(n.body(x))), "no derivative"),
    "in place": (
        lambda n, x: n.head(n.body(x).sigmoid().add_(1)),
        "inplace operation; take that out of the network's forward",
    ),
}


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("kind", LOST)
@pytest.mark.filterwarnings("ignore")
def test_the_error_says_where_and_how_to_mend_it(kind, layer):
    joined, said = LOST[kind]
    network = Body(joined).eval()
    before = {name: len(m._forward_hooks) for name, m in network.named_modules()}
    with pytest.raises((LayerError, NetworkError), match=said) as caught:
        CAM(network, layer, "grad-cam")(IMAGES)
    assert "convolutional network" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert torch.is_grad_enabled()
    assert {name: len(m._forward_hooks) for name, m in network.named_modules()} == before


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.filterwarnings("ignore")
def test_what_the_cures_lead_to_works(layer):
    """Checkpoints that are not reentrant, frozen parameters, inference mode around the call."""
    expected = CAM(Body().eval(), layer, "grad-cam")(IMAGES)

    def checkpointed(net: Body, x: Tensor) -> Tensor:
        y = checkpoint(net.body, x, use_reentrant=False)
        return checkpoint(net.head, y, use_reentrant=False)

    assert torch.equal(CAM(Body(checkpointed).eval(), layer, "grad-cam")(IMAGES), expected)
    network = Body().eval().requires_grad_(False)
    with torch.inference_mode():
        assert torch.equal(CAM(network, layer, "grad-cam")(IMAGES), expected)


def test_a_target_that_loses_it_is_blamed_itself():
    for layer in LAYERS:
        with pytest.raises(LayerError, match="numpy out of the target"):
            CAM(Body().eval(), layer, "grad-cam")(IMAGES, lambda row: row.detach()[0])


def test_a_layer_whose_output_nobody_uses():
    network = Body(lambda n, x: (n.body(x), n.head(torch.zeros(len(x), 512)))[1]).eval()
    with pytest.raises(LayerError, match=r"lost after 'body' \(Sequential\): choose a later layer"):
        CAM(network, "body.4", "grad-cam")(IMAGES)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("layer", ["auto", "last", "0", "nonsense"])
def test_a_network_that_is_torchscript_as_a_whole(layer):
    network = nn.Sequential(*Body().body, nn.Flatten(), nn.Linear(512, 4)).eval()
    for script in (
        torch.jit.trace(network, IMAGES),
        torch.jit.script(network),
        torch.jit.freeze(torch.jit.script(network)),
    ):
        with pytest.raises(LayerError, match=r"is TorchScript.*give the torch.nn.Module"):
            CAM(script, layer, "grad-cam")(IMAGES)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("layer", LAYERS)
def test_a_network_of_which_a_part_is_torchscript(layer):
    expected = CAM(Body().eval(), layer, "grad-cam")(IMAGES)
    network = Body().eval()
    network.head = torch.jit.script(network.head)
    assert torch.allclose(CAM(network, layer, "grad-cam")(IMAGES), expected, atol=1e-6)
    network = Body().eval()
    network.body = torch.jit.script(network.body)
    with pytest.raises(LayerError, match="TorchScript, which cannot be watched"):
        CAM(network, layer, "grad-cam")(IMAGES)


@pytest.fixture(scope="module")
def quantised_head() -> Body:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.ao will be torchao
        return torch.ao.quantization.quantize_dynamic(Body().eval(), {nn.Linear})


@pytest.mark.parametrize("formula", ["score-cam", "ablation-cam", "eigen-cam", "MI"])
def test_what_takes_no_gradient_explains_a_quantised_head(quantised_head, formula):
    expected = CAM(Body().eval(), "body.4", formula)(IMAGES)
    found = CAM(quantised_head, "body.4", formula)(IMAGES)
    assert expected.amax((1, 2)).gt(0).all()
    torch.testing.assert_close(found, expected, rtol=0, atol=0.2)  # eight bits


def test_figures_of_a_quantised_head(quantised_head):
    metrics = ["average-drop", "max-sensitivity:samples=1"]
    for methods in (["score-cam"], ["score-cam", "grad-cam"]):
        expected = sycam.evaluate(Body().eval(), "body.4", IMAGES, methods, metrics)
        if "grad-cam" in methods:
            with pytest.raises(LayerError, match=r"lost in 'head.1'.*like score-cam"):
                sycam.evaluate(quantised_head, "body.4", IMAGES, methods, metrics)
            continue
        found = sycam.evaluate(quantised_head, "body.4", IMAGES, methods, metrics)
        for key, cell in expected.cells.items():
            assert found.cells[key].mean == pytest.approx(cell.mean, abs=0.02)


@pytest.mark.parametrize("formula", ["grad-cam", "G - 0.5 * H", "fullgrad"])
def test_what_takes_a_gradient_says_that_the_head_is_quantised(quantised_head, formula):
    said = r"lost in 'head.1' \(Linear\), which is quantised: .*like score-cam.*floating point"
    with pytest.raises((LayerError, NetworkError), match=said):
        CAM(quantised_head, "body.4", formula)(IMAGES)


@pytest.mark.parametrize("formula", ["grad-cam", "score-cam"])
@pytest.mark.parametrize("layer", ["1", "auto", "last"])
@pytest.mark.filterwarnings("ignore")
def test_layers_of_eight_bits(formula, layer):
    tools = torch.ao.quantization
    network = nn.Sequential(
        tools.QuantStub(), nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(784, 4),
        tools.DeQuantStub(),
    ).eval()  # fmt: skip
    network.qconfig = tools.get_default_qconfig(torch.backends.quantized.engine)
    made = tools.prepare(network)
    made(IMAGES)
    with pytest.raises(LayerError, match="explain the network in floating point, as it was"):
        CAM(tools.convert(made), layer, formula)(IMAGES)


@pytest.mark.parametrize(
    "layer", ["auto", *(pytest.param(layer, marks=pytest.mark.slow) for layer in ("last", "body"))]
)
def test_the_command_ends_with_the_sentence(layer, tmp_path):
    (tmp_path / "nets.py").write_text(
        "import torch\nfrom torch import nn\n\n\n"
        "class Net(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.body = nn.Conv2d(3, 4, 3)\n"
        "        self.head = nn.Linear(4, 10)\n\n"
        "    @torch.inference_mode()\n"
        "    def forward(self, x):\n"
        "        return self.head(self.body(x).mean((2, 3)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "sycam.cli", "evaluate", "grad-cam", "--metric", "iou",
         "--network", "nets.py:Net", "--layer", layer, "--images", "demo"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert "torch.inference_mode" in " ".join(done.stderr.split())
