"""3x3 convolutions by minimal filtering beside torch's, each with the rectifier that follows.

    python benchmarks/convolutions.py [--threads 2] [--images 64] [--rounds 60]
        [--network demo|FILE.py:FUNCTION]

Medians of rounds in turn, microseconds per image, and the largest error against float64. With
networks, whole forward passes: torch's with folded batch norms, the same with our convolutions,
that compiled, as scoring runs it, torch's compiled, and ONNX Runtime's and OpenVINO's, where they
are installed.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from sycam.data import demo
from sycam.inference.acceleration import compiled, folded
from sycam.inference.freed_memory import keep_freed_memory
from sycam.inference.winograd import MinimalConvolution, with_minimal_filters
from sycam.networks.sources.user_file import load_network

LAYERS = ((16, 16, 32), (32, 32, 16), (64, 64, 8), (48, 48, 8), (64, 64, 56), (128, 128, 28))


def make_parser() -> argparse.ArgumentParser:
    """What the command takes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--network", action="append", default=[])
    parser.add_argument("--rounds", type=int, default=60)
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    options = make_parser().parse_args(arguments)
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    keep_freed_memory()  # as scoring does
    print(f"torch {torch.__version__}, {options.threads} threads, batches of {options.images}")
    with torch.no_grad():
        for name in options.network:
            _whole(name, options)
        if not options.network:
            _layers(options)


def _layers(options: argparse.Namespace) -> None:
    print(f"{'layer':>22}{'torch':>9}{'ours':>9}{'ratio':>8}{'torch off':>12}{'ours off':>12}")
    for channels, filters, side in LAYERS:
        plain = nn.Conv2d(channels, filters, 3, padding=1).requires_grad_(False)
        plain.to(memory_format=torch.channels_last)
        ours = MinimalConvolution(plain)
        x = torch.randn(options.images, channels, side, side)
        x = x.contiguous(memory_format=torch.channels_last)
        works = {
            "torch": lambda plain=plain, x=x: plain(x).relu_(),
            "ours": lambda ours=ours, x=x: ours(x, None, True),
        }
        times: dict[str, list[float]] = {name: [] for name in works}
        for _ in range(options.rounds):
            for name, work in works.items():
                started = time.perf_counter()
                work()
                times[name].append((time.perf_counter() - started) / options.images * 1e6)
        exact = nn.functional.conv2d(x.double(), plain.weight.double(), plain.bias.double(),
                                     padding=1).relu()  # fmt: skip
        off = {name: float((work() - exact).abs().max()) for name, work in works.items()}
        took = {name: statistics.median(found) for name, found in times.items()}
        print(f"{f'{channels} to {filters}, {side}x{side}':>22}{took['torch']:9.1f}"
              f"{took['ours']:9.1f}{took['torch'] / took['ours']:8.2f}{off['torch']:12.1e}"
              f"{off['ours']:12.1e}", flush=True)  # fmt: skip


def _whole(name: str, options: argparse.Namespace) -> None:
    """Whole forward passes of a network, in turn."""
    if name == "demo":
        network, side = demo.network(), demo.SIDE
    else:
        network, side = load_network(name), 32
    network = network.eval()
    plain = (folded(network) or network).to(memory_format=torch.channels_last)
    usual = torch.randn(options.images, 3, side, side)
    x = usual.contiguous(memory_format=torch.channels_last)
    ours = with_minimal_filters(plain, x[:1])
    works: dict[str, Callable[[], object]] = {"torch": lambda: plain(x), "ours": lambda: ours(x)}
    fast = compiled(ours, x)
    if fast is not None:
        works["ours, compiled"] = lambda: fast(x)
    if importlib.util.find_spec("onnxruntime") and importlib.util.find_spec("onnxscript"):
        works["ONNX Runtime"] = _onnx(network, usual, options.threads)
    if importlib.util.find_spec("openvino"):
        works["OpenVINO"] = _openvino(network, usual, options.threads)
    if (alone := compiled(plain, x)) is not None:
        works["torch, compiled"] = lambda: alone(x)
    times: dict[str, list[float]] = {label: [] for label in works}
    for _ in range(options.rounds):
        for label, work in works.items():
            started = time.perf_counter()
            work()
            times[label].append((time.perf_counter() - started) / options.images * 1e6)
    for label, found in times.items():
        print(f"{name:>45}{label:>16}{statistics.median(found):9.1f} (least {min(found):.1f})")


def _onnx(network: nn.Module, images: Tensor, threads: int) -> Callable[[], object]:
    """ONNX Runtime's forward pass of the network on these images."""
    import onnxruntime

    program = torch.onnx.export(network, (images,), dynamo=True, verbose=False)
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(
        program.model_proto.SerializeToString(), settings, providers=["CPUExecutionProvider"]
    )
    given = {session.get_inputs()[0].name: images.numpy()}
    return lambda: session.run(None, given)


def _openvino(network: nn.Module, images: Tensor, threads: int) -> Callable[[], object]:
    """OpenVINO's forward pass of the network on these images, in float32."""
    import openvino

    core = openvino.Core()
    core.set_property("CPU", {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32"})
    program = core.compile_model(openvino.convert_model(network, example_input=images), "CPU")
    request, given = program.create_infer_request(), images.numpy()
    return lambda: request.infer([given], share_inputs=True)


if __name__ == "__main__":
    main()
