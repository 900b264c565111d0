"""Decoding and encoding: every mode becomes RGB, labels stay as stored, bad files are refused in one line."""

from __future__ import annotations

import io
import os
import struct
import time
import tracemalloc
import zlib
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from fuzz import chunk, chunks, fuzz, kinds
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image, ImageOps

from fcn.errors import UserError
from fcn.images import SegmentationClass, read_image, read_label, write_image, write_mask

CLASSES = (SegmentationClass("a", (1, 2, 3)), SegmentationClass("b", (255, 0, 9)))
RGB = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
PNG, END = b"\x89PNG\r\n\x1a\n", chunk(b"IEND", b"")


def encoded(image_format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(RGB).save(buffer, image_format, **options)
    return buffer.getvalue()


def png(header: tuple[int, int, int, int], rows: bytes, more: bytes = b"", interlaced: bool = False) -> bytes:
    """A PNG chunk by chunk, for what Pillow does not write; `header` is (width, height, bits, color type)."""
    ihdr = chunk(b"IHDR", struct.pack(">IIBBBBB", *header, 0, 0, interlaced))
    return PNG + ihdr + more + chunk(b"IDAT", zlib.compress(rows)) + END


def exif(orientation: int) -> bytes:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags.tobytes()


def app1(content: bytes) -> bytes:
    """A segment of a JPEG for EXIF and other metadata."""
    return b"\xff\xe1" + struct.pack(">H", 2 + len(content)) + content


def mistake(path: Path, content: bytes | None = None, max_megapixels: int = 128) -> str:
    """The error that reading the file, with that content, ends with."""
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        read_image(path, max_megapixels)
    assert str(caught.value).startswith(f"{path}: ")
    return str(caught.value).removeprefix(f"{path}: ")


def decoded(path: Path, content: bytes) -> np.ndarray:
    path.write_bytes(content)
    return read_image(path)


def broken(reason: str) -> str:
    return f"is broken or cut off ({reason}); replace or remove the file"


MODES = [("PNG", mode, {}) for mode in ("L", "1", "P", "LA", "RGB", "RGBA")]
MODES += [("PNG", "P", {"transparency": alpha}) for alpha in (1, bytes([0, 100, 200]))]
MODES += [("JPEG", mode, {}) for mode in ("L", "CMYK")]


@pytest.mark.parametrize(("encoding", "mode", "options"), MODES)
def test_every_8_bit_mode_becomes_rgb_without_alpha_and_only_exact_indices_are_labels(
    encoding: str, mode: str, options: dict[str, object], tmp_path: Path
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (150, 3, 4), dtype=np.uint8)
    picture = Image.fromarray(pixels if mode == "RGBA" else pixels[..., :3]).convert(mode)
    picture.save(tmp_path / "a", encoding, **options)
    image = read_image(tmp_path / "a")
    assert (image.shape, image.dtype) == ((150, 3, 3), np.uint8)
    if encoding == "PNG":  # JPEG is lossy
        np.testing.assert_array_equal(image, np.asarray(picture.convert("RGB")))
    if mode == "RGBA":
        np.testing.assert_array_equal(image, pixels[..., :3])
    if mode == "P" or (mode == "L" and encoding == "PNG"):
        np.testing.assert_array_equal(read_label(tmp_path / "a"), np.asarray(picture))
    else:  # it stores no exact index
        with pytest.raises(UserError, match="label map"):
            read_label(tmp_path / "a")


RGB_PNG = encoded("PNG")
RGB_JPEG = encoded("JPEG")
PROGRESSIVE = encoded("JPEG", progressive=True)
CODES = RGB_JPEG.index(b"\xff\xc4") + 5  # place of the counts of Huffman codes of 1 to 16 bits
SCAN = PROGRESSIVE.rindex(b"\xff\xda")  # place of the last scan
ROW = b"\0" + bytes(3)
HIDDEN_SCANS = b"\xff\xfe\0\4\xff\xd9" + PROGRESSIVE[SCAN:-2] * 200  # behind an end marker in a comment
ANY = "is broken or cut off ("
REFUSED = [
    (b"", "is empty; replace or remove the file"),
    (b"GIF89a" + bytes(50), "is not a PNG or JPEG; replace or remove the file"),
    (RGB_PNG[:-9], broken("its end is missing")),
    (RGB_PNG[:-1], broken("its end is missing")),
    (RGB_JPEG[:80], broken("its pixels are missing")),
    (RGB_JPEG[:CODES] + bytes([3]) + bytes(15) + RGB_JPEG[CODES + 16 :], ANY),  # there are two codes of one bit
    (PROGRESSIVE[:SCAN] + HIDDEN_SCANS + PROGRESSIVE[-2:], ANY),
    *((png(header, ROW), ANY) for header in ((0, 1, 8, 2), (1, 0, 8, 2), (1, 1, 3, 2), (1, 1, 8, 7))),
    (png((1, 1, 8, 3), ROW), broken("no palette")),
    (png((1, 1, 8, 3), ROW, chunk(b"PLTE", b"")), broken("no palette")),
    (png((1, 1, 8, 2), ROW, chunk(b"CgBI", b"")), broken("unknown critical chunk b'CgBI'")),
    *(
        (png((1, 1, 16, color_type), bytes(9)), f"has mode {mode};16B, over 8 bits a channel; convert it to 8 bits")
        for color_type, mode in {0: "I", 2: "RGB", 4: "LA", 6: "RGBA"}.items()
    ),
]


@pytest.mark.parametrize(("content", "message"), REFUSED, ids=range(len(REFUSED)))
def test_bad_files_are_refused_with_the_fix(content: bytes, message: str, tmp_path: Path) -> None:
    assert mistake(tmp_path / "bad.png", content).startswith(message)


@pytest.mark.parametrize("data", [RGB_PNG, RGB_JPEG, PROGRESSIVE], ids=["png", "jpeg", "progressive"])
def test_content_decides_not_the_name_and_no_beginning_of_a_file_is_an_image(data: bytes, tmp_path: Path) -> None:
    for length in range(len(data)):
        mistake(tmp_path / "a.png", data[:length])
    more = b"garbage after the end \xff\xda" * 200 + b"\xff\xd9"
    np.testing.assert_array_equal(decoded(tmp_path / "a.png", data), decoded(tmp_path / "a.jpg", data + more))


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")  # opening would wait for a writer
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "loop.png").symlink_to("loop.png")
    problems = {
        tmp_path / "pipe.png": "is a pipe or device; name a PNG or JPEG",
        Path("/dev/zero"): "is a pipe or device; name a PNG or JPEG",
        tmp_path / "folder.png": "is a folder; name a PNG or JPEG",
        tmp_path / "no.png": "no such file; name a PNG or JPEG",
        tmp_path / "loop.png": "cannot be read: Too many levels of symbolic links; check the name and its permissions",
    }
    for path, problem in problems.items():
        assert mistake(path).startswith(problem)


