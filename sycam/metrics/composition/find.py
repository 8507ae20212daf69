"""Text to metrics: a name, a name with options, a user's file, or a formula of these.

The text is parsed by Lark and never evaluated; a user's file is run, as a network's is.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from fractions import Fraction
from functools import lru_cache
from importlib.resources import files
from inspect import isabstract
from pathlib import Path
from types import ModuleType

from lark import Lark, Token, Tree
from lark.exceptions import UnexpectedInput

from sycam.errors import OptionError, SycamError, UnknownNameError, unknown_name
from sycam.language.parsing import caret, complaint, pointed
from sycam.language.parsing import quoted as shortened
from sycam.metrics.adapters.quantus import PREFIX, quantus_metric
from sycam.metrics.adapters.torchmetrics import pair_metric
from sycam.metrics.base import METRICS, Metric
from sycam.metrics.composition.composite import Call, Composite, Mixture, Term
from sycam.metrics.functions import FUNCTIONS
from sycam.metrics.option_text import bare_or_quoted, read_option, split, unquoted, written
from sycam.networks.sources.user_file import import_file
from sycam.support.files import TEXT, read_plain
from sycam.support.permission import permit

LONGEST = 2000  # characters
_EXPECTED = (
    "a metric like road, road:noise=0, quantus:NAME, FILE.py:NAME ('FILE.py':NAME with spaces in "
    "it) or a formula like 0.7*road + 0.3*iou"
)
_DEEPEST = 100  # levels of nesting, each term of a sum being one
_PLAIN_PATH = re.compile(r"[^\s()*,+:='\"-][^\s()*,+:='\"]*\.py")
_FILE = re.compile(r"(?P<path>'[^']*'|\"[^\"]*\"|[^:]*):(?P<name>\w+)(?::(?P<options>.*))?", re.S)
_OPTION_BEGUN = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*\Z")
_imported: dict[tuple[Path, str], ModuleType] = {}


def find_metric(text: str | Metric | Callable) -> Metric:
    """The metric that ``text`` writes down; a metric is given back as it is.

    Args:
        text: a name of ``sycam metrics`` (``road``); with options, ``name:option=value,...``
            (``road:noise=0,percentiles=20+40``); one of your own in a file,
            ``path/to/file.py:name`` (the file is run); one of Quantus, ``quantus:PixelFlipping``;
            or a formula of these, such as
            ``0.7*road + 0.3*iou``, ``harmonic(road, iou)``, ``min(road, iou)`` or
            ``1 - deletion``. A minus has spaces around it, as names hold hyphens. A function
            declared with ``@sycam.metric`` stands for its metric.

    Raises:
        OptionError: text that is no metric (with a caret under the place), or an option's value.
        UnknownNameError: a metric, option or function that does not exist, with the nearest names.

    >>> find_metric("0.7*road:noise=0.0 + .3 * iou").text
    '0.7*road:noise=0 + 0.3*iou'
    """
    if isinstance(text, Metric):
        return text
    if kind := _declared(text):
        return kind()
    if not isinstance(text, str):
        if kind := pair_metric(text):
            return _with_options(kind, "")
        raise OptionError(
            "a metric is a name, a formula of names, a sycam.metrics.Metric, something with "
            "update(preds, target), compute() and reset(), or a function of preds and target, got "
            f"{text!r}"
        )
    if text in METRICS:
        return METRICS[text]()
    mixture = _mixture(text)
    if mixture.constant == 0 and len(mixture.weighted) == 1:
        ((weight, part),) = mixture.weighted
        if weight == 1 and isinstance(part, Term):
            return part.metric
    try:
        return Composite(mixture)
    except SycamError as error:
        raise type(error)(f"in metric {shortened(text)}: {error}") from None


@lru_cache(maxsize=1)
def _parser() -> Lark:
    text = files(__package__).joinpath("metric_formula.lark").read_text(encoding="utf-8")
    return Lark(text, parser="lalr", strict=True, propagate_positions=True)


def _mixture(text: str) -> Mixture:
    if len(text) > LONGEST:
        raise OptionError(f"metric of {len(text)} characters is too long (at most {LONGEST})")
    try:
        tree = _parser().parse(text)
    except UnexpectedInput as error:
        raise OptionError(
            f"cannot read metric {shortened(text)}: "
            f"{_half_an_option(text, error) or f'{complaint(error)}; expected {_EXPECTED}'}\n"
            f"{caret(text, error)}"
        ) from None
    mixture = _read(tree, text.split("\n"), 1)
    if len(mixture.text) > LONGEST:
        raise OptionError(f"metric is too long, written out (at most {LONGEST} characters)")
    return mixture


def _half_an_option(text: str, error: UnexpectedInput) -> str:
    """What to write where Lark stumbled over a metric's colon; empty anywhere else."""
    place = error.pos_in_stream or 0
    begun = _OPTION_BEGUN.search(text[:place])
    if not text.startswith(":", place) or begun is None or begun[0] not in METRICS:
        return ""
    name = begun[0]
    known = METRICS[name].parameters()
    if not known:
        return f"metric {name!r} has no options; leave out the colon"
    named = re.match(r":\s*(\w*)", text[place:])[1]
    option = named if named in known else next(iter(known))
    return (
        f"an option needs a value, like {name}:{option}={written(known[option].default)}; "
        f"options of {name}: {', '.join(known)}"
    )


