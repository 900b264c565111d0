"""Matrix products are the gradient of a convolution."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from fcn.config.settings import ModelConfig, TrainConfig
from fcn.model.fcn import build_fcn
from fcn.training import filter_gradient
from fcn.training.filter_gradient import MIN_CHANNELS, convolve, kernel_gradient, use_products
from fcn.training.optimizer import build_optimizer
from fcn.training.step import TrainState, compile_train_step

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


@pytest.mark.usefixtures("uncompiled")
@pytest.mark.skipif(bool(tf.config.list_physical_devices("GPU")), reason="with a GPU no step uses the products")
def test_training_step_uses_products_without_avx512_only_and_its_weights_are_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: list[str] = []
    weights = []
    monkeypatch.setattr(filter_gradient, "kernel_gradient", lambda *maps: (calls.append(""), kernel_gradient(*maps))[1])
    images = tf.constant(RANDOM.integers(0, 256, (2, 32, 32, 3), dtype=np.uint8))
    labels = tf.constant(RANDOM.integers(0, 2, (2, 32, 32), dtype=np.uint8))
    for flags in ({"avx2", "avx512f"}, {"avx2"}):
        monkeypatch.setattr(filter_gradient, "processor_flags", lambda found=flags: found)
        keras.utils.set_random_seed(0)
        model = build_fcn(ModelConfig(encoder="vgg11", width=1 / 4, head_units=16, batch_norm=False), 2)
        optimizer = build_optimizer(TrainConfig(optimizer="sgd", warmup=0.0), model.trainable_variables)
        step = compile_train_step(TrainState.create(model, optimizer), None, 0, (1.0, 3.0), 0.0)
        assert not calls
        for number in range(3):  # the scorers are zero at first, and pass no gradient on
            step(images, labels, tf.constant(number, tf.int64))
        weights.append(model.get_weights())
    assert calls
    for products, plain in zip(*weights, strict=True):
        np.testing.assert_allclose(products, plain, atol=1e-6)
