"""The training loop: read it from top to bottom and you have read a whole run."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from fcn.config.settings import Config
from fcn.datasets.dataset import Dataset
from fcn.errors import RunInterruptedError, RunStoppedError, UserError
from fcn.images import write_image
from fcn.model.fcn import build_fcn
from fcn.pictures import comparison
from fcn.runs.checkpoint import RunState
from fcn.runs.paths import RunFolder
from fcn.runs.signals import polled_signals
from fcn.training.optimizer import build_optimizer
from fcn.training.pipeline import frames_of_step, plan_phases, training_batches
from fcn.training.start import prepare_tensorflow, start_or_continue
from fcn.training.step import compile_train_step
from fcn.training.validation import Scoring, report


def train(
    config: Config,
    folder: RunFolder,
    training: Dataset,
    validation: Dataset,
    class_weights: Sequence[float],
    data_fingerprint: str,
    allow_changed: Sequence[str] = (),
) -> None:
    """Trains a network and leaves weights, scores and pictures in the run's folder.

    Args:
        config: of the run, its precision as `with_precision` leaves it.
        folder: of the run, with its config; a checkpoint in it is continued.
        training: frames to learn from, known to be sound.
        validation: frames to score, known to be sound.
        class_weights: what a pixel of each class counts in the loss.
        data_fingerprint: of both, to see that a continued run has the data it was started with.
        allow_changed: keys of the config that may be others than the checkpoint's.

    Raises:
        UserError: the checkpoint is of another config; or a frame could not be read any more, and the state is saved.
        RunStoppedError: the loss or a gradient was not finite, and no weight was touched; or the disk is full.
        RunInterruptedError: a signal to stop came; the state is saved.
    """
    recipe = config.train
    prepare_tensorflow(recipe.seed, recipe.deterministic, recipe.intra_op_threads, recipe.inter_op_threads)
    model = build_fcn(config.model, len(training.classes), recipe.precision)
    state = RunState.start(model, build_optimizer(recipe, model.trainable_variables), averaged=recipe.ema_decay > 0)
    save = start_or_continue(state, config, folder, data_fingerprint, allow_changed)
    scoring = Scoring.start(config.model, training, recipe.statistics_frames, validation, recipe.pictures, folder)
    train_step = compile_train_step(state, recipe.clip_norm, recipe.seed, class_weights, recipe.ema_decay)
    phases = plan_phases(config.progressive, config.augment, recipe.batch_size, recipe.steps)
    batches = training_batches(training.read, len(training), phases, recipe.seed, start := int(state.step))

    def due(every: int) -> bool:
        step = int(state.step)
        return step > 0 and (step % every == 0 or step == recipe.steps)

    bar = tqdm(total=recipe.steps, initial=start, desc="train", unit="step", disable=None)
    seen, clock = 0, (saved := time.perf_counter())  # images since then
    with bar as progress, polled_signals() as poll:
        while True:
            step = int(state.step)
            try:
                if due(recipe.evaluate_steps) and int(state.evaluated) < step:
                    scoring.evaluate(state, progress, poll)
                    seen, clock = 0, time.perf_counter()
                poll()
                batch = next(batches, None)
            except (RunInterruptedError, UserError):
                save()
                raise
            if due(recipe.checkpoint_steps) or time.perf_counter() > saved + 60 * recipe.checkpoint_minutes:
                save()
                seen, clock = 0, (saved := time.perf_counter())
            if batch is None:
                return
            rate = float(state.optimizer.learning_rate)
            loss, finite = train_step(*batch, state.step)
            if not finite:
                frames = frames_of_step(phases, step, len(training), recipe.seed)
                raise not_finite(step, float(loss), rate, frames, batch, training, folder)
            state.step.assign_add(1)
            seen += len(batch[0])
            progress.update()
            if due(recipe.log_steps):
                speed = seen / (time.perf_counter() - clock)
                report(folder, progress, step=step + 1, loss=float(loss), learning_rate=rate, images_per_second=speed)
                seen, clock = 0, time.perf_counter()


def not_finite(
    step: int,
    loss: float,
    rate: float,
    frames: Sequence[int],
    batch: tuple[tf.Tensor, tf.Tensor],
    dataset: Dataset,
    folder: RunFolder,
) -> RunStoppedError:
    """What there is to say of a step, counted from 0, that would have spoiled the weights; draws image beside label."""
    names = ", ".join(dataset.names[frame] for frame in frames)
    pairs = zip(*(one.numpy() for one in batch), strict=True)
    rows = [comparison(image, label, label, dataset.classes) for image, label in pairs]
    picture = folder.pictures / f"not_finite_step_{step + 1}.png"
    shown = str(picture)
    try:
        write_image(picture, np.concatenate(rows))
    except OSError as error:
        shown = f"no picture: {error.strerror}"
    return RunStoppedError(
        f"step {step + 1}: the loss ({loss}) or a gradient is not finite at rate {rate:.3g}, frames {names} "
        f"({shown}); no weight was touched: lower train.learning_rate in a new run"
    )
