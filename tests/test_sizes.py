"""What is said of a transposed convolution is what Keras' layer does."""

from __future__ import annotations

import re

import numpy as np
import pytest
import tensorflow as tf
from conftest import Script, run_process
from keras import layers

from fcn.explain.sizes import TransposedConvolution, page_of_sizes

PADDINGS = ["same", "valid"]


def said(n: int, k: int, s: int, padding: str) -> str:
    return page_of_sizes(str(n), str(k), str(s), padding)


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("stride", [1, 2, 3, 5])
@pytest.mark.parametrize("kernel", [1, 2, 3, 4, 5, 8])
@pytest.mark.parametrize("size", [1, 2, 5])
def test_size_overlap_and_reach_are_those_of_the_layer(size: int, kernel: int, stride: int, padding: str) -> None:
    ours = TransposedConvolution(size, kernel, stride, padding)
    options = {"strides": stride, "padding": padding, "use_bias": False, "kernel_initializer": "ones"}
    layer = layers.Conv2DTranspose(1, kernel, **options)

    of_ones = layer(tf.ones((1, size, size, 1)))[0, :, :, 0].numpy()
    assert of_ones.shape == (ours.output_size, ours.output_size)
    row = ours.overlap(range(ours.output_size))
    np.testing.assert_array_equal(of_ones, np.outer(row, row))

    places = np.arange(size)
    single_cells = np.zeros((size, size, size, 1), np.float32)
    single_cells[places, places, places] = 1  # image i has its only 1 at (i, i)
    for cell, result in enumerate(layer(single_cells)[..., 0].numpy()):
        rows, columns = np.nonzero(result)
        assert sorted(set(rows)) == sorted(set(columns)) == list(ours.reached(cell))


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("kernel", [1, 2, 3, 5])
@pytest.mark.parametrize("size", [1, 4])
def test_sizes_that_the_convolution_brings_back_are_all(size: int, kernel: int, stride: int, padding: str) -> None:
    ours = TransposedConvolution(size, kernel, stride, padding)
    weights = tf.ones((kernel, kernel, 1, 1))
    smallest = kernel if padding == "valid" else 1
    back = [
        cells
        for cells in range(smallest, 25)
        if tf.nn.conv2d(tf.ones((1, cells, cells, 1)), weights, stride, padding.upper()).shape[1] == size
    ]
    assert back == list(ours.sizes_back)
    assert ours.output_size in back


@pytest.mark.parametrize(("kernel", "stride"), [(4, 2), (5, 2), (3, 3), (1, 2), (7, 3), (3, 1)])
@pytest.mark.parametrize("padding", PADDINGS)
def test_verdict_is_what_the_middle_of_a_large_map_shows(kernel: int, stride: int, padding: str) -> None:
    layer = TransposedConvolution(20, kernel, stride, padding)
    middle = layer.overlap(range(8 * stride, 12 * stride))
    text = said(20, kernel, stride, padding)
    if middle.min() == middle.max():
        assert f"Even: k is a multiple of s, so {middle.min()} meet everywhere, away from the border." in text
    else:
        assert f"A checkerboard: k is not a multiple of s, so {middle.min()} and {middle.max()} windows take" in text


def test_example_of_the_post(script: Script) -> None:
    done = script("explain_layers", "--size", "7", "--kernel", "3", "--stride", "2", "--padding", "same")
    assert done.returncode == 0
    assert "Size of the output: n * s = 7 * 2 = 14\n" in done.stdout
    assert "The padding cuts off max(k - s, 0) = max(3 - 2, 0) = 1 of all: 0 before, 1 after.\n" in done.stdout
    assert "input 0 -> output 0..2\ninput 1 -> output 2..4\n" in done.stdout
    assert "input 6 -> output 12..13\n" in done.stdout
    assert "\n1 1 2 1 2 1 2 1 2 1 2 1 2 1\n" in done.stdout
    assert "makes ceil(14 / 2) = 7 of 14 again.\nIt makes the same of each size from 13 to 14.\n" in done.stdout
    assert "[[" not in done.stdout  # 14 x 14 cells are not printed
    assert "[[1 1 2 1]\n [1 1 2 1]\n [2 2 4 2]\n [1 1 2 1]]\n" in said(2, 3, 2, "same")
    valid = said(4, 3, 3, "valid")
    assert "(n - 1) * s + max(k, s) = (4 - 1) * 3 + max(3, 3) = 12\n" in valid
    assert "makes floor((12 - 3) / 3) + 1 = 4 of 12 again.\nIt makes the same of each size from 12 to 14.\n" in valid
    assert "It makes the same of no other size." in page_of_sizes("4", "3", None, None)


def test_long_tables_are_shortened() -> None:
    text = said(10_000, 9_999, 10_000, "valid")
    assert max(map(len, text.splitlines())) <= 120
    assert len(text.splitlines()) < 40
    assert re.search(r"^input 9 .*\n\.\.\.\ninput 9990 -> output 99900000\.\.99909998$", text, re.M)
    assert "\n1 1 1 1 1 1 1 1 1 1 ... 1 1 1 1 1 1 1 1 1 0\n" in text


def test_answer_needs_no_tensorflow() -> None:
    done = run_process("explain_layers", "--size", 3, "--kernel", 5, python=("-X", "importtime"))
    assert done.returncode == 0
    assert not re.search(r"\| +tensorflow$", done.stderr, re.M)


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ("--size 3", "--kernel: is not given; a layer needs both, such as --size 3 --kernel 5 --stride 2"),
        ("--stride 2 --padding same", "--size: is not given; a layer needs both"),
        ("--size 3 --kernel 0", "--kernel 0: must be a whole number from 1 to 10,000"),
        ("--size -1 --kernel 3", "--size -1: must be a whole number from 1 to 10,000"),
        ("--size 10001 --kernel 3", "--size 10001: must be a whole number"),
        (f"--size {'7' * 5000} --kernel 3", "--size 777"),
        ("--size 3 --kernel 2.5", "--kernel 2.5: must be a whole number"),
        ("--size 3 --kernel 3 --stride ٣", "--stride ٣: must be a whole number"),
        ("--size 3 --kernel 3 --stride=", "--stride : must be a whole number"),
        ("--size 3 --kernel 3 --padding full", "--padding full: is not a padding; name same or valid"),
        ("--size 3 --kernel 3 --padding=", "--padding : is not a padding; name same or valid"),
    ],
)
def test_numbers_that_no_layer_takes_are_refused_in_one_line(words: str, error: str, script: Script) -> None:
    done = script("explain_layers", *words.split())
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(error)
    assert done.stderr.count("\n") == 1
    assert len(done.stderr) < 120
