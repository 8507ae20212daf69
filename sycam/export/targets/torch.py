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
        use="""It needs torch alone:

    with NAME(network, "LAYER") as cam:
        heatmaps = cam(images)  # Tensor[N,H,W] in [0, 1]""",
    ),
    of_layers=ClassTemplate(
        "standalone.py",
        helpers=(finish,),
        measures=True,
        differs="standalone_of_layers.py",
        use="""It needs torch alone, and finds its layers by their names:

    with NAME(network) as cam:
        heatmaps = cam(images)  # Tensor[N,H,W] in [0, 1]""",
    ),
)
