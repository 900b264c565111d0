"""Trains CamVid's recipe with other losses and augmentations than fcn has, scored on a drive that is held out.

    python tests/recipes.py run dice focal --held-out 0006R0 --seed 0      # one after another; continued if it exists
    python tests/recipes.py table                                          # the scores of all runs so far

A run lies in runs/recipes/VARIANT-DRIVE-SEED. Each variant replaces one function of the training.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from unittest.mock import patch

import numpy as np
import tensorflow as tf

from fcn.commands import main
from fcn.config.settings import AugmentConfig
from fcn.images import IGNORE
from fcn.training import augment, loop, pipeline
from fcn.training import step as training_step
from fcn.training.loss import pixel_loss, pixel_weights

RUNS = Path("runs/recipes")
STRIDE = (
    4  # of the pixels that Lovasz' loss sorts along rows and columns: sorting all of them takes longer than the step
)
Loss = Callable[[tf.Tensor, tf.Tensor, Sequence[float]], tf.Tensor]
Batch = tuple[tf.Tensor, tf.Tensor]


def total_weight(labels: tf.Tensor, class_weights: Sequence[float]) -> tf.Tensor:
    """What the step divides the loss by."""
    return tf.reduce_sum(pixel_weights(labels, class_weights))


def valid_pixels(logits: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Probabilities and one-hot labels of the valid pixels, float32 (P, C) each; rows of zeros for the others."""
    classes = logits.shape[-1]
    valid = tf.cast(labels != IGNORE, tf.float32)[..., tf.newaxis]
    one_hot = tf.one_hot(tf.cast(labels, tf.int32), classes) * valid
    probabilities = tf.nn.softmax(logits) * valid
    return tf.reshape(probabilities, [-1, classes]), tf.reshape(one_hot, [-1, classes])


def cross_entropies(
    logits: tf.Tensor, labels: tf.Tensor, class_weights: Sequence[float]
) -> tuple[tf.Tensor, tf.Tensor]:
    """Weighted cross-entropy of each pixel and the probability of its label, 0 and 1 for ignored ones."""
    known = tf.where(labels == IGNORE, 0, tf.cast(labels, tf.int32))
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(known, logits)
    weights = tf.where(labels == IGNORE, 0.0, pixel_weights(labels, class_weights))
    return weights * losses, tf.exp(-losses)


def dice(logits: tf.Tensor, labels: tf.Tensor, class_weights: Sequence[float]) -> tf.Tensor:
    """Cross-entropy plus 1 - Dice, the mean over the classes of the batch (Milletari, Navab and Ahmadi 2016)."""
    probabilities, one_hot = valid_pixels(logits, labels)
    overlap = tf.reduce_sum(probabilities * one_hot, axis=0)
    total = tf.reduce_sum(probabilities * probabilities, axis=0) + tf.reduce_sum(one_hot, axis=0)
    shown = tf.cast(tf.reduce_sum(one_hot, axis=0) > 0, tf.float32)
    mean = tf.math.divide_no_nan(tf.reduce_sum(shown * 2 * overlap / (total + 1e-6)), tf.reduce_sum(shown))
    return pixel_loss(logits, labels, class_weights) + total_weight(labels, class_weights) * (1 - mean)


def focal(logits: tf.Tensor, labels: tf.Tensor, class_weights: Sequence[float]) -> tf.Tensor:
    """Cross-entropy times (1 - p) ** 2 (Lin et al. 2017)."""
    losses, probabilities = cross_entropies(logits, labels, class_weights)
    return tf.reduce_sum((1 - probabilities) ** 2 * losses)


