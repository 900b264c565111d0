"""Labels of a tool -> a folder of images and masks that `data.kind: folder` reads, with its config."""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from tqdm import tqdm

from fcn.config.settings import MAX_CLASSES, MAX_NAME, DataConfig
from fcn.config.yaml_file import find_config
from fcn.datasets.folder import default_color
from fcn.datasets.label_files import BACKGROUND_LABEL, MISTAKES, LabeledImage, read_labels, reason_of
from fcn.errors import UserError, printable
from fcn.files import PART
from fcn.images import IGNORE, Array, SegmentationClass, read_image, write_image, write_mask

BACKGROUND = SegmentationClass("background", (70, 70, 70))
SPLITS = {"train": ("train",), "val": ("val", "valid", "validation"), "test": ("test",)}
MAX_LINES = 3  # of one kind that are listed


def import_labels(source: Path, out: Path, image_folder: Path | None = None) -> tuple[Counter[str], list[str]]:
    """Writes `out`/images, `out`/masks and `out`/config.yaml; `out` appears when it is complete.

    `source` is a file of COCO or LabelMe, or a folder of such files, or of folders train, valid and test of them. Class
    0 is the background: pixels in no region.

    Returns the number of images in each split ("" where there is none), and a line for each thing that is left out.
    Raises UserError if a file is not of these tools, there is no image or no class, or `out` exists.
    """
    if os.path.lexists(out):
        raise UserError(f"{out}: exists; nothing is overwritten; remove it or name another --out")
    files = {split: [read_labels(path, image_folder) for path in paths] for split, paths in _sources(source).items()}
    everything = [one for several in files.values() for one in several]
    names = dict.fromkeys(name for one in everything for name in one.class_names)
    classes = _classes(list(names), source)
    skipped = [line for one in everything for line in one.skipped]
    counts = Counter[str]()
    out.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=out.parent, prefix=PART) as temporary:
        tree = Path(temporary) / "tree"
        for split, several in files.items():
            folders = tree / "images" / split, tree / "masks" / split
            for folder in folders:
                folder.mkdir(parents=True)
            images = [image for one in several for image in one.images]
            for labeled in tqdm(images, "import", unit="image", leave=False, disable=None):
                try:
                    _write(labeled, *folders, classes=classes, skipped=skipped)
                    counts[split] += 1
                except UserError as error:
                    skipped.append(str(error))
        if not counts:
            reason = skipped[0] if skipped else "it names none"
            raise UserError(f"{source}: has no image that can be imported: {reason}")
        (tree / "config.yaml").write_text(_config(out, classes))
        os.sync()
        tree.rename(out)
    return counts, shortened(skipped)


def shortened(lines: Sequence[str]) -> list[str]:
    """The lines, but of more than `MAX_LINES` with one reason the first and how many more there are."""
    reasons = Counter(line.rpartition(": ")[2] for line in lines)
    shown = Counter[str]()
    result = []
    for line in lines:
        reason = line.rpartition(": ")[2]
        shown[reason] += 1
        if shown[reason] <= MAX_LINES:
            result.append(line)
        elif shown[reason] == MAX_LINES + 1:
            result.append(f"and {reasons[reason] - MAX_LINES} more: {reason}")
    return result


def _sources(source: Path) -> dict[str, list[Path]]:
    """Split -> its files of labels; the split is "" where there is none."""
    if not source.is_dir():
        return {"": [source]}
    found = {}
    for split, folders in SPLITS.items():
        for folder in folders:
            files = sorted((source / folder).glob("*.json"))
            if files:
                found[split] = files
    if found and not {"train", "val"} <= found.keys():
        missing = "train" if "train" not in found else "val (or valid)"
        raise UserError(f"{source}: has no labels in {missing}; add that folder, or import one file without splits")
    files = sorted(source.glob("*.json"))
    if not found and not files:
        raise UserError(f"{source}: holds no JSON; name a file of COCO, or a folder of LabelMe's files")
    return found or {"": files}


def _classes(names: Sequence[str], source: Path) -> list[SegmentationClass]:
    """Background, then a class for each name with the color of PASCAL VOC's palette."""
    others = [name for name in names if name.casefold() not in (BACKGROUND.name, BACKGROUND_LABEL)]
    if not others:
        raise UserError(f"{source}: has no class with an annotation; label something, or export it again")
    if len(others) >= MAX_CLASSES:
        raise UserError(
            f"{source}: has {len(others)} classes; at most {MAX_CLASSES - 1} and the background fit in a mask"
        )
    for name in others:
        if not name.isprintable() or not 0 < len(name) <= MAX_NAME:
            rule = f"a name must be text of 1 to {MAX_NAME} printable characters; rename the class"
            raise UserError(f"{source}: class {name[:MAX_NAME]!r}: {rule}")
    return [BACKGROUND, *(SegmentationClass(name, default_color(n + 1)) for n, name in enumerate(others))]


def _write(
    labeled: LabeledImage, images: Path, masks: Path, classes: Sequence[SegmentationClass], skipped: list[str]
) -> None:
    """Writes an image, upright, and its mask; UserError if it cannot be read or its labels are for another size."""
    image = read_image(labeled.image, DataConfig.max_megapixels)
    height, width = image.shape[:2]
    if labeled.size not in (None, (height, width)):
        was = f"{labeled.size[1]}x{labeled.size[0]}" if labeled.size else ""
        raise UserError(f"{labeled.image}: is {width}x{height}, its labels are for {was}; export them again")
    target = images / labeled.image.name
    if target.exists() or any(images.glob(f"{target.stem}.*")):
        raise UserError(f"{labeled.image}: another image is called {target.stem}; rename one")
    mask = _mask_of(labeled, (height, width), classes, skipped)
    try:
        read_image(labeled.image, DataConfig.max_megapixels, turn=False)
        shutil.copyfile(labeled.image, target)
    except UserError:  # a rotated one: tools label it upright
        write_image(target.with_suffix(".png"), image)
    write_mask(masks / f"{target.stem}.png", mask, classes)


def _mask_of(
    labeled: LabeledImage, size: tuple[int, int], classes: Sequence[SegmentationClass], skipped: list[str]
) -> Array:
    """The label map uint8 (H, W) of an image; a line in `skipped` for each region that is left out."""
    index_of = {one.name: index for index, one in enumerate(classes)}
    mask = np.zeros(size, np.uint8)
    for region in labeled.regions:
        try:
            pixels = region.mask(*size)
        except MISTAKES as error:
            skipped.append(f"{region.title}: {reason_of(error)}")
            continue
        mask[pixels] = IGNORE if region.class_name is None else index_of.get(region.class_name, 0)
    return mask


def _config(out: Path, classes: Sequence[SegmentationClass]) -> str:
    """The config of configs/folder.yaml with other data."""
    recipe = find_config("folder").read_text()
    names = json.dumps([one.name for one in classes], ensure_ascii=False)
    colors = json.dumps([one.color for one in classes])
    return (
        "# Written by `fcn import-labels`; the recipe is that of configs/folder.yaml.\n"
        "data:\n"
        "  kind: folder\n"
        f"  root: {json.dumps(printable(str(out)), ensure_ascii=False)}\n"
        "  labels: all\n"
        f"  class_names: {names}\n"
        f"  class_colors: {colors}\n"
        f"  ignore_values: [{IGNORE}]\n"
        f"{recipe[recipe.index('augment:') :]}"
    )
