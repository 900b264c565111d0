"""Weights are loaded all or not at all."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from conftest import file_size_limit

from fcn.config.settings import ModelConfig
from fcn.errors import UserError
from fcn.model.fcn import build_fcn
from fcn.model.weights import load_weights, save_weights

SMALL = {"encoder": "vgg11", "width": 1 / 32, "head_units": 4}


def test_full_disk_keeps_the_weights_that_were_there(tmp_path: Path) -> None:
    model = build_fcn(ModelConfig(**SMALL), 2)
    path = tmp_path / "a.weights.h5"
    save_weights(model, path)
    before = path.read_bytes()
    with (
        file_size_limit(len(before) // 2),
        pytest.raises(OSError, match="File too large"),  # and no end of the process by HDF5
    ):
        save_weights(model, path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_saved_weights_load_save_to_the_same_bytes_and_fit_no_other_network(tmp_path: Path) -> None:
    one, other = (build_fcn(ModelConfig(**SMALL), 2) for _ in range(2))
    one.set_weights([np.random.default_rng(0).random(weight.shape) for weight in one.get_weights()])
    save_weights(one, tmp_path / "a.weights.h5")
    load_weights(other, tmp_path / "a.weights.h5")
    assert any("moving_variance" in weight.path for weight in other.weights)
    for weight, expected in zip(other.get_weights(), one.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, expected)
    save_weights(other, tmp_path / "b.weights.h5")
    assert (tmp_path / "a.weights.h5").read_bytes() == (tmp_path / "b.weights.h5").read_bytes()
    expected = r"upscore/kernel is missing in the file and float32 \(64, 64, 2, 2\) in the network"
    with pytest.raises(UserError, match=expected):  # the next test shows that nothing is loaded
        load_weights(build_fcn(ModelConfig(**SMALL, stride=32), 2), tmp_path / "a.weights.h5")


Change = Callable[[h5py.File], None]

KERNEL = "fc6/kernel"
SHAPE = (3, 3, 16, 4)
ZEROS = np.zeros(SHAPE, np.float32)
ONE_NAN = ZEROS.copy()
ONE_NAN[2, 1, 0, 3] = np.nan
BOMB = (*SHAPE[:3], 2**18)  # 151 MB of zeros, deflated to less than one
ALLOCATED = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
ALLOCATED.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
ROOT = object()
TRAP = "trap"  # a pipe next to the files: opening it blocks forever


def put(name: str, what: object) -> Change:
    """Something else under a name; ROOT stands for the root group of the file."""

    def change(file: h5py.File) -> None:
        if name in file:
            del file[name]
        file[name] = file["/"] if what is ROOT else what

    return change


def array(**options: object) -> Change:
    """The kernel, stored in another way."""

    def change(file: h5py.File) -> None:
        del file[KERNEL]
        file.create_dataset(KERNEL, **{"shape": SHAPE, "dtype": "f4", **options})

    return change


def virtual(file: h5py.File) -> None:
    """The kernel is taken from another file, at whatever length it has there."""
    endless = {"dtype": "f4", "maxshape": (*SHAPE[:3], None)}
    everything = (..., slice(0, h5py.h5s.UNLIMITED))
    layout = h5py.VirtualLayout(SHAPE, **endless)
    layout[everything] = h5py.VirtualSource(TRAP, KERNEL, SHAPE, **endless)[everything]
    del file[KERNEL]
    file.create_virtual_dataset(KERNEL, layout)


def with_attribute(file: h5py.File) -> None:
    array(data=ZEROS)(file)
    file[KERNEL].attrs["a"] = np.zeros(2**23)


def many_links(file: h5py.File) -> None:
    for i in range(20_000):
        file.id.links.create_hard(b"fc6/%d" % i, file.id, KERNEL.encode())


HOSTILE: dict[str, tuple[Change, str]] = {
    "link": (put(KERNEL, h5py.SoftLink("/fc7/kernel")), "fc6/kernel is a link in the file and float32 (3, 3, 16, 4)"),
    "link to a file": (put(KERNEL, h5py.ExternalLink(TRAP, KERNEL)), "fc6/kernel is a link"),
    "layer in a file": (put("fc6", h5py.ExternalLink(TRAP, "fc6")), "fc6/kernel is a link"),
    "extra link to a file": (put("fc9", h5py.ExternalLink(TRAP, "fc9")), "'fc9' is in the file and missing"),
    "many links": (many_links, "is in the file and missing in the network"),
    "lines in a name": (put("a\nb" + 9999 * "c", 1.0), r"'a\nbccc"),
    "cycle": (put("fc6/up", ROOT), "'fc6/up' is in the file and missing in the network"),
    "cycle for an array": (put(KERNEL, ROOT), "fc6/kernel is not a plain array"),
    "type for an array": (put(KERNEL, np.dtype("f4")), "fc6/kernel is not a plain array"),
    "array for a layer": (put("fc6", ZEROS), "fc6/kernel is missing"),
    "attribute": (with_attribute, "fc6/kernel is not a plain array"),
    "virtual": (virtual, "fc6/kernel is not a plain array"),
    "numbers in a file": (array(external=[(TRAP, 0, ZEROS.nbytes)]), "fc6/kernel is not a plain array"),
    "bomb": (array(data=ZEROS, maxshape=BOMB, chunks=BOMB, compression=1), "fc6/kernel is not a plain array"),
    "never written": (array(), "fc6/kernel is not a plain array"),
    "terabytes": (array(shape=2**40), "fc6/kernel is not a plain array"),
    "megabytes": (array(shape=2**26, dcpl=ALLOCATED, fill_time="never"), "fc6/kernel is float32 (67108864,)"),
    "texts": (array(data=np.full(SHAPE, "a", object), dtype=h5py.string_dtype()), "fc6/kernel is of another type"),
    "references": (array(data=np.full(SHAPE, h5py.Reference()), dtype=h5py.ref_dtype), "fc6/kernel is of another type"),
    "compound": (array(data=np.zeros(SHAPE, "f4,f4"), dtype="f4,f4"), "fc6/kernel is of another type"),
    "float64": (array(data=ZEROS, dtype="f8"), "fc6/kernel is of another type"),
    "big-endian": (array(data=ZEROS, dtype=">f4"), "fc6/kernel is of another type"),
    "NaN": (array(data=ONE_NAN), "fc6/kernel holds NaN or infinity; weights must be finite; use weights of"),
    "infinity": (array(data=ZEROS - np.inf), "fc6/kernel holds NaN or infinity"),
    "shape": (array(data=ZEROS.T, shape=SHAPE[::-1]), "fc6/kernel is float32 (4, 16, 3, 3) in the file"),
}

LOAD_ALL = """
import json, resource, sys
from pathlib import Path
from types import SimpleNamespace
from fcn.errors import UserError
from fcn.model.weights import load_weights

