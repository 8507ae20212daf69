"""Published CAMs as expressions, baselines, controls, and the reusable CAM class."""

from sycam.methods.cam import CAM
from sycam.methods.method import KINDS, Method
from sycam.methods.published import (
    ALWAYS,
    HABIT,
    METHODS,
    find_expression,
    find_method,
    is_habit,
    shown_methods,
)

__all__ = [
    "ALWAYS",
    "CAM",
    "HABIT",
    "KINDS",
    "METHODS",
    "Method",
    "find_expression",
    "find_method",
    "is_habit",
    "shown_methods",
]
