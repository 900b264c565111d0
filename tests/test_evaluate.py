"""Every frame counts once; the baseline is the majority class of each RGB bin; operations are those of the kernels."""

from __future__ import annotations

import math
from pathlib import Path

import keras
import numpy as np
import pytest

from fcn.config.settings import ModelConfig
from fcn.datasets.dataset import BACKGROUND_AND_ROAD, Dataset
from fcn.datasets.statistics import check_frames, color_bins
from fcn.errors import UserError
from fcn.evaluation.color_table import fit_color_table
from fcn.evaluation.cost import gigaflops
from fcn.evaluation.evaluate import (
    evaluate,
    evaluate_color_table,
    evaluate_trained,
    find_baseline,
    score_table,
)
from fcn.images import IGNORE, Array
from fcn.model.fcn import build_fcn
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
    corners = np.array([[[0, 0, 15], [0, 16, 0], [255, 255, 255]]], np.uint8)
    assert color_bins(corners).tolist() == [[0, 16, 4095]]  # sixteenths of each channel
    training, scored = check_frames([make("train"), make()]).splits
    table = fit_color_table(training)
    assert table.shape == (4096,)
    # gray: road twice, background once; magenta is unseen: background, 3 pixels of 5
    colors = np.array([[GRAY, GREEN, (255, 0, 255)]], np.uint8)
    assert table[color_bins(colors)].tolist() == [[1, 0, 0]]
    looked_up = evaluate(make(), lambda image: table[color_bins(image)])
    assert looked_up["iou"] == {"background": 2 / 3, "road": 2 / 3}
    assert evaluate_color_table(training, scored) == looked_up


def test_score_table_shows_absent_classes_as_a_dash_and_needs_no_baseline() -> None:
    record = evaluate(make(), lambda image: np.zeros(image.shape[:2], np.uint8))
    absent = {**record, "iou": {"background": 0.25, "road": None}}
    lines = score_table(record, absent).splitlines()
    assert lines[0].split() == ["network", "color", "lookup"]
    assert lines[-1].split() == ["iou", "road", "0.0000", "-"]
    assert score_table(absent, None).splitlines()[-1].split() == ["iou", "road", "-"]


def test_averaged_scores_say_so_and_a_missing_training_split_leaves_the_baseline_out(
    smoke_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def open_split(*_: object) -> Dataset:
        raise UserError("data/train: no such folder")

    monkeypatch.setattr("fcn.evaluation.evaluate.open_split", open_split)
    trained = TrainedModel.of_run(smoke_run)
    plain, _, _ = evaluate_trained(trained, trained.config(), make())
    flipped, _, _ = evaluate_trained(trained, trained.config(), make(), tta=("flip",))
    assert ("tta" in plain, flipped["tta"]) == (False, ["flip"])
    assert [len(plain["per_frame"]), np.sum(plain["confusion"]), plain["frames"]] == [2, 5, 2]
    assert plain["milliseconds"] <= plain["milliseconds_p95"]
    baseline, problems = find_baseline(trained.config().data, make())
    assert baseline is None
    assert problems == ["no color-lookup baseline, which is fitted on the training split: data/train: no such folder"]


@pytest.mark.parametrize("stride", [32, 2])
@pytest.mark.parametrize(("width", "classes"), [(1 / 4, 2), (1 / 32, 11)])  # the encoder's are most, then the decoder's
def test_gigaflops_are_those_of_the_products_and_little_more(stride: int, width: float, classes: int) -> None:
    config = ModelConfig(encoder="vgg11", width=width, head_units=64, stride=stride, batch_norm=False)
    model = build_fcn(config, classes)
    kernels = [layer for layer in model.layers if hasattr(layer, "kernel")]
    inputs = keras.Model(model.input, [layer.input for layer in kernels])(np.zeros((1, 96, 160, 3), np.uint8))
    # every position of a feature map meets the whole kernel, of a convolution and of a transposed one
    products = sum(
        features.shape[1] * features.shape[2] * math.prod(layer.kernel.shape)
        for features, layer in zip(inputs, kernels, strict=True)
    )
    assert 1 < gigaflops(model, 96, 160) * 1e9 / (2 * products) < 1.05
