"""Decoding and encoding of images and label maps, with every limit on what a file may hold.

An image is uint8 RGB of shape (H, W, 3). A label map is uint8 of shape (H, W): a class index, or IGNORE.
"""

from __future__ import annotations

import io
import re
import struct
import zlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps
from PIL.Image import Resampling
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

from fcn.config.settings import DataConfig
from fcn.errors import UserError
from fcn.files import read_file, write_file

Array = npt.NDArray[Any]

IGNORE = 255  # label of a pixel that counts neither in the loss nor in a score

ENDINGS = (".png", ".jpg", ".jpeg")
PNG = b"\x89PNG\r\n\x1a\n"  # the first bytes of a PNG; the content decides, not the name
JPEG = b"\xff\xd8\xff"
JPEG_QUALITY = 90  # for pictures that people look at
PNG_LEVEL = 1  # of zlib for photos: 0.21 s and 3.9 MB for 1440x1920 pixels; 1.5 s and 3.3 MB at its default of 6
BAND = 64  # rows converted at a time
PIECE = 2**12  # bytes unpacked at a time; zlib makes at most 1032 times as many of them
BYTES_PER_PIXEL = 8  # largest of any file: four channels of 16 bits, not compressed
MAX_CHUNKS = 2**18  # of a PNG, or segments of a JPEG; 100 megapixels in chunks of 8 KB, as of libpng, have a fifth
MAX_SCANS = 100  # of a progressive JPEG, which has about ten; each costs a pass over all pixels and a few bytes
# (left, top, step right, step down) of the pixels of each pass of an interlaced PNG
PNG_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
JPEG_MARKER = re.compile(rb"\xff[\xc0-\xcf\xd9-\xfe]")  # end of the picture (0xD9), and those that a length follows
JPEG_METADATA = {*range(0xE1, 0xEE), 0xEF, 0xFE}  # not JFIF (0xE0) and Adobe (0xEE), which define the channels
ORIENTATION = 0x0112  # tag of EXIF


@dataclass(frozen=True)
class SegmentationClass:
    """A class of a data set: its name, its color in pictures, and whether data.labels=road counts it as road."""

    name: str
    color: tuple[int, int, int]
    road: bool = False


def read_image(path: str | Path, max_megapixels: int = DataConfig.max_megapixels, turn: bool = True) -> Array:
    """Reads the first picture of a PNG or JPEG of any 8-bit mode as uint8 RGB (H, W, 3); alpha is dropped.

    `turn` applies EXIF orientation; without, an image that is not upright is refused. Raises UserError if the file
    cannot be read, is damaged (a JPEG, which has no checksum, may still decode), too large or has 16 bits a channel.
    """
    image, _ = _decode(Path(path), max_megapixels, turn)
    width, height = image.size
    pixels = np.empty((height, width, 3), np.uint8)
    for top in range(0, height, BAND):  # converting all rows at once would need two more copies of the image
        bottom = min(top + BAND, height)
        # resize copies the band unchanged; crop would apply the process-wide pixel limit of Pillow
        band = image.resize((width, bottom - top), Resampling.NEAREST, box=(0, top, width, bottom))
        pixels[top:bottom] = np.asarray(band.convert("RGB"))
    return pixels


def read_label(path: str | Path, max_megapixels: int = DataConfig.max_megapixels) -> Array:
    """Reads an 8-bit gray or palette PNG as the uint8 (H, W) values that it stores: palette indices, not colors.

    Raises UserError as `read_image`, and for a file of another mode, which does not store one index per pixel.
    """
    image, stored_mode = _decode(Path(path), max_megapixels, turn=False)
    if image.format != "PNG":
        raise UserError(f"{path}: is a {image.format}; its compression changes labels: save label maps as PNG")
    if image.mode not in ("L", "P") or stored_mode.startswith("L;"):  # Pillow stretches L;4 from 0..15 to 0..255
        raise UserError(f"{path}: has mode {stored_mode}; a label map is an 8-bit gray or palette PNG of class indices")
    return np.asarray(image)


