"""Matrix products are the gradient of a convolution."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from fcn.config.settings import ModelConfig
from fcn.model.fcn import build_fcn
from fcn.training.filter_gradient import MIN_CHANNELS, convolve, use_products

RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize("shape", [(2, 7, 10), (1, 1, 1), (3, 2, 5)])
def test_products_are_the_gradient_of_the_convolution(shape: tuple[int, int, int]) -> None:
    inputs = tf.Variable(RANDOM.normal(size=(*shape, 5)), dtype=tf.float32)
    kernel = tf.Variable(RANDOM.normal(size=(3, 3, 5, 4)), dtype=tf.float32)
    results = []
    for operation in (convolve, lambda x, k: tf.nn.conv2d(x, k, strides=1, padding="SAME")):
        with tf.GradientTape() as tape:
            result = operation(inputs, kernel)
            total = tf.reduce_sum(tf.sin(result))
        results.append([result, *tape.gradient(total, [inputs, kernel])])
    for value, expected in zip(*results, strict=True):
        np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-5)


def test_only_wide_float32_convolutions_of_3x3_change() -> None:
    config = ModelConfig(encoder="vgg11", width=1 / 4, head_units=16)
    for precision in ("float32", "bfloat16"):
        model = build_fcn(config, 2, precision)
        use_products(model)
        changed = {layer.name for layer in model.layers if getattr(layer, "convolution_op", None) is convolve}
        wide = {
            layer.name
            for layer in model.layers
            if layer.weights and layer.weights[0].shape[:2] == (3, 3) and layer.input.shape[-1] >= MIN_CHANNELS
        }
        assert changed == (wide if precision == "float32" else set())
        assert wide
