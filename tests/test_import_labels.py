"""Labels of tools become the masks that pycocotools makes, whatever lies in the files; the page's commands run."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from conftest import ROOT, Script
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as coco_mask

from fcn.config.yaml_file import load_config
from fcn.datasets import open_split
from fcn.datasets.import_labels import import_labels, shortened
from fcn.datasets.polygons import MAX_POINTS, decode_runs, fill_polygon
from fcn.errors import UserError
from fcn.images import IGNORE, read_image, write_image

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of pycocotools

HEIGHT, WIDTH = 40, 56
SQUARE = [10, 10, 30, 10, 30, 30, 10, 30]


def distance_to_outline(points: np.ndarray) -> np.ndarray:
    """Distance of each pixel's center from a polygon's edges, float64 (H, W)."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    centers = np.stack([columns, rows], axis=-1)
    distances = []
    for start, end in zip(points, np.roll(points, -1, axis=0), strict=True):
        edge = end - start
        share = np.clip((centers - start) @ edge / max(edge @ edge, 1e-12), 0, 1)
        distances.append(np.linalg.norm(centers - (start + share[..., np.newaxis] * edge), axis=-1))
    return np.min(distances, axis=0)


@given(st.integers(0, 2**32 - 1), st.integers(3, 12))
def test_polygons_are_those_of_pycocotools_up_to_a_pixel_from_the_outline(seed: int, corners: int) -> None:
    random = np.random.default_rng(seed)
    points = random.uniform(-20, 70, (corners, 2)).clip(-WIDTH, WIDTH).round(int(random.integers(0, 3)))
    mask = fill_polygon(points, HEIGHT, WIDTH)
    inside = np.array(
        [[_odd_crossings(points, column + 0.5, row + 0.5) for column in range(WIDTH)] for row in range(HEIGHT)]
    )
    np.testing.assert_array_equal(mask, inside)
    clipped = points.clip(0, [WIDTH, HEIGHT])  # pycocotools leaves the image otherwise
    theirs = coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects([clipped.ravel().tolist()], HEIGHT, WIDTH)))
    differs = fill_polygon(clipped, HEIGHT, WIDTH) != theirs
    assert not (differs & (distance_to_outline(clipped) > 1)).any()


def _odd_crossings(points: np.ndarray, x: float, y: float) -> bool:
    """Whether a ray to the left meets an odd number of edges."""
    count = 0
    for (x1, y1), (x2, y2) in zip(points.tolist(), np.roll(points, -1, axis=0).tolist(), strict=True):
        if (y1 <= y) != (y2 <= y):
            count += x1 + (y - y1) / (y2 - y1) * (x2 - x1) <= x
    return count % 2 == 1


@given(st.integers(0, 2**32 - 1))
def test_run_lengths_are_those_of_pycocotools(seed: int) -> None:
    random = np.random.default_rng(seed)
    mask = random.random((HEIGHT, WIDTH)) < random.random() ** 3
    packed = coco_mask.encode(np.asfortranarray(mask, np.uint8))["counts"].decode()
    np.testing.assert_array_equal(decode_runs(packed, HEIGHT, WIDTH), mask)
    flat = mask.T.ravel()
    changes = np.flatnonzero(np.diff(flat)) + 1
    runs = np.diff([0, *changes, flat.size]).tolist()
    np.testing.assert_array_equal(decode_runs([0, *runs] if flat[0] else runs, HEIGHT, WIDTH), mask)


def coco(folder: Path, annotations: list[dict[str, Any]], images: int = 1, **more: Any) -> Path:
    """A file of COCO with two categories and its images."""
    folder.mkdir(parents=True, exist_ok=True)
    entries = []
    for number in range(1, images + 1):
        write_image(folder / f"{number}.png", np.full((HEIGHT, WIDTH, 3), 40 * number, np.uint8))
        entries.append({"id": number, "file_name": f"{number}.png", "height": HEIGHT, "width": WIDTH})
    content = {
        "images": entries,
        "categories": [{"id": 5, "name": "road"}, {"id": 3, "name": "car"}],
        "annotations": [{"id": n, "image_id": 1, **one} for n, one in enumerate(annotations)],
    }
    (folder / "labels.json").write_text(json.dumps({**content, **more}))
    return folder / "labels.json"


