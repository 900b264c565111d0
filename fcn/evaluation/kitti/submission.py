"""What the KITTI Road server scores: bird's-eye confidences of its test frames, in one zip."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from zipfile import ZipFile, ZipInfo

from tqdm import tqdm

from fcn.config.settings import DataConfig
from fcn.datasets import kitti_road
from fcn.errors import UserError
from fcn.evaluation.kitti.birds_eye import birds_eye, road_to_image
from fcn.files import write_file
from fcn.images import Array, png_of, read_image


def submission_frames(config: DataConfig) -> list[str]:
    """Names of the official test frames, for lanes those of um; UserError with a line for each that cannot be read."""
    names = kitti_road.testing_names(config)
    problems = []
    for name in tqdm(names, "check", unit="frame", leave=False, disable=None):
        try:
            _read(config, name)
        except UserError as error:
            problems.append(str(error))
    if problems:
        raise UserError(*problems, "the server takes all frames or none: fix these files")
    return names


def write_submission(config: DataConfig, names: list[str], confidence: Callable[[Array], Array], out: Path) -> None:
    """Writes a zip of the bird's-eye confidences of test frames such as um_000000, by their official names.

    `confidence` maps an image uint8 (H, W, 3) to uint8 (H, W); the files are 8-bit gray PNGs, 400x800 pixels.
    """
    archive = io.BytesIO()
    with ZipFile(archive, "w") as members:
        for name in tqdm(names, "submit", unit="frame", leave=False, disable=None):
            image, homography = _read(config, name)
            from_above = birds_eye(confidence(image), homography, outside=0)
            # a ZipInfo has a fixed time: equal confidences make equal bytes
            members.writestr(ZipInfo(f"{kitti_road.truth_name(config, name)}.png"), png_of(from_above))
    write_file(out, archive.getvalue())


def _read(config: DataConfig, name: str) -> tuple[Array, Array]:
    """Image and homography of a test frame."""
    folder = kitti_road.tree_part(config, testing=True)
    image = read_image(folder / f"image_2/{name}.png", config.max_megapixels, turn=False)
    return image, road_to_image(folder / f"calib/{name}.txt")
