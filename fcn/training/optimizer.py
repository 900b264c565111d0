"""The optimizer and its learning rate over the steps of a run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from fcn.config.settings import TrainConfig

FROZEN_BLOCKS = {"none": 0, "block1": 1, "block2": 2, "block3": 3, "block4": 4, "encoder": 5}


class WarmUp(keras.optimizers.schedules.LearningRateSchedule):
    """Rises linearly to `peak` over the warm-up, then follows `decay`, a schedule of the steps after the warm-up."""

    def __init__(self, peak: float, warmup_steps: int, decay: keras.optimizers.schedules.LearningRateSchedule):
        self.peak = peak
        self.warmup_steps = warmup_steps
        self.decay = decay

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        """Learning rate of a step counted from 0; not 0 at the first step, so that every step learns."""
        step = tf.cast(step, tf.float32)
        rising = self.peak * (step + 1) / (self.warmup_steps + 1)
        return tf.where(step < self.warmup_steps, rising, self.decay(tf.maximum(step - self.warmup_steps, 0.0)))


def build_schedule(config: TrainConfig) -> WarmUp:
    """Learning rate over the steps of a run; 0 after the last step, unless the decay power is 0."""
    warmup_steps = round(config.steps * config.warmup)
    falling = max(1, config.steps - warmup_steps)
    if config.schedule == "cosine":
        decay = keras.optimizers.schedules.CosineDecay(config.learning_rate, falling)
    else:
        decay = keras.optimizers.schedules.PolynomialDecay(
            config.learning_rate, falling, end_learning_rate=0.0, power=config.decay_power
        )
    return WarmUp(config.learning_rate, warmup_steps, decay)


class GroupedUpdate:
    """A learning rate and a weight decay for each variable; a mixin, as Keras has one of both for all.

    Scaling gradients instead does it for SGD only: Adam divides the scale out again.
    """

    def set_groups(self, config: TrainConfig, variables: Sequence[keras.Variable]) -> None:
        """Takes rates and decay from the config; `variables` are those that the optimizer was built for."""
        self.rate_factors = [rate_factor(variable.path, config) for variable in variables]
        self.decays = [config.weight_decay if variable.name == "kernel" else 0.0 for variable in variables]
        self.decay_in_gradient = config.decay_form == "l2"

    def update_step(self, gradient: tf.Tensor, variable: tf.Variable, learning_rate: tf.Tensor) -> None:
        """Overrides what Keras calls for each variable."""
        index = self._get_variable_index(variable)  # type: ignore[attr-defined]
        rate = learning_rate * self.rate_factors[index]
        if self.decays[index] and self.decay_in_gradient:
            gradient = gradient + self.decays[index] * variable
        elif self.decays[index]:
            variable.assign_sub(variable * (self.decays[index] * rate))
        super().update_step(gradient, variable, rate)  # type: ignore[misc]

    def _all_reduce_sum_gradients(self, grads_and_vars: Any) -> Any:
        """Overrides what Keras does before an update: the step has summed the gradients over the replicas already."""
        return grads_and_vars


class GroupedSGD(GroupedUpdate, keras.optimizers.SGD):
    """Keras' SGD with groups."""


class FusedAdam(keras.optimizers.Adam):
    """Keras' Adam by TensorFlow's op for it: one pass over weights, moments and gradient in place of twelve."""

    def update_step(self, gradient: tf.Tensor, variable: tf.Variable, learning_rate: tf.Tensor) -> None:
        """Overrides what Keras calls for each variable; the formula is the same."""
        index = self._get_variable_index(variable)
        step = tf.cast(self.iterations + 1, tf.float32)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[index].value.handle,
            v=self._velocities[index].value.handle,
            beta1_power=self.beta_1**step,
            beta2_power=self.beta_2**step,
            lr=learning_rate,
            beta1=self.beta_1,
            beta2=self.beta_2,
            epsilon=self.epsilon,
            grad=gradient,
        )


class GroupedAdam(GroupedUpdate, FusedAdam):
    """Keras' Adam with groups; with decoupled decay it is AdamW."""


def rate_factor(path: str, config: TrainConfig) -> float:
    """Factor on the learning rate of a variable such as "block1_conv1/kernel"."""
    factor = config.encoder_rate if path.startswith("block") else 1.0
    return factor * config.bias_rate if path.endswith("bias") else factor


def build_optimizer(config: TrainConfig, variables: Sequence[keras.Variable]) -> keras.optimizers.Optimizer:
    """Optimizer with slots for `variables`. Biases and batch normalization are exempt from weight decay."""
    schedule = build_schedule(config)
    optimizer = GroupedSGD(schedule, config.momentum) if config.optimizer == "sgd" else GroupedAdam(schedule)
    optimizer.build(variables)
    optimizer.set_groups(config, variables)
    return optimizer


def freeze_encoder(config: TrainConfig, model: keras.Model) -> None:
    """Excludes the blocks of the encoder up to `freeze` from training."""
    blocks = range(1, FROZEN_BLOCKS[config.freeze] + 1)
    prefixes = tuple(f"block{block}_" for block in blocks)
    for layer in model.layers:
        if layer.name.startswith(prefixes):
            layer.trainable = False
