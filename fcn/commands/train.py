"""Trains a network from a YAML file into a new directory under runs/; without arguments on synthetic roads."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from fcn.commands.arguments import add_set_argument
from fcn.commands.tensorflow_import import import_tensorflow
from fcn.config.settings import resolve_auto
from fcn.config.yaml_file import dump_config, field_of, find_config, load_config
from fcn.datasets import open_for_training
from fcn.datasets.class_weights import class_weights
from fcn.errors import UserError, print_error, printable
from fcn.evaluation.evaluate import score_table
from fcn.runs.checkpoint import find_checkpoint
from fcn.runs.paths import RUNS, RunPaths, locked, require_new
from fcn.runs.trained import TrainedModel, find_initial_weights


def add_arguments(command: argparse.ArgumentParser) -> None:
    config = "what differs from the defaults: a file, or the name of a config that comes with fcn; synthetic"
    changed = "continue although this setting differs from before"
    printed = "print the effective config with the meaning of each setting"
    command.add_argument("--config", metavar="YAML|NAME", help=config)
    add_set_argument(command, example="train.steps=100")
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
    if continued and arguments.config is None:
        file = paths.config
    config = load_config(file, arguments.set, stored=file == paths.config)
    if arguments.print_config:
        print(dump_config(config), end="")
        return
    config = resolve_auto(config, paths.load_config() if continued else None)

    # the run and its data, before TensorFlow is imported: mistakes are reported within a second
    if not continued:
        require_new(paths)
        if arguments.resume:
            print_error(printable(f"{paths.directory}: holds nothing to resume; starting with {file}"))
    with locked(paths) as require_lock:
        checkpoint = find_checkpoint(paths, config, arguments.allow_changed) if continued else None
        initial = None if checkpoint else find_initial_weights(config.model)
        training, validation, fingerprint = open_for_training(config.data)
        weights = class_weights(config.train, training)
        if config.train.class_weights != "none":
            pairs = zip(training.classes, weights, strict=True)
            print_error("class weights: " + ", ".join(f"{one.name} {weight:.3g}" for one, weight in pairs))

        import_tensorflow()
        from fcn.training.loop import train

        train(
            config,
            paths,
            training=training,
            validation=validation,
            class_weights=weights,
            data_fingerprint=fingerprint,
            require_lock=require_lock,
            initial=initial,
            checkpoint=checkpoint,
        )

    best = TrainedModel.of_run(paths.directory).record
    baseline = best["color_table"] if "color_table" in best else best["colour_table"]  # the name in version 0.1
    print(f"{best['parameters']:,} parameters; best on {best['split']} ({best['frames']} frames), step {best['step']}:")
    print(score_table(best, baseline))
    print(f"run: {paths.directory}  weights: {paths.best_weights}  pictures: {paths.pictures}")
