"""The classes of one's own data set: which lists of names, colors and mask values go together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fcn.config.data_settings import DataConfig

MAX_CLASSES = 255  # a label map has 8 bits, and 255 is an ignored pixel


def class_problems(data: DataConfig) -> dict[str, str]:
    """Field name -> what is wrong with it and how to mend it; for `data.kind: folder`."""
    names, problems = data.class_names, _unused(data)
    if not 2 <= len(names) <= MAX_CLASSES:
        return {"class_names": f"has {len(names)} names; write 2 to {MAX_CLASSES}, such as [background, road]"}
    for field, given in {"class_colors": data.class_colors, "mask_values": data.mask_values}.items():
        if given is not None and len(given) != len(names):
            problems[field] = f"is {len(given)} long and data.class_names {len(names)}; write one for each class"
    values = range(len(names)) if data.mask_values is None else data.mask_values
    for field, ignored_field, items, ignored in (
        ("class_names", "class_names", names, ()),
        ("class_colors", "ignore_colors", data.class_colors or (), data.ignore_colors),
        ("mask_values", "ignore_values", values, data.ignore_values),
    ):
        if twice := _twice([*items, *ignored]):
            mend = "a class has one of its own" if twice[0] not in ignored else "a pixel is of a class or ignored"
            problems.setdefault(
                ignored_field if twice[0] in ignored else field, f"{_shown(twice[0])} stands twice; {mend}"
            )
    unknown = [name for name in data.road_classes if name not in names]
    if data.labels == "road" and (unknown or not data.road_classes):
        got = f"{unknown[0]} is none of data.class_names" if unknown else "is empty"
        problems["road_classes"] = f"{got}; name those of {', '.join(names)} that are road, or set data.labels: all"
    return problems


def _unused(data: DataConfig) -> dict[str, str]:
    """Settings that the other kind of mask is read by."""
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


def _twice(items: list[Any]) -> list[Any]:
    return [item for number, item in enumerate(items) if item in items[:number]]


def _shown(item: Any) -> str:
    return str(list(item)) if isinstance(item, tuple) else str(item)
