"""Image -> class probabilities or labels at the image's own size. Evaluation and inference both use this."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import keras
import numpy as np
import tensorflow as tf
from PIL import Image
from PIL.Image import Resampling

from fcn.config.settings import Config, DataConfig
from fcn.datasets import classes_of
from fcn.errors import UserError
from fcn.images import Array, SegmentationClass, read_image
from fcn.inference.tiles import TILE_PIXELS, Window, receptive_radius, tiles
from fcn.model.devices import allow_memory_growth
from fcn.model.fcn import build_fcn
from fcn.model.weights import load_weights
from fcn.runs.trained import ENDING, TrainedModel

HEIGHT_TOLERANCE = 1.5  # times the height of the training frames: up to there an image is not resized by "auto"

ImageLike = str | Path | Image.Image | Array
"""A PNG or JPEG file, which is turned upright; a PIL image, taken as stored; or a uint8 RGB array (H, W, 3)."""

MaxHeight = int | Literal["auto"] | None


class Predictor:
    """A network and the classes of its channels. Large images go through it tile by tile.

    Attributes:
        model: the network; its weights may be changed.
        classes: C classes, in the order of the network's channels.
        flip: average the probabilities of an image and of its mirror image: twice the time, and the probabilities of
            the whole image are held in memory.
        frame_height: height in pixels of the frames that the network was trained on, if known.
        max_height: images higher than this number of pixels are segmented at this height, and the result is resized
            to the image's own size; "auto": images more than 1.5 times as high as `frame_height`, at that; None: never.
    """

    def __init__(
        self,
        model: keras.Model,
        classes: Sequence[SegmentationClass],
        *,
        flip: bool = False,
        frame_height: int | None = None,
        max_height: MaxHeight = "auto",
        max_megapixels: int = DataConfig.max_megapixels,
        tile_pixels: int = TILE_PIXELS,
    ):
        self.model = model
        self.classes = tuple(classes)
        self.flip = flip
        self.frame_height = frame_height
        self.max_height = max_height
        self._max_megapixels = max_megapixels
        self._tile_pixels = tile_pixels
        self._radius = receptive_radius(model)

        @tf.function(input_signature=[tf.TensorSpec((None, None, 3), tf.uint8)], autograph=False)  # one graph, any size
        def network(image: tf.Tensor) -> tf.Tensor:
            return model(image[tf.newaxis], training=False)[0]

        self._network = network

    def probabilities(self, image: ImageLike) -> Array:
        """Probabilities of the classes, float32 (H, W, C), which add up to 1 for every pixel.

        Raises:
            UserError: the image cannot be read or is something else than an `ImageLike`.
        """
        original, pixels = self._pixels(image)
        probabilities = self._probabilities(pixels, self.flip)
        if pixels is original:
            return probabilities
        return np.dstack([_resize(probabilities[..., index], original) for index in range(len(self.classes))])

    def labels(self, image: ImageLike) -> Array:
        """The most probable class of every pixel, uint8 (H, W). Raises UserError as `probabilities`."""
        original, pixels = self._pixels(image)
        labels = np.empty(pixels.shape[:2], np.uint8)
        for kept, inner, logits in self._logits(pixels, self.flip):
            labels[kept] = tf.argmax(logits, axis=-1).numpy()[inner]
        return _resize(labels, original, Resampling.NEAREST)

    def labels_and_confidence(self, image: ImageLike, index: int) -> tuple[Array, Array]:
        """`labels`, and round(255 x the probability of the class `index`): uint8 (H, W) each.

        Raises:
            UserError: as `probabilities`.
        """
        original, pixels = self._pixels(image)
        labels = np.empty(pixels.shape[:2], np.uint8)
        confidence = np.empty(pixels.shape[:2], np.uint8)
        for kept, inner, logits in self._logits(pixels, self.flip):
            labels[kept] = tf.argmax(logits, axis=-1).numpy()[inner]
            confidence[kept] = tf.round(255 * tf.nn.softmax(logits)[..., index]).numpy()[inner]
        return _resize(labels, original, Resampling.NEAREST), _resize(confidence, original)

    def network_height(self, height: int) -> int:
        """The height in pixels at which an image of this height is segmented."""
        if self.max_height is None:
            return height
        if self.max_height != "auto":
            return min(height, self.max_height)
        if self.frame_height is None or height <= HEIGHT_TOLERANCE * self.frame_height:
            return height
        return self.frame_height

    def _pixels(self, image: ImageLike) -> tuple[Array, Array]:
        """The image as uint8 RGB (H, W, 3), and the same at the height at which it is segmented."""
        original = _rgb(image, self._max_megapixels)
        height, width = original.shape[:2]
        network_height = self.network_height(height)
        if network_height == height:
            return original, original
        network_width = max(1, round(width * network_height / height))
        resized = Image.fromarray(original).resize((network_width, network_height), Resampling.BILINEAR)
        return original, np.asarray(resized)

    def _logits(self, pixels: Array, flip: bool) -> Iterator[tuple[Window, Window, tf.Tensor]]:
        """Yields for each tile where its kept part lies in the image and in the tile, and logits (h, w, C)."""
        if flip:
            mirrored = self._probabilities(pixels[:, ::-1], flip=False)[:, ::-1]
            average = (self._probabilities(pixels, flip=False) + mirrored) / 2
            whole = (slice(None), slice(None))
            yield whole, whole, tf.math.log(average)  # softmax gives the average back
            return
        height, width = pixels.shape[:2]
        for tile, kept, inner in tiles(height, width, radius=self._radius, limit=self._tile_pixels):
            yield kept, inner, self._network(pixels[tile])

    def _probabilities(self, pixels: Array, flip: bool) -> Array:
        """Probabilities float32 (h, w, C) of an image (h, w, 3) at its own size."""
        probabilities = np.empty((*pixels.shape[:2], len(self.classes)), np.float32)
        for kept, inner, logits in self._logits(pixels, flip):
            probabilities[kept] = tf.nn.softmax(logits).numpy()[inner]
        return probabilities


def _rgb(image: ImageLike, max_megapixels: int) -> Array:
    """The image as uint8 RGB (H, W, 3)."""
    if isinstance(image, str | Path):
        return read_image(image, max_megapixels)
    got = type(image).__name__
    if isinstance(image, np.ndarray):
        got = f"an array {image.dtype} {image.shape}"
    elif isinstance(image, Image.Image):
        got = f"a PIL image of mode {image.mode} and size {image.size}"
        if not image.mode.startswith(("I", "F")):  # over 8 bits a channel: Pillow would clip them
            image = np.asarray(image.convert("RGB"))
    if isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.shape[2:] == (3,) and image.size:
        return image
    raise UserError(
        f"image: got {got}; the network takes 8-bit RGB; pass a path, a PIL image or a uint8 array (H, W, 3), "
        "such as (255 * image).round().astype('uint8') of floats from 0 to 1"
    )


def _resize(values: Array, original: Array, method: Resampling = Resampling.BILINEAR) -> Array:
    """Values (h, w), resized to the size of an image (H, W, 3)."""
    height, width = original.shape[:2]
    if values.shape == (height, width):
        return values
    return np.asarray(Image.fromarray(values).resize((width, height), method))


def load_predictor(
    source: str | Path | TrainedModel,
    config: Config | None = None,
    flip: bool = False,
    max_height: MaxHeight = "auto",
) -> Predictor:
    """Builds a trained network and loads its weights.

    Args:
        source: folder of a run, whose best weights are taken, or a file NAME.weights.h5 with its config next to it.
        config: used instead of the stored one; its `model` and its number of classes must fit the weights.
        flip: as in `Predictor`.
        max_height: as in `Predictor`; None for scores, which are counted at the frames' own size.

    Raises:
        UserError: the folder is not a run, or the weights are missing, damaged or of another network.
    """
    if not isinstance(source, TrainedModel):
        path = Path(source)
        source = TrainedModel.of_weights(path) if path.name.endswith(ENDING) else TrainedModel.of_run(path)
    if config is None:
        config = source.config()
    allow_memory_growth()
    classes = classes_of(config.data)
    model = build_fcn(config.model, len(classes))
    load_weights(model, source.weights)
    return Predictor(
        model,
        classes,
        flip=flip,
        frame_height=source.frame_height,
        max_height=max_height,
        max_megapixels=config.data.max_megapixels,
    )
