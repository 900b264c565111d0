"""Weights to start from, of fcn or of a VGG that Keras saved: it is said of every array where it comes from.

A dense layer of the file becomes the convolution that computes the same (`dense_kernel_to_conv`). The file need not be
trusted: it is read as `load_weights` reads one.
"""

# Shapes: k x k window of fc6 in cells of the last feature map, c its channels, u head units
from __future__ import annotations

import io
import math
import os
import tempfile
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import h5py
import keras
import numpy as np

from fcn.config.settings import ModelConfig
from fcn.errors import UserError, printable
from fcn.images import Array
from fcn.model.architecture import PREPROCESSING
from fcn.model.convolutionalize import dense_kernel_to_conv
from fcn.model.weights import array_kind

MAX_UNUSED = 12  # arrays of a file that are listed as not used
MAX_SHOWN = 60  # characters of a name from a file
MAX_NAMES = 1000  # names of a file that are looked at
SCORERS = ("score", "upscore")  # beginnings of the names of layers whose channels are classes
HEAD = {"fc6": "fc1", "fc7": "fc2"}  # layer -> its name in keras.applications


class Origin(NamedTuple):
    """Where an array of the network comes from, or, for one of the file that is not used, its name and no shape."""

    name: str
    shape: tuple[int, ...]
    how: str


def set_initial_weights(
    model: keras.Model,
    path: Path,
    content: bytes,
    trained: ModelConfig | None = None,
    same_classes: bool = False,
) -> list[Origin]:
    """Sets the weights of a network that was just built from a file, all or none, and says where each comes from.

    Args:
        model: A network of `build_fcn`.
        path: Name of the file, for messages.
        content: What it holds: weights of fcn, or a VGG that Keras saved as .weights.h5 or .h5.
        trained: The config of weights of fcn; None for a file of Keras.
        same_classes: Whether the scorers of the file have the classes of the network; else they stay as they start.

    Raises:
        UserError: It is not such a file, or an array does not fit, or one of the encoder is missing; the line names the
            setting that would fit.
    """
    preprocessing = trained.preprocessing if trained else "imagenet"
    _, std = PREPROCESSING[preprocessing]
    if model.get_layer("preprocessing").scale != 1 / std:
        raise UserError(f"{path}: was trained on other pixels; set model.preprocessing: {preprocessing}")
    convolutions = [one.name for one in model.layers if isinstance(one, keras.layers.Conv2D) and "_conv" in one.name]
    numbers = {name: number for names in (convolutions, HEAD) for number, name in enumerate(names)}
    origins = []
    values = []
    try:
        with h5py.File(io.BytesIO(content)) as file:
            more = sorted({f"block{block}_conv{i}" for block in range(1, 6) for i in range(1, 5)} - {*convolutions})
            places = [*more, *(f"model_weights/{name}" for name in more), f"layers/conv2d_{len(convolutions)}"]
            extra = next((place for place in places if array_kind(file, place) != "missing"), None)
            if extra is not None:
                raise UserError(f"{path}: also holds {extra}; set model.encoder to that of the weights")
            used = set()
            for weight in model.weights:
                value, how, place = _value_of(
                    file, path, weight, numbers=numbers, of_keras=trained is None, same_classes=same_classes
                )
                used.add(place)
                if not np.isfinite(value).all():
                    raise UserError(f"{path}: {weight.path} holds NaN or infinity; use other weights")
                origins.append(Origin(weight.path, tuple(weight.shape), how))
                values.append(value)
            origins += _unused(file, used)
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, OverflowError) as error:  # of HDF5
        raise UserError(f"{path}: cannot be read as weights: {error}; name a file that fcn or Keras saved") from error
    model.set_weights(values)
    return origins


def origin_table(origins: list[Origin]) -> str:
    """A line for each layer, or array where those of a layer differ: name, shape of the first, where it comes from."""
    lines = []
    for layer, group in groupby(origins, lambda one: one.name.partition("/")[0] if one.shape else one.name):
        arrays = list(group)
        same = len({one.how for one in arrays}) == 1
        for one in arrays[:1] if same else arrays:
            shape = str(one.shape) if one.shape else ""
            name = layer if same else one.name
            lines.append(f"{name:<24}{shape:<20}{one.how}")
    return "\n".join(lines)


def download_imagenet(model: keras.Model) -> bytes:
    """The content of a file with ImageNet's weights for the encoder of `model`, which Keras downloads and checks.

    Raises UserError if they can be neither downloaded nor found where Keras keeps them.
    """
    is_vgg19 = any(layer.name == "block5_conv4" for layer in model.layers)
    try:
        classifier = (keras.applications.VGG19 if is_vgg19 else keras.applications.VGG16)(weights="imagenet")
    except Exception as error:  # Keras raises this class where a download fails
        fix = "connect to the internet, or name a file of these weights in model.initial_weights"
        raise UserError(f"model.initial_weights: imagenet: {error}; {fix}") from error
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "imagenet.weights.h5"
        classifier.save_weights(file)
        return file.read_bytes()


