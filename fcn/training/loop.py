"""The training loop: read it from top to bottom and you have read a whole run."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf
from tqdm import tqdm

from fcn.config import Config
from fcn.datasets.dataset import Dataset, spread
from fcn.errors import RunStoppedError
from fcn.evaluation.evaluate import evaluate, evaluate_colour_table, shown
from fcn.files import whole_file
from fcn.images import write_image
from fcn.inference.predictor import Predictor, use_gpu_memory_as_needed
from fcn.model.fcn import build_fcn
from fcn.model.weights import save_weights
from fcn.pictures import comparison
from fcn.pipeline import frame_of_slot, training_batches
from fcn.run import RunFolder
from fcn.training.checkpoint import RunState, restore, save
from fcn.training.loss import pixel_loss
from fcn.training.optimizer import build_optimizer


def train(config: Config, folder: RunFolder, training: Dataset, validation: Dataset) -> None:
    """Trains a network and leaves weights, scores and pictures in the run's folder.

    Args:
        config: of the run.
        folder: of the run, with its config; a checkpoint in it is continued.
        training: frames to learn from, known to be sound.
        validation: frames to score, known to be sound.

    Raises:
        RunStoppedError: the loss or a gradient was not finite; the weights are those before that step.
    """
    recipe = config.train
    prepare_tensorflow(recipe.seed, recipe.deterministic)
    folder.start([device.name for device in tf.config.list_physical_devices()])
    baseline = evaluate_colour_table(training, validation)

    model = build_fcn(config.model, len(training.classes))
    optimizer = build_optimizer(recipe, model.trainable_variables)
    state = RunState(model, optimizer, tf.Variable(0, dtype=tf.int64), tf.Variable(-1.0, dtype=tf.float64))
    restore(state, folder.checkpoints)
    folder.cut_rows(int(state.step))
    predictor = Predictor(model, training.classes)
    train_step = compile_train_step(model, optimizer, recipe.clip_norm, recipe.seed)
    steps = range(int(state.step), recipe.steps)
    batches = training_batches(training.read, len(training), config.augment, recipe.batch_size, recipe.seed, steps)

    progress = tqdm(total=recipe.steps, initial=steps.start, desc="train", unit="step", disable=None)
    measured, clock = steps.start, time.perf_counter()
    for step, (images, labels) in zip(steps, batches, strict=True):
        rate = float(optimizer.learning_rate)
        loss, finite = train_step(images, labels, state.step)
        if not finite:
            slots = range(step * recipe.batch_size, (step + 1) * recipe.batch_size)
            names = [training.names[frame_of_slot(slot, len(training), recipe.seed)] for slot in slots]
            raise RunStoppedError(
                f"step {step + 1}: the loss ({float(loss)}) or a gradient is not finite at learning rate {rate:.3g}, "
                f"frames {', '.join(names)}; the weights were not touched: lower train.learning_rate in a new run"
            )
        done = step + 1
        state.step.assign(done)
        progress.update()
        log, evaluation, checkpoint = (
            done % every == 0 or done == recipe.steps
            for every in (recipe.log_steps, recipe.evaluate_steps, recipe.checkpoint_steps)
        )
        if log:
            speed = (done - measured) * recipe.batch_size / (time.perf_counter() - clock)
            report(folder, progress, step=done, loss=float(loss), learning_rate=rate, images_per_second=speed)
        if evaluation:
            started = time.perf_counter()
            scores = evaluate(validation, predictor.labels)
            seconds = time.perf_counter() - started
            if (scores["miou"] or 0.0) > float(state.best_score):
                keep_best(state, {**scores, "colour_table": baseline}, folder)
                draw_comparisons(validation, predictor, recipe.pictures, folder)
            table = baseline["miou"]
            report(folder, progress, step=done, **scores, colour_table_miou=table, evaluate_seconds=seconds)
        if checkpoint:
            save(state, folder.checkpoints, recipe.keep_checkpoints)
        if log or evaluation or checkpoint:
            measured, clock = done, time.perf_counter()
    progress.close()


def prepare_tensorflow(seed: int, deterministic: bool) -> None:
    """Seeds what Keras draws initial weights from, and sets what must be set before the first op."""
    use_gpu_memory_as_needed()
    keras.utils.set_random_seed(seed)
    if deterministic:
        tf.config.experimental.enable_op_determinism()


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


def keep_best(state: RunState, scores: dict[str, Any], folder: RunFolder) -> None:
    """Keeps the weights, and their scores beside them, as the best so far."""
    state.best_score.assign(scores["miou"] or 0.0)
    with whole_file(folder.best_weights) as temporary:
        save_weights(state.model, temporary)
    folder.record_best({"step": int(state.step), "parameters": state.model.count_params(), **scores})


def draw_comparisons(dataset: Dataset, predictor: Predictor, count: int, folder: RunFolder) -> None:
    """Writes image | truth | prediction of up to `count` frames, spread over the split."""
    for index in spread(len(dataset), count):
        image, truth = dataset.read(index)
        picture = comparison(image, truth, predictor.labels(image), dataset.classes)
        write_image(folder.pictures / f"{dataset.names[index]}.png", picture)


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
        print(f"step {row['step']}/{progress.total}: {text}", file=sys.stderr, flush=True)  # noqa: T201
    elif "loss" in row:
        progress.set_postfix_str(text)
    else:
        progress.write(f"step {row['step']}: {text}", file=sys.stderr)
