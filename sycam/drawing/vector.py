"""A figure as SVG that stands within a page, in the page's own colours and fonts."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from xml.etree import ElementTree

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from sycam.support.text.terminal import printable

_SPACE = "{http://www.w3.org/2000/svg}"
_LINK = "{http://www.w3.org/1999/xlink}href"
_POINTS = 72  # an inch, in units of the SVG
_FONT = re.compile(r"font: ([\d.]+)px ([^;]*)")
_REFERENCE = re.compile(r"url\(#([^)]*)\)")


def inline_svg(
    figure: Figure, name: str, alt: str, colours: Mapping[str, str], part: Axes | None = None
) -> str:
    """The figure as an ``<svg>`` element that fills the width of what holds it.

    Texts stay texts; the fonts are the page's.

    Args:
        figure: to write, in colours of ``#rrggbb``; it loses its ground.
        name: unique in the page; ids begin with it.
        alt: what it shows, for who does not see it.
        colours: ``#rrggbb`` as matplotlib writes it to what CSS takes, like ``var(--ink)``; others
            stay. Text without a colour of its own has the page's.
        part: the axis that is shown, with its labels; the whole figure if None.
    """
    held = io.BytesIO()
    for ground in (figure.patch, *(axis.patch for axis in figure.axes)):
        ground.set_alpha(0)
    others = [one for one in figure.get_children() if part is not None and one is not part]
    shown = [one.get_visible() for one in others]
    for one in others:
        one.set_visible(False)
    # Of a fixed salt, so that the same result makes the same page.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        # Not by savefig, which draws once more before.
        FigureCanvasSVG(figure).print_svg(held, metadata={"Date": None})
    for one, visible in zip(others, shown, strict=True):
        one.set_visible(visible)
    # Names of a run that somebody else made may hold what no XML can.
    root = ElementTree.fromstring(printable(held.getvalue().decode(), lines=True))
    for parent in list(root.iter()):
        for child in list(parent):
            # The style sheet would hold for the whole page.
            if child.tag in (f"{_SPACE}metadata", f"{_SPACE}style"):
                parent.remove(child)
    for element in root.iter():
        element.tag = element.tag.removeprefix(_SPACE)
        _adapt(element, name, colours)
    box = root.attrib["viewBox"] if part is None else _box(figure, part)
    root.attrib.clear()
    root.attrib.update({"viewBox": box, "role": "img", "aria-label": alt,
                        "stroke-linejoin": "round", "stroke-linecap": "butt"})  # fmt: skip
    return ElementTree.tostring(root, encoding="unicode")


def _box(figure: Figure, part: Axes) -> str:
    """The viewBox of an axis with its labels, in points from the upper left corner."""
    scale = _POINTS / figure.dpi
    found = part.get_tightbbox().padded(2 / scale)
    height = figure.get_figheight() * _POINTS
    edges = found.x0 * scale, height - found.y1 * scale, found.width * scale, found.height * scale
    return " ".join(f"{edge:.1f}" for edge in edges)


def _adapt(element: ElementTree.Element, name: str, colours: Mapping[str, str]) -> None:
    """Colours, fonts and ids of one element."""
    attributes = element.attrib
    if link := attributes.pop(_LINK, None):
        attributes["href"] = f"#{name}-{link.removeprefix('#')}"
    if "id" in attributes:
        attributes["id"] = f"{name}-{attributes['id']}"
    for key in ("style", "clip-path", "fill", "stroke"):
        if key not in attributes:
            continue
        value = _REFERENCE.sub(rf"url(#{name}-\1)", attributes[key])
        value = _FONT.sub(_font, value)
        attributes[key] = re.sub(
            "#[0-9a-f]{6}", lambda found: colours.get(found[0], found[0]), value
        )


def _font(found: re.Match[str]) -> str:
    family = "; font-family: ui-monospace, monospace" if "monospace" in found[2] else ""
    return f"font-size: {found[1]}px{family}"
