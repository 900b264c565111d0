"""The optimizer and its learning rate over the steps of a run."""

from __future__ import annotations

import keras
import tensorflow as tf

from fcn.config.settings import TrainConfig


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


def build_optimizer(config: TrainConfig, variables: list[keras.Variable]) -> keras.optimizers.Optimizer:
    """Optimizer with slots for `variables`. Biases and batch normalization are exempt from weight decay."""
    schedule = build_schedule(config)
    if config.optimizer == "sgd":
        optimizer = keras.optimizers.SGD(schedule, config.momentum, weight_decay=config.weight_decay)
    else:
        optimizer = keras.optimizers.AdamW(schedule, weight_decay=config.weight_decay)
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])  # has no effect after build
    optimizer.build(variables)
    return optimizer