def test_limit_holds_for_the_declared_size_before_decoding_whatever_the_limit_of_pillow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.png"
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1)
    huge = PNG + chunk(b"IHDR", struct.pack(">IIBBBBB", 2**31 - 1, 2**31 - 1, 8, 2, 0, 0, 0)) + END
    assert mistake(path, huge).startswith("has 2147483647 x 2147483647 pixels, more than data.max_megapixels=128 allow")
    Image.new("L", (1001, 1000)).save(path)
    message = "has 1001 x 1000 pixels, more than data.max_megapixels=1 allows; cut it into tiles or raise the limit"
    for reader in (read_image, read_label):
        with pytest.raises(UserError, match=message):
            reader(path, max_megapixels=1)
        assert reader(path, max_megapixels=2).shape[:2] == (1000, 1001)
    Image.new("L", (1000, 1000)).save(path)
    assert read_label(path, max_megapixels=1).shape == read_image(path, max_megapixels=1).shape[:2] == (1000, 1000)
    for bytes_, limit in ((2**40, 128), (16_000_001, 2)):
        os.truncate(path, bytes_)  # takes no room on the disk
        message = f"has {bytes_:,} bytes, more than {8 * limit * 10**6:,}; name a PNG or JPEG within "
        assert mistake(path, max_megapixels=limit) == f"{message}data.max_megapixels={limit}"
    path.write_bytes(bytes(16_000_000))
    assert mistake(path, max_megapixels=2).startswith("is not a PNG or JPEG")


