"""COCO and LabelMe JSON -> the images that they label, and the regions of each in drawing order."""

from __future__ import annotations

import base64
import io
import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from PIL import Image

from fcn.datasets.polygons import decode_runs, fill_polygon
from fcn.errors import UserError
from fcn.files import read_file
from fcn.images import ENDINGS, Array

MAX_JSON_BYTES = 2**29
MISTAKES = (ValueError, KeyError, TypeError, IndexError, AttributeError, OverflowError, OSError)  # of a wrong entry
IGNORED_LABEL = "__ignore__"  # LabelMe's name for what is not to be learned
BACKGROUND_LABEL = "_background_"  # and for what is no object


@dataclass(frozen=True)
class Region:
    """What one annotation covers: `mask` gives its pixels, bool (H, W); for a wrong one it raises one of `MISTAKES`."""

    title: str  # for messages
    class_name: str | None  # None: ignored pixels
    mask: Callable[[int, int], Array]  # of height and width


@dataclass
class LabeledImage:
    """An image file and its regions; a later one is drawn over an earlier one."""

    image: Path
    size: tuple[int, int] | None  # (height, width) that the labels are for, if they say so
    regions: list[Region] = field(default_factory=list)


@dataclass
class LabelFile:
    """What a file of labels holds."""

    class_names: list[str]
    images: list[LabeledImage]
    skipped: list[str]  # a line for each thing that is left out


def read_labels(path: Path, image_folder: Path | None) -> LabelFile:
    """Reads a JSON file of COCO or LabelMe; the images lie in `image_folder`, or where the tools put them.

    Raises UserError if the file is neither.
    """
    try:
        content = json.loads(read_file(path, MAX_JSON_BYTES, fix="split it into several"))
    except RecursionError as error:
        raise UserError(f"{path}: is nested too deeply; export it again") from error
    except ValueError as error:
        raise UserError(f"{path}: is not JSON: {error}; export it again") from error
    folders = [image_folder] if image_folder else [path.parent, path.parent / "images", path.parent.parent / "images"]
    if isinstance(content, dict) and isinstance(content.get("images"), list):
        return _coco(path, content, folders)
    if isinstance(content, dict) and isinstance(content.get("shapes"), list):
        return _labelme(path, content, folders)
    raise UserError(f"{path}: is neither COCO (images, annotations, categories) nor LabelMe (shapes); export it as one")


def find_image(name: str, folders: Sequence[Path]) -> Path:
    """The image of this name, or else of its last part, in one of the folders; ValueError for another place or kind."""
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts:
        raise ValueError(f"its name {name[:200]!r} leads out of the folder; write the name alone")
    if path.suffix.lower() not in ENDINGS:
        raise ValueError(f"{name[:200]!r} is no PNG or JPEG; convert it")
    for candidate in (path, PurePosixPath(path.name)):
        for folder in folders:
            if (folder / candidate).is_file():
                return folder / candidate
    raise ValueError(f"{name[:200]!r} is not in {' or '.join(map(str, folders))}; name its folder with --images")


def _coco(path: Path, content: dict[str, Any], folders: Sequence[Path]) -> LabelFile:
    skipped: list[str] = []
    try:
        names = {one["id"]: _name(one["name"]) for one in sorted(content["categories"], key=lambda one: one["id"])}
        annotations = defaultdict(list)
        for one in content.get("annotations") or []:
            annotations[one["image_id"]].append(one)
        used = {one.get("category_id") for several in annotations.values() for one in several}
    except MISTAKES as error:
        raise UserError(
            f"{path}: categories or annotations are not those of COCO ({error!r}); export it again"
        ) from error
    skipped += [f"{path}: category {name}: has no annotation" for key, name in names.items() if key not in used]

    images = []
    for number, entry in enumerate(content["images"]):
        try:
            image = find_image(entry["file_name"], folders)
            size = (int(entry["height"]), int(entry["width"])) if entry.get("height") and entry.get("width") else None
            several = annotations[entry["id"]]
        except MISTAKES as error:
            skipped.append(f"{path}: images[{number}]: {reason_of(error)}")
            continue
        labeled = LabeledImage(image, size)
        for one in several:
            title = f"{path}: annotation {one.get('id')} of {image.name}"
            segmentation = one.get("segmentation")
            if not segmentation:
                skipped.append(f"{title}: has no segmentation; a box alone says nothing of pixels")
            elif one.get("category_id") not in names:
                skipped.append(f"{title}: is of no category that the file has")
            else:
                class_name = None if one.get("iscrowd") else names[one["category_id"]]  # a crowd's outline is rough
                labeled.regions.append(Region(title, class_name, _coco_mask(segmentation)))
        images.append(labeled)
    return LabelFile([name for key, name in names.items() if key in used], images, skipped)


