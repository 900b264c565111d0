"""One pass and sliding windows: where both are the same, where not, and what lost biases do."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
from conftest import ROOT, Script

from fcn.config.settings import ModelConfig
from fcn.datasets.synthetic import Scene
from fcn.explain.sliding import (
    at_network_height,
    drop_biases,
    scores_of_windows,
    seconds_of_both,
    trained_classifier,
    whole_cells,
)
from fcn.explain.street import stage_labels
from fcn.images import read_image, write_image
from fcn.inference.predictor import Predictor, load_predictor
from fcn.inference.tiles import receptive_radius
from fcn.model.fcn import build_fcn
from fcn.model.vgg import ENCODER_STRIDE
from fcn.runs.trained import SHIPPED, TrainedModel

FRAME = ROOT / "data" / "CamVid" / "val" / "0016E5_08119.png"
ROAD = np.asarray(Scene((150, 170), np.random.RandomState(1)).image)


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return load_predictor(SHIPPED)


@pytest.fixture(scope="module")
def config() -> ModelConfig:
    return TrainedModel.of_weights(SHIPPED).config().model


def test_one_pass_equals_the_classifier_on_windows_of_the_map_only(predictor: Predictor, config: ModelConfig) -> None:
    scores = scores_of_windows(predictor.model, config, whole_cells(predictor, ROAD, config.head_window))
    assert [values.shape for values in scores.values()] == [(2, 3, 11)] * 4
    one_pass, last_map, image, no_biases = scores.values()
    np.testing.assert_allclose(last_map, one_pass, atol=1e-5)
    assert abs(image - one_pass).mean() > 0.1
    assert abs(no_biases - one_pass).mean() > 0.1


def test_windows_of_the_image_get_the_score_that_the_network_gives_them_alone(
    predictor: Predictor, config: ModelConfig
) -> None:
    whole = whole_cells(predictor, ROAD, config.head_window)
    scores = scores_of_windows(predictor.model, config, whole)["image"]
    for row, column in ((0, 0), (1, 2)):
        window = whole[0, 32 * row : 32 * row + 96, 32 * column : 32 * column + 96]
        alone = scores_of_windows(predictor.model, config, window[None])["one pass"]
        np.testing.assert_allclose(scores[row, column], alone[0, 0], atol=1e-5)


@pytest.mark.parametrize("batch_norm", [False, True])
def test_without_biases_the_head_of_an_empty_map_has_the_scorer_bias_alone(batch_norm: bool) -> None:
    config = ModelConfig(encoder="vgg11", width=1 / 32, head_units=8, batch_norm=batch_norm)
    model = build_fcn(config, 3)
    random = np.random.RandomState(0)
    model.set_weights([random.uniform(0.1, 1, weights.shape) for weights in model.get_weights()])
    classifier = trained_classifier(model, config)
    drop_biases(classifier)
    x = np.zeros((1, *classifier.get_layer("flatten").input.shape[1:]), "float32")
    for layer in classifier.layers[classifier.layers.index(classifier.get_layer("flatten")) :]:
        x = layer(x)
    np.testing.assert_allclose(x[0], model.get_layer("score_fr").bias, atol=1e-6)


def test_timing_alternates_and_takes_all_windows(predictor: Predictor, config: ModelConfig) -> None:
    seconds = seconds_of_both(predictor.model, config, whole_cells(predictor, ROAD, config.head_window))
    assert seconds.shape == (9, 2)
    assert (seconds > 0).all()


def test_large_photo_is_scaled_to_the_height_of_the_training_frames(predictor: Predictor) -> None:
    assert at_network_height(predictor, ROAD) is ROAD
    assert at_network_height(predictor, np.zeros((720, 1000, 3), np.uint8)).shape == (360, 500, 3)
    narrow = at_network_height(predictor, np.zeros((7200, 96, 3), np.uint8), least=96)
    assert narrow.shape == (7200, 96, 3)


def test_mistakes_are_refused_in_one_line(script: Script, tmp_path: Path) -> None:
    write_image(tmp_path / "small.png", ROAD[:95])
    mistakes = {
        ("--image", tmp_path / "small.png"): "has 95 x 170 pixels, a window of this network 96 x 96",
        ("--run", tmp_path): "--run, --weights: are for --image and --pictures",
        ("--pictures", tmp_path / "small.png"): "small.png",
    }
    for arguments, message in mistakes.items():
        done = script("explain_layers", *arguments)
        assert (done.returncode, done.stdout) == (2, ""), arguments
        assert message in done.stderr
        assert done.stderr.count("\n") == 1


@pytest.mark.skipif(not FRAME.is_file(), reason="needs CamVid's validation frames under data/")
def test_numbers_of_the_document_on_a_real_frame(predictor: Predictor, config: ModelConfig) -> None:
    image = read_image(FRAME)
    whole = whole_cells(predictor, image, config.head_window)
    scores = scores_of_windows(predictor.model, config, whole)
    one_pass = scores["one pass"]
    rows = {}
    for name, values in scores.items():
        difference = abs(values - one_pass)
        same = np.mean(values.argmax(axis=-1) == one_pass.argmax(axis=-1))
        rows[name] = f"{difference.max():.2g} | {difference.mean():.2g} | {100 * same:.0f} % |"
    assert abs(scores["last map"] - one_pass).max() < 1e-5
    assert abs(scores["last map"] - one_pass).mean() < 1e-6
    labels = stage_labels(predictor.model, image)
    agreement = [f"{100 * np.mean(stage == labels['logits']):.0f} %" for stage in labels.values()]
    last_map = keras.Model(predictor.model.input, predictor.model.get_layer("block5_pool").output)
    field = 2 * receptive_radius(last_map) + ENCODER_STRIDE
    height, width = whole.shape[1:3]
    count = one_pass.shape[0] * one_pass.shape[1]
    sentences = [
        "| the last map | below 0.00001 | below 0.000001 | 100 % |",
        f"| the image | {rows['image']}",
        f"| the last map, biases of fc6 and fc7 lost | {rows['last map, no biases']}",
        f"cut to {height} x {width}: {count} windows, scores with a mean size of {abs(one_pass).mean():.2f}",
        f"`{count} * 96 * 96 / ({height} * {width}) =",
        f"sees {field} x {field} pixels",
        f"{agreement[0]}, {agreement[1]} and {agreement[2]} of the pixels",
    ]
    text = (ROOT / "docs" / "layers.md").read_text().replace("\n", " ")
    assert [sentence for sentence in sentences if sentence not in text] == []
