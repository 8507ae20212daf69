"""Cores that are withheld from this process are not counted."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="only Linux pins processes so")
def test_a_pinned_process_has_the_cores_that_it_is_pinned_to():
    script = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); "
        "from sycam.support.cores import cores; print(cores())"
    )
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert said.stdout == "1\n", said.stderr
