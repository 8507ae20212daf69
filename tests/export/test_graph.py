"""Network and heatmaps in one graph: the same scores and heatmaps where no Python of ours runs."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import sycam
from sycam.errors import OptionError, RunError
from sycam.evidence import MEASURED, Layer
from sycam.export import TARGETS, Winner
from sycam.export.explained import Explained
from sycam.language import heatmap_latex, parse
from sycam.runs.record import Settings
from sycam.support.content_digest import network_digest


class Pooled(nn.Module):
    """``[N,3,16,20]`` to 4 classes; ``"inner"`` is ``[N,6,8,10]``, ``"last"`` ``[N,8,8,10]`` and
    followed by global average pooling and a linear layer."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.first, self.norm = nn.Conv2d(3, 6, 3, 2, 1), nn.BatchNorm2d(6)
        self.inner = nn.ReLU()
        self.second, self.last = nn.Conv2d(6, 8, 3, 1, 1), nn.ReLU()
        self.head = nn.Linear(8, 4)

    def forward(self, images: Tensor) -> Tensor:
        inner = self.inner(self.norm(self.first(images)))
        return self.head(self.last(self.second(inner)).mean((2, 3)))


def run_of(
    network, layers=("last",), target="predicted", fusion="mean", reshape=None
) -> SimpleNamespace:
    """What export reads of a run."""
    network = SimpleNamespace(
        source=None, layers=tuple(layers), fusion=fusion, reshape=reshape, reshape_recorded=True,
        digest=None if network is None else network_digest(network),
    )  # fmt: skip
    settings = Settings(
        metric="road", metrics=("road",), metric_options={}, grammar="gradient", seed=0,
        precision="float32", search={}, target=target,
    )  # fmt: skip
    data = SimpleNamespace(shape=(3, 16, 20))
    record = SimpleNamespace(network=network, data=data, settings=settings)
    return SimpleNamespace(record=record, path=None)


@pytest.fixture
def network() -> nn.Module:
    return Pooled().eval()


@pytest.fixture
def images() -> Tensor:
    return torch.randn(5, 3, 16, 20, generator=torch.Generator().manual_seed(9))


def written(tmp_path, network, text, base="torch-export", **run):
    path = tmp_path / {"torch-export": "cam.pt2", "onnx": "cam.onnx"}[base]
    winner = Winner(run_of(network, **run), parse(text), network=network)
    if (reason := TARGETS[base].supports(winner, TARGETS)) is not None:
        raise reason
    TARGETS[base].write(winner, path, "Found on Friday.")
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    return path


@pytest.mark.parametrize(
    ("text", "run"),
    [
        ("smooth(above(A, 1.7))", {"layers": ("inner",)}),
        ("mean(A) * p + C / y", {}),
        ("C", {"target": "2"}),
        ("principal(A)", {"layers": ("inner",)}),
        ("channelsum(symlog(A))", {"layers": ("inner", "last"), "fusion": "max"}),
    ],
)
def test_a_program_gives_the_networks_scores_and_the_engines_heatmaps(
    text, run, tmp_path, network, images
):
    path = written(tmp_path, network, text, **run)
    names = ("formula", "latex", "provenance", "images", "explains")
    extra = dict.fromkeys([f"{name}.txt" for name in names], "")
    module = torch.export.load(path, extra_files=extra).module()
    layers, fusion = list(run.get("layers", ["last"])), run.get("fusion", "mean")
    target = int(run["target"]) if "target" in run else None
    expected = sycam.CAM(network, layers, text, fusion=fusion)(images, target)
    assert expected.amax((1, 2)).gt(0).any()
    for count in (5, 1):
        scores, heatmaps = module(images[:count])
        torch.testing.assert_close(scores, network(images[:count]), rtol=0, atol=1e-4)
        torch.testing.assert_close(heatmaps, expected[:count], rtol=0, atol=1e-4)
    facts = {k: v if isinstance(v, str) else v.decode() for k, v in extra.items()}
    assert facts == {
        "explains.txt": "the predicted class" if target is None else f"class {target}",
        "formula.txt": str(parse(text)),
        "latex.txt": heatmap_latex(parse(text)),
        "provenance.txt": "Found on Friday.",
        "images.txt": "(N, 3, 16, 20) in the network's input scale",
    }


