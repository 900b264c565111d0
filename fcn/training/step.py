"""The training step, compiled: forward, loss, backward, clipping, update, all or nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import keras
import tensorflow as tf

from fcn.runs.checkpoint import RunState
from fcn.training.loss import pixel_loss

Step = Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tuple[tf.Tensor, tf.Tensor]]


def compile_train_step(
    state: RunState, clip_norm: float, seed: int, class_weights: Sequence[float], ema_decay: float
) -> Step:
    """One step as one compiled function, which trains the state's model and moves its averages, if it has any.

    Args:
        state: what is trained; its counts stay as they are.
        clip_norm: largest global norm of the gradients.
        seed: of dropout.
        class_weights: as `pixel_loss` takes them.
        ema_decay: as `move_averages` takes it.

    Returns:
        (images uint8 (N, H, W, 3), labels uint8 (N, H, W), step int64 ()) -> weighted mean loss over the valid pixels,
        float32 (), 0 where there is none; whether it and the gradients were finite, bool (). Where not, no weight, no
        statistic and no average has changed.
    """
    model = state.model
    dropouts = [layer for layer in model.layers if isinstance(layer, keras.layers.Dropout) and layer.rate > 0]
    statistics = model.non_trainable_variables

    @tf.function(autograph=False)
    def train_step(images: tf.Tensor, labels: tf.Tensor, step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        # checkpoints do not hold a Dropout's generator: its state is made a function of (seed, step, layer) instead
        for number, layer in enumerate(dropouts):
            draw = tf.stack([tf.constant(seed, tf.int64), step * len(dropouts) + number])
            layer.seed_generator.state.assign(tf.cast(draw, layer.seed_generator.state.dtype))
        before = [tf.identity(statistic) for statistic in statistics]  # the forward pass moves them
        with tf.GradientTape() as tape:
            total, count = pixel_loss(model(images, training=True), labels, class_weights)
            loss = tf.math.divide_no_nan(total, count)
        gradients, norm = tf.clip_by_global_norm(tape.gradient(loss, model.trainable_variables), clip_norm)
        finite = tf.math.is_finite(loss) & tf.math.is_finite(norm)

        def learn() -> None:
            state.optimizer.apply(gradients, model.trainable_variables)
            if state.averages:
                move_averages(state.averages, model.weights, ema_decay, step)

        def undo() -> None:
            for statistic, value in zip(statistics, before, strict=True):
                statistic.assign(value)

        tf.cond(finite, learn, undo)
        return loss, finite

    return train_step


def move_averages(
    averages: Sequence[tf.Variable], weights: Sequence[keras.Variable], decay: float, step: tf.Tensor
) -> None:
    """Moves exponential averages towards the weights after the step t, int64 () counted from 0; both are float32.

    At first their memory is short: the decay is (1 + t) / (10 + t) until that reaches `decay`.
    """
    t = tf.cast(step, tf.float32)
    kept = tf.minimum(decay, (1 + t) / (10 + t))
    for average, weight in zip(averages, weights, strict=True):
        average.assign_add((1 - kept) * (weight - average))
