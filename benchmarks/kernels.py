"""What formulas cost: many candidates in a batch, one formula alone, and a whole call beside peers.

    python benchmarks/kernels.py [candidates] [formulas] [calls] [--device cpu|cuda] ...

candidates: weighted sums and heatmaps of distinct candidates of the gradient grammar on random
activations and gradients, in batches on kept subexpressions (those of all cheaper formulas, as far
as there is room, as in a search) and one at a time from the leaves, against the limit: one batched
matrix product of as many weight vectors with the activations, which reads them once.

formulas: one formula from leaves to heatmaps, by the evaluator, as one graph without a
compiler, and compiled; with the number of kernels that torch generates and the bytes that they
move, against reading what the formula names once and writing the heatmaps.

calls: from images to heatmaps, network included: the exported class, compiled and not,
sycam.CAM, pytorch-grad-cam and TorchCAM (where they are installed), on a ResNet-50 with random
weights.

Medians of repeated runs; peers take turns, so that a change of the machine's pace meets them all.
"""

from __future__ import annotations

import argparse
import importlib.util
import logging
import platform
import random
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import sycam
from sycam.export import TARGETS
from sycam.grammar import load_grammar
from sycam.grammar.sampling import all_expressions
from sycam.heatmaps import KeptValues, evaluate, heatmaps, weighted_sums
from sycam.heatmaps.compiled import compiled_heatmaps
from sycam.language import Expression, parse

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

# In the code that torch generates: a call of a kernel of its own, or of a library's.
LAUNCH = re.compile(r"(?m)^\s+(?:cpp_fused_\w+|triton_\w+\.run|extern_kernels\.\w+)\(")
FORMULAS = ("mean(G)", "mean(relu(G)) * max(A)", "sum(relu(G) / (2 + sum(A) * G))", "smooth(G)")


