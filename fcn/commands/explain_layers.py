"""Prints what the layers of a fully convolutional network do, on small numbers and with their rules.

With --image, also compares one pass of a trained network with its classifier on every window of the image.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from fcn.commands.arguments import add_model_arguments
from fcn.commands.tensorflow_import import import_tensorflow
from fcn.config.settings import ENCODER_STRIDE
from fcn.errors import UserError
from fcn.explain.sizes import page_of_sizes
from fcn.images import read_image
from fcn.runs.trained import SHIPPED, TrainedModel


def add_arguments(command: argparse.ArgumentParser) -> None:
    pictures = "also write the pictures of docs/layers.md into this folder"
    image = "compare one pass with windows of this image; with --pictures, also the street to show"
    command.add_argument("--size", metavar="N", help="explain a transposed convolution of N cells a side instead")
    command.add_argument("--kernel", metavar="K", help="its kernel, cells a side; --size and --kernel need each other")
    command.add_argument("--stride", metavar="S", help="its stride; default 1")
    command.add_argument("--padding", metavar="same|valid", help="its padding; default same")
    command.add_argument("--pictures", type=Path, metavar="DIR", help=pictures)
    command.add_argument("--image", type=Path, metavar="FILE", help=image)
    add_model_arguments(command, default="the network that comes with fcn")


def run(arguments: argparse.Namespace) -> None:
    numbers = (arguments.size, arguments.kernel, arguments.stride, arguments.padding)
    if any(number is not None for number in numbers):
        print(page_of_sizes(*numbers), end="")
    elif arguments.image or arguments.pictures:
        _explain_with_network(arguments)
    elif arguments.run or arguments.weights:
        raise UserError("--run, --weights: are for --image and --pictures; add one of these, or leave them out")
    else:
        _print_page()


def _print_page() -> None:
    import_tensorflow()
    from fcn.explain.examples import page  # imports TensorFlow

    print(page(), end="", flush=True)


def _explain_with_network(arguments: argparse.Namespace) -> None:
    """The page, then what needs a trained network."""
    # everything that can be checked without TensorFlow
    trained = TrainedModel.find(arguments.run, arguments.weights or (None if arguments.run else SHIPPED))
    config = trained.config()
    image = None
    if arguments.image:
        image = read_image(arguments.image, config.data.max_megapixels)
        height, width, _ = image.shape
        side = ENCODER_STRIDE * config.model.head_window
        if min(height, width) < side:
            rule = f"has {height} x {width} pixels, a window of this network {side} x {side}; name a larger one"
            raise UserError(f"{arguments.image}: {rule}")
    if arguments.pictures:
        arguments.pictures.mkdir(parents=True, exist_ok=True)

    _print_page()
    from fcn.explain.pictures import write_pictures
    from fcn.explain.sliding import comparison
    from fcn.inference.predictor import load_predictor

    print(f"\nweights: {trained.description()}", flush=True)
    predictor = load_predictor(trained, config)
    if image is not None:
        print(comparison(predictor, config.model, image), end="", flush=True)
    if arguments.pictures:
        write_pictures(arguments.pictures, predictor, config.model, image)
        print(f"pictures: {arguments.pictures}{'' if arguments.image else ', of a generated road'}")
