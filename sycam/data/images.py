"""Images ready for a network, with labels and ground truth where they are known."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sycam.data.archive import read_archive
from sycam.data.folder import read_files, read_folder
from sycam.data.raw import RawImages
from sycam.data.splits import choose, split
from sycam.errors import DataError, OptionError

__all__ = ["ImageSet", "choose", "load_files", "load_images", "split"]


@dataclass(frozen=True, eq=False)
class ImageSet:
    """N images of one size, in the network's input scale.

    Attributes:
        images: float32 ``[N, C, H, W]``, finite.
        labels: int64 ``[N]``, from 0 on; or None.
        masks: bool ``[N, H, W]``, true on the object; or None.
        names: file names, or ``npz[12]``; length N.
        mean: length C; ``images * std + mean`` lies in 0..1 and is the picture.
        std: length C.
        skipped: one line an image, or kind of image, that was left out.
        origin: arguments of :func:`load_images` that read them, or None.
    """

    images: Tensor
    labels: Tensor | None
    masks: Tensor | None
    names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    skipped: tuple[str, ...] = ()
    origin: Mapping[str, Any] | None = None

    def __len__(self) -> int:
        return len(self.images)

    @cached_property
    def digests(self) -> tuple[str, ...]:
        """SHA-256 of each image's float32 values, as hexadecimal text."""
        return tuple(
            hashlib.sha256(image.cpu().contiguous().numpy().astype("<f4").tobytes()).hexdigest()
            for image in self.images
        )

    def subset(self, indices: Iterable[int]) -> ImageSet:
        """The images at these indices, in this order; ``skipped`` stays as it is."""
        indices = [int(i) for i in indices]
        picked = torch.tensor(indices, dtype=torch.long, device=self.images.device)
        return replace(
            self,
            images=self.images[picked],
            labels=None if self.labels is None else self.labels[picked],
            masks=None if self.masks is None else self.masks[picked],
            names=tuple(self.names[i] for i in indices),
        )

    def picture(self, i: int) -> np.ndarray:
        """Image ``i`` as a picture to look at: uint8 ``[H, W, 3]``, mean and std undone.

        Of a volume it is the slice in the middle.
        """
        image = self.images[i].cpu().double()
        if image.ndim == 4:
            image = image[:, image.shape[1] // 2]
        mean = torch.tensor(self.mean, dtype=torch.float64)[:, None, None]
        std = torch.tensor(self.std, dtype=torch.float64)[:, None, None]
        values = image * std + mean
        if len(values) != 3:  # grey, or more channels than a picture can show
            values = values.mean(0, keepdim=True).expand(3, -1, -1)
        values = (values * 255).round().clamp(0, 255).to(torch.uint8)
        return values.permute(1, 2, 0).contiguous().numpy()

    @classmethod
    def from_arrays(
        cls,
        images: Tensor | np.ndarray,
        labels: Tensor | np.ndarray | Sequence[int] | None = None,
        masks: Tensor | np.ndarray | None = None,
        names: Sequence[str] | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
    ) -> ImageSet:
        """Take images that are in the network's input scale already.

        Args:
            images: floating point ``[N, C, H, W]``, or volumes ``[N, C, D, H, W]``. Kept on its
                device; not copied where it is
                float32 already, so do not change it afterwards.
            labels: whole numbers ``[N]`` from 0 on.
            masks: ``[N, H, W]`` (``[N, D, H, W]``), not zero = object.
            names: one an image; default ``image[0]``, ``image[1]`` ...
            mean: what was subtracted after the pixels were scaled to 0..1; 1 or C numbers.
                It serves only to draw pictures. When mean and std are both left out, values
                within 0..1 are drawn as they are, and others by their range over all images.
            std: what the result was divided by; 1 or C numbers.

        Raises:
            DataError: another shape or type, NaN or infinite values, lengths that differ.
            OptionError: mean or std of another length, or std not above 0.

        Example:
            >>> image_set = ImageSet.from_arrays(torch.zeros(2, 3, 8, 8), labels=[1, 0])
            >>> len(image_set), image_set.names
            (2, ('image[0]', 'image[1]'))
        """
        images = _image_tensor(images)
        count, channels = images.shape[:2]
        if mean is None and std is None:
            centre, spread = _drawing_range(images)
        else:
            centre, spread = _scale(mean, std, channels)
        names = tuple(f"image[{i}]" for i in range(count)) if names is None else tuple(names)
        if len(names) != count:
            raise DataError(f"{len(names)} names for {count} images")
        return cls(
            images=images,
            labels=None if labels is None else _label_tensor(labels, images),
            masks=None if masks is None else _mask_tensor(masks, images),
            names=names,
            mean=centre,
            std=spread,
        )


def load_images(
    source: str | Path,
    *,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    size: int | None = None,
    masks: str | Path | None = None,
    boxes: str | Path | None = None,
) -> ImageSet:
    """Read a folder of images or an ``.npz`` file into the network's input scale.

    Pixels are divided by 255, then mean is subtracted and std divides. A folder is read as RGB,
    or as grey when ``mean`` has one entry (and ``std`` not more). See
    :func:`sycam.data.folder.read_folder` and :func:`sycam.data.archive.read_archive` for what
    each may hold.

    Args:
        source: FOLDER or FILE.npz.
        mean: 1 or C numbers; default 0.
        std: 1 or C numbers above 0; default 1.
        size: resize the short side to this many pixels and cut a square from the centre. Without
            it all images must have one size.
        masks: folder of PNG masks with the images' stems (FOLDER only).
        boxes: CSV table ``file,x0,y0,x1,y1`` in pixels of the original images (FOLDER only).

    Returns:
        The images, with unreadable files named in ``skipped``.

    Raises:
        DataError: nothing there, nothing readable, or labels, masks and boxes that do not match.
        OptionError: ``mean``, ``std`` or ``size`` out of range, masks and boxes together, or
            either of them with an ``.npz`` file.
    """
    source = Path(source)
    _check_options(source, size, masks, boxes)
    for name, values in (("mean", mean), ("std", std)):
        if values is not None and len(values) not in (1, 3):
            raise OptionError(f"{name} has {len(values)} numbers; expected 1 or 3")
    if source.is_dir():
        grey = mean is not None and len(mean) == 1 and (std is None or len(std) == 1)
        raw = read_folder(
            source,
            channels=1 if grey else 3,
            size=size,
            masks=None if masks is None else Path(masks),
            boxes=None if boxes is None else Path(boxes),
        )
    else:
        raw = read_archive(source, size=size)
    paths = {"source": source, "masks": masks, "boxes": boxes}
    origin = {k: None if v is None else str(Path(v).resolve()) for k, v in paths.items()}
    origin |= {k: None if v is None else list(v) for k, v in (("mean", mean), ("std", std))}
    return replace(_to_network_scale(raw, mean, std), origin=origin | {"size": size})


def load_files(
    files: Sequence[str | Path],
    mean: Sequence[float],
    std: Sequence[float],
    size: int | None = None,
) -> ImageSet:
    """Read image files named one by one, as :func:`load_images` reads a folder.

    Args:
        files: image files.
        mean: C numbers, C the network's channels (1 or 3).
        std: C numbers.
        size: short side and centre crop.

    Raises:
        DataError: no file, or files that cannot be read.
    """
    if not files:
        raise DataError("no image files were given")
    raw = read_files([Path(file) for file in files], channels=len(mean), size=size)
    return _to_network_scale(raw, mean, std)


def _check_options(
    source: Path, size: int | None, masks: str | Path | None, boxes: str | Path | None
) -> None:
    if not source.exists():
        raise DataError(f"no folder of images and no .npz file at {source}")
    if not source.is_dir() and source.suffix.lower() != ".npz":
        raise DataError(f"{source} is neither a folder of images nor an .npz file")
    if size is not None and size < 1:
        raise OptionError(f"size is {size}; expected at least 1 pixel")
    if masks is not None and boxes is not None:
        raise OptionError("--masks and --boxes both say where the objects are; give one of them")
    if not source.is_dir() and (masks is not None or boxes is not None):
        raise OptionError(
            f"--masks and --boxes belong to a folder of images; {source} holds its own, "
            "as array 'masks' or 'boxes_xyxy_rel'"
        )


def _to_network_scale(
    raw: RawImages, mean: Sequence[float] | None, std: Sequence[float] | None
) -> ImageSet:
    centre, spread = _scale(mean, std, raw.pixels.shape[3])
    images = torch.from_numpy(np.ascontiguousarray(raw.pixels.transpose(0, 3, 1, 2)))
    images = images.to(torch.float32).div_(255)
    images = images.sub_(torch.tensor(centre)[:, None, None]).div_(
        torch.tensor(spread)[:, None, None]
    )
    return ImageSet(
        images=images,
        labels=None if raw.labels is None else torch.from_numpy(raw.labels),
        masks=None if raw.masks is None else torch.from_numpy(raw.masks),
        names=raw.names,
        mean=centre,
        std=spread,
        skipped=raw.skipped,
    )


def _scale(
    mean: Sequence[float] | None, std: Sequence[float] | None, channels: int
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and std with one finite number a channel."""
    scale = []
    for name, values, default in (("mean", mean, 0.0), ("std", std, 1.0)):
        numbers = [default] if values is None else [float(value) for value in values]
        if len(numbers) not in (1, channels):
            expected = "1" if channels == 1 else f"1 or {channels}"
            raise OptionError(
                f"{name} has {len(numbers)} numbers, the images {channels} channels; "
                f"expected {expected}"
            )
        if not all(map(math.isfinite, numbers)) or (name == "std" and min(numbers) <= 0):
            raise OptionError(
                f"{name} is {', '.join(f'{number:g}' for number in numbers)}; "
                + ("expected finite numbers" if name == "mean" else "expected numbers above 0")
            )
        scale.append(tuple(numbers * (channels // len(numbers))))
    return scale[0], scale[1]


def _image_tensor(images: Tensor | np.ndarray) -> Tensor:
    expected = (
        "expected floating point [N, C, H, W] (or [N, C, D, H, W]) in the network's input scale"
    )
    images = _tensor(images, "images", expected)
    if images.dtype == torch.uint8:
        expected += "; divide by 255 and apply the network's mean and std first"
    if images.ndim not in (4, 5) or not images.is_floating_point():
        raise DataError(f"images are {images.dtype} {list(images.shape)}; {expected}")
    if 0 in images.shape:
        raise DataError(f"images are {list(images.shape)}: there is no image; {expected}")
    images = images.to(torch.float32).contiguous()
    broken = (~torch.isfinite(images)).flatten(1).any(dim=1).nonzero().flatten().tolist()
    if broken:
        raise DataError(
            f"{len(broken)} of {len(images)} images hold NaN or infinite values, "
            f"the first at index {broken[0]}"
        )
    return images


def _label_tensor(labels: Tensor | np.ndarray | Sequence[int], images: Tensor) -> Tensor:
    expected = f"expected whole numbers [{len(images)}], one an image"
    labels = _tensor(labels, "labels", expected)
    integral = not (labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool)
    if not integral or labels.shape != (len(images),):
        raise DataError(f"labels are {labels.dtype} {list(labels.shape)}; {expected}")
    labels = labels.to(device=images.device, dtype=torch.int64)
    if int(labels.min()) < 0:
        raise DataError(f"labels hold {int(labels.min())}; labels count from 0 on")
    return labels


def _mask_tensor(masks: Tensor | np.ndarray, images: Tensor) -> Tensor:
    shape = (len(images), *images.shape[2:])
    expected = f"expected {list(shape)}, one an image, of its size"
    masks = _tensor(masks, "masks", expected)
    if masks.shape != shape:
        raise DataError(f"masks are {list(masks.shape)}; {expected}")
    if masks.is_floating_point() and not bool(torch.isfinite(masks).all()):
        raise DataError("masks hold NaN or infinite values")
    return masks.to(images.device) != 0


def _tensor(values: object, what: str, expected: str) -> Tensor:
    """Anything like an array as a tensor without a graph."""
    try:
        if isinstance(values, np.ndarray):
            # Torch takes no foreign byte order and no negative strides, and warns of read-only.
            native = values.dtype.newbyteorder("=")
            values = np.require(values, dtype=native, requirements=["C", "W"])
        return torch.as_tensor(values).detach()
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(f"{what} are no array of numbers ({error}); {expected}") from error


def _drawing_range(images: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and std that take the values of all images into 0..1, to draw them."""
    low, high = float(images.min()), float(images.max())
    if low >= 0 and high <= 1:
        low, high = 0.0, 1.0
    spread = high - low if high > low else 1.0
    return (low,) * images.shape[1], (spread,) * images.shape[1]