def _unused(file: h5py.File, used: set[str]) -> list[Origin]:
    """A line for each array of a file that none of the network was taken from; after MAX_UNUSED one for the rest."""
    names: list[str] = []

    def collect(name: bytes) -> bool | None:  # must not raise: HDF5 calls it
        names.append(os.fsdecode(name))
        return True if len(names) == MAX_NAMES else None

    file.id.links.visit(collect, order=h5py.h5.ITER_NATIVE)
    arrays = []
    for name in names:
        is_group = array_kind(file, name) == "not a plain array" and file.get(name, getclass=True) is h5py.Group
        if name not in used and not is_group:
            arrays.append(name)
    lines = [printable(name[:MAX_SHOWN]) for name in arrays[:MAX_UNUSED]]
    if len(arrays) > MAX_UNUSED:
        lines.append(f"{len(arrays) - MAX_UNUSED} more arrays")
    return [Origin(line, (), "not used") for line in lines]


def _value_of(
    file: h5py.File, path: Path, weight: keras.Variable, numbers: dict[str, int], of_keras: bool, same_classes: bool
) -> tuple[Array, str, str]:
    """The initial value of an array of the network, where it comes from, and its place in the file if it has one.

    `numbers` counts the layers of a kind.
    """
    name = weight.path
    shape = tuple(weight.shape)
    layer = name.partition("/")[0]
    places = _places_in_keras(name, numbers[layer]) if of_keras and layer in numbers else [name]
    found = next((place for place in places if array_kind(file, place) != "missing"), None)
    if layer.startswith(SCORERS) and not (found and same_classes):
        return weight.numpy(), f"as it starts: {'of other classes' if found else 'not'} in the file", found or ""
    if found is None and layer.removesuffix("_norm") in HEAD:
        return weight.numpy(), "as it starts: not in the file", ""
    if found is None:
        raise UserError(f"{path}: holds no {name}; {_setting_that_fits(layer, shape=())}")
    kind = array_kind(file, found)
    if not kind.startswith("float32 ("):
        raise UserError(f"{path}: {found} is {kind}; name a file that fcn or Keras saved")
    stored = file[found].shape
    how = "copied"
    if stored != shape and layer.removesuffix("_norm") in HEAD:
        value = _head_array(file[found], layer, shape)
        how = "converted" if value is not None and math.prod(value.shape) == math.prod(stored) else "thinned out"
        how = f"{how} from {stored}"
    else:
        value = file[found][()] if stored == shape else None
    if value is None:
        fix = _setting_that_fits(layer, stored)
        raise UserError(f"{path}: {found} is {stored}, and {name} is {shape} in the network; {fix}")
    if of_keras and name == "block1_conv1/kernel":
        value = value[:, :, ::-1]
        how = "copied, channels from BGR to RGB"
    return value, how, found


def _places_in_keras(name: str, number: int) -> list[str]:
    """Where Keras may have saved an array such as "fc6/kernel" of the layer of this number of its kind."""
    layer, _, array = name.partition("/")
    published = HEAD.get(layer, layer)
    letter = "b" if array == "bias" else "W"
    kind = "dense" if layer in HEAD else "conv2d"
    group = f"{kind}_{number}" if number else kind
    places = [f"layers/{group}/vars/{int(array == 'bias')}"]  # .weights.h5; the rest are .h5, the last as published
    for root in ("", "model_weights/"):
        for known in (layer, published):
            places += [f"{root}{known}/{known}/{array}", f"{root}{known}/{known}_{letter}_1:0"]
    return places


def _head_array(stored: h5py.Dataset, layer: str, shape: tuple[int, ...]) -> Array | None:
    """An array of the head in the shape of the network's; None if it does not fit.

    A dense kernel becomes that of a convolution. Where the network is smaller, evenly spaced cells of the window and
    evenly spaced units are taken, the first and the last among them, as DeepLab (Chen et al. 2015) does; of a window
    that becomes 1x1 the center.
    """
    array = stored[()]
    if array.ndim == 2 and len(shape) == 4:
        window = math.isqrt(array.shape[0] // shape[2]) if layer == "fc6" else 1
        if layer == "fc6" and window**2 * shape[2] != array.shape[0]:
            return None
        array = dense_kernel_to_conv(array, (window, window))
    fits = array.ndim == len(shape) and all(have >= need for have, need in zip(array.shape, shape, strict=True))
    if not fits or (layer == "fc6" and array.ndim == 4 and array.shape[2] != shape[2]):
        return None
    for axis, (have, need) in enumerate(zip(array.shape, shape, strict=True)):
        places = np.linspace(0, have - 1, need).round().astype(int) if need > 1 else [(have - 1) // 2]
        array = np.take(array, places, axis=axis)
    return array


def _setting_that_fits(layer: str, shape: tuple[int, ...]) -> str:
    """What to set so that a layer is as in the file, where it has the shape; () where it is missing."""
    if layer.endswith("_norm"):
        return "set model.batch_norm: false"
    if layer.removesuffix("_norm") in HEAD:
        return f"lower model.head_window and model.head_units to what {shape} holds"
    if not shape:
        return "set model.encoder, and model.batch_norm, to those of the weights"
    return f"set model.width so that {layer} has {shape[-1]} channels"
