"""How long a command may take: seconds, of which a part is kept for the held-out evidence, or
candidates."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from sycam.errors import OptionError
from sycam.support.arguments import argument

_UNITS = {"s": 1, "m": 60, "h": 3600}


@dataclass(frozen=True)
class Evidence:
    """What the held-out evidence takes.

    Attributes:
        kept: seconds that the search leaves for it.
        whole: seconds that all of it would take.
        least: seconds that the most important part would take.
        adaptive: seconds of both that the choice image by image would take.
    """

    kept: float = 0.0
    whole: float = 0.0
    least: float = 0.0
    adaptive: float = 0.0


def _nothing(_seconds: float) -> Evidence:
    return Evidence()


@dataclass
class Budget:
    """A limit in seconds of the whole command, or in candidates scored (with those before an
    interruption).

    Attributes:
        seconds: or None.
        candidates: or None.
        evidence: what comes after the search, by the seconds that one candidate takes on one
            search image.
    """

    seconds: float | None = None
    candidates: int | None = None
    evidence: Callable[[float], Evidence] = field(default=_nothing, repr=False, compare=False)
    _start: float = field(default_factory=time.monotonic, repr=False, compare=False)

    @classmethod
    def parse(cls, text: str | int) -> Budget:
        """``"90s"``, ``"5m"``, ``"2h"``, or a number of candidates; what ``str`` makes of one, too.

        >>> Budget.parse("5m").seconds
        300.0
        """
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)(?:\s*([smh])| candidates?)?\s*", str(text))
        if not match or float(match[1]) <= 0 or (not match[2] and "." in match[1]):
            raise OptionError(
                f"{argument('budget')} {text!r} is not understood; expected a time like 90s, 20m "
                "or 2h, or a number of candidates like 500"
            )
        if match[2]:
            return cls(seconds=float(match[1]) * _UNITS[match[2]])
        return cls(candidates=int(match[1]))

    @property
    def given(self) -> str:
        """As a user writes it: ``500``, ``90s``."""
        return str(self).partition(" ")[0]

    def started(self) -> Budget:
        """The budget with a clock that starts now."""
        return replace(self, _start=time.monotonic())

    @property
    def left(self) -> float:
        """Seconds to its end; infinite without a limit in time."""
        return math.inf if self.seconds is None else self.seconds - self.elapsed

    @property
    def spent(self) -> bool:
        """Whether its end in time is past."""
        return self.left < 0

    def for_search(self, pace: float) -> float:
        """Seconds from the start at which the search ends; infinite without a limit in time.

        Args:
            pace: seconds that one candidate takes on one image; 0 where it is not known yet.
        """
        if self.seconds is None:
            return math.inf
        return self.seconds - self.evidence(pace).kept

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._start

    def __str__(self) -> str:
        if self.seconds is not None:
            return f"{self.seconds:g}s"
        return f"{self.candidates} candidate{'' if self.candidates == 1 else 's'}"
