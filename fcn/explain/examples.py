"""The layers of this package on numbers small enough to check by hand, and the page that shows them.

The examples are those of the blog post "Transpose a CNN (TensorFlow)" and what its reader asks next. Each is computed
anew, from fixed random streams: `PAGE` holds words and no result.
"""

# N images, H x W cells or pixels, C channels, k kernel or window, s stride; a record holds arrays and plain numbers
from __future__ import annotations

from types import SimpleNamespace

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from fcn.config.settings import ModelConfig
from fcn.model.convolutionalize import convolutionalize, dense_kernel_to_conv
from fcn.model.fcn import bilinear_kernel, upsample
from fcn.model.vgg import ENCODER_STRIDE, build_classifier


def channels_example() -> SimpleNamespace:
    """(1, 4, 4, 1) by a dense layer and by a 1x1 convolution to two channels, and each by a transposed one back."""
    x = np.random.RandomState(1).rand(1, 4, 4, 1)  # the numbers of np.random.seed(1), without its global state
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        kernel = session.run(tf.compat.v1.random_normal((2,), seed=0))
    options = {"use_bias": False, "kernel_initializer": lambda shape, dtype: tf.constant(kernel.reshape(shape), dtype)}
    dense_layer, conv_layer = layers.Dense(2, **options), layers.Conv2D(2, 1, **options)
    dense, conv, transposed = dense_layer(x).numpy(), conv_layer(x).numpy(), layers.Conv2DTranspose(1, 1, **options)
    return SimpleNamespace(
        x=x,
        kernel=kernel,
        gain=np.sum(kernel**2),
        dense=dense,
        conv=conv,
        back=transposed(dense).numpy(),
        back_of_conv=transposed(conv).numpy(),
        off=(np.abs(dense - conv).max(), np.abs(transposed(dense) - transposed(conv)).max()),
        shapes=[layer.kernel.shape for layer in (dense_layer, conv_layer, transposed)],
    )


def transposed_size(size: int, kernel: int, stride: int, padding: str) -> int:
    """Cells a side that a transposed convolution makes of `size`; padding is `same` or `valid`."""
    return size * stride if padding == "same" else (size - 1) * stride + max(kernel, stride)


def sizes_example() -> list[SimpleNamespace]:
    """The post's cases: shapes before and after a real layer, and cells a side by the rule."""
    cases = [(3, 5, 2, "same"), (2, 3, 2, "same"), (4, 1, 1, "same"), (4, 1, 1, "valid"), (4, 1, 2, "same")]
    cases += [(4, 1, 2, "valid"), (4, 3, 2, "valid"), (7, 3, 2, "same"), (4, 3, 3, "valid")]
    records = []
    for n, k, s, padding in cases:
        x = tf.ones((1, n, n, 1))
        after = layers.Conv2DTranspose(1, k, strides=s, padding=padding)(x).shape
        rule = transposed_size(n, k, s, padding)
        records.append(SimpleNamespace(n=n, k=k, s=s, padding=padding, before=x.shape, after=after, rule=rule))
    return records


def downsample_example() -> SimpleNamespace:
    """Ones (64, 7, 7, 256) by a transposed convolution of ones, 3x3 with stride 2, and back by the convolution."""
    x = tf.ones((64, 7, 7, 256))
    layer = layers.Conv2DTranspose(128, 3, strides=2, padding="same", use_bias=False, kernel_initializer="ones")
    up = layer(x).numpy()
    values, numbers = np.unique(up.astype(int), return_counts=True)
    counts = dict(zip(values.tolist(), numbers.tolist(), strict=True))  # value -> cells
    back = tf.nn.conv2d(up, layer.kernel, 2, "SAME").numpy()
    return SimpleNamespace(x=x, kernel=layer.kernel, up=up, counts=counts, back=back, ends=(back.min(), back.max()))


