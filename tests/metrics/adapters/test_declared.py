"""Metrics that users declare: in Python, in files; what they may not return; their versions."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

import sycam
from sycam import cli
from sycam.errors import DataError, OptionError, UnknownNameError
from sycam.metrics import METRICS, find_metric
from sycam.metrics.base import Metric, register
from sycam.testing import isolated_metrics

FILE = """
import torch
import sycam
from sycam.metrics import Metric, register

SHARE = 0.5

def upper(maps):
    return maps[..., : int(maps.shape[-2] * SHARE), :].sum((-2, -1))

@sycam.metric(range=(0, 1))
def top(heatmaps, context, *, weight: float = 1.0):
    '''Share of the heat in the upper half.

    And more words.
    '''
    return weight * upper(heatmaps) / heatmaps.sum((-2, -1)).clamp(min=1e-9)

@register
class Whole(Metric):
    name, summary, source, family = "whole", "all of the heat", "here", "custom"
    def score(self, maps, context):
        return upper(maps) * 0 + 1

def plain(heatmaps, context):
    return heatmaps.mean((-2, -1))
"""


@pytest.fixture(autouse=True)
def fresh():
    with isolated_metrics():
        yield


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "mine.py"
    path.write_text(FILE)
    return path


def test_the_batch_form(context12, maps12):
    @sycam.metric(higher_is_better=False, range=(0, 2), passes=1)
    def drop(heatmaps: Tensor, context, *, share: float = 1.0) -> Tensor:
        """Probability lost on the masked image."""
        left = [
            context.classifier.probability(context.images * maps[:, None], context.targets)
            for maps in heatmaps
        ]
        return share * (context.clean - torch.stack(left)).abs()

    context, maps = context12(), maps12(2)
    metric = find_metric("drop")
    assert (metric.summary, metric.family) == ("Probability lost on the masked image.", "custom")
    assert (metric.higher_is_better, metric.range, metric.passes) == (False, (0, 2), 1)
    assert metric.invariance == "exact"
    lost = find_metric("drop-in-deletion").score(1 - maps, context).abs()
    torch.testing.assert_close(metric.score(maps, context), lost)
    half = find_metric("1 - drop:share=0.5").score(maps, context)
    torch.testing.assert_close(half, 1 - lost / 2)
    assert find_metric(drop).text == "drop"


def test_the_image_form_is_the_batch_form_image_by_image(context12, maps12):
    @sycam.metric(form="image", needs_masks=True, name="covered", summary="one line")
    def share_of_the_mask(heatmap, image, mask):
        assert heatmap.shape == mask.shape == image.shape[1:]
        return (heatmap * mask).sum() / heatmap.sum()

    context = context12()
    context = sycam.metrics.Context(
        **{**vars(context), "masks": torch.rand(3, 12, 12) > 0.5, "kept": {}}
    )
    maps = maps12(2)
    found, expected = (
        find_metric(name).score(maps, context) for name in ("covered", "energy-pointing-game")
    )
    torch.testing.assert_close(found.float(), expected)
    assert find_metric("covered").summary == "one line"


@pytest.mark.parametrize(
    "made", [True, np.float32(0.5), np.array([[0.5]]), torch.full((1,), 0.5)], ids=type
)
def test_one_number_may_be_of_any_type(made, context12, maps12):
    @sycam.metric(form="image")
    def number(heatmap, image, mask):
        return made

    scores = find_metric(number).score(maps12(2), context12())
    assert scores.shape == (2, 3)
    assert scores.eq(1.0 if made is True else 0.5).all()


def test_what_is_not_declared_is_not_seen(context12, maps12):
    """Masks that no identity counts must not move scores."""
    seen = []

    @sycam.metric
    def peek(heatmaps, context):
        seen.append(context.masks)
        return heatmaps.mean((-2, -1))

    context = context12()
    context = sycam.metrics.Context(**{**vars(context), "masks": torch.ones(3, 12, 12).bool()})
    find_metric(peek).score(maps12(1), context)
    assert seen == [None]


KEYS = ("noise", "shuffle", "random map", "ranks", "rivals", "superpixels", "coherency", "blur")


@pytest.mark.parametrize("first", ["keeper", "others"])
def test_a_metric_may_keep_things_under_any_key(first, context12, maps12):
    """SyCAM's own plain words were keys of the same table."""
    others = find_metric("road - deletion:baseline=blur + insertion + relative-drop")

    @sycam.metric
    def keeper(heatmaps, context):
        kept = [context.once(key, lambda: 2.0) for key in KEYS]
        kept += [context.shared(key, heatmaps, lambda: 2.0) for key in KEYS]
        assert kept == [2.0] * len(kept)
        return heatmaps.mean((-2, -1))

    own, maps = find_metric(keeper), maps12(2)
    alone = others.score(maps, context12())
    context = replace(context12(), work={})  # as an engine shares it
    metrics = [own, others] if first == "keeper" else [others, own]
    found = {metric: metric.score(maps, context) for metric in metrics}
    assert torch.equal(found[others], alone)


