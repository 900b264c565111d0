"""Decoding and encoding of images and label maps; what may be in one and how large it may be is said here alone.

An image is uint8 RGB of shape (H, W, 3). A label map is uint8 of shape (H, W): a class index, or IGNORE.
"""

from __future__ import annotations

import io
import re
import stat
import struct
import zlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL.Image import Resampling, Transpose
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

from fcn.config.settings import DataConfig
from fcn.errors import UserError
from fcn.files import write_file

Array = npt.NDArray[Any]

IGNORE = 255
"""Label of a pixel that counts neither in the loss nor in a score."""

ENDINGS = (".png", ".jpg", ".jpeg")
PNG, JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"  # what a file begins with; its name does not count
BAND = 64  # rows that are converted at a time
PIECE = 2**12  # bytes that are unpacked at a time; they become 1032 times as many at most
BYTES_PER_PIXEL = 8  # at most: four channels of 16 bits, not compressed
MAX_SCANS = 100  # of a progressive JPEG, which has about ten; each costs a pass over all pixels and a few bytes
PNG_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""(left, top, step right, step down) of the pixels of each pass of an interlaced PNG."""

JPEG_SEGMENT = re.compile(rb"\xff[\xc0-\xcf\xda-\xfe]", re.DOTALL)  # the markers that a length follows
JPEG_SCAN, JPEG_APP1 = 0xDA, 0xE1
JPEG_DROPPED = {*range(0xE1, 0xEE), 0xEF, 0xFE}  # remarks; JFIF (0xE0) and Adobe (0xEE) tell what the channels are

TURNS = {
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}
"""EXIF orientation -> what makes the image upright."""


@dataclass(frozen=True)
class SegmentationClass:
    """A class of a data set: its name, its color in pictures, and whether the road view counts it as road."""

    name: str
    color: tuple[int, int, int]
    road: bool = False


def read_image(path: str | Path, max_megapixels: int = DataConfig.max_megapixels, turn: bool = True) -> Array:
    """Reads an image of any 8-bit mode as uint8 RGB (H, W, 3); alpha is dropped.

    A JPEG has no checksum: it may be damaged inside and still decode.

    Args:
        path: of a PNG or JPEG, by its content; of several pictures in it the first is read.
        max_megapixels: limit in 10**6 pixels.
        turn: makes the image upright by its EXIF orientation; False refuses one that is not.

    Raises:
        UserError: the file cannot be read, is no PNG or JPEG, is broken, cut off, too large or has 16 bits a channel.
    """
    image, _ = _decode(Path(path), max_megapixels, turn)
    pixels = np.empty((image.height, image.width, 3), np.uint8)
    for top in range(0, image.height, BAND):  # at once it takes two copies more; `crop` has a limit of its own
        box = (0, top, image.width, min(top + BAND, image.height))
        band = image.resize((box[2], box[3] - top), Resampling.NEAREST, box)
        pixels[top : box[3]] = np.asarray(band.convert("RGB"))
    return pixels


def read_label(path: str | Path, max_megapixels: int = DataConfig.max_megapixels) -> Array:
    """Reads a gray or palette PNG as the uint8 (H, W) values that it stores: a palette's indices, not its colors.

    Raises:
        UserError: as `read_image`; or the file has another mode, which does not store one value a pixel.
    """
    image, stored = _decode(Path(path), max_megapixels, turn=False)
    if image.format != "PNG":
        raise UserError(f"{path}: is a {image.format}; its compression changes labels: save label maps as PNG")
    if image.mode not in ("L", "P") or stored.startswith("L;"):  # Pillow stretches L;4 from 0..15 to 0..255
        raise UserError(f"{path}: has mode {stored}; a label map is an 8-bit gray or palette PNG of class indices")
    return np.asarray(image)


def _decode(path: Path, max_megapixels: int, turn: bool) -> tuple[Image.Image, str]:
    """The image, and the mode in which the file stores its pixels, such as "L;4" for 4 bits.

    Pillow is given pixels only. Of texts, profiles, EXIF and animations it would unpack what may be a bomb, and warn of
    what is broken. Its readers are called by name as `Image.open` has a limit of its own, one for the whole process.
    """
    data = _read(path, max_megapixels)
    try:
        image: ImageFile
        if data.startswith(PNG):
            kept, chunks = _png_parts(data)
            image, exif = PngImageFile(io.BytesIO(kept)), b"".join(chunks[b"eXIf"])
        elif data.startswith(JPEG):
            kept, exif = _jpeg_parts(data)
            image, chunks = JpegImageFile(io.BytesIO(kept)), {}
        else:
            raise UserError(f"{path}: {'is no PNG or JPEG' if data else 'is empty'}; replace or remove the file")
        if image.width * image.height > max_megapixels * 10**6:
            raise UserError(
                f"{path}: has {image.width} x {image.height} pixels, more than data.max_megapixels={max_megapixels} "
                "allows; cut it into tiles or raise the limit"
            )
        stored = str(image.tile[0].args) if image.format == "PNG" and image.tile else image.mode
        if ";16" in stored:
            raise UserError(f"{path}: has mode {stored}, over 8 bits a channel; convert it to 8 bits")
        if chunks:
            _check_png(image, chunks)
        image.load()
    except (OSError, SyntaxError, ValueError, struct.error, zlib.error) as error:
        raise UserError(f"{path}: is broken or cut off ({error}); replace or remove the file") from error
    orientation = _orientation(exif)
    if orientation in TURNS and not turn:
        raise UserError(
            f"{path}: is rotated by its EXIF orientation {orientation}; image and label map must fit as stored: "
            "save it upright (Pillow: ImageOps.exif_transpose)"
        )
    return image.transpose(TURNS[orientation]) if orientation in TURNS else image, stored


def _read(path: Path, max_megapixels: int) -> bytes:
    try:
        about = path.stat()
        if not stat.S_ISREG(about.st_mode):  # a pipe may never end, nor even begin
            raise UserError(f"{path}: is a folder, pipe or device; name a PNG or JPEG")
        if about.st_size > BYTES_PER_PIXEL * max_megapixels * 10**6:
            raise UserError(
                f"{path}: has {about.st_size:,} bytes, more than any image of data.max_megapixels={max_megapixels}; "
                "replace it or raise the limit"
            )
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}; check the name and its permissions") from error


def _png_parts(data: bytes) -> tuple[bytes, dict[bytes, list[memoryview]]]:
    """The file with its critical chunks only, and the contents of all chunks by kind, in their order."""
    kept, chunks, here, view = [memoryview(PNG)], defaultdict[bytes, list[memoryview]](list), len(PNG), memoryview(data)
    while b"IEND" not in chunks:
        kind, begin, end = data[here + 4 : here + 8], here + 8, here + 8 + int.from_bytes(data[here : here + 4])
        if end + 4 > len(data):
            raise ValueError("its end is missing")
        if int.from_bytes(data[end : end + 4]) != zlib.crc32(view[begin:end], zlib.crc32(kind)):
            raise ValueError(f"wrong checksum of chunk {kind!r}")
        chunks[kind].append(view[begin:end])
        if kind in (b"IHDR", b"PLTE", b"IDAT", b"IEND"):
            kept.append(view[here : end + 4])
        elif kind[:1].isupper():
            raise ValueError(f"unknown critical chunk {kind!r}")
        here = end + 4
    return b"".join(kept), chunks


def _check_png(image: ImageFile, chunks: dict[bytes, list[memoryview]]) -> None:
    """Raises ValueError where a PNG ends early at a row's end, which Pillow takes for black rows, or has no palette."""
    depth, _, _, _, interlaced = b"".join(chunks[b"IHDR"])[8:]
    bits, needed = depth * len(image.getbands()), 0
    for left, top, right, down in PNG_PASSES if interlaced else ((0, 0, 1, 1),):
        columns, rows = len(range(left, image.width, right)), len(range(top, image.height, down))
        needed += rows * (1 + (columns * bits + 7) // 8) if columns else 0
    packed, unpacker = io.BytesIO(b"".join(chunks[b"IDAT"])), zlib.decompressobj()
    while needed and (piece := packed.read(PIECE)):
        needed -= len(unpacker.decompress(piece, needed))
    if needed:
        raise ValueError("too few pixels")
    if image.mode == "P" and not any(chunks[b"PLTE"]):
        raise ValueError("no palette")


def _jpeg_parts(data: bytes) -> tuple[bytes, bytes]:
    """The file of the first picture without remarks, and its EXIF."""
    kept, exif, here = bytearray(b"\xff\xd8"), b"", 2
    while segment := JPEG_SEGMENT.search(data, here):
        begin, marker = segment.start(), data[segment.start() + 1]
        if marker == JPEG_SCAN:
            scans, end, _ = data[begin:].partition(b"\xff\xd9")
            if scans.count(bytes([0xFF, JPEG_SCAN])) > MAX_SCANS:
                raise ValueError(f"over {MAX_SCANS} scans")
            return bytes(kept) + scans + end, exif
        here = begin + 2 + int.from_bytes(data[begin + 2 : begin + 4])
        if marker not in JPEG_DROPPED:
            kept += data[begin:here]
        elif marker == JPEG_APP1 and data.startswith(b"Exif\0\0", begin + 4):
            exif = exif or data[begin + 10 : here]
    raise ValueError("its pixels are missing")


def _orientation(exif: bytes) -> int:
    """The EXIF orientation, 2 to 8 where an image is not upright; another number where there is none."""
    orders: dict[bytes, Literal["little", "big"]] = {b"II*\0": "little", b"MM\0*": "big"}
    if order := orders.get(exif[:4]):
        first = int.from_bytes(exif[4:8], order) + 2
        count = int.from_bytes(exif[first - 2 : first], order)
        for entry in range(first, first + 12 * count, 12):
            tag, kind = (int.from_bytes(exif[at : at + 2], order) for at in (entry, entry + 2))
            if tag == 0x0112:
                size = {3: 2, 4: 4}.get(kind, 0)  # SHORT, LONG
                return int.from_bytes(exif[entry + 8 : entry + 8 + size], order)
    return 1


def write_image(path: Path, image: Array) -> None:
    """Writes uint8 RGB (H, W, 3) or gray (H, W) as PNG."""
    write_file(path, png_of(image))


def write_mask(path: Path, mask: Array, classes: Sequence[SegmentationClass]) -> None:
    """Writes a label map (H, W) as an 8-bit palette PNG: the indices are the labels, the palette their colors."""
    write_file(path, png_of(mask, palette(classes)))


def palette(classes: Sequence[SegmentationClass]) -> Array:
    """uint8 (256, 3): the color of each label; black for IGNORE and what is no class."""
    colors = np.zeros((256, 3), np.uint8)
    colors[: len(classes)] = [one.color for one in classes]
    return colors


def png_of(image: Array, colors: Array | None = None) -> bytes:
    """A PNG of uint8 RGB (H, W, 3) or gray (H, W); with `colors` (256, 3), of (H, W) palette indices."""
    picture, buffer = Image.fromarray(image), io.BytesIO()
    if colors is not None:
        picture.putpalette(colors.tobytes())
    picture.save(buffer, "PNG")
    return buffer.getvalue()
