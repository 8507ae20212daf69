"""Large tensors on disk: mapped into memory, so that they may be larger than it."""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import torch
from torch import Tensor

from sycam.errors import DataError, OptionError

VARIABLE = "SYCAM_MEMORY"
UNITS = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
SHARE = 8  # of the machine's memory, one tensor may take one part in so many
# What a container may use, by the second version of Linux's control groups and by the first.
_CGROUPS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)


def limit() -> int:
    """Bytes above which a tensor is kept on disk: ``$SYCAM_MEMORY``, else an eighth of memory.

    Raises:
        OptionError: the variable holds no size.
    """
    text = os.environ.get(VARIABLE)
    if text is None:
        return memory() // SHARE
    number = text.strip().lower().removesuffix("b").removesuffix("i")
    unit = UNITS.get(number[-1:])
    try:
        return int(float(number[:-1] if unit else number) * (unit or 1))
    except ValueError:
        raise OptionError(f"{VARIABLE} is {text!r}; expected a size like 800M or 4G") from None


def memory() -> int:
    """Bytes of memory that this process may use."""
    try:
        machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # no POSIX
        machine = 8 << 30
    for file in _CGROUPS:
        with suppress(OSError, ValueError):  # no container, or "max"
            machine = min(machine, int(file.read_text()))
    return machine


def blank(
    shape: Sequence[int],
    dtype: torch.dtype,
    device: torch.device | str = "cpu",
    most: int | None = None,
) -> Tensor:
    """A tensor to be filled; on the CPU and above ``most`` bytes, :func:`limit` if None, it lies in
    a file.

    The file is in the folder for temporary files (``$TMPDIR``) and has no name, so that it goes
    with the tensor; the system writes and reads its pages as memory allows.

    Raises:
        DataError: there is no room for it on that disk.
    """
    size = math.prod(shape)
    if torch.device(device).type != "cpu" or size * dtype.itemsize <= (
        limit() if most is None else most
    ):
        return torch.empty(tuple(shape), dtype=dtype, device=device)
    handle, path = tempfile.mkstemp(prefix="sycam-")
    try:
        _reserve(handle, size * dtype.itemsize)
        return torch.from_file(path, shared=True, size=size, dtype=dtype).view(tuple(shape))
    finally:
        os.close(handle)
        os.unlink(path)


def _reserve(handle: int, size: int) -> None:
    """Take the room on the disk now: to find it full later, at a page, would end the process."""
    try:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(handle, 0, size)
        else:
            os.truncate(handle, size)
    except OSError as error:
        raise DataError(
            f"a tensor of {size / UNITS['g']:.2f} GiB is to lie on disk, but "
            f"{tempfile.gettempdir()} has no room ({error.strerror}); set TMPDIR to a "
            f"folder on a larger disk, take fewer images, or let it stay in memory by a higher "
            f"{VARIABLE}"
        ) from error
