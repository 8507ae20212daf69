"""A run as one page of HTML, complete in itself."""

from sycam.report.html.curves import keep_curves
from sycam.report.html.gallery import keep_gallery
from sycam.report.html.page import write_report

__all__ = ["keep_curves", "keep_gallery", "write_report"]
