"""Times a network in every runtime at hand, in turns, after comparing what they compute; or a folder of images.

Ratios are to the network as Keras exports it, in ONNX Runtime. --untrained takes networks of random weights in place of
a trained one: of width 0.25 and 1, each with 11 classes at 360 x 480 and with 2 at 160 x 576.

--train times the training step of configs/camvid.yaml instead, with the changes of --set, on random images and labels.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from importlib.util import find_spec
from itertools import product
from pathlib import Path

from fcn.commands.arguments import add_model_arguments, add_set_argument, config_with_data, find_model, size_of
from fcn.commands.tensorflow_import import import_tensorflow, set_environment
from fcn.config.settings import resolve_auto
from fcn.config.yaml_file import changed_keys, find_config, load_config
from fcn.datasets import classes_of
from fcn.datasets.dataset import pictures_in
from fcn.errors import UserError
from fcn.export.benchmark import benchmark, benchmark_folder, describe_machine, untrained
from fcn.inference.predictor import load_predictor
from fcn.runs.environment import SWITCHES
from fcn.runs.trained import TrainedModel
from fcn.training.benchmark import ROUNDS, benchmark_training

QUICK_TRAINING = ("model.width=0.0625", "model.head_units=16", "train.batch_size=2")
NOT_TIMED = ("train.freeze", "train.loss", "train.target", "train.strategy", "train.batch_norm")
NOT_IN_TORCH = (
    *("train.optimizer", "train.schedule", "train.decay_form", "train.encoder_rate", "train.bias_rate"),
    "train.accumulate_steps",
)
TRAINING_VERSIONS = ("tensorflow", "keras", "torch")
SIZES = {11: (360, 480), 2: (160, 576)}  # classes -> (height, width), of CamVid and of half a KITTI frame


def add_arguments(command: argparse.ArgumentParser) -> None:
    folder = "time this folder of images from file to pictures, next to the network alone"
    add_model_arguments(command, exported=True)
    add_set_argument(command, example="data.root=DIR")
    command.add_argument("--size", default="360,480", metavar="H,W", help="height,width of the image; 360,480")
    command.add_argument("--check", type=Path, metavar="DIR", help="compare on these images; the validation set")
    command.add_argument("--untrained", action="store_true", help="time networks of random weights, four of them")
    command.add_argument("--quick", action="store_true", help="a small untrained network: to see that it runs")
    command.add_argument("--train", action="store_true", help="time the training step of configs/camvid.yaml")
    command.add_argument("--against", choices=["torch"], help="with --train: next to the same network in PyTorch")
    command.add_argument("--groups", action="store_true", help="with --train: the time by groups of layers instead")
    command.add_argument("--rounds", type=int, metavar="N", help=f"with --train: rounds; {ROUNDS}")
    command.add_argument("--folder", type=Path, metavar="DIR", help=folder)
    command.add_argument("--count", type=int, default=500, metavar="N", help="images with --folder, repeated; 500")


def run(arguments: argparse.Namespace) -> None:
    size = size_of(arguments.size)
    if arguments.train:
        _time_training(arguments, size)
        return
    if arguments.against is not None or arguments.groups or arguments.rounds is not None:
        raise UserError("--against, --groups, --rounds: only go with --train")
    if arguments.folder is not None:
        _time_folder(arguments)
        return
    if arguments.model is not None:
        raise UserError("--model: only goes with --folder; without it a run is exported to every runtime")
    if not arguments.untrained and not arguments.quick:
        trained = TrainedModel.find(arguments.run, arguments.weights)
        config = config_with_data(trained, arguments.set)
        print(f"weights: {trained.description()}\n{describe_machine()}", flush=True)
        import_tensorflow()
        table = benchmark(trained, config, size, check=arguments.check)
        print("{}, {} x {}\n{}".format(trained.weights.name, *size, table))
        return
    import_tensorflow()
    print(describe_machine(), flush=True)
    for width, classes in [(0.25, 2)] if arguments.quick else product((0.25, 1.0), SIZES):
        size = SIZES[classes]
        with tempfile.TemporaryDirectory() as name:
            trained = untrained(Path(name), width=width, classes=classes, size=size)
            table = benchmark(trained, trained.config(), size, quick=arguments.quick, check=arguments.check)
        print(f"random weights, width {width:g}, {classes} classes, {size[0]} x {size[1]}\n{table}", flush=True)


def _time_folder(arguments: argparse.Namespace) -> None:
    """Prints the speed of the whole way from files to pictures, next to that of the network alone."""
    if arguments.count < 20:
        raise UserError(f"--count {arguments.count}: is too few to time; name at least 20")
    files = pictures_in(arguments.folder, fix="name another --folder")
    model = find_model(arguments)
    print(f"weights: {model.description()}\n{describe_machine()}", flush=True)
    if isinstance(model, TrainedModel):
        import_tensorflow()
    predictor = load_predictor(model, max_height=None)
    with tempfile.TemporaryDirectory() as name:
        print(benchmark_folder(predictor, files, Path(name), arguments.count))


def _time_training(arguments: argparse.Namespace, size: tuple[int, int]) -> None:
    """Prints the times of a training step of configs/camvid.yaml with the overrides of --set."""
    others = (arguments.run, arguments.weights, arguments.model, arguments.folder, arguments.check)
    if any(one is not None for one in others) or arguments.untrained:
        names = "--run, --weights, --model, --folder, --check and --untrained"
        raise UserError(f"--train: starts from random weights and images; leave out {names}")
    if arguments.against == "torch" and find_spec("torch") is None:
        raise UserError("--against torch: PyTorch is not installed; pip install torch")
    rounds = 2 if arguments.quick else (ROUNDS if arguments.rounds is None else arguments.rounds)
    if rounds < 1:
        raise UserError(f"--rounds {rounds}: is too few; name at least 1")
    overrides = [*QUICK_TRAINING, *arguments.set] if arguments.quick else arguments.set
    file = find_config("camvid")
    config = load_config(file, overrides)
    changed = changed_keys(load_config(file), config)
    for key in NOT_TIMED if arguments.against is None else (*NOT_TIMED, *NOT_IN_TORCH):
        if key in changed:
            rule = "is not in what --train times" if key in NOT_TIMED else "is not in the copy in PyTorch"
            raise UserError(f"{key}: {rule}; leave it out")
    config = resolve_auto(config)
    height, width = (64, 96) if arguments.quick else size
    network = f"{config.model.encoder}, width {config.model.width:g}, {len(classes_of(config.data))} classes"
    set_environment()  # of the processes that are timed: this one needs no TensorFlow
    switches = [f"{name}={os.environ[name]}" for name in SWITCHES if name in os.environ]
    print("\n".join([describe_machine(TRAINING_VERSIONS), *switches]))
    print(f"{network}, {height} x {width}, batch {config.train.batch_size}, {rounds} rounds", flush=True)
    print(benchmark_training(config, (height, width), arguments.against == "torch", arguments.groups, rounds))