def test_reading_takes_one_copy_of_the_pixels_beyond_that_of_pillow_and_unpacks_no_more(tmp_path: Path) -> None:
    def peak() -> int:
        tracemalloc.start()
        read_image(tmp_path / "a.png")
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    Image.new("RGB", (4000, 1000)).save(tmp_path / "a.png")
    assert 12e6 < peak() < 15e6
    (tmp_path / "a.png").write_bytes(png((1, 1, 8, 2), b"\0\1\2\3" + bytes(5 * 10**7)))  # more rows than declared
    assert peak() < 15e6


def test_png_may_have_several_chunks_of_pixels_but_not_too_few(tmp_path: Path) -> None:
    content = dict(chunks(RGB_PNG))[b"IDAT"]
    parts = b"".join(chunk(b"IDAT", part) for part in (content[:20], b"", content[20:]))
    np.testing.assert_array_equal(decoded(tmp_path / "a.png", RGB_PNG.replace(chunk(b"IDAT", content), parts)), RGB)
    rows = b"".join(b"\0" + row.tobytes() for row in RGB)
    np.testing.assert_array_equal(decoded(tmp_path / "a.png", png((7, 5, 8, 2), rows)), RGB)
    for length in (0, 22, 44, 66, 88, 109):  # whole rows, which Pillow follows by black ones; a byte less than all
        assert mistake(tmp_path / "a.png", png((7, 5, 8, 2), rows[:length])) == broken("too few pixels")


@pytest.mark.parametrize("size", [(1, 1), (3, 2), (5, 5), (9, 12)])
def test_interlaced_png_is_read_and_must_be_whole(size: tuple[int, int], tmp_path: Path) -> None:
    values = np.arange(size[0] * size[1], dtype=np.uint8).reshape(size[1], size[0])
    passes = [values[0::8, 0::8], values[0::8, 4::8], values[4::8, 0::4], values[0::4, 2::4]]
    passes += [values[2::4, 0::2], values[0::2, 1::2], values[1::2, :]]
    rows = b"".join(b"\0" + row.tobytes() for one in passes if one.size for row in one)
    (tmp_path / "a.png").write_bytes(png((*size, 8, 0), rows, interlaced=True))
    np.testing.assert_array_equal(read_label(tmp_path / "a.png"), values)
    assert mistake(tmp_path / "a.png", png((*size, 8, 0), rows[:-1], interlaced=True)) == broken("too few pixels")


def test_wrong_checksum_is_named_in_every_chunk(tmp_path: Path) -> None:
    data = RGB_PNG[:33] + chunk(b"tEXt", b"Comment\0of no importance") + RGB_PNG[33:]
    for kind, content in chunks(data):
        good = chunk(kind, content)
        spoiled = data.replace(good, good[:-1] + bytes([good[-1] ^ 1]))
        assert mistake(tmp_path / "a.png", spoiled) == broken(f"wrong checksum of chunk {kind!r}")


def test_metadata_of_a_png_is_neither_unpacked_nor_warned_of(tmp_path: Path) -> None:
    bomb = zlib.compress(bytes(2**21))  # Pillow refuses texts of more than 2**20 bytes
    more = chunk(b"zTXt", b"Comment\0\0" + bomb) + chunk(b"iCCP", b"profile\0\0" + bomb)
    more += chunk(b"acTL", bytes(8)) + chunk(b"eXIf", b"II*\0garbage") + chunk(b"tRNS", b"")
    assert decoded(tmp_path / "a.png", png((1, 1, 8, 2), b"\0\1\2\3", more)).tolist() == [[[1, 2, 3]]]


def test_first_picture_of_animations_and_of_phones_is_read(tmp_path: Path) -> None:
    pictures = [Image.fromarray(RGB), Image.fromarray(255 - RGB)]
    pictures[0].save(tmp_path / "a.png", save_all=True, append_images=pictures[1:])
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), RGB)
    pictures[0].save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=pictures[1:], quality=100, subsampling=0)
    assert np.abs(read_image(tmp_path / "a.jpg").astype(int) - RGB).max() < 8