def _decode(path: Path, max_megapixels: int, turn: bool) -> tuple[Image.Image, str]:
    """The decoded image, and the mode in which the file stores its pixels, such as "L;4" for 4-bit gray.

    Pillow gets no metadata: hostile EXIF takes it minutes, damaged EXIF and animations make it warn, and it refuses
    images for long texts. Its readers are called by name because `Image.open` has a process-wide pixel limit.
    """
    limit = BYTES_PER_PIXEL * max_megapixels * 10**6
    data = read_file(path, limit, fix=f"name a PNG or JPEG within data.max_megapixels={max_megapixels}")
    chunks: dict[bytes, bytes] = {}
    image: ImageFile
    try:
        if data.startswith(PNG):
            kept, chunks = _png_parts(data)
            image = PngImageFile(io.BytesIO(kept))
            exif = chunks.get(b"eXIf", b"")
        elif data.startswith(JPEG):
            kept, exif = _jpeg_parts(data)
            image = JpegImageFile(io.BytesIO(kept))
        else:
            problem = "is not a PNG or JPEG" if data else "is empty"
            raise UserError(f"{path}: {problem}; replace or remove the file")
        if image.width * image.height > max_megapixels * 10**6:
            raise UserError(
                f"{path}: has {image.width} x {image.height} pixels, more than data.max_megapixels={max_megapixels} "
                "allows; cut it into tiles or raise the limit"
            )
        stored_mode = str(image.tile[0].args) if chunks and image.tile else image.mode
        if ";16" in stored_mode:
            raise UserError(f"{path}: has mode {stored_mode}, over 8 bits a channel; convert it to 8 bits")
        if chunks:
            _check_png(image, chunks)
        image.load()
    except (OSError, SyntaxError, ValueError, struct.error, zlib.error) as error:
        raise UserError(f"{path}: is broken or cut off ({error}); replace or remove the file") from error
    orientation = _orientation(exif)
    if not 2 <= orientation <= 8:
        return image, stored_mode
    if not turn:
        raise UserError(
            f"{path}: is rotated by its EXIF orientation {orientation}; image and label map must fit as stored: "
            "save it upright (Pillow: ImageOps.exif_transpose)"
        )
    tags = Image.Exif()
    tags[ORIENTATION] = orientation
    image.info["exif"] = tags.tobytes()
    return ImageOps.exif_transpose(image), stored_mode


def _png_parts(data: bytes) -> tuple[bytes, dict[bytes, bytes]]:
    """The file with its critical chunks only, and the content of these and of EXIF by kind, checked as Pillow does not.

    Neither memory nor time grows with other chunks, of which there may be millions.
    """
    view = memoryview(data)
    kept = bytearray(PNG)
    chunks = defaultdict[bytes, bytearray](bytearray)
    start = len(PNG)
    count = 0
    while b"IEND" not in chunks:
        kind = data[start + 4 : start + 8]
        end = start + 8 + int.from_bytes(data[start : start + 4])
        count += 1
        if end + 4 > len(data):
            raise ValueError("its end is missing")
        if count > MAX_CHUNKS:
            raise ValueError(f"over {MAX_CHUNKS} chunks")
        content = view[start + 8 : end]
        if int.from_bytes(data[end : end + 4]) != zlib.crc32(content, zlib.crc32(kind)):
            raise ValueError(f"wrong checksum of chunk {kind!r}")
        if kind in (b"IHDR", b"PLTE", b"IDAT", b"IEND"):
            kept += view[start : end + 4]
        elif kind[:1].isupper():
            raise ValueError(f"unknown critical chunk {kind!r}")
        if kind[:1].isupper() or kind == b"eXIf":
            chunks[kind] += content
        start = end + 4
    return bytes(kept), {kind: bytes(content) for kind, content in chunks.items()}


