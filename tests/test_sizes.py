"""What is said of a transposed convolution is what Keras' layer does."""

from __future__ import annotations

import itertools
import re

import numpy as np
import pytest
import tensorflow as tf
from conftest import Script, run_process
from keras import layers

from fcn.explain.sizes import page_of_sizes


def said(n: int, k: int, s: int, padding: str) -> str:
    return page_of_sizes(str(n), str(k), str(s), padding)


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("stride", [1, 2, 3, 5])
@pytest.mark.parametrize("kernel", [1, 2, 3, 4, 5, 8])
def test_size_reach_overlap_and_way_back_are_those_of_the_layer(kernel: int, stride: int, padding: str) -> None:
    options = {"strides": stride, "padding": padding, "use_bias": False, "kernel_initializer": "ones"}
    layer = layers.Conv1DTranspose(1, kernel, **options)
    convolution = layers.Conv1D(1, kernel, **options)
    for n in (1, 4):
        text = said(n, kernel, stride, padding)
        cells = layer(np.eye(n)[..., None])[..., 0].numpy()  # row i is what a 1 in cell i becomes
        after = int(re.search(r"Size of the output: .* = (\d+)\n", text)[1])
        assert cells.shape == (n, after)
        for cell, reached in enumerate(map(np.flatnonzero, cells)):
            assert f"\ninput {cell} -> output {reached[0]}..{reached[-1]}\n" in text
        assert f"along an axis:\n{' '.join(f'{count:g}' for count in cells.sum(axis=0))}\n" in text
        smallest = kernel if padding == "valid" else 1
        back = [size for size in range(smallest, 30) if convolution(tf.ones((1, size, 1))).shape[1] == n]
        assert text.endswith(
            f" = {n} of {after} again.\nIt makes the same of each size from {back[0]} to {back[-1]}.\n"
        )


@pytest.mark.parametrize(("kernel", "stride"), [(4, 2), (5, 2), (3, 3), (1, 2), (7, 3), (3, 1)])
def test_verdict_is_what_the_middle_of_the_layer_shows(kernel: int, stride: int) -> None:
    layer = layers.Conv1DTranspose(1, kernel, strides=stride, kernel_initializer="ones")
    middle = layer(tf.ones((1, 12, 1)))[0, 4 * stride : 8 * stride, 0].numpy().astype(int)
    verdict = f"Even: k is a multiple of s, so {middle.min()} meet everywhere, away from the border."
    if middle.min() != middle.max():
        verdict = f"A checkerboard: k is not a multiple of s, so {middle.min()} and {middle.max()} windows take turns"
    assert verdict in said(12, kernel, stride, "valid")


def test_example_of_the_post(script: Script) -> None:
    done = script("explain_layers", "--size", "7", "--kernel", "3", "--stride", "2", "--padding", "same")
    assert done.returncode == 0
    assert "Size of the output: n * s = 7 * 2 = 14\n" in done.stdout
    assert "The padding cuts off max(k - s, 0) = max(3 - 2, 0) = 1 of all: 0 before, 1 after.\n" in done.stdout
    assert "\n1 1 2 1 2 1 2 1 2 1 2 1 2 1\n" in done.stdout
    assert "makes ceil(14 / 2) = 7 of 14 again.\nIt makes the same of each size from 13 to 14.\n" in done.stdout
    assert "[[1 1 2 1]\n [1 1 2 1]\n [2 2 4 2]\n [1 1 2 1]]\n" in said(2, 3, 2, "same")
    assert "(n - 1) * s + max(k, s) = (4 - 1) * 3 + max(3, 3) = 12\n" in said(4, 3, 3, "valid")
    assert "makes floor((12 - 3) / 3) + 1 = 4 of 12 again.\n" in said(4, 3, 3, "valid")
    assert page_of_sizes("4", "3", None, None) == said(4, 3, 1, "same")


def test_page_stays_short() -> None:
    for numbers in itertools.product((1, 12, 40, 10_000), repeat=3):
        for padding in ("same", "valid"):
            lines = said(*numbers, padding).splitlines()
            assert len(lines) <= 50
            assert max(map(len, lines)) <= 120


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
        ("--size 10001 --kernel 3", "--size 10001: must be a whole number"),
        (f"--size {'7' * 5000} --kernel 3", "--size 777"),
        ("--size 3 --kernel 2.5", "--kernel 2.5: must be a whole number"),
        ("--size 3 --kernel 3 --stride ٣", "--stride ٣: must be a whole number"),
        ("--size 3 --kernel 3 --stride=", "--stride : must be a whole number"),
        ("--size 3 --kernel 3 --padding=", "--padding : is not a padding; name same or valid"),
    ],
)
def test_numbers_that_no_layer_takes_are_refused_in_one_line(words: str, error: str, script: Script) -> None:
    done = script("explain_layers", *words.split())
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(error)
    assert done.stderr.count("\n") == 1
    assert len(done.stderr) < 120
