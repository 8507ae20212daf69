"""The conformance test of metrics: what every one of the table, and of yours, must satisfy."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor, nn

from sycam.data.images import ImageSet
from sycam.errors import DataError, UnknownNameError
from sycam.evidence import MEASURED, Cache, Evidence
from sycam.heatmaps import norm01
from sycam.language import parse
from sycam.metrics import EXACT, POSITIVE_SCALE, RANKING, WEIGHTS, Context, Metric, find_metric
from sycam.metrics.base import isolated
from sycam.metrics.removal.pixel_ranks import gaussian_blur
from sycam.problem.explained_network import ExplainedNetwork
from sycam.problem.options import ExplainOptions
from sycam.scoring.scorer import Scorer

IMAGE, VOLUME = (16, 16), (4, 8, 8)
COUNT = 3  # images
ORDER = (2, 0, 1)  # in which they come as well
FORMULAS = ("mean(G)", "relu(G)", "mean(relu(G)) * max(A)")
SCALES = ("0.5 * {}", "2 * {}")  # exact in binary
_CLOSE = 1e-4


@dataclass(frozen=True)
class MetricReport:
    """What :func:`check_metric` found.

    Attributes:
        metric: its text.
        kinds: number of kinds of heatmaps.
        invariance: the declared one, which holds.
        hint: a coarser invariance that held on every formula but is not declared, or None. The
            search is quicker for one that it knows.
    """

    metric: str
    kinds: int
    invariance: str
    hint: str | None

    def __str__(self) -> str:
        text = f"{self.metric}: no fault on {self.kinds} kinds of heatmaps"
        if self.hint:
            text += f"; not declared, but seen to hold: invariance={self.hint!r}"
        return text


def check_metric(metric: str | Metric | Callable) -> MetricReport:
    """Check a metric on adversarial heatmaps, and on formulas of a small real network.

    Scores have the right shape and are finite, on maps of zeros and of one pixel, too; they are
    the same each time; arguments are not changed; no candidate and no image sees another, nor
    its place; declared range, bound, invariance and number of passes hold; the figure of a set of
    images can be computed; the text finds the metric again. Where the metric is declared for
    volumes, on volumes as well.

    Args:
        metric: its text, the metric itself, or a function declared with ``@sycam.metric``.

    Returns:
        A short report.

    Raises:
        AssertionError: what failed, on which kind of heatmap.
        UnknownNameError, OptionError: the text is no metric, or it refuses the network.
    """
    metric = find_metric(metric)
    _check_text(metric)
    trial = _Trial(metric, IMAGE)
    trial.check_values()
    trial.check_ends()
    trial.check_figures()
    trial.check_candidates()
    trial.check_images()
    scales = trial.check_invariance()
    if metric.volumes:
        volumes = _Trial(metric, VOLUME)
        volumes.check_values()
        volumes.check_ends()
    hint = POSITIVE_SCALE if scales and metric.invariance == EXACT else None
    return MetricReport(metric.text, len(trial.kinds), metric.invariance, hint)


def isolated_metrics() -> AbstractContextManager[None]:
    """A context for tests: metrics that are declared inside are forgotten at its end."""
    return isolated()


def heatmaps(context: Context) -> dict[str, Tensor]:
    """Heatmaps ``[N,H,W]`` (``[N,D,H,W]``) in [0, 1] that trip metrics, by kind."""
    shape = (len(context), *context.size)
    sides = len(context.size)
    noise = norm01(torch.rand(shape, generator=torch.Generator().manual_seed(5)), sides)
    rows = torch.arange(shape[-2]).view(-1, 1).expand(shape)
    zeros = torch.zeros(shape)
    spike = zeros.clone()
    spike.flatten(1)[:, shape[-1] + 1] = 1
    made = {
        "random": noise,
        "smooth": norm01(gaussian_blur(noise[None], 2.0)[0], sides),
        "zero": zeros,
        "constant": zeros + 0.5,
        "full": zeros + 1,
        "one-pixel": spike,
        "all-but-one-pixel": 1 - spike,
        "binary": (rows < shape[-2] / 2).float(),
        "terraced": (noise * 4).round() / 4,
        "tiny": torch.maximum(noise * 1e-30, spike),
        "one-sided": torch.where(rows < 2, noise, 0.0),
    }
    if context.masks is not None:
        made["perfect"] = context.masks.float()
        made["inverted"] = 1 - made["perfect"]
    return made


class _Trial:
    """A metric on a small real network with images, or volumes."""

    def __init__(self, metric: Metric, size: tuple[int, ...]):
        self.metric, self.size = metric, size
        self.bench = _Bench(metric, size, range(COUNT))
        metric.check(self.bench.context)
        made = heatmaps(self.bench.context)
        self.kinds, self.maps = list(made), torch.stack(list(made.values()))

    def fault(self, said: str, kind: str = "") -> AssertionError:
        where = f" on {kind} heatmaps" if kind else ""
        if self.size == VOLUME:
            where += " of volumes"
        return AssertionError(f"metric {self.metric.text!r}{where}: {said}")

    @cached_property
    def scores(self) -> Tensor:
        """``[P,N]`` or ``[P,N,c]`` of all kinds."""
        return self.scored(self.maps)

    @cached_property
    def of_formulas(self) -> Tensor:
        return self.bench.engine(FORMULAS)

    def scored(self, maps: Tensor, bench: _Bench | None = None) -> Tensor:
        """Scores of heatmaps; what the metric raises is its fault."""
        bench = self.bench if bench is None else bench
        try:
            scores = self.metric.score(maps, bench.scoring(maps))
        except DataError as error:
            raise self.fault(str(error)) from error
        except Exception as error:
            raise self.fault(f"raised {type(error).__name__}: {error}") from error
        expected = list(maps.shape[:2])
        if self.metric.components:
            expected.append(len(self.metric.components))
        if not isinstance(scores, Tensor) or list(scores.shape) != expected:
            got = list(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
            raise self.fault(f"gave {got}, expected scores {expected}")
        if not scores.is_floating_point():
            raise self.fault(f"gave {scores.dtype}, expected floating point")
        return scores

    def check_values(self) -> None:
        """Finite scores, the same twice, within the passes declared; arguments untouched."""
        bench, maps = self.bench, self.maps.clone()
        given = [t for t in (bench.context.images, bench.context.targets, bench.context.clean,
                             bench.context.masks) if t is not None]  # fmt: skip
        before, passes = [t.clone() for t in given], bench.context.classifier.passes
        scores = self.scores
        passes = bench.context.classifier.passes - passes
        if not torch.equal(self.maps, maps):
            raise self.fault("the heatmaps were changed in place")
        if not all(map(torch.equal, given, before)):
            raise self.fault("the context's tensors were changed in place")
        for kind, row in zip(self.kinds, scores, strict=True):
            if not row.isfinite().all():
                raise self.fault("gave NaN or infinity", kind)
        self._same(self.scored(self.maps), scores, "gave another score the second time")
        metric, (count, images) = self.metric, self.maps.shape[:2]
        each = metric.passes + metric.measurements
        most = images * (count * each + metric.shared_measurements)
        if passes > most:
            raise self.fault(
                f"{passes} images went through the network, but at most {most} are declared "
                f"({each} for each of {count} candidates and {images} images)"
            )

    def check_candidates(self) -> None:
        """A candidate's scores do not depend on the others."""
        said = "one candidate's score sees another's"
        self._same(self.scored(self.maps.flip(0)).flip(0), self.scores, said)
        alone = [self.scored(one[None]) for one in self.maps]
        self._same(torch.cat(alone), self.scores, said)
        engine = torch.cat([self.bench.engine([formula]) for formula in FORMULAS])
        if difference := _difference(engine, self.of_formulas, FORMULAS):
            raise self.fault(f"{said}: {difference}")

    def check_images(self) -> None:
        """An image's scores depend neither on the others nor on its place."""
        turned = _Bench(self.metric, self.size, ORDER)
        said = "the score of an image depends on the other images, or on its place among them"
        order = list(ORDER)
        self._same(self.scored(self.maps[:, order], turned), self.scores[:, order], said)
        alone = self.scored(self.maps[:, 1:2], _Bench(self.metric, self.size, [1]))
        self._same(alone, self.scores[:, 1:2], said)

    def check_ends(self) -> None:
        """Scores lie in the range, and none is better than the bound."""
        if self.metric.components:
            return
        low, high = self.metric.range
        bound = self.metric.bound(self.bench.scoring(self.maps))
        if list(bound.shape) != [COUNT]:
            raise self.fault(f"its bound has shape {list(bound.shape)}, expected {[COUNT]}")
        rows = zip((*self.kinds, *FORMULAS), (*self.scores, *self.of_formulas), strict=True)
        for kind, row in rows:
            least, most = float(row.min()), float(row.max())
            if least < low - _CLOSE or most > high + _CLOSE:
                raise self.fault(
                    f"gave {least:g} to {most:g}, its range is {low:g} to {high:g}", kind
                )
            beyond = self.metric.oriented(row - bound) > _CLOSE
            if beyond.any():
                raise self.fault(
                    f"gave {float(row[beyond][0]):g}, better than the bound "
                    f"{float(bound[beyond][0]):g}", kind
                )  # fmt: skip

    def check_figures(self) -> None:
        """A set of images has a figure, and each image a part in it."""
        values = self.scores.double().numpy()
        try:
            figures = self.metric.reduce(values)
            fitted = self.metric.fit(values[0])
            parts = self.metric.per_image(values[0], fitted)
        except Exception as error:
            raise self.fault(f"its figure raised {type(error).__name__}: {error}") from error
        if figures.shape != (len(values),) or parts.shape != (COUNT,):
            raise self.fault(
                f"reduce gave shape {figures.shape} and per_image {parts.shape}, expected "
                f"{(len(values),)} and {(COUNT,)}"
            )

    def check_invariance(self) -> bool:
        """What the metric is declared not to see, it does not see.

        Returns:
            whether formulas times a number score as they do.
        """
        scaled = ""
        for scale in SCALES:
            made = self.bench.engine([scale.format(formula) for formula in FORMULAS])
            scaled = scaled or _difference(made, self.of_formulas, FORMULAS)
        if scaled and self.metric.invariance not in (WEIGHTS, EXACT):
            raise self.fault(f"it is declared {self.metric.invariance} but is not: {scaled}")
        if self.metric.invariance == RANKING:
            levels = (self.maps * 16).round() / 16  # the squares of which are exact and distinct
            said = f"it is declared {RANKING} but is not"
            self._same(self.scored(levels**2), self.scored(levels), said)
        return not scaled

    def _same(self, made: Tensor, expected: Tensor, said: str) -> None:
        if difference := _difference(made, expected, self.kinds):
            raise self.fault(f"{said}: {difference}")


