"""The benchmark's measures: worked out by hand, against the float rule, and over whole folders."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import ArrayLike
from PIL import Image
from test_birds_eye import CALIBRATION
from test_kitti_road import config_of

from fcn.commands.parser import build_parser
from fcn.config.settings import DataConfig
from fcn.datasets import open_split
from fcn.datasets.kitti_road import COLORS
from fcn.datasets.statistics import count_pairs
from fcn.errors import UserError
from fcn.evaluation.evaluate import evaluate
from fcn.evaluation.kitti.benchmark import HISTOGRAMS, RoadScores, measures, road_table, score_predictions
from fcn.evaluation.kitti.birds_eye import birds_eye, road_to_image
from fcn.images import IGNORE, Array, write_image

LABEL = np.zeros((40, 120), np.uint8)  # a road in the middle of what CALIBRATION's camera sees, and ignored pixels
LABEL[:, 40:80] = 1
LABEL[30:, :10] = IGNORE
SYNTHETIC = str(ROOT / "configs/synthetic.yaml")


def histograms(label: ArrayLike, confidence: ArrayLike) -> Array:
    return count_pairs(np.asarray(label), np.asarray(confidence), HISTOGRAMS)


@pytest.mark.parametrize(
    ("label", "confidence", "expected"),  # MaxF, AP, PRE, REC, FPR, FNR, threshold
    [
        # q >= 200: TP 1 of 4, FP 0; >= 100: 2, 1; >= 50: 3, 1; >= 0: 4, 4 (thresholds of one stretch have one point);
        # AP at the recalls 0, .1, .2; .3 to .7; .8 to 1; of 1/255 to 50/255, which do equally well, the lowest
        (
            [1, 1, 0, 1, 1, 0, 0, 0],
            [200, 100, 100, 50, 0, 0, 0, 0],
            [0.75, (3 * 1 + 5 * 0.75 + 3 * 0.5) / 11, 0.75, 0.75, 0.25, 0.25, 1 / 255],
        ),
        ([1, 0, 0, 0], [255, 0, 0, 0], [1, 1, 1, 1, 0, 0, 1 / 255]),
        ([1, 0, 0, 0], [0, 255, 255, 255], [0.4, 0.25, 0.25, 1, 1, 0, 0]),
        ([1, 1], [9, 255], [1, 1, 1, 1, 0, 0, 0]),
        ([0, 0], [0, 255], None),  # no road
        ([IGNORE], [255], None),
    ],
)
def test_measures_worked_out_by_hand(label: list[int], confidence: list[int], expected: list[float] | None) -> None:
    figures = measures(histograms(label, confidence))
    values = None if figures is None else list(figures.values())
    assert values == pytest.approx(expected, abs=1e-9)


@given(arrays(np.uint8, 12, elements=st.sampled_from([0, 1, IGNORE])), arrays(np.uint8, 12))
def test_measures_are_those_of_the_curve_threshold_by_threshold(label: Array, confidence: Array) -> None:
    label[0] = 1
    points = []  # F1, precision, recall, threshold, false positives
    for k in range(256):
        road = confidence / 255 >= k / 255
        tp, fp = (np.sum(road & (label == kind)) for kind in (1, 0))
        recall = tp / np.sum(label == 1)
        precision = tp / (tp + fp + 1e-10)
        if recall or precision:
            points.append((2 * precision * recall / (precision + recall + 1e-10), precision, recall, k, fp))
    best = max(points, key=lambda point: point[0])
    ap = np.mean([max(point[1] for point in points if point[2] >= least) for least in np.arange(0, 1.1, 0.1)])
    fpr = best[4] / max(1, np.sum(label == 0))
    expected = [best[0], ap, best[1], best[2], fpr, 1 - best[2], best[3] / 255]
    assert list(measures(histograms(label, confidence)).values()) == pytest.approx(expected, abs=1e-12)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Frame 79 of um (road and lane), umm and uu with the ground truth LABEL; uu has no calibration."""
    for folder in ("image_2", "gt_image_2", "calib"):
        (tmp_path / "training" / folder).mkdir(parents=True)
    for name in ("um_000079", "umm_000080", "uu_000082"):
        write_image(tmp_path / f"training/image_2/{name}.png", np.zeros((*LABEL.shape, 3), np.uint8))
        (tmp_path / f"training/calib/{name}.txt").write_text(CALIBRATION)
    for name in ("um_road_000079", "um_lane_000079", "umm_road_000080", "uu_road_000082"):
        write_image(tmp_path / f"training/gt_image_2/{name}.png", COLORS[LABEL])
    (tmp_path / "training/calib/uu_000082.txt").unlink()
    return tmp_path