def mask_of(out: Path, name: str = "1") -> np.ndarray:
    return np.asarray(Image.open(out / "masks" / f"{name}.png"))


def test_regions_are_drawn_in_order_with_holes_and_crowds_are_ignored(tmp_path: Path) -> None:
    ring = np.zeros((HEIGHT, WIDTH), np.uint8)
    ring[5:35, 5:35] = 1
    ring[15:25, 15:25] = 0
    runs = coco_mask.encode(np.asfortranarray(ring))
    annotations = [
        {"category_id": 5, "segmentation": [[0, 0, 20, 0, 20, 40, 0, 40]]},
        {"category_id": 3, "segmentation": {"size": runs["size"], "counts": runs["counts"].decode()}},
        {"category_id": 5, "segmentation": [[40, 0, 44, 0, 44, 4, 40, 4], [50, 0, 54, 0, 54, 4, 50, 4]]},
        {"category_id": 3, "iscrowd": 1, "segmentation": {"size": [HEIGHT, WIDTH], "counts": [0, 40 * 2, 40 * 54]}},
    ]
    counts, skipped = import_labels(coco(tmp_path / "in", annotations), tmp_path / "out")
    assert (counts, skipped) == ({"": 1}, [])
    expected = np.zeros((HEIGHT, WIDTH), np.uint8)  # car has the lower id
    expected[:, :20] = 2
    expected[ring == 1] = 1
    expected[:4, 40:44] = expected[:4, 50:54] = 2
    expected[:, :2] = IGNORE
    np.testing.assert_array_equal(mask_of(tmp_path / "out"), expected)
    config = load_config(tmp_path / "out" / "config.yaml")
    assert config.data.class_names == ("background", "car", "road")
    dataset = open_split(config.data, "train")
    assert dataset.classes[2].color == (0, 128, 0)
    np.testing.assert_array_equal(dataset.read(0)[1], expected)
    assert (tmp_path / "out/images/1.png").read_bytes() == (tmp_path / "in/1.png").read_bytes()


