"""One pass and sliding windows: where both are the same, where not, and what lost biases do."""

from __future__ import annotations

import re
from pathlib import Path

import keras
import numpy as np
import pytest
from conftest import ROOT, Script

from fcn.config.settings import ModelConfig
from fcn.datasets.synthetic import Scene
from fcn.explain.pictures import stage_labels
from fcn.explain.sliding import comparison, drop_biases, scores_of_windows, trained_classifier, whole_cells
from fcn.images import read_image, write_image
from fcn.inference.predictor import Predictor, load_predictor
from fcn.model.fcn import build_fcn
from fcn.model.inference_form import receptive_radius
from fcn.model.vgg import ENCODER_STRIDE
from fcn.runs.trained import SHIPPED, TrainedModel

FRAME = ROOT / "data" / "CamVid" / "val" / "0016E5_08119.png"
ROAD = np.asarray(Scene((150, 170), np.random.RandomState(1)).image)
CONFIG = TrainedModel.of_weights(SHIPPED).config().model


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return load_predictor(SHIPPED)


def rows_of(text: str) -> list[list[float]]:
    """Largest and mean difference and percentage of same classes: last map, image, last map without biases."""
    return [list(map(float, row)) for row in re.findall(r" +([\d.e-]+) +([\d.e-]+) +([\d.]+)%\n", text)]


def test_one_pass_equals_the_classifier_on_windows_of_the_map_and_not_of_the_image(predictor: Predictor) -> None:
    whole = whole_cells(predictor, ROAD, 3)
    scores = scores_of_windows(predictor.model, CONFIG, whole)
    assert [values.shape for values in scores.values()] == [(2, 3, 11)] * 4
    one_pass, last_map, image, no_biases = scores.values()
    np.testing.assert_allclose(last_map, one_pass, atol=1e-5)
    assert abs(image - one_pass).mean() > 0.1
    assert abs(no_biases - one_pass).mean() > 0.1
    alone = scores_of_windows(predictor.model, CONFIG, whole[:, 32:128, 64:160])["one pass"]
    np.testing.assert_allclose(image[1, 2], alone[0, 0], atol=1e-5)  # as the network sees it without the rest


@pytest.mark.parametrize("batch_norm", [False, True])
def test_without_biases_the_head_of_an_empty_map_has_the_scorer_bias_alone(batch_norm: bool) -> None:
    config = ModelConfig(encoder="vgg11", width=1 / 32, head_units=8, batch_norm=batch_norm)
    model = build_fcn(config, 3)
    random = np.random.RandomState(0)
    model.set_weights([random.uniform(0.1, 1, weights.shape) for weights in model.get_weights()])
    classifier = trained_classifier(model, config)
    drop_biases(classifier)
    flatten = classifier.get_layer("flatten").input
    scores = keras.Model(flatten, classifier.output)(np.zeros((1, *flatten.shape[1:])))
    np.testing.assert_allclose(scores[0], model.get_layer("score_fr").bias, atol=1e-6)


def test_large_photo_is_scaled_to_the_height_of_the_training_frames(predictor: Predictor) -> None:
    np.testing.assert_array_equal(whole_cells(predictor, ROAD, 3)[0], ROAD[:128, :160])
    assert whole_cells(predictor, np.zeros((720, 1000, 3), np.uint8), 3).shape == (1, 352, 480, 3)
    assert whole_cells(predictor, np.zeros((7200, 96, 3), np.uint8), 3).shape == (1, 7200, 96, 3)


def test_printed_rows_compare_the_scores_and_the_times(predictor: Predictor) -> None:
    text = comparison(predictor, CONFIG, ROAD)
    one_pass, *others = scores_of_windows(predictor.model, CONFIG, whole_cells(predictor, ROAD, 3)).values()
    assert "Image (150, 170, 3) -> input (128, 160, 3): 2 x 3 windows of 3 x 3 cells or 96 x 96 pixels" in text
    for row, values in zip(rows_of(text), others, strict=True):
        difference = abs(values - one_pass)
        same = np.mean(values.argmax(axis=-1) == one_pass.argmax(axis=-1))
        np.testing.assert_allclose(row, [difference.max(), difference.mean(), 100 * same], rtol=1e-3, atol=1e-5)
    one, sliding, ratio, low, high = map(float, re.findall(r"\d+\.\d", re.search("One pass .*", text)[0]))
    assert 0 < one < sliding
    assert low <= ratio <= high


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


@pytest.mark.slow
@pytest.mark.skipif(not FRAME.is_file(), reason="needs CamVid's validation frames under data/")
def test_numbers_of_the_document_on_a_real_frame(predictor: Predictor) -> None:
    image = read_image(FRAME)
    text = comparison(predictor, CONFIG, image)
    height, width, rows, columns = map(int, re.search(r"input \((\d+), (\d+), 3\): (\d+) x (\d+)", text).groups())
    last_map, on_image, no_biases = rows_of(text)
    assert last_map[0] < 1e-5
    assert last_map[1] < 1e-6
    labels = stage_labels(predictor, image)
    agreement = [f"{100 * np.mean(stage == labels['logits']):.0f} %" for stage in labels.values()]
    encoder = keras.Model(predictor.model.input, predictor.model.get_layer("block5_pool").output)
    field = 2 * receptive_radius(encoder) + ENCODER_STRIDE
    size = float(re.search(r"mean size ([\d.]+)", text)[1])
    sentences = [
        "| the last map | below 0.00001 | below 0.000001 | 100 % |",
        "| the image | {:.2g} | {:.2g} | {:.0f} % |".format(*on_image),
        "| the last map, biases of fc6 and fc7 lost | {:.2g} | {:.2g} | {:.0f} % |".format(*no_biases),
        f"cut to {height} x {width}: {rows * columns} windows, scores with a mean size of {size:.2f}",
        f"`{rows * columns} * 96 * 96 / ({height} * {width}) =",
        f"sees {field} x {field} pixels",
        f"{agreement[0]}, {agreement[1]} and {agreement[2]} of the pixels",
    ]
    document = (ROOT / "docs" / "layers.md").read_text().replace("\n", " ")
    assert [sentence for sentence in sentences if sentence not in document] == []
