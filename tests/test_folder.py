"""Your own images and masks: every kind of mask and of split, and how each mistake is reported."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from fcn.config.settings import DataConfig
from fcn.datasets import classes_of, open_for_training, open_split
from fcn.datasets.folder import decode_label, mask_affixes, name_in, split_by_runs
from fcn.errors import UserError
from fcn.images import IGNORE

Factory = pytest.TempPathFactory
NAMES = [f"frame{number:02d}" for number in range(20)]


def config(root: Path, **given: Any) -> DataConfig:
    return DataConfig(**{"kind": "folder", "root": str(root), "class_names": ("grass", "road"), **given})


def save(path: Path, values: object, mode: str | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(np.array(values, np.uint8))
    (picture.convert(mode) if mode else picture).save(path)


def add_frame(root: Path, name: str, images: str = "images", masks: str = "masks") -> None:
    save(root / images / f"{name}.jpg", np.full((2, 3, 3), int(name[-2:]) * 10))
    save(root / masks / f"{name}.png", [[0, 1, 1], [0, 0, 1]])


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Twenty frames of 3 x 2 pixels."""
    for name in NAMES:
        add_frame(tmp_path, name)
    return tmp_path


def problems(root: Path, split: str = "train", **given: Any) -> list[str]:
    with pytest.raises(UserError) as caught:
        open_split(config(root, **given), split)
    return str(caught.value).replace(f"{root}/", "").splitlines()


def mask_problem(path: Path, **given: Any) -> str:
    with pytest.raises(UserError) as caught:
        decode_label(config(path.parent, **given), path)
    assert "\n" not in str(caught.value)
    return str(caught.value).replace(f"{path.parent}/", "")


def test_frames_are_matched_by_stem_and_read_in_the_classes_of_the_config(tree: Path) -> None:
    training, validation, _ = open_for_training(config(tree, labels="all"))
    assert sorted(training.names + validation.names) == NAMES
    assert sorted(training.names) == list(training.names)
    assert training.classes == validation.classes == classes_of(config(tree, labels="all"))
    image, label = training.read(0)
    assert (image.shape, label.dtype) == ((2, 3, 3), np.uint8)
    np.testing.assert_array_equal(label, [[0, 1, 1], [0, 0, 1]])


def test_classes_come_from_the_config_alone() -> None:
    colors = ((1, 2, 3), (4, 5, 6))
    own = config(Path("nowhere"), labels="all", class_colors=colors)
    assert [(one.name, one.color, one.road) for one in classes_of(own)] == [
        ("grass", (1, 2, 3), False),
        ("road", (4, 5, 6), True),
    ]
    many = classes_of(config(Path("nowhere"), labels="all", class_names=tuple(map(str, range(255)))))
    assert len({one.color for one in many} | {(0, 0, 0)}) == 256  # black is an ignored pixel's
    assert [one.name for one in classes_of(config(Path("nowhere")))] == ["background", "road"]
    upper = config(Path("nowhere"), labels="all", class_names=("Road", "Sky"))
    assert [one.road for one in classes_of(upper)] == [True, False]  # the default of road_classes is "road"


def test_road_labels_joins_the_named_classes(tmp_path: Path) -> None:
    for name in NAMES[:2]:
        save(tmp_path / "images" / f"{name}.png", np.zeros((1, 4, 3)))
        save(tmp_path / "masks" / f"{name}.png", [[0, 1, 2, 9]])
    own = config(tmp_path, class_names=("a", "b", "c"), road_classes=("a", "c"), ignore_values=(9,))
    np.testing.assert_array_equal(open_split(own, "train").read(0)[1], [[1, 0, 1, IGNORE]])


RED = [255, 0, 0]
BLUE = [0, 0, 255]
BLACK = [0, 0, 0]
PALETTE = Image.fromarray(np.array([[0, 1, 9]], np.uint8), "P")
PALETTE.putpalette([*BLUE, *RED, *[7] * 30])
COLORS = {"mask_kind": "color", "class_colors": (tuple(BLUE), tuple(RED))}


