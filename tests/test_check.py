"""The check of a data set: it reports every mistake, none hides another, its figures are those counted by hand."""

from __future__ import annotations

import os
import shutil
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, Script
from PIL import Image

from fcn.config.settings import AugmentConfig, DataConfig, ProgressiveConfig
from fcn.datasets import camvid, open_for_training
from fcn.datasets.camvid import VOID, frame_files
from fcn.datasets.check import FrameStats, SplitReport, check_data, crop_remark, summary
from fcn.datasets.dataset import BACKGROUND_AND_ROAD, Dataset, FrameFiles
from fcn.errors import UserError

REAL = ROOT / "data" / "CamVid"
RANDOM = np.random.default_rng(0)
CLASSES_OF_A_FRAME = np.arange(48, dtype=np.uint8).reshape(6, 8) % (VOID + 1)  # each class and void 4 times


def add_frames(root: Path, split: str, names: str = "ab") -> None:
    """Random pictures of 6 x 8 pixels with every class."""
    for name in names:
        picture = Image.fromarray(RANDOM.integers(0, 256, (6, 8, 3), dtype=np.uint8))
        picture.save(root / split / f"{split}_{name}.png")
        save_label(root / f"{split}annot/{split}_{name}.png", CLASSES_OF_A_FRAME)


