"""Pictures of a street as a trained network sees it: at several points of its decoder, and window by window."""

# Shapes: H x W pixels
from __future__ import annotations

import math

import keras
import numpy as np
import tensorflow as tf
from PIL import Image
from PIL.Image import Resampling

from fcn.config.settings import ModelConfig
from fcn.explain.sheet import LINE, Sheet
from fcn.explain.sliding import scores_of_windows, whole_cells
from fcn.images import Array
from fcn.inference.predictor import Predictor
from fcn.pictures import legend, overlay

TINT = 0.6  # strength of the colors over the street
WIDTH = 400  # pixels of one overlay

STAGES = {"score_fr": 32, "fuse_pool4": 16, "fuse_pool3": 8, "logits": 1}  # layer -> pixels a cell


def stage_labels(model: keras.Model, image: Array) -> dict[str, Array]:
    """The class of every pixel by the scores after each of STAGES that the model has, upsampled bilinearly."""
    height, width = image.shape[:2]
    present = [layer.name for layer in model.layers if layer.name in STAGES]
    stages = keras.Model(model.input, {name: model.get_layer(name).output for name in present})(image[None])
    labels = {}
    for name in present:
        rows, columns = stages[name].shape[1:3]
        size = (rows * STAGES[name], columns * STAGES[name])
        scores = tf.image.resize(stages[name], size)[0, :height, :width]
        labels[name] = tf.argmax(scores, axis=-1).numpy().astype(np.uint8)
    return labels


def street(predictor: Predictor, image: Array) -> Array:
    """One network read at several points of its decoder: overlays with titles and legend, uint8 RGB."""
    height = round(WIDTH * image.shape[0] / image.shape[1])
    labels = stage_labels(predictor.model, image)
    sheet = Sheet(2 * WIDTH + 8, math.ceil(len(labels) / 2) * (height + 36))
    for index, (name, label) in enumerate(labels.items()):
        left = index % 2 * (WIDTH + 8)
        top = index // 2 * (height + 36)
        sheet.text(
            (left + 4, top + 18),
            "the network's result" if name == "logits" else f"{name}: {STAGES[name]} pixels a cell",
        )
        tinted = Image.fromarray(overlay(image, label, predictor.classes, TINT))
        sheet.image.paste(tinted.resize((WIDTH, height), Resampling.LANCZOS), (left, top + 32))
    return np.concatenate([np.asarray(sheet.image), legend(predictor.classes, sheet.image.width)])


def window_classes(predictor: Predictor, config: ModelConfig, image: Array) -> Array:
    """The class of every window of the last map and of the image, right and with lost biases: uint8 RGB."""
    scores = scores_of_windows(predictor.model, config, whole_cells(predictor, image, config.head_window))
    titles = {
        "one pass": "one pass",
        "last map": "windows of the last map",
        "image": "windows of the image",
        "last map, no biases": "last map, biases lost",
    }
    rows, columns = scores["one pass"].shape[:2]
    side = max(1, 200 // columns)
    sheet = Sheet(width=4 * 216 + 8, height=40 + rows * side)
    for index, (name, title) in enumerate(titles.items()):
        left = 8 + index * 216
        sheet.text((left, 18), title)
        for (row, column), label in np.ndenumerate(scores[name].argmax(axis=-1)):
            corner = (left + column * side, 34 + row * side)
            box = (*corner, corner[0] + side, corner[1] + side)
            sheet.draw.rectangle(box, predictor.classes[label].color, LINE)
    return np.concatenate([np.asarray(sheet.image), legend(predictor.classes, sheet.image.width)])
