"""Which lists of classes fit together; an error names the field that is wrong."""

from __future__ import annotations

from typing import Any

import pytest

from fcn.config.settings import DataConfig
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
        {"class_names": ("Background", "Road")},
        {"class_names": ("road", "Road")},
    ],
)
def test_lists_that_fit_together_are_accepted(given: dict[str, Any]) -> None:
    DataConfig(**{**WORDS, **given})
    DataConfig(**given, kind="synthetic")


LENGTH = "has length {} and data.class_names 2; write one for each class"
NAMES = "has {}; write 2 to 255, such as [background, road]"
TWICE = "{} is listed twice; each class needs a different one"
BOTH = "{} is listed twice; a pixel is of a class or ignored"
TEXT = "{} must be text of 1 to 64 printable characters"
ROAD = "{}; name those of {} that are road, or set data.labels: all"
UNKNOWN_ROAD = ROAD.format("{} is not one of data.class_names", "{}")
COLOR_ONLY = "is for data.mask_kind: color; a mask of indices has data.ignore_values"
INDEX_ONLY = "is for data.mask_kind: index; a mask of colors has data.class_colors and data.ignore_colors"


@pytest.mark.parametrize(
    ("given", "problems"),
    [
        ({"root": None}, {"root": "is not set; `folder` is read from a folder: set data.root to it"}),
        ({"class_names": ()}, {"class_names": NAMES.format("0 names")}),
        ({"class_names": ("road",)}, {"class_names": NAMES.format("1 name")}),
        ({"class_names": ("road", *map(str, range(255)))}, {"class_names": NAMES.format("256 names")}),
        ({"class_names": ("road", "sky", "road")}, {"class_names": TWICE.format("road")}),
        (
            {"class_names": ("road", "\x1b[2J")},
            {"class_names": r"'\x1b[2J' must be text of 1 to 64 printable characters"},
        ),
        ({"class_names": ("road", "")}, {"class_names": TEXT.format("''")}),
        (
            {"class_names": ("road", "a" * 65)},
            {"class_names": f"'{'a' * 64}' must be text of 1 to 64 printable characters"},
        ),
        ({"class_colors": ((1, 2, 3),)}, {"class_colors": LENGTH.format(1)}),
        ({"mask_values": (0, 1, 2)}, {"mask_values": LENGTH.format(3)}),
        ({"class_colors": ((1, 2, 3), (1, 2, 3))}, {"class_colors": TWICE.format("[1, 2, 3]")}),
        ({"mask_values": (7, 7)}, {"mask_values": TWICE.format(7)}),
        ({"ignore_values": (1,)}, {"ignore_values": BOTH.format(1)}),
        ({"mask_values": (0, 255), "ignore_values": (255,)}, {"ignore_values": BOTH.format(255)}),
        ({**COLORS, "ignore_colors": ((9, 9, 9),)}, {"ignore_colors": BOTH.format("[9, 9, 9]")}),
        ({"road_classes": ("lane",)}, {"road_classes": UNKNOWN_ROAD.format("lane", "background, road")}),
        ({"class_names": ("Road", "ROAD")}, {"road_classes": UNKNOWN_ROAD.format("road", "Road, ROAD")}),
        ({"road_classes": ()}, {"road_classes": ROAD.format("is empty", "background, road")}),
        ({"ignore_colors": ((1, 2, 3),)}, {"ignore_colors": COLOR_ONLY}),
        (
            {"mask_kind": "color", "mask_values": (0, 1), "ignore_values": (5,)},
            {
                "mask_values": INDEX_ONLY,
                "ignore_values": INDEX_ONLY,
                "class_colors": "is not set; write the color that each class has in the masks",
            },
        ),
        ({"mask_values": (0, 256)}, {"mask_values": "[0, 256] is not allowed; it must be below 256"}),
        ({"ignore_values": (-1,)}, {"ignore_values": "[-1] is not allowed; it must be at least 0"}),
    ],
)
def test_lists_that_do_not_fit_are_reported_by_field(given: dict[str, Any], problems: dict[str, str]) -> None:
    with pytest.raises(ConfigError) as caught:
        DataConfig(**{**WORDS, **given})
    assert caught.value.problems == {f"data.{name}": text for name, text in problems.items()}
