"""Weights on disk: an HDF5 file of arrays under the names of their variables, numbers only.

Keras' own loader leaves out, with a warning, what a file does not hold. Here every name and shape is accounted for
before the first number is read, so a network has all of its weights or those that it had.
"""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import h5py  # comes with TensorFlow and Keras
import numpy as np

from fcn.errors import UserError
from fcn.files import write_file

if TYPE_CHECKING:  # so a file can be judged without TensorFlow
    import keras


def save_weights(model: keras.Model, path: Path) -> None:
    """Writes weights and batch-normalization statistics, each under its `layer/name`; same weights, same bytes.

    Raises:
        OSError: as `write_file` does.
    """
    # in memory: on a full disk HDF5 ends the process
    with h5py.File("weights", "w", driver="core", backing_store=False) as file:  # track_order=True would store the time
        for weight in model.weights:
            file.create_dataset(weight.path, data=weight.numpy())
        file.flush()
        data = file.id.get_file_image()
    write_file(path, data)


def load_weights(model: keras.Model, path: Path) -> None:
    """Reads what `save_weights` wrote for a network of the same shape. The file may be a stranger's.

    Until every name, type and shape is known to be the model's, no number is read, no link is followed, no other file
    is opened and no memory is taken by what the file declares.

    Raises:
        UserError: the file is no HDF5 file, or holds other arrays than the model's, or numbers that are not finite. The
            model is then unchanged.
    """
    try:
        with h5py.File(path) as file:
            wanted = {weight.path: f"{weight.dtype} {tuple(weight.shape)}" for weight in model.weights}
            if difference := _difference(file, wanted):
                what = f"holds weights of another network: {difference}"
                raise UserError(f"{path}: {what}; use the config that they were trained with")
            values = [file[weight.path][()] for weight in model.weights]
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:  # HDF5 raises any of them
        raise UserError(f"{path}: cannot be read as weights: {error}") from error
    for weight, value in zip(model.weights, values, strict=True):
        if not np.isfinite(value).all():
            raise UserError(f"{path}: {weight.path} has numbers that are not finite; use weights of another run")
    model.set_weights(values)


def _difference(file: h5py.File, wanted: dict[str, str]) -> str | None:
    """The first thing in the file that is not as wanted, in words. What is unwanted is not looked into."""
    for name, kind in wanted.items():
        if (stored := _stored(file, name)) != kind:
            return f"{name} is {stored} in the file and {kind} in the network"
    known = {*wanted, *(str(group) for name in wanted for group in PurePosixPath(name).parents)}
    # stops at the first unknown name; h5py's own iterators make a list of all names first
    extra = file.id.links.visit(lambda name: None if os.fsdecode(name) in known else name, order=h5py.h5.ITER_NATIVE)
    return extra and f"{os.fsdecode(extra)[:80]!r} is in the file and missing in the network"


def _stored(file: h5py.File, name: str) -> str:
    """What a file holds under a name, in words, told by its metadata alone."""
    item = file
    for part in name.split("/"):
        if not isinstance(item, h5py.Group) or not item.id.links.exists(part.encode()):
            return "missing"
        if item.id.links.get_info(part.encode()).type != h5py.h5l.TYPE_HARD:
            return "a link"
        item = item[part]
    # Only a block of numbers in this file has an offset: not chunks, which filters may blow up, nor what lies in other
    # files. It comes before the shape, for which HDF5 opens the sources of a virtual array.
    if not isinstance(item, h5py.Dataset) or item.id.get_offset() is None or item.attrs:
        return "no plain array"
    return f"float32 {item.shape}" if item.id.get_type() == h5py.h5t.IEEE_F32LE else "of another type"
