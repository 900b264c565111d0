"""Every frame is read once before a training, and again only if it may have changed."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fcn.config.settings import DataConfig
from fcn.datasets import folder, open_for_training, open_split, statistics
from fcn.datasets.dataset import Dataset
from fcn.datasets.statistics import RUN, FrameStatistics, check_frames
from fcn.errors import UserError
from fcn.files import write_file
from fcn.images import IGNORE, Array, SegmentationClass, write_image

CLASSES = (SegmentationClass("sky", (0, 0, 0)), SegmentationClass("road", (1, 1, 1), road=True))


def test_check_names_every_bad_frame_of_every_split() -> None:
    def read(index: int) -> tuple[Array, Array]:
        if index in (2, RUN):
            raise UserError(f"frame {index}: is bad")
        return np.full((3, 2, 3), index, np.uint8), np.zeros((3, 2), np.uint8)

    split = Dataset("val", CLASSES, tuple(map(str, range(RUN + 1))), read)
    lines = f"frame 2: is bad\nframe {RUN}: is bad"
    with pytest.raises(UserError, match=f"^{lines}\n{lines}$"):
        check_frames([split, split])


def test_fingerprint_is_the_sha256_of_the_frames_and_sums_are_those_of_numpy() -> None:
    random = np.random.default_rng(0)
    heights = random.integers(1, 9, 2 * RUN + 1)
    images = [random.integers(0, 256, (height, 5, 3), np.uint8) for height in heights]
    labels = [random.choice(np.array([0, 1, 1, IGNORE], np.uint8), (height, 5)) for height in heights]
    frames = list(zip(images, labels, strict=True))
    names = tuple(map(str, range(len(frames))))
    found = check_frames([Dataset("val", CLASSES, names, frames.__getitem__)])
    digests = b""
    for name, (image, label) in zip(names, frames, strict=True):
        digests += hashlib.sha256(f"val/{name} {image.shape}\n".encode() + image.tobytes() + label.tobytes()).digest()
    assert found.fingerprint == hashlib.sha256(digests).hexdigest()
    (split,) = found.splits
    assert (split.frames, split.height) == (len(frames), int(np.median(heights)))
    for one in (0, 1):
        pixels = np.concatenate(images)[np.concatenate(labels) == one]
        bins = np.ravel_multi_index(tuple(pixels.T // 16), (16, 16, 16))
        np.testing.assert_array_equal(split.bins[one], np.bincount(bins, minlength=4096))
        assert split.shown[one] == sum(label.size for label in labels if one in label)


def test_fingerprint_sees_pixels_labels_names_and_order() -> None:
    def fingerprint(names: str = "ab", image: int = 0, label: int = 0, swap: bool = False) -> str:
        def read(index: int) -> tuple[Array, Array]:
            index = 1 - index if swap else index
            return np.full((2, 2, 3), index + image, np.uint8), np.full((2, 2), label, np.uint8)

        return check_frames([Dataset("val", CLASSES, tuple(names), read)]).fingerprint

    changed = [fingerprint("ac"), fingerprint(image=1), fingerprint(label=1), fingerprint(swap=True)]
    changed.append(fingerprint("a\udce9"))  # a name that is not UTF-8
    assert len({fingerprint(), fingerprint(), *changed}) == 1 + len(changed)


def test_split_whose_pixels_are_all_ignored_is_refused() -> None:
    def read(_: int) -> tuple[Array, Array]:
        return np.zeros((2, 2, 3), np.uint8), np.full((2, 2), IGNORE, np.uint8)

    ignored = Dataset("val", CLASSES, ("a", "b"), read)
    labeled = Dataset("train", CLASSES, ("a",), lambda _: (np.zeros((2, 2, 3), np.uint8), np.eye(2, dtype=np.uint8)))
    with pytest.raises(UserError, match=r"^val: every pixel of its labels is ignored; check"):
        check_frames([labeled, ignored])


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DataConfig:
    """A data set of four frames on disk."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    root = tmp_path / "data"
    for split in ("train", "val"):
        for number in range(2):
            (root / "images" / split).mkdir(parents=True, exist_ok=True)
            (root / "masks" / split).mkdir(parents=True, exist_ok=True)
            write_image(root / "images" / split / f"{number}.png", np.full((8, 8, 3), number, np.uint8))
            write_image(root / "masks" / split / f"{number}.png", np.eye(8, dtype=np.uint8))
    return DataConfig(kind="folder", root=str(root), labels="all", class_names=("background", "road"))


def start(config: DataConfig, monkeypatch: pytest.MonkeyPatch) -> tuple[FrameStatistics, int]:
    """The statistics at a start of a training, and how many masks were decoded for them."""
    read: list[Path] = []
    decode = folder.decode_label
    with monkeypatch.context() as patch:
        patch.setattr(folder, "decode_label", lambda config, path: read.append(path) or decode(config, path))
        return open_for_training(config)[2], len(read)


