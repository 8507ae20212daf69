"""One image file as pixels 0 to 255: orientation, palettes, transparency and depth undone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from sycam.support.files import PICTURE, NotPlainError, open_plain

Window = tuple[float, float]
"""Centre and width of the intensities that become 0..1."""

DEEP = 65535  # the largest value of sixteen bits


class UnreadablePictureError(Exception):
    """A file that is no readable image; ``str(error)`` says why in a few words."""


def read_picture(path: Path, channels: int, window: Window | None = None) -> Image.Image:
    """Decode an image file fully.

    EXIF orientation is applied; transparency is laid over white (the colour below it is
    arbitrary); sixteen-bit grey 0..65535 becomes 0..255 in floating point, so that it keeps what
    it tells. Of several frames the first is taken.

    Args:
        path: the file.
        channels: 3 for RGB, 1 for grey.
        window: of sixteen-bit grey; 0..65535 without one.

    Returns:
        A picture of mode ``RGB`` or ``L``, of sixteen-bit grey ``F``.

    Raises:
        UnreadablePictureError: no image, truncated, or pixels without a fixed range.
    """
    return flattened(_decode(path), channels, window)


def flattened(image: Image.Image, channels: int, window: Window | None = None) -> Image.Image:
    """A decoded picture of any mode as ``RGB`` (3 channels) or ``L`` (1), one of sixteen-bit grey
    as ``F``, see :func:`read_picture`."""
    if is_deep(image):
        return _from_integers(image, window)
    if image.mode == "F":
        raise UnreadablePictureError("floating-point pixels have no fixed range")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        ground = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(ground, image)
    return image.convert("RGB" if channels == 3 else "L")


def is_deep(image: Image.Image) -> bool:
    """Whether a picture is grey of more than eight bits."""
    return image.mode.startswith("I")


def highest(path: Path) -> int | None:
    """The largest value of a file of sixteen-bit grey; None of other files."""
    try:
        image = _decode(path)
    except UnreadablePictureError:
        return None
    return int(np.asarray(image).max()) if is_deep(image) else None


def read_as(window: Window | None) -> str:
    """Which values of sixteen-bit grey become 0 and 1, in words."""
    if window is None:
        return f"0 to {DEEP} to 0..1"
    return f"window centre {window[0]:g} width {window[1]:g} to 0..1"


def pixels(picture: Image.Image, channels: int) -> np.ndarray:
    """``[H, W, C]`` of what :func:`flattened` made, resampled or not: uint8, or float32 0..255,
    cut off where resampling overshot."""
    values = np.asarray(picture)
    if picture.mode == "F":
        values = np.repeat(values.clip(0, 255)[..., None], channels, 2)
    return values.reshape(*values.shape[:2], channels)


def windowed(values: np.ndarray, centre: float, width: float) -> np.ndarray:
    """Intensities as 0..1."""
    return ((values - centre) / width + 0.5).clip(0, 1)


def read_mask(path: Path) -> np.ndarray:
    """Decode a mask file: every pixel that is not zero is object.

    A palette mask counts by index; a mask with several channels counts where any colour channel
    is not zero (an alpha channel says nothing about the object).

    Returns:
        bool ``[H, W]``.

    Raises:
        UnreadablePictureError: no image, or truncated.
    """
    image = _decode(path)
    if image.mode in ("LA", "PA"):
        image = image.getchannel(0)
    elif image.mode == "RGBA":
        image = image.convert("RGB")
    values = np.asarray(image) != 0
    return values.any(axis=2) if values.ndim == 3 else values


def _decode(path: Path) -> Image.Image:
    try:
        with open_plain(path, limit=PICTURE) as file, Image.open(file) as image:
            image.load()
            return _upright(image)
    except NotPlainError as error:
        raise UnreadablePictureError(str(error).replace(str(path), path.name)) from None
    except Exception as error:
        # Decoders fed with broken bytes raise nearly anything (OSError, SyntaxError,
        # struct.error, zlib.error, ...): whatever it is, this file is not readable.
        reason = str(error).replace(str(path), path.name) or type(error).__name__
        if "cannot identify image file" in reason:
            reason = "not an image" if path.stat().st_size else "empty file"
        raise UnreadablePictureError(reason) from error


def _upright(image: Image.Image) -> Image.Image:
    """The picture turned as its EXIF says; as it is where that is broken: the pixels are sound."""
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # as of decoders
        return image.copy()


def _from_integers(image: Image.Image, window: Window | None) -> Image.Image:
    """Grey of 16 bits as 0..255; 32-bit integers only where they hold 16-bit values."""
    values = np.asarray(image).astype(np.float64)
    if values.min() < 0 or values.max() > DEEP:
        raise UnreadablePictureError(f"32-bit integer pixels outside 0..{DEEP}")
    shown = values / DEEP if window is None else windowed(values, *window)
    return Image.fromarray((shown * 255).astype(np.float32))
