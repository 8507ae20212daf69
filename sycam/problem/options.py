"""What is explained and on which images, as options that validate themselves."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from sycam import networks, problem, targets  # rooms, whose types are not needed for --help
from sycam.errors import OptionError
from sycam.inference.precisions import FLOAT32
from sycam.networks.output_forms import AUTO, parse_output
from sycam.problem.shares import check_counts
from sycam.support.arguments import argument
from sycam.support.options import option


@dataclass(frozen=True, eq=False, kw_only=True)
class DataOptions:
    """Which images are searched on and which are held out.

    Attributes:
        search_images: how many images to search on; up to 64 if None, half of fewer than 128.
        heldout: how many of the other images to validate on, up to 256 of them if None; or those
            images themselves, in any form that images have.
        correct_only: leave images out that the network classifies wrongly; needs labels.
        labels: ``[N]`` true classes beside images that are a tensor.
        masks: ``[N,H,W]`` ground truth beside images that are a tensor.
        groups: what each image belongs to (a patient, a video): one per image beside a tensor or
            data set; the name of a ``.csv`` table's column or of an ``.npz`` file's array. No
            group is on both sides of the split.

    Raises:
        OptionError: a value that cannot be used.
    """

    search_images: int | None = option(
        None, "how many images to search on; by default 64, or half of what there is"
    )
    heldout: int | problem.Images | None = option(
        None,
        "how many images to validate on; by default 256, or what is left",
        flag="heldout_images",
        text=int | None,
    )
    correct_only: bool = option(
        False,
        "leave out images that the network classifies wrongly, and say how many; needs labels",
    )
    labels: problem.Labels | None = None
    masks: problem.Masks | None = None
    groups: str | Sequence[object] | None = None

    def __post_init__(self) -> None:
        check_counts(self.search_images, self.heldout)


def _numbers(name: str) -> Callable[[str | None], list[float] | None]:
    """Reads what is typed for one number or several."""

    def read(text: str | None) -> list[float] | None:
        if text is None:
            return None
        try:
            return [float(part) for part in text.split(",")]
        except ValueError:
            raise OptionError(
                f"{argument(name)} {text!r} is not understood; expected one number or several like "
                "0.485,0.456,0.406"
            ) from None

    return read


OWN = "; the network's own, where it is known"


@dataclass(frozen=True, kw_only=True)
class FileOptions:
    """How images are read from files.

    Attributes:
        labels: how a folder's subfolders are classes.
        masks: folder of PNG masks, of volumes NIfTI masks, named as the images.
        boxes: table of boxes.
        groups: column of a table, or array of an archive, that says what an image belongs to.
        mean, std: of the network's input scale; the network's own if None.
        size, resize, interpolation: of its preprocessing; the network's own if None.
        window: centre and width of the intensities of DICOM, NIfTI and sixteen-bit grey files that
            become 0 to 1.
        series: whether the DICOM files of one series are one volume.
    """

    labels: str = option(
        "auto",
        "how a FOLDER's subfolders are classes: names (as the network's), sorted (as "
        "torchvision's ImageFolder numbers them), numbers, none; auto: labels.csv, else names "
        "where they fit",
    )
    masks: Path | None = option(None, "folder of PNG (of volumes NIfTI) masks, named as the images")
    boxes: Path | None = option(None, "CSV of boxes: file,x0,y0,x1,y1 in pixels")
    groups: str | None = option(
        None,
        "column of FILE.csv, or array of FILE.npz, that says what an image belongs to (patient, "
        "video): no such group is on both sides of the split into search and held-out images",
        more={"metavar": "COLUMN"},
    )
    mean: Sequence[float] | None = option(
        None,
        f"subtracted after /255: one number or R,G,B{OWN}",
        text=str | None,
        read=_numbers("mean"),
    )
    std: Sequence[float] | None = option(
        None,
        f"divided by after the mean: one number or R,G,B{OWN}",
        text=str | None,
        read=_numbers("std"),
    )
    size: int | None = option(None, f"side of the square cut from the centre, in pixels{OWN}")
    resize: int | None = option(
        None, "what the short side is resized to before that; by default SIZE"
    )
    interpolation: str | None = option(
        None, f"of resizing: nearest, bilinear, bicubic, lanczos{OWN}"
    )
    window: Sequence[float] | None = option(
        None,
        "CENTRE,WIDTH of the intensities of DICOM, NIfTI and 16-bit grey files that become 0 to 1; "
        "by default a DICOM file's own, 0 to 65535 of grey pictures, and NIfTI files as they are",
        text=str | None,
        read=_numbers("window"),
    )
    series: bool = option(False, "the DICOM files of one series in a FOLDER are one volume")

    def given(self, without: Collection[str] = ()) -> dict[str, Any]:
        """Arguments of :func:`sycam.problem.images.open_source`: those that were given."""
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in without}
        return {k: value for k, value in values.items() if value is not None and value is not False}


@dataclass(frozen=True, eq=False, kw_only=True)
class ExplainOptions:
    """What a heatmap explains, and how the network is read.

    Attributes:
        target: ``"predicted"``, ``"label"``, one class, a target of :mod:`sycam.targets` or its
            text, or a callable from one row of outputs to a scalar (metrics then watch that
            scalar instead of a probability).
        output: what the network's outputs are: ``"logits"`` or ``"probabilities"``, each also
            with ``":softmax"`` (one class is right, as where nothing is said) or ``":sigmoid"``
            (each output is a label of its own, as in a network with one output). ``"auto"`` tells
            the form from the network's last step and its outputs on some images, never that
            logits are of several labels.
        reshape: makes the layers' outputs maps: ``"tokens:prefix=1,grid=8x16"``,
            ``"channels-last"``, ``"channels-first"``, ``"FILE.py:NAME"`` or a function to
            ``(N,K,h,w)``; ``"tokens"`` looks up prefix and grid. If None, or ``"auto"``, a pass of
            some images tells.
        fusion: of several layers: ``"mean"``, ``"max"``, ``"product"``, or one weight per layer.
        precision: of the network on perturbed images while searching: ``"float32"``, or
            ``"bfloat16"``, which is refused where it changes the ranking of the leaders among the
            published CAMs. Held-out figures are in float32.

    Raises:
        OptionError: a value that is not understood.
    """

    target: targets.Target = option(
        "predicted",
        "what is explained: predicted, label, a class, probability, rest or contrast, with "
        "options like contrast:of=label,references=3+5,gamma=0.6",
        text=str,
    )
    output: str = option(
        AUTO,
        "what the network returns: logits or probabilities, each also with :softmax (one class "
        "is right) or :sigmoid (every output is a label of its own), like logits:sigmoid; auto: "
        "told by its last step and its outputs",
    )
    reshape: networks.Reshape = option(
        None,
        "layout of the layer: auto, channels-first, channels-last, tokens:prefix=1,grid=8x16, or a "
        "function FILE.py:NAME to (N,K,h,w)",
        text=str | None,
    )
    fusion: str | Sequence[float] = option(
        "mean", "of several layers: mean, max, product, or weights 0.3,0.7", text=str
    )
    precision: str = option(
        FLOAT32, "of the network while searching: float32 or bfloat16 (verified)", group="Device"
    )

    def __post_init__(self) -> None:
        parse_output(self.output)