def predictions(tree: Path, **confidences: Array) -> Path:
    folder = tree / "predictions"
    folder.mkdir()
    for name, confidence in confidences.items():
        write_image(folder / f"{name}.png", confidence)
    return folder


def test_urban_is_one_curve_over_all_pixels_and_lanes_stand_apart(tree: Path) -> None:
    weak = LABEL % 2 * 10  # best at thresholds 1 to 10
    strong = LABEL % 2 * 200 + 20  # at 21 to 220
    roads = {"um_road_000079": weak, "umm_road_000080": strong, "uu_road_000082": LABEL}
    record, _ = score_predictions(config_of(tree), predictions(tree, **roads, um_lane_000079=1 - LABEL % 2))
    image = record["kitti_road"]["image"]
    assert list(image) == ["UM", "UMM", "UU", "URBAN", "UM_LANE"]
    assert image["UM"]["MaxF"] == image["UMM"]["MaxF"] == pytest.approx(1)
    assert image["URBAN"] == measures(sum(histograms(LABEL, one) for one in (weak, strong, LABEL)))
    assert image["URBAN"]["MaxF"] < 0.9
    assert image["UM_LANE"]["threshold"] == 0


def test_birds_eye_scores_warp_label_and_confidence_alike(tree: Path) -> None:
    confidence = np.random.default_rng(0).integers(0, 256, LABEL.shape, np.uint8)
    record, _ = score_predictions(config_of(tree), predictions(tree, um_road_000079=confidence))
    homography = road_to_image(tree / "training/calib/um_000079.txt")
    above = histograms(birds_eye(LABEL, homography, IGNORE), birds_eye(confidence, homography, 0))
    assert record["kitti_road"]["bev"] == {"UM": measures(above), "URBAN": measures(above)}
    assert measures(above) != record["kitti_road"]["image"]["UM"]
    calibration = tree / "training/calib/um_000079.txt"
    calibration.write_text(calibration.read_text().replace("P2:", "P2: 100 0 1e6 0 0 100 1e6 0 0 0 1 0\nP3:"))
    record, problems = score_predictions(config_of(tree), tree / "predictions")
    assert record["kitti_road"]["bev"] == {}
    problem = "by its calibration, it shows no pixel of the road's 40 m x 20 m that counts"
    assert problems == [f"um_road_000079: is left out of the bird's-eye scores: {problem}"]


def test_predictions_that_cannot_be_scored_are_named_and_the_others_scored(tree: Path) -> None:
    perfect = LABEL % 2 * 255
    gray = dict.fromkeys(("um_road_000001", "umm_road_000080", "uu_road_000082", "photo"), perfect)
    other = {"um_road_000079": perfect[1:], "um_lane_000079": np.zeros((*LABEL.shape, 3), np.uint8)}
    folder = predictions(tree, **gray, **other)
    Image.fromarray(perfect).convert("P").save(folder / "um_road_000003.png")
    for name in ("um_road_000002", "um_road_000003"):
        write_image(tree / f"training/gt_image_2/{name}.png", COLORS[LABEL])
    (folder / "um_road_000002.png").write_bytes(b"GIF89a")
    record, problems = score_predictions(config_of(tree), folder)
    expected = (
        "predictions/photo.png: has no ground truth training/gt_image_2/photo.png; rename or remove it",
        "predictions/um_lane_000079.png: is not a gray PNG; a confidence is an 8-bit gray one, 255 where",
        "predictions/um_road_000001.png: has no ground truth training/gt_image_2/um_road_000001.png; rename",
        "predictions/um_road_000002.png: is ",
        "predictions/um_road_000003.png: is not a gray PNG; a confidence is an 8-bit gray one, 255 where",
        "predictions/um_road_000079.png: is 120x39, its ground truth 120x40 (width x height); write confidences at",
        "uu_road_000082: is left out of the bird's-eye scores: training/calib/uu_000082.txt: no such file",
    )
    for line, start in zip(problems, expected, strict=True):
        assert line.replace(f"{tree}/", "").startswith(start)
    figures = record["kitti_road"]
    assert (list(figures["image"]), list(figures["bev"])) == (["UMM", "UU", "URBAN"], ["UMM", "URBAN"])


