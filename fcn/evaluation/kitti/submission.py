"""What the KITTI Road server scores: bird's-eye confidences of its test frames, in one zip."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from zipfile import ZipFile, ZipInfo

from tqdm import tqdm

from fcn.config.settings import DataConfig
from fcn.datasets.kitti_road import calibration_file, read_testing_image, testing_names, truth_name
from fcn.errors import UserError
from fcn.evaluation.kitti.birds_eye import birds_eye, road_to_image
from fcn.files import write_file
from fcn.images import Array, png_of


def submission_frames(config: DataConfig) -> tuple[list[str], list[str]]:
    """Names of the official test frames that can be read with their calibration, and a line for each other frame."""
    frames = []
    problems = []
    for name in tqdm(testing_names(config), "check", unit="frame", leave=False, disable=None):
        try:
            read_testing_image(config, name)
            road_to_image(calibration_file(config, name, testing=True))
        except UserError as error:
            problems.append(str(error))
        else:
            frames.append(name)
    return frames, problems


def write_submission(config: DataConfig, frames: list[str], confidence: Callable[[Array], Array], out: Path) -> None:
    """Writes a zip of the bird's-eye confidences of test frames such as um_000000, by their official names.

    `confidence` maps an image uint8 (H, W, 3) to uint8 (H, W); the files are 8-bit gray PNGs, 400x800 pixels.
    """
    archive = io.BytesIO()
    with ZipFile(archive, "w") as members:
        for name in tqdm(frames, "submit", unit="frame", leave=False, disable=None):
            homography = road_to_image(calibration_file(config, name, testing=True))
            from_above = birds_eye(confidence(read_testing_image(config, name)), homography, outside=0)
            # a ZipInfo has a fixed time: equal confidences make equal bytes
            members.writestr(ZipInfo(f"{truth_name(config, name)}.png"), png_of(from_above))
    write_file(out, archive.getvalue())
