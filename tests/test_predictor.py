"""The predictor: probabilities at the image's size; weights of another network are refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from fcn.errors import UserError
from fcn.inference.predictor import load_predictor

RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (33, 31), (64, 96)])
def test_probabilities_have_the_image_size_and_add_up_to_one(size: tuple[int, int], smoke_run: Path) -> None:
    predictor = load_predictor(smoke_run)
    image = RANDOM.integers(0, 256, (*size, 3), dtype=np.uint8)
    probabilities = predictor.probabilities(image)
    assert (probabilities.shape, probabilities.dtype) == ((*size, 2), np.float32)
    np.testing.assert_allclose(probabilities.sum(-1), 1, atol=1e-5)
    labels = predictor.labels(image)
    assert (labels.shape, labels.dtype) == (size, np.uint8)
    np.testing.assert_array_equal(labels, probabilities.argmax(-1))


def test_weights_of_another_network_are_refused(smoke_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(smoke_run, run)
    config = run / "config.yaml"
    config.write_text(config.read_text().replace("head_units: 64", "head_units: 32"))
    with pytest.raises(UserError, match=r"best.weights.h5: holds weights of another network"):
        load_predictor(run)
