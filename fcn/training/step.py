"""The training step, compiled: forward, loss, backward, clipping, update; all of it or nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from fcn.errors import RunStoppedError
from fcn.training.loss import pixel_loss

TrainStep = Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tuple[tf.Tensor, tf.Tensor]]


@dataclass
class TrainState:
    """All variables of a run.

    Attributes:
        model: Weights and batch-normalization statistics.
        optimizer: Its slots and its step count.
        averages: Moving averages of the model's weights, float32; empty if the run keeps none.
        step: int64 (), steps done.
        evaluated: int64 (), step of the last evaluation; 0 before the first.
        best_score: float64 (), best mean IoU of an evaluation so far; -1 before the first.
    """

    model: keras.Model
    optimizer: keras.optimizers.Optimizer
    averages: list[tf.Variable]
    step: tf.Variable
    evaluated: tf.Variable
    best_score: tf.Variable

    @classmethod
    def create(cls, model: keras.Model, optimizer: keras.optimizers.Optimizer, averaged: bool = False) -> TrainState:
        """The state before the first step, with averages or without."""
        return cls(
            model=model,
            optimizer=optimizer,
            averages=[tf.Variable(weight.value) for weight in model.weights] if averaged else [],
            step=tf.Variable(0, dtype=tf.int64),
            evaluated=tf.Variable(0, dtype=tf.int64),
            best_score=tf.Variable(-1.0, dtype=tf.float64),
        )

    def require_finite(self) -> None:
        """Raises RunStoppedError unless all weights, statistics and averages are finite, after an update that was."""
        if not all(np.isfinite(one.numpy()).all() for one in [*self.model.weights, *self.averages]):
            raise RunStoppedError(
                f"step {int(self.step)}: an update made weights that are not finite, and is not saved: lower "
                "train.learning_rate or train.weight_decay in a new run"
            )

    def variables(self) -> tf.train.Checkpoint:
        """All variables, to be saved and restored."""
        return tf.train.Checkpoint(**vars(self))


def compile_train_step(
    state: TrainState,
    clip_norm: float | None,
    seed: int,
    class_weights: Sequence[float],
    ema_decay: float,
    loss_is_sum: bool = False,
) -> TrainStep:
    """Compiles one step, which trains the state's model and moves its averages, if it has any.

    `loss_is_sum` says that the gradient is that of the weighted sum over the valid pixels, not of the mean.

    Returns:
        (images uint8 (N, H, W, 3), labels uint8 (N, H, W), step int64 ()) -> weighted mean loss over the valid pixels,
        float32 (), 0 if there are none; and whether loss and gradients were finite, bool (). If not, no weight, no
        statistic and no average has changed.
    """
    model = state.model
    dropouts = [layer for layer in model.layers if isinstance(layer, keras.layers.Dropout) and layer.rate > 0]
    statistics = model.non_trainable_variables

    @tf.function(autograph=False)
    def train_step(images: tf.Tensor, labels: tf.Tensor, step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        # checkpoints do not hold the generator of Dropout: make its state a function of (seed, step, layer)
        for number, layer in enumerate(dropouts):
            draw = tf.stack([tf.constant(seed, tf.int64), step * len(dropouts) + number])
            layer.seed_generator.state.assign(tf.cast(draw, layer.seed_generator.state.dtype))

        # forward and backward; the forward pass moves the statistics
        before = [tf.identity(statistic) for statistic in statistics]
        with tf.GradientTape() as tape:
            total, weight = pixel_loss(model(images, training=True), labels, class_weights)
            loss = tf.math.divide_no_nan(total, weight)
            objective = total if loss_is_sum else loss
        gradients = tape.gradient(objective, model.trainable_variables)

        # clip, then update everything, or nothing if a number is not finite
        norm = tf.linalg.global_norm(gradients)
        if clip_norm is not None:
            gradients, _ = tf.clip_by_global_norm(gradients, clip_norm, use_norm=norm)
        finite = tf.math.is_finite(loss) & tf.math.is_finite(norm)

        def update() -> None:
            state.optimizer.apply(gradients, model.trainable_variables)
            if state.averages:
                update_averages(state.averages, model.weights, decay=ema_decay, step=step)

        def undo() -> None:
            for statistic, value in zip(statistics, before, strict=True):
                statistic.assign(value)

        tf.cond(finite, update, undo)
        return loss, finite

    return train_step


def update_averages(
    averages: Sequence[tf.Variable], weights: Sequence[keras.Variable], decay: float, step: tf.Tensor
) -> None:
    """Moves the averages towards the weights after step t, int64 () counted from 0; both are float32.

    The decay is (1 + t) / (10 + t) until that reaches `decay`, as in TensorFlow's ExponentialMovingAverage: the first
    averages forget the initial weights soon.
    """
    t = tf.cast(step, tf.float32)
    decay_now = tf.minimum(decay, (1 + t) / (10 + t))
    for average, weight in zip(averages, weights, strict=True):
        average.assign_add((1 - decay_now) * (weight - average))
