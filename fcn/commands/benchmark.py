"""Times a network in every runtime at hand, in turns, after comparing what they compute; or a folder of images.

Ratios are to ONNX Runtime in float32. --untrained takes networks of random weights in place of a trained one: of width
0.25 and 1, each with 11 classes at 360 x 480 and with 2 at 160 x 576.
"""

from __future__ import annotations

import argparse
import tempfile
from itertools import product
from pathlib import Path

from fcn.commands.arguments import add_model_arguments, add_set_argument, config_with_data, find_model, size_of
from fcn.commands.tensorflow_import import import_tensorflow
from fcn.datasets.dataset import pictures_in
from fcn.errors import UserError
from fcn.export.benchmark import benchmark, benchmark_folder, describe_machine, table, trained_case, untrained_case
from fcn.inference.predictor import load_predictor
from fcn.runs.trained import TrainedModel

SIZES = {11: (360, 480), 2: (160, 576)}  # classes -> (height, width), of CamVid and of half a KITTI frame


def add_arguments(command: argparse.ArgumentParser) -> None:
    folder = "time this folder of images from file to pictures, next to the network alone"
    count = "images with --folder; those of the folder are repeated; 500"
    check = "compare on the images of this folder instead of the validation set"
    quick = "a small untrained network, few forms and rounds: to see that it runs"
    add_model_arguments(command, exported=True)
    add_set_argument(command, example="data.root=DIR")
    command.add_argument("--size", default="360,480", metavar="H,W", help="height,width of the image; 360,480")
    command.add_argument("--check", type=Path, metavar="DIR", help=check)
    command.add_argument("--untrained", action="store_true", help="time networks of random weights, four of them")
    command.add_argument("--quick", action="store_true", help=quick)
    command.add_argument("--folder", type=Path, metavar="DIR", help=folder)
    command.add_argument("--count", type=int, default=500, metavar="N", help=count)


def run(arguments: argparse.Namespace) -> None:
    size = size_of(arguments.size)
    if arguments.folder is not None:
        _time_folder(arguments)
        return
    if arguments.model is not None:
        raise UserError("--model: only goes with --folder; without it a run is exported to every runtime")
    with tempfile.TemporaryDirectory() as name:
        if arguments.untrained or arguments.quick:
            import_tensorflow()
            shapes = [(0.25, 2)] if arguments.quick else product((0.25, 1.0), SIZES)
            cases = [
                untrained_case(Path(name) / f"{width}_{classes}", width=width, classes=classes, size=SIZES[classes])
                for width, classes in shapes
            ]
        else:
            trained = TrainedModel.find(arguments.run, arguments.weights)
            cases = [trained_case(trained, config_with_data(trained, arguments.set), size)]
            print(f"weights: {trained.description()}", flush=True)
            import_tensorflow()
        print(describe_machine(), flush=True)
        for number, case in enumerate(cases):
            files = Path(name) / f"files{number}"
            files.mkdir()
            rows = benchmark(case, files, quick=arguments.quick, check=arguments.check)
            print(f"{case.title}\n{table(rows)}", flush=True)


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
        found = benchmark_folder(predictor, files, Path(name), arguments.count)
    for alone, whole in zip(found["network_per_second"], found["folder_per_second"], strict=True):
        print(f"network alone {alone:.1f} images a second, files to pictures {whole:.1f}: {whole / alone:.2f}")
    for name in ("p50", "p95"):
        print(f"{name}: " + ", ".join(f"{stage} {time:.1f} ms" for stage, time in found[name].items()))
    early, late = found["peak_megabytes"]
    print(f"peak memory after {arguments.count // 10} images {early:.0f} MB, after {arguments.count} {late:.0f} MB")
