"""The printed page has every number of the post, and what it and docs/layers.md say of the layers is so."""

from __future__ import annotations

import re

import numpy as np
import pytest
import tensorflow as tf
from conftest import ROOT, Script
from keras import layers

from fcn.explain import examples, pictures
from fcn.model.fcn import bilinear_kernel

# the post's kernel, and its table: its 4x4 input by a 1x1 kernel to two channels and by the same kernel back
POST_KERNEL = [-0.39915761, 2.10443926]
POST_TABLE = [
    [1.9132932, 3.3048427, 5.2475062e-04, 1.3870993],
    [0.67331469, 0.42364866, 0.85456026, 1.5854297],
    [1.8203658, 2.4720864, 1.9232609, 3.1437812],
    [0.93802512, 4.0287952, 0.12565404, 3.0760992],
]
ROUNDING = 1e-6  # relative: a few units in the last place of float32
DOCUMENT = (ROOT / "docs" / "layers.md").read_text()
NUMBER = r"-?\d+(?:\.\d+)?(?:e[+-]\d+)?"


@pytest.fixture(scope="module")
def page(script: Script) -> str:
    done = script("explain_layers")
    assert done.returncode == 0, done.stderr
    return done.stdout


def arrays(page: str, section: int) -> list[np.ndarray]:
    """The numbers of every array that a section prints."""
    text = page.split("\n== ")[section]
    blocks = re.findall(r"^\[[][\d\s.e+-]*\]$", text, re.MULTILINE)
    return [np.array(re.findall(NUMBER, block), float) for block in blocks]


def number_after(text: str, label: str) -> float:
    return float(re.search(re.escape(label) + rf" ({NUMBER})", text)[1])


def test_dense_layer_over_channels_and_1x1_convolution_give_the_numbers_of_the_post(page: str) -> None:
    x, dense, back = arrays(page, 1)
    np.testing.assert_allclose(x, np.random.RandomState(1).rand(16), rtol=1e-8)
    assert f"({POST_KERNEL[0]}, {POST_KERNEL[1]})" in page
    np.testing.assert_allclose(dense.reshape(2, 16), np.outer(POST_KERNEL, x), rtol=ROUNDING)
    assert number_after(page, "differs from the dense layer by") < ROUNDING
    np.testing.assert_allclose(back, np.ravel(POST_TABLE), rtol=ROUNDING)
    assert number_after(page, "the result differs from this by") < ROUNDING
    gain = number_after(page, "the channels are added up:")
    assert gain == pytest.approx(4.5879917, rel=ROUNDING)
    np.testing.assert_allclose(gain * x, np.ravel(POST_TABLE), rtol=ROUNDING)


# shapes that the post prints, and what the page derives from them
LINES = [
    "shape (1, 4, 4, 1)",
    "Dense layer, kernel (1, 2) -> (1, 4, 4, 2)",
    "Convolution, kernel (1, 1, 1, 2) -> (1, 4, 4, 2)",
    "stride 1, kernel (1, 1, 1, 2) -> (1, 4, 4, 1)",
    "the post's text goes to (1, 8, 8, 1), stride 2, and its code to (1, 4, 4, 1), stride 1",
    "A convolution with stride 2 goes the other way, to (1, 2, 2, 1)",
    "Ones (64, 7, 7, 256), kernel of ones (3, 3, 128, 256), stride 2, SAME -> (64, 14, 14, 128)",
    # along an axis 8 of 14 cells lie in one window and 6 in two; 64 images, 128 channels
    str({256: 64 * 128 * 8 * 8, 512: 64 * 128 * 2 * 8 * 6, 1024: 64 * 128 * 6 * 6}),
    "goes back to (64, 7, 7, 256)",
    "Ones (64, 14, 14, 128), kernel of ones (3, 3, 128, 256), stride 3, VALID convolution -> (64, 4, 4, 256)",
    "Conv2DTranspose follows the rule of section 2 -> (64, 12, 12, 128)",
    "output_shape (64, 14, 14, 128) -> (64, 14, 14, 128); last two rows and columns, beyond all windows: 0",
    "4 cells a side of each of [12, 13, 14]",
    "image (160, 192, 3) -> last map (5, 6, 16) -> scores (5, 6, 3)",
]


