"""The submission to KITTI Road: official names and sizes, all or nothing, and everything left out is named."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace
from zipfile import ZipFile

import numpy as np
import pytest
from PIL import Image
from test_birds_eye import CALIBRATION

from fcn.commands import build_parser
from fcn.config.settings import Config, DataConfig
from fcn.errors import UserError
from fcn.evaluation.kitti import submission
from fcn.evaluation.kitti.birds_eye import birds_eye, road_to_image
from fcn.evaluation.kitti.submission import submission_frames, write_submission
from fcn.images import Array, write_image
from fcn.runs.trained import TrainedModel

IMAGE = np.arange(40 * 120 * 3, dtype=np.uint8).reshape(40, 120, 3)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """All 290 test frames, small ones and all the same."""
    for folder in ("image_2", "calib"):
        (tmp_path / "testing" / folder).mkdir(parents=True)
    write_image(tmp_path / "frame.png", IMAGE)
    (tmp_path / "calib.txt").write_text(CALIBRATION)
    for category, count in (("um", 96), ("umm", 94), ("uu", 100)):
        for number in range(count):
            (tmp_path / f"testing/image_2/{category}_{number:06d}.png").symlink_to(tmp_path / "frame.png")
            (tmp_path / f"testing/calib/{category}_{number:06d}.txt").symlink_to(tmp_path / "calib.txt")
    return tmp_path


def config_of(tree: Path, **settings: object) -> DataConfig:
    return DataConfig(kind="kitti_road", root=str(tree), **settings)


def red(image: Array) -> Array:
    return image[..., 0]


def test_whole_submission_has_the_official_names_in_its_root_and_the_warped_confidence(tree: Path) -> None:
    frames, problems = submission_frames(config_of(tree))
    assert (len(frames), problems) == (290, [])
    write_submission(config_of(tree), frames[:1] + frames[-2:], red, tree / "out.zip")
    with ZipFile(tree / "out.zip") as archive:
        assert archive.namelist() == ["um_road_000000.png", "uu_road_000098.png", "uu_road_000099.png"]
        for name in archive.namelist():
            with Image.open(archive.open(name)) as picture:
                assert (picture.size, picture.mode) == ((400, 800), "L")
                np.testing.assert_array_equal(picture, birds_eye(red(IMAGE), road_to_image(tree / "calib.txt"), 0))


def test_lanes_have_their_own_names(tree: Path) -> None:
    config = config_of(tree, kitti_truth="um_lane")
    frames, problems = submission_frames(config)
    assert (frames, problems) == ([f"um_{number:06d}" for number in range(96)], [])
    write_submission(config, frames[:2], red, tree / "out.zip")
    with ZipFile(tree / "out.zip") as archive:
        assert archive.namelist() == ["um_lane_000000.png", "um_lane_000001.png"]


def test_same_confidences_make_the_same_bytes(tree: Path) -> None:
    for name in ("a.zip", "b.zip"):
        write_submission(config_of(tree), ["um_000000"], red, tree / name)
    assert (tree / "a.zip").read_bytes() == (tree / "b.zip").read_bytes()
    with ZipFile(tree / "a.zip") as archive:
        assert archive.infolist()[0].date_time == (1980, 1, 1, 0, 0, 0)  # not when it was written


def test_missing_and_broken_files_are_listed(tree: Path) -> None:
    (tree / "testing/image_2/umm_000093.png").unlink()
    (tree / "testing/calib/uu_000001.txt").unlink()
    (tree / "testing/image_2/um_000001.png").unlink()
    (tree / "testing/image_2/um_000001.png").write_bytes(b"GIF89a")
    frames, problems = submission_frames(config_of(tree))
    assert len(frames) == 287
    assert not {"umm_000093", "uu_000001", "um_000001"} & set(frames)
    assert [line.split(": ")[0].replace(f"{tree}/", "") for line in problems] == [
        "testing/image_2/um_000001.png",
        "testing/image_2/umm_000093.png",
        "testing/calib/uu_000001.txt",
    ]


def test_nothing_is_written_where_a_frame_is_broken_unless_partial(
    tree: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    trained = SimpleNamespace(config=lambda: Config(data=config_of(tree)))
    predictor = SimpleNamespace(labels_and_confidence=lambda image, index: (image[..., 1], image[..., index - 1]))
    monkeypatch.setattr(TrainedModel, "find", lambda *_, **__: trained)
    loaded = {None: predictor}  # no image is resized
    monkeypatch.setattr("fcn.inference.predictor.load_predictor", lambda *_, max_height: loaded[max_height])
    (tree / "calib.txt").write_text("")
    good = tree / "testing/calib/um_000000.txt"
    good.unlink()
    good.write_text(CALIBRATION)
    out = tree / "out.zip"
    arguments = build_parser().parse_args(["submit-kitti", "--out", str(out)])
    with pytest.raises(UserError, match=r"um_000001.txt: P2: no such line(.|\n)*out.zip: is not written; fix these"):
        arguments.call(arguments)
    assert not out.exists()
    arguments.partial = True
    arguments.call(arguments)
    output = capsys.readouterr()
    assert output.err.count("restore the official file") == 289
    assert output.out == f"{out}: 1 of 290 frames\n"
    with ZipFile(out) as archive:
        assert archive.namelist() == ["um_road_000000.png"]
    good.unlink()
    with pytest.raises(UserError, match=r"out.zip: is not written"):
        arguments.call(arguments)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((400, 800), r"um_road_000000.png would be \(800, 400\), mode L"), ((800, 400, 3), r"\(400, 800\), mode RGB")],
)
def test_confidences_of_another_size_or_mode_are_not_written(
    shape: tuple[int, ...], expected: str, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(submission, "birds_eye", lambda *_, **__: np.zeros(shape, np.uint8))
    with pytest.raises(UserError, match=expected):
        write_submission(config_of(tree), ["um_000000"], red, tree / "out.zip")
    assert not (tree / "out.zip").exists()


@pytest.mark.parametrize("names", [["x/a.png"], ["a.png", "b.png"]])
def test_zip_of_other_names_is_refused(names: list[str]) -> None:
    archive = io.BytesIO()
    with ZipFile(archive, "w") as members:
        for name in names:
            members.writestr(name, b"")
    with pytest.raises(UserError, match=r"out.zip: is not written; it would not hold the 1 files"):
        submission.check_archive(archive, ["a.png"], Path("out.zip"))
