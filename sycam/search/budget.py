"""How long a search may go on: seconds or candidates."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field

from sycam.errors import OptionError
from sycam.support.arguments import argument

_UNITS = {"s": 1, "m": 60, "h": 3600}


@dataclass
class Budget:
    """A limit in seconds, or in candidates scored (with those before an interruption).

    Attributes:
        seconds: or None.
        candidates: or None.
    """

    seconds: float | None = None
    candidates: int | None = None
    _start: float = field(default_factory=time.monotonic)

    @classmethod
    def parse(cls, text: str | int) -> Budget:
        """``"90s"``, ``"5m"``, ``"2h"``, or a number of candidates.

        >>> Budget.parse("5m").seconds
        300.0
        """
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([smh]?)\s*", str(text))
        if not match or float(match[1]) <= 0 or (not match[2] and "." in match[1]):
            raise OptionError(
                f"{argument('budget')} {text!r} is not understood; expected a time like 90s, 20m "
                "or 2h, or a number of candidates like 500"
            )
        if match[2]:
            return cls(seconds=float(match[1]) * _UNITS[match[2]])
        return cls(candidates=int(match[1]))

    def start(self) -> None:
        """Start the clock."""
        self._start = time.monotonic()

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._start

    def spent(self, scored: int, next_seconds: float = 0.0) -> bool:
        """Whether the budget would be exceeded by work that takes ``next_seconds`` more."""
        if self.seconds is not None:
            return self.elapsed + next_seconds > self.seconds
        return scored >= self.candidates

    def __str__(self) -> str:
        if self.seconds is not None:
            return f"{self.seconds:g}s"
        return f"{self.candidates} candidates"
