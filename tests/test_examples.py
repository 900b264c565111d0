"""The examples give the post's numbers, and what the page says of the layers is so."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from fcn.explain import examples

# the post's table: its 4x4 input by a 1x1 kernel to two channels and by the same kernel back
POST_TABLE = [
    [1.9132932, 3.3048427, 5.2475062e-04, 1.3870993],
    [0.67331469, 0.42364866, 0.85456026, 1.5854297],
    [1.8203658, 2.4720864, 1.9232609, 3.1437812],
    [0.93802512, 4.0287952, 0.12565404, 3.0760992],
]
ROUNDING = 1e-6  # relative: a few units in the last place of float32


def test_kernel_is_the_one_of_the_post() -> None:
    np.testing.assert_allclose(examples.channels_example().kernel, [-0.39915761, 2.10443926], rtol=1e-8)


def test_dense_layer_over_channels_equals_1x1_convolution() -> None:
    example = examples.channels_example()
    by_hand = example.x * np.array([-0.39915761, 2.10443926])
    np.testing.assert_allclose(example.dense, by_hand, rtol=ROUNDING)
    np.testing.assert_allclose(example.conv, by_hand, rtol=ROUNDING)
    assert example.shapes == [(1, 2), (1, 1, 1, 2), (1, 1, 1, 2)]


def test_transposed_convolution_of_either_gives_the_table_of_the_post() -> None:
    example = examples.channels_example()
    for back in (example.back, example.back_of_conv):
        assert back.shape == (1, 4, 4, 1)
        np.testing.assert_allclose(back[0, :, :, 0], POST_TABLE, rtol=ROUNDING)
    np.testing.assert_allclose(example.gain, 4.5879917, rtol=ROUNDING)
    np.testing.assert_allclose(example.gain * example.x[0, :, :, 0], POST_TABLE, rtol=ROUNDING)


def test_sizes_are_those_of_the_post_by_rule_and_by_layer() -> None:
    expected = {
        (3, 5, 2, "same"): 6,
        (2, 3, 2, "same"): 4,
        (4, 1, 1, "same"): 4,
        (4, 1, 1, "valid"): 4,
        (4, 1, 2, "same"): 8,
        (4, 1, 2, "valid"): 8,
        (4, 3, 2, "valid"): 9,
        (7, 3, 2, "same"): 14,
        (4, 3, 3, "valid"): 12,
    }
    cases = examples.sizes_example()
    assert {(case.n, case.k, case.s, case.padding): case.rule for case in cases} == expected
    for case in cases:
        assert case.before == (1, case.n, case.n, 1)
        assert case.after == (1, case.rule, case.rule, 1)


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("stride", [1, 2, 3, 5])
@pytest.mark.parametrize("kernel", [1, 2, 3, 4])
def test_size_rule_holds_for_real_layers(kernel: int, stride: int, padding: str) -> None:
    layer = layers.Conv2DTranspose(1, kernel, strides=stride, padding=padding)
    for size in (1, 4, 7):
        expected = examples.transposed_size(size, kernel, stride, padding)
        assert layer(tf.ones((1, size, size, 1))).shape == (1, expected, expected, 1)


def test_downsample_example_counts_the_overlaps_and_goes_back_to_its_size() -> None:
    example = examples.downsample_example()
    assert example.kernel.shape == (3, 3, 128, 256)
    assert (example.x.shape, example.up.shape) == ((64, 7, 7, 256), (64, 14, 14, 128))
    # along an axis 8 of 14 cells lie in one window and 6 in two; 64 images, 128 channels
    assert example.counts == {256: 64 * 128 * 8 * 8, 512: 64 * 128 * 2 * 8 * 6, 1024: 64 * 128 * 6 * 6}
    assert example.back.shape == example.x.shape


def test_raw_op_gives_the_size_it_is_told_with_zeros_where_no_window_reaches() -> None:
    example = examples.upsample_example()
    assert example.conv.kernel.shape == (3, 3, 128, 256)
    shapes = [array.shape for array in (example.x, example.small, example.layer, example.raw)]
    assert shapes == [(64, 14, 14, 128), (64, 4, 4, 256), (64, 12, 12, 128), (64, 14, 14, 128)]
    assert example.rest == 0
    np.testing.assert_array_equal(example.raw[:, :12, :12], example.layer)
    assert example.raw[:, :12, :12].min() > 0
    assert example.sizes == [12, 13, 14]


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("kernel", [1, 2, 3, 4])
def test_transposed_convolution_is_the_adjoint_and_not_the_inverse(kernel: int, stride: int, padding: str) -> None:
    example = examples.adjoint_example(kernel, stride, padding)
    np.testing.assert_allclose(example.left, example.right, rtol=1e-10)
    assert example.far > 1


def test_transposed_convolution_is_the_matrix_of_the_convolution_transposed() -> None:
    kernel = np.random.default_rng(0).normal(size=(3, 3, 1, 1))
    columns = [tf.nn.conv2d(np.eye(25)[i].reshape(1, 5, 5, 1), kernel, 2, "SAME").numpy().ravel() for i in range(25)]
    y = np.random.default_rng(1).normal(size=(1, 3, 3, 1))
    back = tf.nn.conv2d_transpose(y, kernel, (1, 5, 5, 1), 2, "SAME").numpy()
    np.testing.assert_allclose(back.ravel(), np.array(columns) @ y.ravel(), atol=1e-12)


@pytest.mark.parametrize("window", [1, 3, 5, 7])
def test_dense_layer_on_every_window_equals_the_convolution(window: int) -> None:
    example = examples.head_example(window)
    assert example.shapes == ((window + 3, window + 5, 4), (window * window * 4, 5), (window, window, 4, 5))
    assert max(example.own, example.inside, example.everywhere) < 1e-12
    assert (example.wrong > 1) == (window > 1)  # one cell has one order


def test_windows_are_taken_row_by_row() -> None:
    plane = np.arange(5 * 4 * 2).reshape(5, 4, 2)
    cut = [plane[i : i + 3, j : j + 3] for i in range(3) for j in range(2)]
    np.testing.assert_array_equal(examples.windows(plane, 3, 1), cut)
    np.testing.assert_array_equal(examples.windows(plane, 3, 2), [cut[0], cut[4]])


def test_classifier_and_converted_network_agree_on_maps_but_not_on_windows_of_the_image() -> None:
    example = examples.classifier_example()
    assert example.shapes == ((160, 192, 3), (5, 6, 16), (5, 6, 3))
    assert max(example.own, example.on_map) < 1e-5 * example.scale
    assert example.on_image[0] > 0.01 * example.scale


def test_bilinear_example_is_what_the_page_says() -> None:
    example = examples.bilinear_example()
    np.testing.assert_allclose(example.kernel, np.outer([0.25, 0.75, 0.75, 0.25], [0.25, 0.75, 0.75, 0.25]))
    rising = np.arange(1, 17, 2) / 16
    np.testing.assert_allclose(example.profile, [*rising, *rising[::-1]], rtol=ROUNDING)
    np.testing.assert_allclose(example.bare, [0.5625, 0.6875, 0.8125, 0.9375, 1, 1, 1, 1], rtol=ROUNDING)
    np.testing.assert_allclose(example.repeated, 1, rtol=ROUNDING)
    assert example.resize < 2e-6
    np.testing.assert_allclose(example.ramp, np.interp((np.arange(20) + 0.5) / 4 - 0.5, range(5), range(5)), atol=1e-6)
    assert example.ramp_difference < 1e-6
