"""Image -> class probabilities or labels at the image's own size. Evaluation and inference both use this."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass
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
from fcn.inference.tiles import TILE_PIXELS, receptive_radius, tiles
from fcn.model.devices import allow_memory_growth
from fcn.model.fcn import build_fcn
from fcn.model.weights import load_weights
from fcn.runs.trained import ENDING, TrainedModel

HEIGHT_TOLERANCE = 1.5  # times the height of the training frames: up to there an image is not resized by "auto"

ImageLike = str | Path | Image.Image | Array
"""A PNG or JPEG file, which is turned upright; a PIL image, taken as stored; or a uint8 RGB array (H, W, 3)."""

MaxHeight = int | Literal["auto"] | None
Output = Callable[[tf.Tensor], tf.Tensor]  # logits (h, w, C) -> values (h, w) or (h, w, C)


@dataclass(eq=False)
class Predictor:
    """A network and the classes of its channels. Large images go through it tile by tile.

    Images higher than `max_height` pixels are segmented at this height, and the result is resized to their own size;
    "auto": images more than 1.5 times as high as `frame_height`, at that; None: never.
    """

    model: keras.Model  # its weights may be changed
    classes: Sequence[SegmentationClass]
    _: KW_ONLY
    flip: bool = False  # average over the mirror image, in twice the time and with all probabilities in memory
    frame_height: int | None = None  # in pixels, of the frames that the network was trained on, if known
    max_height: MaxHeight = "auto"
    max_megapixels: int = DataConfig.max_megapixels
    tile_pixels: int = TILE_PIXELS

    def __post_init__(self) -> None:
        if self.max_height not in ("auto", None) and not (isinstance(self.max_height, int) and self.max_height > 0):
            raise UserError(f"max_height: {self.max_height!r} is not a height; pass pixels above 0, None or 'auto'")
        self._radius = receptive_radius(self.model)

        @tf.function(input_signature=[tf.TensorSpec((None, None, 3), tf.uint8)], autograph=False)  # one graph, any size
        def network(image: tf.Tensor) -> tf.Tensor:
            return self.model(image[tf.newaxis], training=False)[0]

        self._network = network

    def probabilities(self, image: ImageLike) -> Array:
        """Probabilities of the classes, float32 (H, W, C), which add up to 1 for every pixel.

        Raises:
            UserError: The image cannot be read or is something else than an `ImageLike`.
        """
        return self._predict(image, tf.nn.softmax)[0]

    def labels(self, image: ImageLike) -> Array:
        """The most probable class of every pixel, uint8 (H, W). Raises UserError as `probabilities`."""
        return self._predict(image, _labels)[0]

    def labels_and_confidence(self, image: ImageLike, index: int) -> tuple[Array, Array]:
        """`labels`, and round(255 x the probability of the class `index`): uint8 (H, W) each."""

        def confidence_of(logits: tf.Tensor) -> tf.Tensor:
            return tf.cast(tf.round(255 * tf.nn.softmax(logits)[..., index]), tf.uint8)

        labels, confidence = self._predict(image, _labels, confidence_of)
        return labels, confidence

    def network_height(self, height: int) -> int:
        """The height in pixels at which an image of this height is segmented."""
        if self.max_height != "auto":
            return min(height, self.max_height or height)
        if self.frame_height is None or height <= HEIGHT_TOLERANCE * self.frame_height:
            return height
        return self.frame_height

    def _predict(self, image: ImageLike, *outputs: Output) -> list[Array]:
        """Outputs for an image at its own size, (H, W) or (H, W, C); where it was resized, so are they."""
        original = _rgb(image, self.max_megapixels)
        height, width = original.shape[:2]
        network_height = self.network_height(height)
        network_width = max(1, round(width * network_height / height))
        pixels = _resized(original, network_height, network_width, method=Resampling.BILINEAR)
        if self.flip:
            (probabilities,) = self._run(pixels, tf.nn.softmax)
            (mirrored,) = self._run(pixels[:, ::-1], tf.nn.softmax)
            logits = tf.math.log((probabilities + mirrored[:, ::-1]) / 2)  # softmax gives the average back
            results = [output(logits).numpy() for output in outputs]
        else:
            results = self._run(pixels, *outputs)
        methods = [Resampling.NEAREST if output is _labels else Resampling.BILINEAR for output in outputs]
        return [_resized(result, height, width, method=method) for result, method in zip(results, methods, strict=True)]

    def _run(self, pixels: Array, *outputs: Output) -> list[Array]:
        """Outputs for an image (h, w, 3), (h, w) or (h, w, C), computed tile by tile."""
        height, width = pixels.shape[:2]
        results: list[Array] = []
        for tile, kept, inner in tiles(height, width, radius=self._radius, limit=self.tile_pixels):
            logits = self._network(pixels[tile])
            values = [output(logits).numpy() for output in outputs]
            if not results:
                results = [np.empty((height, width, *one.shape[2:]), one.dtype) for one in values]
            for result, one in zip(results, values, strict=True):
                result[kept] = one[inner]
        return results


def _labels(logits: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.argmax(logits, axis=-1), tf.uint8)


def _rgb(image: ImageLike, max_megapixels: int) -> Array:
    """The image as uint8 RGB (H, W, 3)."""
    if isinstance(image, str | Path):
        return read_image(image, max_megapixels)
    if isinstance(image, Image.Image):
        has_8_bits = not image.mode.startswith(("I", "F"))  # Pillow would clip more of them
        image = np.asarray(image.convert("RGB") if has_8_bits else image)
    got = type(image).__name__
    if isinstance(image, np.ndarray):
        if image.dtype == np.uint8 and image.shape[2:] == (3,) and image.size:
            return image
        got = f"{image.dtype} {image.shape}"
    raise UserError(
        f"image: got {got}; the network takes 8-bit RGB; pass a path, a PIL image or a uint8 array (H, W, 3), "
        "such as (255 * image).round().astype('uint8') of floats from 0 to 1"
    )


def _resized(values: Array, height: int, width: int, method: Resampling) -> Array:
    """Values (h, w) or (h, w, C) at another size."""
    if values.shape[:2] == (height, width):
        return values
    if values.ndim == 3:
        return np.dstack([_resized(one, height, width, method=method) for one in np.moveaxis(values, -1, 0)])
    return np.asarray(Image.fromarray(values).resize((width, height), method))


def load_predictor(
    source: str | Path | TrainedModel, config: Config | None = None, flip: bool = False, max_height: MaxHeight = "auto"
) -> Predictor:
    """Builds a trained network and loads its weights. `flip` and `max_height` are those of `Predictor`.

    `source` is the folder of a run, whose best weights are taken, or a file NAME.weights.h5 with its config next to it.
    `config` replaces the stored one; its `model` and its number of classes must fit the weights.

    Raises:
        UserError: The folder is not a run, or the weights are missing, damaged or of another network.
    """
    if not isinstance(source, TrainedModel):
        path = Path(source)
        source = TrainedModel.of_weights(path) if path.name.endswith(ENDING) else TrainedModel.of_run(path)
    if config is None:
        config = source.config()
    allow_memory_growth()
    classes = classes_of(config.data)
    model = build_fcn(config.model, len(classes))
    load_weights(model, source.weights, source.content)
    return Predictor(
        model,
        classes,
        flip=flip,
        frame_height=source.frame_height,
        max_height=max_height,
        max_megapixels=config.data.max_megapixels,
    )
