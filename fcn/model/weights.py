"""Weights on disk: an HDF5 file of arrays under the names of their variables, numbers only.

Keras' own loader leaves out, with a warning, what a file does not hold. Here every name and shape is accounted for
before the first number is read, so a network has all of its weights or those that it had.
"""

from __future__ import annotations

from pathlib import Path

import h5py  # comes with TensorFlow and Keras
import keras

from fcn.errors import RunStoppedError, UserError


def save_weights(model: keras.Model, path: Path) -> None:
    """Writes weights and batch-normalisation statistics, each under its `layer/name`; same weights, same bytes.

    Raises:
        RunStoppedError: the disk does not take them.
    """
    try:
        with h5py.File(path, "w") as file:  # track_order=True would store the time
            for weight in model.weights:
                file.create_dataset(weight.path, data=weight.numpy())
    except (OSError, RuntimeError) as error:  # HDF5 raises either
        raise RunStoppedError(f"{path}: cannot be written: {error}; free some space and resume") from error


def load_weights(model: keras.Model, path: Path) -> None:
    """Reads what `save_weights` wrote for a network of the same shape.

    Raises:
        UserError: the file is no HDF5 file, or its names or shapes are not those of the model, which is then unchanged.
    """
    try:
        with h5py.File(path) as file:
            stored: dict[str, h5py.Dataset] = {}
            file.visititems(lambda name, item: stored.update({name: item}) if isinstance(item, h5py.Dataset) else None)
            _compare({name: item.shape for name, item in stored.items()}, model, path)
            values = [stored[weight.path][()] for weight in model.weights]
    except OSError as error:
        raise UserError(f"{path}: cannot be read as weights: {error}") from error
    model.set_weights(values)


def _compare(stored: dict[str, tuple[int, ...]], model: keras.Model, path: Path) -> None:
    wanted = {weight.path: tuple(weight.shape) for weight in model.weights}
    for name in [*wanted, *stored]:
        if stored.get(name) != wanted.get(name):
            raise UserError(
                f"{path}: holds weights of another network: {name} is {stored.get(name, 'missing')} in the file and "
                f"{wanted.get(name, 'missing')} in the network; use the config that they were trained with"
            )
