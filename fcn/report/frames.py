"""The frames that a report shows: image, ground truth, prediction and errors, as pictures inside the page."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from io import BytesIO
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from PIL.Image import Resampling

from fcn.datasets.dataset import Dataset
from fcn.images import Array, SegmentationClass, palette, png_of

WORST, BEST = 4, 2  # frames that are shown
MAX_WIDTH = 320  # pixels of a picture; a page has four side by side
JPEG_QUALITY = 70
RIGHT = SegmentationClass("right", (228, 228, 228))  # pixels without an error


class ShownFrame(NamedTuple):
    """A frame, its scores, and the addresses of its pictures: `data:` and the picture itself."""

    name: str
    miou: float
    pixel_accuracy: float
    pictures: dict[str, str]


def choose_frames(per_frame: Sequence[dict[str, Any]]) -> tuple[list[int], list[int]]:
    """Indices of the worst frames, worst first, and of the best, best first, by mIoU; none is in both."""
    scored = [index for index, scores in enumerate(per_frame) if scores["miou"] is not None]
    ranked = sorted(scored, key=lambda index: (per_frame[index]["miou"], per_frame[index]["name"]))
    worst = ranked[:WORST]
    return worst, ranked[len(worst) :][::-1][:BEST]


def show_frame(dataset: Dataset, index: int, scores: dict[str, Any], predict: Callable[[Array], Array]) -> ShownFrame:
    """Pictures of a frame, at most `MAX_WIDTH` wide. `predict`: image uint8 (H, W, 3) -> labels uint8 (H, W)."""
    image, label = dataset.read(index)
    prediction = predict(image)
    colors = palette(dataset.classes)
    # errors have the color of the ground truth
    errors = np.where(prediction == label, len(dataset.classes), label)
    error_colors = palette([*dataset.classes, RIGHT])
    pictures = {
        "image": _address("jpeg", _jpeg_of(image)),
        "ground truth": _address("png", png_of(_narrow(label), colors)),
        "prediction": _address("png", png_of(_narrow(prediction), colors)),
        "errors": _address("png", png_of(_narrow(errors.astype(np.uint8)), error_colors)),
    }
    return ShownFrame(dataset.names[index], scores["miou"], scores["pixel_accuracy"], pictures)


def _narrow(picture: Array) -> Array:
    """A picture at most `MAX_WIDTH` wide; of label maps the nearest pixel is taken."""
    height, width = picture.shape[:2]
    if width <= MAX_WIDTH:
        return picture
    method = Resampling.NEAREST if picture.ndim == 2 else Resampling.LANCZOS
    size = (MAX_WIDTH, max(1, round(height * MAX_WIDTH / width)))
    return np.asarray(Image.fromarray(picture).resize(size, method))


def _jpeg_of(image: Array) -> bytes:
    file = BytesIO()
    Image.fromarray(_narrow(image)).save(file, "JPEG", quality=JPEG_QUALITY)
    return file.getvalue()


def _address(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