def test_labelme_shapes_become_their_pixels(tmp_path: Path) -> None:
    bitmap = io.BytesIO()
    Image.fromarray(np.eye(4, dtype=bool)).save(bitmap, "PNG")
    shapes = [
        {"label": "road", "points": [[0, 20], [56, 20], [56, 40], [0, 40]], "shape_type": "polygon"},
        {"label": "car", "points": [[30, 30], [20, 25]], "shape_type": "rectangle"},
        {"label": "sign", "points": [[45, 10], [45, 15]], "shape_type": "circle"},
        {
            "label": "car",
            "points": [[2, 2], [5, 5]],
            "shape_type": "mask",
            "mask": base64.b64encode(bitmap.getvalue()).decode(),
        },
        {"label": "__ignore__", "points": [[0, 38], [56, 38], [56, 40], [0, 40]], "shape_type": "polygon"},
        {"label": "_background_", "points": [[50, 20], [56, 20], [56, 30], [50, 30]]},
        {"label": "car", "points": [[1, 1]], "shape_type": "point"},
    ]
    folder = tmp_path / "in"
    folder.mkdir()
    write_image(folder / "a.jpg", np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    content = {"imagePath": "a.jpg", "imageHeight": HEIGHT, "imageWidth": WIDTH, "shapes": shapes}
    (folder / "a.json").write_text(json.dumps(content))
    counts, skipped = import_labels(folder, tmp_path / "out")
    assert counts == {"": 1}
    assert skipped == [f"{folder}/a.json: shapes[6]: is a point, which covers no area"]
    mask = mask_of(tmp_path / "out", "a")
    names = load_config(tmp_path / "out" / "config.yaml").data.class_names
    assert names == ("background", "road", "car", "sign")
    rows, columns = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    np.testing.assert_array_equal(mask == 3, (columns - 45) ** 2 + (rows - 10) ** 2 <= 25)
    assert (mask[25:30, 20:30] == 2).all()
    assert (mask[2:6, 2:6] == 2 * np.eye(4)).all()
    assert (mask[38:] == IGNORE).all()
    assert (mask[20:30, 50:] == 0).all()
    assert (mask == 1).sum() == 18 * 56 - 50 - 60


@pytest.mark.parametrize(
    ("annotation", "reason"),
    [
        ({"segmentation": [[0, 0] * 500_000]}, "has 500,000 points, more than 100,000"),
        ({"segmentation": [[0, 0, 1e9, 0, 1e9, 1e9]]}, "reaches far out of the image, which is 56x40 (width x height)"),
        ({"segmentation": [[0, 0, float("nan"), 0, 5, 5]]}, "reaches far out of the image"),
        ({"segmentation": [[0, 0, 1]]}, "cannot reshape array"),
        ({"segmentation": [["a", 0, 1, 2]]}, "could not convert string to float"),
        ({"segmentation": [[1, 2]]}, "has fewer than two points"),
        ({"segmentation": []}, "has no segmentation; a box alone says nothing of pixels"),
        ({"segmentation": [SQUARE], "category_id": 77}, "is of no category that the file has"),
        ({"segmentation": {"size": [2, 2], "counts": [4]}}, "has run lengths for another size: [2, 2]"),
        ({"segmentation": {"size": [HEIGHT, WIDTH], "counts": [2**40]}}, "run lengths that do not add up"),
        ({"segmentation": {"size": [HEIGHT, WIDTH], "counts": [2**90]}}, "has a wrong value ("),
        ({"segmentation": {"size": [HEIGHT, WIDTH], "counts": "ooooooooooooooo"}}, "with a wrong character"),
        ({"segmentation": {"size": [HEIGHT, WIDTH], "counts": "\x00"}}, "with a wrong character"),
        ({"segmentation": {"counts": [4]}}, "lacks 'size'"),
        ({"segmentation": "all"}, "has a wrong value ("),
    ],
)
def test_wrong_annotation_is_left_out_with_its_reason_and_the_others_stay(
    tmp_path: Path, annotation: dict[str, Any], reason: str
) -> None:
    annotations = [{"category_id": 5, "segmentation": [SQUARE]}, {"category_id": 5, **annotation}]
    _, skipped = import_labels(
        coco(tmp_path / "in", annotations, categories=[{"id": 5, "name": "road"}]), tmp_path / "out"
    )
    assert len(skipped) == 1
    assert "labels.json: annotation 1 of 1.png: " in skipped[0]
    assert reason in skipped[0]
    assert len(skipped[0]) < 600
    assert (mask_of(tmp_path / "out") == 1).sum() == 400


def test_polygon_with_too_many_crossings_is_refused_in_bounded_memory() -> None:
    zigzag = np.stack([np.arange(MAX_POINTS) % 50, np.arange(MAX_POINTS) % 2 * 4000.0], axis=1)
    with pytest.raises(ValueError, match="has edges that cross 400,000,000 rows of pixels, more than 4,194,304"):
        fill_polygon(zigzag, 4000, 50)


def test_wrong_images_are_left_out_with_their_reason(tmp_path: Path) -> None:
    file = coco(tmp_path / "in", [{"category_id": 5, "segmentation": [SQUARE]}], images=2)
    (tmp_path / "secret.png").write_bytes((tmp_path / "in/1.png").read_bytes())
    content = json.loads(file.read_text())
    for name in ("../secret.png", str(tmp_path / "secret.png"), "gone.png", "1.tif", "..\\secret.png", 7):
        content["images"].append({"id": 9, "file_name": name, "height": HEIGHT, "width": WIDTH})
    content["images"].append({"id": 9, "file_name": "2.png", "height": 7, "width": 9})
    content["images"].append({"id": 9, "file_name": "2.png"})
    file.write_text(json.dumps(content))
    counts, skipped = import_labels(file, tmp_path / "out")
    assert counts == {"": 2}
    text = "\n".join(skipped)
    assert text.count("leads out of the folder; write the name alone") == 3
    for reason in ("'gone.png' is not in ", "'1.tif' is no PNG", "images[7]: has a wrong value ("):
        assert reason in text
    assert "2.png: is 56x40, its labels are for 9x7; export them again" in text
    assert "2.png: another image is called 2; rename one" in text
    assert "category car: has no annotation" in text
    assert sorted(path.name for path in (tmp_path / "out/images").iterdir()) == ["1.png", "2.png"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[" * 200_000, "is nested too deeply; export it again"),
        ("{", "is not JSON: "),
        ("[]", "is neither COCO (images, annotations, categories) nor LabelMe (shapes)"),
        ('{"images": []}', "are not those of COCO (KeyError('categories'))"),
        ('{"images": [], "categories": [{"id": 1, "name": 5}]}', "'5' is no class name"),
        ('{"images": [], "categories": []}', "has no class with an annotation"),
    ],
)
def test_file_that_is_not_of_a_tool_is_one_line(tmp_path: Path, text: str, reason: str, script: Script) -> None:
    (tmp_path / "labels.json").write_text(text)
    done = script("import_labels", tmp_path / "labels.json", "--out", tmp_path / "out")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert reason in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["labels.json"]


def test_large_file_existing_folder_and_missing_split_are_refused(tmp_path: Path) -> None:
    large = tmp_path / "large.json"
    with large.open("wb") as file:
        file.truncate(2**31)  # takes no space
    with pytest.raises(UserError, match="has 2,147,483,648 bytes, more than 536,870,912; split it into several"):
        import_labels(large, tmp_path / "out")
    with pytest.raises(UserError, match="exists; nothing is overwritten"):
        import_labels(large, tmp_path)
    coco(tmp_path / "in" / "train", [])
    with pytest.raises(UserError, match=r"has no labels in val \(or valid\)"):
        import_labels(tmp_path / "in", tmp_path / "out")


def test_turned_photo_is_written_upright(tmp_path: Path) -> None:
    file = coco(tmp_path / "in", [{"category_id": 5, "segmentation": [SQUARE]}])
    exif = Image.Exif()
    exif[0x0112] = 6
    image = Image.fromarray(np.arange(HEIGHT * WIDTH * 3, dtype=np.uint32).astype(np.uint8).reshape(WIDTH, HEIGHT, 3))
    image.save(tmp_path / "in" / "1.jpg", exif=exif)
    file.write_text(file.read_text().replace("1.png", "1.jpg"))
    import_labels(file, tmp_path / "out")
    written = read_image(tmp_path / "out/images/1.png", turn=False)
    np.testing.assert_array_equal(written, read_image(tmp_path / "in/1.jpg"))


def test_many_lines_of_one_reason_are_shortened() -> None:
    lines = [f"image {number}: is gone" for number in range(9)]
    assert shortened([*lines, "b: is red"]) == [*lines[:3], "and 6 more: is gone", "b: is red"]


PAGE = (ROOT / "docs" / "your-data.md").read_text()
BLOCKS = {
    title: block.strip().splitlines() for title, block in re.findall(r"^## (.+?)\n.*?```\n(.*?)```", PAGE, re.M | re.S)
}
SMALL = """--set train.steps=2 --set augment.crop_size=[64,64] --set progressive.crop_size=[32,32]
    --set model.width=0.05 --set model.head_units=8""".replace("\n", " ")


def sample_image(folder: Path, name: str, size: tuple[int, int] = (HEIGHT, WIDTH)) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(zlib.crc32(bytes(folder / name)))
    write_image(folder / name, random.integers(0, 256, (*size, 3), np.uint8))


def coco_tree(
    folder: Path, labels: str, images: str, prefix: str = "", count: int = 5, zipped: str | None = None
) -> None:
    """A tool's export: a file of labels and its images."""
    file = coco(
        folder / "made",
        [{"category_id": 5, "segmentation": [SQUARE], "image_id": n} for n in range(1, count + 1)],
        count,
    )
    content = json.loads(file.read_text())
    target = folder / "tree"
    for entry in content["images"]:
        name = entry["file_name"]
        (target / images).mkdir(parents=True, exist_ok=True)
        shutil.copy(folder / "made" / name, target / images / name)
        sample_image(target / images, name)
        entry["file_name"] = prefix + name
    (target / labels).parent.mkdir(parents=True, exist_ok=True)
    (target / labels).write_text(json.dumps(content))
    if zipped:
        with zipfile.ZipFile(folder / zipped, "w") as archive:
            for path in target.rglob("*.*"):
                archive.write(path, path.relative_to(target))


def make_sample(tool: str, folder: Path) -> None:
    """A small data set in the form in which a tool exports it, or in which it is published."""
    if tool == "CVAT":
        coco_tree(folder, "annotations/instances_default.json", "images", zipped="cvat.zip")
    elif tool == "Label Studio":
        coco_tree(folder, "result.json", "images", prefix="images/", zipped="label-studio.zip")
    elif tool == "Roboflow":
        for split in ("train", "valid", "test"):
            coco_tree(folder, f"{split}/_annotations.coco.json", split, count=2, zipped="roboflow.zip")
    elif tool == "LabelMe":
        for number in range(5):
            sample_image(folder / "labelme", f"{number}.png")
            shapes = [{"label": "road", "points": np.reshape(SQUARE, (-1, 2)).tolist()}]
            (folder / "labelme" / f"{number}.json").write_text(
                json.dumps({"imagePath": f"{number}.png", "shapes": shapes})
            )
    elif tool == "PASCAL VOC":
        root = folder / "VOCdevkit/VOC2012"
        names = ["2007_000032", "2007_000033", "2007_000039"]
        for name in names:
            sample_image(root / "JPEGImages", f"{name}.jpg")
            mask = np.zeros((HEIGHT, WIDTH), np.uint8)
            mask[:9] = np.arange(WIDTH) % 21
            mask[9] = 255
            (root / "SegmentationClass").mkdir(exist_ok=True)
            picture = Image.fromarray(mask)
            picture.putpalette(list(range(256)) * 3)
            picture.save(root / "SegmentationClass" / f"{name}.png")
        (root / "ImageSets/Segmentation").mkdir(parents=True)
        for split, several in (("train", names[:2]), ("val", names[2:]), ("trainval", names)):
            (root / "ImageSets/Segmentation" / f"{split}.txt").write_text("\n".join(several) + "\n")
        with tarfile.open(folder / "VOCtrainval_11-May-2012.tar", "w") as archive:
            archive.add(folder / "VOCdevkit", "VOCdevkit")
        shutil.rmtree(folder / "VOCdevkit")
    else:
        for split, city in (("train", "aachen"), ("train", "bochum"), ("val", "lindau")):
            name = f"{city}_000000_000019"
            sample_image(folder / "leftImg8bit" / split / city, f"{name}_leftImg8bit.png")
            ids = np.full((HEIGHT, WIDTH), 7, np.uint8)
            ids[:9] = np.arange(WIDTH) % 34
            (folder / "gtFine" / split / city).mkdir(parents=True)
            for kind in ("labelIds", "instanceIds"):
                Image.fromarray(ids).save(folder / "gtFine" / split / city / f"{name}_gtFine_{kind}.png")


@pytest.mark.slow
@pytest.mark.parametrize("tool", BLOCKS)
def test_five_commands_lead_from_a_tool_to_a_trained_network(tool: str, tmp_path: Path) -> None:
    assert len(BLOCKS[tool]) == 5
    make_sample(tool, tmp_path)
    for line in BLOCKS[tool]:
        command = re.sub(r"^python ", f"{sys.executable} ", line)
        command = re.sub(r"^fcn ", f"{sys.executable} -m fcn ", command)
        if line.startswith("fcn train"):
            command = f"{command.removesuffix('--initial-weights camvid')} {SMALL}"
        done = subprocess.run(["/bin/bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, (line, done.stderr)
    runs = list((tmp_path / "runs").glob("*/report.html"))
    assert len(runs) == 1


def test_page_names_every_tool_and_each_config_is_valid() -> None:
    assert set(BLOCKS) == {"CVAT", "Label Studio", "LabelMe", "Roboflow", "PASCAL VOC", "Cityscapes"}
    for name, count in (("voc", 21), ("cityscapes", 19)):
        data = yaml.safe_load((ROOT / "configs" / f"{name}.yaml").read_text())["data"]
        assert len(data["class_names"]) == len(data["class_colors"]) == count
    ids = yaml.safe_load((ROOT / "configs" / "cityscapes.yaml").read_text())["data"]
    assert sorted([*ids["mask_values"], *ids["ignore_values"]]) == [*range(34), 255]