def _coco_mask(segmentation: Any) -> Callable[[int, int], Array]:
    """The pixels of polygons, those of each together, or of run lengths."""

    def mask(height: int, width: int) -> Array:
        if isinstance(segmentation, list):
            return np.any([fill_polygon(_points(one), height, width) for one in segmentation], axis=0)
        if list(segmentation["size"]) != [height, width]:
            raise ValueError(f"has run lengths for another size: {segmentation['size']}"[:200])
        return decode_runs(segmentation["counts"], height, width)

    return mask


def _labelme(path: Path, content: dict[str, Any], folders: Sequence[Path]) -> LabelFile:
    skipped: list[str] = []
    names: dict[str, None] = {}
    try:
        image = find_image(content["imagePath"], folders)
        height, width = content.get("imageHeight"), content.get("imageWidth")
        labeled = LabeledImage(image, (int(height), int(width)) if height and width else None)
    except MISTAKES as error:
        return LabelFile([], [], [f"{path}: its image: {reason_of(error)}"])
    for number, shape in enumerate(content["shapes"]):
        title = f"{path}: shapes[{number}]"
        try:
            kind = shape.get("shape_type") or "polygon"
            name = _name(shape["label"])
            if kind not in LABELME_MASKS:
                skipped.append(f"{title}: is a {kind}, which covers no area")
                continue
        except MISTAKES as error:
            skipped.append(f"{title}: {reason_of(error)}")
            continue
        if name not in (IGNORED_LABEL, BACKGROUND_LABEL):
            names[name] = None
        region = Region(title, None if name == IGNORED_LABEL else name, _labelme_mask(kind, shape))
        labeled.regions.append(region)
    return LabelFile(list(names), [labeled], skipped)


def _labelme_mask(kind: str, shape: dict[str, Any]) -> Callable[[int, int], Array]:
    def mask(height: int, width: int) -> Array:
        return LABELME_MASKS[kind](shape, height, width)

    return mask


def _polygon(shape: dict[str, Any], height: int, width: int) -> Array:
    return fill_polygon(_points(shape["points"]), height, width)


def _rectangle(shape: dict[str, Any], height: int, width: int) -> Array:
    (left, top), (right, bottom) = _points(shape["points"]).tolist()
    return fill_polygon(np.array([(left, top), (right, top), (right, bottom), (left, bottom)]), height, width)


def _circle(shape: dict[str, Any], height: int, width: int) -> Array:
    """Points: the center, and one on the circle."""
    center, border = _points(shape["points"])
    fill_polygon(np.array([center, border]), height, width)  # refuses points far outside
    rows, columns = np.ogrid[:height, :width]
    return (columns + 0.5 - center[0]) ** 2 + (rows + 0.5 - center[1]) ** 2 <= ((border - center) ** 2).sum()


def _bitmap(shape: dict[str, Any], height: int, width: int) -> Array:
    """A picture as a base64 PNG, whose corners are the points."""
    corners = _points(shape["points"])
    if not ((corners >= 0) & (corners <= [width - 1, height - 1])).all():  # also for NaN
        raise ValueError("lies outside of the image")
    (left, top), (right, bottom) = corners.astype(np.int64).tolist()
    with Image.open(io.BytesIO(base64.b64decode(shape["mask"])), formats=["PNG"]) as picture:
        if picture.size != (right - left + 1, bottom - top + 1):
            raise ValueError(f"is {picture.size[0]}x{picture.size[1]} and its box another size")
        inside = np.asarray(picture.convert("L")) > 0
    result = np.zeros((height, width), bool)
    result[top : bottom + 1, left : right + 1] = inside
    return result


LABELME_MASKS = {"polygon": _polygon, "rectangle": _rectangle, "circle": _circle, "mask": _bitmap}


def _points(values: Any) -> Array:
    """(N, 2) of [x, y, x, y ...] or [[x, y] ...]; ValueError for fewer than two points or no numbers."""
    points = np.array(values, np.float64).reshape(-1, 2)
    if len(points) < 2:
        raise ValueError("has fewer than two points")
    return points


def _name(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{str(value)[:50]!r} is no class name")
    return value


def reason_of(error: Exception) -> str:
    """What is wrong with an entry, in a line."""
    if isinstance(error, KeyError):
        return f"lacks {error}"
    return str(error)[:300] if isinstance(error, ValueError) else f"has a wrong value ({error})"[:300]
