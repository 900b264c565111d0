"""The examples of the blog post "Transpose a CNN (TensorFlow)" and what its reader asks next, computed when printed."""

# Shapes: N images, H x W cells or pixels, C channels; n cells a side, k kernel or window, s stride
from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from fcn.config.settings import ENCODER_STRIDE, ModelConfig
from fcn.model.convolutionalize import convolutionalize, dense_kernel_to_conv
from fcn.model.fcn import bilinear_kernel, upsample
from fcn.model.vgg import build_classifier


def page() -> str:
    """All examples with their rules, for a terminal."""
    return f"""\
THE LAYERS OF A FULLY CONVOLUTIONAL NETWORK, IN NUMBERS
Every result was computed just now; its eighth digit may depend on the machine. Shapes end with height, width, channels.
{channels()}{sizes()}{downsampling()}{upsampling()}{adjoint()}{dense_head()}{small_vgg()}{bilinear()}"""


def digits(array: np.ndarray) -> str:
    """The array in as many digits as the post prints: 9 of a float64, 8 of a float32."""
    precision = 9 if array.dtype == np.float64 else 8
    return np.array2string(array, formatter={"float_kind": f"{{:#13.{precision}g}}".format}, max_line_width=116)


def post_layers() -> tuple[np.ndarray, keras.Layer, keras.Layer, keras.Layer]:
    """The post's input (1, 4, 4, 1), and with its kernel a dense layer, a 1x1 convolution and a transposed one."""
    x = np.random.RandomState(1).rand(1, 4, 4, 1)  # the numbers of np.random.seed(1), without its global state
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        kernel = session.run(tf.compat.v1.random_normal((2,), seed=0))
    options = {"use_bias": False, "kernel_initializer": lambda shape, dtype: tf.constant(kernel.reshape(shape), dtype)}
    return x, layers.Dense(2, **options), layers.Conv2D(2, 1, **options), layers.Conv2DTranspose(1, 1, **options)


def channels() -> str:
    """A dense layer and a 1x1 convolution from one channel to two, and a transposed convolution of each back to one."""
    x, dense_layer, conv_layer, transposed = post_layers()
    dense = dense_layer(x).numpy()
    conv = conv_layer(x).numpy()
    kernel = dense_layer.kernel.numpy()[0]
    difference = abs(conv - dense).max()
    back = transposed(dense).numpy()
    return f"""
== 1. A dense layer over the channels is a 1x1 convolution ==
Input: np.random.seed(1), then np.random.rand(1, 4, 4, 1), shape {x.shape}
{digits(x[0, :, :, 0])}
Every kernel has the same two numbers: ({kernel[0]:.8f}, {kernel[1]:.8f}), from random_normal with op seed 0.
Dense layer, kernel {dense_layer.kernel.shape} -> {dense.shape}, first channel above second:
{digits(np.moveaxis(dense[0], -1, 0))}
Convolution, kernel {conv_layer.kernel.shape} -> {conv.shape}, differs from the dense layer by {difference:.7g}
Rule: both multiply each cell by both numbers, and every cell stays where it is.
conv2d_transpose of the dense output, 1 filter, 1x1, stride 1, kernel {transposed.kernel.shape} -> {back.shape}
{digits(back[0, :, :, 0])}
For the convolution's output the result differs from this by {abs(transposed(conv).numpy() - back).max():.7g}.
Rule: each channel is multiplied by its number again, and the channels are added up: {np.sum(kernel**2):.8g} x.
"""


def sizes() -> str:
    """The post's sizes by the rule and by a real layer."""
    table = ""
    cases = [(3, 5, 2, "same"), (2, 3, 2, "same"), (4, 1, 1, "same"), (4, 1, 1, "valid"), (4, 1, 2, "same")]
    cases += [(4, 1, 2, "valid"), (4, 3, 2, "valid"), (7, 3, 2, "same"), (4, 3, 3, "valid")]
    for n, k, s, padding in cases:
        rule = n * s if padding == "same" else (n - 1) * s + max(k, s)
        after = layers.Conv2DTranspose(1, k, strides=s, padding=padding)(tf.ones((1, n, n, 1))).shape
        table += f"n {n}  k {k}  s {s}  {padding:5}  rule {rule:2}  layer {(1, n, n, 1)} -> {after}\n"
    x = tf.ones((1, 4, 4, 1))
    twice = layers.Conv2DTranspose(1, 1, strides=2)(x)
    same = layers.Conv2DTranspose(1, 1, strides=1)(x)
    half = layers.Conv2D(1, 3, strides=2, padding="same")(x)
    return f"""
== 2. The size of the output of a transposed convolution ==
Rule: n cells a side, kernel k, stride s. SAME makes n * s, VALID makes (n - 1) * s + max(k, s).
{table}From {x.shape} the post's text goes to {twice.shape}, stride 2, and its code to {same.shape}, stride 1.
A convolution with stride 2 goes the other way, to {half.shape}.
"""