def upsample_example() -> SimpleNamespace:
    """Ones (64, 14, 14, 128) by a VALID convolution, 3x3 with stride 3, and back by the layer and by the raw op."""
    x, options = tf.ones((64, 14, 14, 128)), {"strides": 3, "use_bias": False, "kernel_initializer": "ones"}
    conv, transposed = layers.Conv2D(256, 3, **options), layers.Conv2DTranspose(128, 3, **options)
    small = conv(x)
    raw = tf.nn.conv2d_transpose(small, conv.kernel, x.shape, 3, "VALID").numpy()
    rest = max(np.abs(raw[:, -2:]).max(), np.abs(raw[:, :, -2:]).max())
    sizes = [n for n in range(8, 18) if conv(tf.ones((1, n, n, 128))).shape[1] == small.shape[1]]
    return SimpleNamespace(x=x, conv=conv, small=small, layer=transposed(small), raw=raw, rest=rest, sizes=sizes)


def adjoint_example(kernel: int = 3, stride: int = 2, padding: str = "SAME") -> SimpleNamespace:
    """<conv(x), y> and <x, convT(y)> for random x, y and kernel in float64, and how far convT(conv(x)) is from x."""
    random = np.random.RandomState(0)
    x, weights = random.normal(size=(1, 7, 8, 3)), random.normal(size=(kernel, kernel, 3, 2))
    conv = tf.nn.conv2d(x, weights, stride, padding).numpy()
    y = random.normal(size=conv.shape)
    adjoint, returned = (tf.nn.conv2d_transpose(v, weights, x.shape, stride, padding).numpy() for v in (y, conv))
    left, right = np.sum(conv * y), np.sum(x * adjoint)
    return SimpleNamespace(x=x, y=y, left=left, right=right, far=np.abs(returned - x).max())


def windows(plane: np.ndarray, size: int, step: int) -> np.ndarray:
    """Every `step`-th window of (H, W, C), row by row: (windows, size, size, C)."""
    view = np.lib.stride_tricks.sliding_window_view(plane, (size, size), axis=(0, 1))[::step, ::step]
    return np.moveaxis(view, 2, -1).reshape(-1, size, size, plane.shape[-1])


def head_example(window: int = 3) -> SimpleNamespace:
    """A dense layer on every window of a map beside the SAME convolution with its kernel: the largest differences."""
    random, middle = np.random.RandomState(0), window // 2
    features = random.normal(size=(window + 3, window + 5, 4))  # H, W, C: 4 x 6 windows lie inside
    kernel = random.normal(size=(window * window * 4, 5))  # a row for each number of a window, a column a unit
    conv_kernel = dense_kernel_to_conv(kernel, (window, window))
    wrong_kernel = kernel.T.reshape(5, 4, window, window).transpose(2, 3, 1, 0)  # as if Caffe or torch had stored it
    padded = np.pad(features, [(middle, middle), (middle, middle), (0, 0)])  # every cell is the middle of a window
    dense = (windows(padded, window, 1).reshape(-1, len(kernel)) @ kernel).reshape(*features.shape[:2], 5)
    right, wrong = (tf.nn.conv2d(features[None], k, 1, "SAME")[0] - dense for k in (conv_kernel, wrong_kernel))
    alone = tf.nn.conv2d(features[None, :window, :window], conv_kernel, 1, "SAME")[0] - dense[:window, :window]
    own, everywhere = np.abs(alone[middle, middle]).max(), np.abs(right).max()
    inside, wrong = (np.abs(d[middle : middle + 4, middle : middle + 6]).max() for d in (right, wrong))  # no zeros here
    shapes = (features.shape, kernel.shape, conv_kernel.shape)
    return SimpleNamespace(shapes=shapes, own=own, inside=inside, everywhere=everywhere, wrong=wrong)


def classifier_example() -> SimpleNamespace:
    """A small VGG beside its converted network on 5 x 6 cells: largest differences on 12 windows of 3 x 3 cells."""
    random = np.random.RandomState(0)
    classifier = build_classifier(ModelConfig(encoder="vgg11", width=1 / 32, head_units=16, batch_norm=False), 3)
    for weights in classifier.trainable_variables:
        spread = np.sqrt(2 / np.prod(weights.shape[:-1])) if len(weights.shape) > 1 else 0  # He's; biases are 0
        weights.assign(spread * random.normal(size=weights.shape))
    image = random.randint(0, 256, (5 * ENCODER_STRIDE, 6 * ENCODER_STRIDE, 3)).astype("uint8")
    crops = windows(image, 3 * ENCODER_STRIDE, ENCODER_STRIDE)
    converted = convolutionalize(classifier)
    encoder = keras.Model(converted.input, converted.get_layer("block5_pool").output)
    head = keras.Model(classifier.get_layer("flatten").input, classifier.output)
    features, scores = encoder(image[None])[0].numpy(), converted(image[None])[0].numpy()
    inside, on_crops = scores[1:-1, 1:-1].reshape(-1, 3), classifier(crops).numpy()  # 12, C
    own = np.abs(converted(crops)[:, 1, 1] - on_crops).max()
    on_map = np.abs(head(windows(features, 3, 1)) - inside).max()
    on_image = np.abs(on_crops - inside).max(axis=-1)
    shapes, ends = (image.shape, features.shape, scores.shape), (on_image.min(), on_image.max())
    return SimpleNamespace(shapes=shapes, own=own, on_map=on_map, on_image=ends, scale=np.abs(inside).mean())


