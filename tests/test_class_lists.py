"""Which lists of one's own classes go together, told with the field that is wrong."""

from __future__ import annotations

from typing import Any

import pytest

from fcn.config.data_settings import DataConfig
from fcn.errors import ConfigError

WORDS = {"kind": "folder", "root": "mine", "class_names": ("background", "road")}
COLORS = {"mask_kind": "color", "class_colors": ((0, 0, 0), (9, 9, 9))}


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"labels": "all", "class_names": ("sky", "sea")},
        {"class_names": ("sky", "lane"), "road_classes": ("lane",)},
        {"mask_values": (0, 255), "ignore_values": (1, 2)},
        {"class_colors": ((1, 2, 3), (4, 5, 6))},
        {**COLORS, "ignore_colors": ((1, 2, 3),)},
        {"class_names": ("road", *map(str, range(254)))},
    ],
)
def test_lists_that_go_together_are_taken(given: dict[str, Any]) -> None:
    DataConfig(**{**WORDS, **given})
    DataConfig(**given, kind="synthetic")


@pytest.mark.parametrize(
    ("given", "problems"),
    [
        ({"root": None}, {"root": "is not set; `folder` is read from a folder: set data.root to it"}),
        ({"class_names": ()}, {"class_names": "has 0 names; write 2 to 255, such as [background, road]"}),
        ({"class_names": ("road",)}, {"class_names": "has 1 names; write 2 to 255, such as [background, road]"}),
        (
            {"class_names": ("road", *map(str, range(255)))},
            {"class_names": "has 256 names; write 2 to 255, such as [background, road]"},
        ),
        (
            {"class_names": ("road", "sky", "road")},
            {"class_names": "road stands twice; a class has one of its own"},
        ),
        (
            {"class_colors": ((1, 2, 3),), "mask_values": (0, 1, 2)},
            {
                "class_colors": "is 1 long and data.class_names 2; write one for each class",
                "mask_values": "is 3 long and data.class_names 2; write one for each class",
            },
        ),
        (
            {"class_colors": ((1, 2, 3), (1, 2, 3))},
            {"class_colors": "[1, 2, 3] stands twice; a class has one of its own"},
        ),
        ({"mask_values": (7, 7)}, {"mask_values": "7 stands twice; a class has one of its own"}),
        ({"ignore_values": (1,)}, {"ignore_values": "1 stands twice; a pixel is of a class or ignored"}),
        (
            {"mask_values": (0, 255), "ignore_values": (255,)},
            {"ignore_values": "255 stands twice; a pixel is of a class or ignored"},
        ),
        (
            {**COLORS, "ignore_colors": ((9, 9, 9),)},
            {"ignore_colors": "[9, 9, 9] stands twice; a pixel is of a class or ignored"},
        ),
        (
            {"road_classes": ("lane",)},
            {
                "road_classes": "lane is none of data.class_names; name those of background, road that are road, "
                "or set data.labels: all"
            },
        ),
        (
            {"road_classes": ()},
            {"road_classes": "is empty; name those of background, road that are road, or set data.labels: all"},
        ),
        (
            {"ignore_colors": ((1, 2, 3),)},
            {"ignore_colors": "is for data.mask_kind: color; a mask of indices has data.ignore_values"},
        ),
        (
            {"mask_kind": "color", "mask_values": (0, 1), "ignore_values": (5,)},
            {
                "mask_values": "is for data.mask_kind: index; a mask of colors has data.class_colors and "
                "data.ignore_colors",
                "ignore_values": "is for data.mask_kind: index; a mask of colors has data.class_colors and "
                "data.ignore_colors",
                "class_colors": "is not set; write the color that each class has in the masks",
            },
        ),
        ({"mask_values": (0, 256)}, {"mask_values": "[0, 256] is not allowed; it must be below 256"}),
        ({"ignore_values": (-1,)}, {"ignore_values": "[-1] is not allowed; it must be at least 0"}),
        (
            {"class_colors": ((0, 0, 0), (0, 0, 256))},
            {"class_colors": "[[0, 0, 0], [0, 0, 256]] is not allowed; it must be below 256"},
        ),
    ],
)
def test_lists_that_do_not_go_together_are_told_by_the_field_to_mend(
    given: dict[str, Any], problems: dict[str, str]
) -> None:
    with pytest.raises(ConfigError) as caught:
        DataConfig(**{**WORDS, **given})
    assert caught.value.problems == {f"data.{name}": text for name, text in problems.items()}