@pytest.mark.parametrize(
    ("values", "given"),
    [
        ([[0, 1, 7]], {"ignore_values": (7,)}),
        ([[0, 255, 7]], {"mask_values": (0, 255), "ignore_values": (7,)}),
        ([[255, 0, 7]], {"mask_values": (255, 0), "ignore_values": (7,)}),
        (PALETTE, {"ignore_values": (9,)}),
        ([[BLUE, RED, BLACK]], {**COLORS, "ignore_colors": (tuple(BLACK),)}),
        (PALETTE, {**COLORS, "ignore_colors": ((7, 7, 7),)}),
    ],
    ids=["indices", "0 and 255", "255 and 0", "palette", "colors", "palette of colors"],
)
def test_every_kind_of_mask_gives_class_indices(values: Any, given: dict[str, Any], tmp_path: Path) -> None:
    (values if isinstance(values, Image.Image) else Image.fromarray(np.array(values, np.uint8))).save(
        tmp_path / "m.png"
    )
    label = decode_label(config(tmp_path, **given), tmp_path / "m.png")
    assert label.dtype == np.uint8
    assert label.tolist() == [[0, 1, IGNORE]]


@pytest.mark.parametrize(
    ("values", "given", "found", "fix"),
    [
        ([0, 7, 7, 9], {"ignore_values": (3,)}, "7 (2 px), 9 (1 px)",
         "`ignore_values: [3, 7, 9]` under `data:` ignores it"),
        ([0, 255, 255], {}, "255 (2 px)",
         "`mask_values: [0, 255]` under `data:` makes it road, `ignore_values: [255]` ignores it"),
        # 255 is offered as a class only where it must be the second of two
        ([0, 7, 255], {}, "7 (1 px), 255 (1 px)", "`ignore_values: [7, 255]` under `data:` ignores it"),
        ([0, 255], {"mask_values": (0, 7)}, "255 (1 px)", "`ignore_values: [255]` under `data:` ignores it"),
        ([0, 255], {"class_names": ("a", "b", "road")}, "255 (1 px)",
         "`ignore_values: [255]` under `data:` ignores it"),
        ([BLUE, [1, 2, 3]], {**COLORS, "ignore_colors": ((0, 0, 0),)}, "[1, 2, 3] (1 px)",
         "`ignore_colors: [[0, 0, 0], [1, 2, 3]]` under `data:` ignores it"),
        ([0, *range(2, 7)], {}, "2 (1 px), 3 (1 px), 4 (1 px), 5 (1 px), 6 (1 px)",
         "`ignore_values: [2, 3, 4, 5, 6]` under `data:` ignores it"),
        # many are reported as examples, with a likely cause
        ([0, *range(2, 8)], {}, "2 (1 px), 3 (1 px), 4 (1 px), 5 (1 px), 6 (1 px), and 1 more",
         ("was it saved as JPEG or resized with interpolation, or is data.mask_kind the other one? "
          "resize masks by nearest neighbor")),
    ],
)  # fmt: skip
def test_unmapped_values_are_counted_with_the_line_that_maps_them(
    values: Any, given: dict[str, Any], found: str, fix: str, tmp_path: Path
) -> None:
    save(tmp_path / "m.png", [values])
    place = "the first at (row, column) (0, 1)"
    text = f"m.png: holds values that are not a class: {found}, {place}; {fix}"
    assert mask_problem(tmp_path / "m.png", **given) == text


