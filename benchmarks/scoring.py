"""What scoring costs beside its limits and beside other libraries, in one run.

    python benchmarks/scoring.py --network demo|resnet20|squeezenet1_1|mobilenet_v2|resnet50

(a) Ours over bare forward passes of the same number of perturbed images: the network as torch runs
it, eager in the faster of two memory layouts, or compiled, whichever is faster. On a CPU the one
that ours scores by may be faster ("as scored": 3x3 convolutions by minimal filtering). (b) Other
libraries over ours, on the same heatmaps of the same network: pytorch-grad-cam's ROADCombined
(percentiles 10 to 90) and drop in confidence, TorchCAM's insertion and deletion, Quantus'
localisation. They see fewer images, scaled to the same number; mean scores on these are shown for
both (where ties, noise or solvers differ they are close, not equal). (c) Localisation over the
limit of reading the activations once for all candidates. Medians of repeated runs; ratios of runs
that follow each other.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from subjects import LAYERS, images_for, subject_of
from torch import Tensor

from sycam.evidence import Evidence
from sycam.heatmaps import heatmaps
from sycam.inference import FLOAT32, Classifier
from sycam.inference.acceleration import compiled, folded
from sycam.inference.precisions import PRECISIONS
from sycam.methods import find_method
from sycam.metrics import Context, Metric, find_metric
from sycam.problem.explained_network import ExplainedNetwork
from sycam.scoring.scorer import Scorer

FORMULAS = ("mean(G)", "G", "relu(G)", "sum(G * A) / sum(A)", "mean(relu(G)) * max(A)", "max(G)",
            "abs(G)", "topmean(A)")  # fmt: skip
METRICS = ("road", "insertion", "deletion", "average-drop", "iou", "energy-pointing-game")


def seconds(work: Callable[[], object], repeats: int) -> float:
    """Median wall-clock time of ``work``, which has run once before."""
    work()
    return statistics.median(timed(work) for _ in range(repeats))


def timed(work: Callable[[], object]) -> float:
    """Wall-clock time of one run of ``work``."""
    synchronize()
    started = time.perf_counter()
    work()
    synchronize()
    return time.perf_counter() - started


def synchronize() -> None:
    """Wait for the GPU, where there is one."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def bare_forward(
    subject: ExplainedNetwork, images: Tensor, repeats: int
) -> tuple[dict[str, float], Callable[[], float]]:
    """Seconds a forward pass of one image, for each way to run the network; and what measures
    torch's fastest once more."""
    batch = subject.classifier.batch
    block = images[torch.arange(batch) % len(images)]
    network = subject.network.eval()
    found, again = {}, {}
    for name, layout in (("eager", torch.contiguous_format), ("last", torch.channels_last)):
        twin = copy.deepcopy(network).to(memory_format=layout)
        again[name] = partial(_pass, subject, twin, block.contiguous(memory_format=layout))
    fast = subject.classifier._compiled
    if fast is not None:
        pixels = block.contiguous(memory_format=torch.channels_last)
        again["as scored"] = partial(_pass, subject, fast, pixels)
        plain = copy.deepcopy(network).requires_grad_(False)
        plain = (folded(plain) or plain).to(memory_format=torch.channels_last)
        with torch.no_grad(), subject.classifier._arithmetic():
            again["compiled"] = partial(_pass, subject, compiled(plain, pixels), pixels)
    for name, measure in again.items():
        measure()
        found[name] = statistics.median(measure() for _ in range(repeats))
    return found, again[min(found.keys() - {"as scored"}, key=found.get)]


