"""What a network's outputs may be said to be, as words."""

from __future__ import annotations

from sycam.errors import OptionError
from sycam.support.arguments import argument

SOFTMAX, SIGMOID = LINKS = ("softmax", "sigmoid")
AUTO, LOGITS, PROBABILITIES = FORMS = ("auto", "logits", "probabilities")


def parse_output(text: str) -> tuple[str, str | None]:
    """Form and link, None where it is not said, of a text like ``"probabilities:sigmoid"``.

    >>> parse_output("logits:sigmoid"), parse_output("sigmoid")
    (('logits', 'sigmoid'), ('auto', 'sigmoid'))

    Raises:
        OptionError: a text that is not understood.
    """
    form, _, link = text.partition(":") if isinstance(text, str) else ("", "", "")
    if form in LINKS and not link:
        form, link = AUTO, form
    if form not in FORMS or link not in (*LINKS, ""):
        raise OptionError(
            f"{argument('output')} {text!r} is not understood; expected 'auto', 'logits' or "
            "'probabilities', and as wanted ':softmax' (one class is right) or ':sigmoid' (each "
            "output is a label of its own), like 'logits:sigmoid'"
        )
    return form, link or None