def assert_same(one: FrameStatistics, other: FrameStatistics) -> None:
    assert one.fingerprint == other.fingerprint
    for mine, theirs in zip(one.splits, other.splits, strict=True):
        assert mine[:4] == theirs[:4]
        np.testing.assert_array_equal(mine.bins, theirs.bins, strict=True)
        np.testing.assert_array_equal(mine.shown, theirs.shown, strict=True)


def test_unchanged_data_set_is_not_read_again_wherever_it_lies(
    config: DataConfig, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first, reads = start(config, monkeypatch)
    assert reads == 4
    second, reads = start(replace(config, cache_megabytes=0), monkeypatch)
    assert reads == 0
    assert_same(second, first)
    root = Path(str(config.root))
    moved = replace(config, root=f"{root.rename(root.with_name('moved'))}/")
    assert start(moved, monkeypatch)[1] == 0
    lines = capsys.readouterr().err.splitlines()
    same = "frames: unchanged since they were checked (names, sizes, times)"
    assert re.fullmatch(r"frames: 4 checked in \d+ s", lines[0])
    assert lines[1:] == [same, same]


def resize(root: Path) -> None:
    file = root / "images/train/1.png"
    times = file.stat()
    write_image(file, np.zeros((8, 8, 3), np.uint8))
    file.write_bytes(file.read_bytes() + b"x")  # what follows a PNG does not count
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))


def add(root: Path) -> None:
    for part in ("images", "masks"):
        write_image(root / part / "val/2.png", np.eye(8, dtype=np.uint8))


def rename(root: Path) -> None:
    for part in ("images", "masks"):
        (root / part / "val/1.png").rename(root / part / "val/3.png")


def flip_a_bit(root: Path) -> None:
    (file,) = root.glob(".fcn-frames-*")
    data = bytearray(file.read_bytes())
    data[-3] ^= 1
    file.write_bytes(data)


def empty(root: Path) -> None:
    (file,) = root.glob(".fcn-frames-*")
    file.write_bytes(b"")


def touch(root: Path) -> None:
    os.utime(root / "masks/train/0.png", ns=(0, 1))


@pytest.mark.parametrize("change", [resize, touch, add, rename, flip_a_bit, empty])
def test_changed_data_set_or_damaged_file_is_read_again_and_kept_anew(
    change: Callable[[Path], None], config: DataConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    start(config, monkeypatch)
    root = Path(str(config.root))
    change(root)
    found, reads = start(config, monkeypatch)
    assert reads == len(list(root.glob("masks/*/*")))
    assert_same(found, check_frames([open_split(config, split) for split in ("train", "val")]))
    assert start(config, monkeypatch)[1] == 0
    assert len(list(root.glob(".fcn-frames-*"))) == 1


def test_other_settings_and_other_libraries_do_not_share_what_was_found(
    config: DataConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    start(config, monkeypatch)
    for name, value in {"labels": "road", "mask_values": (0, 1), "max_megapixels": 1}.items():
        other = replace(config, **{name: value})
        assert start(other, monkeypatch)[1] == 4
    assert start(config, monkeypatch)[1] == 0
    monkeypatch.setattr(statistics.metadata, "version", lambda _: "0")
    assert start(config, monkeypatch)[1] == 4


def test_invalid_frame_is_reported_at_every_start(config: DataConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    (Path(str(config.root)) / "images/val/1.png").write_bytes(b"no picture")
    for _ in range(2):
        with pytest.raises(UserError, match=r"1.png: is not a PNG or JPEG"):
            start(config, monkeypatch)


@pytest.mark.parametrize("caches", [True, False], ids=["with a cache folder", "without one"])
def test_read_only_data_set_is_left_alone(
    caches: bool,
    config: DataConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def write(path: Path, data: bytes) -> None:
        if not caches or tmp_path / "cache" not in path.parents:
            raise OSError("Read-only file system")
        write_file(path, data)

    monkeypatch.setattr(statistics, "write_file", write)
    first, _ = start(config, monkeypatch)
    second, reads = start(config, monkeypatch)
    assert_same(second, first)
    assert reads == (0 if caches else 4)
    assert ("cannot be written, nor a cache folder" in capsys.readouterr().err) == (not caches)
    assert sorted(path.name for path in Path(str(config.root)).iterdir()) == ["images", "masks"]
    kept = list(tmp_path.glob("cache/fcn/*"))
    assert len(kept) == caches
    assert not any(str(config.root).encode() in file.read_bytes() for file in kept)
