"""A class for Captum."""

from __future__ import annotations

from sycam.export.class_template import ClassTemplate
from sycam.export.python_class import ClassTarget
from sycam.export.summaries import SUMMARIES

TARGET = ClassTarget(
    "captum",
    SUMMARIES["captum"],
    ClassTemplate(
        "libraries/captum.py",
        use="""It is a LayerAttribution of Captum:

    cam = NAME(model, model.get_submodule("LAYER"))
    maps = cam.attribute(images, target=classes, relu_attributions=True)
    maps = NAME.interpolate(maps, images.shape[2:], "bilinear")
    NoiseTunnel(cam).attribute(images, target=classes, nt_type="smoothgrad")
    sensitivity_max(lambda images, **more: (cam.attribute(images, **more),), images, target=classes)

Its maps have the layer's size and are not scaled, as all of Captum's.""",
    ),
    of_layers=ClassTemplate(
        "libraries/captum_of_layers.py",
        use="""It is a LayerAttribution of Captum:

    cam = NAME(model)
    maps = cam.attribute(images, target=classes, relu_attributions=True)
    maps = NAME.interpolate(maps, images.shape[2:], "bilinear")
    NoiseTunnel(cam).attribute(images, target=classes, nt_type="smoothgrad")

Its maps have the size of the finest of its layers and are not scaled.""",
    ),
)