def save_label(path: Path, values: object) -> None:
    Image.fromarray(np.broadcast_to(np.array(values, np.uint8), (6, 8))).save(path)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Valid: two frames of 6 x 8 pixels in each of train, val and test."""
    for split in ("train", "val", "test"):
        for folder in (split, f"{split}annot"):
            (tmp_path / folder).mkdir()
        add_frames(tmp_path, split)
    return tmp_path


def config(root: Path, labels: str = "all") -> DataConfig:
    return DataConfig(kind="camvid", root=str(root), labels=labels)


def problems(root: Path) -> list[str]:
    return [line.replace(f"{root}/", "") for line in check_data(config(root))[1]]


def test_valid_set_has_no_problem_and_its_figures_are_those_counted_by_hand(tree: Path) -> None:
    reports, found, remarks = check_data(config(tree))
    assert (found, remarks) == ([], [])
    lines = summary(reports).splitlines()
    assert lines[1].split() == ["train", "2", "2", "6", "x", "8", "(2)"]
    assert lines[5].split() == ["Sky", "8.33%", "8.33%", "8.33%"]
    assert lines[16].split() == ["ignored", "8.33%", "8.33%", "8.33%"]
    assert lines[17] == f"class weights by median frequency on train: [{', '.join(['1.0000'] * 11)}]"
    road = summary(check_data(config(tree, "road"))[0])
    assert "road            8.33%    8.33%    8.33%\nignored         8.33%" in road


def test_synthetic_set_is_checked_without_files() -> None:
    reports, found, _ = check_data(DataConfig(synthetic_frames=(2, 1, 1), synthetic_size=(32, 64)))
    assert found == []
    assert [len(report.valid) for report in reports] == [2, 1, 1]


EXIF = Image.Exif()
EXIF[0x0112] = 6  # rotated
GRAY_WITH_ALPHA = Image.new("LA", (8, 6))
DEEP = Image.fromarray(np.zeros((6, 8), np.uint16))
PHOTO_PALETTE = Image.fromarray(np.full((6, 8), 200, np.uint8)).convert("P")
MISTAKES: dict[str, tuple[Callable[[Path], None], str]] = {
    "train/train_a.png": (Path.unlink, "is missing; restore it, or remove the frame"),
    "train/train_b.png": (partial(Image.new("RGB", (8, 6)).save, exif=EXIF), "is rotated by its EXIF orientation 6"),
    "trainannot/train_b.png": (partial(Image.new("L", (8, 6)).save, format="JPEG"), "is a JPEG; its compression"),
    "val/val_a.png": (DEEP.save, "has mode I;16B, over 8 bits a channel"),
    "valannot/val_a.png": (GRAY_WITH_ALPHA.save, "has mode LA; a label map is an 8-bit gray or palette PNG"),
    "valannot/val_b.png": (Image.new("L", (8, 7)).save, "is 8x7, its image val_b.png 8x6"),
    "test/test_a.png": (GRAY_WITH_ALPHA.save, "has an alpha channel, and training also sees what it hides"),
    "testannot/test_b.png": (PHOTO_PALETTE.save, "holds values that are not a class: 200 (48 px)"),
}


def test_no_mistake_hides_another(tree: Path) -> None:
    for name, (damage, _) in MISTAKES.items():
        damage(tree / name)
    found = problems(tree)
    assert [line.partition(":")[0] for line in found] == list(MISTAKES)
    for line, (_, expected) in zip(found, MISTAKES.values(), strict=True):
        assert expected in line


def test_pipe_among_the_masks_hangs_nothing(tree: Path) -> None:
    (tree / "trainannot/train_a.png").unlink()
    os.mkfifo(tree / "trainannot/train_a.png")
    assert problems(tree)[0].startswith("trainannot/train_a.png: is a pipe or device; name a PNG")
    with pytest.raises(UserError, match=r"train_a\.png: is a pipe or device; name a PNG"):
        open_for_training(config(tree))


def test_same_picture_in_two_splits_is_reported_however_it_is_stored(tree: Path) -> None:
    Image.open(tree / "train/train_b.png").save(tree / "val/val_a.png", compress_level=0)
    shutil.copy(tree / "train/train_b.png", tree / "train/train_a.png")  # twice in one split is no problem
    assert problems(tree) == ["val/val_a.png: is the same picture as train/train_a.png in train; remove one of the two"]


def test_frames_all_ignored_and_classes_absent_are_reported(tree: Path) -> None:
    save_label(tree / "trainannot/train_a.png", VOID)
    for name in ("a", "b"):
        label = np.where(CLASSES_OF_A_FRAME == 2, 3, CLASSES_OF_A_FRAME)
        save_label(tree / f"valannot/val_{name}.png", label)
    assert problems(tree) == [
        "train/train_a.png: every pixel of its label is ignored; remove it, or fix its label",
        "val: no pixel is Pole; it cannot be scored: move frames that show it into val",
    ]


def test_missing_split_is_a_problem_but_test(tree: Path) -> None:
    for split in ("val", "test"):
        shutil.rmtree(tree / split)
    reports, (problem,), (remark,) = check_data(config(tree))
    assert [report.dataset.split for report in reports] == ["train"]
    assert problem.startswith(f"{tree}/val: no such folder")
    assert remark.startswith(f"test is not checked: {tree}/test: no such folder")


def test_frames_published_without_ground_truth_are_read_and_need_no_class(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def files(config: DataConfig, split: str) -> tuple[list[FrameFiles], list[str]]:
        frames, mistakes = frame_files(config, split)
        return [frame._replace(label=frame.image) if split == "test" else frame for frame in frames], mistakes

    monkeypatch.setattr(camvid, "frame_files", files)
    reports, found, _ = check_data(config(tree))
    assert found == []
    assert len(reports[2].valid) == 2
    assert "  test\n" not in summary(reports)
    (tree / "test/test_a.png").write_bytes(b"")
    assert problems(tree) == ["test/test_a.png: is empty; replace or remove the file"]


def test_memory_does_not_grow_with_the_frames(tree: Path) -> None:
    for index in range(40):
        Image.new("RGB", (500, 400), (index, 0, 0)).save(tree / f"train/{index}.png")
        Image.new("L", (500, 400), index % 11).save(tree / f"trainannot/{index}.png")
    tracemalloc.start()
    check_data(config(tree))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 15 * 500 * 400 * 3  # 42 frames are in the set


def test_command_ends_with_2_and_all_problems_or_with_0(tree: Path, script: Script) -> None:
    yaml = tree / "mine.yaml"
    yaml.write_text(f"data: {{kind: camvid, root: {tree}, labels: all}}\n")
    done = script("check_data", "--config", yaml, cwd=tree)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith(
        "augment.crop_size: [96, 320] does not fit the frames of train (median 6 x 8, height x width): "
        "set augment.crop_size: [32, 32]\nno problem found\n"
    )
    (tree / "train/train_a.png").write_bytes(b"")
    (tree / "val/val_a.png").unlink()
    done = script("check_data", "--config", yaml)
    assert done.returncode == 2
    assert [line.partition(": ")[2][:10] for line in done.stderr.splitlines()] == ["is empty; ", "is missing"]
    assert "class weights" in done.stdout


def test_split_without_a_complete_frame_loses_no_problem(tree: Path) -> None:
    for name in ("a", "b"):
        (tree / f"trainannot/train_{name}.png").rename(tree / f"trainannot/train_{name}_mask.png")
    save_label(tree / "valannot/val_a.png", 77)
    (tree / "train.txt").write_text("train_a\ntrain_b\n")
    lost = ["trainannot/train_a.png", "trainannot/train_b.png", "valannot/val_a.png"]
    assert [line.partition(":")[0] for line in problems(tree)] == lost
    assert summary(check_data(config(tree))[0]).splitlines()[1] == "train          0       0  "


def test_masks_with_a_common_suffix_are_one_problem_and_are_checked_all_the_same(tmp_path: Path) -> None:
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    for index in range(20):
        picture = Image.fromarray(RANDOM.integers(0, 256, (6, 8, 3), dtype=np.uint8))
        picture.save(tmp_path / f"images/{index:02}.jpg")
        save_label(tmp_path / f"masks/{index:02}_mask.png", 9 if index == 5 else CLASSES_OF_A_FRAME % 2)
    own = DataConfig(kind="folder", root=str(tmp_path), class_names=("background", "road"))
    reports, (suffix, value), _ = check_data(own)
    assert suffix.startswith(f"{tmp_path}/masks: most masks are called NAME_mask.png: set ")
    assert value.startswith(f"{tmp_path}/masks/05_mask.png: holds values that are not a class: 9 (48 px)")
    assert [len(report.dataset) for report in reports] == [16, 4]
    assert check_data(replace(own, mask_suffix="_mask"))[1] == [value]


@pytest.mark.parametrize(
    ("size", "crop", "share", "expected"),
    [
        ((360, 480), (320, 448), 0.4, None),
        ((375, 1242), (320, 512), 0.0, None),
        ((360, 480), (384, 448), 0.0, "augment.crop_size: [320, 448]"),
        ((90, 160), (96, 320), 0.0, "augment.crop_size: [64, 128]"),
        ((360, 480), (96, 320), 0.0, "augment.crop_size: [320, 448]"),
        ((360, 480), (96, 320), 0.4, "augment.crop_size: [320, 448] and progressive.crop_size: [192, 256]"),
        ((96, 320), (320, 448), 0.4, "augment.crop_size: [96, 288] and progressive.crop_size: [64, 160]"),
        ((1080, 1920), (96, 320), 0.0, "augment.crop_size: [288, 512]"),
        ((90, 4000), (96, 320), 0.0, "augment.crop_size: [64, 2528]"),
        ((20, 40), (96, 320), 0.0, "augment.crop_size: [32, 32]"),
        ((20, 40), (32, 32), 0.0, None),
    ],
)
def test_crop_that_does_not_fit_the_frames_is_reported_with_one_that_does(
    size: tuple[int, int], crop: tuple[int, int], share: float, expected: str | None
) -> None:
    stats = [FrameStats("a", [], (size[0] + more, size[1]), b"", np.ones(2)) for more in (-9, 0, 9)]
    dataset = Dataset("train", BACKGROUND_AND_ROAD, ("a", "b", "c"), lambda _: pytest.fail("was read"))
    remark = crop_remark([SplitReport(dataset, stats)], AugmentConfig(crop_size=crop), ProgressiveConfig(share=share))
    median = f"(median {size[0]} x {size[1]}, height x width)"
    text = f"augment.crop_size: {list(crop)} does not fit the frames of train {median}: set {expected}"
    assert remark == (text if expected else None)
    assert crop_remark([], AugmentConfig(), ProgressiveConfig()) is None


def test_frame_with_a_broken_label_is_still_compared_and_hides_no_absence(tree: Path) -> None:
    shutil.copy(tree / "train/train_b.png", tree / "val/val_a.png")
    save_label(tree / "valannot/val_a.png", 77)
    first, second = problems(tree)  # and no line that val lacks a class: the broken label may show it
    assert first.startswith("valannot/val_a.png: holds values that are not a class: 77 (48 px)")
    assert second.startswith("val/val_a.png: is the same picture as train/train_b.png")
