"""The benchmark: forms in turns, ratios to one reference, and a folder next to the network alone."""

from __future__ import annotations

import re
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import Script

from fcn.datasets.dataset import BACKGROUND_AND_ROAD
from fcn.export import benchmark
from fcn.export.benchmark import benchmark_folder, table
from fcn.images import write_image


def test_forms_are_called_in_turns_with_a_pause_and_two_rounds_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    monkeypatch.setattr(time, "sleep", lambda seconds: calls.append(f"pause {seconds}"))
    times = benchmark._alternate({name: partial(calls.append, name) for name in "ab"}, rounds=3)
    assert calls == ["pause 0.15", "a", "pause 0.15", "b"] * 5
    assert {name: len(values) for name, values in times.items()} == {"a": 3, "b": 3}


def test_ratios_are_those_of_the_medians_to_what_keras_exports_itself() -> None:
    lines = table(
        sizes={"onnx float32 any": 5_250_000, "openvino int8 fixed": 1_500_000},
        times={
            "Keras' own ONNX": [39.0, 45.0, 48.0],
            "onnx float32 any": [30.0, 20.0, 40.0],
            "openvino int8 fixed": [10.0, 8.0, 99.0],
        },
        proofs={
            "onnx float32 any": {"equal": 1.0, "miou": 0.75},
            "openvino int8 fixed": {"equal": 0.9958, "miou": None},
        },
        starts={"onnx float32 any": 0.25, "openvino int8 fixed": 0.5},
    ).splitlines()
    assert lines[1].split()[3:] == ["45.0", "39.0", "48.0", "1.00"]
    assert lines[2].split()[3:] == ["5.2", "30.0", "20.0", "40.0", "1.50", "100.00%", "0.7500", "0.25"]
    assert lines[3].split()[3:] == ["1.5", "10.0", "8.0", "99.0", "4.50", "99.58%", "0.50"]


def test_folder_is_timed_from_files_to_pictures_next_to_the_network_alone(tmp_path: Path) -> None:
    for name in "abc":
        write_image(tmp_path / f"{name}.png", np.zeros((20, 30, 3), np.uint8))
    predictor = SimpleNamespace(
        classes=BACKGROUND_AND_ROAD,
        max_megapixels=1,
        labels=lambda image: time.sleep(0.01) or np.zeros(image.shape[:2], np.uint8),
        network_height=lambda height: height,
    )
    files = sorted(tmp_path.glob("*.png"))
    lines = benchmark_folder(predictor, files, tmp_path / "out", count=20).splitlines()
    assert len(list((tmp_path / "out").iterdir())) == 40  # a mask and an overlay of each
    for line in lines[:2]:
        alone, whole, ratio = (float(word) for word in re.findall(r"[0-9.]+\b", line))
        assert alone < 100
        assert ratio == pytest.approx(whole / alone, abs=0.02)
    p50, p95 = ([float(word) for word in re.findall(r"([0-9.]+) ms", line)] for line in lines[2:4])
    assert re.fullmatch(r"p50: decode [0-9.]+ ms, model [0-9.]+ ms, write [0-9.]+ ms, all [0-9.]+ ms", lines[2])
    assert 10 <= p50[1] <= p95[1]
    assert re.fullmatch("peak memory after 2 images [0-9]+ MB, after 20 [0-9]+ MB", lines[4])


def test_what_cannot_be_timed_is_refused_in_a_line(script: Script, tmp_path: Path) -> None:
    mistakes = {
        "--model x.onnx": "--model: only goes with --folder",
        f"--folder {tmp_path}": f"{tmp_path}: holds no PNG or JPEG; name another --folder",
        f"--folder {tmp_path} --count 5": "--count 5: is too few to time; name at least 20",
        "--size 360": "--size 360: is not a size",
    }
    for arguments, message in mistakes.items():
        done = script("benchmark", *arguments.split())
        assert (done.returncode, message in done.stderr) == (2, True), done.stderr
