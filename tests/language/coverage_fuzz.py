"""Coverage-guided fuzzing of the language: texts that reach new code are kept and changed further.

It needs atheris (``pip install 'sycam[fuzz]'``) and runs until a fault is found or the time is up::

    python tests/language/coverage_fuzz.py expression --seconds 600
    python tests/language/coverage_fuzz.py grammar --seconds 600 --corpus FOLDER
    python tests/language/coverage_fuzz.py export --again FOLDER/crash-0123

Exit status 0: no fault. Otherwise the text that is at fault is printed, and the file that holds it,
for ``--again``, is named.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["sycam.language", "sycam.export"]):
    import any_text

LONGEST = 4096  # bytes that a text is made of
HANGS = 60  # seconds after which a text counts as hanging, whatever it waits for


class Dictated(random.Random):
    """A random generator whose choices are read from bytes, so that coverage guides them too."""

    def __init__(self, data: bytes):
        super().__init__()
        self.data, self.place = data, 0

    def getrandbits(self, k: int) -> int:
        count = (k + 7) // 8
        taken = self.data[self.place : self.place + count]
        self.place += count
        return int.from_bytes(taken, "little") % (1 << k)  # zero where the bytes have ended

    def random(self) -> float:
        return self.getrandbits(16) / (1 << 16)


def text_of(data: bytes, pieces: tuple[str, ...], draw: Callable[[random.Random], str]) -> str:
    """The text that bytes stand for: themselves, pieces of the notation, or a generator's choices.

    The first byte says which.
    """
    manner, rest = data[:1], data[1:]
    if manner < b"\x40":
        return rest.decode("utf-8", "surrogateescape")
    if manner < b"\x80":
        return rest.decode("utf-8", "ignore")
    if manner < b"\xc0":
        return "".join(pieces[byte % len(pieces)] for byte in rest)
    return draw(Dictated(rest))


def expression_arguments(data: bytes) -> tuple[str]:
    return (text_of(data, any_text.TOKENS, any_text.any_expression_text),)


def grammar_arguments(data: bytes) -> tuple[str]:
    return (text_of(data, any_text.PIECES, any_text.any_grammar_text),)


def export_arguments(data: bytes) -> tuple[str, str, str]:
    """Formula, class name and provenance, of which one is the fuzzer's."""
    part, rest = data[:1], data[1:]
    formula, name, provenance = "mean(G)", "SomeCAM", ""
    if part < b"\x80":
        (formula,) = expression_arguments(rest)
    elif part < b"\xc0":
        name = text_of(rest, any_text.NAMES, lambda rng: rng.choice(any_text.NAMES))
    else:
        provenance = rest.decode("utf-8", "surrogateescape")
    return formula, name, provenance


CHECKS = {
    "expression": (any_text.check_expression, expression_arguments),
    "grammar": (any_text.check_grammar, grammar_arguments),
    "export": (any_text.check_exported, export_arguments),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("kind", choices=CHECKS)
    parser.add_argument("--seconds", type=int, default=60, help="time to spend (default 60)")
    parser.add_argument("--runs", type=int, default=-1, help="texts to try at most")
    parser.add_argument("--seed", type=int, default=0, help="0 draws one")
    parser.add_argument("--corpus", type=Path, help="folder to start from and to add to")
    parser.add_argument("--faults", type=Path, help="folder for texts at fault")
    parser.add_argument("--again", type=Path, help="try the text of this file alone")
    given = parser.parse_args()
    check, arguments = CHECKS[given.kind]
    for seed in any_text.SEEDS:  # what is imported or compiled late is no part of a text's time
        check(seed)

    def one(data: bytes) -> None:
        texts = arguments(data)
        try:
            check(*texts)
        except BaseException:
            print(f"{given.kind} at fault: {texts!r}", file=sys.stderr, flush=True)
            raise

    faults = given.faults or Path(tempfile.gettempdir())
    for folder in filter(None, (given.corpus, faults)):
        folder.mkdir(parents=True, exist_ok=True)
    limits = {
        "max_total_time": given.seconds, "runs": given.runs, "seed": given.seed,
        "max_len": LONGEST, "len_control": 10, "timeout": HANGS,
        "artifact_prefix": f"{faults}/", "print_final_stats": 1,
    }  # fmt: skip
    start = given.again or given.corpus
    flags = [f"-{name}={value}" for name, value in limits.items()]
    atheris.Setup([sys.argv[0], *flags, *([str(start)] if start else [])], one)
    atheris.Fuzz()  # ends the process


if __name__ == "__main__":
    main()
