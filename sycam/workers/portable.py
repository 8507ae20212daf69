"""What goes to workers: metrics, methods and networks as text where that says all, else pickled."""

from __future__ import annotations

import importlib.util
import pickle
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

from sycam.errors import OptionError, SycamError
from sycam.language import parse
from sycam.language.operators import OPERATORS, register
from sycam.language.sources import is_declared
from sycam.methods import Method, find_method
from sycam.metrics import Metric, find_metric
from sycam.metrics.composition.group import MetricGroup
from sycam.networks.sources.user_file import import_file
from sycam.support.arguments import argument

Portable = str | bytes
_FILES = "sycam_operators_"  # how modules of users' files of operators are called
_KEPT = 1024


def pickled(value: object, what: str, cure: str) -> bytes:
    """Something as bytes that a worker makes the same of.

    Args:
        value: the user's own object.
        what: it is, in words.
        cure: how else it could be given.

    Raises:
        OptionError: it cannot be pickled.
    """
    try:
        if importlib.util.find_spec("cloudpickle"):  # with what is defined in scripts and notebooks
            import cloudpickle

            return cloudpickle.dumps(value)
        return pickle.dumps(value)
    except Exception as error:  # whatever the classes of a user do
        raise OptionError(
            f"{what} cannot be sent to workers: {type(error).__name__}: {error}; {cure}"
        ) from error


def unpickled(data: bytes) -> Any:
    """What :func:`pickled` was given, which came from this run's own process.

    Raises:
        OptionError: what it is made of is not here.
    """
    try:
        return pickle.loads(data)  # noqa: S301 (by the way on which executors send all they send)
    except (ImportError, AttributeError) as error:
        raise OptionError(
            f"a worker cannot make what was sent to it: {error}; what a run needs must be in files "
            "that workers can import too, or 'pip install cloudpickle' on both sides"
        ) from error


def metric_for_workers(metric: Metric) -> Portable:
    """A metric as its text; one that only this process knows is pickled."""
    parts = metric.metrics if isinstance(metric, MetricGroup) else (metric,)
    if all(part.origin or type(part).__module__.partition(".")[0] == "sycam" for part in parts):
        try:
            same = find_metric(metric.text)
            if type(same) is type(metric) and same.text == metric.text:
                return metric.text
        except SycamError:
            pass  # several goals have no text that is one metric
    return pickled(metric, f"metric {metric.text!r}", "write it in a file: FILE.py:NAME")


@lru_cache(_KEPT)
def metric_of(sent: Portable) -> Metric:
    """What :func:`metric_for_workers` was given."""
    return find_metric(sent) if isinstance(sent, str) else unpickled(sent)


def method_for_workers(method: Method) -> Portable:
    """A method as its name or expression; one that only this process knows is pickled."""
    try:
        if find_method(method.name) == method:
            return method.name
    except SycamError:
        pass
    return pickled(method, f"method {method.name!r}", "make its functions those of a module")


@lru_cache(_KEPT)
def method_of(sent: Portable) -> Method:
    """What :func:`method_for_workers` was given."""
    return find_method(sent) if isinstance(sent, str) else unpickled(sent)


expression_of = lru_cache(_KEPT)(parse)


def declared_operators() -> tuple[tuple[str, ...], bytes | None]:
    """The user's operators: files that declare them, and those that are declared elsewhere."""
    files, others = [], []
    for operator in filter(is_declared, OPERATORS.values()):
        module = operator.overloads[0].function.__module__
        file = getattr(sys.modules.get(module), "__file__", None)
        if module.startswith(_FILES) and file:
            files.append(str(Path(file).resolve()))
        else:
            others.append(operator)
    cure = f"declare them in a file, which {argument('operators')} names"
    names = ", ".join(operator.name for operator in others)
    sent = pickled(others, f"operators {names}", cure) if others else None
    return tuple(dict.fromkeys(files)), sent


def declare(files: tuple[str, ...], others: bytes | None) -> None:
    """Make the operators of :func:`declared_operators` known here."""
    for file in files:
        if _FILES + Path(file).stem not in sys.modules:  # as they are where a thread is the worker
            import_file(file, "operators", OptionError)
    for operator in unpickled(others) if others is not None else ():
        if operator.name not in OPERATORS:
            register(operator)
