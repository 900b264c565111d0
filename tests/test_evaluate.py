"""Every frame counts once; the color-lookup baseline is the majority class of each RGB bin."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fcn.datasets.dataset import BACKGROUND_AND_ROAD, Dataset
from fcn.errors import UserError
from fcn.evaluation.color_table import color_bins, fit_color_table
from fcn.evaluation.evaluate import evaluate, evaluate_color_table, evaluate_trained, score_table
from fcn.images import IGNORE, Array
from fcn.runs.trained import TrainedModel

GRAY, GREEN = (100, 100, 100), (10, 200, 10)
FRAMES = (
    (np.array([[GRAY, GRAY, GREEN]], np.uint8), np.array([[1, 1, 0]], np.uint8)),
    (np.array([[GRAY], [GREEN], [GREEN]], np.uint8), np.array([[0], [0], [IGNORE]], np.uint8)),
)


def make(split: str = "val") -> Dataset:
    return Dataset(split, BACKGROUND_AND_ROAD, ("a", "b"), lambda index: FRAMES[index])


def test_every_frame_is_predicted_once_at_its_own_size() -> None:
    seen: list[tuple[int, ...]] = []

    def predict(image: Array) -> Array:
        seen.append(image.shape)
        return np.ones(image.shape[:2], np.uint8)

    record = evaluate(make(), predict)
    assert seen == [(1, 3, 3), (3, 1, 3)]
    assert (record["split"], record["frames"]) == ("val", 2)
    assert record["iou"] == {"background": 0.0, "road": 2 / 5}


def test_color_table_gives_the_majority_class_of_a_bin() -> None:
    table = fit_color_table(make("train"))
    assert table.shape == (4096,)
    assert table[color_bins(np.array([[GRAY, GREEN]], np.uint8))].tolist() == [
        [1, 0]
    ]  # gray: road twice, background once
    assert table[color_bins(np.array([[[255, 0, 255]]], np.uint8))].tolist() == [[0]]  # unseen: background, 3 of 5
    assert evaluate_color_table(make("train"), make())["iou"] == {"background": 2 / 3, "road": 2 / 3}


def test_bins_are_sixteenths_of_each_channel() -> None:
    image = np.array([[[0, 0, 15], [0, 16, 0], [255, 255, 255]]], np.uint8)
    assert color_bins(image).tolist() == [[0, 16, 4095]]


def test_score_table_shows_absent_classes_as_a_dash_and_needs_no_baseline() -> None:
    record = evaluate(make(), lambda image: np.zeros(image.shape[:2], np.uint8))
    absent = {**record, "iou": {"background": 0.25, "road": None}}
    lines = score_table(record, absent).splitlines()
    assert lines[0].split() == ["network", "color", "lookup"]
    assert lines[-1].split() == ["iou", "road", "0.0000", "-"]
    assert score_table(absent, None).splitlines()[-1].split() == ["iou", "road", "-"]


def test_missing_training_split_leaves_the_baseline_out_and_says_so(
    smoke_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def open_split(*_: object) -> Dataset:
        raise UserError("data/train: no such folder")

    monkeypatch.setattr("fcn.evaluation.evaluate.open_split", open_split)
    trained = TrainedModel.of_run(smoke_run)
    dataset = Dataset("val", BACKGROUND_AND_ROAD, ("a",), lambda index: FRAMES[index])
    record, baseline, problems = evaluate_trained(trained, trained.config(), dataset, flip=False)
    assert (record["frames"], baseline) == (1, None)
    assert problems == ["no color-lookup baseline, which is fitted on the training split: data/train: no such folder"]
