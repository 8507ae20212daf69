"""Dataclasses to plain data and back, and what is refused on the way."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sycam.errors import OptionError
from sycam.support.bounded_json import SchemaError
from sycam.support.schema import Arguments, Bounds, Count, Figure, absent, from_plain, to_plain


def reader(source: str, size: int | None = None):
    """Something that takes options by name."""


@dataclass(frozen=True)
class Part:
    figure: Figure
    names: tuple[str, ...] = ()

    def __post_init__(self):
        if "nobody" in self.names:
            raise OptionError("nobody is no name")


@dataclass(frozen=True, kw_only=True)
class Whole:
    count: Count
    share: Annotated[float, Bounds(0, 1)]
    part: Part | None
    parts: Annotated[tuple[Part, ...], Bounds(0, 2)] = ()
    by_name: Mapping[str, int | str]
    origin: Annotated[Mapping[str, Any], Arguments(reader)]
    options: Annotated[Mapping[str, Any], Arguments(reader, whole=True)]
    more: str | None = absent()


GOOD = {
    "count": 3, "share": 0.5, "part": {"figure": 1.5, "names": ["a"]}, "parts": [{"figure": None}],
    "by_name": {"x": 1, "y": "z"}, "origin": {"source": "s"},
    "options": {"source": "s", "size": None},
}  # fmt: skip

texts = st.text(max_size=5)
parts = st.builds(Part, st.floats(allow_infinity=False, allow_nan=False), st.tuples(texts)).filter(
    lambda part: "nobody" not in part.names
)
wholes = st.builds(
    Whole,
    count=st.integers(0, 2**40),
    share=st.floats(0, 1),
    part=st.none() | parts,
    parts=st.tuples(parts) | st.just(()),
    by_name=st.dictionaries(texts, st.integers(0, 9) | texts, max_size=3),
    origin=st.fixed_dictionaries({"source": texts}, optional={"size": st.integers(0, 9)}),
    options=st.fixed_dictionaries({"source": texts, "size": st.none()}),
    more=st.none() | texts,
)


@given(wholes)
def test_what_is_written_is_read_back(whole):
    assert from_plain(Whole, json.loads(json.dumps(to_plain(whole)))) == whole


def test_a_figure_may_be_undefined_and_a_field_absent():
    whole = from_plain(Whole, GOOD)
    assert math.isnan(whole.parts[0].figure)
    assert whole.more is None
    written = to_plain(whole)
    assert "more" not in written
    assert written["parts"] == [{"figure": None, "names": []}]
    assert to_plain(math.inf) is None


def test_keys_that_another_version_wrote_are_passed_over():
    assert not hasattr(from_plain(Whole, {**GOOD, "later": 1}), "later")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"count": -1}, "count has -1; expected 0 to"),
        ({"count": 2**70}, "count has 1180591620717411303424; expected"),
        ({"count": 1.5}, "count is 1.5; expected a whole number"),
        ({"count": True}, "count is true; expected a whole number"),
        ({"share": 1.5}, "share has 1.5; expected 0 to 1"),
        ({"share": None}, "share is null; expected a number"),
        ({"part": []}, "part is []; expected an object"),
        ({"part": {}}, "part lacks 'figure'"),
        ({"part": {"figure": "x"}}, 'part.figure is "x"; expected a number'),
        ({"part": {"figure": 1, "names": ["a", 2]}}, "part.names.1 is 2; expected a text"),
        ({"part": {"figure": 1, "names": ["nobody"]}}, "part: nobody is no name"),
        ({"parts": [{"figure": 1}] * 3}, "parts has 3 entries; expected 0 to 2"),
        ({"parts": {}}, "parts is {}; expected a list"),
        ({"by_name": {"x": []}}, "by_name.x is []; expected a text"),
        ({"origin": {"size": 1}}, "origin lacks 'source'"),
        ({"origin": {"source": "s", "run": "rm"}}, "origin has 'run', which is not known"),
        ({"origin": {"source": 1}}, "origin.source is 1; expected a text"),
        ({"options": {"source": "s"}}, "options lacks 'size'"),
    ],
)
def test_what_no_one_wrote_is_refused_with_its_place(change, said):
    with pytest.raises(SchemaError) as refused:
        from_plain(Whole, {**GOOD, **change})
    assert said in str(refused.value)
