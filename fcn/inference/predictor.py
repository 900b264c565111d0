"""Image -> class probabilities or labels at the image's own size. Evaluation and inference both use this."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image
from PIL.Image import Resampling

from fcn.config.settings import Config, DataConfig
from fcn.datasets import classes_of
from fcn.errors import UserError
from fcn.images import Array, SegmentationClass, read_image
from fcn.inference.network import Network, Output
from fcn.inference.runtimes import ExportedModel, ExportedNetwork, format_of
from fcn.inference.tiles import TILE_PIXELS, tiles
from fcn.runs.trained import ENDING, TrainedModel

HEIGHT_TOLERANCE = 1.5  # times the height of the training frames: up to there an image is not resized by "auto"
SCALES = (0.75, 1.0, 1.25)  # of the image, whose probabilities "scales" averages

ImageLike = str | Path | Image.Image | Array
"""A PNG or JPEG file, which is turned upright; a PIL image, taken as stored; or a uint8 RGB array (H, W, 3)."""

MaxHeight = int | Literal["auto"] | None
Variation = Literal["flip", "scales"]
Select = Callable[[Array], Array]


@dataclass(eq=False)
class Predictor:
    """A network and the classes of its channels. Large images go through it tile by tile.

    Images higher than `max_height` pixels are segmented at this height, and the result is resized to their own size;
    "auto": images more than 1.5 times as high as `frame_height`, at that; None: never. A network of one size gets every
    image at that size.

    `tta`, test-time augmentation, averages the probabilities over the mirror image too ("flip"), and over the image at
    three scales ("scales"): two, three or six times the work, with all probabilities in memory.
    """

    network: Network  # its weights may be changed
    classes: Sequence[SegmentationClass]
    _: KW_ONLY
    tta: Sequence[Variation] = ()
    frame_height: int | None = None  # in pixels, of the frames that the network was trained on, if known
    max_height: MaxHeight = "auto"
    max_megapixels: int = DataConfig.max_megapixels
    tile_pixels: int = TILE_PIXELS

    def __post_init__(self) -> None:
        if self.max_height not in ("auto", None) and not (isinstance(self.max_height, int) and self.max_height > 0):
            raise UserError(f"max_height: {self.max_height!r} is not a height; pass pixels above 0, None or 'auto'")
        if self.network.size is not None and "scales" in self.tta:
            raise UserError("tta: scales: the network takes one size only; leave it out, or export without --size")

    @property
    def model(self) -> Any:
        """The keras.Model; None for an exported file."""
        return self.network.model

    def probabilities(self, image: ImageLike) -> Array:
        """Probabilities of the classes, float32 (H, W, C), which add up to 1 for every pixel.

        Raises:
            UserError: The image cannot be read or is something else than an `ImageLike`, or the network is an exported
                file without probabilities.
        """
        original = _rgb(image, self.max_megapixels)
        (probabilities,) = self._predict(original, "probabilities")
        height, width = original.shape[:2]
        return resized(probabilities, height, width)

    def labels(self, image: ImageLike) -> Array:
        """The most probable class of every pixel, uint8 (H, W). Raises UserError as `probabilities`."""
        original = _rgb(image, self.max_megapixels)
        (labels,) = self._predict(original, "labels")
        height, width = original.shape[:2]
        return resized(labels, height, width, method=Resampling.NEAREST)

    def labels_and_confidence(self, image: ImageLike, index: int | None = None) -> tuple[Array, Array]:
        """`labels`, and round(255 x the probability of the class `index`; None: of the label): uint8 (H, W) each."""
        original = _rgb(image, self.max_megapixels)

        def select(probabilities: Array) -> Array:
            selected: Array = probabilities.max(-1) if index is None else probabilities[..., index]
            return selected

        labels, probability = self._predict(original, "labels", "probabilities", select=select)
        confidence = np.rint(255 * probability).astype(np.uint8)
        height, width = original.shape[:2]
        return (
            resized(labels, height, width, method=Resampling.NEAREST),
            resized(confidence, height, width),
        )

    def network_height(self, height: int) -> int:
        """The height in pixels at which an image of this height is segmented."""
        if self.network.size is not None:
            return self.network.size[0]
        if self.max_height != "auto":
            return min(height, self.max_height or height)
        if self.frame_height is None or height <= HEIGHT_TOLERANCE * self.frame_height:
            return height
        return self.frame_height

    def _predict(self, original: Array, *outputs: Output, select: Select | None = None) -> list[Array]:
        """Outputs for an image (H, W, 3) at the network's size, (h, w) or (h, w, C).

        Instead of the probabilities come those that `select` makes of them, (h, w, C) -> (h, w), if it is given.
        """
        height, width = original.shape[:2]
        network_height = self.network_height(height)
        network_width = max(1, round(width * network_height / height))
        if self.network.size is not None:
            network_width = self.network.size[1]
        pixels = resized(original, network_height, network_width)
        if not self.tta:
            return self._run(pixels, *outputs, select=select)
        mean = self._mean_probabilities(pixels)
        values = {
            "labels": mean.argmax(-1).astype(np.uint8),
            "probabilities": mean if select is None else select(mean),
        }
        return [values[name] for name in outputs]

    def _mean_probabilities(self, pixels: Array) -> Array:
        """Probabilities float32 (h, w, C) of an image (h, w, 3), averaged over its variations."""
        height, width = pixels.shape[:2]
        total = np.zeros((height, width, len(self.classes)), np.float32)
        count = 0
        for scale in SCALES if "scales" in self.tta else (1.0,):
            scaled = resized(
                pixels, max(1, round(height * scale)), max(1, round(width * scale)), method=Resampling.BILINEAR
            )
            for step in (1, -1) if "flip" in self.tta else (1,):
                (probabilities,) = self._run(scaled[:, ::step], "probabilities")
                total += resized(probabilities[:, ::step], height, width)
                count += 1
        return total / count

    def _run(self, pixels: Array, *outputs: Output, select: Select | None = None) -> list[Array]:
        """As `_predict`, for an image (h, w, 3) at the network's size, computed tile by tile."""
        height, width = pixels.shape[:2]
        results: list[Array] = []
        limit = self.tile_pixels if self.network.size is None else sys.maxsize
        for tile, kept, inner in tiles(height, width, radius=self.network.radius, limit=limit):
            values = self.network.run(np.ascontiguousarray(pixels[tile]), *outputs)
            if select is not None:
                values = [select(one) if one.ndim == 3 else one for one in values]
            if not results:
                results = [np.empty((height, width, *one.shape[2:]), one.dtype) for one in values]
            for result, one in zip(results, values, strict=True):
                result[kept] = one[inner]
        return results


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


