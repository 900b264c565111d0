"""Fuzzes the image readers: every damaged file is read, or refused in one line, quickly and in little memory.

    python tests/fuzz.py [--count 20000] [--seed 0]

Prints a line for each failure and a summary; exit status 1 if there was one.
"""

from __future__ import annotations

import argparse
import io
import random
import resource
import signal
import struct
import sys
import tempfile
import time
import warnings
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image, PngImagePlugin

from fcn.errors import UserError
from fcn.images import read_image, read_label

SECONDS = 1  # limits of a reader
MEGABYTES = 200
MEGAPIXELS = 1
EXTREMES = [struct.pack(">I", value) for value in (0, 1, 0x0000FFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)]


def valid_files() -> list[bytes]:
    """Small files of every kind that can be written, and of some more."""
    rgb = np.random.default_rng(0).integers(0, 256, (9, 13, 3), dtype=np.uint8)
    color = Image.fromarray(rgb)
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", "x" * 50, zip=True)
    text.add_itxt("Title", "y" * 50, zip=True)
    tags = Image.Exif()
    tags[0x0112] = 6
    tags[0x010E] = "a description"
    metadata = {"exif": tags, "icc_profile": bytes(100), "dpi": (72, 72)}
    wanted = [
        *((color.convert(mode), "PNG", {}) for mode in ("1", "L", "P", "LA", "RGB", "RGBA")),
        (color.convert("P"), "PNG", {"bits": 4, "transparency": bytes(range(16))}),
        (Image.fromarray(rgb[..., 0].astype(np.uint16) * 200), "PNG", {}),
        (color, "PNG", {"pnginfo": text, **metadata}),
        (color, "PNG", {"save_all": True, "append_images": [color.rotate(180)]}),
        *((color.convert(mode), "JPEG", {}) for mode in ("L", "RGB", "CMYK")),
        (color, "JPEG", {"progressive": True, **metadata}),
        (color, "JPEG", {"restart_marker_blocks": 1}),
        (color, "MPO", {"save_all": True, "append_images": [color]}),
    ]
    files = []
    for picture, image_format, options in wanted:
        buffer = io.BytesIO()
        picture.save(buffer, image_format, **options)
        files.append(buffer.getvalue())
    interlaced = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 1))
    files.append(files[0][:8] + interlaced + chunk(b"IDAT", zlib.compress(b"\0\7")) + chunk(b"IEND", b""))
    return files


def chunk(kind: bytes, content: bytes) -> bytes:
    """A chunk of a PNG, with its checksum."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(kind, content) of the chunks of a valid PNG."""
    here = 8
    while here < len(data):
        (length,) = struct.unpack_from(">I", data, here)
        yield data[here + 4 : here + 8], data[here + 8 : here + 8 + length]
        here += 12 + length


def damaged(data: bytes, other: bytes, chance: random.Random) -> bytes:
    """The file with a bit flipped, or a part cut off, left out, repeated, overwritten or taken from the other file."""
    begin, end = sorted(chance.randrange(len(data) + 1) for _ in range(2))
    match chance.choice(["flip", "flip", "extreme", "cut", "leave out", "repeat", "splice"]):
        case "flip" if data:
            flipped = bytearray(data)
            flipped[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
            return bytes(flipped)
        case "extreme":
            return data[:begin] + chance.choice(EXTREMES) + data[begin + 4 :]
        case "cut":
            return data[:end]
        case "leave out":
            return data[:begin] + data[min(end, begin + 20) :]
        case "repeat":
            return data[:end] + data[begin:end] * chance.randrange(1, 4) + data[end:]
    return data[:begin] + other[begin:end] + data[end:]


def damaged_chunks(data: bytes, other: bytes, chance: random.Random) -> bytes:
    """A PNG with chunks damaged, repeated, left out, swapped or taken from another one, and all checksums right."""
    parts, foreign = list(chunks(data)), list(chunks(other))
    for _ in range(chance.randrange(1, 3)):
        place = chance.randrange(len(parts))
        kind, content = parts[place]
        match chance.choice(["damage", "damage", "rows", "repeat", "leave out", "swap", "foreign"]):
            case "damage":
                parts[place] = kind, damaged(content, chance.choice(foreign)[1], chance)
            case "rows" if kind == b"IDAT":
                rows = zlib.decompress(dict(chunks(data))[b"IDAT"])
                parts[place] = kind, zlib.compress(damaged(rows, rows, chance))
            case "repeat":
                parts.insert(place, parts[place])
            case "leave out" if len(parts) > 1:
                del parts[place]
            case "swap":
                parts.append(parts.pop(place))
            case "foreign":
                parts.insert(place, chance.choice(foreign))
    return data[:8] + b"".join(chunk(*part) for part in parts)


def too_slow(_signal: int, _frame: object) -> None:
    """Ends a reader that takes too long."""
    raise TimeoutError(f"over {SECONDS} s")


def read(reader: Callable[[Path, int], object], path: Path) -> tuple[bool, str | None]:
    """Whether the file was read rather than refused, and how the reader failed, if it did."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    accepted = False
    failure = None
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        reader(path, MEGAPIXELS)
        accepted = True
    except UserError as error:
        if "\n" in str(error) or not str(error).startswith(f"{path}: "):
            failure = repr(error)
    except Exception as error:
        failure = repr(error)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    megabytes = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    return accepted, f"took {megabytes:.0f} MB" if megabytes > MEGABYTES else failure


def fuzz(count: int, seed: int) -> tuple[int, int, list[str]]:
    """Reads `count` damaged files as image and as label; returns how many were read and refused, and the failures."""
    signal.signal(signal.SIGALRM, too_slow)
    files = valid_files()
    pngs = [data for data in files if data.startswith(b"\x89PNG")]
    counts = Counter(read=0, refused=0)
    failures = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.png")
        for number in range(count):
            chance = random.Random(seed * 10**9 + number)  # noqa: S311 # each file can be made again alone
            data = chance.choice(files)
            if data in pngs and chance.random() < 0.6:
                data = damaged_chunks(data, chance.choice(pngs), chance)
            else:
                for _ in range(chance.randrange(1, 4)):
                    data = damaged(data, chance.choice(files), chance)
            path.write_bytes(data)
            for reader in (read_image, read_label):
                accepted, failure = read(reader, path)
                if failure:
                    failures.append(f"file {number} of seed {seed}: {reader.__name__}: {failure}")
                else:
                    counts["read" if accepted else "refused"] += 1
    return counts["read"], counts["refused"], failures


def main() -> int:
    """Runs the fuzzing."""
    command = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    command.add_argument("--count", type=int, default=20000, help="number of files; 20000")
    command.add_argument("--seed", type=int, default=0, help="seed of the damage; 0")
    arguments = command.parse_args()
    warnings.simplefilter("error")
    began = time.monotonic()
    accepted, refused, failures = fuzz(arguments.count, arguments.seed)
    for failure in failures:
        print(failure)
    seconds = time.monotonic() - began
    print(
        f"{arguments.count} files as image and as label: {accepted} read, {refused} refused, {len(failures)} failed "
        f"in {seconds:.0f} s"
    )
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
