"""A step moves weights, statistics and averages, or, where it would spoil the weights, nothing."""

from __future__ import annotations

from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf

from fcn.config.settings import Config, DataConfig, ModelConfig, TrainConfig
from fcn.datasets import open_for_training
from fcn.images import IGNORE
from fcn.model.fcn import build_fcn
from fcn.training.optimizer import build_optimizer, freeze_encoder
from fcn.training.step import TrainState, TrainStep, compile_train_step, update_averages
from fcn.training.validation import Validation

MODEL = ModelConfig(encoder="vgg11", width=1 / 16, head_units=16, dropout=0.5)
Compiled = tuple[TrainState, TrainStep, list[np.ndarray]]


def images(count: int, side: int) -> tf.Tensor:
    return tf.constant(np.random.default_rng(0).integers(0, 256, (count, side, side, 3), dtype=np.uint8))


def test_averages_forget_slower_and_slower_up_to_their_decay() -> None:
    weight, average, expected = keras.Variable(0.0), tf.Variable(0.0), 0.0
    for step, value in enumerate([3.0, -1.0, 5.0, 2.0]):
        weight.assign(value)
        update_averages([average], [weight], 0.25, tf.constant(step, tf.int64))
        kept = min(0.25, (1 + step) / (10 + step))
        expected = kept * expected + (1 - kept) * value
        assert float(average) == pytest.approx(expected, rel=1e-6)


@pytest.fixture(scope="module")
def compiled() -> Compiled:
    """A state, the compiled step that trains it, and the weights it begins with."""
    model = build_fcn(MODEL, 2)
    optimizer = build_optimizer(TrainConfig(warmup=0.0), model.trainable_variables)
    state = TrainState.create(model, optimizer, averaged=True)
    return state, compile_train_step(state, 5.0, 0, (1.0, 3.0), 0.25), model.get_weights()


def one_step(
    compiled: Compiled, scores: tuple[float, float] = (0.0, 0.0), label: int | list[int] = 1
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], float, bool]:
    """Weights before and after a first step, its loss, and whether that was finite.

    The state is set back first; `scores` are the logits of every pixel, `label` that of all or of each of 32 columns.
    """
    state, step, weights = compiled
    model = state.model
    model.set_weights(weights)
    for variable in state.optimizer.variables:
        variable.assign(tf.zeros_like(variable))
    model.get_layer("score_pool3").bias.assign(scores)  # its kernel and the other scorers are zero at first
    for average, weight in zip(state.averages, model.weights, strict=True):
        average.assign(weight)
    before = {v.path: v.numpy() for v in model.weights}
    labels = tf.constant(np.broadcast_to(np.array(label, np.uint8), (2, 32, 32)))
    loss, finite = step(images(2, 32), labels, tf.constant(5, tf.int64))
    after = {v.path: v.numpy() for v in model.weights}
    for weight, average in zip(model.weights, state.averages, strict=True):  # moves after the weights, or not at all
        expected = 0.25 * before[weight.path] + 0.75 * after[weight.path] if finite else before[weight.path]
        np.testing.assert_allclose(average, expected, rtol=1e-5, atol=1e-7, err_msg=weight.path)
    return before, after, float(loss), bool(finite)


def test_non_finite_step_touches_neither_weights_nor_statistics(compiled: Compiled) -> None:
    before, after, loss, finite = one_step(compiled, scores=(np.inf, np.inf))
    assert not finite
    assert not np.isfinite(loss)
    for path, value in before.items():
        np.testing.assert_array_equal(after[path], value, err_msg=path)


def test_finite_step_moves_weights_and_statistics_by_the_class_weights(compiled: Compiled) -> None:
    before, after, loss, finite = one_step(compiled, scores=(0.5, 2.5), label=[0] * 24 + [1] * 8)
    assert finite
    wrong = np.logaddexp(0, 2)  # -log of the softmax of class 0 and of class 1
    right = np.logaddexp(0, -2)
    assert loss == pytest.approx((1 * 24 * wrong + 3 * 8 * right) / (1 * 24 + 3 * 8), rel=1e-6)
    for path in ("score_fr/bias", "block5_conv2_norm/moving_mean"):
        assert (after[path] != before[path]).any()


def test_evaluating_between_steps_changes_no_bit_of_the_next(compiled: Compiled) -> None:
    training, validation, _ = open_for_training(DataConfig(synthetic_frames=(3, 1, 1), synthetic_size=(32, 64)))
    scoring = Validation(Config(model=MODEL, train=TrainConfig(statistics_frames=3)), training, validation)
    state, _, _ = compiled
    expected = one_step(compiled)[1]
    variables = [*state.model.weights, *state.averages, *state.optimizer.variables]
    before = [variable.numpy() for variable in variables]
    scoring.evaluate_weights(state.averages, lambda: None)
    for variable, value in zip(variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)
    for path, value in one_step(compiled)[1].items():
        np.testing.assert_array_equal(value, expected[path], err_msg=path)