def _pass(subject: ExplainedNetwork, network: Callable[[Tensor], Tensor], pixels: Tensor) -> float:
    """Seconds a forward pass of one image, of some whole batches; on a CPU of fewer large images,
    of which 512 would take minutes."""
    images = 4096 if torch.cuda.is_available() else min(512, 2**22 // pixels[0, 0].numel())
    rounds = max(1, images // len(pixels))

    def work() -> None:
        with torch.no_grad(), subject.classifier._arithmetic():
            for _ in range(rounds):
                network(pixels)

    return timed(work) / (rounds * len(pixels))


@dataclass
class Given:
    """Heatmaps that are there already, as TorchCAM's metrics ask an extractor for them."""

    model: torch.nn.Module
    maps: Tensor

    def __call__(self, *_args, **_options) -> list[Tensor]:
        return [self.maps]

    def fuse_cams(self, maps: list[Tensor]) -> Tensor:
        return maps[0]

    def _hooks_off(self) -> contextlib.nullcontext:
        return contextlib.nullcontext()


def device_name(subject: ExplainedNetwork) -> str:
    device = subject.classifier.device
    return torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)


def profile(work: Callable[[], object]) -> None:
    """Print where the time of some work goes, kernel by kernel."""
    on_gpu = torch.cuda.is_available()
    activities = [torch.profiler.ProfilerActivity.CPU]
    activities += [torch.profiler.ProfilerActivity.CUDA] * on_gpu
    with torch.profiler.profile(activities=activities) as found:
        work()
        synchronize()
    order = "self_device_time_total" if on_gpu else "self_cpu_time_total"
    print(found.key_averages().table(sort_by=order, row_limit=22, max_name_column_width=50))


def grad_cam_scores(
    metric: str, subject: ExplainedNetwork, context: Context, maps: Tensor
) -> float:
    from pytorch_grad_cam.metrics.cam_mult_image import DropInConfidence
    from pytorch_grad_cam.metrics.road import ROADCombined
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputSoftmaxTarget

    wanted = [ClassifierOutputSoftmaxTarget(int(t)) for t in context.targets]
    if metric == "road":
        peer = ROADCombined(percentiles=list(range(10, 100, 10)))
        found = peer(context.images, maps.cpu().numpy(), wanted, subject.network)
        return float(np.mean(found))
    cams = maps[:, None].cpu().numpy()  # it multiplies the images, channel by channel
    drops = DropInConfidence()(context.images, cams, wanted, subject.network)
    return float(np.mean(drops / context.clean.cpu().numpy()))


def torchcam_scores(
    metric: str, subject: ExplainedNetwork, context: Context, maps: Tensor
) -> float:
    from torchcam.metrics import DeletionInsertionMetric

    from sycam.metrics.removal.baselines import baseline_images

    # It scores both; half of its passes belong to each.
    baseline = baseline_images("zero" if metric == "deletion" else "blur", context)
    peer = DeletionInsertionMetric(
        Given(subject.network, maps), partial(torch.softmax, dim=-1), baseline=baseline
    )
    peer.update(context.images, context.targets.tolist())
    return peer.summary()[f"{metric}_auc"]


def quantus_scores(
    _metric: str, subject: ExplainedNetwork, context: Context, maps: Tensor
) -> float:
    import quantus

    peer = quantus.AttributionLocalisation(disable_warnings=True, normalise=False)
    return float(
        np.mean(
            peer(
                model=subject.network,
                x_batch=context.images.cpu().numpy(),
                y_batch=context.targets.cpu().numpy(),
                a_batch=maps[:, None].cpu().numpy(),
                s_batch=context.masks[:, None].cpu().numpy().astype(int),
                device=subject.classifier.device,
            )
        )
    )


PEERS = {
    "road": ("pytorch-grad-cam", grad_cam_scores, 1.0),
    "average-drop": ("pytorch-grad-cam", grad_cam_scores, 1.0),
    "insertion": ("TorchCAM", torchcam_scores, 0.5),
    "deletion": ("TorchCAM", torchcam_scores, 0.5),
    "energy-pointing-game": ("Quantus", quantus_scores, 1.0),
}


def reading_once(evidence: Evidence, candidates: int, repeats: int) -> float:
    """Seconds to read the activations once: all weighted sums as one batched matrix product."""
    activations = evidence.activations.flatten(2)
    weights = activations.new_ones(len(activations), candidates, activations.shape[1])
    return seconds(lambda: weights @ activations, repeats)


@dataclass
class Peer:
    """Another library's metric on a few heatmaps."""

    metric: Metric
    subject: ExplainedNetwork
    context: Context
    maps: Tensor

    def __post_init__(self) -> None:
        self.library, self._score, self._share = PEERS[self.metric.name]
        self.ours = float(self.metric.score(self.maps[None], self.context).mean())
        self.theirs = 0.0
        few = slice(0, 1)
        self._score(self.metric.name, self.subject, self.context.subset(few), self.maps[few])

    def seconds(self) -> float:
        """Its seconds for one candidate and image."""
        return timed(self._run) * self._share / len(self.maps)

    def _run(self) -> None:
        self.theirs = self._score(self.metric.name, self.subject, self.context, self.maps)


def make_parser() -> argparse.ArgumentParser:
    """What the command takes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", default="demo", choices=LAYERS)
    parser.add_argument("--metrics", default=",".join(METRICS))
    parser.add_argument("--count", type=int, help="images that ours scores")
    parser.add_argument("--peer-count", type=int, help="images that peers score")
    parser.add_argument("--candidates", type=int, default=8, choices=range(1, 9))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--no-peers", action="store_true")
    parser.add_argument("--precision", default="float32", choices=PRECISIONS)
    parser.add_argument("--profile", action="store_true", help="where road's time goes")
    parser.add_argument("--eager", action="store_true", help="do not compile the network")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    options = make_parser().parse_args(arguments)
    small = options.network in ("demo", "resnet20")
    count = options.count or (32 if small else 4) * (8 if torch.cuda.is_available() else 1)
    few = slice(0, options.peer_count or (4 if small else 1))
    expressions = [find_method(text).expression for text in FORMULAS[: options.candidates]]

    subject = subject_of(options.network, images_for(options.network, 1))
    if options.precision != FLOAT32:
        fast = Classifier(subject.network, subject.classifier.device, precision=options.precision)
        subject = replace(subject, classifier=fast)
    evidence, context = subject.measure(images_for(options.network, count))
    if not options.no_peers:
        from torchvision_ops import import_torchvision

        import_torchvision()  # grad-cam and Quantus need it, whose operators may not load
    scorers: dict[str, Scorer] = {}
    for name in options.metrics.split(","):
        scorers[name] = Scorer(find_metric(name), evidence, context)
    warm = images_for(options.network, 512 if torch.cuda.is_available() else 128).images
    subject.classifier.probability(warm, context.targets[:1].expand(len(warm)))
    form = subject.classifier.plan(1 if options.eager else 10**12)
    bare, bare_again = bare_forward(subject, context.images, options.repeats)

    print(f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads, "
          f"torch {torch.__version__}, {device_name(subject)}, {options.precision}")  # fmt: skip
    print(f"network {subject.name} ({form}, batches of {subject.classifier.batch}), layer "
          f"{subject.layer_names}, images {tuple(context.images.shape[1:])}")  # fmt: skip
    print("bare forward pass, ms per image: "
          + ", ".join(f"{name} {value * 1e3:.3f}" for name, value in bare.items()))  # fmt: skip
    print(f"{len(expressions)} candidates x {count} images; peers: 1 x {few.stop}\n")
    print(f"{'metric':22}{'passes':>8}{'ours, s':>10}{'bare, s':>10}{'(a) ours/bare':>15}"
          f"{'(b) peer/ours':>15}  peer (mean score: peer, ours)")  # fmt: skip
    maps = heatmaps(expressions[:1], evidence.leaves, context.size).maps[0]
    once = reading_once(evidence, len(expressions), 9)
    for name, scorer in scorers.items():
        before = subject.classifier.passes
        scorer.score(expressions)
        passes = subject.classifier.passes - before
        peer = None
        if name in PEERS and not options.no_peers:
            peer = Peer(scorer.metric, subject, context.subset(few), maps[few])
        # In turn, so that other load on the machine meets all alike; medians of ratios.
        ours, limits, ratios, over = [], [], [], []
        for _ in range(options.repeats):
            ours.append(timed(lambda scorer=scorer: scorer.score(expressions)))
            if passes:
                limits.append(passes * bare_again())
                ratios.append(ours[-1] / limits[-1])
            if peer is not None:
                over.append(peer.seconds() * len(expressions) * count / ours[-1])
        spent = statistics.median(ours)
        row = f"{name:22}{passes:8}{spent:10.4f}"
        if passes:
            row += f"{statistics.median(limits):10.4f}{statistics.median(ratios):15.2f}"
        else:
            row += f"{'':25}"
        if peer is not None:
            row += f"{statistics.median(over):15.1f}  {peer.library} "
            row += f"({peer.theirs:.4f}, {peer.ours:.4f})"
        if not passes:
            row += f"  (c) {spent / once:.1f} times reading A once ({once * 1e3:.2f} ms)"
        print(row, flush=True)
        if passes:
            each = spent / (len(expressions) * count)
            print(
                f"{'':22}{1 / each:.0f} candidates x images per second; {passes / spent:.0f} passes"
            )
        if options.profile and name == "road":
            profile(lambda scorer=scorer: scorer.score(expressions))


if __name__ == "__main__":
    main()
