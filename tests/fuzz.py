"""Fuzzes the readers of files: a damaged file is read, or refused in printable lines, quickly and in little memory.

    python tests/fuzz.py [--count 30000] [--seed 0] [--kind weights] [--first 0]

Prints a line for each failure and each kind of file; exit status 1 if there was a failure. A file depends on its kind,
number and seed alone: `--kind weights --seed 1 --first 17 --count 1` makes one again.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import io
import json
import os
import random
import re
import resource
import shutil
import signal
import struct
import sys
import tempfile
import time
import warnings
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple
from unittest.mock import patch

import h5py
import numpy as np
from PIL import Image, PngImagePlugin

from fcn.config.settings import DataConfig, ModelConfig
from fcn.config.yaml_file import load_config
from fcn.datasets import folder, kitti_road
from fcn.datasets.download import Archive, unpack
from fcn.datasets.import_labels import import_labels
from fcn.errors import UserError
from fcn.evaluation.kitti.benchmark import score_predictions
from fcn.evaluation.kitti.birds_eye import road_to_image
from fcn.images import read_image, read_label
from fcn.model.pretrained import set_initial_weights
from fcn.model.weights import load_weights
from fcn.runs import checkpoint, trained
from fcn.runs.log import INVALID_JSON, read_rows

SECONDS = 1  # limits of a reader
MEGABYTES = 200
MEGAPIXELS = 1
ORDERS = (">I", "<I", "<Q")  # of PNG and JPEG, of zip, of HDF5
EXTREMES = [struct.pack(order, value) for order in ORDERS for value in (0, 1, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1)]
EXTREMES += [struct.pack("<Q", value) for value in (2**62, 2**63 - 1, 2**63, 2**64 - 1)]
WORD = re.compile(rb"[\w.+-]+|\s+|[^\w\s]")  # of a text
WORDS = [b"", b"null", b"true", b"-1", b"0", b"1e999", b"NaN", b"9" * 5000, b"x" * 2000, b"[]", b"{}", b"[" * 2000]
WORDS += [b'"', b'"\\ud800\\n"', b"\xff", "\u202e\u0663".encode(), b"\0", b"\r\n", b"- ", b"&a ", b"*a", b"!!int "]


class Kind(NamedTuple):
    """Files of a kind: valid ones, how one is damaged (with parts of another), and the reader."""

    valid: list[bytes]
    damage: Callable[[bytes, bytes, random.Random], bytes]
    reader: Callable[[Path], object]
    file: str = "file"  # its name


@cache
def kinds() -> dict[str, Kind]:
    """Every kind, by name."""
    labels = np.random.default_rng(0).integers(0, 2, (9, 13), dtype=np.uint8)
    masks = [encoded(Image.fromarray(labels)), encoded(Image.fromarray(labels * 7).convert("P"))]
    colors = [encoded(Image.fromarray(kitti_road.COLORS[labels]))]
    of_indices = DataConfig(
        kind="folder", root="", class_names=("other", "road"), ignore_values=(7,), max_megapixels=MEGAPIXELS
    )
    of_colors = replace(of_indices, mask_kind="color", class_colors=((255, 0, 0), (255, 0, 255)), ignore_values=())
    configs = [path.read_bytes() for path in sorted(Path(__file__).parents[1].glob("configs/*.yaml"))]
    calibration = b"P2: 100 0 60 0 0 1e2 20 0 0 0 1 -0.5\nR0_rect: 1 0 0 0 1 0 0 0 1\n"
    calibration += b"Tr_cam_to_road: 1 0 0 0 0 1 0 -1.5 0 0 1 0\n"
    rows = b'{"step": 20, "loss": 0.5, "run_seconds": 1.5}\n{"step": 40, "changed": {"a": [1, null]}}\n'
    zips = [zipped(zipfile.ZIP_DEFLATED, 2**31), zipped(zipfile.ZIP_STORED, 0)]

    arrays = {"fc6/kernel": np.ones((3, 3, 2, 4), "f4"), "fc6/bias": np.zeros(4, "f4"), "fc7/gamma": np.ones(9, "f4")}
    with h5py.File("weights", "w", driver="core", backing_store=False) as file:
        for name, array in arrays.items():
            file[name] = array
        file.flush()
        weights = file.id.get_file_image()
    variables = [
        SimpleNamespace(path=name, shape=array.shape, dtype="float32", numpy=array.copy)
        for name, array in arrays.items()
    ]
    pixels = SimpleNamespace(scale=1 / 64)  # the preprocessing of fcn's own weights
    network = SimpleNamespace(
        weights=variables, set_weights=lambda values: values, layers=[], get_layer=lambda _: pixels
    )
    about = {"bytes": len(weights), "sha256": hashlib.sha256(weights).hexdigest()}
    record = json.dumps({"step": 1, "classes": ["other", "road"], **about}, indent=2).encode()
    manifest = sealed({"name": "manifest", "step": 1, "environment": {"python": "3"}, "files": {"weights": about}})

    def read_prediction(path: Path) -> None:
        truth = path.parent / "training/gt_image_2" / path.name
        truth.parent.mkdir(parents=True, exist_ok=True)
        truth.write_bytes(colors[0])
        scored, problems = score_predictions(replace(of_indices, root=str(path.parent)), path.parent)
        if not scored["frames"]:
            raise UserError(*problems)

    def read_zip(path: Path) -> None:
        tree = path.with_name("tree")
        shutil.rmtree(tree, ignore_errors=True)
        with patch.object(os, "sync"):  # takes longer than all the rest
            unpack(path, Archive(url="", folder="tree", root="", files={"train/*.png": 1, "*.txt": 1}), tree)

    def read_record(path: Path) -> None:
        path.with_name("weights").write_bytes(weights)
        with patch.object(trained, "WAITS", (0,)):
            trained.read_weights(path.with_name("weights"), path)

    def read_initial_weights(path: Path) -> None:
        set_initial_weights(network, path, content=path.read_bytes(), trained=ModelConfig(), same_classes=True)

    def read_manifest(path: Path) -> None:
        path.with_name("weights").write_bytes(weights)
        damage = checkpoint.find_damage(path.parent)
        if damage is not None:
            raise UserError(f"{path}: {damage}")

    def read_tool(path: Path) -> None:
        out = path.with_name("out")
        shutil.rmtree(out, ignore_errors=True)
        path.with_name("a.png").write_bytes(encoded(Image.new("RGB", (13, 9))))
        with patch.object(os, "sync"):
            import_labels(path, out)

    return {
        "image": Kind(images(), damaged_image, lambda path: read_image(path, MEGAPIXELS)),
        "label": Kind(images(), damaged_image, lambda path: read_label(path, MEGAPIXELS)),
        "index mask": Kind([*images(), *masks * 9], damaged_image, lambda path: folder.decode_label(of_indices, path)),
        "color mask": Kind([*images(), *colors * 9], damaged_image, lambda path: folder.decode_label(of_colors, path)),
        "prediction": Kind([*images(), *masks * 9], damaged_image, read_prediction, "um_road_000000.png"),
        "calibration": Kind([calibration], damaged_text, road_to_image),
        "zip": Kind(zips, damaged_file, read_zip),
        "config": Kind(configs, damaged_text, load_config),
        "weights": Kind([weights], damaged_file, lambda path: load_weights(network, path)),
        "initial weights": Kind([weights], damaged_file, read_initial_weights),
        "rows": Kind([rows], damaged_text, read_rows),
        "record": Kind([record], damaged_text, read_record),
        "labels of a tool": Kind(tool_labels(), damaged_text, read_tool, "labels.json"),
        "manifest": Kind([manifest], damaged_manifest, read_manifest, checkpoint.MANIFEST),
    }


def tool_labels() -> list[bytes]:
    """Files of COCO and LabelMe for the image a.png of 13x9 pixels."""
    regions = [
        {"segmentation": [[0, 0, 9, 0, 9, 5.5]], "bbox": [0, 0, 9, 5]},
        {"segmentation": {"size": [9, 13], "counts": [0, 9, 108]}, "iscrowd": 1},
        {"segmentation": {"size": [9, 13], "counts": "1`35"}},
    ]
    coco = {
        "images": [{"id": 1, "file_name": "a.png", "height": 9, "width": 13}],
        "categories": [{"id": 1, "name": "road"}],
        "annotations": [{"id": number, "image_id": 1, "category_id": 1, **one} for number, one in enumerate(regions)],
    }
    bitmap = base64.b64encode(encoded(Image.new("1", (2, 2), 1))).decode()
    shapes = [
        {"label": "road", "points": [[0, 0], [9, 0], [9, 5.5]]},
        {"label": "car", "points": [[1, 1], [5, 5]], "shape_type": "rectangle"},
        {"label": "car", "points": [[4, 4], [5, 5]], "shape_type": "circle"},
        {"label": "__ignore__", "points": [[4, 4], [5, 5]], "shape_type": "mask", "mask": bitmap},
    ]
    labelme = {"imagePath": "a.png", "imageHeight": 9, "imageWidth": 13, "shapes": shapes}
    return [json.dumps(coco).encode(), json.dumps(labelme).encode()]


def encoded(picture: Image.Image, image_format: str = "PNG", **options: object) -> bytes:
    """The file of a picture."""
    buffer = io.BytesIO()
    picture.save(buffer, image_format, **options)
    return buffer.getvalue()


def zipped(compression: int, limit: int) -> bytes:
    """A zip whose numbers take 64 bits from this limit on."""
    buffer = io.BytesIO()
    with patch.object(zipfile, "ZIP64_LIMIT", limit), zipfile.ZipFile(buffer, "w", compression) as opened:
        for name, content in {"a/": b"", "a/train/1.png": bytes(3000), "a/1.txt": b"1"}.items():
            opened.writestr(zipfile.ZipInfo(name), content, compression)  # without the time
    return buffer.getvalue()


def sealed(manifest: dict[str, object]) -> bytes:
    """The manifest with its digest."""
    return json.dumps({**manifest, "sha256": checkpoint._digest(manifest)}).encode()


def images() -> list[bytes]:
    """Small files of every format that can be written, and of some more."""
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
    files = [encoded(picture, image_format, **options) for picture, image_format, options in wanted]
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
            extreme = chance.choice(EXTREMES)
            return data[:begin] + extreme + data[begin + len(extreme) :]
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


def damaged_file(data: bytes, other: bytes, chance: random.Random) -> bytes:
    """Any file, damaged one to three times."""
    for _ in range(chance.randrange(1, 4)):
        data = damaged(data, other, chance)
    return data


def damaged_image(data: bytes, other: bytes, chance: random.Random) -> bytes:
    """A PNG or JPEG; of two PNGs mostly their chunks are damaged, as a wrong checksum ends the reading early."""
    pngs = data.startswith(b"\x89PNG") and other.startswith(b"\x89PNG")
    return (damaged_chunks if pngs and chance.random() < 0.7 else damaged_file)(data, other, chance)


def damaged_text(data: bytes, other: bytes, chance: random.Random) -> bytes:
    """A text; mostly with words and signs that are left out, or replaced by strange or foreign ones."""
    if chance.random() < 0.3:
        return damaged_file(data, other, chance)
    words = WORD.findall(data)
    foreign = WORD.findall(other)
    for _ in range(chance.randrange(1, 4)):
        words[chance.randrange(len(words))] = chance.choice(chance.choice([WORDS, foreign]))
    return b"".join(words)


def damaged_manifest(data: bytes, other: bytes, chance: random.Random) -> bytes:
    """A manifest; where it is JSON still, mostly with the right digest of what it says."""
    data = damaged_text(data, other, chance)
    try:
        return sealed(json.loads(data)) if chance.random() < 0.7 else data
    except (*INVALID_JSON, AttributeError):
        return data


def too_slow(_signal: int, _frame: object) -> None:
    """Ends a reader that takes too long."""
    raise TimeoutError


def read(reader: Callable[[Path], object], path: Path) -> tuple[bool, str | None]:
    """Whether the file was read rather than refused, and how the reader failed, if it did."""
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.monotonic()
    accepted = False
    failure = None
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    signal.setitimer(signal.ITIMER_VIRTUAL, 5 * SECONDS)  # ends the process where C code hangs
    try:
        reader(path)
        accepted = True
    except UserError as error:
        lines = str(error).split("\n")
        well_said = all(line.isprintable() and line.startswith(str(path.parent)) for line in lines)
        if not well_said or (len(lines) > 1 and reader is not load_config):
            failure = repr(error)
    except Exception as error:
        failure = repr(error)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    seconds = time.monotonic() - began
    megabytes = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory) / 1024
    if seconds > SECONDS or megabytes > MEGABYTES:  # whatever the reader made of the TimeoutError
        failure = f"took {seconds:.1f} s and {megabytes:.0f} MB"
    return accepted, failure


def fuzz(name: str, numbers: range, seed: int) -> tuple[Counter[str], list[str]]:
    """Reads damaged files of a kind; returns how many were read and refused, and the failures."""
    signal.signal(signal.SIGALRM, too_slow)
    signal.signal(signal.SIGVTALRM, signal.SIG_DFL)
    kind = kinds()[name]
    counts = Counter(read=0, refused=0)
    failures = []
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary, name, kind.file)
        path.parent.mkdir()
        for number in numbers:
            chance = random.Random(f"{name} {seed} {number}")  # noqa: S311 # each file can be made again alone
            path.write_bytes(kind.damage(chance.choice(kind.valid), chance.choice(kind.valid), chance))
            accepted, failure = read(kind.reader, path)
            if failure:
                failures.append(f"{name} {number} of seed {seed}: {failure}")
            else:
                counts["read" if accepted else "refused"] += 1
    return counts, failures


def fuzz_apart(name: str, numbers: range, seed: int) -> tuple[Counter[str], list[str]]:
    """As `fuzz` in another process. Where that dies in C, its numbers are halved until the file is found."""
    with ProcessPoolExecutor(1, initializer=warnings.simplefilter, initargs=("error",)) as pool:
        try:
            return pool.submit(fuzz, name, numbers, seed).result()
        except BrokenProcessPool:
            if len(numbers) == 1:
                return Counter(), [f"{name} {numbers[0]} of seed {seed}: the process died"]
    half = len(numbers) // 2
    counts, failures = fuzz_apart(name, numbers[:half], seed)
    more_counts, more_failures = fuzz_apart(name, numbers[half:], seed)
    return counts + more_counts, failures + more_failures


def main() -> int:
    """Runs the fuzzing."""
    names = list(kinds())
    command = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    command.add_argument("--count", type=int, default=30000, help="number of files of all kinds; 30000")
    command.add_argument("--seed", type=int, default=0, help="seed of the damage; 0")
    command.add_argument("--kind", choices=names, help="the only kind; all, each the same share of the files")
    command.add_argument("--first", type=int, default=0, help="number of the first file of a kind; 0")
    arguments = command.parse_args()
    names = [arguments.kind] if arguments.kind else names
    numbers = range(arguments.first, arguments.first + arguments.count // len(names))
    failed = 0
    for name in names:
        began = time.monotonic()
        counts, failures = fuzz_apart(name, numbers, arguments.seed)
        print(*failures, sep="\n", end="\n" if failures else "")
        summary = f"{counts['read']} read, {counts['refused']} refused, {len(failures)} failed"
        print(f"{name}: {summary} in {time.monotonic() - began:.0f} s", flush=True)
        failed += len(failures)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