weights = [SimpleNamespace(path=path, shape=shape, dtype="float32") for path, shape in json.loads(sys.argv[1])]
model = SimpleNamespace(weights=weights, set_weights=lambda values: print("loaded"))
limit = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() + 2**26
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
for path in sys.argv[2:]:
    try:
        load_weights(model, Path(path))
    except UserError as error:
        print(error)
"""


class Touch:
    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, ("touched",)


def test_hostile_files_are_refused_in_a_line_without_code_memory_or_another_file(tmp_path: Path) -> None:
    model = build_fcn(ModelConfig(**SMALL), 2)
    save_weights(model, tmp_path / "honest")
    os.mkfifo(tmp_path / TRAP)
    for name, (change, _) in HOSTILE.items():
        shutil.copy(tmp_path / "honest", tmp_path / name)
        with h5py.File(tmp_path / name, "r+", libver="latest") as file:  # else attributes end at 64 KB
            change(file)
    honest = (tmp_path / "honest").read_bytes()
    unreadable = {"pickle": pickle.dumps(Touch()), "zip": b"PK\3\4", "cut off": honest[:-1], "empty": b""}
    for name, data in unreadable.items():
        (tmp_path / name).write_bytes(data)
    expected = {name: text for name, (_, text) in HOSTILE.items()}
    expected |= dict.fromkeys(unreadable, "cannot be read as weights")
    weights = json.dumps([(weight.path, list(weight.shape)) for weight in model.weights])
    command = [sys.executable, "-c", LOAD_ALL, weights, "honest", *expected]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    first, *lines = done.stdout.splitlines()
    assert first == "loaded"  # and none of the others, which would be a line too many
    for (name, text), line in zip(expected.items(), lines, strict=True):
        assert line.startswith(f"{name}: ")
        assert text in line
        assert len(line) < 300
    assert not (tmp_path / "touched").exists()
