"""The training loop: read it from top to bottom and you have read a whole run."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from fcn.config import Config, TrainConfig
from fcn.datasets.dataset import Dataset, spread
from fcn.errors import RunInterruptedError, RunStoppedError, UserError, tell
from fcn.evaluation.evaluate import evaluate, evaluate_colour_table, shown
from fcn.images import Array, write_image
from fcn.inference.predictor import Predictor
from fcn.model.fcn import build_fcn
from fcn.model.weights import save_weights
from fcn.pictures import comparison
from fcn.pipeline import frame_of_slot, training_batches
from fcn.run import RunFolder
from fcn.training.checkpoint import RunState
from fcn.training.loss import pixel_loss
from fcn.training.optimizer import build_optimizer
from fcn.training.signals import polled_signals
from fcn.training.start import prepare_tensorflow, start_or_continue


def train(
    config: Config,
    folder: RunFolder,
    training: Dataset,
    validation: Dataset,
    data_fingerprint: str,
    allow_changed: Sequence[str] = (),
) -> None:
    """Trains a network and leaves weights, scores and pictures in the run's folder.

    Args:
        config: of the run.
        folder: of the run, with its config; a checkpoint in it is continued.
        training: frames to learn from, known to be sound.
        validation: frames to score, known to be sound.
        data_fingerprint: of both, to see that a continued run has the data it was started with.
        allow_changed: keys of the config that may be others than the checkpoint's.

    Raises:
        UserError: the checkpoint is of another config; or a frame could not be read any more, and the state is saved.
        RunStoppedError: the loss or a gradient was not finite, and no weight was touched; or the disk is full.
        RunInterruptedError: a signal to stop came; the state is saved.
    """
    recipe = config.train
    prepare_tensorflow(recipe.seed, recipe.deterministic, recipe.intra_op_threads, recipe.inter_op_threads)
    baseline = evaluate_colour_table(training, validation)
    model = build_fcn(config.model, len(training.classes))
    optimizer = build_optimizer(recipe, model.trainable_variables)
    state = RunState.start(model, optimizer)
    save = start_or_continue(state, config, folder, data_fingerprint, allow_changed)
    predictor = Predictor(model, training.classes)
    train_step = compile_train_step(model, optimizer, recipe.clip_norm, recipe.seed)
    steps = range(int(state.step), recipe.steps)
    batches = training_batches(training.read, len(training), config.augment, recipe.batch_size, recipe.seed, steps)

    def due(every: int) -> bool:
        step = int(state.step)
        return step > 0 and (step % every == 0 or step == recipe.steps)

    bar = tqdm(total=recipe.steps, initial=steps.start, desc="train", unit="step", disable=None)
    measured, clock = steps.start, (saved := time.perf_counter())
    with bar as progress, polled_signals() as poll:
        while True:
            step = int(state.step)
            try:
                if due(recipe.evaluate_steps) and int(state.evaluated) < step:
                    evaluate_run(state, predictor, validation, baseline, recipe.pictures, folder, progress, poll)
                    measured, clock = step, time.perf_counter()
                poll()
                batch = next(batches, None)
            except (RunInterruptedError, UserError):
                save()
                raise
            if due(recipe.checkpoint_steps) or time.perf_counter() > saved + 60 * recipe.checkpoint_minutes:
                save()
                measured, clock = step, (saved := time.perf_counter())
            if batch is None:
                return
            images, labels = batch
            rate = float(optimizer.learning_rate)
            loss, finite = train_step(images, labels, state.step)
            if not finite:
                raise not_finite(step, float(loss), rate, images.numpy(), labels.numpy(), training, recipe, folder)
            state.step.assign_add(1)
            progress.update()
            if due(recipe.log_steps):
                speed = (step + 1 - measured) * recipe.batch_size / (time.perf_counter() - clock)
                report(folder, progress, step=step + 1, loss=float(loss), learning_rate=rate, images_per_second=speed)
                measured, clock = step + 1, time.perf_counter()


def compile_train_step(
    model: keras.Model, optimizer: keras.optimizers.Optimizer, clip_norm: float, seed: int
) -> Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tuple[tf.Tensor, tf.Tensor]]:
    """One step as one compiled function.

    Returns:
        (images uint8 (N, H, W, 3), labels uint8 (N, H, W), step int64 ()) -> mean loss over the valid pixels,
        float32 (), 0 where there is none; whether it and the gradients were finite, bool (). Where not, no weight and
        no statistic has changed.
    """
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
            total, count = pixel_loss(model(images, training=True), labels)
            loss = tf.math.divide_no_nan(total, count)
        gradients, norm = tf.clip_by_global_norm(tape.gradient(loss, model.trainable_variables), clip_norm)
        finite = tf.math.is_finite(loss) & tf.math.is_finite(norm)

        def learn() -> None:
            optimizer.apply(gradients, model.trainable_variables)

        def undo() -> None:
            for statistic, value in zip(statistics, before, strict=True):
                statistic.assign(value)

        tf.cond(finite, learn, undo)
        return loss, finite

    return train_step


def evaluate_run(
    state: RunState,
    predictor: Predictor,
    validation: Dataset,
    baseline: dict[str, Any],
    pictures: int,
    folder: RunFolder,
    progress: tqdm,
    poll: Callable[[], None],
) -> None:
    """Scores the weights of a step on the whole split; keeps them, with pictures, where they are the best so far.

    Raises:
        RunInterruptedError: a signal came between two frames; nothing was written.
    """

    def predict(image: Array) -> Array:
        poll()
        return predictor.labels(image)

    started = time.perf_counter()
    scores = evaluate(validation, predict)
    seconds = time.perf_counter() - started
    if (scores["miou"] or 0.0) > float(state.best_score):
        state.best_score.assign(scores["miou"] or 0.0)
        save_weights(state.model, folder.best_weights)
        parameters = state.model.count_params()
        folder.record_best({"step": int(state.step), "parameters": parameters, **scores, "colour_table": baseline})
        draw_comparisons(validation, predictor, pictures, folder)
    state.evaluated.assign(state.step)
    table = baseline["miou"]
    report(folder, progress, step=int(state.step), **scores, colour_table_miou=table, evaluate_seconds=seconds)


def draw_comparisons(dataset: Dataset, predictor: Predictor, count: int, folder: RunFolder) -> None:
    """Writes image | truth | prediction of up to `count` frames, spread over the split."""
    for index in spread(len(dataset), count):
        image, truth = dataset.read(index)
        picture = comparison(image, truth, predictor.labels(image), dataset.classes)
        write_image(folder.pictures / f"{dataset.names[index]}.png", picture)


def not_finite(
    step: int,
    loss: float,
    rate: float,
    images: Array,
    labels: Array,
    dataset: Dataset,
    recipe: TrainConfig,
    folder: RunFolder,
) -> RunStoppedError:
    """What there is to say of a step, counted from 0, that would have spoilt the weights; draws image beside label."""
    slots = range(step * recipe.batch_size, (step + 1) * recipe.batch_size)
    names = [dataset.names[frame_of_slot(slot, len(dataset), recipe.seed)] for slot in slots]
    rows = [comparison(image, label, label, dataset.classes) for image, label in zip(images, labels, strict=True)]
    picture = folder.pictures / f"not_finite_step_{step + 1}.png"
    try:
        write_image(picture, np.concatenate(rows))
    except OSError as error:
        picture = f"no picture: {error.strerror}"
    return RunStoppedError(
        f"step {step + 1}: the loss ({loss}) or a gradient is not finite at rate {rate:.3g}, frames {', '.join(names)} "
        f"({picture}); no weight was touched: lower train.learning_rate in a new run"
    )


def report(folder: RunFolder, progress: tqdm, **row: Any) -> None:
    """Writes a row of metrics.jsonl and shows it: beside the bar on a terminal, else as a line."""
    folder.append_row(row)
    if "loss" in row:
        text = f"loss {row['loss']:.4f}, rate {row['learning_rate']:.2e}, {row['images_per_second']:.1f} images/s"
    else:
        known = {name: value for name, value in row["iou"].items() if value is not None}
        lowest = min(known, key=known.get, default="-")
        text = (
            f"{row['split']} mIoU {shown(row['miou'])} (colour table {shown(row['colour_table_miou'])}), "
            f"lowest {lowest} {shown(known.get(lowest))}, {row['evaluate_seconds']:.1f} s"
        )
    if progress.disable:
        tell(f"step {row['step']}/{progress.total}: {text}")
    elif "loss" in row:
        progress.set_postfix_str(text)
    else:
        progress.write(f"step {row['step']}: {text}", file=sys.stderr)
