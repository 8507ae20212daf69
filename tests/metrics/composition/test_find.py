"""Text to metrics and back: names, options, formulas, files; whatever else is typed."""

from __future__ import annotations

import doctest
import inspect
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sycam import cli
from sycam.errors import OptionError, SycamError, UnknownNameError
from sycam.metrics import METRICS, Road, find_metric
from sycam.metrics.adapters import declared
from sycam.metrics.composition import find
from sycam.metrics.composition.find import LONGEST
from sycam.metrics.option_text import read_option, written
from sycam.testing import isolated_metrics

OPTIONED = ("road", "road:noise=0", "road-morf:percentiles=20+40,noise=0.5", "deletion:steps=paper")
PARTS = (*OPTIONED, "iou:threshold=0.001", "insertion", "complexity")


def same(one, other) -> bool:
    return (one.text, one.options) == (other.text, other.options)


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_is_found_by_its_text_and_a_folder_can_carry_its_name(name):
    metric = find_metric(name)
    assert metric.text == metric.slug == name
    assert same(find_metric(metric.text), metric)


@pytest.mark.parametrize("name", METRICS)
def test_every_option_at_its_default_is_left_out_and_reads_back(name):
    parameters, usual = METRICS[name].parameters(), METRICS[name]().options
    assert parameters.keys() <= usual.keys()
    given = ",".join(f"{option}={written(usual[option])}" for option in parameters)
    if given:
        assert same(find_metric(f"{name}:{given}"), find_metric(name))


@pytest.mark.parametrize(
    ("text", "options", "canonical"),
    [
        ("road:noise=0", {"noise": 0.0}, "road:noise=0"),
        ("road : noise=0", None, None),
        ("road:noise=1e-3,solver=exact", {"noise": 1e-3}, "road:noise=0.001,solver=exact"),
        ("road:percentiles=20+40+60", {"percentiles": [20, 40, 60]}, "road:percentiles=20+40+60"),
        ("road:percentiles=50", {"percentiles": [50]}, "road:percentiles=50"),
        ("road:noise=0.01", {"noise": 0.01}, "road"),
        ("deletion:steps=paper", {"steps": "paper"}, "deletion:steps=paper"),
        ("deletion:steps='paper'", {"steps": "paper"}, "deletion:steps=paper"),
    ],
)
def test_options(text, options, canonical):
    if options is None:
        with pytest.raises(OptionError, match=r"name:option=value|road:noise=0"):
            find_metric(text)
        return
    metric = find_metric(text)
    assert metric.options.items() >= options.items()
    assert metric.text == canonical
    assert same(find_metric(metric.text), metric)


def option(kind, default=None):
    def f(x=default):
        pass

    f.__annotations__["x"] = kind
    return inspect.signature(f).parameters["x"]


@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [
        (float, 0.5, "0.5"),
        (float, 1e20, "1e20"),
        (float | None, None, "none"),
        (int, -3, "-3"),
        (bool, True, "true"),
        (str, "of-means", "of-means"),
        (str | None, "none", "'none'"),
        (str, "mean(G) * max(A)", "'mean(G) * max(A)'"),
        (str, "it's", '"it\'s"'),
        (tuple[float, ...], (0.5,), "0.5"),
        (str | tuple[float, ...], (0.5,), "0.5+"),
        (tuple[str, ...], ("salt-and-pepper", "a b"), "salt-and-pepper+'a b'"),
        (tuple[int, str], (3, "x"), "3+x"),
    ],
)
def test_values_are_written_as_they_are_read(kind, value, text):
    assert written(value, kind) == text
    found = read_option("x", text, option(kind))
    assert found == value
    assert type(found) is type(value)


REFUSED = [
    ("raod", UnknownNameError, r"metric 'raod' is not known; did you mean 'road'"),
    ("0.5*raod", UnknownNameError, r"did you mean 'road'.*\n    0.5\*raod\n        \^"),
    ("road:nois=0", UnknownNameError, r"road option 'nois' is not known; did you mean 'noise'"),
    ("complexity:x=1", UnknownNameError, r"metric 'complexity' has no options, got 'x=1'"),
    ("road:noise=big", OptionError, r"option noise=big is not understood; expected a number"),
    ("deletion:steps=0.5", OptionError, r"expected a whole number or a word"),
    ("deletion:steps=0", OptionError, r"steps must be a positive integer"),
    ("road:noise=0,noise=1", OptionError, r"'noise' of metric 'road' is given twice"),
    ("road:ties", OptionError, r"an option needs a value, like road:ties=blur; .*noise, .*ties"),
    (
        "iou + road:",
        OptionError,
        r"a value, like road:percentiles=10\+.*\n    iou \+ road:\n {14}\^",
    ),
    ("complexity:", OptionError, r"metric 'complexity' has no options; leave out the colon"),
    ("2:3", OptionError, r"unexpected character ':'; expected .*road:noise=0"),
    ("road:noise=0+iou", OptionError, r"expected a number; a \+ between metrics needs spaces"),
    ("road-iou", UnknownNameError, r"a minus needs spaces around it: road - iou"),
    ("road iou", OptionError, r"unexpected 'iou'; expected .*\n    road iou\n         \^"),
    ("road +", OptionError, r"the text ends too early.*\n    road \+\n          \^"),
    ("", OptionError, r"the text ends too early"),
    ("harmony(road, iou)", UnknownNameError, r"did you mean 'harmonic'"),
    ("2*(road", OptionError, r"ends too early"),
    ("absent.py:centre", OptionError, r"metric file 'absent.py' cannot be read: No such file"),
    ("(" * 150 + "road" + ")" * 150 + " + 1" * 120, OptionError, r"nested more than 100 levels"),
    ("road + " * 400 + "iou", OptionError, r"2803 characters is too long \(at most 2000\)"),
    ("1" + "0" * 80 + "*road", OptionError, r"fewer digits"),
    (3, OptionError, r"a metric is a name, .* got 3"),
]