def bilinear_example() -> SimpleNamespace:
    """Bilinear kernels and what they make of a constant, of noise and of a ramp."""
    ones, ramp = tf.ones((1, 5, 5, 1)), tf.reshape(tf.range(5.0), (1, 1, 5, 1))
    noise = tf.constant(np.random.RandomState(0).normal(size=(1, 5, 7, 2)), "float32")
    kernel4, kernel16 = (bilinear_kernel((k, k, 1, 1)).numpy() for k in (4, 16))

    def up(scores: tf.Tensor, s: int) -> np.ndarray:
        return upsample(scores, s, tf.zeros((1, scores.shape[1] * s, scores.shape[2] * s, 1)), "up").numpy()

    ramped, ramp_rule = up(ramp, 4)[0, 0, :, 0], np.clip((np.arange(20) + 0.5) / 4 - 0.5, 0, 4)
    return SimpleNamespace(
        kernel=kernel4[:, :, 0, 0],
        profile=np.sqrt(np.diag(kernel16[:, :, 0, 0])),  # w[i, i] is a square
        bare=tf.nn.conv2d_transpose(ones, kernel16, (1, 40, 40, 1), 8)[0, 20, :8, 0].numpy(),
        repeated=up(ones, 8)[0, 20, :8, 0],
        resize=max(np.abs(up(noise, s) - tf.image.resize(noise, (5 * s, 7 * s))).max() for s in (2, 4, 8, 16, 32)),
        ramp=ramped,
        ramp_difference=np.abs(ramped - ramp_rule).max(),
    )


