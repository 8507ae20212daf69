"""Images ready for a network, with labels and ground truth where they are known."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sycam.data.near_copies import look_of
from sycam.data.preprocessing import Preprocessing
from sycam.data.streamed import StreamedImages
from sycam.errors import DataError


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
        skipped: one line per image, or kind of image, that was left out.
        origin: arguments of :func:`sycam.data.images.load_images` that read them, or None.
        notes: what a user should know of how they were read, one line each.
        class_names: of the classes that the labels count, where the images' folders name them.
        groups: what each image belongs to (a patient, a video), length N; or None. Images of one
            group are never divided.
        boxes: of each image ``[n, 4]``, x0, y0, x1, y1 in pixels of the image, where its mask is
            the union of boxes, None of others; length N; or None. They are drawn, and decide
            nothing.
    """

    images: Tensor
    labels: Tensor | None
    masks: Tensor | None
    names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    skipped: tuple[str, ...] = ()
    origin: Mapping[str, Any] | None = None
    notes: tuple[str, ...] = ()
    class_names: tuple[str, ...] | None = None
    groups: tuple[str, ...] | None = None
    boxes: tuple[np.ndarray | None, ...] | None = None

    def __len__(self) -> int:
        return len(self.images)

    @cached_property
    def digests(self) -> tuple[str, ...]:
        """SHA-256 of each image's float32 values, as hexadecimal text."""
        if isinstance(self.images, StreamedImages):
            return self.images.digests
        return tuple(map(image_digest, self.images))

    @cached_property
    def looks(self) -> np.ndarray:
        """``[N,8,8]`` (``[N,8,8,8]`` of volumes) by which near copies are told: see
        :mod:`sycam.data.near_copies`."""
        if isinstance(self.images, StreamedImages):
            return self.images.looks
        if not len(self):
            return np.zeros((0, *(8,) * (len(self.shape) - 1)), np.float32)
        return np.stack([look_of(image) for image in self.images])

    @property
    def shape(self) -> tuple[int, ...]:
        """``(C, H, W)`` of each image, ``(C, D, H, W)`` of a volume."""
        return tuple(self.images.shape[1:])

    @property
    def marked(self) -> list[int] | None:
        """Indices of the images whose mask marks anything; None where there are no masks."""
        if self.masks is None:
            return None
        return self.masks.flatten(1).any(1).nonzero().flatten().tolist()

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
            groups=None if self.groups is None else tuple(self.groups[i] for i in indices),
            boxes=None if self.boxes is None else tuple(self.boxes[i] for i in indices),
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
        groups: Sequence[object] | None = None,
    ) -> ImageSet:
        """Take images that are in the network's input scale already.

        Args:
            images: floating point ``[N, C, H, W]``, or volumes ``[N, C, D, H, W]``. Kept on its
                device; not copied where it is
                float32 already, so do not change it afterwards.
            labels: whole numbers ``[N]`` from 0 on.
            masks: ``[N, H, W]`` (``[N, D, H, W]``), not zero = object.
            names: one per image; default ``image[0]``, ``image[1]`` ...
            mean: what was subtracted after the pixels were scaled to 0..1; 1 or C numbers.
                It serves only to draw pictures. When mean and std are both left out, values
                within 0..1 are drawn as they are, and others by their range over all images.
            std: what the result was divided by; 1 or C numbers.
            groups: what each image belongs to (a patient, a video): images of one group are never
                divided into search and held-out images; length N.

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
            centre, spread = drawing_range(images)
        else:
            mean = None if mean is None else tuple(mean)
            std = None if std is None else tuple(std)
            centre, spread = Preprocessing(mean=mean, std=std).scale(channels)
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
            groups=groups_of(groups, count),
        )


def groups_of(
    groups: Sequence[object] | Tensor | np.ndarray | None, count: int
) -> tuple[str, ...] | None:
    """One per image, as text: what each belongs to; None for None. DataError where the length is
    another, or one is empty."""
    if groups is None:
        return None
    # Of arrays, tensors and columns the plain numbers, so that 3 is "3" whatever holds it.
    plain = groups.tolist() if hasattr(groups, "tolist") else groups
    if isinstance(plain, str) or not isinstance(plain, Sequence) or len(plain) != count:
        raise DataError(f"groups are one per image, {count} in all, got {groups!r}"[:200])
    empty = [i for i, group in enumerate(plain) if group is None or group == "" or group != group]
    if empty:
        raise DataError(f"groups[{empty[0]}] is empty; every image belongs to a group")
    return tuple(map(str, plain))


def image_digest(image: Tensor) -> str:
    """SHA-256 of an image's float32 values, as hexadecimal text."""
    values = image.cpu().contiguous().numpy().astype("<f4", copy=False)
    return hashlib.sha256(values.data).hexdigest()


def _image_tensor(images: Tensor | np.ndarray) -> Tensor:
    expected = (
        "expected floating point [N, C, H, W] (or [N, C, D, H, W]) in the network's input scale"
    )
    images = _tensor(images, "images", expected)
    if images.dtype == torch.uint8:
        expected += "; divide by 255 and apply the network's mean and std first"
    if images.ndim not in (4, 5) or not images.is_floating_point():
        raise DataError(
            f"images are {images.dtype} {list(images.shape)}; {expected}{form_hint(images)}"
        )
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


def form_hint(images: Tensor) -> str:
    """How to bring pictures, signals and a single image into the form of images ``[N,C,H,W]``."""
    shape, hint = tuple(images.shape), ""
    if len(shape) == 3 and shape[2] in (1, 3, 4):
        hint = "; this looks like one picture [H, W, C]: images.permute(2, 0, 1)[None]"
    elif len(shape) == 3 and shape[0] in (1, 3, 4):
        hint = "; this looks like one image [C, H, W]: images[None]"
    elif len(shape) == 3:
        hint = (
            "; signals [N, C, L] are images one pixel high: images[:, :, None], and a network of "
            "two-dimensional layers; grey images [N, H, W]: images[:, None]"
        )
    elif len(shape) == 4 and shape[3] in (1, 3, 4) and shape[1] not in (1, 3, 4):
        hint = "; these look like pictures [N, H, W, C]: images.permute(0, 3, 1, 2)"
    elif len(shape) == 2:
        hint = "; one grey image [H, W]: images[None, None]"
    return hint


def _label_tensor(labels: Tensor | np.ndarray | Sequence[int], images: Tensor) -> Tensor:
    expected = f"expected whole numbers [{len(images)}], one per image"
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
    expected = f"expected {list(shape)}, one per image, of its size"
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


def drawing_range(images: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and std that take the values of all images into 0..1, to draw them."""
    return scale_of_range(float(images.min()), float(images.max()), images.shape[1])


def scale_of_range(
    low: float, high: float, channels: int
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The same of values from ``low`` to ``high``."""
    if low >= 0 and high <= 1:
        low, high = 0.0, 1.0
    spread = high - low if high > low else 1.0
    return (-low / spread,) * channels, (1 / spread,) * channels
