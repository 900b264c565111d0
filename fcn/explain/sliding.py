"""What a trained network says of an image in one pass, and what its classifier says of windows of the same image."""

# Shapes: N windows, H x W pixels, h x w cells of the last map, k cells a side of a window, c channels, C classes
from __future__ import annotations

import math
from timeit import timeit

import keras
import numpy as np
import tensorflow as tf
from PIL import Image
from PIL.Image import Resampling

from fcn.config.settings import ENCODER_STRIDE, ModelConfig
from fcn.explain.examples import windows
from fcn.images import Array
from fcn.inference.predictor import Predictor
from fcn.model.convolutionalize import copy_weights
from fcn.model.vgg import build_classifier

BATCH = 128  # windows that are classified at once
REPETITIONS = 9  # of the timing


def whole_cells(predictor: Predictor, image: Array, k: int) -> Array:
    """The image (1, H, W, 3) as the network takes it, cut to whole cells; at least `k` cells a side."""
    height, width = image.shape[:2]
    scale = max(predictor.network_height(height) / height, k * ENCODER_STRIDE / min(height, width))
    height, width = math.ceil(height * scale), math.ceil(width * scale)
    resized = np.asarray(Image.fromarray(image).resize((width, height), Resampling.BILINEAR))
    return resized[np.newaxis, : height - height % ENCODER_STRIDE, : width - width % ENCODER_STRIDE]


def trained_classifier(model: keras.Model, config: ModelConfig) -> keras.Model:
    """The classifier with dense layers whose conversion the trained network is, up to `score_fr`."""
    classifier = build_classifier(config, model.get_layer("score_fr").filters)
    copy_weights(model.weights, classifier)  # those of other scorers and the upsamplings come last
    return classifier


def drop_biases(classifier: keras.Model) -> None:
    """Sets the biases of fc6 and fc7 to zero; with batch normalization, the constant that it adds in all."""
    for weights in classifier.weights:
        layer, name = weights.path.split("/")
        if layer.startswith(("fc6", "fc7")) and name in ("bias", "beta", "moving_mean"):
            weights.assign(tf.zeros_like(weights))


def one_pass_of(model: keras.Model) -> keras.Model:
    """The trained network up to its coarsest scores: (1, H, W, 3) -> scores (1, h, w, C), last map (1, h, w, c)."""
    return keras.Model(model.input, [model.get_layer(name).output for name in ("score_fr", "block5_pool")])


def windows_of_image(whole: Array, k: int) -> list[Array]:
    """Windows of k x k cells of `whole` in batches: (up to BATCH, 32 k, 32 k, 3)."""
    crops = windows(whole, k * ENCODER_STRIDE, ENCODER_STRIDE)
    return [crops[i : i + BATCH] for i in range(0, len(crops), BATCH)]


def scores_of_windows(model: keras.Model, config: ModelConfig, whole: Array) -> dict[str, Array]:
    """Scores (rows, columns, C) of every window of k x k cells, first those of one pass; `whole` as `whole_cells`."""
    k = config.head_window
    scores, features = (output.numpy() for output in one_pass_of(model)(whole))
    inside = scores[0, k // 2 : scores.shape[1] - k // 2, k // 2 : scores.shape[2] - k // 2]
    classifier = trained_classifier(model, config)
    head = keras.Model(classifier.get_layer("flatten").input, classifier.output)
    cells = windows(features, k)
    on_map = head(cells).numpy()
    on_image = np.concatenate([classifier(crops) for crops in windows_of_image(whole, k)])
    drop_biases(classifier)
    others = {"last map": on_map, "image": on_image, "last map, no biases": head(cells).numpy()}
    return {"one pass": inside, **{name: values.reshape(inside.shape) for name, values in others.items()}}


def comparison(predictor: Predictor, config: ModelConfig, image: Array) -> str:
    """One pass next to the classifier on every window, for a terminal.

    `config` is that of the network; the image uint8 RGB (H, W, 3) has at least the size of a window.
    """
    k = config.head_window
    side = k * ENCODER_STRIDE
    whole = whole_cells(predictor, image, k)
    scores = scores_of_windows(predictor.model, config, whole)
    one_pass = scores.pop("one pass")
    rows, columns, classes = one_pass.shape
    table = ""
    for name, values in scores.items():
        difference = abs(values - one_pass)
        agreement = np.mean(values.argmax(axis=-1) == one_pass.argmax(axis=-1))
        table += f"{name:<20}{difference.max():>20.7g}{difference.mean():>18.7g}{agreement:>12.1%}\n"

    network = tf.function(one_pass_of(predictor.model))
    classifier = tf.function(trained_classifier(predictor.model, config))
    batches = windows_of_image(whole, k)
    pairs = []
    for _ in range(1 + REPETITIONS):  # alternating, as the load of the machine changes
        one = timeit(lambda: network(whole), number=1)
        sliding = timeit(lambda: [classifier(crops) for crops in batches], number=1)
        pairs.append((one, sliding))
    seconds = np.array(pairs[1:])  # the first also compile
    one, sliding = np.median(1000 * seconds, axis=0)
    ratios = seconds[:, 1] / seconds[:, 0]
    ratio = f"{np.median(ratios):.1f} times as fast"
    return f"""
== A trained network: one pass over the image, and its classifier on every window ==
Image {image.shape} -> input {whole.shape[1:]}: {rows} x {columns} windows of {k} x {k} cells or {side} x {side} pixels
Scores of {classes} classes, mean size {abs(one_pass).mean():.7g}; how windows differ from one pass:
windows of the        largest difference   mean difference  same class
{table}Rule: on windows of the last map both are the same network, but for rounding. A window of the image sees zeros
beyond its border in every convolution, where the whole image has neighbors: its scores are not the same.
No biases: a conversion that loses those of fc6 and fc7. It runs without an error, too.
One pass {one:.1f} ms, all windows {sliding:.1f} ms (medians): {ratio} ({ratios.min():.1f} to {ratios.max():.1f})
Rule: windows share most of their pixels, and one pass computes what they share once.
"""
