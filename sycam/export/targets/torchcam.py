"""A class for TorchCAM."""

from __future__ import annotations

from sycam.export.class_template import ClassTemplate
from sycam.export.python_class import ClassTarget
from sycam.export.summaries import SUMMARIES
from sycam.heatmaps.heatmaps import is_degenerate

TARGET = ClassTarget(
    "torchcam",
    SUMMARIES["torchcam"],
    ClassTemplate(
        "libraries/torchcam.py",
        helpers=(is_degenerate,),
        use="""It is an extractor of TorchCAM, and works wherever TorchCAM takes one:

    with NAME(model, "LAYER") as extractor:
        scores = model(images)
        (maps,) = extractor(scores.argmax(1).tolist(), scores)
    RefineCAM(model, layers, base_method=NAME)

Its maps have the layer's size, as all of TorchCAM's.""",
    ),
    of_layers=ClassTemplate(
        "libraries/torchcam_of_layers.py",
        helpers=(is_degenerate,),
        use="""It is an extractor of TorchCAM, and works wherever TorchCAM takes one:

    with NAME(model) as extractor:
        scores = model(images)
        (maps,) = extractor(scores.argmax(1).tolist(), scores)

Its maps have the size of the finest of its layers.""",
    ),
    reshapes=True,
)
