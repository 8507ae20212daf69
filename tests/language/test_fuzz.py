"""Whatever text comes in, a typed refusal or a success comes out, soon, and nothing is run.

The tests marked ``fuzz`` do the same at length (``pytest -m fuzz``, about ten minutes).
"""

from __future__ import annotations

import importlib.util
import os
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest
from any_text import (
    PIECES,
    SEEDS,
    TOKENS,
    any_expression_text,
    any_grammar_text,
    check_expression,
    check_grammar,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sycam.errors import ExpressionError
from sycam.language import parse

EXPRESSIONS, GRAMMARS = 100_000, 5_000  # texts of the long version

# --- in every run -------------------------------------------------------------------------------

QUICK = settings(deadline=None, suppress_health_check=list(HealthCheck))


@pytest.mark.slow
@settings(QUICK, max_examples=6000)
@given(
    st.one_of(
        st.text(),
        st.lists(st.sampled_from(TOKENS), max_size=40).map("".join),
        st.integers(0, 2**32).map(lambda seed: any_expression_text(random.Random(seed))),
    )
)
def test_any_text_is_an_expression_or_a_refusal(text):
    check_expression(text)


@settings(QUICK, max_examples=700)
@given(
    st.one_of(
        st.text(),
        st.lists(st.sampled_from(PIECES), max_size=40).map("".join),
        st.integers(0, 2**32).map(lambda seed: any_grammar_text(random.Random(seed))),
    )
)
def test_any_text_is_a_grammar_or_a_refusal(text):
    check_grammar(text)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_seeds_are_expressions(seed):
    assert check_expression(seed)


def test_the_generators_reach_both_outcomes():
    """Else the tests above would only ever see refusals."""
    rng = random.Random(1)
    read = [check_expression(any_expression_text(rng)) for _ in range(400)]
    assert 40 < sum(read) < 360
    rng = random.Random(1)
    read = [check_grammar(any_grammar_text(rng)) for _ in range(60)]
    assert 5 < sum(read) < 55


A_LEAF = '"A" -> activations\n'
LARGEST = {  # about as many alternatives as a file may have, in the shapes that take longest
    "ladder": "?start: m0\n"
    + "".join(f'?m{i}: m{i + 1} | m{i} "+{i}" m{i + 1} -> add\n' for i in range(149))
    + f"?m149: {A_LEAF}",
    "chain": "?start: m0\n"
    + "".join(f"?m{i}: m{i + 1}\n" for i in range(298))
    + f"?m298: {A_LEAF}",
    "functions": f"?start: m\n?m: {A_LEAF}"
    + "".join(f' | "f{i}" "(" m ")" -> relu\n' for i in range(298)),
}


@pytest.mark.parametrize("text", LARGEST.values(), ids=LARGEST)
def test_a_grammar_of_the_largest_size_is_read_in_time(text):
    assert check_grammar(text)


@pytest.mark.parametrize("text", ["1" * 4000, "-" * 3999 + "A", "(" * 2000, "A" + "+A" * 1999])
def test_long_expressions_are_refused_in_one_short_message(text):
    with pytest.raises(ExpressionError) as caught:
        parse(text)
    assert len(str(caught.value)) < 500


# --- guided by coverage -------------------------------------------------------------------------

HARNESS = Path(__file__).with_name("coverage_fuzz.py")
needs_atheris = pytest.mark.skipif(
    importlib.util.find_spec("atheris") is None,
    reason="atheris, which guides the fuzzer by coverage, is not installed: pip install "
    "'sycam[fuzz]'",
)


def fuzz(kind: str, folder: Path, runs: int, seconds: int) -> int:
    """Runs the fuzzer beside this process, which it would end; how many texts it tried."""
    corpus = folder / "corpus"
    command = [sys.executable, HARNESS, kind, "--seed", "1", "--corpus", corpus,
               "--faults", folder, "--runs", str(runs), "--seconds", str(seconds)]  # fmt: skip
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, check=False,
        cwd=HARNESS.parents[2], env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    assert len(list(corpus.iterdir())) > 10  # coverage did guide it
    return int(re.search(r"Done (\d+) runs", done.stderr)[1])


@needs_atheris
def test_texts_guided_by_coverage_are_expressions_or_refusals(tmp_path):
    assert fuzz("expression", tmp_path, runs=2000, seconds=8) > 200


@needs_atheris
@pytest.mark.fuzz
@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    ("kind", "runs"), [("expression", 100_000), ("grammar", 20_000), ("export", 10_000)]
)
def test_many_texts_guided_by_coverage(kind, runs, tmp_path):
    assert fuzz(kind, tmp_path, runs, seconds=240) > 1000


# --- at length ----------------------------------------------------------------------------------


@pytest.mark.fuzz
@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_many_texts_are_expressions_or_refusals():
    rng = random.Random(2025)
    assert sum(check_expression(any_expression_text(rng)) for _ in range(EXPRESSIONS)) > 1000


@pytest.mark.fuzz
@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_many_texts_are_grammars_or_refusals():
    rng = random.Random(2025)
    assert sum(check_grammar(any_grammar_text(rng)) for _ in range(GRAMMARS)) > 100