def test_jpeg_of_many_scans_is_refused_before_it_takes_hours(tmp_path: Path) -> None:
    more = 100 - PROGRESSIVE.count(b"\xff\xda")
    hundred = PROGRESSIVE[:SCAN] + PROGRESSIVE[SCAN:-2] * (more + 1) + PROGRESSIVE[-2:]
    assert decoded(tmp_path / "a.jpg", hundred).shape == RGB.shape
    assert mistake(tmp_path / "a.jpg", hundred[:-2] + PROGRESSIVE[SCAN:]) == broken("over 100 scans")


def test_comment_between_scans_may_hold_an_end_marker(tmp_path: Path) -> None:
    comment = b"\xff\xfe\0\4\xff\xd9"
    commented = decoded(tmp_path / "a.jpg", PROGRESSIVE[:SCAN] + comment + PROGRESSIVE[SCAN:])
    np.testing.assert_array_equal(commented, decoded(tmp_path / "a.jpg", PROGRESSIVE))


def test_millions_of_chunks_take_no_memory_and_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(RGB_PNG[:33] + chunk(b"tEXt", b"") * 30_000 + RGB_PNG[33:])
    tracemalloc.start()
    np.testing.assert_array_equal(read_image(path), RGB)
    assert tracemalloc.get_traced_memory()[1] < 2 * path.stat().st_size
    tracemalloc.stop()
    assert mistake(path, RGB_PNG[:33] + chunk(b"tEXt", b"") * 2**18 + RGB_PNG[33:]) == broken("over 262144 chunks")
    assert mistake(path, b"\xff\xd8" + b"\xff\xfe\0\2" * 2**18 + RGB_JPEG[2:]) == broken("over 262144 segments")


def test_metadata_of_a_jpeg_is_dropped_in_linear_time(tmp_path: Path) -> None:
    segments = app1(b"Exif\0\0" + bytes(65000)) * 900  # Pillow would join them, which takes it a minute
    began = time.monotonic()
    assert decoded(tmp_path / "a.jpg", b"\xff\xd8" + segments + RGB_JPEG[2:]).shape == RGB.shape
    assert time.monotonic() < began + 5


