"""Gradient of 3x3 kernels as matrix products, for processors on which oneDNN's own is slow."""

# Shapes: N images, H x W cells, c input and d output channels
from __future__ import annotations

from collections.abc import Callable

import keras
import tensorflow as tf

from fcn.runs.environment import processor_flags

MIN_CHANNELS = 32  # below, the products read more than they compute


def products_are_faster() -> bool:
    """Whether oneDNN has no fast gradient of kernels: on x86 without AVX-512 it runs at a sixth of the forward pass."""
    flags = processor_flags()
    return "avx2" in flags and "avx512f" not in flags and not tf.config.list_physical_devices("GPU")


def use_products(model: keras.Model) -> None:
    """Lets the float32 3x3 convolutions of at least MIN_CHANNELS channels compute their gradient by `convolve`."""
    for layer in model.layers:
        if not isinstance(layer, keras.layers.Conv2D) or layer.kernel_size != (3, 3):
            continue
        if layer.compute_dtype == "float32" and layer.kernel.shape[2] >= MIN_CHANNELS:
            layer.convolution_op = convolve  # the method that Keras' layer calls


def convolve(inputs: tf.Tensor, kernel: keras.Variable | tf.Tensor) -> tf.Tensor:
    """SAME convolution with stride 1 of float32 (N, H, W, c) with a kernel (3, 3, c, d): (N, H, W, d)."""
    return _convolve(inputs, tf.convert_to_tensor(kernel))


@tf.custom_gradient
def _convolve(
    inputs: tf.Tensor, kernel: tf.Tensor
) -> tuple[tf.Tensor, Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]]:
    def backward(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        of_inputs = tf.raw_ops.Conv2DBackpropInput(
            input_sizes=tf.shape(inputs),
            filter=kernel,
            out_backprop=upstream,
            strides=[1, 1, 1, 1],
            padding="SAME",
        )
        return of_inputs, kernel_gradient(inputs, upstream)

    return tf.nn.conv2d(inputs, kernel, strides=1, padding="SAME"), backward


def kernel_gradient(inputs: tf.Tensor, upstream: tf.Tensor) -> tf.Tensor:
    """Gradient (3, 3, c, d) of the kernel, from inputs (N, H, W, c) and the gradient (N, H, W, d) of the result.

    That of tap (i, j) is the sum of inputs[n, y + i - 1, x + j - 1]^T upstream[n, y, x]. Where both maps are padded to
    H + 2 by W + 2 and written as one row of cells, the shift by (i, j) is an offset of i (W + 2) + j cells, and the
    nine matrices are views of one.
    """
    shape = tf.shape(inputs)
    width = shape[2] + 2
    count = shape[0] * (shape[1] + 2) * width - 2 * width - 2  # cells that have all nine offsets
    padded = tf.pad(inputs, [[0, 0], [1, 1], [1, 1], [0, 0]])  # N, H + 2, W + 2, c
    cells = tf.reshape(padded, [-1, inputs.shape[-1]])
    padded_upstream = tf.pad(upstream, [[0, 0], [0, 2], [0, 2], [0, 0]])  # N, H + 2, W + 2, d
    upstream_cells = tf.reshape(padded_upstream, [-1, upstream.shape[-1]])[:count]
    products = []
    for i in range(3):
        for j in range(3):
            offset = i * width + j
            products.append(tf.matmul(cells[offset : offset + count], upstream_cells, transpose_a=True))  # c, d
    return tf.reshape(tf.stack(products), [3, 3, inputs.shape[-1], upstream.shape[-1]])
