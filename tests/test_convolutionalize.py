"""Dense layers become convolutions that give the same scores."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

from fcn.config.settings import ModelConfig
from fcn.model.convolutionalize import convolutionalize
from fcn.model.vgg import build_classifier

CLASSES = 3
ROUNDING = 1e-5  # of the scores' size: float32 sums in another order


def random_classifier(**settings: object) -> keras.Model:
    """A small classifier whose every weight and moving statistic is random."""
    config = ModelConfig(**{"encoder": "vgg11", "width": 1 / 32, "head_units": 8, **settings})
    model = build_classifier(config, CLASSES)
    random = np.random.default_rng(0)
    for weight in model.weights:
        kernel = weight.path.endswith("kernel")
        spread = np.sqrt(2 / np.prod(weight.shape[:-1])) if kernel else 0.2
        center = 1 if weight.path.endswith(("gamma", "moving_variance")) else 0
        value = center + spread * random.uniform(-1.7, 1.7, weight.shape)  # variances stay positive
        weight.assign(value)
    return model


def images(number: int, height: int, width: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (number, height, width, 3), dtype=np.uint8)


def assert_same_scores(scores: np.ndarray, expected: np.ndarray) -> None:
    size = np.abs(expected).mean()
    assert size > 0.01
    np.testing.assert_allclose(scores, expected, rtol=0, atol=ROUNDING * size)


@pytest.mark.parametrize("batch_norm", [True, False])
@pytest.mark.parametrize("window", [1, 3, 5, 7])
def test_converted_network_equals_the_classifier_on_every_window_of_the_last_map(window: int, batch_norm: bool) -> None:
    classifier = random_classifier(head_window=window, batch_norm=batch_norm)
    converted = convolutionalize(classifier)
    half = window // 2

    # an image of the classifier's own size: the middle cell
    frames = images(2, 32 * window, 32 * window)
    scores = converted(frames).numpy()
    assert scores.shape == (2, window, window, CLASSES)
    assert_same_scores(scores[:, half, half], classifier(frames).numpy())

    # a larger map: every cell, with zeros beyond the map; 3 x 4 windows see none
    height = window + 2
    width = window + 3
    features = np.random.default_rng(2).random((1, height, width, 16), dtype=np.float32)
    padded = np.pad(features[0], [(half, half), (half, half), (0, 0)])
    windows = [padded[i : i + window, j : j + window] for i, j in np.ndindex(height, width)]
    conv_head = keras.Model(converted.get_layer("block5_pool").output, converted.output)
    dense_head = keras.Model(classifier.get_layer("flatten").input, classifier.output)
    scores = conv_head(features).numpy()
    assert scores.shape == (1, height, width, CLASSES)
    assert_same_scores(scores.reshape(-1, CLASSES), dense_head(np.stack(windows)).numpy())


@pytest.mark.parametrize("window", [1, 3, 7])
def test_layers_keep_names_settings_and_copies_of_the_weights(window: int) -> None:
    classifier = random_classifier(head_window=window, dropout=0.4)
    before = classifier.get_weights()
    converted = convolutionalize(classifier)
    assert converted.input.dtype == classifier.input.dtype == "uint8"
    names = [layer.name for layer in classifier.layers if layer.name != "flatten"]
    assert [layer.name for layer in converted.layers] == names
    for layer in converted.layers:
        origin = classifier.get_layer(layer.name)
        for weight, expected in zip(layer.get_weights(), origin.get_weights(), strict=True):
            np.testing.assert_array_equal(weight.ravel(), expected.ravel())
    kernels = [converted.get_layer(name).kernel.shape for name in ("fc6", "fc7", "fc8")]
    assert kernels == [(window, window, 16, 8), (1, 1, 8, 8), (1, 1, 8, CLASSES)]
    assert [converted.get_layer(f"fc{n}_dropout").rate for n in (6, 7)] == [0.4, 0.4]
    assert not any(isinstance(layer, layers.Dense | layers.Flatten) for layer in converted.layers)
    for weight in converted.weights:  # copies: the classifier keeps its own
        weight.assign(np.zeros(weight.shape))
    for weight, expected in zip(classifier.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, expected)


def test_activation_of_a_dense_layer_is_kept() -> None:
    image = keras.Input((3, 3, 2), name="image")
    x = layers.Dense(4, activation="relu", name="fc6")(layers.Flatten()(image))
    classifier = keras.Model(image, layers.Dense(2, use_bias=False, activation="tanh", name="fc8")(x))
    frames = np.random.default_rng(3).normal(size=(5, 3, 3, 2)).astype(np.float32)
    assert_same_scores(convolutionalize(classifier)(frames).numpy()[:, 1, 1], classifier(frames).numpy())
