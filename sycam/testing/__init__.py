"""Checks that users run on what they add to SyCAM, the same as its own tests run."""

from sycam.testing.operators import OperatorReport, check_operator, isolated_operators

__all__ = ["OperatorReport", "check_operator", "isolated_operators"]