def test_script_scores_predictions_without_images(tree: Path) -> None:
    shutil.rmtree(tree / "training/image_2")
    folder = predictions(tree, um_road_000079=LABEL % 2 * 255, um_road_000001=LABEL)
    (tree / "kitti.yaml").write_text("data: {kind: kitti_road, root: nowhere, split_lists: nowhere}")
    command = [sys.executable, "-X", "importtime", ROOT / "scripts/evaluate.py", "--predictions", folder]
    command += ["--config", tree / "kitti.yaml", "--set", f"data.root={tree}", "--json", tree / "scores.json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = [line for line in done.stderr.splitlines() if not line.startswith("import time")]
    assert len(lines) == 1
    assert lines[0].startswith(f"{folder}/um_road_000001.png: has no ground truth")
    assert done.returncode == 2
    assert not re.search(r"\| +tensorflow$", done.stderr, re.M)
    record = json.loads((tree / "scores.json").read_text())
    assert record == json.loads(json.dumps(score_predictions(config_of(tree), folder)[0]))
    assert record["kitti_road"]["bev"]["UM"]["MaxF"] == pytest.approx(1)
    assert done.stdout.startswith(f"{folder}: frames scored: 1\n{road_table(record['kitti_road'])}\n")
    (folder / "um_road_000001.png").unlink()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--predictions", "x"], "--predictions and --config: go together"),
        (["--config", "x"], "--predictions and --config: go together"),
        (["--predictions", "x", "--config", "y", "--run", "z"], "--predictions: are scored without a network"),
        (["--predictions", "x", "--config", SYNTHETIC], "need KITTI's ground truth; data.kind is synth"),
    ],
)
def test_evaluate_refuses_what_does_not_go_together(words: list[str], expected: str) -> None:
    arguments = build_parser().parse_args(["evaluate", *words])
    with pytest.raises(UserError, match=expected):
        arguments.call(arguments)


def test_folders_without_predictions_or_ground_truth_are_refused(tree: Path) -> None:
    with pytest.raises(UserError, match="predictions: holds no prediction; name a folder of files such as"):
        score_predictions(config_of(tree), tree / "predictions")
    with pytest.raises(UserError, match=r"gt_image_2: no such folder; set data\.root to KITTI's official tree"):
        score_predictions(config_of(tree / "calib"), predictions(tree, um_road_000079=LABEL))


def test_scores_of_a_split_are_those_of_its_predictions_as_files(tree: Path) -> None:
    confidence = np.random.default_rng(0).integers(0, 256, LABEL.shape, np.uint8)
    labels = (confidence > 127).astype(np.uint8)
    road = RoadScores(config_of(tree))
    record = evaluate(open_split(config_of(tree), "val"), lambda _: (labels, confidence), road)
    names = ("um_road_000079", "umm_road_000080", "uu_road_000082")
    folder = predictions(tree, **dict.fromkeys(names, confidence))
    assert record["kitti_road"] == score_predictions(config_of(tree), folder)[0]["kitti_road"]
    assert (record["split"], record["frames"], len(road.problems)) == ("val", 3, 1)
    valid = LABEL != IGNORE
    assert record["pixel_accuracy"] == pytest.approx(np.mean((confidence > 127)[valid] == LABEL[valid]))


def test_table_is_percent_with_a_line_a_category() -> None:
    road = RoadScores(DataConfig(kind="kitti_road", root="nowhere"))
    road.add("um_000000", LABEL, (LABEL % 2, LABEL % 2 * 255))
    lines = [line.split() for line in road_table(road.scores()["kitti_road"]).splitlines()]
    header = ["MaxF", "AP", "PRE", "REC", "FPR", "FNR", "threshold"]
    figures = ["100.00%", "100.00%", "100.00%", "100.00%", "0.00%", "0.00%", "0.004"]
    assert lines == [["image", *header], ["UM", *figures], ["URBAN", *figures], ["bird's-eye", "view", *header]]
