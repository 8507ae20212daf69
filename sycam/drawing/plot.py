"""One figure that a notebook shows; matplotlib is not imported before there is one."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

from sycam.errors import OptionError, RunError
from sycam.support.files import write_whole

GREY = "#7a7a7a"  # 4.3 to 1 against white as well as against the report in the dark


class Figure(Protocol):
    """What is used of :class:`matplotlib.figure.Figure`."""

    canvas: Any
    patch: Any

    def findobj(self, match: Any) -> list[Any]: ...

    def savefig(self, fname: IO[bytes], *, format: str, dpi: int) -> None: ...


@dataclass(frozen=True)
class Plot:
    """A picture of a result, which a notebook shows.

    Attributes:
        figure: a :class:`matplotlib.figure.Figure`, to change or to save in another format.
    """

    figure: Figure

    def save(self, path: str | Path) -> Path:
        """Write it; the file's ending says in which of matplotlib's formats.

        Raises:
            OptionError: the ending is none of them.
            RunError: the file cannot be written.
        """
        return written(self.figure, Path(path))

    def _repr_png_(self) -> bytes:
        held = io.BytesIO()
        self.figure.savefig(held, format="png", dpi=110)
        return held.getvalue()


def on_any_ground(figure: Figure) -> None:
    """Make a figure of images readable on light and on dark pages: it has no ground of its own, and
    its texts are of a grey that stands out from both."""
    from matplotlib.text import Text

    figure.patch.set_alpha(0)
    for text in figure.findobj(Text):
        text.set_color(GREY)


def written(figure: Figure, path: Path, within: Path | None = None) -> Path:
    """Write a figure in the format that the file's ending says.

    Args:
        figure: of matplotlib.
        path: the file.
        within: the run's folder, see :func:`sycam.support.files.write_whole`.

    Raises:
        OptionError: it is none of matplotlib's.
        RunError: the file cannot be written.
    """
    known = figure.canvas.get_supported_filetypes()
    kind = path.suffix[1:].lower()
    if kind not in known:
        raise OptionError(
            f"picture '{path}' ends in {path.suffix!r}, which is no format that can be written; "
            f"expected one of {', '.join(f'.{kind}' for kind in known)}"
        )
    try:
        write_whole(path, lambda file: figure.savefig(file, dpi=130, format=kind), within=within)
    except OSError as error:
        raise RunError(f"cannot write picture '{path}': {error}") from None
    return path