def medians(works: dict[str, Callable[[], object]], repeats: int, device: str) -> dict[str, float]:
    """Median seconds of each; they take turns, after one run each that is not counted."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for turn in range(repeats + 1):
        for name, work in works.items():
            started = time.perf_counter()
            work()
            if device == "cuda":
                torch.cuda.synchronize()
            if turn:
                times[name].append(time.perf_counter() - started)
    return {name: statistics.median(found) for name, found in times.items()}


def random_leaves(options: argparse.Namespace) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    shape = (options.images, options.channels, options.grid, options.grid)
    leaves = {
        "activations": torch.randn(shape, generator=generator).clamp(min=0),
        "gradients": torch.randn(shape, generator=generator),
    }
    return {name: tensor.to(options.device) for name, tensor in leaves.items()}


# --- many candidates ---------------------------------------------------------------------------


def candidates(options: argparse.Namespace) -> None:
    """Candidates a second, in batches and alone, for weights and for all sorts."""
    leaves = random_leaves(options)
    found = all_expressions(load_grammar("gradient"), options.cost)
    found = [e for e in found if e.cost == options.cost]
    weights = [e for e in found if e.sort == "weight"]
    print(f"candidates of cost {options.cost}, A and G {tuple(leaves['activations'].shape)}, "
          f"heatmaps {options.size}x{options.size}, {options.batch} in a batch")  # fmt: skip
    kept = KeptValues(2**29)  # as the search, which has been through all cheaper formulas by then
    for expression in all_expressions(load_grammar("gradient"), options.cost - 1):
        evaluate([expression], leaves, kept=kept)
    kept.room = 0
    for label, group in (("weights only", weights), ("weights, maps and heats", found)):
        # Batches of neighbours in the order of enumeration, as the search scores them.
        whole = [group[i : i + options.batch] for i in range(0, len(group), options.batch)]
        chosen = random.Random(0).sample(whole, min(len(whole), options.candidate_batches))
        _candidates(label, chosen, leaves, kept, options)


def _candidates(
    label: str,
    batches: list[list[Expression]],
    leaves: dict[str, Tensor],
    kept: KeptValues,
    options: argparse.Namespace,
) -> None:
    a = leaves["activations"]
    size = (options.size, options.size)
    group = [e for part in batches for e in part]
    generator = torch.Generator().manual_seed(1)
    vectors = torch.randn(len(a), len(group), a.shape[1], generator=generator).to(a)
    places = a.flatten(2)

    def in_batches(work: Callable[..., object]) -> None:
        for part in batches:
            work(part, kept)

    def one_at_a_time(work: Callable[..., object]) -> None:
        for expression in group:
            work([expression], None)

    def sums(part: list[Expression], kept: KeptValues | None) -> object:
        return weighted_sums(part, leaves, kept=kept)

    def maps(part: list[Expression], kept: KeptValues | None) -> object:
        return heatmaps(part, leaves, size, kept=kept)

    limit = "one batched matrix product (limit)"
    works = {
        limit: lambda: vectors @ places,
        "weighted sums, in batches": lambda: in_batches(sums),
        "weighted sums, one at a time": lambda: one_at_a_time(sums),
        "heatmaps, in batches": lambda: in_batches(maps),
        "heatmaps, one at a time": lambda: one_at_a_time(maps),
    }
    seconds = medians(works, options.repeats, options.device)
    print(f"\n{f'{len(group)} {label}':38}{'candidates/s':>14}{'times the limit':>17}")
    for name, value in seconds.items():
        print(f"{name:38}{len(group) / value:14,.0f}{value / seconds[limit]:17.1f}")
    for what in ("weighted sums", "heatmaps"):
        gain = seconds[f"{what}, one at a time"] / seconds[f"{what}, in batches"]
        print(f"{what} in batches are {gain:.1f} times as fast as one at a time")


# --- one formula -------------------------------------------------------------------------------


def formulas(options: argparse.Namespace) -> None:
    """One formula from leaves to heatmaps: evaluator, graph, compiled graph."""
    leaves = random_leaves(options)
    size = (options.size, options.size)
    print(f"A and G {tuple(leaves['activations'].shape)}, heatmaps {size[0]}x{size[1]}")
    columns = ("evaluator", "graph", "compiled", "launches", "kernels", "bytes / needed")
    print(f"\n{'ms':36}" + "".join(f"{column:>16}" for column in columns))
    for text in options.formula or FORMULAS:
        expression = parse(text)
        compiled, launches, kernels, moved = _compile_and_count(expression, leaves, size)
        graph = compiled_heatmaps(expression, compile=False)
        works = {
            "evaluator": lambda e=expression: heatmaps([e], leaves, size),
            "graph": lambda run=graph: run(leaves, size),
            "compiled": lambda run=compiled: run(leaves, size),
        }
        seconds = medians(works, options.repeats * 3, options.device)
        named = {"activations", *expression.leaves}
        needed = sum(leaves[n].nbytes for n in named) + 4 * options.images * size[0] * size[1]
        print(f"{text:36}" + "".join(f"{seconds[name] * 1e3:16.3f}" for name in works)
              + f"{launches:16}{kernels:16}{moved / needed:16.2f}")  # fmt: skip
    print(
        "\nlaunches: calls of generated functions and of libraries\n"
        "kernels: torch's own count of those generated (on a CPU loops, several in one function)\n"
        "bytes: read and written by torch's own count, to one reading of the leaves and one "
        "writing of the heatmaps"
    )


def _compile_and_count(
    expression: Expression, leaves: dict[str, Tensor], size: tuple[int, int]
) -> tuple[Callable, int, int, int]:
    """The compiled formula, its launches and generated kernels, and the bytes that they move."""
    from torch._functorch import config as functorch
    from torch._inductor import compile_fx, metrics
    from torch._inductor import config as inductor
    from torch._inductor.utils import run_and_get_code

    log = compile_fx.inductor_metrics_log
    before = log.propagate, log.level
    log.propagate = False
    log.setLevel(logging.INFO)  # bytes are counted only where they would be logged
    metrics.reset()
    compiled = compiled_heatmaps(expression)
    try:
        # What comes from a cache is not counted.
        with inductor.patch(fx_graph_cache=False), functorch.patch(enable_autograd_cache=False):
            _, code = run_and_get_code(lambda: compiled(leaves, size))
    finally:
        log.propagate, log.level = before
    launches = sum(len(LAUNCH.findall(text)) for text in code)
    return compiled, launches, metrics.generated_kernel_count, metrics.num_bytes_accessed


# --- a whole call ------------------------------------------------------------------------------


def calls(options: argparse.Namespace) -> None:
    """From images to heatmaps, beside pytorch-grad-cam and TorchCAM (both Grad-CAM)."""
    from torchvision_ops import import_torchvision

    import_torchvision()  # whose compiled operators may not load
    from torchvision.models import resnet50

    torch.manual_seed(0)
    network = resnet50(weights=None).eval().to(options.device)
    text = options.formula[0] if options.formula else "mean(G)"
    module = _exported(text)
    for batch in options.batches:
        images = torch.randn(batch, 3, options.size, options.size, device=options.device)
        compiled = module.ExportedCAM(network, "layer4", compile=True)
        eager = module.ExportedCAM(network, "layer4")
        plain = sycam.CAM(network, "layer4", text)
        works: dict[str, Callable[[], object]] = {
            "network alone (forward, backward)": lambda c=eager, x=images: module.measure(
                c.network, c.layer, x, [None] * len(x)
            ),
            "exported, compiled": lambda c=compiled, x=images: c(x),
            "exported": lambda c=eager, x=images: c(x),
            "sycam.CAM": lambda c=plain, x=images: c(x),
        }
        fastest, cam = "exported, compiled", compiled
        if options.eager:
            del works[fastest]
            fastest, cam = "exported", eager
        works |= _peers(network, images)
        torch._dynamo.reset()
        seconds = medians(works, options.repeats, options.device)
        difference = (cam(images) - plain(images)).abs().max().item()
        print(f"\n{f'{text}, ResNet-50, batch {batch}':38}{'ms':>10}{'ratio':>10}")
        for name, value in seconds.items():
            print(f"{name:38}{value * 1e3:10.1f}{value / seconds[fastest]:10.2f}")
        print(f"largest difference of the class {fastest} from sycam.CAM: {difference:.1e}")


def _exported(text: str) -> ModuleType:
    """A formula's exported module, written and imported: its class is ``ExportedCAM``."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "exported_cam.py"
        path.write_text(TARGETS["torch"].source(parse(text), "ExportedCAM"))
        spec = importlib.util.spec_from_file_location(path.stem, path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return module


def _peers(network: nn.Module, images: Tensor) -> dict[str, Callable[[], object]]:
    """Grad-CAM of other packages, on the predicted class, at the images' size."""
    found: dict[str, Callable[[], object]] = {}
    if importlib.util.find_spec("pytorch_grad_cam"):
        from pytorch_grad_cam import GradCAM

        def grad_cam() -> object:
            with GradCAM(network, [network.layer4]) as cam:
                return cam(images, None)

        found["pytorch-grad-cam GradCAM"] = grad_cam
    if importlib.util.find_spec("torchcam"):
        from torchcam.methods import GradCAM as TorchGradCAM

        def torch_cam() -> object:
            with TorchGradCAM(network, "layer4") as cam:
                outputs = network(images)
                (maps,) = cam(outputs.argmax(1).tolist(), outputs)
                return F.interpolate(maps[:, None], images.shape[-2:], mode="bilinear")

        found["TorchCAM GradCAM"] = torch_cam
    return found


PARTS = {"candidates": candidates, "formulas": formulas, "calls": calls}


def make_parser() -> argparse.ArgumentParser:
    """What the command takes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", metavar="PART",
                        help=f"of {', '.join(PARTS)}; all if none is named")  # fmt: skip
    cuda = torch.cuda.is_available()
    parser.add_argument("--device", default="cuda" if cuda else "cpu", choices=["cpu", "cuda"])
    parser.add_argument("--images", type=int, default=8, help="images of the random leaves")
    parser.add_argument("--channels", type=int, default=512)
    parser.add_argument("--grid", type=int, default=7, help="side of the layer's grid")
    parser.add_argument("--size", type=int, default=224, help="side of images and heatmaps")
    parser.add_argument("--cost", type=int, default=4, help="of the candidates")
    parser.add_argument("--candidate-batches", type=int, default=6)
    parser.add_argument("--batch", type=int, default=32, help="candidates in a batch")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 32] if cuda else [1, 8],
                        help="images a call")  # fmt: skip
    parser.add_argument("--formula", action="append", help="instead of those that are built in")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--eager", action="store_true", help="calls without the compiled class")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    parser = make_parser()
    options = parser.parse_args(arguments)
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"unknown part {min(unknown)!r}; there are {', '.join(PARTS)}")
    device = torch.cuda.get_device_name() if options.device == "cuda" else (
        platform.processor() or platform.machine())  # fmt: skip
    print(f"{device}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    for name in options.parts or PARTS:
        print(f"\n--- {name} ---")
        PARTS[name](options)


if __name__ == "__main__":
    main()
