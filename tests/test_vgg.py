"""The classifier is the VGG of the paper, at any width."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from fcn.config.settings import ModelConfig
from fcn.model.vgg import BatchNormalization, build_classifier

SMALL = {"encoder": "vgg11", "width": 1 / 32, "head_units": 4}

# convolutions in the five blocks: Simonyan and Zisserman 2015, table 1, columns A, B, D, E
PUBLISHED = {"vgg11": [1, 1, 2, 2, 2], "vgg13": [2, 2, 2, 2, 2], "vgg16": [2, 2, 3, 3, 3], "vgg19": [2, 2, 4, 4, 4]}


@pytest.mark.parametrize(("encoder", "blocks"), PUBLISHED.items())
def test_layers_are_named_and_counted_as_published(encoder: str, blocks: list[int]) -> None:
    model = build_classifier(ModelConfig(**{**SMALL, "encoder": encoder}), 2)
    convolutions = [layer.name for layer in model.layers if isinstance(layer, layers.Conv2D)]
    assert convolutions == [f"block{b}_conv{i}" for b, n in enumerate(blocks, start=1) for i in range(1, n + 1)]
    assert [layer.name for layer in model.layers if isinstance(layer, layers.Dense)] == ["fc6", "fc7", "fc8"]
    poolings = [layer.name for layer in model.layers if isinstance(layer, layers.MaxPooling2D)]
    assert poolings == [f"block{b}_pool" for b in range(1, 6)]
    assert sum(blocks) + 3 == int(encoder.removeprefix("vgg"))  # the name says how many layers have weights


def test_parameters_of_published_vgg16_are_138_million() -> None:
    # at a sixteenth of its width, because the published network takes half a gigabyte
    config = ModelConfig(encoder="vgg16", width=1 / 16, head_units=256, head_window=7, batch_norm=False)
    shapes = [weight.shape for weight in build_classifier(config, 1000).weights]
    published = [[size if size in (3, 1000) else 16 * size for size in shape] for shape in shapes]
    assert sum(map(math.prod, published)) == 138_357_544


@pytest.mark.parametrize(
    ("width", "channels"),
    [(0.05, [3, 6, 13, 26, 26]), (1e-6, [1] * 5)],  # a layer has at least one channel
)
def test_width_multiplies_the_channels_of_the_encoder_only(width: float, channels: list[int]) -> None:
    model = build_classifier(ModelConfig(encoder="vgg11", width=width, head_units=6), 2)
    last = ["block1_conv1", "block2_conv1", "block3_conv2", "block4_conv2", "block5_conv2", "fc6", "fc7", "fc8"]
    assert [model.get_layer(name).output.shape[-1] for name in last] == [*channels, 6, 6, 2]


@pytest.mark.parametrize("batch_norm", [True, False])
def test_batch_norm_follows_each_layer_but_the_last_and_replaces_its_bias(batch_norm: bool) -> None:
    model = build_classifier(ModelConfig(**SMALL, batch_norm=batch_norm), 2)
    weighted = [layer for layer in model.layers if isinstance(layer, layers.Conv2D | layers.Dense)]
    norms = [layer.name for layer in model.layers if isinstance(layer, layers.BatchNormalization)]
    assert norms == ([f"{layer.name}_norm" for layer in weighted[:-1]] if batch_norm else [])
    assert [layer.use_bias for layer in weighted] == [not batch_norm] * (len(weighted) - 1) + [True]


def test_pixels_are_uint8_and_are_centered_and_scaled() -> None:
    preprocessing = build_classifier(ModelConfig(**SMALL), 2).get_layer("preprocessing")
    pixels = np.array([0, 127, 128, 255], "uint8").reshape(1, 2, 2, 1)
    expected = [-1.9921875, -0.0078125, 0.0078125, 1.9921875]  # (pixel - 127.5) / 64
    np.testing.assert_allclose(np.ravel(preprocessing(pixels)), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("channels", "precision", "tolerance"),
    [(4, "float32", 1e-5), (4, "mixed_bfloat16", 3e-2), (16, "mixed_bfloat16", 3e-2)],
)
def test_fused_batch_norm_is_kerass_own(channels: int, precision: str, tolerance: float) -> None:
    random = np.random.default_rng(0)
    inputs = tf.constant(random.normal(2, 3, (3, 6, 5, channels)), "float32")
    upstream = tf.constant(random.normal(size=(3, 6, 5, channels)), "float32")
    found = []
    for kind, policy in ((BatchNormalization, precision), (layers.BatchNormalization, "float32")):
        layer = kind(momentum=0.75, dtype=policy)
        layer.build(inputs.shape)
        layer.set_weights([np.arange(1, channels + 1) / 2, np.arange(channels), np.ones(channels), np.ones(channels)])
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = layer(inputs, training=True)
            assert outputs.dtype == layer.compute_dtype
            outputs = tf.cast(outputs, "float32")
            total = tf.reduce_sum(outputs * upstream)
        gradients = tape.gradient(total, [inputs, *layer.trainable_variables])
        found.append([outputs, *gradients, layer.moving_mean, layer.moving_variance])
    count = 3 * 6 * 5
    found[1][-1] = 0.75 + (found[1][-1] - 0.75) * count / (count - 1)  # Keras takes the biased variance
    for fused, keras in zip(*found, strict=True):
        np.testing.assert_allclose(fused, keras, rtol=tolerance, atol=tolerance * np.abs(keras).max())


@pytest.mark.parametrize(("channels", "expected"), [(8, tf.float32), (16, tf.bfloat16), (24, tf.float32)])
def test_bfloat16_maps_are_normalized_in_a_precision_that_is_fast(channels: int, expected: tf.DType) -> None:
    layer = BatchNormalization(dtype="mixed_bfloat16")
    layer.build((2, 3, 3, channels))
    normalize = tf.function(lambda inputs: layer(inputs, training=True), autograph=False)
    graph = normalize.get_concrete_function(tf.TensorSpec((2, 3, 3, channels), tf.bfloat16)).graph
    assert [op.get_attr("T") for op in graph.get_operations() if op.type == "FusedBatchNormV3"] == [expected]