class _Bench:
    """A small real network with some of three images, ready to score heatmaps and formulas."""

    def __init__(self, metric: Metric, size: tuple[int, ...], order: Sequence[int]):
        whole = _images(size, metric.needs_masks)
        images = whole.subset(order)
        network = _network(whole.images)
        explained = ExplainedNetwork.prepare(
            network, "3", images, explain=ExplainOptions(target=0), device="cpu"
        )
        self.evidence, self.context = explained.measure(
            images, leaves=metric.leaves, cache=Cache(None)
        )
        self.metric = metric

    def scoring(self, maps: Tensor) -> Context:
        """A fresh context in which ``maps`` are the heatmaps on all other inputs, too."""
        flat = maps.flatten(2)
        degenerate = flat.amax(-1) == flat.amin(-1)
        context = replace(self.context, kept={})
        return context.scoring(_Still(maps, degenerate, self.evidence.layers[0]), degenerate)

    def engine(self, formulas: Sequence[str]) -> Tensor:
        """Scores ``[P,N]`` or ``[P,N,c]`` as a search takes them."""
        context = replace(self.context, kept={})
        scores = Scorer(self.metric, self.evidence, context).score([parse(f) for f in formulas])
        return torch.stack([torch.from_numpy(score.values) for score in scores])


@dataclass(frozen=True)
class _Still:
    """Candidates whose heatmaps are the same whatever the input."""

    maps: Tensor
    degenerate: Tensor
    evidence: Evidence

    def heatmaps(self, *_: object, **__: object) -> Tensor:
        return self.heatmaps_each()

    def heatmaps_each(self, *_: object) -> Tensor:
        sides = (None,) * (self.maps.ndim - 2)
        return self.maps.masked_fill(self.degenerate[(..., *sides)], 0.0)

    def heatmap_of(self, candidate: int, image: int, *_: object) -> Tensor:
        return self.heatmaps_each()[candidate, image]

    def channel_totals(self) -> Tensor:
        totals = self.evidence.activations.sum((-2, -1))
        return totals * self.maps.flatten(2).mean(-1, keepdim=True)

    def leaf(self, name: str) -> Tensor:
        return MEASURED[name].numbers(self.evidence)