FAULTS = [
    (lambda h, c: h.mean((-2, -1)).tolist(), r"gave list, expected a torch.Tensor"),
    (lambda h, c: h.mean((-2, -1))[0], r"gave shape \[3\], expected \[2, 3\]: one score a"),
    (lambda h, c: h, r"gave shape \[2, 3, 12, 12\], expected \[2, 3\]"),
    (lambda h, c: h.amax((-2, -1)) > 0, r"gave torch.bool, expected floating point \(.float"),
    (
        lambda h, c: h.mean((-2, -1)) / 0,
        r"gave 6 of 6 scores that are NaN or infinite.*; 6 of these heatmaps are not blank",
    ),
    (lambda h, c: h.mean((-2, -1)) + 7, r"gave scores from 7.* expected its range \(0, 1\)"),
    (lambda h, c: h.missing, r"raised AttributeError: .*'missing'"),
]


@pytest.mark.parametrize(("function", "said"), FAULTS)
def test_what_a_metric_may_not_return(function, said, context12, maps12):
    @sycam.metric(range=(0, 1))
    def bad(heatmaps, context):
        return function(heatmaps, context)

    with pytest.raises(DataError, match=rf"metric 'bad' {said}"):
        find_metric("bad").score(maps12(2), context12())


def test_a_share_of_a_blank_heatmap_wants_a_decision(context12, maps12):
    @sycam.metric(range=(0, 1))
    def share(heatmaps, context):
        return heatmaps[..., :6].sum((-2, -1)) / heatmaps.sum((-2, -1))

    maps = maps12(2)
    maps[1, 2] = 0
    said = "gave 1 of 6 scores .* expected finite ones; decide what a map of zeros scores"
    with pytest.raises(DataError, match=said):
        find_metric("share").score(maps, context12())


@pytest.mark.parametrize(
    ("value", "said"),
    [("1", r"gave str, expected one number"), (torch.ones(2), r"gave Tensor of shape \[2\]")],
)
def test_what_the_image_form_may_not_return(value, said, context12, maps12):
    @sycam.metric(form="image")
    def bad(heatmap, image, mask):
        return value

    with pytest.raises(DataError, match=rf"metric 'bad' {said}"):
        find_metric("bad").score(maps12(1), context12())


def two(heatmaps, context):
    return heatmaps.mean((-2, -1))


def three(heatmap, image, mask):
    return 1.0


def demanding(heatmaps, context, *, share):
    return heatmaps.mean((-2, -1)) * share


REFUSED = [
    (three, {}, r"takes \(heatmap, image, mask\), expected \(heatmaps \[P,N,H,W\], context\)"),
    (two, {"form": "image"}, r"expected \(heatmap \[H,W\], image \[C,H,W\], mask \[H,W\] or None"),
    (demanding, {}, r"options after \*, each with a default"),
    (two, {"form": "volume"}, r"form 'volume' .* expected one of 'batch', 'image'"),
    (two, {"invariance": "scale"}, r"invariance 'scale' .* 'exact', 'positive-scale', 'ranking'"),
    (two, {"range": (1, 0)}, r"range \(1, 0\) of metric 'two' must be its lowest and highest"),
    (two, {"range": 1}, r"range 1 of metric 'two'"),
    (two, {"passes": -1}, r"passes of a metric must be a whole number, got -1"),
    (two, {"name": "my metric"}, r"'my metric' must be made of letters"),
    (two, {"name": "road"}, r"SyCAM itself has 'road'; give another with name="),
    (two, {"name": "harmonic"}, r"SyCAM itself has 'harmonic'"),
    (lambda h, c: h, {}, r"a function written with def"),
]


@pytest.mark.parametrize(("function", "options", "said"), REFUSED)
def test_what_cannot_be_a_metric(function, options, said):
    before = dict(METRICS)
    with pytest.raises(OptionError, match=rf"(?s){said}"):
        sycam.metric(**options)(function)
    assert dict(METRICS) == before


