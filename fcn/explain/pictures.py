"""The pictures of docs/layers.md, with the numbers that the layers compute for each picture anew."""

# Shapes: H x W cells or pixels, n cells a side, k kernel or window, s stride
from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from PIL import Image
from PIL.Image import Resampling

from fcn.config.settings import ModelConfig
from fcn.datasets.synthetic import Scene
from fcn.explain.examples import post_layers, windows
from fcn.explain.sheet import LINE, MARGIN, Sheet, gif_of
from fcn.explain.sliding import scores_of_windows, whole_cells
from fcn.files import write_file
from fcn.images import Array, write_image
from fcn.inference.keras_network import KerasNetwork
from fcn.inference.predictor import Predictor
from fcn.model.convolutionalize import dense_kernel_to_conv
from fcn.model.fcn import bilinear_kernel, upsample
from fcn.pictures import legend, overlay

STAGES = {"score_fr": 32, "fuse_pool4": 16, "fuse_pool3": 8}  # layer of scores, if the network has it -> pixels a cell
TINT = 0.6  # strength of the colors over a street


def dense_and_convolution() -> Image.Image:
    """The post's input through a dense layer, a 1x1 convolution with the same kernel, and back."""
    x, dense_layer, conv_layer, transposed = post_layers()
    dense = dense_layer(x).numpy()
    conv = conv_layer(x).numpy()
    columns = {
        f"input {x.shape}": x,
        f"dense, kernel {dense_layer.kernel.shape}": dense,
        f"1x1 convolution, {conv_layer.kernel.shape}": conv,
        f"transposed, to {x.shape}": transposed(dense).numpy(),
    }
    sheet = Sheet(width=896, height=500)
    for index, (title, maps) in enumerate(columns.items()):
        left = MARGIN + index * 224
        sheet.text((left, 18), title)
        if maps.shape[-1] == 1:
            sheet.cells((left, 177), maps[0, ..., 0], side=48, form="{:.3f}", peak=2)
        else:
            for channel, factor in enumerate(dense_layer.kernel.numpy()[0]):
                place = (left, 62 + channel * 230)
                sheet.cells(place, maps[0, ..., channel], 48, f"x {factor:.8f}", form="{:.3f}", peak=2)
    return sheet.image


SCATTERED = np.array([[1, 2, 1], [2, 3, 1], [1, 1, 2]], "float32")  # small, so that sums can be checked by hand
TENTS = {2: (1, 1), 3: (1, 2, 1), 4: (1, 3, 3, 1)}  # bilinear kernels along one axis, times 1, 2 and 4


def scatter(k: int, cells: int) -> Array:
    """What the first `cells` input cells add up to in a VALID transposed convolution with stride 2: (4 + k, 4 + k)."""
    kernel = np.outer(TENTS[k], TENTS[k]).astype("float32")
    first = np.where(np.arange(9) < cells, SCATTERED.ravel(), 0).reshape(1, 3, 3, 1)
    return tf.nn.conv2d_transpose(first, kernel[..., None, None], (1, 4 + k, 4 + k, 1), 2, "VALID")[0, ..., 0].numpy()