PAGE = """\
THE LAYERS OF A FULLY CONVOLUTIONAL NETWORK, IN NUMBERS
Every result was computed just now; its eighth digit may depend on the machine. Shapes end with height, width, channels.

== 1. A dense layer over the channels is a 1x1 convolution ==
Input: np.random.seed(1), then np.random.rand(1, 4, 4, 1), shape {one.x.shape}
{x}
The two numbers of every kernel: ({one.kernel[0]:.8f}, {one.kernel[1]:.8f}), random_normal's with op seed 0.
Dense layer, kernel {one.shapes[0]} -> {one.dense.shape}, first channel above second:
{dense}
Convolution, kernel {one.shapes[1]} -> {one.conv.shape}, differs from the dense layer by {one.off[0]:.7g}
Rule: both multiply each cell by both numbers, and every cell stays where it is.
conv2d_transpose of the dense output, 1 filter, 1x1, stride 1, kernel {one.shapes[2]} -> {one.back.shape}
{back}
Of the convolution's: {one.off[1]:.7g} apart. Rule: each channel times its number again, added up: {one.gain:.8g} x.

== 2. The size that a transposed convolution makes ==
Rule: n cells a side, kernel k, stride s. SAME makes n * s, VALID makes (n - 1) * s + max(k, s).
{sizes}
From {cases[4].before} the post's text goes to {cases[4].after}, stride 2, and its code to {cases[2].after}, stride 1.
A convolution with stride 2 goes the other way, to {halved}.

== 3. Downsample example: windows overlap ==
Ones {down.x.shape}, kernel of ones {down.kernel.shape}, stride 2, SAME -> {down.up.shape}. A corner of a channel:
{corner}
How many cells have which value: {down.counts}
Rule: 1, 2 or 4 windows, each a sum over the channels, meet in a cell, as 3 is no multiple of 2: a checkerboard.
The convolution with this kernel goes back to {down.back.shape}, with values {down.ends[0]:.8g} to {down.ends[1]:.8g}.

== 4. Upsample example: tf.nn.conv2d_transpose must be told the size ==
Ones {up.x.shape}, kernel of ones {up.conv.kernel.shape}, stride 3, VALID convolution -> {up.small.shape}
The layer Conv2DTranspose follows the rule of 2 -> {up.layer.shape}
The raw op, output_shape {up.x.shape} -> {up.raw.shape}; last two rows and columns, beyond all windows: {up.rest:.7g}
Rule: the convolution makes {up.small.shape[1]} cells a side of each of {up.sizes}, so the way back has a choice.

== 5. The adjoint, not the inverse ==
Random x {pair.x.shape} and y {pair.y.shape}, kernel 3, stride 2, SAME:
<conv(x), y> = {pair.left:.10g}    <x, convT(y)> = {pair.right:.10g}
Rule: convT is the matrix of conv, transposed. It does not undo conv: convT(conv(x)) is off x by up to {pair.far:.8g}.

== 6. A dense layer on a flattened map is a convolution with the map as its window ==
Map {head.shapes[0]}, dense kernel {head.shapes[1]}; kernel.reshape(h, w, c, units) -> {head.shapes[2]}
Rule: SAME, odd window k: cell (i + k // 2, j + k // 2) is the dense layer on the window that begins at (i, j).
Largest difference on a map of one window: {head.own:.7g}, on every window of the whole map: {head.inside:.7g}
Cells at the border see zeros. With zeros around the map for the dense layer too, all cells: {head.everywhere:.7g}
An even window would shift the map by half a cell. Keras flattens (h, w, c); Caffe and torch store (units, c, h, w) and
need transpose(2, 3, 1, 0). The wrong order runs as well; here it is wrong by {head.wrong:.8g}.
A small VGG: image {net.shapes[0]} -> last map {net.shapes[1]} -> scores {net.shapes[2]}, mean size {net.scale:.8g}
Largest difference on images of its own size: {net.own:.7g}, on windows of the last map: {net.on_map:.7g},
but on windows of the image: {net.on_image[0]:.8g} to {net.on_image[1]:.8g}
Rule: exact on feature maps, not on windows of the image, which see zeros where the whole image has neighbors.

== 7. Bilinear upsampling ==
Rule: kernel k = 2 s, f = (k + 1) // 2, c = f - 1 for odd k, else f - 0.5.
w[i, j] = (1 - |i - c| / f) (1 - |j - c| / f). For k = 4:
{bilinear.kernel}
For k = 16, along one axis:
{bilinear.profile}
A constant 1 at s = 8, the first pixels of a row. A bare SAME transposed convolution mixes the border with zeros:
{bilinear.bare}
fcn.model.fcn.upsample repeats the edge cell once on each side first:
{bilinear.repeated}
Its largest difference from tf.image.resize on random maps, s = 2, 4, 8, 16 and 32: {bilinear.resize:.7g}
The ramp 0, 1, 2, 3, 4 at s = 4 stays a ramp:
{bilinear.ramp}
Rule: pixel p lies at cell (p + 0.5) / s - 0.5, held at both ends. Largest difference: {bilinear.ramp_difference:.7g}
"""


def page() -> str:
    """All examples with their rules, for a terminal."""
    one, cases, down = channels_example(), sizes_example(), downsample_example()
    row = "n {0.n}  k {0.k}  s {0.s}  {0.padding:5}  rule {0.rule:2}  layer {0.before} -> {0.after}"
    digits = {"float_kind": lambda v: f"{v:#13.{9 if v.itemsize == 8 else 8}g}"}  # as the post prints float64, float32
    with np.printoptions(formatter=digits, linewidth=116):  # type: ignore[arg-type]
        return PAGE.format(
            one=one,
            x=one.x[0, :, :, 0],
            dense=np.moveaxis(one.dense[0], -1, 0),
            back=one.back[0, :, :, 0],
            cases=cases,
            sizes="\n".join(row.format(case) for case in cases),
            halved=layers.Conv2D(1, 3, strides=2, padding="same")(tf.ones(cases[4].before)).shape,
            down=down,
            corner=down.up[0, :5, :5, 0].astype(int),
            up=upsample_example(),
            pair=adjoint_example(),
            head=head_example(),
            net=classifier_example(),
            bilinear=bilinear_example(),
        )
