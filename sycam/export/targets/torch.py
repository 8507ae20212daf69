"""A class that needs torch alone."""

from __future__ import annotations

from sycam.export.class_template import ClassTemplate
from sycam.export.python_class import ClassTarget
from sycam.export.summaries import SUMMARIES
from sycam.heatmaps.heatmaps import finish

TARGET = ClassTarget(
    "torch",
    SUMMARIES["torch"],
    ClassTemplate(
        "standalone.py",
        helpers=(finish,),
        measures=True,
    ),
    of_layers=ClassTemplate(
        "standalone.py", helpers=(finish,), measures=True, differs="standalone_of_layers.py"
    ),
)