def scatter_animation() -> list[Image.Image]:
    """Kernels 2, 3 and 4 at stride 2: each input cell adds its scaled kernel to the output; then what SAME keeps."""
    side = 30
    frames = []
    for cell in range(10):
        sheet = Sheet(width=762, height=490)
        row, column = divmod(cell, 3)
        left = MARGIN
        for k, tent in TENTS.items():
            sheet.cells((left, 36), SCATTERED, side, f"input   x   kernel {k} x {k}, stride 2")
            sheet.cells((left + 4 * side, 36), np.outer(tent, tent), side)
            sheet.cells((left, 200), scatter(k, cell + 1), side, "output", peak=scatter(k, 9).max())
            if cell < 9:
                sheet.frame((left, 36), (row, column, 1, 1), side)
                sheet.frame((left, 200), (2 * row, 2 * column, k, k), side)
            else:
                sheet.frame((left, 200), ((k - 2) // 2, (k - 2) // 2, 6, 6), side)
            left += (4 + k) * side + 50
        text = "The framed cell times the kernel is added to the framed window of the output."
        if cell == 9:
            text = "VALID makes all these cells, (3 - 1) x 2 + kernel a side. SAME keeps the framed ones, 3 x 2 a side."
        sheet.text((MARGIN, 468), text)
        frames.append(sheet.image)
    return frames


def matrices() -> tuple[Array, Array]:
    """Of a convolution from 7 cells to 3, kernel (1, 2, 3), stride 2, and of the transposed one: (3, 7) and (7, 3).

    Column i is what the layer makes of a 1 in cell i.
    """
    kernel = np.array([1, 2, 3], "float32").reshape(3, 1, 1)
    matrix = tf.nn.conv1d(np.eye(7, dtype="float32")[..., None], kernel, 2, "VALID")
    transposed = tf.nn.conv1d_transpose(np.eye(3, dtype="float32")[..., None], kernel, (3, 7, 1), 2, "VALID")
    return matrix[..., 0].numpy().T, transposed[..., 0].numpy().T


def transposed_matrix() -> Image.Image:
    """The matrix of a convolution and its transpose, applied one after the other."""
    side = 36
    matrix, transposed = matrices()
    x = np.arange(1, 8)[:, None]
    y = matrix @ x
    sheet = Sheet(width=724, height=346)
    sheet.text((16, 22), "convolution (1, 2, 3), stride 2: C x = y")
    sheet.cells((16, 132), matrix, side, peak=4)
    sheet.cells((296, 60), x, side, peak=120)
    sheet.cells((360, 132), y, side, peak=120)
    sheet.frame((16, 132), (1, 2, 1, 3), side)
    sheet.text((456, 22), "transposed convolution: C' y")
    sheet.cells((456, 60), transposed, side, peak=4)
    sheet.cells((592, 132), y, side, peak=120)
    sheet.cells((656, 60), transposed @ y, side, peak=120)
    sheet.frame((456, 60), (2, 1, 3, 1), side)
    for left, sign in ((282, "x"), (346, "="), (578, "x"), (642, "=")):
        sheet.text((left, 186), sign, anchor="mm")
    rule = "C' is C transposed: the framed row gathers three cells into one, the column scatters one over three."
    sheet.text((16, 328), rule)
    return sheet.image


def overlaps(k: int) -> Array:
    """The post's downsample example, ones (1, 7, 7, 256) through a kernel of ones with stride 2, SAME: (14, 14)."""
    kernel = tf.ones((k, k, 1, 256))
    return tf.nn.conv2d_transpose(tf.ones((1, 7, 7, 256)), kernel, (1, 14, 14, 1), 2)[0, ..., 0].numpy()


def overlap_map() -> Image.Image:
    """The checkerboard of kernel 3 next to kernel 4, both with stride 2."""
    side = 28
    sheet = Sheet(width=840, height=452)
    for left, k, title in ((16, 3, "kernel 3, stride 2: a checkerboard"), (432, 4, "kernel 4, stride 2: even inside")):
        sheet.cells((left, 44), overlaps(k), side, title, peak=1024)
    return sheet.image


def upsampled_ones(repeat_edge: bool) -> Array:
    """Ones (3, 3) times 8 by a bilinear kernel, with or without the edge cell repeated first: (24, 24)."""
    ones = tf.ones((1, 3, 3, 1))
    if repeat_edge:
        return upsample(ones, factor=8, reference=tf.zeros((1, 24, 24, 1)), name="up")[0, ..., 0].numpy()
    return tf.nn.conv2d_transpose(ones, bilinear_kernel((16, 16, 1, 1)), (1, 24, 24, 1), 8)[0, ..., 0].numpy()


def border() -> Image.Image:
    """A constant after plain SAME upsampling, and with the edge cell repeated first."""
    sheet = Sheet(width=760, height=440)
    titles = {False: "1 everywhere, upsampled by 8: plain SAME", True: "the edge cell repeated first: fcn's upsample"}
    for left, (repeat_edge, title) in zip((MARGIN, 400), titles.items(), strict=True):
        ones = upsampled_ones(repeat_edge)
        sheet.cells((left, 44), ones, 12, title, form="")
        sheet.frame((left, 44), (11, 0, 1, 7), 12)
        sheet.cells((left, 374), ones[11:12, :7], 48, "the framed pixels", form="{:.2f}", peak=1)
    return sheet.image


def window_scores() -> tuple[Array, Array, Array, Array]:
    """A map (5, 6), a dense kernel (9, 1), its score for every window (3, 4), and the converted map (5, 6)."""
    random = np.random.RandomState(2)
    features = random.randint(0, 4, (5, 6)).astype("float32")
    kernel = random.randint(-2, 3, (9, 1)).astype("float32")
    dense = (windows(features[None, ..., None], 3).reshape(3, 4, 9) @ kernel)[..., 0]
    converted = tf.nn.conv2d(features[None, ..., None], dense_kernel_to_conv(kernel, (3, 3)), 1, "SAME")
    return features, kernel, dense, converted[0, ..., 0].numpy()


def window() -> Image.Image:
    """One window of the last map, its dense score, and the same score in the converted map."""
    side = 34
    features, kernel, dense, converted = window_scores()
    sheet = Sheet(width=758, height=344)
    sheet.cells((16, 44), features, side, "last pooled map, a window", peak=4)
    sheet.cells((328, 78), kernel.reshape(3, 3), side, "kernel as a window", peak=4)
    sheet.cells((538, 44), converted, side, "converted map", peak=13)
    sheet.cells((16, 284), features[1:4, 2:5].reshape(1, 9), side, "the window, flattened", peak=4)
    sheet.cells((352, 284), kernel.T, side, f"x   dense kernel {kernel.shape}", peak=4)
    sheet.cells((690, 284), dense[1:2, 2:3], side, "= score", peak=13)
    sheet.frame((16, 44), (1, 2, 3, 3), side)
    sheet.frame((538, 44), (2, 3, 1, 1), side)
    sheet.frame((690, 284), (0, 0, 1, 1), side)
    return sheet.image


def stage_labels(predictor: Predictor, image: Array) -> dict[str, Array]:
    """The class of every pixel, uint8 (H, W), by the upsampled scores of each of STAGES and by the logits."""
    network = predictor.model
    labels = {}
    for layer in network.layers:
        if layer.name in STAGES:
            logits = upsample(layer.output, STAGES[layer.name], network.input, f"{layer.name}_upsampled")
            stage = KerasNetwork(keras.Model(network.input, logits))
            labels[layer.name] = replace(predictor, network=stage).labels(image)
    return {**labels, "logits": predictor.labels(image)}


def street(predictor: Predictor, image: Array) -> Array:
    """One network read at several points of its decoder: overlays with titles and legend, uint8 RGB."""
    width = 400
    height = round(width * image.shape[0] / image.shape[1])
    labels = stage_labels(predictor, image)
    sheet = Sheet(2 * width + 8, (len(labels) + 1) // 2 * (height + 36))
    for index, (name, label) in enumerate(labels.items()):
        left = index % 2 * (width + 8)
        top = index // 2 * (height + 36)
        title = f"{name}: {STAGES[name]} pixels a cell" if name in STAGES else "the network's result"
        sheet.text((left + 4, top + 18), title)
        tinted = Image.fromarray(overlay(image, label, predictor.classes, TINT))
        sheet.image.paste(tinted.resize((width, height), Resampling.LANCZOS), (left, top + 32))
    return np.concatenate([np.asarray(sheet.image), legend(predictor.classes, sheet.image.width)])


def window_classes(predictor: Predictor, config: ModelConfig, image: Array) -> Array:
    """The class of every window of the last map and of the image, right and with lost biases: uint8 RGB."""
    scores = scores_of_windows(predictor.model, config, whole_cells(predictor, image, config.head_window))
    titles = ("one pass", "windows of the last map", "windows of the image", "last map, biases lost")
    rows, columns = scores["one pass"].shape[:2]
    side = max(1, 200 // columns)
    sheet = Sheet(width=4 * 216 + 8, height=40 + rows * side)
    for index, (title, values) in enumerate(zip(titles, scores.values(), strict=True)):
        left = 8 + index * 216
        sheet.text((left, 18), title)
        for (row, column), label in np.ndenumerate(values.argmax(axis=-1)):
            corner = (left + column * side, 34 + row * side)
            box = (*corner, corner[0] + side, corner[1] + side)
            sheet.draw.rectangle(box, predictor.classes[label].color, LINE)
    return np.concatenate([np.asarray(sheet.image), legend(predictor.classes, sheet.image.width)])


def write_pictures(directory: Path, predictor: Predictor, config: ModelConfig, image: Array | None = None) -> None:
    """Writes all pictures into an existing directory; those of a street from an image (H, W, 3) or a generated road.

    `config` is that of the network.
    """
    if image is None:
        image = np.asarray(Scene((360, 480), np.random.RandomState(1)).image)
    pictures = {
        "dense.png": dense_and_convolution(),
        "matrix.png": transposed_matrix(),
        "overlap.png": overlap_map(),
        "border.png": border(),
        "window.png": window(),
        "windows.png": window_classes(predictor, config, image),
        "street.jpg": street(predictor, image),
    }
    for name, picture in pictures.items():
        write_image(directory / name, np.asarray(picture))
    write_file(directory / "scatter.gif", gif_of(scatter_animation()))