def downsampling() -> str:
    """The post's "downsample example": ones through a transposed convolution of ones, and back."""
    x = tf.ones((64, 7, 7, 256))
    layer = layers.Conv2DTranspose(128, 3, strides=2, padding="same", use_bias=False, kernel_initializer="ones")
    up = layer(x).numpy().astype(int)
    values, counts = np.unique(up, return_counts=True)
    back = tf.nn.conv2d(layer(x), layer.kernel, 2, "SAME").numpy()
    return f"""
== 3. Downsample example: windows overlap ==
Ones {x.shape}, kernel of ones {layer.kernel.shape}, stride 2, SAME -> {up.shape}. A corner of a channel:
{up[0, :5, :5, 0]}
How many cells have which value: {dict(zip(values.tolist(), counts.tolist(), strict=True))}
Rule: 1, 2 or 4 windows, each a sum over the channels, meet in a cell: 3 is not a multiple of 2. It is a checkerboard.
The convolution with this kernel goes back to {back.shape}, with values {back.min():.8g} to {back.max():.8g}.
"""


def upsampling() -> str:
    """The post's "upsample example": ones through a VALID convolution, and back by the layer and by the raw op."""
    x = tf.ones((64, 14, 14, 128))
    options = {"strides": 3, "use_bias": False, "kernel_initializer": "ones"}
    conv = layers.Conv2D(256, 3, **options)
    small = conv(x)
    back = layers.Conv2DTranspose(128, 3, **options)(small)
    raw = tf.nn.conv2d_transpose(small, conv.kernel, x.shape, 3, "VALID").numpy()
    rest = max(raw[:, -2:].max(), raw[:, :, -2:].max())
    same_size = [n for n in range(8, 18) if conv(tf.ones((1, n, n, 128))).shape[1] == small.shape[1]]
    return f"""
== 4. Upsample example: tf.nn.conv2d_transpose needs the output size ==
Ones {x.shape}, kernel of ones {conv.kernel.shape}, stride 3, VALID convolution -> {small.shape}
The layer Conv2DTranspose follows the rule of section 2 -> {back.shape}
The raw op, output_shape {x.shape} -> {raw.shape}; last two rows and columns, beyond all windows: {rest:.7g}
Rule: the convolution makes {small.shape[1]} cells a side of each of {same_size}, so the way back has a choice.
"""


def adjoint(k: int = 3, s: int = 2, padding: str = "SAME") -> str:
    """<conv(x), y> and <x, convT(y)> for random x, y and kernel in float64."""
    random = np.random.RandomState(0)
    x = random.normal(size=(1, 7, 8, 3))
    kernel = random.normal(size=(k, k, 3, 2))
    conv = tf.nn.conv2d(x, kernel, s, padding).numpy()
    y = random.normal(size=conv.shape)
    transposed = tf.nn.conv2d_transpose(y, kernel, x.shape, s, padding).numpy()
    distance = abs(tf.nn.conv2d_transpose(conv, kernel, x.shape, s, padding).numpy() - x).max()
    return f"""
== 5. A transposed convolution is the adjoint, not the inverse ==
Random x {x.shape} and y {y.shape}, kernel {k}, stride {s}, {padding}:
<conv(x), y> = {np.sum(conv * y):.10g}    <x, convT(y)> = {np.sum(x * transposed):.10g}
Rule: convT is the transposed matrix of conv. It does not undo conv: convT(conv(x)) is off x by up to {distance:.8g}.
"""


def windows(maps: np.ndarray, size: int, step: int = 1, padding: str = "VALID") -> np.ndarray:
    """Every `step`-th window of (1, H, W, C), row by row: (windows, size, size, C). SAME adds zeros around the map."""
    flat = tf.image.extract_patches(maps, [1, size, size, 1], [1, step, step, 1], [1, 1, 1, 1], padding)
    return flat.numpy().reshape(-1, size, size, maps.shape[-1])


def dense_head(k: int = 3) -> str:
    """A dense layer on every k x k window of a map, and the SAME convolution with the same kernel."""
    random = np.random.RandomState(0)
    features = random.normal(size=(1, k + 3, k + 5, 4))  # 4 x 6 windows lie inside
    kernel = random.normal(size=(k * k * 4, 5))  # a row for each value of a window, a column for each unit
    conv_kernel = dense_kernel_to_conv(kernel, (k, k))
    wrong_kernel = kernel.T.reshape(5, 4, k, k).transpose(2, 3, 1, 0)  # as if Caffe or torch had stored it
    dense = (windows(features, k, padding="SAME").reshape(-1, k * k * 4) @ kernel).reshape(k + 3, k + 5, 5)
    difference = abs(tf.nn.conv2d(features, conv_kernel, 1, "SAME")[0].numpy() - dense)
    wrong = abs(tf.nn.conv2d(features, wrong_kernel, 1, "SAME")[0].numpy() - dense)
    middle = k // 2
    one_window = tf.nn.conv2d(features[:, :k, :k], conv_kernel, 1, "SAME")[0, middle, middle].numpy()
    own = abs(one_window - dense[middle, middle]).max()
    inside = np.s_[middle : middle + 4, middle : middle + 6]  # middles of the windows that see no zeros
    return f"""
== 6. A dense layer on a flattened map is a convolution with the map as its window ==
Map {features.shape[1:]}, dense kernel {kernel.shape}; kernel.reshape(h, w, c, units) -> {conv_kernel.shape}
Rule: SAME, odd window k: cell (i + k // 2, j + k // 2) is the dense layer on the window that begins at (i, j).
Largest difference on a map of one window: {own:.7g}, on every window of the whole map: {difference[inside].max():.7g}
Cells at the border see zeros. With zeros around the map for the dense layer too, all cells: {difference.max():.7g}
An even window would shift the map by half a cell. Keras flattens (h, w, c); Caffe and torch store (units, c, h, w) and
need transpose(2, 3, 1, 0). The wrong order runs without an error; here it is wrong by {wrong[inside].max():.8g}.
"""


