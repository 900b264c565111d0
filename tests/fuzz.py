"""Fuzzes the image readers: every damaged file is read, or refused in one line, at once and in little memory.

    python tests/fuzz.py [--count 20000] [--seed 0]

Prints a line for each file that is not, and a closing line with the counts; exit status 1 where there was one.
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
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, PngImagePlugin

from fcn.errors import UserError
from fcn.images import read_image, read_label

SECONDS, MEGABYTES, MEGAPIXELS = 1, 200, 1  # what a reader may take of a file whose pixels are limited so
EXTREMES = [struct.pack(">I", value) for value in (0, 1, 0x0000FFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)]


def whole_files() -> list[bytes]:
    """Small files of every kind that can be written, and of some more."""
    rgb = np.random.default_rng(0).integers(0, 256, (9, 13, 3), dtype=np.uint8)
    color, sixteen = Image.fromarray(rgb), Image.fromarray(rgb[..., 0].astype(np.uint16) * 200)
    text, tags = PngImagePlugin.PngInfo(), Image.Exif()
    text.add_text("Comment", "x" * 50, zip=True)
    text.add_itxt("Title", "y" * 50, zip=True)
    tags[0x0112], tags[0x010E] = 6, "a description"
    metadata = {"exif": tags, "icc_profile": bytes(100), "dpi": (72, 72)}
    wanted = [(color.convert(mode), "PNG", {}) for mode in ("1", "L", "P", "LA", "RGB", "RGBA")]
    wanted += [(color.convert("P"), "PNG", {"bits": 4, "transparency": bytes(range(16))}), (sixteen, "PNG", {})]
    wanted += [(color, "PNG", {"pnginfo": text, **metadata})]
    wanted += [(color, "PNG", {"save_all": True, "append_images": [color.rotate(180)]})]
    wanted += [(color.convert(mode), "JPEG", {}) for mode in ("L", "RGB", "CMYK")]
    wanted += [(color, "JPEG", {"progressive": True, **metadata}), (color, "JPEG", {"restart_marker_blocks": 1})]
    wanted += [(color, "MPO", {"save_all": True, "append_images": [color]})]
    files = []
    for picture, image_format, options in wanted:
        buffer = io.BytesIO()
        picture.save(buffer, image_format, **options)
        files.append(buffer.getvalue())
    header = struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 1)
    files.append(files[0][:8] + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0\7")) + chunk(b"IEND", b""))
    return files


def chunk(kind: bytes, content: bytes) -> bytes:
    """A chunk of a PNG, with its checksum."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(kind, content) of the chunks of a whole PNG."""
    here = 8
    while here < len(data):
        (length,) = struct.unpack_from(">I", data, here)
        yield data[here + 4 : here + 8], data[here + 8 : here + 8 + length]
        here += 12 + length


def damaged(data: bytes, other: bytes, chance: random.Random) -> bytes:
    """The file with a bit flipped, a part cut off, left out, repeated, overwritten, or taken from the other file."""
    begin, end = sorted(chance.randrange(len(data) + 1) for _ in range(2))
    match chance.choice(["flip", "flip", "extreme", "cut", "leave out", "repeat", "splice"]):
        case "flip" if data:
            spoiled = bytearray(data)
            spoiled[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
            return bytes(spoiled)
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


def fuzz(count: int, seed: int) -> tuple[int, int, list[str]]:
    """Reads `count` damaged files as image and as label.

    Returns:
        How often one was read and refused, and a line for each that was neither, with its number.
    """
    whole = whole_files()
    pngs = [data for data in whole if data.startswith(b"\x89PNG")]
    read, refused, failures = 0, 0, []
    signal.signal(signal.SIGALRM, too_slow)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.png")
        for number in range(count):
            chance = random.Random(seed * 10**9 + number)  # noqa: S311 # so that each file can be made again alone
            data = chance.choice(whole)
            if data in pngs and chance.random() < 0.6:
                data = damaged_chunks(data, chance.choice(pngs), chance)
            else:
                for _ in range(chance.randrange(1, 4)):
                    data = damaged(data, chance.choice(whole), chance)
            path.write_bytes(data)
            for reader in (read_image, read_label):
                most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
                signal.setitimer(signal.ITIMER_REAL, SECONDS)
                try:
                    reader(path, MEGAPIXELS)
                    read += 1
                except UserError as error:
                    refused += 1
                    if "\n" in str(error) or not str(error).startswith(f"{path}: "):
                        failures.append(f"file {number} of seed {seed}: {reader.__name__}: {error!r}")
                except Exception as error:
                    failures.append(f"file {number} of seed {seed}: {reader.__name__}: {error!r}")
                finally:
                    signal.setitimer(signal.ITIMER_REAL, 0)
                grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - most) / 1024
                if grown > MEGABYTES:
                    failures.append(f"file {number} of seed {seed}: {reader.__name__}: took {grown:.0f} MB")
    return read, refused, failures


def main() -> int:
    """Runs the fuzzing."""
    command = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    command.add_argument("--count", type=int, default=20000, help="files; 20000")
    command.add_argument("--seed", type=int, default=0, help="of the damage; 0")
    arguments = command.parse_args()
    warnings.simplefilter("error")
    began = time.monotonic()
    read, refused, failures = fuzz(arguments.count, arguments.seed)
    print("\n".join(failures[:100]), end="\n" if failures else "")
    print(
        f"{arguments.count} files as image and as label: {read} read, {refused} refused, {len(failures)} failed "
        f"in {time.monotonic() - began:.0f} s"
    )
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