@pytest.mark.parametrize("given", [{}, COLORS], ids=["index", "color"])
@pytest.mark.parametrize(
    ("name", "mode", "expected"),
    [
        ("m.jpg", "L", "is a JPEG; its compression changes labels: save label maps as PNG"),
        ("m.jpg", "RGB", "is a JPEG; its compression changes labels: save label maps as PNG"),
        ("m.png", "LA", "has (mode LA|an alpha)"),
        ("m.png", "RGBA", "has (mode RGBA|an alpha)"),
        ("m.png", "I;16", "has mode I;16B, over 8 bits a channel; convert it to 8 bits"),
        ("m.png", "RGB", "(has mode RGB; .* set data.mask_kind: color$|holds values)"),
    ],
)
def test_masks_that_cannot_hold_classes_are_refused(
    name: str, mode: str, expected: str, given: dict[str, Any], tmp_path: Path
) -> None:
    Image.new(mode, (3, 2)).save(tmp_path / name)
    assert re.match(f"{name}: {expected}", mask_problem(tmp_path / name, **given))


def test_mask_of_another_size_and_missing_files_are_reported(tree: Path) -> None:
    save(tree / "masks" / "frame00.png", [[0, 1]])
    with pytest.raises(UserError, match=r"frame00.png: is 2x1, its image frame00.jpg 3x2 \(width x height\)"):
        open_for_training(config(tree))
    (tree / "masks" / "frame01.png").unlink()
    (tree / "images" / "frame02.jpg").unlink()
    save(tree / "images" / "frame03.png", np.zeros((2, 3, 3)))
    lines = {line for split in ("train", "val") for line in problems(tree, split)}
    fix = "is missing; add it, or remove the frame's other file and its line in the list"
    assert lines == {
        "images/frame03.png: has the same name as frame03.jpg; remove or rename one of the two",
        f"masks/frame01.png: {fix}",
        f"images/frame02.*: {fix}",
    }


@pytest.mark.parametrize(
    ("prefix", "suffix", "settings"),
    [
        ("", "_mask", "data.mask_suffix: _mask"),
        ("label 2 ", "", "data.mask_prefix: 'label 2 '"),
        ("gt_", ".road", "data.mask_prefix: gt_ and data.mask_suffix: .road"),
    ],
)
def test_common_prefix_and_suffix_of_the_masks_are_reported_and_can_be_set(
    prefix: str, suffix: str, settings: str, tree: Path
) -> None:
    names = [open_split(config(tree), split).names for split in ("train", "val")]
    for path in (tree / "masks").iterdir():
        path.rename(path.with_name(f"{prefix}{path.stem}{suffix}.png"))
    given = {"mask_prefix": prefix, "mask_suffix": suffix}
    assert [open_split(config(tree, **given), split).names for split in ("train", "val")] == names
    hint = f"masks: most masks are called {prefix}NAME{suffix}.png: set {settings}"
    assert problems(tree) == [hint]
    assert problems(tree, mask_suffix="_other")[0].startswith(hint)
    # what else is wrong is still reported
    save(tree / "masks" / "extra.png", [[0]])
    (tree / "masks" / f"{prefix}frame07{suffix}.png").unlink()
    stray = f"masks/extra.png: is not called {prefix}NAME{suffix}.png, as data.mask_prefix and data.mask_suffix say; "
    missing = f"masks/{prefix}frame07{suffix}.png: is missing"
    for found in (problems(tree, **given), problems(tree)[1:]):
        assert [line.startswith(text) for line, text in zip(found, (stray, missing), strict=True)] == [True, True]


@pytest.mark.parametrize(
    ("names", "stems", "expected"),
    [
        ("a k", "mask_a mask_k", ("mask_", "")),
        ("f1 f2", "f1 f2_x", ("", "")),
        ("f1", "f1_x", ("", "")),  # one mask is not a rule
        ("f1 f2", "f1_x f2_x g h i", ("", "")),  # less than half are not either
        ("1 2 3", "11 12 13", ("", "")),  # and digits may be part of the number
    ],
)
def test_affixes_are_those_of_at_least_two_and_half_of_the_masks(
    names: str, stems: str, expected: tuple[str, str]
) -> None:
    assert mask_affixes(config(Path("nowhere")), names.split(), stems.split()) == expected
    assert name_in("_mask", "", "_mask") is None


