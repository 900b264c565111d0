"""The optimizer and its learning rate over the steps of a run."""

from __future__ import annotations

import keras
import tensorflow as tf

from fcn.config.settings import TrainConfig


class WarmUp(keras.optimizers.schedules.LearningRateSchedule):
    """Rises linearly to `peak` over the warm-up, then falls as `decay`, a schedule of the steps after it, has it."""

    def __init__(self, peak: float, warmup_steps: int, decay: keras.optimizers.schedules.LearningRateSchedule):
        self.peak, self.warmup_steps, self.decay = peak, warmup_steps, decay

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        """The rate of a step counted from 0: never 0 at the first one, so every step learns."""
        step = tf.cast(step, tf.float32)
        rising = self.peak * (step + 1) / (self.warmup_steps + 1)
        return tf.where(step < self.warmup_steps, rising, self.decay(tf.maximum(step - self.warmup_steps, 0.0)))


def build_schedule(config: TrainConfig) -> WarmUp:
    """The learning rate over the steps of a run; it is 0 after the last one, but for a decay power of 0."""
    warmup_steps = round(config.steps * config.warmup)
    falling = max(1, config.steps - warmup_steps)
    if config.schedule == "cosine":
        decay = keras.optimizers.schedules.CosineDecay(config.learning_rate, falling)
    else:
        decay = keras.optimizers.schedules.PolynomialDecay(config.learning_rate, falling, 0.0, config.decay_power)
    return WarmUp(config.learning_rate, warmup_steps, decay)


def build_optimizer(config: TrainConfig, variables: list[keras.Variable]) -> keras.optimizers.Optimizer:
    """The optimizer with its slots made for `variables`; biases and normalization are exempt from the decay."""
    schedule = build_schedule(config)
    if config.optimizer == "sgd":
        optimizer = keras.optimizers.SGD(schedule, config.momentum, weight_decay=config.weight_decay)
    else:
        optimizer = keras.optimizers.AdamW(schedule, weight_decay=config.weight_decay)
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])  # ignored once the slots are made
    optimizer.build(variables)
    return optimizer
