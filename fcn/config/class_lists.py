"""The classes of `data.kind: folder`: which lists of names, colors and mask values fit together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fcn.config.data_settings import DataConfig

MAX_CLASSES = 255  # a label map has 8 bits, and 255 is an ignored pixel


def class_named(name: str, class_names: Sequence[str]) -> str | None:
    """The class of a name, which may differ in case where only one class fits; None if it is ambiguous or unknown."""
    if name in class_names:
        return name
    same = [one for one in class_names if one.casefold() == name.casefold()]
    return same[0] if len(same) == 1 else None


def class_problems(data: DataConfig) -> dict[str, str]:
    """Field name -> what is wrong with it and how to fix it; for `data.kind: folder`."""
    names = data.class_names
    problems = _unused(data)
    if not 2 <= len(names) <= MAX_CLASSES:
        count = "1 name" if len(names) == 1 else f"{len(names)} names"
        return {"class_names": f"has {count}; write 2 to {MAX_CLASSES}, such as [background, road]"}
    for field, given in {"class_colors": data.class_colors, "mask_values": data.mask_values}.items():
        if given is not None and len(given) != len(names):
            problems[field] = f"has length {len(given)} and data.class_names {len(names)}; write one for each class"
    values = range(len(names)) if data.mask_values is None else data.mask_values
    for field, ignored_field, items, ignored in (
        ("class_names", "class_names", names, ()),
        ("class_colors", "ignore_colors", data.class_colors or (), data.ignore_colors),
        ("mask_values", "ignore_values", values, data.ignore_values),
    ):
        everything: list[Any] = [*items, *ignored]
        repeated = [item for number, item in enumerate(everything) if item in everything[:number]]
        if repeated:
            item = list(repeated[0]) if isinstance(repeated[0], tuple) else repeated[0]
            if repeated[0] in ignored:
                problems.setdefault(ignored_field, f"{item} is listed twice; a pixel is of a class or ignored")
            else:
                problems.setdefault(field, f"{item} is listed twice; each class needs a different one")
    if data.labels == "road":
        unknown = [name for name in data.road_classes if class_named(name, names) is None]
        rule = f"name those of {', '.join(names)} that are road, or set data.labels: all"
        if unknown:
            problems["road_classes"] = f"{unknown[0]} is not one of data.class_names; {rule}"
        elif not data.road_classes:
            problems["road_classes"] = f"is empty; {rule}"
    return problems


def _unused(data: DataConfig) -> dict[str, str]:
    """Settings for the other kind of mask, and the missing colors of a mask of colors."""
    if data.mask_kind == "index":
        text = "is for data.mask_kind: color; a mask of indices has data.ignore_values"
        return {"ignore_colors": text} if data.ignore_colors else {}
    text = "is for data.mask_kind: index; a mask of colors has data.class_colors and data.ignore_colors"
    problems = {} if data.mask_values is None else {"mask_values": text}
    if data.ignore_values:
        problems["ignore_values"] = text
    if data.class_colors is None:
        problems["class_colors"] = "is not set; write the color that each class has in the masks"
    return problems
