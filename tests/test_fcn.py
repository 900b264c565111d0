"""The decoder gives scores for every pixel, at the right place."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from fcn.config.settings import ModelConfig
from fcn.model.convolutionalize import copy_weights
from fcn.model.fcn import bilinear_kernel, build_fcn, build_window_classifier, upsample

SMALL = {"encoder": "vgg11", "width": 1 / 32, "head_units": 4}
CLASSES = 3
STRIDES = [32, 16, 8, 4, 2]
SKIPS = {32: [], 16: [4], 8: [4, 3], 4: [4, 3, 2], 2: [4, 3, 2, 1]}  # blocks whose pooled maps are scored


def small_fcn(stride: int, **settings: object) -> keras.Model:
    return build_fcn(ModelConfig(**SMALL, stride=stride, **settings), CLASSES)


def images(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (2, height, width, 3), dtype=np.uint8)


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).normal(size=shape).astype(np.float32)


def scorers(model: keras.Model) -> list[str]:
    return [layer.name for layer in model.layers if layer.name.startswith("score_")]


def randomize(model: keras.Model, *names: str) -> None:
    for name in names:
        layer = model.get_layer(name)
        layer.set_weights([noise(*weight.shape) for weight in layer.get_weights()])


def upsampled(scores: np.ndarray, factor: int, height: int | None = None, width: int | None = None) -> np.ndarray:
    """Expected result of `upsample`: TensorFlow's own resizing, cropped at the bottom and right."""
    size = (scores.shape[1] * factor, scores.shape[2] * factor)
    return tf.image.resize(scores, size).numpy()[:, :height, :width]


@pytest.mark.parametrize(("height", "width"), [(1, 1), (5, 7), (33, 97), (64, 32)])
@pytest.mark.parametrize("stride", STRIDES)
def test_logits_are_float32_of_the_images_size_and_start_at_zero(stride: int, height: int, width: int) -> None:
    logits = small_fcn(stride)(images(height, width))
    expected = np.zeros((2, height, width, CLASSES), np.float32)
    np.testing.assert_array_equal(logits, expected, strict=True)  # shape and dtype too