def test_page_has_the_shapes_of_the_post_and_sizes_by_the_rule(page: str) -> None:
    assert [line for line in LINES if line not in page] == []
    row = r"^n (\d)  k (\d)  s (\d)  (\w+) +rule +(\d+)  layer \(1, \1, \1, 1\) -> \(1, \5, \5, 1\)$"
    rows = " | ".join(" ".join(found) for found in re.findall(row, page, re.MULTILINE))
    first = "3 5 2 same 6 | 2 3 2 same 4 | 4 1 1 same 4 | 4 1 1 valid 4 | 4 1 2 same 8"
    assert rows == f"{first} | 4 1 2 valid 8 | 4 3 2 valid 9 | 7 3 2 same 14 | 4 3 3 valid 12"


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("kernel", [1, 2, 3, 4])
def test_transposed_convolution_is_the_adjoint_and_not_the_inverse(kernel: int, stride: int, padding: str) -> None:
    text = examples.adjoint(kernel, stride, padding)
    left = number_after(text, "<conv(x), y> =")
    assert left == pytest.approx(number_after(text, "<x, convT(y)> ="), rel=1e-9)
    assert number_after(text, "is off x by up to") > 1


@pytest.mark.parametrize("window", [1, 3, 5, 7])
def test_dense_layer_on_every_window_equals_the_convolution(window: int) -> None:
    text = examples.dense_head(window)
    assert f"Map {(window + 3, window + 5, 4)}, dense kernel {(window * window * 4, 5)};" in text
    assert f"-> {(window, window, 4, 5)}" in text
    for label in ("on a map of one window:", "on every window of the whole map:", "all cells:"):
        assert number_after(text, label) < 1e-12
    assert (number_after(text, "here it is wrong by") > 1) == (window > 1)  # one cell has one order


def test_classifier_and_converted_network_agree_on_maps_but_not_on_windows_of_the_image(page: str) -> None:
    size = number_after(page, "mean size")
    assert number_after(page, "on images of its own size:") < 1e-5 * size
    assert number_after(page, "on windows of the last map:") < 1e-5 * size
    assert number_after(page, "but on windows of the image:") > 0.01 * size


def test_bilinear_example_is_what_the_page_says(page: str) -> None:
    kernel, profile, plain, repeated, ramp = arrays(page, 7)
    np.testing.assert_allclose(kernel.reshape(4, 4), np.outer([0.25, 0.75, 0.75, 0.25], [0.25, 0.75, 0.75, 0.25]))
    rising = np.arange(1, 17, 2) / 16
    np.testing.assert_allclose(profile, [*rising, *rising[::-1]], rtol=ROUNDING)
    np.testing.assert_allclose(plain, [0.5625, 0.6875, 0.8125, 0.9375, 1, 1, 1, 1], rtol=ROUNDING)
    np.testing.assert_allclose(repeated, np.ones(8), rtol=ROUNDING)
    assert number_after(page, "2, 4, 8, 16 and 32:") < 2e-6
    np.testing.assert_allclose(ramp, np.interp((np.arange(20) + 0.5) / 4 - 0.5, range(5), range(5)), atol=1e-6)
    assert number_after(page, "held at both ends. Largest difference:") < 1e-6


def test_page_fits_a_reader(page: str) -> None:
    lines = page.splitlines()
    assert len(lines) <= 150
    assert max(map(len, lines)) <= 120
    headings = [line for line in lines if line.startswith("== ")]
    assert [heading[3] for heading in headings] == list("1234567")
    assert page.count("Rule:") >= len(headings)


