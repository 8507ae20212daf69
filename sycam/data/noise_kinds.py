"""The kinds of noise that images can be given, with their usual levels, as words and numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

GAUSSIAN, SALT_AND_PEPPER, SPECKLE, UNIFORM, BLUR = NOISES = (
    "gaussian",
    "salt-and-pepper",
    "speckle",
    "uniform",
    "blur",
)
LEVELS: Mapping[str, Sequence[float]] = {
    GAUSSIAN: (0.05, 0.15, 0.3),
    SALT_AND_PEPPER: (0.02, 0.1, 0.25),
    SPECKLE: (0.15, 0.4, 0.8),
    BLUR: (0.01, 0.03, 0.08),
}
