"""The shipped conformance test finds each fault that it speaks of, and no other."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import sycam
from sycam.errors import OptionError, UnknownNameError
from sycam.language import OPERATORS
from sycam.language.signatures import MAP, Overload
from sycam.testing import check_operator, isolated_operators
from sycam.testing.tensors import DTYPES, SHAPES, adversarial, adversarial_inputs


@pytest.fixture(autouse=True)
def _own_table():
    with isolated_operators():
        yield


def lower_median(t: Tensor) -> Tensor:
    return t.flatten(-2).median(-1).values[..., None, None]


def divided_by_the_sum(t: Tensor) -> Tensor:
    return t / t.sum((-2, -1), keepdim=True)


def of_channels_not_places(t: Tensor) -> Tensor:
    return t.sum(-3, keepdim=True)


def without_keepdim(t: Tensor) -> Tensor:
    return t.mean((-2, -1))


def in_place(t: Tensor) -> Tensor:
    return t.clamp_(min=0)


def in_double(t: Tensor) -> Tensor:
    return t.double()


def sees_other_images(t: Tensor) -> Tensor:
    return t - t.mean()


def counts_dimensions_from_the_start(t: Tensor) -> Tensor:
    return t - t.amax((1, 2, 3), keepdim=True)


def favours_the_first_channel(t: Tensor) -> Tensor:
    return t - t[..., :1, :, :]


def random_noise(t: Tensor) -> Tensor:
    return t + torch.rand_like(t)


def needs_two_places(t: Tensor) -> Tensor:
    return t.var((-2, -1), keepdim=True)


def indexes_a_second_row(t: Tensor) -> Tensor:
    return t[..., 1:2, :1]


def a_number(t: Tensor) -> float:
    return float(t.flatten()[0])


def squared(t: Tensor) -> Tensor:
    return t.clamp(-1e9, 1e9) ** 2


FAULTS: list[tuple[Callable, str, tuple[str, ...], str]] = [
    (divided_by_the_sum, "map -> map", (), r"'zeros, float32' input: 240 of 240 entries are NaN"),
    (of_channels_not_places, "map -> weight", (), r"shape \(2, 1, 5, 4\), expected \(2, 6, 1, 1\)"),
    (without_keepdim, "map -> weight", (), r"gave shape"),
    (in_place, "map -> map", (), r"changed its argument in place"),
    (in_double, "map -> map", (), r"gave torch.float64, expected the input's dtype"),
    (sees_other_images, "map -> map", (), r"sees (another|the other)"),
    (counts_dimensions_from_the_start, "map -> map", (), r"on 'a stack of candidates' input"),
    (favours_the_first_channel, "map -> map", (), r"on 'channels in another order' input"),
    (random_noise, "map -> map", (), r"sees|another"),
    (needs_two_places, "map -> weight", (), r"'one place, float32' input: 12 of 12 .* NaN"),
    (indexes_a_second_row, "map -> weight", (), r"on 'one place, float32' input: gave shape"),
    (a_number, "map -> map", (), r"gave float, expected a torch.Tensor"),
    (torch.Tensor.item, "map -> map", (), r"raised \w+Error: "),
    (squared, "map -> map", ("odd",), r"it is declared odd but is not"),
    (squared, "map -> map", ("homogeneous",), r"it is declared homogeneous but is not"),
    (squared, "map -> map", ("scale-free",), r"it is declared scale-free but is not"),
    (squared, "map -> map", ("idempotent",), r"it is declared idempotent but is not"),
    (squared, "map -> map", ("involution",), r"it is declared involution but is not"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("function", "typing", "laws", "said"),
    FAULTS,
    ids=lambda v: getattr(v, "__name__", str(v))[:30],
)
def test_every_fault_is_found_and_named(function, typing, laws, said):
    def faulty(t: Tensor) -> Tensor:
        return function(t)

    sycam.operator(typing, laws=laws)(faulty)
    with pytest.raises(AssertionError, match=rf"operator 'faulty' \({typing}\) .*{said}"):
        check_operator("faulty")


def test_a_law_of_two_arguments():
    @sycam.operator("map, map -> map", laws=("commutative",))
    def leans(a: Tensor, b: Tensor) -> Tensor:
        return a + b / 2

    with pytest.raises(AssertionError, match="it is declared commutative but is not"):
        check_operator("leans")


def test_the_fault_is_named_with_the_kind_of_each_argument():
    @sycam.operator("map, weight -> map")
    def ratio(a: Tensor, b: Tensor) -> Tensor:
        return a / b

    with pytest.raises(
        AssertionError, match=r"\(map, weight -> map\) on 'zeros and zeros, float32'"
    ):
        check_operator("ratio")


def test_a_sound_operator_and_what_it_could_declare():
    sycam.operator("map -> weight", laws=("homogeneous",))(lower_median)
    report = check_operator("lower_median")
    assert report == check_operator(OPERATORS["lower_median"])
    assert report.typings == ("map -> weight",)
    assert (report.laws, report.hints, report.foldable) == (("homogeneous",), (), True)
    sycam.operator("map -> map", "weight -> weight", name="clipped")(squared)
    report = check_operator("clipped")
    assert (report.laws, report.hints) == ((), ("even",))
    assert "2 typings" in str(report)
    assert "not declared, but seen to hold: even" in str(report)


def test_a_rough_law_is_no_hint():
    """0.1 t in [-1, 1] is odd and nearly idempotent nowhere; t + 1e-3 is nearly anything."""

    @sycam.operator("map -> map")
    def shifted(t: Tensor) -> Tensor:
        return t + 1e-3

    assert check_operator("shifted").hints == ()


def test_an_operator_that_looks_at_neighbours_says_so():
    @sycam.operator("map -> map")
    def slope(t: Tensor) -> Tensor:
        return t / 2 - t.roll(1, -2) / 2

    report = check_operator("slope")
    assert not report.foldable
    assert "not for volumes" in str(report)


def test_what_cannot_be_checked():
    with pytest.raises(OptionError, match="'gradients' is a leaf"):
        check_operator("gradients")
    with pytest.raises(UnknownNameError, match="'meen' is not known; did you mean 'mean'"):
        check_operator("meen")


def test_inputs_are_finite_and_of_their_sort():
    for dtype in DTYPES:
        for sort, shape in SHAPES.items():
            for kind, t in adversarial(sort, dtype).items():
                assert t.isfinite().all(), kind
                assert t.dtype == dtype
                assert t.shape[1:] == shape or kind.startswith("one ")
    overload = Overload((MAP, MAP), MAP, torch.add)
    kinds = [given.kind for given in adversarial_inputs(overload, torch.float32)]
    assert len(kinds) == len(set(kinds)) == 15 * 15 + 2
    assert "zeros and huge" in kinds


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mean", "above", "normalize"])
def test_compiled_functions_give_the_same_value(name):
    assert check_operator(name, compile=True).operator == name


@pytest.mark.slow
def test_a_function_that_compiles_to_something_else():
    @sycam.operator("map -> map")
    def twofaced(t: Tensor) -> Tensor:
        return t * (2 if torch.compiler.is_compiling() else 1)

    assert check_operator("twofaced").operator == "twofaced"
    with pytest.raises(AssertionError, match=r"torch\.compile gives another value"):
        check_operator("twofaced", compile=True)
