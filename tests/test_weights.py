"""Weights are loaded all or not at all."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from fcn.config import ModelConfig
from fcn.errors import UserError
from fcn.model.fcn import build_fcn
from fcn.model.weights import load_weights, save_weights

SMALL = {"encoder": "vgg11", "width": 1 / 32, "head_units": 4}


def test_loaded_weights_are_those_saved_statistics_included(tmp_path: Path) -> None:
    one, other = (build_fcn(ModelConfig(**SMALL), 2) for _ in range(2))
    one.set_weights([np.random.default_rng(0).random(weight.shape) for weight in one.get_weights()])
    save_weights(one, tmp_path / "a.weights.h5")
    load_weights(other, tmp_path / "a.weights.h5")
    assert any("moving_variance" in weight.path for weight in other.weights)
    for weight, expected in zip(other.get_weights(), one.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, expected)


def test_same_weights_are_the_same_bytes(tmp_path: Path) -> None:
    model = build_fcn(ModelConfig(**SMALL), 2)
    for name in ("a.weights.h5", "b.weights.h5"):
        save_weights(model, tmp_path / name)
    assert (tmp_path / "a.weights.h5").read_bytes() == (tmp_path / "b.weights.h5").read_bytes()


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"head_units": 5}, r"fc6/kernel is \(3, 3, 16, 4\) in the file and \(3, 3, 16, 5\) in the network"),
        ({"encoder": "vgg13"}, r"block1_conv2/kernel is missing in the file"),
        ({"stride": 32}, r"upscore/kernel is missing in the file and \(64, 64, 2, 2\) in the network"),
    ],
)
def test_weights_of_another_network_are_refused_and_nothing_changes(
    changed: dict[str, object], expected: str, tmp_path: Path
) -> None:
    save_weights(build_fcn(ModelConfig(**SMALL), 2), tmp_path / "a.weights.h5")
    model = build_fcn(ModelConfig(**{**SMALL, **changed}), 2)
    before = model.get_weights()
    with pytest.raises(UserError, match=expected):
        load_weights(model, tmp_path / "a.weights.h5")
    for weight, value in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, value)


def test_files_that_hold_no_weights_are_named(tmp_path: Path) -> None:
    model = build_fcn(ModelConfig(**SMALL), 2)
    path = tmp_path / "a.weights.h5"
    for content in (b"", b"no HDF5"):
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"a.weights.h5: cannot be read as weights"):
            load_weights(model, path)
    with h5py.File(path, "w") as file:
        file["score_fr"] = 1.0
    with pytest.raises(UserError, match="holds weights of another network"):
        load_weights(model, path)