def ohem(logits: tf.Tensor, labels: tf.Tensor, class_weights: Sequence[float]) -> tf.Tensor:
    """Mean cross-entropy of the quarter of the pixels with the largest (online hard example mining)."""
    losses, _ = cross_entropies(logits, labels, class_weights)
    losses = tf.reshape(losses, [-1])
    hardest, indices = tf.math.top_k(losses, losses.shape[0] // 4, sorted=False)
    weights = tf.reshape(tf.where(labels == IGNORE, 0.0, pixel_weights(labels, class_weights)), [-1])
    mean = tf.math.divide_no_nan(tf.reduce_sum(hardest), tf.reduce_sum(tf.gather(weights, indices)))
    return mean * total_weight(labels, class_weights)


def lovasz(logits: tf.Tensor, labels: tf.Tensor, class_weights: Sequence[float]) -> tf.Tensor:
    """Cross-entropy plus the Lovasz-softmax loss of the classes of the batch (Berman, Triki and Blaschko 2018)."""
    probabilities, one_hot = valid_pixels(logits[:, ::STRIDE, ::STRIDE], labels[:, ::STRIDE, ::STRIDE])
    errors = tf.abs(one_hot - probabilities)
    order = tf.argsort(tf.stop_gradient(errors), axis=0, direction="DESCENDING")
    truth = sorted_by(one_hot, order)
    missed = tf.reduce_sum(one_hot, axis=0) - tf.cumsum(truth, axis=0)
    union = tf.reduce_sum(one_hot, axis=0) + tf.cumsum(1 - truth, axis=0)
    jaccard = 1 - missed / union
    steps = jaccard - tf.pad(jaccard[:-1], [[1, 0], [0, 0]])
    of_class = tf.reduce_sum(sorted_by(errors, order) * tf.stop_gradient(steps), axis=0)
    shown = tf.cast(tf.reduce_sum(one_hot, axis=0) > 0, tf.float32)
    mean = tf.math.divide_no_nan(tf.reduce_sum(shown * of_class), tf.reduce_sum(shown))
    return pixel_loss(logits, labels, class_weights) + total_weight(labels, class_weights) * mean


def sorted_by(values: tf.Tensor, order: tf.Tensor) -> tf.Tensor:
    """Each column (P, C) in its own order."""
    return tf.transpose(tf.gather(tf.transpose(values), tf.transpose(order), batch_dims=1))


def rotated(image: tf.Tensor, label: tf.Tensor, config: AugmentConfig, seed: tf.Tensor) -> Batch:
    """`augment_frame`, then a rotation by up to 7 degrees; what comes in is black and ignored."""
    image, label = augment.augment_frame(image, label, config, seed)
    angle = tf.random.stateless_uniform([], seed + 1, -7, 7) * np.pi / 180
    cos, sin = tf.cos(angle), tf.sin(angle)
    height, width = (side - 1 for side in config.crop_size)
    left = (width - (cos * width - sin * height)) / 2
    top = (height - (sin * width + cos * height)) / 2
    change = tf.stack([cos, -sin, left, sin, cos, top, 0.0, 0.0])[tf.newaxis]

    def turned(values: tf.Tensor, method: str, fill: float) -> tf.Tensor:
        return tf.raw_ops.ImageProjectiveTransformV3(
            images=tf.cast(values, tf.float32)[tf.newaxis],
            transforms=change,
            output_shape=tf.constant(config.crop_size),
            fill_value=fill,
            interpolation=method,
            fill_mode="CONSTANT",
        )[0]

    image = tf.cast(tf.round(turned(image, "BILINEAR", 0.0)), tf.uint8)
    return image, tf.cast(turned(label[..., tf.newaxis], "NEAREST", float(IGNORE))[..., 0], tf.uint8)


def blurred(image: tf.Tensor, label: tf.Tensor, config: AugmentConfig, seed: tf.Tensor) -> Batch:
    """`augment_frame`, then for half of the frames a Gaussian blur with a sigma of 0.3 to 1.5 pixels."""
    image, label = augment.augment_frame(image, label, config, seed)
    draws = tf.random.stateless_uniform([2], seed + 1)
    line = tf.exp(-(tf.range(-4.0, 5.0) ** 2) / (2 * (0.3 + 1.2 * draws[0]) ** 2))
    line /= tf.reduce_sum(line)

    def blur() -> tf.Tensor:
        values = tf.pad(tf.cast(image, tf.float32), [[4, 4], [4, 4], [0, 0]], "REFLECT")[tf.newaxis]
        for shape in ((9, 1, 1, 1), (1, 9, 1, 1)):
            kernel = tf.tile(tf.reshape(line, shape), [1, 1, 3, 1])
            values = tf.nn.depthwise_conv2d(values, kernel, [1, 1, 1, 1], "VALID")
        return tf.cast(tf.round(values[0]), tf.uint8)

    return tf.cond(draws[1] < 0.5, blur, lambda: image), label


def cutmix(*arguments: object, **keywords: object) -> Iterator[Batch]:
    """`training_batches`; in half of the steps each frame gets a window of the next one (Yun et al. 2019)."""
    start = keywords["start"]
    batches = pipeline.training_batches(*arguments, **keywords)
    for step, (images, labels) in enumerate(batches, start=start):
        random = np.random.default_rng((keywords["seed"], step))
        if random.random() < 0.5:
            height, width = labels.shape[1:]
            side = np.sqrt(random.beta(1, 1))
            rows, columns = round(height * side), round(width * side)
            top, left = random.integers(0, height - rows + 1), random.integers(0, width - columns + 1)
            inside = np.zeros((1, height, width), bool)
            inside[:, top : top + rows, left : left + columns] = True
            images = tf.where(inside[..., np.newaxis], tf.roll(images, 1, axis=0), images)
            labels = tf.where(inside, tf.roll(labels, 1, axis=0), labels)
        yield images, labels


VARIANTS = {
    "none": (),
    "dice": (training_step, "pixel_loss", dice),
    "focal": (training_step, "pixel_loss", focal),
    "lovasz": (training_step, "pixel_loss", lovasz),
    "ohem": (training_step, "pixel_loss", ohem),
    "rotation": (pipeline, "augment_frame", rotated),
    "blur": (pipeline, "augment_frame", blurred),
    "cutmix": (loop, "training_batches", cutmix),
}


def train(variant: str, held_out: str, seed: int, settings: Sequence[str]) -> None:
    """Trains a variant, or continues its run."""
    folder = RUNS / f"{variant}-{held_out}-{seed}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    words = ["train", "--config", "camvid", "--run-dir", str(folder), "--resume"]
    fixed = (f"data.held_out={held_out}", f"train.seed={seed}", "train.steps=2000", "train.checkpoint_steps=200")
    for setting in (*fixed, *settings):
        words += ["--set", setting]
    with patch.object(sys, "argv", ["fcn", *words]):
        try:
            if VARIANTS[variant]:
                with patch.object(*VARIANTS[variant]):
                    main()
            else:
                main()
        except SystemExit as ended:
            if ended.code:
                raise


def table() -> str:
    """mIoU, road IoU and boundary F-score of each variant: the mean over its runs, and each of them."""
    lines = [f"{'variant':<10} {'mIoU':>7} {'boundary F':>10}  runs"]
    for variant in VARIANTS:
        reports = sorted(RUNS.glob(f"{variant}-*/report.json"))
        if reports:
            figures = [json.loads(path.read_text()) for path in reports]
            means = [np.mean([one[name] for one in figures]) for name in ("miou", "mean_boundary_f")]
            runs = ", ".join(
                f"{path.parent.name.removeprefix(variant + '-')}: {one['miou']:.3f}"
                for path, one in zip(reports, figures, strict=True)
            )
            lines.append(f"{variant:<10} {means[0]:>7.3f} {means[1]:>10.3f}  {runs}")
    return "\n".join(lines)


if __name__ == "__main__":
    command = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    command.add_argument("action", choices=("run", "table"))
    command.add_argument("variants", nargs="*", metavar="VARIANT", help=f"of {', '.join(VARIANTS)}; all")
    command.add_argument("--held-out", default="0006R0", metavar="DRIVE")
    command.add_argument("--seed", type=int, default=0)
    command.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    arguments = command.parse_args()
    if arguments.action == "run":
        for one in arguments.variants or VARIANTS:
            train(one, arguments.held_out, seed=arguments.seed, settings=arguments.set)
    print(table())
