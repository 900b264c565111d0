"""Weights on disk: an HDF5 file of arrays under the names of their variables, loaded all or not at all.

Keras' own loader warns of arrays that a file lacks, and continues.
"""

from __future__ import annotations

import io
import os
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import h5py  # comes with TensorFlow and Keras
import numpy as np

from fcn.errors import UserError
from fcn.files import write_file

if TYPE_CHECKING:  # so that a file can be checked without TensorFlow
    import keras


def save_weights(model: keras.Model, path: Path) -> None:
    """Writes weights and statistics, each under `layer/name`; equal weights give equal bytes. Raises OSError."""
    # in memory first, because HDF5 ends the process when the disk is full; track_order=True would store the time
    with h5py.File("weights", "w", driver="core", backing_store=False) as file:
        for weight in model.weights:
            file.create_dataset(weight.path, data=weight.numpy())
        file.flush()
        data = file.id.get_file_image()
    write_file(path, data)


def load_weights(model: keras.Model, path: Path, content: bytes | None = None) -> None:
    """Reads what `save_weights` wrote for a network of the same shape. The file need not be trusted.

    `content` is that of the file if it was read before.

    Until every name, type and shape is known to match the model, no number is read, no link is followed, no other file
    is opened, and no memory is taken because of sizes that the file declares. On a file that is not HDF5, other arrays
    than the model's, or values that are not finite: UserError, and the model is unchanged.
    """
    wanted = {weight.path: f"{weight.dtype} {tuple(weight.shape)}" for weight in model.weights}
    try:
        with h5py.File(path if content is None else io.BytesIO(content)) as file:
            difference = _first_difference(file, wanted)
            if difference:
                text = f"{path}: holds weights of another network: {difference}"
                raise UserError(f"{text}; use the config that they were trained with")
            values = [file[weight.path][()] for weight in model.weights]
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, OverflowError) as error:  # of HDF5
        raise UserError(f"{path}: cannot be read as weights: {error}; use a NAME.weights.h5 that fcn wrote") from error
    for name, value in zip(wanted, values, strict=True):
        if not np.isfinite(value).all():
            raise UserError(f"{path}: {name} holds NaN or infinity; weights must be finite; use weights of another run")
    model.set_weights(values)


def _first_difference(file: h5py.File, wanted: dict[str, str]) -> str | None:
    """The first array that differs from `wanted` (name -> dtype and shape), in words; what is extra is not opened."""
    for name, wanted_kind in wanted.items():
        kind = array_kind(file, name)
        if kind != wanted_kind:
            return f"{name} is {kind} in the file and {wanted_kind} in the network"
    known = {str(path) for name in wanted for path in (name, *PurePosixPath(name).parents)}
    # stops at the first unknown name; h5py's own iterators would list all names first
    extra = file.id.links.visit(lambda name: None if os.fsdecode(name) in known else name, order=h5py.h5.ITER_NATIVE)
    if extra is None:
        return None
    return f"{os.fsdecode(extra)[:80]!r} is in the file and missing in the network"


def array_kind(file: h5py.File, name: str) -> str:
    """Dtype and shape of what a file holds under a name, or why it is not a float32 array; reads metadata only."""
    item = file
    for part in name.split("/"):
        if not isinstance(item, h5py.Group) or not item.id.links.exists(part.encode()):
            return "missing"
        if item.id.links.get_info(part.encode()).type != h5py.h5l.TYPE_HARD:
            return "a link"
        item = item[part]
    # Only a plain block of numbers in this very file has an offset; chunks (which may inflate to any size) have none.
    # This comes before the shape, because asking for the shape of a virtual array makes HDF5 open its sources.
    if not isinstance(item, h5py.Dataset) or item.id.get_offset() is None or item.attrs:
        return "not a plain array"
    if item.id.get_type() != h5py.h5t.IEEE_F32LE:
        return "of another type"
    return f"float32 {item.shape}"
