"""What the process of fcn does in `fcn benchmark --train`: the steps of a run, and parts of them."""

from __future__ import annotations

import math
from dataclasses import replace

import keras
import numpy as np
import tensorflow as tf

from fcn.evaluation.cost import gigaflops
from fcn.images import Array
from fcn.model.fcn import build_fcn
from fcn.training.benchmark import PEAK_SIDE, Call, Side, layer_groups
from fcn.training.loss import pixel_loss
from fcn.training.optimizer import build_optimizer
from fcn.training.setup import configure_tensorflow
from fcn.training.step import TrainState, compile_train_step


def calls_of(side: Side) -> dict[str, Call]:
    """Name -> call, of everything that `benchmark_training` asks for."""
    recipe = side.config.train
    precision = side.kind.precision
    configure_tensorflow(recipe)
    images, labels = (tf.constant(one) for one in side.batch())
    class_weights = side.class_weights()
    model = build_fcn(side.config.model, len(class_weights), precision)
    randomize(model)
    weights = model.get_weights()

    def step_of(model: keras.Model) -> Call:
        averaged = recipe.ema_decay > 0
        state = TrainState.create(model, build_optimizer(recipe, model.trainable_variables), averaged=averaged)
        train_step = compile_train_step(
            state,
            clip_norm=recipe.clip_norm,
            seed=recipe.seed,
            class_weights=class_weights,
            ema_decay=recipe.ema_decay,
            accumulate_steps=recipe.accumulate_steps,
            xla=recipe.xla,
        )

        def step() -> float:
            loss, finite = train_step(images, labels, state.step)
            state.step.assign_add(1)
            return float(loss) if finite else math.nan  # `require_agreement` refuses what is not a number

        return step

    def check() -> tuple[Array, list[float]]:
        """Logits (1, H, W, C) of the first image, and losses of the first two steps; without dropout."""
        same = build_fcn(replace(side.config.model, dropout=0.0), len(class_weights), precision)
        same.set_weights(weights)
        logits = same(images[:1]).numpy()
        step = step_of(same)
        return logits, [step(), step()]

    def until(last: str) -> Call:
        """Forward and backward of the network up to a layer."""
        part = keras.Model(model.input, model.get_layer(last).output)

        @tf.function(autograph=False)
        def gradients() -> list[tf.Tensor]:
            with tf.GradientTape() as tape:
                objective = tf.reduce_sum(part(images, training=True))
            return tape.gradient(objective, part.trainable_variables)

        return lambda: gradients()[0].numpy()

    @tf.function(autograph=False)
    def loss_gradients() -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            objective = pixel_loss(model(images, training=True), labels, class_weights)
        return tape.gradient(objective, model.trainable_variables)

    matrix = tf.random.normal((PEAK_SIDE, PEAK_SIDE), dtype=precision)
    calls: dict[str, Call] = {
        "weights": lambda: {weight.path: weight.numpy() for weight in model.weights},
        "gigaflops": lambda: gigaflops(model, *side.size),
        "check": check,
        "step": step_of(model),
        "loss": lambda: loss_gradients()[0].numpy(),
        "peak": lambda: tf.matmul(matrix, matrix)[0, 0].numpy(),
    }
    return calls | {last: until(last) for last in layer_groups(side.config.model).values()}


def randomize(model: keras.Model) -> None:
    """Makes the vectors and the scorers random: most are 0 or 1 at first, and would agree in any order."""
    random = np.random.default_rng(0)
    for weight in model.weights:
        if len(weight.shape) == 1 or weight.path.startswith("score"):
            weight.assign_add(random.normal(0, 0.1, weight.shape))
