"""The training loop. Read it from top to bottom and you have read a whole run."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import keras
import tensorflow as tf
from tqdm import tqdm

from fcn.config.settings import ENCODER_STRIDE, Config, ModelConfig
from fcn.config.yaml_file import changed_keys, dump_config
from fcn.datasets import classes_of
from fcn.datasets.dataset import Dataset
from fcn.datasets.statistics import FrameStatistics
from fcn.errors import RunInterruptedError, RunStoppedError, UserError, print_error, printable
from fcn.evaluation.evaluate import shown
from fcn.files import write_file
from fcn.images import SegmentationClass
from fcn.model.convolutionalize import copy_weights
from fcn.model.fcn import build_fcn, build_window_classifier
from fcn.model.pretrained import download_imagenet, origin_table, set_initial_weights
from fcn.report.tensorboard import TensorBoardLog
from fcn.runs.checkpoint import (
    Checkpoint,
    checkpoint_of_chief,
    restore_checkpoint,
    restore_variables,
    save_checkpoint,
)
from fcn.runs.environment import changed_environment
from fcn.runs.log import MetricsLog
from fcn.runs.paths import RunPaths
from fcn.runs.signals import polled_signals
from fcn.runs.trained import InitialWeights, describe_change
from fcn.runs.workers import ALONE, Worker, meet
from fcn.training.batch_norm import synchronize_batch_norm
from fcn.training.devices import WORKER_LOST, chief_address, make_strategy, settings_digest
from fcn.training.optimizer import build_optimizer, freeze_encoder
from fcn.training.pipeline import frames_of_step, plan_phases, training_batches
from fcn.training.setup import configure_tensorflow, describe_process, resolve_precision
from fcn.training.step import TrainState, compile_train_step
from fcn.training.validation import Validation, describe_network, keep_best


def train(
    config: Config,
    run: RunPaths,
    training: Dataset,
    validation: Dataset,
    class_weights: Sequence[float],
    statistics: FrameStatistics,
    require_lock: Callable[[], None],
    checkpoint: Checkpoint | None = None,
    initial: InitialWeights | None = None,
    worker: Worker = ALONE,
) -> None:
    """Trains a network and leaves config, weights, scores and pictures in the run's directory, which is locked.

    `statistics` are those of all frames, which are valid. Training continues from the checkpoint, or starts at step 0
    without one, from the initial weights if there are any. Of several workers the chief alone writes and has the
    checkpoint, and the others follow it.
    `require_lock` is called before anything is written and raises if the directory is no longer locked.

    Raises:
        UserError: The checkpoint does not fit the config; or a frame can no longer be read, and the state is saved.
        RunStoppedError: A loss, gradient or weight was not finite, and the step is not saved; or the disk is full,
            a batch does not fit into memory, or another worker has ended.
        RunInterruptedError: A signal to stop came; the state is saved.
    """
    # seed, threads, determinism, devices: before the first op
    recipe = resolve_precision(config.train)
    config = replace(config, train=recipe)
    configure_tensorflow(recipe)
    checkpoint_name = checkpoint.path.name if checkpoint else None
    if worker.count > 1:
        settings = settings_digest(config, statistics.fingerprint)
        checkpoint_name = meet(worker, chief_address(), settings, checkpoint_name)
    phases = plan_phases(config.progressive, config.augment, batch_size=recipe.batch_size, steps=recipe.steps)
    smallest = min(phase.batch_size for phase in phases)
    strategy = make_strategy(recipe.strategy, worker, frames=smallest // recipe.accumulate_steps)
    replicas = strategy.num_replicas_in_sync
    if worker.is_chief and (replicas > 1 or recipe.strategy == "mirrored"):
        print_error(f"devices: {replicas}, in {worker.count} process{'es' if worker.count > 1 else ''}")
    environment = describe_process(statistics.fingerprint, replicas)
    require_frames(smallest, parts=replicas * recipe.accumulate_steps)

    # the state of the run: network, optimizer, averages, counts
    with strategy.scope():
        model = build_fcn(config.model, len(training.classes), recipe.precision)
        if initial is not None:
            start_from(initial, model, config=config.model, classes=training.classes)
        if recipe.target == "window_center":
            converted = model
            model = build_window_classifier(config.model, len(training.classes), recipe.precision)
            copy_weights(converted.weights, model)
        freeze_encoder(recipe, model)
        if recipe.batch_norm == "synchronized" and replicas > 1:
            synchronize_batch_norm(model)
        optimizer = build_optimizer(recipe, model.trainable_variables)
    state = TrainState.create(
        model, optimizer, averaged=recipe.ema_decay > 0, patient=recipe.patience is not None, strategy=strategy
    )

    def save() -> None:
        if worker.is_chief:
            require_lock()
            state.require_finite()
            save_checkpoint(run, config, environment, variables=state.variables())

    # from the start, or from the checkpoint
    if checkpoint is not None:
        continue_run(run, config, environment, state=state, checkpoint=checkpoint)
    elif checkpoint_name is not None:  # of a worker
        restore_variables(checkpoint_of_chief(run, checkpoint_name), state.variables())
    elif worker.is_chief:
        write_file(run.config, dump_config(config))
        save()
        write_file(run.environment, json.dumps(environment, indent=2) + "\n")
    first_step = int(state.step)

    # what a step and an evaluation need
    train_step = compile_train_step(
        state,
        clip_norm=recipe.clip_norm,
        seed=recipe.seed,
        class_weights=class_weights,
        ema_decay=recipe.ema_decay,
        loss_is_sum=recipe.loss == "sum",
        accumulate_steps=recipe.accumulate_steps,
        strategy=strategy,
        xla=recipe.xla,
    )
    batches = training_batches(
        training.read,
        len(training),
        phases,
        seed=recipe.seed,
        start=first_step,
        center_only=recipe.target == "window_center",
        worker=worker,
    )
    scorer = Validation(config, training, validation, strategy=strategy, worker=worker)
    network = describe_network(config, model, statistics)
    log = MetricsLog(run.metrics)
    board = TensorBoardLog(run.tensorboard, config, recipe.pictures) if recipe.tensorboard and worker.is_chief else None
    hidden = None if worker.is_chief else True  # None: shown on a terminal
    progress = tqdm(total=recipe.steps, initial=first_step, desc="train", unit="step", disable=hidden)

    def due(step: int, every: int) -> bool:
        return step > 0 and (step % every == 0 or step == recipe.steps)

    def evaluate() -> None:
        require_lock()
        state.require_finite()
        started = time.perf_counter()
        scores = scorer.evaluate_weights(state.averages or model.weights, poll)
        seconds = time.perf_counter() - started
        step = int(state.step)
        is_better = (scores["miou"] or 0.0) > float(state.best_score)
        if is_better:
            if worker.is_chief:
                record = {"step": step, **network, **scores, "changes": log.changes}
                keep_best(run, scorer, record=record, pictures=recipe.pictures)
            state.best_score.assign(scores["miou"] or 0.0)
        state.evaluated.assign(step)
        if state.evaluations_since_best is not None:
            state.evaluations_since_best.assign(0 if is_better else state.evaluations_since_best + 1)
        baseline = network["color_table"]["miou"]
        if worker.is_chief:
            require_lock()
            row = {name: value for name, value in scores.items() if name != "confusion"}
            report(log, progress, step=step, **row, color_table_miou=baseline, evaluate_seconds=seconds)
            if board is not None:
                board.add_scores(step, scores, dataset=validation, predict=scorer.predictors[0].labels)

    def is_over() -> bool:
        since_best = state.evaluations_since_best
        return since_best is not None and int(since_best) >= (recipe.patience or 0)

    with progress, polled_signals() as poll:
        try:
            # an interrupted run may have stopped between a step and its evaluation
            if due(first_step, recipe.evaluate_steps) and int(state.evaluated) < first_step:
                evaluate()
                save()

            saved_at = time.perf_counter()
            clock = saved_at
            images_seen = 0
            for step, (images, labels) in enumerate(() if is_over() else batches, start=first_step + 1):
                # train
                learning_rate = float(optimizer.learning_rate)
                loss, finite = train_step(images, labels, tf.constant(step - 1, tf.int64))
                frames = frames_of_step(phases, step - 1, frame_count=len(training), seed=recipe.seed)
                if not finite:
                    names = ", ".join(training.names[index] for index in frames)
                    raise RunStoppedError(
                        f"step {step}: the loss ({float(loss)}) or a gradient is not finite at rate "
                        f"{learning_rate:.3g}, frames {names}; no weight was touched: lower train.learning_rate in a "
                        "new run"
                    )
                state.step.assign(step)
                images_seen += len(frames)
                progress.update()

                # log
                if due(step, recipe.log_steps) and worker.is_chief:
                    speed = images_seen / (time.perf_counter() - clock)
                    require_lock()
                    row = {"loss": float(loss), "learning_rate": learning_rate, "images_per_second": speed}
                    report(log, progress, step=step, **row)
                    if board is not None:
                        board.add_training(step, row)
                    clock = time.perf_counter()
                    images_seen = 0

                # evaluate, then save; neither counts as time of training
                evaluate_now = due(step, recipe.evaluate_steps)
                if evaluate_now:
                    evaluate()
                poll()
                is_old = time.perf_counter() > saved_at + 60 * recipe.checkpoint_minutes
                save_now = is_old or due(step, recipe.checkpoint_steps) or is_over()
                if save_now:
                    save()
                    saved_at = time.perf_counter()
                if is_over():
                    break
                if evaluate_now or save_now:
                    clock = time.perf_counter()
                    images_seen = 0
            if is_over() and worker.is_chief:
                print_error(
                    f"step {int(state.step)}: the training ends, after {recipe.patience} evaluations without a better "
                    "score (train.patience)"
                )
        except (RunInterruptedError, UserError, OSError):
            save()
            raise
        except (MemoryError, tf.errors.ResourceExhaustedError) as error:
            line = "a batch or frame does not fit into memory; raise train.accumulate_steps, lower train.batch_size or"
            raise RunStoppedError(
                f"step {int(state.step) + 1}: {line} augment.crop_size, or use more memory"
            ) from error
        except WORKER_LOST as error:
            if worker.count == 1:
                raise
            save()  # the step that was cut off has changed nothing
            line = "another worker has ended or cannot be reached; start all of them again with --resume"
            raise RunStoppedError(f"step {int(state.step) + 1}: {line}") from error


def require_frames(smallest: int, parts: int) -> None:
    """Raises UserError if the smallest batch has less than one frame for each of the parts that it is computed in."""
    if smallest < parts:
        text = f"is less than the {parts} devices x train.accumulate_steps; raise it, or lower these"
        raise UserError(f"train.batch_size or progressive.batch_size: {smallest} {text}")


def start_from(
    initial: InitialWeights, model: keras.Model, config: ModelConfig, classes: Sequence[SegmentationClass]
) -> None:
    """Sets the initial weights of a new run, and prints where each array comes from."""
    content = download_imagenet(model) if initial.content is None else initial.content
    own_classes = classes_of(initial.config.data) if initial.config else ()
    same_classes = [one.name for one in own_classes] == [one.name for one in classes]
    has_skips = any(layer.name == "score_pool4" for layer in model.layers)
    if initial.config and same_classes and has_skips:
        theirs = vars(initial.config.model)
        for key in ("skips", "skip_scale"):  # what the scorers of skips have learned from
            if theirs["stride"] < ENCODER_STRIDE and theirs[key] != getattr(config, key):
                raise UserError(f"{initial.path}: has scorers of other maps; set model.{key}: {theirs[key]}")
    origins = set_initial_weights(
        model,
        path=initial.path,
        content=content,
        trained=initial.config.model if initial.config else None,
        same_classes=same_classes,
    )
    print_error(printable(f"initial weights: {initial.path}"))
    print_error(origin_table(origins))


def continue_run(
    run: RunPaths, config: Config, environment: dict[str, Any], state: TrainState, checkpoint: Checkpoint
) -> None:
    """Sets state, rows and best weights to those of the checkpoint; reports and records what has changed since."""
    changed = checkpoint.changed | changed_environment(checkpoint.environment, environment)
    for name, values in changed.items():
        print_error(f"{checkpoint.path}: {describe_change(name, values)}")
    if changed.keys() - checkpoint.changed.keys():
        print_error(f"{checkpoint.path}: results may differ in the last bits")
    restore_checkpoint(checkpoint, run, state.variables())
    if changed:
        MetricsLog(run.metrics).append_changes(checkpoint.step, changed)
    if changed_keys(run.load_config(), config):
        write_file(run.config, dump_config(config))
    if not run.environment.exists():  # killed right after the first checkpoint
        write_file(run.environment, json.dumps(checkpoint.environment, indent=2) + "\n")


def report(log: MetricsLog, progress: tqdm[Any], **row: Any) -> None:
    """Adds a row to metrics.jsonl and prints it: next to the bar on a terminal, else as a line on stderr."""
    log.append(row)
    if "loss" in row:
        text = f"loss {row['loss']:.4f}, rate {row['learning_rate']:.2e}, {row['images_per_second']:.1f} images/s"
    else:
        known = {name: value for name, value in row["iou"].items() if value is not None}
        lowest = min(known, key=known.__getitem__, default="-")
        text = (
            f"{row['split']} mIoU {shown(row['miou'])} (color lookup {shown(row['color_table_miou'])}), "
            f"lowest {lowest} {shown(known.get(lowest))}, {row['evaluate_seconds']:.1f} s"
        )
    if progress.disable:
        print_error(f"step {row['step']}/{progress.total}: {text}")
    elif "loss" in row:
        progress.set_postfix_str(text)
    else:
        progress.write(f"step {row['step']}: {text}", file=sys.stderr)
