"""The page of the layers, as a learner calls it up."""

from __future__ import annotations

import re

import pytest
from conftest import Script


@pytest.fixture(scope="module")
def page(script: Script) -> str:
    done = script("explain_layers")
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_page_has_the_numbers_of_the_post(page: str) -> None:
    assert "(-0.39915761, 2.10443926)" in page
    numbers = [float(number) for number in re.findall(r"-?\d+\.\d+(?:e-\d+)?|\d+", page)]
    table = [1.9132932, 3.3048427, 5.2475062e-04, 1.3870993, 0.67331469, 0.42364866, 0.85456026, 1.5854297]
    table += [1.8203658, 2.4720864, 1.9232609, 3.1437812, 0.93802512, 4.0287952, 0.12565404, 3.0760992]
    for expected in [*table, 4.5879917, 0.417022005, 256, 512, 1024, 0.5625, 0.6875, 0.8125, 0.9375]:
        assert any(number == pytest.approx(expected, rel=1e-6) for number in numbers), expected


@pytest.mark.parametrize(
    "line",
    [
        "(1, 3, 3, 1) -> (1, 6, 6, 1)",
        "(1, 2, 2, 1) -> (1, 4, 4, 1)",
        "(1, 4, 4, 1) -> (1, 4, 4, 1)",
        "(1, 4, 4, 1) -> (1, 8, 8, 1)",
        "(1, 4, 4, 1) -> (1, 9, 9, 1)",
        "(1, 7, 7, 1) -> (1, 14, 14, 1)",
        "(1, 4, 4, 1) -> (1, 12, 12, 1)",
        "Ones (64, 7, 7, 256), kernel of ones (3, 3, 128, 256), stride 2, SAME -> (64, 14, 14, 128)",
        "{256: 524288, 512: 786432, 1024: 294912}",
        "goes back to (64, 7, 7, 256)",
        "VALID convolution -> (64, 4, 4, 256)",
        "Conv2DTranspose follows the rule of 2 -> (64, 12, 12, 128)",
        "output_shape (64, 14, 14, 128) -> (64, 14, 14, 128); last two rows and columns, beyond all windows: 0",
    ],
)
def test_page_has_the_shapes_of_the_post(line: str, page: str) -> None:
    assert line in page


def test_page_fits_a_reader(page: str) -> None:
    lines = page.splitlines()
    assert len(lines) <= 150
    assert max(map(len, lines)) <= 120
    headings = [line for line in lines if line.startswith("== ")]
    assert [heading[3] for heading in headings] == list("1234567")
    assert page.count("Rule:") >= len(headings)


def test_help_loads_no_tensorflow(script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPROFILEIMPORTTIME", "1")
    done = script("explain_layers", "--help")
    assert done.returncode == 0
    assert "usage" in done.stdout
    assert "argparse" in done.stderr
    assert not re.search(r"\b(tensorflow|keras|numpy)\b", done.stderr)