@pytest.mark.parametrize(("text", "kind", "said"), REFUSED, ids=lambda v: str(v)[:30])
def test_what_is_no_metric_is_refused_with_a_hint(text, kind, said):
    with pytest.raises(kind, match=rf"(?s){said}"):
        find_metric(text)


def test_examples_of_the_docstrings():
    assert doctest.testmod(find).failed == doctest.testmod(declared).failed == 0


def test_a_metric_is_given_back_as_it_is():
    road = Road(noise=0.5)
    assert find_metric(road) is road


# --- any text ------------------------------------------------------------------------------------

SIGNS = "+ - * / ( ) , : = ' . é".split()  # noqa: SIM905
WORDS = ("harmonic", "min", "x.py:f", "'a b.py':f", "noise=", "0", ".5", "3.", "1e9", "9" * 70)
FRAGMENTS = (*PARTS, *SIGNS, *WORDS, " ", "\n", "\0")


def numbers():
    return st.sampled_from(("0", "1", "2", "0.25", "3", ".1", "1000"))


def formulas():
    def grow(inner):
        return st.one_of(
            st.tuples(numbers(), inner).map("*".join),
            st.tuples(inner, numbers()).map(" / ".join),
            st.tuples(numbers(), inner).map(" - ".join),
            st.lists(inner, min_size=2, max_size=3).map(" + ".join),
            st.tuples(inner, inner).map(" - ".join),
            inner.map("({})".format),
            inner.map("-{}".format),
            st.lists(inner, min_size=2, max_size=3).map(lambda a: f"harmonic({', '.join(a)})"),
            st.lists(inner, min_size=2, max_size=3).map(lambda a: f"min({','.join(a)})"),
        )

    return st.recursive(st.sampled_from(PARTS), grow, max_leaves=6)


@given(
    st.one_of(st.text(max_size=40), st.lists(st.sampled_from(FRAGMENTS), max_size=12).map("".join))
)
def test_any_text_is_a_metric_or_a_typed_error(text):
    try:
        metric = find_metric(text)
    except SycamError:
        return
    assert same(find_metric(metric.text), metric)


@given(formulas())
def test_a_formula_reads_back_as_it_is_written(text):
    try:
        metric = find_metric(text)
    except SycamError:
        return
    again = find_metric(metric.text)
    assert same(again, metric)
    assert len(metric.text) <= LONGEST
    assert again.range == metric.range
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", metric.slug)
    assert len(metric.slug) <= 60
    json.dumps(metric.options)


def test_slugs_tell_texts_apart():
    texts = ("road", "road + iou", "road - complexity", "2*road", "20*road", "road:noise=0",
             " + ".join(f"{i}*road:noise={i}" for i in range(2, 40)))  # fmt: skip
    assert len({find_metric(text).slug for text in texts}) == len(texts)


# --- the command ---------------------------------------------------------------------------------


def command(capsys, *arguments: str) -> tuple[int, str, str]:
    code = 0
    with pytest.MonkeyPatch.context() as patch, isolated_metrics():
        patch.setattr("sys.argv", ["sycam", "metrics", *arguments])
        patch.setenv("COLUMNS", "200")
        try:
            cli.main()
        except SystemExit as end:
            code = end.code or 0
    captured = capsys.readouterr()
    return code, " ".join(captured.out.split()), captured.err


def test_the_list_of_metrics_names_all_of_them(capsys):
    code, out, _ = command(capsys)
    assert code == 0
    for metric in map(find_metric, METRICS):
        assert metric.name in out
        assert metric.summary in out
    code, out, _ = command(capsys, "--json")
    rows = {row["name"]: row for row in json.loads(out)}
    assert rows.keys() == METRICS.keys()
    assert rows["deletion"]["range"] == [0, 1]
    assert rows["max-sensitivity"]["range"] == [0, None]
    assert not rows["deletion"]["higher_is_better"]
    assert rows["iou"]["needs_masks"]


@pytest.mark.parametrize("name", METRICS)
def test_one_metric_is_shown_whole(name, capsys):
    metric = find_metric(name)
    code, out, _ = command(capsys, "show", name)
    assert code == 0
    said = " ".join(json.loads(command(capsys, "show", name, "--json")[1])["definition"].split())
    assert said == " ".join(metric.definition.split())
    for text in (metric.definition, metric.traps, metric.source, *metric.parameters()):
        assert re.sub(r"\s", "", text) in re.sub(r"\s", "", out)


def test_a_formula_is_shown_and_a_mistake_is_one_message(capsys):
    code, out, _ = command(capsys, "show", "-0.5*deletion", "--json")
    shown = json.loads(out)
    assert (code, shown["terms"], shown["range"]) == (0, ["deletion"], [-0.5, 0])
    assert shown["formula"] == r"-0.5\,\text{deletion}"
    code, out, err = command(capsys, "show", "road*iou")
    assert (code, out) == (2, "")
    assert "harmonic(road, iou) asks for both" in err