def test_folders_that_are_missing_or_empty_are_reported(tree: Path, tmp_path: Path) -> None:
    assert problems(tree, masks="labels")[0].startswith("labels: no such folder; put images and masks there, or set")
    (tmp_path / "empty").mkdir()
    save(tmp_path / "empty" / ".hidden.png", [[0]])
    (tmp_path / "empty" / "Thumbs.db").touch()
    assert problems(tree, images="empty")[0].startswith("empty: holds no PNG or JPEG; ")


def test_folders_named_like_splits_are_the_splits(tree: Path) -> None:
    for split, name in (("train", "a00"), ("train", "a01"), ("val", "a02")):
        add_frame(tree, name, f"images/{split}", f"masks/{split}")
    assert [open_split(config(tree), split).names for split in ("train", "val")] == [("a00", "a01"), ("a02",)]
    (line,) = problems(tree, "test")
    assert line.startswith("images/test: no such folder; ")


def test_lists_name_the_frames_of_the_splits(tree: Path) -> None:
    lists = {"split_lists": str(tree)}
    add_frame(tree, "a00", "images/train", "masks/train")  # lists count, whatever folders there are
    (tree / "train.txt").write_text("frame03\n\nframe01 \nframe03.png\n")
    assert open_split(config(tree, **lists), "train").names == ("frame03", "frame01")
    assert problems(tree, "val", **lists)[0].startswith("val.txt: no such file; ")
    (tree / "val.txt").write_text("other/frame99.png")
    assert [line.partition(";")[0] for line in problems(tree, "val", **lists)] == [
        "images/frame99.*: is missing",
        "masks/frame99.png: is missing",
    ]


def test_split_without_frames_is_refused_with_the_ways_to_get_one(tree: Path, tmp_path_factory: Factory) -> None:
    (line,) = problems(tree, "test")
    assert line == (
        "images: has no test split, as train and val share all frames; "
        "make images/train, val and test, and the same in masks, or set data.split_lists"
    )
    single = tmp_path_factory.mktemp("single")
    add_frame(single, "a00")
    assert problems(single, "val") == ["images: holds no frame of val; val needs images and masks"]


@given(st.sets(st.text(st.characters(), min_size=1), min_size=2))
def test_shared_frames_are_a_partition_in_whole_runs(names: set[str]) -> None:
    ordered = sorted(names)
    training, validation = split_by_runs(ordered)
    assert sorted(training + validation) == ordered
    assert training
    assert validation
    in_val = [name in validation for name in ordered]
    tenths = [in_val[-(-tenth * len(names) // 10) : -(-(tenth + 1) * len(names) // 10)] for tenth in range(10)]
    assert all(len(set(tenth)) <= 1 for tenth in tenths)
    assert abs(sum(set(tenth) == {True} for tenth in tenths if tenth) - 0.2 * min(10, len(names))) <= 1


def test_split_never_changes() -> None:
    for count, validation in {1: [], 2: [0], 7: [0], 8: [0, 2], 12: [0, 1, 3], 20: [0, 1, 4, 5]}.items():
        names = [str(index) for index in range(count)]
        assert split_by_runs(names)[1] == [str(index) for index in validation]


def test_numbers_in_names_count_as_numbers(tmp_path: Path) -> None:
    for stem in (*(f"f{number}" for number in range(40)), "m²"):  # a digit that is not a number
        save(tmp_path / f"images/{stem}.png", np.zeros((2, 3, 3)))
        save(tmp_path / f"masks/{stem}.png", [[0, 1, 1], [0, 0, 1]])
    splits = [open_split(config(tmp_path), split).names for split in ("train", "val")]
    assert splits[0][-1] == "m²"
    for names in splits:
        numbers = [int(name[1:]) for name in names if name != "m²"]
        assert numbers == sorted(numbers)