def test_batch_without_a_valid_pixel_does_no_harm(compiled: Compiled) -> None:
    before, after, loss, finite = one_step(compiled, label=IGNORE)
    assert finite
    assert loss == 0.0
    for path, value in before.items():
        assert np.isfinite(after[path]).all()
        if not path.endswith(("moving_mean", "moving_variance")):  # at most the decay, rate x decay of the weight
            np.testing.assert_allclose(after[path], value, rtol=2e-3 * 0.05 * 1.01, err_msg=path)


def test_dropout_is_a_function_of_the_step() -> None:
    model = build_fcn(MODEL, 2)
    score = model.get_layer("score_fr")
    score.set_weights([np.random.default_rng(0).normal(size=weight.shape) for weight in score.get_weights()])
    optimizer = build_optimizer(TrainConfig(learning_rate=1e-30, warmup=0.0), model.trainable_variables)
    step = compile_train_step(TrainState.create(model, optimizer), 5.0, 0, (1.0, 1.0), 0.0)
    labels = tf.zeros((1, 64, 64), tf.uint8)
    losses = [float(step(images(1, 64), labels, tf.constant(t, tf.int64))[0]) for t in (0, 1, 0, 1)]
    assert losses[:2] == pytest.approx(losses[2:], rel=1e-6)  # ops of several threads may round differently
    assert losses[0] != pytest.approx(losses[1], rel=1e-3)
    states = {tuple(model.get_layer(f"{name}_dropout").seed_generator.state.numpy()) for name in ("fc6", "fc7")}
    assert len(states) == 2  # the dropouts of one step draw differently


@pytest.mark.slow
def test_summed_loss_is_the_mean_loss_at_a_rate_and_decay_scaled_by_the_pixels() -> None:
    pixels = 2 * 32 * 32
    recipe = {"optimizer": "sgd", "momentum": 0.9, "decay_form": "l2", "warmup": 0.0, "decay_power": 0.0}
    weights: list[np.ndarray] | None = None
    trained = []
    for loss_is_sum, scale in ((False, 1), (True, pixels)):
        config = TrainConfig(**recipe, learning_rate=0.5 / scale, weight_decay=0.001 * scale)
        model = build_fcn(replace(MODEL, dropout=0.0), 2)
        weights = weights or model.get_weights()
        model.set_weights(weights)
        state = TrainState.create(model, build_optimizer(config, model.trainable_variables))
        step = compile_train_step(state, None, 0, (1.0, 1.0), 0.0, loss_is_sum)
        labels = tf.constant(np.random.default_rng(1).integers(0, 2, (2, 32, 32)), tf.uint8)
        losses = [float(step(images(2, 32), labels, tf.constant(t, tf.int64))[0]) for t in range(3)]
        trained.append(model.get_weights())
    assert losses[0] == pytest.approx(np.log(2), rel=1e-5)  # the mean is what is reported
    for first, second in zip(*trained, strict=True):
        np.testing.assert_allclose(second, first, rtol=2e-3, atol=2e-5)
    assert max(np.abs(one - start).max() for one, start in zip(trained[0], weights, strict=True)) > 0.05


def test_frozen_blocks_keep_weights_and_statistics_in_a_step_and_in_scoring() -> None:
    model = build_fcn(MODEL, 2)
    config = TrainConfig(freeze="block2", warmup=0.0, statistics_frames=2)
    freeze_encoder(config, model)
    model.get_layer("score_fr").kernel.assign(
        np.random.default_rng(0).normal(size=(1, 1, 16, 2))
    )  # a scorer of zeros passes no gradient on
    before = {weight.path: weight.numpy() for weight in model.weights}
    state = TrainState.create(model, build_optimizer(config, model.trainable_variables))
    compile_train_step(state, 5.0, 0, (1.0, 1.0), 0.0)(
        images(2, 32), tf.ones((2, 32, 32), tf.uint8), tf.constant(0, tf.int64)
    )
    data = DataConfig(synthetic_frames=(2, 1, 1), synthetic_size=(32, 64))
    training, validation, _ = open_for_training(data)
    scorer = Validation(Config(data=data, model=MODEL, train=config), training, validation)
    scorer.evaluate_weights(model.weights, lambda: None)
    for network in (model, scorer.networks[0].model):
        for weight in network.weights:
            frozen = weight.path.startswith(("block1", "block2"))
            if frozen or weight.path.endswith(("gamma", "moving_mean")):
                assert np.array_equal(weight.numpy(), before[weight.path]) == frozen, weight.path


def test_gradients_are_clipped_to_the_norm_if_there_is_one() -> None:
    moved = []
    for clip_norm in (1e-12, 1e12, None):
        model = build_fcn(MODEL, 2)
        optimizer = keras.optimizers.SGD(1.0)
        optimizer.build(model.trainable_variables)
        before = [v.numpy() for v in model.trainable_variables]
        step = compile_train_step(TrainState.create(model, optimizer), clip_norm, 0, (1.0, 1.0), 0.0)
        step(images(1, 64), tf.zeros((1, 64, 64), tf.uint8), tf.constant(0, tf.int64))
        change = [v.numpy() - old for v, old in zip(model.trainable_variables, before, strict=True)]
        moved.append(float(np.sqrt(sum((one**2).sum() for one in change))))
    assert moved[0] == pytest.approx(1e-12, rel=1e-3)
    assert min(moved[1:]) > 1
