"""One image file as eight-bit pixels: orientation, palettes, transparency and depth undone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from sycam.support.files import PICTURE, NotPlainError, open_plain


class UnreadablePictureError(Exception):
    """A file that is no readable image; ``str(error)`` says why in a few words."""


def read_picture(path: Path, channels: int) -> Image.Image:
    """Decode an image file fully.

    EXIF orientation is applied; transparency is laid over white (the colour below it is
    arbitrary); sixteen-bit grey 0..65535 becomes 0..255. Of several frames the first is taken.

    Args:
        path: the file.
        channels: 3 for RGB, 1 for grey.

    Returns:
        A picture of mode ``RGB`` or ``L``.

    Raises:
        UnreadablePictureError: no image, truncated, or pixels without a fixed range.
    """
    return flattened(_decode(path), channels)


def flattened(image: Image.Image, channels: int) -> Image.Image:
    """A decoded picture of any mode as ``RGB`` (3 channels) or ``L`` (1)."""
    if image.mode.startswith("I"):
        image = _from_integers(image)
    elif image.mode == "F":
        raise UnreadablePictureError("floating-point pixels have no fixed range")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        ground = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(ground, image)
    return image.convert("RGB" if channels == 3 else "L")


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


def _from_integers(image: Image.Image) -> Image.Image:
    """Grey of 16 bits to 8 bits; 32-bit integers only where they hold 16-bit values."""
    values = np.asarray(image).astype(np.int64)
    if values.min() < 0 or values.max() > 65535:
        raise UnreadablePictureError("32-bit integer pixels outside 0..65535")
    return Image.fromarray(((values + 128) // 257).astype(np.uint8))