def resized(values: Array, height: int, width: int, method: Resampling = Resampling.BILINEAR) -> Array:
    """Values (h, w) or (h, w, C) at another size."""
    if values.shape[:2] == (height, width):
        return values
    if values.ndim == 3:
        return np.dstack([resized(one, height, width, method=method) for one in np.moveaxis(values, -1, 0)])
    return np.asarray(Image.fromarray(values).resize((width, height), method))


def load_predictor(
    source: str | Path | TrainedModel | ExportedModel,
    config: Config | None = None,
    tta: Sequence[Variation] = (),
    max_height: MaxHeight = "auto",
) -> Predictor:
    """Opens a trained network. `tta` and `max_height` are those of `Predictor`.

    `source` is the folder of a run, whose best weights are taken; a file NAME.weights.h5 with its config next to it; or
    an exported file, which needs no TensorFlow unless it is a SavedModel. `config` replaces the stored one; its `model`
    and its number of classes must fit the weights.

    Raises:
        UserError: The folder is not a run; the weights are missing, damaged or of another network; or the exported file
            cannot be read, its runtime is missing, or it has no scores for `tta`.
    """
    if isinstance(source, str | Path):
        path = Path(source)
        if format_of(path):
            source = ExportedModel.open(path)
        else:
            source = TrainedModel.of_weights(path) if path.name.endswith(ENDING) else TrainedModel.of_run(path)
    if config is None:
        config = source.config()
    classes = classes_of(config.data)
    if isinstance(source, ExportedModel):
        if len(classes) != len(source.classes):
            raise UserError(
                f"{source.path}: has {len(source.classes)} classes, and the config {len(classes)}; drop --set"
            )
        return Predictor(
            ExportedNetwork(source),
            source.classes,
            tta=tta,
            frame_height=source.frame_height,
            max_height=max_height,
            max_megapixels=config.data.max_megapixels,
        )
    from fcn.inference.keras_network import KerasNetwork  # import TensorFlow: not for exported files
    from fcn.model.devices import allow_memory_growth
    from fcn.model.fcn import build_fcn
    from fcn.model.weights import load_weights

    allow_memory_growth()
    model = build_fcn(config.model, len(classes))
    load_weights(model, source.weights, source.content)
    return Predictor(
        KerasNetwork(model),
        classes,
        tta=tta,
        frame_height=source.frame_height,
        max_height=max_height,
        max_megapixels=config.data.max_megapixels,
    )
