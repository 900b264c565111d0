"""Decoding and encoding: every mode becomes RGB, labels come as stored, bad files are named."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fcn.errors import UserError
from fcn.images import IGNORE, MAX_PIXELS, SegmentationClass, palette, read_image, read_label, write_image, write_mask

CLASSES = (SegmentationClass("a", (1, 2, 3)), SegmentationClass("b", (255, 0, 9)))
RGB = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)


def test_image_round_trip_is_exact(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", RGB)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), RGB)


def test_mask_round_trip_keeps_indices_and_shows_colours(tmp_path: Path) -> None:
    mask = np.array([[0, 1, IGNORE], [1, 1, 0]], np.uint8)
    write_mask(tmp_path / "m.png", mask, CLASSES)
    np.testing.assert_array_equal(read_label(tmp_path / "m.png"), mask)
    np.testing.assert_array_equal(read_image(tmp_path / "m.png"), palette(CLASSES)[mask])
    assert palette(CLASSES)[IGNORE].tolist() == [0, 0, 0]


@pytest.mark.parametrize("mode", ["L", "1", "P", "LA", "RGBA", "CMYK"])
def test_every_8_bit_mode_becomes_rgb(mode: str, tmp_path: Path) -> None:
    path = tmp_path / ("a.jpg" if mode == "CMYK" else "a.png")
    picture = Image.fromarray(RGB).convert(mode)
    picture.save(path)
    image = read_image(path)
    assert (image.shape, image.dtype) == ((5, 7, 3), np.uint8)
    if mode not in ("CMYK", "1"):  # JPEG is lossy
        np.testing.assert_array_equal(image, np.asarray(picture.convert("RGB")))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "is empty"),
        (b"GIF89a" + bytes(50), "is no PNG or JPEG"),
        ("cut", "is broken or cut off"),
        (None, "No such"),
    ],
)
def test_bad_files_are_named_with_the_mend(content: bytes | str | None, expected: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.png"
    if content == "cut":
        write_image(path, RGB)
        content = path.read_bytes()[:80]
    if isinstance(content, bytes):
        path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        read_image(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert expected in str(caught.value)


def test_16_bits_and_files_beyond_the_limit_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(np.zeros((2, 2), np.uint16)).save(path)
    with pytest.raises(UserError, match="over 8 bits a channel; convert it to 8 bits"):
        read_image(path)
    assert MAX_PIXELS < Image.MAX_IMAGE_PIXELS
    write_image(path, RGB)
    monkeypatch.setattr("fcn.images.MAX_PIXELS", 34)
    with pytest.raises(UserError, match="is larger than 34 pixels"):
        read_image(path)


def deep_png(path: Path, colour_type: int, bits: int, row: bytes) -> None:
    """A PNG of one row, chunk by chunk, for depths that Pillow does not write."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 2, 1, bits, colour_type, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" + row)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)


def test_16_bit_colour_is_refused_like_16_bit_grey(tmp_path: Path) -> None:
    deep_png(tmp_path / "a.png", colour_type=2, bits=16, row=bytes(12))
    with pytest.raises(UserError, match="over 8 bits a channel"):
        read_image(tmp_path / "a.png")


def test_4_bit_grey_is_no_label_as_its_values_would_be_stretched(tmp_path: Path) -> None:
    deep_png(tmp_path / "a.png", colour_type=0, bits=4, row=b"\x1b")
    assert read_image(tmp_path / "a.png")[0, :, 0].tolist() == [17, 187]
    with pytest.raises(UserError, match="has mode L;4; a label map is an 8-bit grey"):
        read_label(tmp_path / "a.png")


@pytest.mark.parametrize(("mode", "ending"), [("RGB", "png"), ("LA", "png"), ("1", "png"), ("L", "jpg")])
def test_what_stores_no_exact_index_is_no_label(mode: str, ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{ending}"
    Image.fromarray(RGB).convert(mode).save(path)
    with pytest.raises(UserError, match="label map"):
        read_label(path)
