"""The predictor: probabilities at the image's size; weights of another network are refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from fcn.datasets.dataset import BACKGROUND_AND_ROAD, Dataset
from fcn.errors import UserError
from fcn.inference.predictor import load_predictor
from fcn.inference.sources import sources_of_frames, sources_of_inputs

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


def test_inputs_are_files_folders_and_patterns(tmp_path: Path) -> None:
    for name in ("a/1.png", "a/2.JPG", "b/3.png", "a/notes.txt"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    inputs = [str(tmp_path / "b/3.png"), str(tmp_path / "a"), str(tmp_path / "*/1.png"), str(tmp_path / "b/../b/3.png")]
    sources, missing = sources_of_inputs(inputs, tmp_path / "out")
    assert [source.stem for source in sources] == ["3", "1", "2"]
    assert missing == []
    sources, missing = sources_of_inputs([*inputs, str(tmp_path / "no*.png")], tmp_path / "out")
    assert (len(sources), len(missing)) == (3, 1)
    for absent in ("nowhere", "no*pe.png", "a/notes.txt/x"):
        with pytest.raises(UserError, match="no such file; name an image"):
            sources_of_inputs([str(tmp_path / absent)], tmp_path / "out")


def test_frames_without_input_are_spread_over_the_split() -> None:
    dataset = Dataset("val", BACKGROUND_AND_ROAD, tuple("abcdefghijk"), lambda index: (index, None))
    assert [source.stem for source in sources_of_frames(dataset, 3)] == ["a", "f", "k"]
    assert [source.stem for source in sources_of_frames(dataset, 99)] == list("abcdefghijk")
    assert sources_of_frames(dataset, 3)[1].read() == 5
