"""Trains a network from a YAML file into a new directory under runs/; without arguments on synthetic roads."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from contextlib import nullcontext
from importlib.util import find_spec
from pathlib import Path

from fcn.commands.arguments import add_set_argument
from fcn.commands.tensorflow_import import import_tensorflow
from fcn.config.settings import Config, resolve_auto, resolve_target
from fcn.config.yaml_file import dump_config, field_of, find_config, load_config
from fcn.datasets import open_for_training
from fcn.datasets.class_weights import class_weights
from fcn.datasets.dataset import Dataset
from fcn.errors import UserError, print_error, printable
from fcn.evaluation.evaluate import score_table
from fcn.model.memory import check_memory
from fcn.runs.checkpoint import find_checkpoint
from fcn.runs.paths import RUNS, RunPaths, locked, require_new
from fcn.runs.stages import stages_of
from fcn.runs.trained import TrainedModel, find_initial_weights
from fcn.runs.workers import find_worker


def add_arguments(command: argparse.ArgumentParser) -> None:
    config = "what differs from the defaults: a file, or the name of a config that comes with fcn; synthetic"
    initial = "weights to start from, as model.initial_weights: none, camvid, imagenet, a run or a file"
    changed = "continue although this setting differs from before"
    printed = "print the effective config with the meaning of each setting"
    command.add_argument("--config", metavar="YAML|NAME", help=config)
    add_set_argument(command, example="train.steps=100")
    command.add_argument("--initial-weights", metavar="NAME|FILE", help=initial)
    command.add_argument("--run-dir", type=Path, metavar="DIR", help="directory of the run; a new one under runs/")
    command.add_argument("--resume", action="store_true", help="continue the run in --run-dir, or start it")
    command.add_argument("--allow-changed", action="append", default=[], metavar="KEY", help=changed)
    command.add_argument("--print-config", action="store_true", help=printed)


def run(arguments: argparse.Namespace) -> None:
    if arguments.resume and arguments.run_dir is None:
        raise UserError("--resume: needs the run to continue; name it with --run-dir")
    if arguments.allow_changed and not arguments.resume:
        raise UserError("--allow-changed: a new run has no settings yet; add --resume with --run-dir")
    for key in arguments.allow_changed:
        field_of(key, "--allow-changed")

    # the config: of a continued run its own, unless another one is named
    file = find_config(arguments.config or "synthetic")
    paths = RunPaths(arguments.run_dir or RUNS / f"{file.stem}-{time.strftime('%Y%m%d-%H%M%S')}")
    continued = arguments.resume and paths.config.is_file()
    stages = sorted(paths.directory.parent.glob(f"{paths.directory.name}-[0-9]*s"))
    if arguments.resume and arguments.config is None and not continued and stages:
        raise UserError(f"{paths.directory}: has stages, such as {stages[0]}; add the --config that they have")
    if continued and arguments.config is None:
        file = paths.config
    config = resolve_target(load_config(file, overrides(arguments), stored=file == paths.config))
    if arguments.print_config:
        print(dump_config(config), end="")
        return
    if config.train.freeze != "none" and config.model.initial_weights == "none":
        raise UserError("train.freeze: would keep random weights; name model.initial_weights, or set freeze to none")
    runs = stages_of(config, paths)
    if config.stages.strides and find_worker(config.train.strategy).count > 1:
        raise UserError("stages.strides: needs one worker; start each stage as a run of its own")
    for _, stage_paths in runs:  # before the first stage is trained
        if not (arguments.resume and stage_paths.config.is_file()):
            require_new(stage_paths)
    for stage, stage_paths in runs:
        train_run(stage, stage_paths, source=file, resume=arguments.resume, allow_changed=arguments.allow_changed)


def overrides(arguments: argparse.Namespace) -> list[str]:
    """The values of --set, and that of --initial-weights as one of them."""
    if arguments.initial_weights is None:
        return list(arguments.set)
    return [*arguments.set, f"model.initial_weights={json.dumps(arguments.initial_weights)}"]


def require_windows(config: Config, training: Dataset) -> None:
    """Says what a window classifier is trained on. Raises UserError if the first frame is smaller than a window."""
    side = config.augment.crop_size[0]
    height, width = training.read(0)[1].shape
    if min(height, width) < side:
        text = f"makes windows of {side}x{side}, and {training.names[0]} is {height}x{width}; lower it"
        raise UserError(f"model.head_window: {config.model.head_window} {text}")
    print_error(f"classifier of windows of {side}x{side} pixels; scored on whole frames as FCN-32s")


def train_run(config: Config, paths: RunPaths, source: Path, resume: bool, allow_changed: Sequence[str]) -> None:
    """Starts a run with the config that was read from `source`, or continues it, and prints its scores."""
    continued = resume and paths.config.is_file()
    config = resolve_auto(config, paths.load_config() if continued else None)
    worker = find_worker(config.train.strategy)

    # the run and its data, before TensorFlow is imported: mistakes are reported within a second
    if not continued:
        require_new(paths)
        if resume:
            print_error(printable(f"{paths.directory}: holds nothing to resume; starting with {source}"))
    lock = locked(paths) if worker.is_chief else nullcontext(lambda: None)
    if config.train.tensorboard and find_spec("tensorboard") is None:
        fix = "pip install 'fcn-roads[tensorboard]', or set it to false"
        raise UserError(f"train.tensorboard: needs the package tensorboard; {fix}")
    with lock as require_lock:
        checkpoint = find_checkpoint(paths, config, allow_changed) if continued and worker.is_chief else None
        is_restored = checkpoint is not None or (not worker.is_chief and paths.has_begun())
        initial = None if is_restored else find_initial_weights(config.model)
        if checkpoint and config.model.initial_weights != paths.load_config().model.initial_weights:
            print_error("model.initial_weights: is not used: the run continues from its checkpoint")
        training, validation, statistics = open_for_training(config.data)
        if config.train.target == "window_center":
            require_windows(config, training)
        weights = class_weights(config.train, statistics.splits[0])
        if config.train.class_weights != "none" and worker.is_chief:
            pairs = zip(training.classes, weights, strict=True)
            print_error("class weights: " + ", ".join(f"{one.name} {weight:.3g}" for one, weight in pairs))
        print_error(check_memory(config, len(training.classes), worker.count))

        import_tensorflow()
        from fcn.training.loop import train

        train(
            config,
            paths,
            training=training,
            validation=validation,
            class_weights=weights,
            statistics=statistics,
            require_lock=require_lock,
            initial=initial,
            checkpoint=checkpoint,
            worker=worker,
        )
        if not worker.is_chief:
            return

        # the page to look at
        from fcn.report.report import write_report

        trained = TrainedModel.of_run(paths.directory)
        best = trained.record
        baseline = best["color_table"] if "color_table" in best else best["colour_table"]  # the name in version 0.1
        problems = write_report(trained, trained.config(), validation, baseline=baseline, out=paths.report, run=paths)
        for problem in problems:
            print_error(printable(problem))

    print(f"{best['parameters']:,} parameters; best on {best['split']} ({best['frames']} frames), step {best['step']}:")
    print(score_table(best, baseline))
    print(f"run: {paths.directory}  weights: {paths.best_weights}  report: {paths.report}")
