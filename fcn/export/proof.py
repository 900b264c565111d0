"""Compares an exported network with the network that it was made of: the proof that is stored in its file."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from PIL.Image import Resampling
from tqdm import tqdm

from fcn.evaluation.metrics import ConfusionMatrix
from fcn.images import IGNORE, Array, SegmentationClass
from fcn.inference.network import Network, Output
from fcn.inference.predictor import resized
from fcn.inference.tiles import TILE_PIXELS, tiles

EQUAL_FLOAT32 = 0.9999  # share of the pixels whose class must be equal
LOGITS_FLOAT32 = 1e-3  # largest difference of a logit
EQUAL = 0.99  # the share for float16 and int8, or else
MIOU = 0.005  # the largest difference of mIoU
SMALL = (37, 49)  # (height, width) of the smallest cutout that is compared

Reference = Callable[[Array], Array]  # uint8 (H, W, 3) -> logits float32 (H, W, C)
Frame = tuple[Array, Array | None]  # image uint8 (H, W, 3); label uint8 (H, W), if there is one


def prove(
    reference: Reference,
    network: Network,
    frames: Iterable[Frame],
    classes: Sequence[SegmentationClass],
    outputs: Sequence[Output] = ("labels",),
    scores: Network | None = None,
) -> dict[str, Any]:
    """Runs both networks on frames, and on the first frame at three other sizes where the exported one takes any.

    Args:
        reference: The network that was exported.
        network: The exported one. Frames are resized to its size, if it takes one only; else large ones go by tiles.
        frames: At least one.
        classes: Of the channels.
        outputs: Of the exported network, `labels` first. The class of a pixel is equal only if it is in all of them.
        scores: An exported network whose logits are compared; None: they are not.

    Returns:
        `frames` and `pixels` compared; `equal`, the share of pixels with the same class; `other_sizes`, the same for
        each other size and for `all` of them; `largest_difference` of a logit, where `scores` are given;
        `miou` of the exported network and `network_miou`, where there is ground truth, at the frames' own size.
    """
    ours = ConfusionMatrix(classes)
    theirs = ConfusionMatrix(classes)
    other_sizes: dict[str, float] = {}
    equal = pixels = count = 0
    difference = 0.0

    def compare(image: Array) -> tuple[Array, Array, Array]:
        """Classes of both networks, uint8 (H, W), and where they are equal, bool (H, W)."""
        nonlocal difference
        logits = reference(image)
        expected = logits.argmax(-1).astype(np.uint8)
        labels, *others = network.run(image, *outputs)
        same = np.logical_and.reduce([labels == expected, *(one.argmax(-1) == expected for one in others)])
        if scores is not None:
            (values,) = scores.run(image, "logits")
            difference = float(np.maximum(difference, np.abs(values - logits).max()))  # max() would drop NaN
        return expected, labels, same

    for image, label in tqdm(frames, "compare", unit="frame", leave=False, disable=None):
        at_size = resized(image, *network.size) if network.size else image
        height, width = at_size.shape[:2]
        expected = np.empty((height, width), np.uint8)
        labels = np.empty_like(expected)
        limit = TILE_PIXELS if network.size is None else sys.maxsize
        for tile, kept, inner in tiles(height, width, radius=network.radius, limit=limit):
            expected_here, labels_here, same = compare(np.ascontiguousarray(at_size[tile]))
            expected[kept] = expected_here[inner]
            labels[kept] = labels_here[inner]
            equal += int(same[inner].sum())
        pixels += labels.size
        count += 1
        if count == 1 and network.size is None:
            maps = [compare(other)[2] for other in _other_sizes(image)]
            other_sizes = {"{}x{}".format(*same.shape): float(same.mean()) for same in maps}
            other_sizes["all"] = sum(int(same.sum()) for same in maps) / sum(same.size for same in maps)
        if label is not None and (label != IGNORE).any():
            for matrix, values in ((ours, expected), (theirs, labels)):
                prediction = resized(values, label.shape[0], label.shape[1], method=Resampling.NEAREST)
                wrong = (label + 1) % len(classes)  # instead of what is no class
                matrix.add("", label, np.where(prediction < len(classes), prediction, wrong))
    return {
        "frames": count,
        "pixels": pixels,
        "equal": equal / pixels,
        "other_sizes": other_sizes,
        "largest_difference": difference if scores is not None else None,
        "miou": theirs.scores()["miou"],
        "network_miou": ours.scores()["miou"],
    }


def refusal(proof: dict[str, Any], precision: str) -> str | None:
    """Why a file with this proof is refused; None if it is as good as its precision promises."""
    share = f"the class is equal on {proof['equal']:.4%} of the pixels"
    if precision == "float32":
        if proof["equal"] < EQUAL_FLOAT32:
            return f"{share}; float32 needs {EQUAL_FLOAT32:.2%}"
        if not proof["largest_difference"] <= LOGITS_FLOAT32:
            return f"a logit differs by {proof['largest_difference']:.2g}; float32 needs {LOGITS_FLOAT32}"
        needed = EQUAL_FLOAT32
    else:
        has_truth = proof["miou"] is not None
        loss = abs(proof["miou"] - proof["network_miou"]) if has_truth else np.inf
        if proof["equal"] < EQUAL and loss > MIOU:
            also = f" and mIoU differs by {loss:.4f}" if has_truth else ""
            return f"{share}{also}; {precision} needs {EQUAL:.0%}, or {MIOU} of mIoU"
        needed = min(EQUAL, proof["equal"] - 0.01)
    if proof["other_sizes"] and proof["other_sizes"]["all"] < needed:
        return f"{share}, but at other sizes on {proof['other_sizes']['all']:.4%}; {precision} needs {needed:.2%}"
    return None


def _other_sizes(image: Array) -> list[Array]:
    """Two cutouts, one of odd height and width, and the image enlarged to odd height and width.

    Before, a side below 96 pixels is enlarged to that, and one above 1024 reduced.
    """
    height, width = (min(max(side, 96), 1024) for side in image.shape[:2])
    image = resized(image, height, width)
    small = image[height // 3 : height // 3 + SMALL[0], width // 3 : width // 3 + SMALL[1]]
    odd = image[: height * 3 // 4 | 1, : width * 2 // 3 | 1]
    return [small, odd, resized(image, height * 5 // 4 | 1, width * 5 // 4 | 1)]
