"""The predictor: probabilities at the image's size, in bounded memory, of any kind of image; weights that fit."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import make_run
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.Image import Resampling

from fcn.config.settings import Config, DataConfig, ModelConfig
from fcn.datasets import open_split
from fcn.datasets.dataset import BACKGROUND_AND_ROAD
from fcn.errors import UserError
from fcn.evaluation.evaluate import evaluate
from fcn.images import write_image
from fcn.inference.keras_network import KerasNetwork
from fcn.inference.predictor import Predictor, load_predictor
from fcn.model.fcn import build_fcn
from fcn.model.weights import save_weights
from fcn.runs.trained import write_record


def random_image(height: int, width: int) -> np.ndarray:
    return np.random.default_rng((height, width)).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    """Of a small network with random weights, also where they begin as zeros."""
    model = build_fcn(ModelConfig(encoder="vgg11", width=1 / 32, head_units=8, batch_norm=False), 2)
    random = np.random.default_rng(1)
    for weight in model.trainable_variables:
        weight.assign(random.normal(0, 0.3, weight.shape))
    return Predictor(KerasNetwork(model), BACKGROUND_AND_ROAD)


@settings(max_examples=15)
@given(st.integers(1, 70), st.integers(1, 70))
@example(1, 100_000)
def test_every_height_and_width_gets_its_labels(predictor: Predictor, height: int, width: int) -> None:
    image = random_image(height, width)
    probabilities = predictor.probabilities(image)
    assert (probabilities.shape, probabilities.dtype) == ((height, width, 2), np.float32)
    np.testing.assert_allclose(probabilities.sum(-1), 1, atol=1e-5)
    labels = predictor.labels(image)
    assert (labels.shape, labels.dtype) == ((height, width), np.uint8)
    np.testing.assert_array_equal(labels, probabilities.argmax(-1))
    for index in (0, 1):
        same_labels, confidence = predictor.labels_and_confidence(image, index)
        assert same_labels.dtype == confidence.dtype == np.uint8
        np.testing.assert_array_equal(same_labels, labels)
        np.testing.assert_array_equal(confidence, np.rint(255 * probabilities[..., index]))
    same_labels, confidence = predictor.labels_and_confidence(image)
    np.testing.assert_array_equal(same_labels, labels)
    np.testing.assert_array_equal(confidence, np.rint(255 * probabilities.max(-1)))


@pytest.mark.parametrize("size", [(520, 430), (1, 2000), (2000, 1)])
def test_large_images_go_by_tiles_which_change_nothing(
    predictor: Predictor, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    image = random_image(*size)
    probabilities = predictor.probabilities(image)
    tiled = replace(predictor, tile_pixels=2**14)
    run, tiles = predictor.network.run, []
    monkeypatch.setattr(
        predictor.network, "run", lambda tile, *outputs: tiles.append(tile[..., 0].size) or run(tile, *outputs)
    )
    np.testing.assert_allclose(tiled.probabilities(image), probabilities, atol=1e-5)
    sure = np.abs(probabilities[..., 0] - 0.5) > 1e-5
    assert sure.mean() > 0.9
    labels, confidence = tiled.labels_and_confidence(image, 1)
    np.testing.assert_array_equal(labels[sure], probabilities.argmax(-1)[sure])
    np.testing.assert_array_equal(labels, tiled.labels(image))
    np.testing.assert_allclose(confidence, 255 * probabilities[..., 1], atol=0.51)
    assert max(tiles) < 0.6 * sure.size  # so never the logits of the whole image


def test_flip_averages_the_image_and_its_mirror_image(predictor: Predictor) -> None:
    image = random_image(40, 70)
    flipping = replace(predictor, tta=("flip",))
    expected = (predictor.probabilities(image) + predictor.probabilities(image[:, ::-1])[:, ::-1]) / 2
    assert np.abs(expected - predictor.probabilities(image)).max() > 0.1
    np.testing.assert_allclose(flipping.probabilities(image), expected, atol=1e-6)
    labels, confidence = flipping.labels_and_confidence(image, 1)
    for same in (labels, flipping.labels(image)):
        np.testing.assert_array_equal(same, expected.argmax(-1))
    np.testing.assert_allclose(confidence, 255 * expected[..., 1], atol=0.51)


def test_scales_average_three_sizes_of_the_image_and_flip_doubles_them(predictor: Predictor) -> None:
    image = random_image(40, 72)

    def at(pixels: np.ndarray, factor: float) -> np.ndarray:
        small = Image.fromarray(pixels).resize((round(72 * factor), round(40 * factor)), Resampling.BILINEAR)
        road = Image.fromarray(predictor.probabilities(small)[..., 1])
        return np.asarray(road.resize((72, 40), Resampling.BILINEAR))

    expected = sum(at(image, factor) for factor in (0.75, 1, 1.25)) / 3
    scaled = replace(predictor, tta=("scales",))
    np.testing.assert_allclose(scaled.probabilities(image)[..., 1], expected, atol=1e-5)
    both = replace(predictor, tta=("flip", "scales"))
    mirrored = sum(at(image[:, ::-1], factor) for factor in (0.75, 1, 1.25))[:, ::-1] / 3
    np.testing.assert_allclose(both.probabilities(image)[..., 1], (expected + mirrored) / 2, atol=1e-5)


def test_a_path_a_pil_image_and_an_array_of_it_are_the_same_image(predictor: Predictor, tmp_path: Path) -> None:
    image = random_image(9, 13)
    write_image(tmp_path / "a.png", image)
    alpha = np.dstack([image, image[..., 0]])
    for same in (tmp_path / "a.png", str(tmp_path / "a.png"), Image.fromarray(image), Image.fromarray(alpha)):
        np.testing.assert_array_equal(predictor.probabilities(same), predictor.probabilities(image))


@pytest.mark.parametrize(
    ("image", "got"),
    [
        *((np.zeros(shape, np.uint8), f"uint8 {shape}") for shape in ((4, 5), (1, 4, 5, 3), (0, 5, 3))),
        *((Image.new(mode, (5, 4)), got) for mode, got in (("I;16", "uint16"), ("I", "int32"), ("F", "float32"))),
        (np.zeros((4, 5, 3)), "float64 (4, 5, 3)"),
        ([[[0, 0, 0]]], "list"),
    ],
)
def test_what_is_not_an_image_is_refused_in_a_line(predictor: Predictor, image: object, got: str) -> None:
    with pytest.raises(UserError, match=rf"^image: got {re.escape(got)}.*; the network takes 8-bit RGB; pass a .*$"):
        predictor.labels(image)


@pytest.mark.parametrize(
    ("frame_height", "max_height", "height", "expected"),
    [
        *((20, "auto", 30, 30), (20, "auto", 31, 20)),  # up to 1.5 times as high as the training frames
        (None, "auto", 999, 999),  # a run of version 0.1
        *((20, None, 999, 999), (20, 40, 40, 40), (20, 40, 41, 40), (None, 10, 31, 10)),
    ],
)
def test_high_images_are_segmented_at_the_height_of_the_training_frames(
    predictor: Predictor, frame_height: int | None, max_height: int | None, height: int, expected: int
) -> None:
    limited = replace(predictor, frame_height=frame_height, max_height=max_height)
    assert limited.network_height(height) == expected


def test_results_of_a_resized_image_have_its_own_size(predictor: Predictor) -> None:
    limited = replace(predictor, frame_height=32)
    image = random_image(64, 50)
    small = np.asarray(Image.fromarray(image).resize((25, 32), Resampling.BILINEAR))
    small_labels, small_confidence = predictor.labels_and_confidence(small, 1)
    labels, confidence = limited.labels_and_confidence(image, 1)
    np.testing.assert_array_equal(labels, small_labels.repeat(2, axis=0).repeat(2, axis=1))
    np.testing.assert_array_equal(limited.labels(image), labels)
    expected = Image.fromarray(small_confidence).resize((50, 64), Resampling.BILINEAR)
    np.testing.assert_array_equal(confidence, expected)
    probabilities = limited.probabilities(image)
    assert (probabilities.shape, probabilities.dtype) == ((64, 50, 2), np.float32)
    np.testing.assert_allclose(probabilities.sum(-1), 1, atol=1e-5)
    np.testing.assert_allclose(255 * probabilities[..., 1], confidence, atol=2)  # Pillow rounds bytes twice
    assert limited.labels(random_image(1000, 1)).shape == (1000, 1)  # one pixel wide at least


def test_run_of_a_folder_is_scored_with_the_classes_of_its_config(tmp_path: Path) -> None:
    for folder, values in (("images", random_image(33, 40)), ("masks", np.full((33, 40), 7, np.uint8))):
        (tmp_path / folder).mkdir()
        for name in "ab":
            write_image(tmp_path / folder / f"{name}.png", values)
    classes = {"class_names": ("sea", "ice"), "class_colors": ((1, 2, 3), (4, 5, 6)), "mask_values": (7, 9)}
    config = Config(
        data=DataConfig(kind="folder", root=str(tmp_path), labels="all", **classes),
        model=ModelConfig(encoder="vgg11", width=1 / 32, head_units=4),
    )
    folder = make_run(tmp_path / "run", config)
    save_weights(build_fcn(config.model, 2), folder.best_weights)
    write_record(folder.best_record, folder.best_weights, {"step": 0, "frame_height": 30})

    predictor = load_predictor(tmp_path / "run")
    assert predictor.network_height(46) == 30
    assert load_predictor(tmp_path / "run", max_height=None).network_height(46) == 46
    with pytest.raises(UserError, match=r"best\.weights\.h5: holds weights of another network"):
        load_predictor(tmp_path / "run", replace(config, model=replace(config.model, head_units=8)))
    assert [(one.name, one.color) for one in predictor.classes] == [("sea", (1, 2, 3)), ("ice", (4, 5, 6))]
    scores = evaluate(open_split(folder.load_config().data, "val"), predictor.labels)
    assert scores["iou"] == {"sea": 1.0, "ice": None}  # the scorers begin as zeros: the first class everywhere
