"""Compiled helpers, and machines that cannot make them."""

from __future__ import annotations

import shutil

import pytest
import torch

from sycam.metrics.imputation import c_engine
from sycam.metrics.imputation.impute import impute
from sycam.metrics.removal.pixel_ranks import relevance_ranks
from sycam.support.compiling import c_compiler, compiled_c


@pytest.fixture
def compilers(monkeypatch):
    """Sets what compilers there are; what was compiled with others is forgotten."""
    kept = (compiled_c.c_library, c_engine._function)

    def found(path: str | None) -> None:
        monkeypatch.setattr(c_compiler.shutil, "which", lambda _name: path)
        for function in kept:
            function.cache_clear()

    yield found
    for function in kept:
        function.cache_clear()


@pytest.mark.parametrize("compiler", [None, shutil.which("false")])
def test_without_a_working_compiler_torch_serves(compilers, compiler):
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(5, 1, 16, 16, generator=generator)
    removed = torch.rand(5, 16, 16, generator=generator) < 0.5
    maps = torch.rand(3, 2, 9, 9, generator=generator).round(decimals=1)
    shuffles = torch.stack([torch.randperm(81, generator=generator) for _ in range(2)])
    ranks = relevance_ranks(maps, shuffles)
    compilers(compiler)
    assert compiled_c.c_library("sycam.metrics.removal", "pixel_ranks") is None
    assert not c_engine.native_available()
    assert torch.equal(impute(images, removed, native=True), impute(images, removed))
    assert torch.equal(relevance_ranks(maps, shuffles), ranks)


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler here")
def test_a_compiler_that_knows_no_tuning_makes_the_library_all_the_same(compilers, tmp_path):
    """No OpenMP, as clang on a Mac has it: one thread, the same ranks."""
    plain = tmp_path / "cc"
    plain.write_text(
        '#!/bin/sh\nfor option; do case "$option" in -fopenmp) exit 1;; esac; done\n'
        f'exec {shutil.which("cc")} "$@"\n'
    )
    plain.chmod(0o755)
    maps = torch.rand(3, 2, 9, 9, generator=torch.Generator().manual_seed(0)).round(decimals=1)
    shuffles = torch.arange(81).expand(2, -1)
    ranks = relevance_ranks(maps, shuffles)
    compilers(str(plain))
    assert compiled_c.c_library("sycam.metrics.removal", "pixel_ranks") is not None
    assert torch.equal(relevance_ranks(maps, shuffles), ranks)