def small_vgg() -> str:
    """A small VGG and its converted network on 5 x 6 cells: differences on 12 windows of 3 x 3 cells."""
    random = np.random.RandomState(0)
    classifier = build_classifier(ModelConfig(encoder="vgg11", width=1 / 32, head_units=16, batch_norm=False), 3)
    for weights in classifier.trainable_variables:
        std = np.sqrt(2 / np.prod(weights.shape[:-1])) if len(weights.shape) > 1 else 0  # He's; biases are 0
        weights.assign(std * random.normal(size=weights.shape))
    converted = convolutionalize(classifier)
    converted_and_map = keras.Model(converted.input, [converted.output, converted.get_layer("block5_pool").output])
    head = keras.Model(classifier.get_layer("flatten").input, classifier.output)
    image = random.randint(0, 256, (1, 5 * ENCODER_STRIDE, 6 * ENCODER_STRIDE, 3)).astype("uint8")
    scores, features = (output.numpy() for output in converted_and_map(image))
    inside = scores[0, 1:-1, 1:-1].reshape(-1, 3)
    crops = windows(image, 3 * ENCODER_STRIDE, ENCODER_STRIDE)
    own = abs(converted(crops)[:, 1, 1].numpy() - classifier(crops).numpy()).max()
    on_map = abs(head(windows(features, 3)).numpy() - inside).max()
    on_image = abs(classifier(crops).numpy() - inside).max(axis=-1)
    size = abs(inside).mean()
    return f"""\
A small VGG: image {image.shape[1:]} -> last map {features.shape[1:]} -> scores {scores.shape[1:]}, mean size {size:.8g}
Largest difference on images of its own size: {own:.7g}, on windows of the last map: {on_map:.7g},
but on windows of the image: {on_image.min():.8g} to {on_image.max():.8g}
Rule: exact on feature maps, not on windows of the image, which see zeros where the whole image has neighbors.
"""


def bilinear() -> str:
    """Bilinear kernels and what they make of a constant, of noise and of a ramp."""

    def enlarged(scores: tf.Tensor, s: int) -> np.ndarray:
        return upsample(scores, s, tf.zeros((1, scores.shape[1] * s, scores.shape[2] * s, 1)), "up").numpy()

    kernel4 = bilinear_kernel((4, 4, 1, 1)).numpy()
    kernel16 = bilinear_kernel((16, 16, 1, 1)).numpy()
    ones = tf.ones((1, 5, 5, 1))
    plain = tf.nn.conv2d_transpose(ones, kernel16, (1, 40, 40, 1), 8).numpy()
    noise = tf.constant(np.random.RandomState(0).normal(size=(1, 5, 7, 2)), "float32")
    resize = max(np.max(abs(enlarged(noise, s) - tf.image.resize(noise, (5 * s, 7 * s)))) for s in (2, 4, 8, 16, 32))
    ramp = enlarged(tf.reshape(tf.range(5.0), (1, 1, 5, 1)), 4)[0, 0, :, 0]
    places = np.clip((np.arange(20) + 0.5) / 4 - 0.5, 0, 4)
    return f"""
== 7. Bilinear upsampling ==
Rule: kernel k = 2 s, f = (k + 1) // 2, c = f - 1 for odd k, else f - 0.5.
w[i, j] = (1 - |i - c| / f) (1 - |j - c| / f). For k = 4:
{digits(kernel4[:, :, 0, 0])}
For k = 16, along one axis:
{digits(np.sqrt(np.diag(kernel16[:, :, 0, 0])))}
A constant 1 at s = 8, the first pixels of a row. A plain SAME transposed convolution mixes the border with zeros:
{digits(plain[0, 20, :8, 0])}
fcn.model.fcn.upsample repeats the edge cell once on each side first:
{digits(enlarged(ones, 8)[0, 20, :8, 0])}
Its largest difference from tf.image.resize on random maps, s = 2, 4, 8, 16 and 32: {resize:.7g}
The ramp 0, 1, 2, 3, 4 at s = 4 stays a ramp:
{digits(ramp)}
Rule: pixel p lies at cell (p + 0.5) / s - 0.5, held at both ends. Largest difference: {abs(ramp - places).max():.7g}
"""
