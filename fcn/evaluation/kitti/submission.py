"""What the server of KITTI Road scores: the confidences of its test frames, seen from above, in one zip."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from zipfile import ZipFile, ZipInfo

from PIL import Image
from tqdm import tqdm

from fcn.config.data_settings import DataConfig
from fcn.datasets.kitti_road import (
    calibration_file,
    read_testing_image,
    testing_image_file,
    testing_names,
    truth_name,
)
from fcn.errors import UserError
from fcn.evaluation.kitti.birds_eye import DEPTHS, SIDES, birds_eye, road_to_image
from fcn.files import write_file
from fcn.images import Array, png_of


def submission_frames(config: DataConfig) -> tuple[list[str], list[str]]:
    """The official test frames that are there with their calibration, and a line for each missing file."""
    frames, missing = [], []
    for name in testing_names(config):
        files = (testing_image_file(config, name), calibration_file(config, name, testing=True))
        lost = [file for file in files if not file.is_file()]
        missing += [f"{file}: is missing; restore it, or leave the frame out with --partial" for file in lost]
        frames += [] if lost else [name]
    return frames, missing


def write_submission(
    config: DataConfig, frames: Sequence[str], confidence: Callable[[Array], Array], out: Path, partial: bool
) -> list[str]:
    """Writes the bird's-eye confidences of test frames by their official names: 8-bit gray PNGs of 400x800 pixels.

    Args:
        config: of the tree; `kitti_truth` decides whether um's are called `um_road_` or `um_lane_`.
        frames: names, such as um_000000.
        confidence: image uint8 (H, W, 3) -> uint8 (H, W).
        out: the zip, which is replaced.
        partial: leave frames out that cannot be read, rather than write nothing.

    Returns:
        A line for each frame that was left out.

    Raises:
        UserError: a frame cannot be read and `partial` is not set, a line each; or none can.
    """
    archive, names, mistakes = io.BytesIO(), [], []
    with ZipFile(archive, "w") as members:
        for name in tqdm(frames, "submit", unit="frame", leave=False, disable=None):
            try:
                image = read_testing_image(config, name)
                homography = road_to_image(calibration_file(config, name, testing=True))
            except UserError as error:
                mistakes.append(str(error))
                continue
            names.append(f"{truth_name(config, name)}.png")
            # a ZipInfo has a fixed time: the same confidences make the same bytes
            members.writestr(ZipInfo(names[-1]), png_of(birds_eye(confidence(image), homography, outside=0)))
    if not names or (mistakes and not partial):
        raise UserError(*mistakes, f"{out}: is not written; mend these files, or leave the frames out with --partial")
    require_sound(archive, names, out)
    write_file(out, archive.getvalue())
    return mistakes


def require_sound(archive: io.BytesIO, names: Sequence[str], out: Path) -> None:
    """Raises UserError unless the zip holds just these files in its root, each 8-bit gray of the bird's-eye size."""
    with ZipFile(archive) as members:
        if members.namelist() != list(names) or len(set(names)) < len(names):
            raise UserError(f"{out}: is not written; it would not hold the {len(names)} files that it should")
        for name in names:
            with Image.open(io.BytesIO(members.read(name)), formats=("PNG",)) as picture:
                if (picture.size, picture.mode) != ((len(SIDES), len(DEPTHS)), "L"):
                    raise UserError(f"{out}: is not written; {name} would be {picture.size}, mode {picture.mode}")
