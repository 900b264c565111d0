"""The optimizer and its learning rate over the steps of a run."""

from __future__ import annotations

import keras
import tensorflow as tf

from fcn.config import TrainConfig


class WarmUpThenPoly(keras.optimizers.schedules.LearningRateSchedule):
    """Rises linearly to `peak` over the warm-up, then falls as (1 - progress) ** power to 0 after the last step."""

    def __init__(self, peak: float, steps: int, warmup_steps: int, power: float):
        self.peak, self.warmup_steps = peak, warmup_steps
        self.decay = keras.optimizers.schedules.PolynomialDecay(peak, max(1, steps - warmup_steps), 0.0, power)

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        """The rate of a step counted from 0: never 0 at the first one, so every step learns."""
        step = tf.cast(step, tf.float32)
        rising = self.peak * (step + 1) / (self.warmup_steps + 1)
        return tf.where(step < self.warmup_steps, rising, self.decay(tf.maximum(step - self.warmup_steps, 0.0)))


def build_optimizer(config: TrainConfig, variables: list[keras.Variable]) -> keras.optimizers.Optimizer:
    """AdamW with its slots made for `variables`; biases and normalisation are exempt from the decay."""
    schedule = WarmUpThenPoly(
        config.learning_rate, config.steps, round(config.steps * config.warmup), config.decay_power
    )
    optimizer = keras.optimizers.AdamW(schedule, weight_decay=config.weight_decay)
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])  # ignored once the slots are made
    optimizer.build(variables)
    return optimizer