@pytest.mark.parametrize(
    ("stride", "scorer"),
    [*((stride, "score_fr") for stride in STRIDES), *((2, f"score_pool{block}") for block in SKIPS[2])],
)
def test_scores_are_added_at_their_own_place_and_only_upsampled(stride: int, scorer: str) -> None:
    height, width = 75, 110
    model = small_fcn(stride)
    randomize(model, scorer)  # the others are zero
    frames = images(height, width)
    expected = keras.Model(model.input, model.get_layer(scorer).output)(frames).numpy()
    start = 5 if scorer == "score_fr" else int(scorer.removeprefix("score_pool"))
    assert expected.shape == (2, -(-height // 2**start), -(-width // 2**start), CLASSES)
    for block in (block for block in SKIPS[stride] if block < start):
        expected = upsampled(expected, 2, -(-height // 2**block), -(-width // 2**block))
    expected = upsampled(expected, stride, height, width)
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(model(frames), expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("factor", [2, 4, 8, 16, 32])
@pytest.mark.parametrize(("rows", "columns"), [(4, 5), (1, 3)])
def test_upsampling_equals_bilinear_resizing_cropped_at_the_bottom_and_right(
    rows: int, columns: int, factor: int
) -> None:
    scores = noise(2, rows, columns, CLASSES)
    for height, width in ((rows * factor, columns * factor), (rows * factor - 1, (columns - 1) * factor + 1)):
        result = upsample(tf.constant(scores), factor, tf.zeros((1, height, width, 1)), "up")
        np.testing.assert_allclose(result, upsampled(scores, factor, height, width), atol=2e-6)


@pytest.mark.parametrize(
    "ramp", [[0.5, 1, 0.5], [0.25, 0.75, 0.75, 0.25], [*np.arange(1, 17, 2) / 16, *np.arange(15, 0, -2) / 16]]
)
def test_bilinear_kernel_interpolates_each_class_by_itself(ramp: list[float]) -> None:
    kernel = bilinear_kernel((len(ramp), len(ramp), 2, 2)).numpy()
    for out, into in np.ndindex(2, 2):
        np.testing.assert_allclose(kernel[:, :, out, into], np.outer(ramp, ramp) * (out == into), rtol=1e-6)


@pytest.mark.parametrize(
    ("stride", "upsamplings"),
    [
        (32, "upscore"),
        (16, "upscore2 upscore16"),
        (8, "upscore2 upscore_pool4 upscore8"),
        (4, "upscore2 upscore_pool4 upscore_pool3 upscore4"),  # the same rule, continued
        (2, "upscore2 upscore_pool4 upscore_pool3 upscore_pool2 upscore_pool1"),
    ],
)
@pytest.mark.parametrize("learned", [False, True, None])
def test_layers_have_their_published_names_and_last_upsampling_is_learned_if_the_config_says_so(
    learned: bool | None, stride: int, upsamplings: str
) -> None:
    model = small_fcn(stride, learn_last_upsampling=bool(learned), learn_upsampling=learned is not None)
    assert model.name == f"fcn{stride}s"
    names = [layer.name for layer in model.layers]
    scored_and_added = {f"{kind}_pool{block}" for kind in ("score", "fuse") for block in SKIPS[stride]}
    assert {name for name in names if name.startswith(("score", "fuse"))} == {"score_fr", *scored_and_added}
    assert {"fc6", "fc7", "fc7_dropout", "block5_conv2"} <= set(names)
    assert "fc8" not in names  # the scorers replace it
    transposed = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2DTranspose)]
    assert [layer.name for layer in transposed] == upsamplings.split()
    assert [len(layer.trainable_weights) for layer in transposed] == [int(learned is not None)] * len(SKIPS[stride]) + [
        int(bool(learned))
    ]
    assert not any(layer.use_bias for layer in transposed)
    assert transposed[-1].kernel.shape == (2 * stride, 2 * stride, CLASSES, CLASSES)


def test_scaled_skips_are_scaled_kernels_of_their_scorers() -> None:
    plain = small_fcn(8)
    randomize(plain, *scorers(plain))
    scaled = small_fcn(8, skip_scale=0.5)
    scaled.set_weights(plain.get_weights())
    for block, scale in ((4, 0.5), (3, 0.25)):
        layer = plain.get_layer(f"score_pool{block}")
        layer.kernel.assign(scale * layer.kernel)
    np.testing.assert_allclose(scaled(images(40, 70)), plain(images(40, 70)), rtol=1e-4, atol=1e-4)


def test_window_classifier_is_the_converted_network_on_every_window_of_the_last_pooled_map() -> None:
    config = ModelConfig(**SMALL, stride=32, dropout=0.0)
    classifier = build_window_classifier(config, CLASSES)
    for weight in classifier.weights:
        weight.assign(np.abs(noise(*weight.shape)) if weight.path.endswith("variance") else noise(*weight.shape))
    assert classifier(images(96, 96)).shape == (2, 1, 1, CLASSES)
    network = build_fcn(config, CLASSES)
    copy_weights(classifier.weights, network)
    np.testing.assert_array_equal(network.get_layer("upscore").kernel, bilinear_kernel((64, 64, CLASSES, CLASSES)))

    names = ("block5_pool", "score_fr")
    both = keras.Model(network.input, [network.get_layer(name).output for name in names])
    head = keras.Model(classifier.get_layer("flatten").input, classifier.output)
    pooled, scores = (one.numpy() for one in both(images(160, 192)))
    for row in range(3):
        for column in range(4):
            expected = head(pooled[:, row : row + 3, column : column + 3])[:, 0, 0]
            np.testing.assert_allclose(scores[:, row + 1, column + 1], expected, rtol=1e-4, atol=1e-4)
    back = build_window_classifier(config, CLASSES)
    copy_weights(network.weights, back)
    np.testing.assert_array_equal(back(images(96, 96)), classifier(images(96, 96)))


@pytest.mark.parametrize("stride", STRIDES)
def test_every_trainable_weight_is_reached_by_the_gradient(stride: int) -> None:
    model = small_fcn(stride, dropout=0.0)
    randomize(model, *scorers(model))
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(model(images(40, 70), training=True) ** 2)
    gradients = tape.gradient(total, model.trainable_weights)
    for weight, gradient in zip(model.trainable_weights, gradients, strict=True):
        assert gradient is not None, weight.path
        assert np.isfinite(gradient).all(), weight.path


@pytest.mark.parametrize("stride", [16, 2])
def test_skips_before_pooling_are_the_last_maps_of_the_blocks_at_the_same_strides(stride: int) -> None:
    model = small_fcn(stride, skips="before_pooling")
    for block in SKIPS[stride]:
        scored = model.get_layer(f"score_pool{block}").input
        assert scored is model.get_layer(f"block{block + 1}_pool").input
    assert model(images(37, 50)).shape == (2, 37, 50, CLASSES)


def test_bfloat16_is_for_maps_only_and_logits_stay_close() -> None:
    exact = small_fcn(4)
    rough = build_fcn(ModelConfig(**SMALL, stride=4), CLASSES, "bfloat16")
    randomize(exact, *scorers(exact))
    rough.set_weights(exact.get_weights())
    assert {weight.dtype for weight in rough.weights} == {"float32"}
    kinds = {layer.compute_dtype for layer in rough.layers if layer.name not in ("image", "preprocessing", "logits")}
    assert kinds == {"bfloat16"}
    frames = images(40, 50)
    logits = rough(frames)
    expected = exact(frames)
    assert logits.dtype == "float32"
    assert 0 < np.abs(logits - expected).max() < 0.05 * np.abs(expected).max()
    assert keras.config.dtype_policy().name == "float32"
