"""The schedule's corner values, and which weights decay."""

from __future__ import annotations

from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf

from fcn.config.settings import ModelConfig, TrainConfig
from fcn.model.fcn import build_fcn
from fcn.training.optimizer import build_optimizer, build_schedule, freeze_encoder

SMALL = ModelConfig(encoder="vgg11", width=1 / 32, head_units=4)


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
    model = build_fcn(SMALL, 3)
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


def test_adamw_is_kerass_own() -> None:
    config = TrainConfig(learning_rate=0.01, weight_decay=0.5, warmup=0.25, steps=8, decay_power=1.0)
    random = np.random.default_rng(0)
    start = random.normal(size=(3, 5)).astype(np.float32)
    ours, kerass = (keras.Variable(start, name="kernel") for _ in range(2))
    optimizer = build_optimizer(config, [ours])
    reference = keras.optimizers.AdamW(build_schedule(config), weight_decay=0.5)
    reference.build([kerass])
    for _ in range(8):
        gradient = tf.constant(random.normal(size=(3, 5)), tf.float32)
        optimizer.apply([gradient])
        reference.apply([gradient])
        np.testing.assert_allclose(ours.numpy(), kerass.numpy(), rtol=1e-5)
    for slot, expected in zip(optimizer.variables, reference.variables, strict=True):  # 1 - 0.999 is 1.3e-5 off
        np.testing.assert_allclose(slot.numpy(), expected.numpy(), rtol=2e-5, err_msg=slot.path)


def test_l2_decay_is_part_of_the_gradient_as_in_caffe_and_momentum_adds_it_up() -> None:
    recipe = {"optimizer": "sgd", "momentum": 0.99, "weight_decay": 0.5, "decay_form": "l2"}
    config = TrainConfig(**recipe, learning_rate=0.1, warmup=0.0, decay_power=0.0)
    kernel = keras.Variable(2.0, name="kernel")
    optimizer = build_optimizer(config, [kernel])
    expected = 2.0
    velocity = 0.0
    for gradient in (1.0, -0.5, 0.25):
        optimizer.apply([tf.constant(gradient)])
        velocity = 0.99 * velocity + 0.1 * (gradient + 0.5 * expected)
        expected -= velocity
        assert float(kernel.value) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("recipe", [{}, {"optimizer": "sgd"}, {"decay_form": "l2"}], ids=str)
def test_rate_of_a_group_is_as_if_all_had_it(recipe: dict[str, str]) -> None:
    options = {**recipe, "warmup": 0.0, "decay_power": 0.0, "weight_decay": 0.3}
    model = build_fcn(replace(SMALL, batch_norm=False), 3)
    start = [np.full(weight.shape, 0.5) for weight in model.get_weights()]
    random = np.random.default_rng(0)
    gradients = [tf.constant(random.normal(size=one.shape), tf.float32) for one in model.trainable_variables]

    def trained(config: TrainConfig) -> list[np.ndarray]:
        model.set_weights(start)
        optimizer = build_optimizer(config, model.trainable_variables)
        for _ in range(3):
            optimizer.apply(gradients)
        return [variable.numpy() for variable in model.trainable_variables]

    grouped = trained(TrainConfig(**options, learning_rate=0.01, encoder_rate=0.1, bias_rate=2.0))
    of_rate = {rate: trained(TrainConfig(**options, learning_rate=rate)) for rate in (0.01, 0.001, 0.02, 0.002)}
    for index, variable in enumerate(model.trainable_variables):
        rate = 0.001 if variable.path.startswith("block") else 0.01
        rate *= 2 if variable.path.endswith("/bias") else 1
        np.testing.assert_allclose(grouped[index], of_rate[rate][index], rtol=1e-5, err_msg=variable.path)


@pytest.mark.parametrize(("freeze", "first_trained"), [("none", 1), ("block2", 3), ("encoder", 6)])
def test_frozen_blocks_are_left_out_with_their_normalization(freeze: str, first_trained: int) -> None:
    model = build_fcn(SMALL, 3)
    freeze_encoder(TrainConfig(freeze=freeze), model)
    trained = {variable.path.split("_")[0] for variable in model.trainable_variables}
    assert {name for name in trained if name.startswith("block")} == {f"block{i}" for i in range(first_trained, 6)}
    assert {"fc6", "fc7", "score"} <= trained
