"""A function for Quantus, with the class that it calls."""

from __future__ import annotations

from sycam.export.class_template import ClassTemplate
from sycam.export.python_class import ClassTarget
from sycam.export.summaries import SUMMARIES
from sycam.heatmaps.heatmaps import finish

TARGET = ClassTarget(
    "quantus",
    SUMMARIES["quantus"],
    ClassTemplate(
        "standalone.py",
        helpers=(finish,),
        measures=True,
        ends="libraries/quantus.py",
        use="""explain is an explain_func of Quantus, by default for layer LAYER:

    metric(model, x_batch, y_batch, explain_func=explain, explain_func_kwargs={"layer": ...})""",
    ),
    of_layers=ClassTemplate(
        "standalone.py",
        helpers=(finish,),
        measures=True,
        differs="standalone_of_layers.py",
        ends="libraries/quantus_of_layers.py",
        use="""explain is an explain_func of Quantus, by default for the layers in LAYERS:

    metric(model, x_batch, y_batch, explain_func=explain, explain_func_kwargs={"layers": [...]})""",
    ),
)