# --- files and versions --------------------------------------------------------------------------


def test_a_file_and_its_options_are_found_by_their_text(file, tmp_path):
    for text in ("mine.py:top", "./mine.py:top", f"{file}:top:weight=0.5", "mine.py:Whole"):
        metric = find_metric(text)
        again = find_metric(metric.text)
        assert (again.text, again.options, again.version) == (
            metric.text, metric.options, metric.version
        )  # fmt: skip
        assert metric.version
    assert find_metric("./mine.py:top").text == "mine.py:top"
    assert find_metric(f"{file}:top:weight=0.5").text == f"{file}:top:weight=0.5"
    whole = find_metric("0.5*road + 0.5*mine.py:top")
    assert whole.text == "0.5*road + 0.5*mine.py:top"
    odd = tmp_path / "my metrics" / "it's+mine.py"
    odd.parent.mkdir()
    odd.write_text(FILE)
    metric = find_metric('road + "my metrics/it\'s+mine.py":top')
    assert metric.text == 'road + "my metrics/it\'s+mine.py":top'
    assert find_metric(metric.text).options == metric.options


def test_what_a_file_does_not_hold(file):
    with pytest.raises(UnknownNameError, match=r"metric in 'mine.py' 'tip' .* did you mean 'top'"):
        find_metric("mine.py:tip")
    with pytest.raises(OptionError, match=r"'plain' in 'mine.py' is no metric; declare .*@sycam"):
        find_metric("mine.py:plain")
    file.write_text("1 / 0")
    with pytest.raises(OptionError, match=r"metric file 'mine.py' failed: ZeroDivisionError"):
        find_metric("mine.py:top")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("SHARE = 0.5", "SHARE = 0.6"),
        ("[..., : int(", "[..., 1 : int("),
        ("weight * upper", "weight**2 * upper"),
        ("weight: float = 1.0", "weight: float = 2.0"),
    ],
    ids=["constant", "helper", "function", "default"],
)
def test_another_version_is_another_metric(file, old, new):
    metric, whole = find_metric("mine.py:top"), find_metric("1 - mine.py:top")
    # What the metric does not use does not count.
    file.write_text(FILE.replace("def plain(", "def other("))
    assert find_metric("mine.py:top").options == metric.options
    assert FILE.count(old) == 1
    file.write_text(FILE.replace(old, new))
    assert find_metric("mine.py:top").options != metric.options
    assert find_metric("1 - mine.py:top").options != whole.options


def test_the_direction_is_part_of_the_version():
    up, down = (sycam.metric(higher_is_better=h)(two).metric() for h in (True, False))
    assert up.options != down.options


def test_a_class_of_a_user_has_the_version_of_its_code(file):
    before = find_metric("mine.py:Whole").version
    file.write_text(FILE.replace("SHARE = 0.5", "SHARE = 0.6"))
    assert find_metric("mine.py:Whole").version != before
    assert find_metric("road").version == ""


def test_what_cannot_be_read_is_another_version_in_each_process(tmp_path):
    unreadable = iter([1.0])

    def closed(heatmaps, context):
        return heatmaps.mean((-2, -1)) * next(unreadable)

    sycam.metric(closed)
    version = find_metric("closed").version
    assert version == find_metric("closed").version

    def again(heatmaps, context):
        return heatmaps.mean((-2, -1)) * next(unreadable)

    assert sycam.metric(again, name="closed").metric().version != version


def test_the_command_takes_a_file(file, capsys):
    arguments = ["evaluate", "grad-cam", "--metric", "mine.py:top:weight=0.5", "--metric"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["sycam", *arguments, "1 - mine.py:top", "--json", "--quiet"])
        with pytest.raises(SystemExit) as end:
            cli.main()
    assert not end.value.code
    (method,) = json.loads(capsys.readouterr().out)["methods"]
    half, rest = (cell["mean"] for cell in method["metrics"].values())
    assert 0 < half < 0.5
    assert rest == pytest.approx(1 - 2 * half, abs=1e-5)


def test_a_metric_whose_constructor_fails_is_a_typed_error():
    @register
    class Fails(Metric):
        name, summary, source, family = "fails", "it fails", "here", "custom"

        def __init__(self, share: float = 0.5):
            self.share = 1 / share

        def score(self, maps, context):
            return maps.mean((-2, -1))

    with pytest.raises(OptionError, match=r"'fails' refuses share=0: ZeroDivisionError"):
        find_metric("fails:share=0")
