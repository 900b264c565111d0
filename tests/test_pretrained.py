"""Weights to start from: a classifier of Keras becomes the same function, and every array is accounted for."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import Script
from keras import layers

from fcn.config.settings import Config, ModelConfig
from fcn.datasets.dataset import BACKGROUND_AND_ROAD
from fcn.errors import ConfigError, UserError
from fcn.inference.predictor import load_predictor
from fcn.model.architecture import CHANNELS, CONVOLUTIONS
from fcn.model.fcn import build_fcn
from fcn.model.pretrained import origin_table, set_initial_weights
from fcn.model.weights import save_weights
from fcn.runs.trained import SHIPPED, InitialWeights, find_initial_weights
from fcn.training import loop

# of Keras itself, where it saves
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword")

WIDTH = 1 / 32
OF_KERAS = {"encoder": "vgg11", "width": WIDTH, "batch_norm": False, "preprocessing": "imagenet", "dropout": 0.0}
WHOLE = ModelConfig(**OF_KERAS, head_window=7, head_units=24, stride=32)
RANDOM = np.random.default_rng(0)


def keras_vgg(with_top: bool = True, encoder: str = "vgg11") -> keras.Model:
    """A slim VGG with the layers and names of `keras.applications`, random weights and biases."""
    x = image = keras.Input((224, 224, 3))
    for block, (repeats, channels) in enumerate(zip(CONVOLUTIONS[encoder], CHANNELS, strict=True), start=1):
        for number in range(1, repeats + 1):
            name = f"block{block}_conv{number}"
            x = layers.Conv2D(round(WIDTH * channels), 3, padding="same", activation="relu", name=name)(x)
        x = layers.MaxPooling2D(2, name=f"block{block}_pool")(x)
    if with_top:
        x = layers.Flatten(name="flatten")(x)
        for name in ("fc1", "fc2"):
            x = layers.Dense(24, activation="relu", name=name)(x)
        x = layers.Dense(5, name="predictions")(x)
    model = keras.Model(image, x)
    model.set_weights([RANDOM.normal(0, math.prod(one.shape[:-1]) ** -0.5, one.shape) for one in model.weights])
    return model


def numbered(model: keras.Model, path: Path) -> None:
    model.save_weights(path.with_suffix(".weights.h5"))
    path.with_suffix(".weights.h5").rename(path)


def published(model: keras.Model, path: Path) -> None:
    """As the files of keras.applications: LAYER/LAYER_W_1:0."""
    with h5py.File(path, "w") as file:
        for layer in model.layers:
            for letter, value in zip("Wb", layer.get_weights(), strict=False):
                file[f"{layer.name}/{layer.name}_{letter}_1:0"] = value


@pytest.mark.parametrize("save", [numbered, published])
def test_network_from_a_classifier_of_keras_is_the_same_function(
    save: Callable[[keras.Model, Path], None], tmp_path: Path
) -> None:
    classifier = keras_vgg()
    save(classifier, tmp_path / "a.h5")
    network = build_fcn(WHOLE, 2)
    origins = set_initial_weights(network, tmp_path / "a.h5", content=(tmp_path / "a.h5").read_bytes())
    assert [one.name for one in origins if one.shape] == [weight.path for weight in network.weights]
    unused = [one.name for one in origins if not one.shape]
    dense = "layers/dense_2/vars/" if save is numbered else "predictions/predictions_"
    assert len(unused) == 2
    assert all(name.startswith(dense) for name in unused)
    how = {one.name: one.how for one in origins}
    assert how["block1_conv1/kernel"] == "copied, channels from BGR to RGB"
    assert how["fc6/kernel"] == "converted from (784, 24)"
    assert how["score_fr/kernel"] == "as it starts: not in the file"
    image = RANDOM.integers(0, 256, (1, 224, 224, 3), np.uint8)
    bgr = image[..., ::-1] - np.array([103.939, 116.779, 123.68], np.float32)  # by Keras' own mode "caffe"
    np.testing.assert_allclose(keras.applications.vgg16.preprocess_input(image.astype("float32")), bgr, atol=1e-4)
    expected = keras.Model(classifier.input, classifier.get_layer("fc2").output)(bgr).numpy()[0]
    features = keras.Model(network.input, network.get_layer("fc7_relu").output)(image).numpy()[0]
    np.testing.assert_allclose(features[3, 3], expected, rtol=1e-4, atol=1e-5)
    assert expected.std() > 0.01


def test_slim_head_takes_evenly_spaced_cells_and_units_and_a_missing_one_stays_random(tmp_path: Path) -> None:
    classifier = keras_vgg()
    classifier.save(tmp_path / "a.h5")
    slim = ModelConfig(**OF_KERAS, head_window=3, head_units=7)
    network = build_fcn(slim, 2)
    content = (tmp_path / "a.h5").read_bytes()
    origins = set_initial_weights(network, tmp_path / "a.h5", content=content)
    units = np.array([0, 4, 8, 12, 15, 19, 23])
    kernel, bias = classifier.get_layer("fc1").get_weights()
    fc6, fc6_bias = network.get_layer("fc6").get_weights()
    np.testing.assert_array_equal(fc6, kernel.reshape(7, 7, 16, 24)[::3, ::3][..., units])
    np.testing.assert_array_equal(fc6_bias, bias[units])
    fc7 = classifier.get_layer("fc2").get_weights()[0][units][:, units]
    np.testing.assert_array_equal(network.get_layer("fc7").get_weights()[0][0, 0], fc7)
    assert "fc7/kernel              (1, 1, 7, 7)        thinned out from (24, 24)" in origin_table(origins)

    keras_vgg(with_top=False).save_weights(tmp_path / "b.weights.h5")
    content = (tmp_path / "b.weights.h5").read_bytes()
    origins = set_initial_weights(network, tmp_path / "b", content=content)
    assert "fc6                     (3, 3, 16, 7)       as it starts: not in the file" in origin_table(origins)
    point = build_fcn(ModelConfig(**OF_KERAS, head_window=1, head_units=7), 2)
    set_initial_weights(point, tmp_path / "a.h5", content=(tmp_path / "a.h5").read_bytes())
    np.testing.assert_array_equal(point.get_layer("fc6").kernel, kernel.reshape(7, 7, 16, 24)[3:4, 3:4][..., units])

    with h5py.File(tmp_path / "b.weights.h5", "r+") as file:
        for number in range(15):
            file[f"other/{number}"] = np.zeros(1, np.float32)
    origins = set_initial_weights(network, tmp_path / "b", content=(tmp_path / "b.weights.h5").read_bytes())
    assert [one.name for one in origins if one.how == "not used"][11:] == [
        "other/6",
        "3 more arrays",
    ]  # in the order of text


def test_shipped_weights_become_a_network_of_other_classes_that_starts_at_zero() -> None:
    shipped = find_initial_weights(ModelConfig(initial_weights="camvid"))
    config = shipped.config.model
    network = build_fcn(config, 2)
    set_initial_weights(network, shipped.path, content=shipped.content, trained=config)
    image = RANDOM.integers(0, 256, (1, 96, 64, 3), np.uint8)
    assert not np.any(network(image))
    whole = load_predictor(shipped.path).model
    for name in ("block1_conv2", "fc7"):
        first, second = (keras.Model(one.input, one.get_layer(name).output) for one in (network, whole))
        np.testing.assert_array_equal(first(image), second(image))
    again = build_fcn(config, 11)
    set_initial_weights(again, shipped.path, content=shipped.content, trained=config, same_classes=True)
    np.testing.assert_array_equal(again(image), whole(image))


def test_imagenet_is_what_keras_downloads_for_the_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    classifier = keras_vgg(encoder="vgg19")
    asked = []

    def download(weights: str) -> keras.Model:
        asked.append(weights)
        return classifier

    monkeypatch.setattr(keras.applications, "VGG19", download)
    config = ModelConfig(**{**OF_KERAS, "encoder": "vgg19"}, head_units=7)
    network = build_fcn(config, 2)
    initial = find_initial_weights(Mock(initial_weights="imagenet"))
    loop.start_from(initial, network, config, BACKGROUND_AND_ROAD)
    assert asked == ["imagenet"]
    kernel = classifier.get_layer("block5_conv4").get_weights()[0]
    np.testing.assert_array_equal(network.get_layer("block5_conv4").kernel, kernel)

    failure = Exception("URL fetch failure on https://somewhere: None")  # Keras raises this class
    monkeypatch.setattr(keras.applications, "VGG19", Mock(side_effect=failure))
    with pytest.raises(UserError, match=r"initial_weights: imagenet: URL fetch .*; connect to the internet, or"):
        loop.start_from(initial, network, config, BACKGROUND_AND_ROAD)
    with pytest.raises(ConfigError) as mistakes:
        ModelConfig(initial_weights="imagenet", encoder="vgg11")
    assert [*mistakes.value.problems] == ["model.encoder", "model.width", "model.batch_norm", "model.preprocessing"]
    ModelConfig(initial_weights="imagenet", **{**OF_KERAS, "encoder": "vgg16", "width": 1.0})


def test_scorers_that_learned_from_other_maps_are_refused() -> None:
    theirs = ModelConfig(encoder="vgg11", width=WIDTH, head_units=7, skip_scale=0.01)
    config = replace(theirs, skip_scale=1.0)
    initial = InitialWeights(Path("a"), content=b"", config=Config(model=theirs))
    with pytest.raises(UserError, match=r"^a: has scorers of other maps; set model\.skip_scale: 0\.01$"):
        loop.start_from(initial, build_fcn(config, 2), config, BACKGROUND_AND_ROAD)


MISTAKES = {
    "width": (
        {"width": 1 / 16},
        r"vars/0 is \(3, 3, 3, 2\), and block1_conv1/kernel is \(3, 3, 3, 4\) .*; set model.width",
    ),
    "encoder": ({"encoder": "vgg13"}, "is .*, and block1_conv2/kernel is .* in the network; set model.width"),
    "units": ({"head_units": 25}, "fc6/kernel is .* in the network; lower model.head_window and model.head_units"),
    "batch_norm": ({"batch_norm": True}, "holds no block1_conv1_norm/gamma; set model.batch_norm: false"),
    "preprocessing": ({"preprocessing": "centered"}, "was trained on other pixels; set model.preprocessing: imagenet"),
}


@pytest.mark.parametrize(("change", "problem"), MISTAKES.values(), ids=MISTAKES)
def test_what_does_not_fit_is_refused_with_the_setting_that_would(
    change: dict[str, object], problem: str, tmp_path: Path
) -> None:
    keras_vgg().save_weights(tmp_path / "a.weights.h5")
    config = ModelConfig(**{**OF_KERAS, "head_window": 3, "head_units": 7, **change})
    network = build_fcn(config, 2)
    before = network.get_weights()
    content = (tmp_path / "a.weights.h5").read_bytes()
    with pytest.raises(UserError, match=problem):
        set_initial_weights(network, tmp_path / "a", content=content)
    for one, other in zip(network.get_weights(), before, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("array", "shape", "problem"),
    [
        ("fc1/fc1_W_1:0", (160, 24), r"fc1_W_1:0 is \(160, 24\), and fc6/kernel is \(3, 3, 16, 7\) in the network"),
        ("fc1/fc1_W_1:0", (7, 24), r"fc1_W_1:0 is \(7, 24\), and fc6/kernel is"),
        ("fc1/fc1_b_1:0", (24, 24), r"fc1_b_1:0 is \(24, 24\), and fc6/bias is \(7,\) in the network"),
    ],
)
def test_dense_layers_that_are_none_of_a_map_are_refused(
    array: str, shape: tuple[int, int], problem: str, tmp_path: Path
) -> None:
    published(keras_vgg(), tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        del file[array]
        file[array] = np.zeros(shape, np.float32)
    network = build_fcn(ModelConfig(**OF_KERAS, head_units=7), 2)
    with pytest.raises(UserError, match=problem):
        set_initial_weights(network, tmp_path / "a", content=(tmp_path / "a.h5").read_bytes())


@pytest.mark.parametrize("save", [numbered, published, keras.Model.save])
def test_weights_of_a_deeper_encoder_are_refused(save: Callable[[keras.Model, Path], None], tmp_path: Path) -> None:
    classifier = keras_vgg(encoder="vgg19")
    save(classifier, tmp_path / "a.h5")
    network = build_fcn(ModelConfig(**{**OF_KERAS, "encoder": "vgg16"}, head_units=7), 2)
    with pytest.raises(UserError, match=r"also holds .*; set model\.encoder to that of the weights"):
        set_initial_weights(network, tmp_path / "a.h5", content=(tmp_path / "a.h5").read_bytes())


def test_other_files_and_hostile_ones_are_refused_in_a_line(tmp_path: Path) -> None:
    config = ModelConfig(**{**OF_KERAS, "batch_norm": True, "preprocessing": "centered"}, head_units=7)
    network = build_fcn(config, 2)
    path = tmp_path / "a.weights.h5"
    for content in (b"<html>", b""):
        path.write_bytes(content)
        with pytest.raises(
            UserError, match=r"a\.weights\.h5: is not HDF5; set model\.initial_weights to camvid, imagenet, a run"
        ):
            find_initial_weights(ModelConfig(initial_weights=str(path)))
    with pytest.raises(UserError, match=r"nowhere: no such file; set model\.initial_weights to camvid"):
        find_initial_weights(ModelConfig(initial_weights="nowhere"))
    save_weights(network, path)
    honest = path.read_bytes()
    with pytest.raises(UserError, match="cannot be read as weights"):
        set_initial_weights(network, path, content=honest[:-1], trained=config)
    for name, what, problem in (
        ("fc6/kernel", h5py.SoftLink("/fc7/kernel"), "fc6/kernel is a link"),
        ("fc7/kernel", np.full((1, 1, 7, 7), np.nan, np.float32), "holds NaN or infinity"),
        ("block2_conv1/kernel", None, "holds no block2_conv1/kernel; set model.encoder"),
    ):
        path.write_bytes(honest)
        with h5py.File(path, "r+") as file:
            del file[name]
            if what is not None:
                file[name] = what
        with pytest.raises(UserError, match=problem):
            set_initial_weights(network, path, content=path.read_bytes(), trained=config, same_classes=True)


def test_command_hands_the_weights_to_the_loop_which_says_what_it_took(
    script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: dict[str, Any] = {}
    monkeypatch.setattr(loop, "train", lambda *_, **named: seen.update(named))
    small = ("--initial-weights", "camvid", "--set", "data.synthetic_frames=[1,1,1]", "--set", "model.encoder=vgg16")
    script("train", "--run-dir", tmp_path / "run", *small)
    assert seen["initial"].path == SHIPPED
    config = seen["initial"].config.model
    loop.start_from(seen["initial"], build_fcn(config, 2), config, BACKGROUND_AND_ROAD)
    lines = capsys.readouterr().err
    assert lines.startswith(f"initial weights: {SHIPPED}\n")
    assert "block3_conv2            (3, 3, 64, 64)      copied\n" in lines
    assert "score_fr                (1, 1, 256, 2)      as it starts: of other classes in the file\n" in lines


@pytest.mark.slow
def test_published_vgg16_is_the_same_function_on_every_window_of_its_last_map(tmp_path: Path) -> None:
    classifier = keras.applications.VGG16(weights=None)
    classifier.save_weights(tmp_path / "a.weights.h5")
    config = ModelConfig(
        width=1.0, head_units=4096, head_window=7, batch_norm=False, preprocessing="imagenet", stride=32
    )
    network = build_fcn(config, 2)
    content = (tmp_path / "a.weights.h5").read_bytes()
    set_initial_weights(network, tmp_path / "a", content=content)
    both = keras.Model(network.input, [network.get_layer(name).output for name in ("block5_pool", "fc7_relu")])
    head = keras.Model(classifier.get_layer("flatten").input, classifier.get_layer("fc2").output)

    # at its own size from pixels; on a larger image from every window of the last pooled map
    image = RANDOM.integers(0, 256, (1, 224, 224, 3), np.uint8)
    whole = keras.Model(classifier.input, classifier.get_layer("fc2").output)
    expected = whole(keras.applications.vgg16.preprocess_input(image.astype("float32"))).numpy()
    found = both(image)[1].numpy()[:, 3, 3]
    assert np.abs(found - expected).max() < 1e-4 * np.abs(expected).max()
    pooled, features = (one.numpy() for one in both(RANDOM.integers(0, 256, (1, 320, 416, 3), np.uint8)))
    assert pooled.shape[1:3] == (10, 13)
    for row in range(4):
        for column in range(7):
            expected = head(pooled[:, row : row + 7, column : column + 7]).numpy()
            found = features[:, row + 3, column + 3]
            assert np.abs(found - expected).max() < 1e-4 * np.abs(expected).max()

    # a dense layer as Caffe and torch store it, (units, c, h, w), by the documented transpose
    dense = RANDOM.standard_normal((4096, 512 * 7 * 7), np.float32)
    kernel = dense.reshape(4096, 512, 7, 7).transpose(2, 3, 1, 0)
    converted = tf.nn.conv2d(pooled, kernel, 1, "VALID").numpy()
    for row, column in ((0, 0), (1, 4), (3, 6)):
        window = pooled[0, row : row + 7, column : column + 7]
        expected = dense @ window.transpose(2, 0, 1).reshape(-1)
        assert np.abs(converted[0, row, column] - expected).max() < 1e-4 * np.abs(expected).max()
