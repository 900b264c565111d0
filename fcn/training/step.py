"""The training step, compiled: forward, loss, backward, clipping, update; all of it or nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from fcn.errors import RunStoppedError
from fcn.training.devices import split_over_replicas
from fcn.training.filter_gradient import products_are_faster, use_products
from fcn.training.loss import pixel_loss, pixel_weights

SUM = tf.distribute.ReduceOp.SUM
Tensors = list[tf.Tensor]
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
        evaluations_since_best: int64 (); None in a run that does not end by it (`train.patience`).
    """

    model: keras.Model
    optimizer: keras.optimizers.Optimizer
    averages: list[tf.Variable]
    step: tf.Variable
    evaluated: tf.Variable
    best_score: tf.Variable
    evaluations_since_best: tf.Variable | None

    @classmethod
    def create(
        cls,
        model: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        averaged: bool = False,
        patient: bool = False,
        strategy: tf.distribute.Strategy | None = None,
    ) -> TrainState:
        """The state before the first step; with averages if `averaged`, with `evaluations_since_best` if `patient`.

        `strategy` is the one in whose scope model and optimizer were made, None for one device. The counts are
        variables of the process, for which the scope is left.
        """
        averages = []
        if averaged:
            with (strategy or tf.distribute.get_strategy()).scope():
                averages = [tf.Variable(weight.value) for weight in model.weights]
        return cls(
            model=model,
            optimizer=optimizer,
            averages=averages,
            step=tf.Variable(0, dtype=tf.int64),
            evaluated=tf.Variable(0, dtype=tf.int64),
            best_score=tf.Variable(-1.0, dtype=tf.float64),
            evaluations_since_best=tf.Variable(0, dtype=tf.int64) if patient else None,
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
        return tf.train.Checkpoint(**{name: value for name, value in vars(self).items() if value is not None})


def compile_train_step(
    state: TrainState,
    clip_norm: float | None,
    seed: int,
    class_weights: Sequence[float],
    ema_decay: float,
    loss_is_sum: bool = False,
    accumulate_steps: int = 1,
    strategy: tf.distribute.Strategy | None = None,
    xla: bool = False,
) -> TrainStep:
    """Compiles one step, which trains the state's model and moves its averages, if it has any.

    `strategy` is the one that the state was made for, None for one device. The batch of a process is split over its
    replicas; all of them hold the same variables before and after a step. With `accumulate_steps` above 1, a replica
    computes the gradients of its frames in so many parts, one after another, in the memory of one. `loss_is_sum` says
    that the gradient is that of the weighted sum over the valid pixels, not of the mean.

    Returns:
        (images uint8 (N, H, W, 3), labels uint8 (N, H, W), step int64 ()) -> weighted mean loss over the valid pixels
        of all replicas, float32 (), 0 if there are none; and whether loss and gradients were finite, bool (). If not,
        no weight, no statistic and no average has changed.
    """
    model = state.model
    if products_are_faster():
        use_products(model)
    strategy = strategy or tf.distribute.get_strategy()
    weights = model.trainable_variables
    statistics = moving_statistics(model)
    dropouts = [layer for layer in model.layers if isinstance(layer, keras.layers.Dropout) and layer.rate > 0]
    parts = strategy.num_replicas_in_sync * accumulate_steps

    def forward_backward(
        images: tf.Tensor, labels: tf.Tensor, step: tf.Tensor, part: tf.Tensor, moved: Tensors, weight: tf.Tensor
    ) -> tuple[tf.Tensor, Tensors, Tensors]:
        """Loss of a part (0 to `parts` - 1) of the batch, its gradients, and the statistics after it.

        `moved` are the statistics before; `weight` is the sum of the weights of all parts, so that losses add up.
        """
        values = list(zip(statistics, moved, strict=True))
        # checkpoints do not hold the generator of Dropout: make its state a function of (seed, step, layer, part)
        for number, layer in enumerate(dropouts):
            draw = tf.stack([tf.constant(seed, tf.int64), (step * len(dropouts) + number) * parts + part])
            generator = layer.seed_generator.state
            values.append((generator, tf.cast(draw, generator.dtype)))
        # the scope keeps what the forward pass would assign to statistics and generators: it changes no variable
        with tf.GradientTape() as tape:
            with keras.StatelessScope(values) as scope:
                logits = model(images, training=True)
            total = pixel_loss(logits, labels, class_weights)
            loss = tf.math.divide_no_nan(total, weight)
            objective = total if loss_is_sum else loss
        gradients = tape.gradient(objective, weights)
        return loss, gradients, [scope.get_current_value(statistic) for statistic in statistics]

    # a function within a function only for XLA: synchronized normalization must not be in one
    compute_part = tf.function(forward_backward, autograph=False, jit_compile=True) if xla else forward_backward

    def accumulate(
        images: tf.Tensor, labels: tf.Tensor, step: tf.Tensor, first_part: tf.Tensor, moved: Tensors, weight: tf.Tensor
    ) -> tuple[tf.Tensor, Tensors, Tensors]:
        """As `forward_backward` of all frames of a replica, in parts."""
        count = images.shape[0]

        def add_part(
            index: tf.Tensor, loss: tf.Tensor, gradients: Tensors, moved: Tensors
        ) -> tuple[tf.Tensor, tf.Tensor, Tensors, Tensors]:
            of_part = slice(count * index // accumulate_steps, count * (index + 1) // accumulate_steps)
            part = first_part + tf.cast(index, tf.int64)
            more_loss, more, moved = compute_part(images[of_part], labels[of_part], step, part, moved, weight)
            return index + 1, loss + more_loss, [a + b for a, b in zip(gradients, more, strict=True)], moved

        start = (tf.constant(0), tf.constant(0.0), [tf.zeros(one.shape) for one in weights], moved)
        _, loss, gradients, moved = tf.while_loop(
            lambda index, *_: index < accumulate_steps, add_part, start, parallel_iterations=1
        )
        return loss, gradients, moved

    def of_replica(
        images: tf.Tensor, labels: tf.Tensor, step: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, Tensors, Tensors]:
        """Loss of the whole batch, whether it is finite, clipped gradients, statistics: the same on all replicas."""
        replica = tf.distribute.get_replica_context()
        first_part = tf.cast(replica.replica_id_in_sync_group, tf.int64) * accumulate_steps
        weight = replica.all_reduce(SUM, tf.reduce_sum(pixel_weights(labels, class_weights)))
        compute = compute_part if accumulate_steps == 1 else accumulate
        before = [statistic.value for statistic in statistics]
        loss, gradients, moved = compute(images, labels, step, first_part, before, weight)
        loss, gradients, moved = replica.all_reduce(SUM, (loss, gradients, moved))
        moved = [statistic / strategy.num_replicas_in_sync for statistic in moved]
        norm = tf.linalg.global_norm(gradients)
        if clip_norm is not None:
            gradients, _ = tf.clip_by_global_norm(gradients, clip_norm, use_norm=norm)
        return loss, tf.math.is_finite(loss) & tf.math.is_finite(norm), gradients, moved

    @tf.function(autograph=False)
    def of_all(images: tf.Tensor, labels: tf.Tensor, step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with strategy.scope():
            loss, finite, gradients, moved = strategy.run(of_replica, args=(images, labels, step))
            loss = strategy.experimental_local_results(loss)[0]
            finite = strategy.experimental_local_results(finite)[0]

            def update() -> None:
                strategy.run(lambda gradients: state.optimizer.apply(gradients, weights), args=(gradients,))
                for statistic, value in zip(statistics, moved, strict=True):
                    strategy.extended.update(statistic.value, lambda old, new: old.assign(new), args=(value,))
                if state.averages:
                    update_averages(state.averages, model.weights, decay=ema_decay, step=step)

            # everything is updated, or nothing if a number is not finite
            tf.cond(finite, update, lambda: None)
            return loss, finite

    def train_step(images: tf.Tensor, labels: tf.Tensor, step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return of_all(split_over_replicas(strategy, images), split_over_replicas(strategy, labels), step)

    return train_step


def moving_statistics(model: keras.Model) -> list[keras.Variable]:
    """Mean and variance of each batch normalization that is not frozen."""
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable]
    return [statistic for layer in norms for statistic in (layer.moving_mean, layer.moving_variance)]


def update_averages(
    averages: Sequence[tf.Variable], weights: Sequence[keras.Variable], decay: float, step: tf.Tensor
) -> None:
    """Moves the averages towards the weights after step t, int64 () counted from 0; both are float32.

    The decay is (1 + t) / (10 + t) until that reaches `decay`, as in TensorFlow's ExponentialMovingAverage: the first
    averages forget the initial weights soon.
    """
    t = tf.cast(step, tf.float32)
    decay_now = tf.minimum(decay, (1 + t) / (10 + t))
    extended = tf.distribute.get_strategy().extended
    for average, weight in zip(averages, weights, strict=True):
        extended.update(average, lambda old, new: old.assign_add((1 - decay_now) * (new - old)), args=(weight.value,))
