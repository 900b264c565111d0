"""Image -> class probabilities or labels at the image's own size. Evaluation and inference both go through here."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from fcn.config.settings import Config
from fcn.datasets import classes_of
from fcn.images import Array, SegmentationClass
from fcn.inference.tiles import TILE_PIXELS, by_tiles, reach_of
from fcn.model.fcn import build_fcn
from fcn.model.weights import load_weights
from fcn.runs.trained import ENDING, TrainedModel


class Predictor:
    """A network and the meaning of its classes; large images go through it by tiles.

    Attributes:
        model: the network; its weights may be changed.
        classes: C classes, in the order of the network's channels.
    """

    def __init__(self, model: keras.Model, classes: Sequence[SegmentationClass], tile_pixels: int = TILE_PIXELS):
        self.model, self.classes = model, tuple(classes)

        @tf.function(input_signature=[tf.TensorSpec((None, None, 3), tf.uint8)], autograph=False)  # one graph, any size
        def logits(image: tf.Tensor) -> tf.Tensor:
            return model(image[tf.newaxis], training=False)[0]

        self._logits = logits
        self._by_tiles = partial(by_tiles, reach=reach_of(model), limit=tile_pixels)

    def probabilities(self, image: Array) -> Array:
        """uint8 RGB (H, W, 3) -> float32 (H, W, C), which adds up to 1 for every pixel."""
        result = np.empty((*image.shape[:2], len(self.classes)), np.float32)
        return self._by_tiles(lambda tile: tf.nn.softmax(self._logits(tile)).numpy(), image, result)

    def labels(self, image: Array) -> Array:
        """uint8 RGB (H, W, 3) -> the most probable class of every pixel, uint8 (H, W)."""
        result = np.empty(image.shape[:2], np.uint8)
        return self._by_tiles(lambda tile: tf.argmax(self._logits(tile), axis=-1).numpy(), image, result)

    def labels_and_confidence(self, image: Array, index: int) -> tuple[Array, Array]:
        """uint8 RGB (H, W, 3) -> `labels` and round(255 x the probability of the class `index`), uint8 (H, W)."""

        def both(tile: Array) -> Array:
            logits = self._logits(tile)
            return np.dstack([tf.argmax(logits, axis=-1), tf.round(255 * tf.nn.softmax(logits)[..., index])])

        result = self._by_tiles(both, image, np.empty((*image.shape[:2], 2), np.uint8))
        return result[..., 0], result[..., 1]


class FlipPredictor(Predictor):
    """Averages the probabilities of an image and of its mirror image, in twice the time; those of the whole image are
    held in memory.
    """

    def probabilities(self, image: Array) -> Array:
        """As `Predictor.probabilities`."""
        return (super().probabilities(image) + super().probabilities(image[:, ::-1])[:, ::-1]) / 2

    def labels(self, image: Array) -> Array:
        """As `Predictor.labels`."""
        return self.probabilities(image).argmax(axis=-1).astype(np.uint8)

    def labels_and_confidence(self, image: Array, index: int) -> tuple[Array, Array]:
        """As `Predictor.labels_and_confidence`."""
        probabilities = self.probabilities(image)
        confidence = np.rint(255 * probabilities[..., index])
        return probabilities.argmax(axis=-1).astype(np.uint8), confidence.astype(np.uint8)


def allow_memory_growth() -> None:
    """Lets TensorFlow take memory on a GPU as it needs it, not all of it: another run may be on it."""
    for gpu in tf.config.list_physical_devices("GPU"):
        if not tf.config.experimental.get_memory_growth(gpu):
            tf.config.experimental.set_memory_growth(gpu, True)


def load_predictor(
    source: str | Path | TrainedModel,
    config: Config | None = None,
    flip: bool = False,
    max_height: int | None = None,  # noqa: ARG001
) -> Predictor:
    """Builds a trained network and loads its weights.

    Args:
        source: folder of a run, whose best weights are taken, or a file NAME.weights.h5 with its config beside it.
        config: in place of its own; its `model` and the number of classes must be those of the weights.
        flip: the result is a `FlipPredictor`.
        max_height: not used yet; no image is resized.

    Raises:
        UserError: the folder holds no run, or there are no weights, damaged ones or ones of another network.
    """
    if not isinstance(source, TrainedModel):
        path = Path(source)
        source = TrainedModel.of_weights(path) if path.name.endswith(ENDING) else TrainedModel.of_run(path)
    allow_memory_growth()
    config = config or source.config()
    classes = classes_of(config.data)
    model = build_fcn(config.model, len(classes))
    load_weights(model, source.weights)
    return (FlipPredictor if flip else Predictor)(model, classes)
