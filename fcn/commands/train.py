"""Trains a network from a YAML file; without arguments on synthetic roads, into a new folder under runs/."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from fcn.commands.arguments import add_set_argument
from fcn.config.settings import resolved
from fcn.config.yaml_file import dump_config, load_config, require_setting
from fcn.datasets import open_for_training
from fcn.datasets.class_weights import class_weights
from fcn.errors import UserError, print_error, printable
from fcn.evaluation.evaluate import score_table
from fcn.runs.paths import RUNS, RunFolder
from fcn.runs.resume import checkpoint_to_continue

DEFAULT = Path(__file__).parents[2] / "configs" / "synthetic.yaml"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    command.add_argument(
        "--config", type=Path, metavar="YAML", help="what differs from the defaults; configs/synthetic.yaml"
    )
    add_set_argument(command, example="train.steps=100")
    command.add_argument("--run-dir", type=Path, metavar="DIR", help="folder of the run; a new one under runs/")
    command.add_argument(
        "--resume", action="store_true", help="continue the run in --run-dir; start it where there is none"
    )
    command.add_argument(
        "--allow-changed",
        action="append",
        default=[],
        metavar="KEY",
        help="continue although this setting is another one than before",
    )
    command.add_argument(
        "--print-config",
        action="store_true",
        help="print the effective config with each setting's meaning, and end",
    )


def run(arguments: argparse.Namespace) -> None:
    """Runs the command."""
    if arguments.resume and arguments.run_dir is None:
        raise UserError("--resume: needs the folder to continue; name it with --run-dir")
    if arguments.allow_changed and not arguments.resume:
        raise UserError("--allow-changed: a new run has no settings yet; add --resume with --run-dir")
    for key in arguments.allow_changed:
        require_setting(key, "--allow-changed")
    given = arguments.config or DEFAULT
    folder = RunFolder(arguments.run_dir or RUNS / f"{given.stem}-{time.strftime('%Y%m%d-%H%M%S')}")
    continued = arguments.resume and folder.config_file.is_file()
    if continued and arguments.config is None:
        given = folder.config_file
    config = load_config(given, arguments.set, stored=given == folder.config_file)
    if arguments.print_config:
        print(dump_config(config), end="")
        return

    config = resolved(config, folder.config() if continued else None)
    if not continued:
        folder.require_new()
        if arguments.resume:
            print_error(printable(f"{folder.path}: holds nothing to resume; starting with {given}"))
    with folder.locked():
        if continued:
            checkpoint_to_continue(folder, config, arguments.allow_changed)
        training, validation, fingerprint = open_for_training(config.data)
        weights = class_weights(config.train, training)
        if config.train.class_weights != "none":
            each = zip(training.classes, weights, strict=True)
            print_error("class weights: " + ", ".join(f"{one.name} {weight:.3g}" for one, weight in each))

        from fcn.training.loop import train  # TensorFlow: only now that nothing is known to be wrong
        from fcn.training.start import with_precision

        if not continued:
            folder.create(config := with_precision(config))
        train(config, folder, training, validation, weights, fingerprint, arguments.allow_changed)
    best = folder.best()
    place = f"{best['split']} ({best['frames']} frames)"
    print(f"{best['parameters']:,} parameters; best on {place} at step {best['step']}:")
    print(score_table({"network": best, "color table": best["color_table"]}))
    print(f"run: {folder.path}  weights: {folder.best_weights}  pictures: {folder.pictures}")
