"""The pictures of docs/layers.md show what the layers compute, and the page links exactly those that are written."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from conftest import ROOT, Script
from PIL import Image

from fcn.datasets.synthetic import Scene
from fcn.explain import pictures
from fcn.inference.predictor import load_predictor
from fcn.runs.trained import SHIPPED

PAGE = (ROOT / "docs" / "layers.md").read_text()
ROAD = np.asarray(Scene((150, 170), np.random.RandomState(1)).image)


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[np.ndarray]:
    """The maps that a picture shows as cells."""
    shown = []
    cells = pictures.Sheet.cells

    def record(sheet: pictures.Sheet, *arguments: object, **options: object) -> None:
        shown.append(arguments[1])
        cells(sheet, *arguments, **options)

    monkeypatch.setattr(pictures.Sheet, "cells", record)
    return shown


@pytest.mark.slow
def test_command_writes_exactly_the_pictures_that_the_page_links(script: Script, tmp_path: Path) -> None:
    done = script("explain_layers", "--pictures", tmp_path / "new")
    assert done.returncode == 0, done.stderr
    written = sorted(path.name for path in (tmp_path / "new").iterdir())
    assert written == sorted(path.name for path in (ROOT / "docs" / "layers").iterdir())
    assert written == sorted(re.findall(r"\]\(layers/([^)]+)\)", PAGE))
    for name in written:
        assert (tmp_path / "new" / name).stat().st_size < 2e5
        with Image.open(tmp_path / "new" / name) as new, Image.open(ROOT / "docs" / "layers" / name) as committed:
            assert new.size == committed.size
            assert getattr(new, "n_frames", 1) == getattr(committed, "n_frames", 1)
            assert new.convert("RGB").getpixel((0, 0)) == (255, 255, 255)


def test_dense_layer_and_convolution_show_the_numbers_of_the_post(shown: list[np.ndarray]) -> None:
    pictures.dense_and_convolution()
    x, dense0, dense1, conv0, conv1, back = shown
    np.testing.assert_allclose(x, np.random.RandomState(1).rand(4, 4))
    np.testing.assert_allclose([dense0, dense1], np.multiply.outer([-0.39915761, 2.10443926], x), rtol=1e-6)
    np.testing.assert_array_equal([conv0, conv1], [dense0, dense1])
    np.testing.assert_allclose(back, 4.5879917 * x, rtol=1e-6)


@pytest.mark.parametrize("k", [2, 3, 4])
def test_scatter_adds_a_scaled_kernel_for_each_cell_and_same_keeps_the_framed_part(k: int) -> None:
    kernel = np.outer(pictures.TENTS[k], pictures.TENTS[k])
    expected = np.zeros((4 + k, 4 + k))
    for cell, value in enumerate(pictures.SCATTERED.ravel()):
        row, column = divmod(cell, 3)
        expected[2 * row : 2 * row + k, 2 * column : 2 * column + k] += value * kernel
        np.testing.assert_array_equal(pictures.scatter(k, cell + 1), expected)
    weights = kernel[..., None, None].astype("float32")
    same = tf.nn.conv2d_transpose(pictures.SCATTERED[None, ..., None], weights, (1, 6, 6, 1), 2, "SAME")
    begin = (k - 2) // 2
    np.testing.assert_array_equal(same[0, ..., 0], expected[begin : begin + 6, begin : begin + 6])


def test_transposed_convolution_has_the_transposed_matrix(shown: list[np.ndarray]) -> None:
    pictures.transposed_matrix()
    matrix, x, y, transposed, same_y, back = shown
    np.testing.assert_array_equal(matrix, [[1, 2, 3, 0, 0, 0, 0], [0, 0, 1, 2, 3, 0, 0], [0, 0, 0, 0, 1, 2, 3]])
    np.testing.assert_array_equal(transposed, matrix.T)
    np.testing.assert_array_equal(x.ravel(), range(1, 8))
    np.testing.assert_array_equal([y.ravel(), same_y.ravel()], [[14, 26, 38]] * 2)
    np.testing.assert_array_equal(back.ravel(), [14, 28, 68, 52, 116, 76, 114])


def test_dense_score_of_a_window_is_in_the_converted_map(shown: list[np.ndarray]) -> None:
    features, kernel, dense, converted = pictures.window_scores()
    np.testing.assert_array_equal(dense, converted[1:-1, 1:-1])
    pictures.window()
    *_, converted_shown, window, kernel_shown, score = shown
    np.testing.assert_array_equal(window, [[*features[1, 2:5], *features[2, 2:5], *features[3, 2:5]]])
    assert score == window @ kernel_shown.T == converted_shown[2, 3]
    np.testing.assert_array_equal(kernel_shown, kernel.T)


def test_street_shows_the_network_at_each_stage() -> None:
    predictor = load_predictor(SHIPPED)
    labels = pictures.stage_labels(predictor, ROAD)
    assert list(labels) == ["score_fr", "fuse_pool4", "fuse_pool3", "logits"]
    np.testing.assert_array_equal(labels["logits"], predictor.labels(ROAD))
    agreement = [np.mean(stage == labels["logits"]) for stage in labels.values()]
    assert agreement == sorted(agreement)  # finer and finer
    scores = predictor.model.get_layer("score_fr").output  # 5 x 6 cells cover 160 x 192 pixels
    coarse = tf.keras.Model(predictor.model.input, scores)(ROAD[None])
    expected = tf.argmax(tf.image.resize(coarse, (160, 192)), axis=-1)[0, :150, :170]
    np.testing.assert_array_equal(labels["score_fr"], expected)