def _check_png(image: ImageFile, chunks: dict[bytes, bytes]) -> None:
    """Raises ValueError if the PNG lacks rows, which Pillow would read as black, or its palette."""
    if image.mode == "P" and not chunks.get(b"PLTE"):
        raise ValueError("no palette")
    depth, _, _, _, is_interlaced = chunks[b"IHDR"][8:]
    bits = depth * len(image.getbands())
    needed = 0  # bytes
    for left, top, right, down in PNG_PASSES if is_interlaced else ((0, 0, 1, 1),):
        columns = len(range(left, image.width, right))
        rows = len(range(top, image.height, down))
        if columns:
            needed += rows * (1 + (columns * bits + 7) // 8)
    packed = io.BytesIO(chunks.get(b"IDAT", b""))
    unpacker = zlib.decompressobj()
    while needed and (piece := packed.read(PIECE)):
        needed -= len(unpacker.decompress(piece, needed))
    if needed:
        raise ValueError("too few pixels")


def _jpeg_parts(data: bytes) -> tuple[bytes, bytes]:
    """The first picture of the file without metadata, and its EXIF."""
    kept = bytearray(data[:2])
    exif = b""
    start = 2
    count = 0
    scans = 0
    while segment := JPEG_MARKER.search(data, start):
        count += 1
        if count > MAX_CHUNKS:
            raise ValueError(f"over {MAX_CHUNKS} segments")
        begin = segment.start()
        marker = data[begin + 1]
        if scans:  # the compressed pixels before this marker
            kept += data[start:begin]
        if marker == 0xD9:  # end of the picture
            kept += data[begin : begin + 2]
            start = len(data)
            break
        end = begin + 2 + int.from_bytes(data[begin + 2 : begin + 4])
        if marker == 0xDA:  # start of scan
            scans += 1
            if scans > MAX_SCANS:
                raise ValueError(f"over {MAX_SCANS} scans")
        if marker not in JPEG_METADATA:
            kept += data[begin:end]
        elif marker == 0xE1 and not exif and data.startswith(b"Exif\0\0", begin + 4):
            exif = data[begin + 10 : end]
        start = end
    if not scans:
        raise ValueError("its pixels are missing")
    return bytes(kept) + data[start:], exif


def _orientation(exif: bytes) -> int:
    """The EXIF orientation, 1 if there is none. Pillow would parse every tag, and warn of damaged ones."""
    if not exif.startswith((b"II*\0", b"MM\0*")):
        return 1
    order: Literal["little", "big"] = "little" if exif.startswith(b"II") else "big"

    def number(start: int, size: int) -> int:
        return int.from_bytes(exif[start : start + size], order)

    first = number(4, 4) + 2
    for entry in range(first, first + 12 * number(first - 2, 2), 12):
        if number(entry, 2) == ORIENTATION:
            return number(entry + 8, {3: 2, 4: 4}.get(number(entry + 2, 2), 0))  # a SHORT or a LONG
    return 1


def write_image(path: Path, image: Array) -> None:
    """Writes uint8 RGB (H, W, 3) or gray (H, W) in the format of the suffix; raises UserError if unknown."""
    suffix = path.suffix.lower()
    if suffix not in ENDINGS:
        raise UserError(f"{path}: has the suffix {suffix!r}; pictures are written as .png, .jpg or .jpeg: use one")
    if suffix == ".png":
        write_file(path, png_of(image))
        return
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=JPEG_QUALITY)
    write_file(path, buffer.getvalue())


def write_mask(path: Path, mask: Array, classes: Sequence[SegmentationClass]) -> None:
    """Writes a label map (H, W) as an 8-bit palette PNG: the indices are the labels, the palette their colors."""
    write_file(path, png_of(mask, palette(classes)))


def palette(classes: Sequence[SegmentationClass]) -> Array:
    """uint8 (256, 3): the color of each label; black for IGNORE and for labels without a class."""
    colors = np.zeros((256, 3), np.uint8)
    colors[: len(classes)] = [one.color for one in classes]
    return colors


def png_of(image: Array, colors: Array | None = None) -> bytes:
    """A PNG of uint8 RGB (H, W, 3) or gray (H, W); with `colors` (256, 3), of (H, W) palette indices."""
    picture = Image.fromarray(image)
    if colors is not None:
        picture.putpalette(colors.tobytes())
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", compress_level=PNG_LEVEL if image.ndim == 3 else 6)
    return buffer.getvalue()