@pytest.mark.parametrize("orientation", range(10))
@pytest.mark.parametrize(("mode", "ending"), [("RGB", "png"), ("P", "png"), ("RGB", "jpg"), ("L", "jpg")])
def test_exif_orientation_is_applied_or_refused(orientation: int, mode: str, ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{ending}"
    Image.fromarray(RGB).convert(mode).save(path, exif=exif(orientation))
    with Image.open(path) as picture:
        stored = np.asarray(picture.convert("RGB"))
        upright = np.asarray(ImageOps.exif_transpose(picture).convert("RGB"))
    np.testing.assert_array_equal(read_image(path), upright)
    if not 2 <= orientation <= 8:
        np.testing.assert_array_equal(read_image(path, turn=False), stored)
        return
    for reader in (partial(read_image, turn=False), read_label):
        with pytest.raises(UserError, match=rf"a\.{ending}: is rotated by its EXIF orientation {orientation}; "):
            reader(path)


@pytest.mark.parametrize(("order", "magic"), [("<", b"II*\0"), (">", b"MM\0*")])
@pytest.mark.parametrize(("kind", "number", "height"), [(3, "H2x", 7), (4, "L", 7), (1, "B3x", 5)])
def test_exif_orientation_is_found_by_order_place_and_type(
    order: str, magic: bytes, kind: int, number: str, height: int, tmp_path: Path
) -> None:
    other = struct.pack(f"{order}HHLHH", 0x0100, 4, 1, 0x0112, 3)
    turned = struct.pack(f"{order}HHL{number}", 0x0112, kind, 1, 6)
    xmp = app1(b"http://ns.adobe.com/xap/1.0/\0" + b"\xff\xda" * 300)
    for padding in (b"", b"\0\3\0" * 3):  # between the header and the entries
        head = magic + struct.pack(f"{order}L", 8 + len(padding)) + padding
        tags = app1(b"Exif\0\0" + head + struct.pack(f"{order}H", 4) + other * 2 + turned + other + bytes(4))
        for segments in (tags, xmp + tags, tags + app1(b"Exif\0\0" + magic)):  # a camera begins with EXIF
            image = decoded(tmp_path / "a.jpg", b"\xff\xd8" + segments + RGB_JPEG[2:])
            with Image.open(tmp_path / "a.jpg") as picture:
                np.testing.assert_array_equal(image, np.asarray(ImageOps.exif_transpose(picture)))
            assert len(image) == height
        entries = struct.pack(f"{order}H", 2) + other * 2 + turned  # the third counts no more
        cut_off = b"\xff\xd8" + app1(b"Exif\0\0" + head + entries) + RGB_JPEG[2:]
        assert decoded(tmp_path / "a.jpg", cut_off).shape == RGB.shape


def test_damaged_exif_is_ignored_without_a_warning(tmp_path: Path) -> None:
    tags = exif(6)
    assert decoded(tmp_path / "a.png", encoded("JPEG", exif=tags)).shape == (7, 5, 3)
    entry = tags.index(b"\x01\x12")
    for spoiled in (tags[: entry + 3], tags[:8], b"Exif\0\0XX" + tags[8:], tags[:10] + b"\xff" * 4, b"Exif\0\0"):
        assert decoded(tmp_path / "a.png", encoded("JPEG", exif=spoiled)).shape == (5, 7, 3)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file for the many examples of a property."""
    return tmp_path_factory.mktemp("scratch") / "a.png"


@given(arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40))))
def test_any_image_and_mask_is_read_back_as_it_was_written(scratch: Path, mask: np.ndarray) -> None:
    image = np.dstack([mask, mask // 2, 255 - mask])
    write_image(scratch, image)
    np.testing.assert_array_equal(read_image(scratch), image)
    write_mask(scratch, mask, CLASSES)
    np.testing.assert_array_equal(read_label(scratch), mask)
    colors = {0: (1, 2, 3), 1: (255, 0, 9)}  # all others, IGNORE too, are black
    expected = [[colors.get(value, (0, 0, 0)) for value in row] for row in mask.tolist()]
    np.testing.assert_array_equal(read_image(scratch), expected)


def test_picture_has_the_format_of_its_suffix(tmp_path: Path) -> None:
    image = np.repeat(np.repeat(RGB, 16, axis=0), 16, axis=1)
    for name in ("a.jpg", "a.JPEG"):
        write_image(tmp_path / name, image)
        with Image.open(tmp_path / name) as picture:
            assert picture.format == "JPEG"
        assert np.abs(read_image(tmp_path / name).astype(int) - image).mean() < 10
    with pytest.raises(UserError, match=r"a.gif: has the suffix '.gif'; pictures are written as .png, .jpg or .jpeg"):
        write_image(tmp_path / "a.gif", RGB)


@given(st.data(), st.sampled_from([1, 2, 4, 8]), st.sampled_from([0, 3]))
def test_label_of_any_depth_and_size_is_what_was_stored_or_refused(
    scratch: Path, data: st.DataObject, bits: int, color_type: int
) -> None:
    shape = array_shapes(min_dims=2, max_dims=2, max_side=20)
    values = data.draw(arrays(np.uint8, shape, elements=st.integers(0, 2**bits - 1)))
    height, width = values.shape
    each = np.unpackbits(values[..., None], axis=-1)[..., 8 - bits :].reshape(height, width * bits)
    rows = b"".join(b"\0" + row.tobytes() for row in np.packbits(each, axis=-1))
    scratch.write_bytes(png((width, height, bits, color_type), rows, chunk(b"PLTE", bytes(3 * 2**bits))))
    if color_type == 3 or bits == 8:
        np.testing.assert_array_equal(read_label(scratch), values)
    else:
        with pytest.raises(UserError, match=r"has mode (1|L;2|L;4); a label map is an 8-bit gray or palette PNG"):
            read_label(scratch)


def test_damaged_files_of_every_kind_are_read_or_refused_in_printable_lines_and_in_little_memory() -> None:
    for name in kinds():
        counts, failures = fuzz(name, range(100), seed=1)
        assert failures == []
        assert counts["read"] + counts["refused"] == 100
        assert min(counts["read"], counts["refused"]) > 0, name
