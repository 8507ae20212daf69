"""A class for pytorch-grad-cam."""

from __future__ import annotations

from sycam.export.class_template import ClassTemplate
from sycam.export.python_class import ClassTarget
from sycam.export.summaries import SUMMARIES
from sycam.heatmaps.heatmaps import finish

TARGET = ClassTarget(
    "grad-cam",
    SUMMARIES["grad-cam"],
    ClassTemplate(
        "libraries/grad_cam.py",
        helpers=(finish,),
        by_maps=True,  # whose eigen_smooth looks at the channels
        use="""It is a BaseCAM of pytorch-grad-cam, and works wherever the package takes one:

    with NAME(model, [model.get_submodule("LAYER")]) as cam:
        heatmaps = cam(images, targets=None)
    FinerCAM(model, layers, base_method=NAME)
    RefineCAM(model, layers, base_method=NAME)""",
    ),
    of_layers=ClassTemplate(
        "libraries/grad_cam_of_layers.py",
        helpers=(finish,),
        use="""It is a BaseCAM of pytorch-grad-cam; RefineCAM, which gives one layer at a time, is
refused:

    with NAME(model) as cam:
        heatmaps = cam(images, targets=None)
    FinerCAM(model, None, base_method=NAME)""",
    ),
    several_layers=True,
    reshapes=True,
)
