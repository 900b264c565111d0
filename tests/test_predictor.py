"""The predictor: probabilities at the image's size; weights of another network are refused."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
from conftest import make_run
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fcn.config.settings import Config, DataConfig, ModelConfig
from fcn.datasets import open_split
from fcn.datasets.dataset import BACKGROUND_AND_ROAD
from fcn.errors import UserError
from fcn.evaluation.evaluate import evaluate
from fcn.images import SegmentationClass, read_image
from fcn.inference.predictor import FlipPredictor, Predictor, load_predictor
from fcn.inference.segment import infer
from fcn.inference.sources import sources_of_frames
from fcn.model.fcn import build_fcn
from fcn.model.weights import save_weights
from fcn.runs.trained import write_record

RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (50, 1), (33, 31), (64, 96), (1, 100_000)])
def test_probabilities_have_the_image_size_and_add_up_to_one(size: tuple[int, int], smoke_run: Path) -> None:
    predictor = load_predictor(smoke_run)
    image = RANDOM.integers(0, 256, (*size, 3), dtype=np.uint8)
    probabilities = predictor.probabilities(image)
    assert (probabilities.shape, probabilities.dtype) == ((*size, 2), np.float32)
    np.testing.assert_allclose(probabilities.sum(-1), 1, atol=1e-5)
    labels = predictor.labels(image)
    assert (labels.shape, labels.dtype) == (size, np.uint8)
    np.testing.assert_array_equal(labels, probabilities.argmax(-1))


@pytest.mark.parametrize("size", [(430, 350), (1, 2000), (2000, 1)])
def test_large_images_go_by_tiles_which_change_nothing(size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    model = build_fcn(ModelConfig(encoder="vgg11", width=1 / 32, head_units=4, head_window=1), 2)
    for weight in model.weights:
        if weight.path.startswith("score"):  # zero as they are built
            weight.assign(RANDOM.normal(size=weight.shape))
    image = RANDOM.integers(0, 256, (*size, 3), dtype=np.uint8)
    whole = Predictor(model, BACKGROUND_AND_ROAD)
    tiled = Predictor(model, BACKGROUND_AND_ROAD, tile_pixels=2**14)
    logits, tiles = tiled._logits, []
    monkeypatch.setattr(tiled, "_logits", lambda tile: tiles.append(tile[..., 0].size) or logits(tile))
    probabilities = whole.probabilities(image)
    np.testing.assert_allclose(tiled.probabilities(image), probabilities, atol=1e-5)
    sure = np.abs(probabilities[..., 0] - 0.5) > 1e-5
    np.testing.assert_array_equal(tiled.labels(image)[sure], probabilities.argmax(-1)[sure])
    assert sure.mean() > 0.9
    both = tiled.labels_and_confidence(image, 1)
    np.testing.assert_array_equal(both[..., 0], tiled.labels(image))
    np.testing.assert_allclose(both[..., 1], 255 * probabilities[..., 1], atol=0.51)
    assert max(tiles) < 0.6 * sure.size  # so never the logits of the whole image


@pytest.fixture(scope="module")
def random_predictor() -> Predictor:
    """Of a small network with random weights, also where they begin as zeros."""
    model = build_fcn(ModelConfig(encoder="vgg11", width=1 / 32, head_units=8, batch_norm=False), 2)
    random = np.random.default_rng(1)
    for weight in model.trainable_variables:
        weight.assign(random.normal(0, 0.3, weight.shape))
    return Predictor(model, BACKGROUND_AND_ROAD)


@settings(max_examples=15)
@given(st.integers(1, 70), st.integers(1, 70))
def test_every_height_and_width_gets_its_labels(random_predictor: Predictor, height: int, width: int) -> None:
    image = np.random.default_rng((height, width)).integers(0, 256, (height, width, 3), dtype=np.uint8)
    probabilities, labels = random_predictor.probabilities(image), random_predictor.labels(image)
    assert probabilities.shape == (height, width, 2)
    np.testing.assert_allclose(probabilities.sum(-1), 1, atol=1e-5)
    np.testing.assert_array_equal(labels, probabilities.argmax(-1))
    for index in (0, 1):
        both = random_predictor.labels_and_confidence(image, index)
        assert both.dtype == np.uint8
        np.testing.assert_array_equal(both[..., 0], labels)
        np.testing.assert_array_equal(both[..., 1], np.rint(255 * probabilities[..., index]))


def test_run_of_a_folder_is_scored_and_infers_with_the_classes_of_its_config(tmp_path: Path) -> None:
    for folder, values in (("images", RANDOM.integers(0, 256, (33, 40, 3))), ("masks", np.full((33, 40), 7))):
        (tmp_path / folder).mkdir()
        for name in "ab":
            Image.fromarray(values.astype(np.uint8)).save(tmp_path / folder / f"{name}.png")
    classes = {"class_names": ("sea", "ice"), "class_colors": ((1, 2, 3), (4, 5, 6)), "mask_values": (7, 9)}
    config = Config(
        data=DataConfig(kind="folder", root=str(tmp_path), labels="all", **classes),
        model=ModelConfig(encoder="vgg11", width=1 / 32, head_units=4),
    )
    folder = make_run(tmp_path / "run", config)
    save_weights(build_fcn(config.model, 2), folder.best_weights)
    write_record(folder.best_record, folder.best_weights, {"step": 0})

    predictor = load_predictor(tmp_path / "run")
    scores = evaluate(open_split(folder.load_config().data, "val"), predictor.labels)
    assert scores["iou"] == {"sea": 1.0, "ice": None}  # the scorers begin as zeros: the first class everywhere
    infer(predictor, sources_of_frames(open_split(folder.load_config().data, "val"), 1), tmp_path / "out")
    (mask,) = (tmp_path / "out").glob("*_mask.png")
    assert (read_image(mask) == (1, 2, 3)).all()


def test_weights_of_another_network_are_refused(smoke_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(smoke_run, run)
    config = run / "config.yaml"
    config.write_text(config.read_text().replace("head_units: 64", "head_units: 32"))
    with pytest.raises(UserError, match=r"best.weights.h5: holds weights of another network"):
        load_predictor(run)


@pytest.mark.parametrize("stride", [32, 2])
@pytest.mark.parametrize(("width", "classes"), [(1 / 4, 2), (1 / 32, 11)])  # the encoder's are most, then the decoder's
def test_gigaflops_are_those_of_the_products_and_little_more(stride: int, width: float, classes: int) -> None:
    config = ModelConfig(encoder="vgg11", width=width, head_units=64, stride=stride, batch_norm=False)
    model = build_fcn(config, classes)
    names = [SegmentationClass(str(number), (number, 0, 0)) for number in range(classes)]
    kernels = [layer for layer in model.layers if hasattr(layer, "kernel")]
    inputs = keras.Model(model.input, [layer.input for layer in kernels])(np.zeros((1, 96, 160, 3), np.uint8))
    # each cell of a map meets the whole kernel, of a convolution and of a transposed one
    products = sum(
        cells.shape[1] * cells.shape[2] * math.prod(layer.kernel.shape)
        for cells, layer in zip(inputs, kernels, strict=True)
    )
    operations = Predictor(model, names).gigaflops(96, 160)
    assert 1 < operations * 1e9 / (2 * products) < 1.05
    assert FlipPredictor(model, names).gigaflops(96, 160) == 2 * operations
