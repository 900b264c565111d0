"""The schedule's corner values, and which weights decay."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from fcn.config.settings import ModelConfig, TrainConfig
from fcn.model.fcn import build_fcn
from fcn.training.optimizer import build_optimizer


def learning_rates(config: TrainConfig, steps: int) -> list[float]:
    """Those of the first steps, read from the optimizer."""
    optimizer = build_optimizer(config, [keras.Variable(1.0)])
    rates = []
    for _ in range(steps):
        rates.append(float(optimizer.learning_rate))
        optimizer.apply([tf.constant(0.0)])
    return rates


@pytest.mark.parametrize(
    ("schedule", "after_warm_up"),
    [("poly", (1 - np.arange(101) / 100) ** 0.9), ("cosine", (1 + np.cos(np.pi * np.arange(101) / 100)) / 2)],
)
def test_rate_rises_over_the_warm_up_and_falls_to_zero_after_the_last_step(
    schedule: str, after_warm_up: np.ndarray
) -> None:
    rates = learning_rates(TrainConfig(learning_rate=0.5, steps=110, warmup=10 / 110, schedule=schedule), 111)
    np.testing.assert_allclose(rates[:10], 0.5 * np.arange(1, 11) / 11, rtol=1e-6)
    np.testing.assert_allclose(rates[10:], 0.5 * after_warm_up, rtol=1e-5, atol=1e-8)
    assert rates[109] > rates[110] == 0


def test_no_warm_up_and_no_decay_is_a_constant() -> None:
    assert learning_rates(TrainConfig(learning_rate=0.5, warmup=0.0, decay_power=0.0), 10) == [0.5] * 10


def test_kernels_decay_and_biases_and_normalization_do_not() -> None:
    model = build_fcn(ModelConfig(encoder="vgg11", width=1 / 32, head_units=4), 3)
    for variable in model.trainable_variables:
        variable.assign(tf.ones_like(variable))
    config = TrainConfig(learning_rate=0.1, weight_decay=0.5, warmup=0.0)
    optimizer = build_optimizer(config, model.trainable_variables)
    optimizer.apply([tf.zeros_like(v) for v in model.trainable_variables], model.trainable_variables)
    assert {variable.name for variable in model.trainable_variables} == {"kernel", "bias", "gamma", "beta"}
    for variable in model.trainable_variables:
        expected = 1 - 0.1 * 0.5 if variable.name == "kernel" else 1
        np.testing.assert_allclose(variable.numpy(), expected, rtol=1e-6)


def test_sgd_has_its_momentum_and_decoupled_decay() -> None:
    config = TrainConfig(optimizer="sgd", momentum=0.75, learning_rate=0.5, warmup=0.0, decay_power=0.0)
    kernel, bias = (keras.Variable(2.0, name=name) for name in ("kernel", "bias"))
    optimizer = build_optimizer(config, [kernel, bias])
    velocity = 0.0
    expected = 2.0
    expected_bias = 2.0
    for gradient in (1.0, -0.5, 0.25):
        optimizer.apply([tf.constant(gradient)] * 2)
        velocity = 0.75 * velocity - 0.5 * gradient
        expected = expected * (1 - 0.5 * 0.05) + velocity
        expected_bias += velocity
        assert float(kernel.value) == pytest.approx(expected, rel=1e-6)
        assert float(bias.value) == pytest.approx(expected_bias, rel=1e-6)
