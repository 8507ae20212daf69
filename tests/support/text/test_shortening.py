"""Formulas and names in few columns: they fit, keep their ends and layers, and stay distinct."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rich.cells import cell_len

from sycam.support.text.shortening import apart, shortened

LONG = "smooth(cam[features.5](symlog(G))) + smooth(cam[features.12](normalize(relu(G)) * max(A)))"
METHODS = ("grad-cam", "grad-cam++", "layer-cam", "blurred-layer-cam", "blurred-layer-cam++")
LAYERS = ("layer4", "layer3", "layer4.2.conv3", "features.denseblock4.denselayer16", "bn5_relu")
names = st.builds("{}@{}".format, st.sampled_from(METHODS), st.sampled_from(LAYERS))
formulas = st.recursive(
    st.sampled_from("AG"),
    lambda inner: (
        st.builds("{}({})".format, st.sampled_from(["relu", "smooth", "abs"]), inner)
        | st.builds("({} + {})".format, inner, inner)
    ),
)


@pytest.mark.parametrize("width", range(3, len(LONG) + 2))
def test_a_shortened_formula_fits_and_keeps_its_ends(width):
    short = shortened(LONG, width)
    assert len(short) <= width
    assert (short == LONG) is (width >= len(LONG))
    if width >= 8:
        assert short.startswith("smooth"[: width // 2])
        assert short.endswith(")")


@pytest.mark.parametrize("width", range(8, 40))
@pytest.mark.parametrize("layer", LAYERS)
def test_the_layer_of_a_method_stays(layer, width):
    """Of all it was the layer that was cut: ``blurred-layer-cam@…``."""
    short = shortened(f"blurred-layer-cam@{layer}", width)
    assert cell_len(short) <= width
    assert short.startswith("bl")
    if width >= len(layer) + 6:
        assert short.endswith(f"@{layer}")
    else:
        assert layer.endswith(short.rpartition("…")[2].removeprefix("@"))


@given(st.sets(names | formulas | st.text("ab…1", max_size=12), max_size=30), st.integers(8, 40))
@example({"a" * 30 + c + "b" * 30 for c in "xyz"}, 8)
@example({f"smooth({'relu(' * n}G{')' * n})" for n in range(5, 30)}, 12)
def test_distinct_texts_stay_distinct_and_fit(texts, width):
    short = apart(texts, width)
    assert set(short) == texts
    assert len(set(short.values())) == len(texts)
    assert all(cell_len(one) <= width for one in short.values())
    assert all(short[one] == one for one in texts if cell_len(one) <= width and "…" not in one)


@given(st.lists(names, unique=True, max_size=20), st.integers(0, 12))
def test_names_are_told_apart_however_little_room_each_has(texts, least):
    short = apart({text: least + place % 3 for place, text in enumerate(texts)})
    assert len(set(short.values())) == len(texts)


def test_what_parts_two_formulas_is_shown():
    one, other = (
        f"smooth(smooth(relu(symsqrt(G / ({x} * sum(A))))))" for x in ("std(G)", "max(G)")
    )
    assert apart([one, other], 16) == {one: "…std(G) * sum(A…", other: "…max(G) * sum(A…"}