def _read(tree: Tree, lines: list[str], depth: int) -> Mixture:
    """The formula of a parsed text; an error is shown with its place."""
    if depth > _DEEPEST:
        raise OptionError(f"metric is nested more than {_DEEPEST} levels deep")
    words = [str(child) for child in tree.children if isinstance(child, Token)]
    inside = [_read(child, lines, depth + 1) for child in tree.children if isinstance(child, Tree)]
    try:
        return _formula(tree.data, words, inside)
    except SycamError as error:
        place = pointed(lines[tree.meta.line - 1], tree.meta.column)
        raise type(error)(f"{error}\n{place}") from None


def _formula(kind: str, words: list[str], inside: list[Mixture]) -> Mixture:
    if kind == "number":
        return Mixture(Fraction(words[0]))
    if kind == "metric":
        return _alone(Term(_named(words[0])))
    if kind == "file":
        return _alone(Term(_from_file(words[0])))
    if kind == "quantus":
        return _alone(Term(_of_quantus(words[0])))
    if kind == "call":
        if words[0] not in FUNCTIONS:
            listing = "; ".join(f"{name}: {f.meaning}" for name, f in FUNCTIONS.items())
            raise unknown_name("function of metrics", words[0], FUNCTIONS, listing)
        return _alone(Call(words[0], tuple(inside)))
    if kind == "negate":
        return inside[0] * Fraction(-1)
    first, second = inside
    if kind == "add":
        return first + second
    if kind == "subtract":
        return first + second * Fraction(-1)
    if kind == "divide":
        if second.weighted or not second.constant:
            raise OptionError(
                f"{second.text} cannot divide; metrics are divided by numbers other than 0"
            )
        return first * (1 / second.constant)
    if first.weighted and second.weighted:
        raise OptionError(
            f"{first.text} cannot be multiplied by {second.text}: metrics are multiplied by "
            f"numbers; harmonic({first.text}, {second.text}) asks for both"
        )
    return second * first.constant if second.weighted else first * second.constant


def _alone(part: Term | Call) -> Mixture:
    return Mixture(Fraction(0), ((Fraction(1), part),))


def _named(reference: str) -> Metric:
    """The metric of a name with options."""
    name, _, options = reference.partition(":")
    if name in METRICS:
        return _with_options(METRICS[name], options)
    if name + ":" == PREFIX:
        quantus_metric("")
    error = unknown_name("metric", name, METRICS, "sycam metrics lists all")
    for hyphen in re.finditer("-", name):
        first, second = name[: hyphen.start()], name[hyphen.end() :]
        if first in METRICS and second in METRICS:
            raise UnknownNameError(f"{error}; a minus needs spaces around it: {first} - {second}")
    raise error


def _from_file(reference: str) -> Metric:
    """The metric of ``FILE.py:NAME`` with options; the file is run, once for each content."""
    path, name, options = _FILE.fullmatch(reference).groups("")
    path = Path(unquoted(path))
    names = vars(_module(path))
    known = {
        n: kind
        for n, value in names.items()
        if (kind := _declared(value) or pair_metric(value, n)) is not None
    }
    if name not in known:
        if name in names:
            raise OptionError(
                f"{name!r} in '{path}' is no metric; declare the function with @sycam.metric, or "
                "call its first parameters preds and target as torchmetrics does"
            )
        raise unknown_name(f"metric in '{path}'", name, known)
    metric = _with_options(known[name], options)
    metric.origin = f"{bare_or_quoted(path.as_posix(), _PLAIN_PATH)}:{name}"
    return metric


def _of_quantus(reference: str) -> Metric:
    """The metric of ``quantus:NAME`` with options."""
    name, _, options = reference.removeprefix(PREFIX).partition(":")
    return _with_options(quantus_metric(name), options)


def _declared(value: object) -> type[Metric] | None:
    """The metric of a function declared with ``@sycam.metric``, or that a class is."""
    kind = value if isinstance(value, type) else getattr(value, "metric", None)
    usable = isinstance(kind, type) and issubclass(kind, Metric) and not isabstract(kind)
    return kind if usable else None


def _module(path: Path) -> ModuleType:
    path = path.expanduser()
    permit(path, "metric")  # before it is read, and where it was imported before
    try:
        key = (path.resolve(), hashlib.sha256(read_plain(path, TEXT)).hexdigest())
    except OSError as error:
        raise OptionError(
            f"metric file '{path}' cannot be read: {error.strerror or error}"
        ) from None
    if key not in _imported:
        _imported[key] = import_file(path, "metric", OptionError)
    return _imported[key]


def _with_options(kind: type[Metric], text: str) -> Metric:
    known, given = kind.parameters(), {}
    for option in split(text, ","):
        name, _, value = option.partition("=")
        if not known:
            raise UnknownNameError(f"metric {kind.name!r} has no options, got {option!r}")
        if name not in known:
            raise unknown_name(f"{kind.name} option", name, known)
        if name in given:
            raise OptionError(f"option {name!r} of metric {kind.name!r} is given twice")
        given[name] = read_option(name, value, known[name])
    try:
        return kind(**given)
    except SycamError as error:
        raise type(error)(f"metric {kind.name!r}: {error}") from None
    except Exception as error:
        raise OptionError(
            f"metric {kind.name!r} refuses {text or 'its defaults'}: "
            f"{type(error).__name__}: {error}"
        ) from error