def test_shapes_and_long_numbers_of_the_document_are_printed_by_the_layers(page: str) -> None:
    shapes = set(re.findall(r"\((?:\d+, )+\d+\)", DOCUMENT))
    assert len(shapes) == 10
    assert shapes - set(re.findall(r"\((?:\d+, )+\d+\)", page)) == set()
    printed = np.array(re.findall(NUMBER, page), float)
    for number in re.findall(r"-?\d+\.\d{5,}", re.sub(r"below [\d.]+|to 0\.0+1", "", DOCUMENT)):
        assert np.isclose(printed, float(number), rtol=ROUNDING, atol=0).any(), number
    (table,) = re.findall(r"```\n(1\.9.*?)```", DOCUMENT, re.DOTALL)
    np.testing.assert_allclose(np.array(table.split(), float), np.ravel(POST_TABLE), rtol=ROUNDING)
    assert f"up to {number_after(page, 'here it is wrong by'):.2f}" in DOCUMENT.replace("\n", " ")
    assert "Maps of 12, 13 and 14 cells all become 4." in DOCUMENT
    assert number_after(page, "2, 4, 8, 16 and 32:") < 1e-6  # "to 0.000001"


def test_equations_of_the_document_hold() -> None:
    equations = re.findall(r"`([^`=\n]+) = (-?[\d.]+)`", DOCUMENT)
    assert len(equations) > 10
    for left, right in equations:
        last_digit = 10.0 ** -len(right.partition(".")[2])
        assert eval(left) == pytest.approx(float(right), rel=1e-7, abs=last_digit / 2), left  # noqa: S307


def test_sums_of_the_document_are_those_of_the_pictures() -> None:
    def equation(factors: np.ndarray, others: np.ndarray, result: float) -> str:
        return f"`{' + '.join(f'{a:g} * {b:g}' for a, b in zip(factors, others, strict=True))} = {result:g}`"

    matrix, transposed = pictures.matrices()
    x = np.arange(1, 8)
    y = matrix @ x
    back = transposed @ y
    features, kernel, dense, _ = pictures.window_scores()
    cells = pictures.SCATTERED[:2, :2].ravel()
    tent = np.array(pictures.TENTS[4])
    bilinear = bilinear_kernel((4, 4, 1, 1)).numpy()[..., 0, 0]
    border = pictures.upsampled_ones(repeat_edge=False)[12]
    sentences = [
        equation(cells, np.outer(tent[[3, 1]], tent[[3, 1]]).ravel(), pictures.scatter(4, 9)[3, 3]),
        equation(matrix[1, 2:5], x[2:5], y[1]),
        equation(transposed[2, :2], y[:2], back[2]),
        equation(y, y, y @ y),
        equation(x, back, x @ back),
        "{:g} adds {:g}, {:g} and {:g} to three cells".format(y[1], *(transposed[2:5, 1] * y[1])),
        f"and {', '.join(f'{one:g}' for one in back)} came back",
        equation(features[1:4, 2:5].ravel(), kernel.ravel(), dense[1, 2]),
        "{:g}, {:g} or {:g}. That is a checkerboard".format(*np.unique(pictures.overlaps(3))),
        f"in four in the plane: {pictures.overlaps(4)[1:-1, 1:-1].min():g} everywhere but at the border",
        "it is {:g}, {:g}, {:g}, {:g}, the 1, 3, 3, 1".format(*np.sqrt(np.diag(bilinear))),
        f"from {bilinear[0, 0]:g} in the corner to {bilinear[1, 1]:g} in the middle",
        "outer four pixels are {:g}, {:g}, {:g} and {:g}".format(*border[:4]),
    ]
    text = DOCUMENT.replace("\n", " ")
    assert [sentence for sentence in sentences if sentence not in text] == []


def test_sizes_in_the_table_of_the_document_are_those_of_real_layers() -> None:
    rows = re.findall(r"^\| (\d+) \| (\d+) \| (\d+) \| (\w+) \| (\d+) \|$", DOCUMENT, re.MULTILINE)
    assert len(rows) == 7
    for *numbers, padding, expected in rows:
        n, kernel, stride = map(int, numbers)
        layer = layers.Conv2DTranspose(1, kernel, strides=stride, padding=padding.lower())
        assert layer(tf.ones((1, n, n, 1))).shape[1] == int(expected)
