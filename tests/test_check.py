"""The check of a data set: each mistake is told, none hides another, and the figures are those counted by hand."""

from __future__ import annotations

import shutil
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, Script
from PIL import Image

from fcn.config.data_settings import DataConfig
from fcn.datasets import camvid
from fcn.datasets.camvid import VOID, decode_label, frame_files
from fcn.datasets.check import check_data, sheet, summary
from fcn.images import IGNORE, read_image
from fcn.pictures import GAP, TILE

REAL = ROOT / "data" / "CamVid"
CLASSES_OF_A_FRAME = np.arange(48, dtype=np.uint8).reshape(6, 8) % (VOID + 1)  # each class and void 4 times


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Sound: two frames of 6 x 8 pixels in each of train, val and test."""
    rng = np.random.default_rng(0)
    for split in ("train", "val", "test"):
        for folder in (split, f"{split}annot"):
            (tmp_path / folder).mkdir()
        for name in ("a", "b"):
            picture = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
            picture.save(tmp_path / split / f"{split}_{name}.png")
            Image.fromarray(CLASSES_OF_A_FRAME).save(tmp_path / f"{split}annot" / f"{split}_{name}.png")
    return tmp_path


def config(root: Path, labels: str = "all") -> DataConfig:
    return DataConfig(kind="camvid", root=str(root), labels=labels)


def problems(root: Path) -> list[str]:
    return [line.replace(f"{root}/", "") for line in check_data(config(root))[1]]


def test_sound_set_has_no_problem_and_its_figures_are_those_counted_by_hand(tree: Path) -> None:
    reports, found, remarks = check_data(config(tree))
    assert (found, remarks) == ([], [])
    lines = summary(reports).splitlines()
    assert lines[1].split() == ["train", "2", "6", "x", "8", "(2)"]
    assert lines[5].split() == ["Sky", "8.33%", "8.33%", "8.33%"]
    assert lines[16].split() == ["ignored", "8.33%", "8.33%", "8.33%"]
    assert lines[17] == f"class weights by median frequency on train: [{', '.join(['1.0000'] * 11)}]"
    assert sheet(reports).shape == (6 * (6 + GAP), 2 * (TILE[1] + GAP), 3)
    road = summary(check_data(config(tree, "road"))[0])
    assert "road            8.33%    8.33%    8.33%\nignored         8.33%" in road


def test_synthetic_set_is_checked_without_files() -> None:
    reports, found, _ = check_data(DataConfig(synthetic_frames=(2, 1, 1), synthetic_size=(32, 64)))
    assert found == []
    assert [len(report.sound) for report in reports] == [2, 1, 1]


def gray_with_alpha(path: Path) -> None:
    Image.new("LA", (8, 6)).save(path)


def deep(path: Path) -> None:
    Image.fromarray(np.zeros((6, 8), np.uint16)).save(path)


def jpeg(path: Path) -> None:
    Image.new("L", (8, 6)).save(path, "JPEG")


def rotated(path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (8, 6)).save(path, exif=exif)


def palette_of_a_photo(path: Path) -> None:
    Image.fromarray(np.full((6, 8), 200, np.uint8)).convert("P").save(path)


MISTAKES = {
    "train/train_a.png": (Path.unlink, "is missing; restore it, or remove its mate"),
    "train/train_b.png": (rotated, "is rotated by its EXIF orientation 6"),
    "trainannot/train_b.png": (jpeg, "is a JPEG; its compression changes labels"),
    "val/val_a.png": (deep, "has mode I;16B, over 8 bits a channel"),
    "valannot/val_a.png": (gray_with_alpha, "has mode LA; a label map is an 8-bit gray or palette PNG"),
    "valannot/val_b.png": (lambda path: Image.new("L", (8, 7)).save(path), "is 8x7, its image val_b.png 8x6"),
    "test/test_a.png": (gray_with_alpha, "has an alpha channel, and what it hides is learned from; save it as RGB"),
    "testannot/test_b.png": (palette_of_a_photo, "holds the value 200 at (row, column) (0, 0); legal are 0 to 11"),
}


def test_no_mistake_hides_another(tree: Path) -> None:
    for name, (damage, _) in MISTAKES.items():
        damage(tree / name)
    found = problems(tree)
    assert [line.partition(":")[0] for line in found] == list(MISTAKES)
    for line, (_, expected) in zip(found, MISTAKES.values(), strict=True):
        assert expected in line


def test_values_that_are_no_class_are_counted(tree: Path) -> None:
    values = CLASSES_OF_A_FRAME.copy()
    values[0, :3], values[5, 5] = 255, 40
    Image.fromarray(values).save(tree / "valannot/val_a.png")
    (line,) = problems(tree)
    assert line.startswith(
        "valannot/val_a.png: holds the value 40 at (row, column) (5, 5); legal are 0 to 11, wrong pixe"
    )
    assert "wrong pixels 1 of 40, 3 of 255: is it a mask" in line


def test_same_picture_in_two_splits_is_told_however_it_is_stored(tree: Path) -> None:
    Image.open(tree / "train/train_b.png").save(tree / "val/val_a.png", compress_level=0)
    shutil.copy(tree / "train/train_b.png", tree / "train/train_a.png")  # twice in one split is no problem
    (line,) = problems(tree)
    assert line.startswith(
        "val/val_a.png: is the same picture as train/train_a.png; frames of train must not be in val"
    )


def test_frames_all_ignored_and_classes_absent_are_told(tree: Path) -> None:
    Image.fromarray(np.full((6, 8), VOID, np.uint8)).save(tree / "trainannot/train_a.png")
    for name in ("a", "b"):
        Image.fromarray(np.where(CLASSES_OF_A_FRAME == 2, 3, CLASSES_OF_A_FRAME)).save(
            tree / f"valannot/val_{name}.png"
        )
    first, second = problems(tree)
    assert first.startswith("train/train_a.png: every pixel of its label is ignored;")
    assert second.startswith("val: no pixel is Pole; it cannot be scored: move frames that show it into val")


def test_missing_split_is_a_problem_but_test(tree: Path) -> None:
    for split in ("val", "test"):
        shutil.rmtree(tree / split)
    reports, (problem,), (remark,) = check_data(config(tree))
    assert [report.dataset.split for report in reports] == ["train"]
    assert problem.startswith(f"{tree}/val: no such folder")
    assert remark.startswith(f"test is not checked: {tree}/test: no such folder")


def test_frames_published_without_truth_are_read_but_not_blamed_for_it(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def files(config: DataConfig, split: str) -> list[tuple[str, Path, Path]]:
        return [(name, image, image if split == "test" else label) for name, image, label in frame_files(config, split)]

    def label(config: DataConfig, path: Path) -> np.ndarray:
        return decode_label(config, path) if "annot" in path.parent.name else np.full((6, 8), IGNORE, np.uint8)

    monkeypatch.setattr(camvid, "frame_files", files)
    monkeypatch.setattr(camvid, "decode_label", label)
    reports, found, _ = check_data(config(tree))
    assert found == []
    assert len(reports[2].sound) == 2
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


def test_script_ends_with_2_and_all_problems_or_with_0(tree: Path, script: Script) -> None:
    yaml = tree / "mine.yaml"
    yaml.write_text(f"data: {{kind: camvid, root: {tree}, labels: all}}\n")
    done = script("check_data", "--config", yaml, cwd=tree)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("image and label of some frames of each split: check_data.png\nno problem found\n")
    assert read_image(tree / "check_data.png").shape[0] == 6 * (6 + GAP)
    (tree / "train/train_a.png").write_bytes(b"")
    (tree / "val/val_a.png").unlink()
    done = script("check_data", "--config", yaml, "--sheet", tree / "sheet.png")
    assert done.returncode == 2
    assert [line.partition(": ")[2][:10] for line in done.stderr.splitlines()] == ["is empty; ", "is missing"]
    assert (tree / "sheet.png").is_file()
    assert "class weights" in done.stdout


def test_frame_with_a_broken_label_is_still_compared_and_hides_no_absence(tree: Path) -> None:
    shutil.copy(tree / "train/train_b.png", tree / "val/val_a.png")
    Image.fromarray(np.full((6, 8), 77, np.uint8)).save(tree / "valannot/val_a.png")
    first, second = problems(tree)  # and no line that val lacks a class: the broken label may show it
    assert first.startswith("valannot/val_a.png: holds the value 77")
    assert second.startswith("val/val_a.png: is the same picture as train/train_b.png")
