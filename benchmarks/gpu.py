"""What is measured on a GPU: the figures of RESULTS.md, and the tests that want one.

    python benchmarks/gpu.py [--minutes 8] [--out FOLDER] [--list]

Runs one command after the other, the most important first, each for no longer than its share of the
minutes; what one prints stands in a file of its own, also where it was ended. ``--list`` says what
would be run. ResNet-20 wants CIFAR-10 (``SYCAM_DATA``); without it that command says so.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

HERE = Path(__file__).parent
SCORING = [sys.executable, str(HERE / "scoring.py"), "--no-peers", "--network"]
ALL = "road,insertion,deletion,average-drop"
COMMANDS: dict[str, tuple[float, list[str]]] = {  # with their shares of the time
    "resnet50-bfloat16": (
        0.25,
        [
            *(*SCORING, "resnet50", "--precision", "bfloat16", "--count", "32"),
            *("--metrics", "road,average-drop"),
        ],
    ),
    "demo": (0.2, [*SCORING, "demo", "--count", "256", "--metrics", ALL]),
    "resnet20": (0.2, [*SCORING, "resnet20", "--count", "256", "--metrics", ALL]),
    "tests": (
        0.35,
        [sys.executable, "-m", "pytest", "-q", str(HERE.parent / "tests/test_cuda.py")],
    ),
}


def make_parser() -> argparse.ArgumentParser:
    """What the command takes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--out", type=Path, default=Path("gpu"), help="folder of what is printed")
    parser.add_argument("--list", action="store_true", help="say what would be run")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    asked = make_parser().parse_args(arguments)
    if asked.list:
        for name, (share, command) in COMMANDS.items():
            print(f"{name}, {share * asked.minutes:.1f} min: {' '.join(command[1:])}")
        return
    if not torch.cuda.is_available():
        raise SystemExit("torch sees no CUDA device; --list says what would be run on one")
    asked.out.mkdir(parents=True, exist_ok=True)
    print(torch.cuda.get_device_name(), torch.__version__, flush=True)
    for name, (share, command) in COMMANDS.items():
        path = asked.out / f"{name}.txt"
        with path.open("w") as file:
            try:
                limit = share * asked.minutes * 60
                done = subprocess.run(command, stdout=file, stderr=file, timeout=limit)
                said = "done" if done.returncode == 0 else f"failed ({done.returncode})"
            except subprocess.TimeoutExpired:
                said = "ended by its share of the time"
        print(f"{name}: {said}, {path}", flush=True)


if __name__ == "__main__":
    main()
