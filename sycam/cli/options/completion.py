"""What the shell offers while a name is typed; sycam --install-completion switches it on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from sycam.data.names import DEMO
from sycam.errors import SycamError


def metrics(incomplete: str) -> list[str]:
    from sycam.metrics import METRICS

    return _starting(METRICS, incomplete)


def methods(incomplete: str) -> list[str]:
    from sycam.methods import METHODS

    return _starting(METHODS, incomplete)


def zoo(incomplete: str) -> list[str]:
    from sycam.methods.zoo import zoo

    return _starting(zoo(), incomplete)


def grammars(incomplete: str) -> list[str]:
    from sycam.grammar import grammar_names

    return _starting(grammar_names(), incomplete)


def networks(incomplete: str) -> list[str]:
    """Forms of names; within a library, the names that it has."""
    return _starting(_networks(incomplete), incomplete)


def _networks(incomplete: str) -> Iterator[str]:
    from sycam.networks import LIBRARIES

    yield DEMO
    for prefix, library in LIBRARIES.items():
        if not incomplete.startswith(prefix):
            yield prefix
            continue
        try:  # the library may not be installed, and a completion says nothing
            name, at, _ = incomplete.removeprefix(prefix).partition("@")
            if at:
                yield from (f"{prefix}{name}@{w}" for w in library.weights_of(name))
            else:
                yield from (f"{prefix}{name}" for name in library.names())
        except (SycamError, ValueError):
            return


def _starting(names: Iterable[str], incomplete: str) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]
