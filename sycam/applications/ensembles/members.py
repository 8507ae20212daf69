"""Which CAMs may vote."""

from __future__ import annotations

from collections.abc import Sequence

from sycam.applications.cams import ALL, ELEVEN, Given, Named, named
from sycam.errors import OptionError
from sycam.events import Note, Notify
from sycam.methods import ALWAYS, METHODS
from sycam.support.arguments import argument


def members_of(given: Sequence[Given] | Given | None, notify: Notify) -> list[Named]:
    """What may vote; of those that go by one name the first.

    Args:
        given: names of ``sycam methods`` (``"layer-cam@layer4"`` at a layer), formulas, folders of
            runs or their results, whose winners are meant, or ``"eleven"``; None for those of the
            eleven that make no forward pass for each channel.
        notify: is told what was left out.

    Raises:
        UnknownNameError, ExpressionError, RunError: something that is none of these.
        OptionError: fewer than two members.
    """
    if given is None:
        kept = [name for name in ELEVEN if METHODS[name].leaves <= ALWAYS]
        left = [name for name in ELEVEN if name not in kept]
        notify(
            Note(
                f"left out: {' and '.join(left)}, which take a forward pass for each channel and "
                f"image; {argument('members', ALL)} takes all eleven"
            )
        )
        given = kept
    found = named(given)
    if len(found) < 2:
        said = ", ".join(one.method.name for one in found) or "none"
        raise OptionError(
            f"{argument('members')} must be two or more that can agree, got {said}; {ALL!r} stands "
            "for the eleven of the paper"
        )
    return found