def _network(images: Tensor) -> nn.Sequential:
    """Two convolutions and a head whose gradients vary over places, to four classes; on these
    images it is not sure of any, so that noise changes what it predicts."""
    size = images.shape[2:]
    convolution = {2: nn.Conv2d, 3: nn.Conv3d}[len(size)]
    half = torch.Size(-(-side // 2) for side in size)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        network = nn.Sequential(
            convolution(3, 4, 3, padding=1),
            nn.ReLU(),
            convolution(4, 6, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(6 * half.numel(), 16),
            nn.Tanh(),
            nn.Linear(16, 4),
        ).eval()
    with torch.no_grad():
        network[-1].bias -= network(images).mean(0)
    return network


def _images(size: tuple[int, ...], masks: bool) -> ImageSet:
    """Three images; one of their masks marks everything."""
    generator = torch.Generator().manual_seed(11)
    images = torch.rand(COUNT, 3, *size, generator=generator)
    marked = torch.zeros(COUNT, *size)
    marked[0, ..., 2:7, 3:6] = 1
    marked[1, ..., 1:, :5] = 1
    marked[2] = 1
    return ImageSet.from_arrays(images, masks=marked if masks else None)


def _difference(made: Tensor, expected: Tensor, kinds: Sequence[str]) -> str:
    """The first difference of scores in words, by kind of candidate; empty where there is none."""
    for kind, one, other in zip(kinds, made, expected, strict=True):
        close = (one - other).abs() <= _CLOSE * other.abs().clamp(min=1)
        wrong = ~(close | (one == other))
        if wrong.any():
            one, other = float(one[wrong][0]), float(other[wrong][0])
            return f"{one:.6g} instead of {other:.6g} on {kind!r}"
    return ""


def _check_text(metric: Metric) -> None:
    """Text and options that a run can be resumed by."""
    try:
        json.dumps(metric.options)
    except TypeError as error:
        raise AssertionError(
            f"metric {metric.text!r}: its options {metric.options!r} cannot be written as JSON "
            f"({error}), so that no run could be resumed"
        ) from None
    try:
        again = find_metric(metric.text)
    except UnknownNameError:  # an object of a class that is not registered
        return
    if (again.text, again.options) != (metric.text, metric.options):
        raise AssertionError(
            f"metric {metric.text!r}: its text finds {again.text!r} with options {again.options!r} "
            f"instead of {metric.options!r}"
        )
