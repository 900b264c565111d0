"""Real frames of KITTI Road in this process: training, and by the commands evaluation, inference and submission."""

from __future__ import annotations

import json
from pathlib import Path
from zipfile import ZipFile

import pytest
from conftest import ROOT
from test_loop import train

from fcn.commands.parser import build_parser
from fcn.config.yaml_file import load_config
from fcn.datasets.kitti_road import TEST_FRAMES
from fcn.images import read_label
from fcn.runs.paths import RunPaths

REAL = ROOT / "data" / "kitti_road"
LISTS = {
    "train": [f"um_{number:06d}" for number in range(1, 9)],
    "val": ["um_000000", "um_000009", "um_000010"],  # the first one has its calibration
    "test": ["umm_000023", "uu_000076"],
}
SETTINGS = (
    "data.kitti_truth=um_lane",
    "model.encoder=vgg11",
    "model.width=0.03125",
    "model.head_units=8",
    "augment.crop_size=[96,160]",
    "train.steps=2",
    "train.batch_size=2",
    "train.pictures=0",
)


def command(name: str, *arguments: object) -> object:
    """Runs `fcn NAME ARGUMENTS` in this process, which has TensorFlow already; returns what the command returns."""
    parsed = build_parser().parse_args([name, *map(str, arguments)])
    return parsed.call(parsed)


@pytest.mark.slow
@pytest.mark.skipif(not REAL.is_dir(), reason="data/kitti_road is not there (data/README.md says how to get it)")
def test_real_frames_are_scored_and_submitted_as_they_are_inferred(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    for split, names in LISTS.items():
        (tmp_path / f"{split}.txt").write_text("\n".join(names))
    tree = tmp_path / "tree"  # with a test frame of um, which the real ones here lack
    for file in ("image_2/um_000000.png", "calib/um_000000.txt"):
        (tree / "testing" / file).parent.mkdir(parents=True)
        (tree / "testing" / file).symlink_to(REAL / "training" / file)
    (tree / "training").symlink_to(REAL / "training")
    run = tmp_path / "run"
    out = tmp_path / "out"
    # not by the script, which sets TensorFlow's threads: too late in this process
    places = [f"data.root={tree}", f"data.split_lists={tmp_path}"]
    train(load_config(ROOT / "configs/kitti_road.yaml", [*SETTINGS, *places]), RunPaths(run))

    command("evaluate", "--run", run, "--json", tmp_path / "scores.json")
    record = json.loads((tmp_path / "scores.json").read_text())
    assert record["frames"] == 3
    categories = {space: list(rows) for space, rows in record["kitti_road"].items()}
    assert categories == {"image": ["UM_LANE"], "bev": ["UM_LANE"]}
    output = capsys.readouterr()
    assert output.err.count("um_lane_000009: is left out of the bird's-eye scores") == 1
    assert f"{record['kitti_road']['bev']['UM_LANE']['MaxF']:.2%}" in output.out

    images = [REAL / f"training/image_2/{name}.png" for name in LISTS["val"]]
    images += [REAL / f"testing/image_2/{name}.png" for name in LISTS["test"]]
    command("infer", *images, "--run", run, "--out", out, "--confidence", "road")
    for name in LISTS["val"]:
        (out / f"{name}_confidence.png").rename(tmp_path / f"{name.replace('um_', 'um_lane_')}.png")
    folder = ["--predictions", tmp_path, "--config", run / "config.yaml"]
    assert command("evaluate", *folder, "--json", tmp_path / "again.json") == 2  # two frames have no calibration
    assert json.loads((tmp_path / "again.json").read_text())["kitti_road"] == record["kitti_road"]

    monkeypatch.setitem(TEST_FRAMES, "um", 1)
    command("submit-kitti", "--run", run, "--out", tmp_path / "submission.zip")
    with ZipFile(tmp_path / "submission.zip") as members:
        assert members.namelist() == ["um_lane_000000.png"]
        members.extractall(tmp_path / "submission")
    assert read_label(tmp_path / "submission/um_lane_000000.png").any()
