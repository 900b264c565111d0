"""Decoding and encoding of images and label maps; what may be in one and how large it may be is said here alone.

An image is uint8 RGB of shape (H, W, 3). A label map is uint8 of shape (H, W): a class index, or IGNORE.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from fcn.errors import UserError
from fcn.files import write_file

Array = npt.NDArray[Any]

IGNORE = 255
"""Label of a pixel that counts neither in the loss nor in a score."""

FORMATS = ("PNG", "JPEG")
ENDINGS = (".png", ".jpg", ".jpeg")
MAX_PIXELS = 89_000_000  # 267 MB as RGB, just below what Pillow warns of; judged by the header, before decoding


@dataclass(frozen=True)
class SegmentationClass:
    """A class of a data set: its name, its colour in pictures, and whether the road view counts it as road."""

    name: str
    colour: tuple[int, int, int]
    road: bool = False


def read_image(path: Path) -> Array:
    """Reads an image of any 8-bit mode as uint8 RGB (H, W, 3); alpha is dropped.

    Raises:
        UserError: the file cannot be read, is no PNG or JPEG, is cut off, too large or has 16 bits a channel.
    """
    image, _ = _decode(path)
    return np.asarray(image.convert("RGB"))


def read_label(path: Path) -> Array:
    """Reads a grey or palette PNG as the uint8 (H, W) values that it stores: a palette's indices, not its colours.

    Raises:
        UserError: as `read_image`; or the file has another mode, which does not store one value a pixel.
    """
    image, stored = _decode(path)
    if image.mode not in ("L", "P") or stored.startswith("L;"):  # Pillow stretches L;4 from 0..15 to 0..255
        raise UserError(f"{path}: has mode {stored}; a label map is an 8-bit grey or palette PNG of class indices")
    if image.format != "PNG":
        raise UserError(f"{path}: is a {image.format}; its compression changes labels: save label maps as PNG")
    return np.asarray(image)


def _decode(path: Path) -> tuple[Image.Image, str]:
    """The image, and the mode in which the file stores its pixels, such as "L;4" for 4 bits."""
    try:
        with Image.open(path, formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise UserError(f"{path}: is larger than {MAX_PIXELS:,} pixels; cut it into tiles")
            stored = str(image.tile[0].args) if image.format == "PNG" and image.tile else image.mode
            if ";16" in stored or image.mode.startswith(("I", "F")):
                raise UserError(f"{path}: has mode {stored}, over 8 bits a channel; convert it to 8 bits")
            try:
                image.load()
            except (OSError, SyntaxError, ValueError) as error:
                raise UserError(f"{path}: is broken or cut off ({error}); replace or remove the file") from error
            return image, stored
    except UnidentifiedImageError as error:
        what = "is no PNG or JPEG" if path.stat().st_size else "is empty"
        raise UserError(f"{path}: {what}; replace or remove the file") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UserError(f"{path}: is larger than {MAX_PIXELS:,} pixels; cut it into tiles") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from error


def write_image(path: Path, image: Array) -> None:
    """Writes uint8 RGB (H, W, 3) as PNG."""
    _write_png(path, Image.fromarray(image))


def write_mask(path: Path, mask: Array, classes: Sequence[SegmentationClass]) -> None:
    """Writes a label map (H, W) as an 8-bit palette PNG: the indices are the labels, the palette their colours."""
    picture = Image.fromarray(mask).convert("L")
    picture.putpalette(palette(classes).tobytes())
    _write_png(path, picture)


def palette(classes: Sequence[SegmentationClass]) -> Array:
    """uint8 (256, 3): the colour of each label; black for IGNORE and what is no class."""
    colours = np.zeros((256, 3), np.uint8)
    colours[: len(classes)] = [one.colour for one in classes]
    return colours


def _write_png(path: Path, picture: Image.Image) -> None:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    write_file(path, buffer.getvalue())
