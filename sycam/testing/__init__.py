"""Checks that users run on what they add to SyCAM, the same as its own tests run."""

from sycam.testing.metrics import MetricReport, check_metric, isolated_metrics
from sycam.testing.operators import OperatorReport, check_operator, isolated_operators

__all__ = [
    "MetricReport",
    "OperatorReport",
    "check_metric",
    "check_operator",
    "isolated_metrics",
    "isolated_operators",
]
