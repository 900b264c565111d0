"""The submission to KITTI Road: official names and sizes, all or nothing, and every broken file is named."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from zipfile import ZipFile

import numpy as np
import pytest
from PIL import Image
from test_birds_eye import CALIBRATION
from test_kitti_road import config_of

from fcn.commands.parser import build_parser
from fcn.config.settings import Config
from fcn.errors import UserError
from fcn.evaluation.kitti.birds_eye import birds_eye, road_to_image
from fcn.evaluation.kitti.submission import submission_frames, write_submission
from fcn.images import Array, write_image
from fcn.runs.trained import TrainedModel

IMAGE = np.arange(40 * 120 * 3, dtype=np.uint8).reshape(40, 120, 3)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """All 290 test frames, small ones and all the same."""
    write_image(tmp_path / "frame.png", IMAGE)
    (tmp_path / "calib.txt").write_text(CALIBRATION)
    for file, folder in (("frame.png", "image_2"), ("calib.txt", "calib")):
        (tmp_path / "testing" / folder).mkdir(parents=True)
        for category, count in (("um", 96), ("umm", 94), ("uu", 100)):
            for number in range(count):
                path = tmp_path / f"testing/{folder}/{category}_{number:06d}{file[-4:]}"
                path.symlink_to(tmp_path / file)
    return tmp_path


def red(image: Array) -> Array:
    return image[..., 0]


@pytest.mark.parametrize(
    ("kind", "official"),
    [("road", {"um_road": 96, "umm_road": 94, "uu_road": 100}), ("um_lane", {"um_lane": 96})],
)
def test_submission_has_the_official_names_in_its_root_and_the_warped_confidences(
    kind: str, official: dict[str, int], tree: Path
) -> None:
    names = [f"{category}_{number:06d}.png" for category, count in official.items() for number in range(count)]
    config = config_of(tree, kitti_truth=kind)
    frames = submission_frames(config)
    assert len(frames) == len(names)
    for file in ("a.zip", "b.zip"):
        write_submission(config, frames[::95], red, tree / file)
    assert (tree / "a.zip").read_bytes() == (tree / "b.zip").read_bytes()
    with ZipFile(tree / "a.zip") as archive:
        assert archive.infolist()[0].date_time == (1980, 1, 1, 0, 0, 0)  # not when it was written
        assert archive.namelist() == names[::95]
        for name in archive.namelist():
            with Image.open(archive.open(name)) as picture:
                assert (picture.size, picture.mode) == ((400, 800), "L")
                np.testing.assert_array_equal(picture, birds_eye(red(IMAGE), road_to_image(tree / "calib.txt"), 0))


def test_command_writes_all_frames_or_names_every_broken_file(
    tree: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    config = config_of(tree, kitti_truth="um_lane")
    trained = SimpleNamespace(config=lambda: Config(data=config), description=lambda: "best.weights.h5")
    predictor = SimpleNamespace(labels_and_confidence=lambda image, index: (image[..., 1], image[..., index - 1]))
    monkeypatch.setattr(TrainedModel, "find", lambda *_, **__: trained)
    loaded = {None: predictor}  # no image is resized
    monkeypatch.setattr("fcn.inference.predictor.load_predictor", lambda *_, max_height: loaded[max_height])
    out = tree / "out.zip"
    arguments = build_parser().parse_args(["submit-kitti", "--out", str(out)])
    arguments.call(arguments)
    assert capsys.readouterr().out == f"weights: best.weights.h5\n{out}: 96 frames\n"
    with ZipFile(out) as archive:
        assert len(archive.namelist()) == 96
    out.unlink()

    (tree / "testing/image_2/um_000093.png").unlink()
    (tree / "testing/calib/um_000002.txt").unlink()
    (tree / "testing/image_2/um_000001.png").unlink()
    (tree / "testing/image_2/um_000001.png").write_bytes(b"GIF89a")
    with pytest.raises(UserError) as caught:
        arguments.call(arguments)
    files = ["image_2/um_000001.png", "calib/um_000002.txt", "image_2/um_000093.png"]
    *lines, last = str(caught.value).splitlines()
    assert [line.split(": ")[0] for line in lines] == [f"{tree}/testing/{file}" for file in files]
    assert last == "the server takes all frames or none: fix these files"
    assert not out.exists()
