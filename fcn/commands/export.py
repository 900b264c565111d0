"""Exports a trained network to a file for another runtime, and proves that it agrees with the network.

The file takes uint8 RGB (N, H, W, 3) as `image` and gives `labels`, uint8 (N, H, W) of class indices. It holds the
preprocessing, the classes with their colors and the proof. A file that does not agree with the network is not written.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import get_args

from fcn.commands.arguments import add_model_arguments, add_set_argument, config_with_data, size_of
from fcn.commands.tensorflow_import import import_tensorflow
from fcn.export.export import export
from fcn.export.options import CALIBRATION_FRAMES, ExportOptions, Precision, files_of
from fcn.inference.runtimes import Format
from fcn.runs.trained import TrainedModel


def add_arguments(command: argparse.ArgumentParser) -> None:
    add_model_arguments(command)
    add_set_argument(command, example="data.root=DIR")
    out = "the file, which ends in .onnx, .tflite or .xml, or the folder of a SavedModel"
    precision = "float32; float16: weights of half the size; int8: also computes in it; float32"
    size = "height,width of every image, which is faster; any size without it"
    output = "what the file gives besides the labels: logits or probabilities"
    check = "compare on the images of this folder instead of the validation set"
    count = f"training frames that int8 is calibrated on; {CALIBRATION_FRAMES}"
    seed = "seed of the choice of these frames; 0"
    command.add_argument("--format", required=True, choices=get_args(Format), help="the runtime")
    command.add_argument("--out", required=True, type=Path, metavar="FILE", help=out)
    command.add_argument("--precision", default="float32", choices=get_args(Precision), help=precision)
    command.add_argument("--size", metavar="H,W", help=size)
    command.add_argument("--output", default="labels", choices=("labels", "logits", "probabilities"), help=output)
    command.add_argument("--check", type=Path, metavar="DIR", help=check)
    command.add_argument("--calibration-frames", type=int, default=CALIBRATION_FRAMES, metavar="N", help=count)
    command.add_argument("--calibration-seed", type=int, default=0, metavar="N", help=seed)


def run(arguments: argparse.Namespace) -> None:
    # everything that can be checked without TensorFlow
    options = ExportOptions(
        format=arguments.format,
        precision=arguments.precision,
        size=None if arguments.size is None else size_of(arguments.size),
        outputs=tuple(dict.fromkeys(("labels", arguments.output))),
        check=arguments.check,
        calibration_frames=arguments.calibration_frames,
        calibration_seed=arguments.calibration_seed,
    )
    options.validate(arguments.out)
    trained = TrainedModel.find(arguments.run, arguments.weights)
    config = config_with_data(trained, arguments.set)
    print(f"weights: {trained.description()}", flush=True)

    import_tensorflow()
    proof = export(trained, config, arguments.out, options)
    size = sum(file.stat().st_size for file in files_of(arguments.out)) / 1e6
    print(f"agrees with the network on {proof['equal']:.4%} of the pixels of {proof['frames']} frames", end="")
    print("".join(f", {share:.2%} at {name}" for name, share in proof["other_sizes"].items() if name != "all"))
    if proof["largest_difference"] is not None:
        print(f"largest difference of a logit: {proof['largest_difference']:.2g}")
    if proof["miou"] is not None:
        print(f"mIoU {proof['miou']:.4f}, of the network {proof['network_miou']:.4f}")
    print(f"{arguments.out}: {size:.1f} MB")