def test_what_a_graph_computes_is_every_leaf_whose_row_does_not_refuse_it(network, images):
    able = [leaf for leaf in MEASURED.values() if not (leaf.no_graph or leaf.stands_in_for)]
    for leaf in able:
        text, layer = f"{leaf.symbol} * A", Layer("last", network.last)
        whole = Explained(network, [layer], parse(text), "mean", (16, 20), None, images)
        expected = sycam.CAM(network, "last", text)(images)
        torch.testing.assert_close(whole(images)[1], expected, rtol=0, atol=1e-4)


def test_onnx_gives_them_in_another_runtime(tmp_path, network, images):
    text = "max(A) * p * minmax(A) + normalize(C) / y"
    pytest.importorskip("onnxscript", reason="ONNX is written by onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    path = written(tmp_path, network, text, "onnx")
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    expected = sycam.CAM(network, "last", text)(images)
    for count in (5, 1, 2):
        scores, heatmaps = session.run(["scores", "heatmaps"], {"images": images[:count].numpy()})
        assert np.abs(scores - network(images[:count]).detach().numpy()).max() < 1e-4
        assert np.abs(heatmaps - expected[:count].numpy()).max() < 1e-4
    facts = session.get_modelmeta().custom_metadata_map
    assert facts["sycam.formula"] == str(parse(text))
    assert facts["sycam.explains"] == "the predicted class"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("mean(G)", "leaf G is a gradient, and a graph for inference has no backward pass"),
        ("A - H", "leaf H is a second derivative"),
        ("softmax(S) + D", "leaf S is one forward pass per channel"),
        ("MI", "leaf MI is a histogram"),
    ],
)
@pytest.mark.parametrize("base", ["onnx", "torch-export"])
def test_what_needs_more_than_one_forward_pass_is_refused(text, said, base, tmp_path, network):
    with pytest.raises(OptionError, match=said) as caught:
        written(tmp_path, network, text, base)
    assert "export a class (base" in str(caught.value)


def test_what_a_graph_cannot_know_is_refused(tmp_path, network):
    with pytest.raises(OptionError, match="the run explains 'contrast'"):
        written(tmp_path, network, "C", target="contrast")
    with pytest.raises(RunError, match="its network is not on record; give it by network"):
        written(tmp_path, None, "A")

    class Wilful(Pooled):
        """It decides by values, which no graph can follow."""

        def forward(self, images):
            return super().forward(images if images.sum() > 0 else -images)

    with pytest.raises(RunError, match=r"torch\.export cannot say this network or formula"):
        written(tmp_path, Wilful().eval(), "A")
    assert not list(tmp_path.iterdir())


def test_a_network_that_the_run_did_not_explain_is_refused(tmp_path, network):
    """Its figures, which the graph states, would be another's."""
    other = Pooled().eval()
    with torch.no_grad():
        other.head.bias += 1
    winner = Winner(run_of(network), parse("A"), network=other)
    with pytest.raises(RunError, match=r"computes something else than the run's network"):
        TARGETS["torch-export"].write(winner, tmp_path / "cam.pt2", "")
    assert not list(tmp_path.iterdir())


def test_a_graph_that_computes_something_else_is_not_kept(tmp_path, network):
    honest = TARGETS["torch-export"]

    def wrong(*arguments):
        run = honest.to_file(*arguments)
        return lambda images: tuple(t * 1.01 for t in run(images))

    winner = Winner(run_of(network), parse("A"), network=network)
    with pytest.raises(RunError, match="the graph's scores differ from the network's"):
        replace(honest, to_file=wrong).write(winner, tmp_path / "cam.pt2", "")
    assert not list(tmp_path.iterdir())
