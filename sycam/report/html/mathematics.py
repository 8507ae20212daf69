"""A formula for readers: MathML that browsers set by themselves."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from latex2mathml.converter import convert
from markupsafe import Markup, escape

_WORD = re.compile(r"\\mathrm\{([A-Za-z]{2,})\}")
_TEXT = re.compile(r"\\text\{[^{}]*\}")
_SPACE = "{http://www.w3.org/1998/Math/MathML}"
_ELEMENTS = frozenset(
    ("math", "mrow", "mi", "mo", "mn", "mtext", "msub", "msup", "msubsup", "mfrac", "msqrt",
     "mroot", "mover", "munder", "munderover", "mspace", "mtable", "mtr", "mtd", "mstyle")
)  # fmt: skip
_ATTRIBUTES = frozenset(
    ("display", "displaystyle", "mathvariant", "stretchy", "fence", "form", "accent")
)
_SUMS = {"∑", "∏", "max", "min"}  # what is summed over stands below them


def mathml(latex: str) -> Markup:
    """A formula in LaTeX as a MathML element, set as a display.

    Only the elements and attributes of set mathematics are kept, whatever LaTeX a user's operator
    declares; what cannot be converted is shown as LaTeX.

    >>> str(mathml("x_k"))[:5]
    '<math'
    """
    try:
        # The converter sets \mathrm letter by letter, which would be read out so.
        read = _WORD.sub(r"\\operatorname{\1}", latex)
        # A layer's underscore, which LaTeX wants escaped, it would set with its backslash.
        read = _TEXT.sub(lambda found: found[0].replace(r"\_", "_"), read)
        made = convert(read, display="block")
        return _kept(ElementTree.fromstring(made))
    except Exception:  # whatever the converter makes of LaTeX that it does not know
        return Markup("<code>{}</code>").format(latex)


def _kept(node: ElementTree.Element) -> Markup:
    """The element rebuilt from what is allowed; of others their text."""
    name = node.tag.removeprefix(_SPACE)
    inside = escape(node.text or "")
    for child in node:
        inside += _kept(child) + escape(child.tail or "")
    if name not in _ELEMENTS:
        return inside
    if name == "msub" and len(node) and "".join(node[0].itertext()).strip() in _SUMS:
        name = "munder"
    attributes = Markup("").join(
        Markup(' {}="{}"').format(key, value)
        for key, value in node.attrib.items()
        if key in _ATTRIBUTES
    )
    return Markup("<{0}{1}>{2}</{0}>").format(Markup(name), attributes, inside)
