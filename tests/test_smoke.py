"""Trains on synthetic roads and fails unless the network learned to see roads."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import Script
from PIL import Image

from fcn.config.yaml_file import load_config
from fcn.datasets import open_split
from fcn.datasets.statistics import check_frames
from fcn.evaluation.evaluate import evaluate, evaluate_color_table
from fcn.images import read_image, read_label

MARGIN = 0.15  # of road IoU; a run of 80 steps is above both baselines by more than twice that


def test_network_beats_the_majority_class_and_the_color_table(smoke_run: Path, script: Script, tmp_path: Path) -> None:
    file = tmp_path / "scores.json"
    done = script("evaluate", "--run", smoke_run, "--json", file, "--confusion", tmp_path / "confusion.png")
    assert done.returncode == 0, done.stderr
    assert read_image(tmp_path / "confusion.png").ndim == 3
    record = json.loads(file.read_text())
    assert record["miou"] == pytest.approx(json.loads((smoke_run / "best.json").read_text())["miou"], abs=1e-6)
    scores = {
        "split",
        "frames",
        "miou",
        "iou",
        "pixel_accuracy",
        "mean_accuracy",
        "fw_iou",
        "precision",
        "recall",
        "f1",
    }
    scores |= {"share", "confusion", "boundary_f", "mean_boundary_f", "boundary_tolerance", "by_distance", "ece"}
    scores |= {"reliability", "per_frame", "parameters", "gigaflops", "milliseconds", "milliseconds_p95"}
    assert set(record) == scores | {"step", "sha256", "changes"}
    figures = "{parameters:,} parameters; a frame: {gigaflops:.1f} GFLOP at 96 x 320, {milliseconds:.0f} ms (median)"
    assert done.stdout.splitlines()[-2] == figures.format(**record)
    assert (record["split"], record["frames"], set(record["iou"])) == ("val", 16, {"background", "road"})

    data = load_config(smoke_run / "config.yaml").data
    training, validation = open_split(data, "train"), open_split(data, "val")
    majority = evaluate(validation, lambda image: np.zeros(image.shape[:2], np.uint8))
    color_table = evaluate_color_table(*check_frames([training, validation]).splits)
    assert majority["pixel_accuracy"] > 0.5, "background is not the majority class"
    assert record["iou"]["road"] > majority["iou"]["road"] + MARGIN
    assert record["iou"]["road"] > color_table["iou"]["road"] + MARGIN
    assert record["pixel_accuracy"] > majority["pixel_accuracy"]


def test_run_folder_holds_what_is_promised(smoke_run: Path) -> None:
    names = "config.yaml environment.json metrics.jsonl checkpoints pictures best.weights.h5 best.json"
    assert {path.name for path in smoke_run.iterdir()} >= set(names.split())
    rows = [json.loads(line) for line in (smoke_run / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if "loss" in row] == [20, 40, 60, 80]
    assert [row["step"] for row in rows if "miou" in row] == [40, 80]
    losses = [row["loss"] for row in rows if "loss" in row]
    assert losses[-1] < np.log(2) / 2  # log 2: two classes, equally likely
    assert len(list((smoke_run / "pictures").glob("*.png"))) == 4
    checkpoints = sorted(path.name for path in (smoke_run / "checkpoints").iterdir())
    assert checkpoints == ["step-0000000040-evaluated", "step-0000000080-evaluated"]


def test_infer_writes_masks_of_the_input_size_and_a_table(smoke_run: Path, script: Script, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    inputs = tmp_path / "in"
    inputs.mkdir()
    sizes = {"RGB": (61, 47), "L": (33, 32), "P": (1, 1), "RGBA": (90, 20), "CMYK": (40, 40)}  # width, height
    for mode, (width, height) in sizes.items():
        picture = Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)).convert(mode)
        picture.save(inputs / f"{mode}.{'jpg' if mode == 'CMYK' else 'png'}")
    hostile = os.fsencode(inputs) + b"/caf\xe9\n\x1b[2J.png"
    shutil.copy(inputs / "L.png", hostile)
    (inputs / "broken.png").write_bytes((inputs / "RGB.png").read_bytes()[:200])
    out = tmp_path / "out"
    done = script("infer", inputs, "no.png", "--weights", smoke_run / "best.weights.h5", "--out", out)
    assert done.returncode == 2
    assert "no.png: no such file" in done.stderr
    assert "broken.png: is broken or cut off" in done.stderr
    assert r"caf\udce9\n\x1b[2J.png" in done.stdout
    for mode, (width, height) in sizes.items():
        mask = out / f"{mode}_mask.png"
        with Image.open(mask) as picture:
            assert picture.mode == "P"
        assert read_label(mask).shape == (height, width)
        assert read_label(mask).max() <= 1
        assert read_image(next(out.glob(f"{mode}_overlay.*"))).shape == (height, width, 3)
        assert f"{mode}." in done.stdout
    assert len(list(out.iterdir())) == 2 * (len(sizes) + 1)
    assert "decode" in done.stdout
    assert "background" in done.stdout


def test_infer_without_input_shows_validation_frames_of_the_newest_run(smoke_run: Path, script: Script) -> None:
    done = script("infer", cwd=smoke_run.parents[1])
    assert done.returncode == 0, done.stderr
    written = sorted(path.name for path in (smoke_run / "inference").iterdir())
    assert written[:2] == ["val_000000_mask.png", "val_000000_overlay.png"]
    assert len(written) == 12
