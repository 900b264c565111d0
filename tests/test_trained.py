"""A trained network: weights, config and record that fit each other, and which one is taken by default."""

from __future__ import annotations

import json
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, Script

from fcn.config.settings import DataConfig
from fcn.config.yaml_file import dump_config, load_config
from fcn.datasets import open_split
from fcn.errors import UserError
from fcn.evaluation.evaluate import evaluate
from fcn.images import read_image, read_label, write_image
from fcn.inference.predictor import load_predictor
from fcn.runs import trained
from fcn.runs.paths import RunPaths
from fcn.runs.trained import SHIPPED, TrainedModel, write_record


@pytest.fixture
def copied(smoke_run: Path, tmp_path: Path) -> Path:
    """NAME.weights.h5 with NAME.yaml and NAME.json."""
    for ending, source in (("weights.h5", "best.weights.h5"), ("yaml", "config.yaml"), ("json", "best.json")):
        shutil.copy(smoke_run / source, tmp_path / f"mine.{ending}")
    return tmp_path / "mine.weights.h5"


def test_weights_of_a_run_know_their_config_and_record(smoke_run: Path) -> None:
    best = TrainedModel.of_run(smoke_run)
    assert TrainedModel.of_weights(best.weights) == replace(best, outputs=Path("inference"))
    assert best.config() == RunPaths(smoke_run).load_config()
    assert best.description() == f"{best.weights} (step {best.record['step']})"


def test_config_of_the_same_name_goes_first_and_a_record_is_not_needed(copied: Path) -> None:
    (copied.parent / "config.yaml").write_text("train: {steps: 1}\n")
    assert TrainedModel.of_weights(copied).config_file.name == "mine.yaml"
    (copied.parent / "mine.yaml").unlink()
    (copied.parent / "mine.json").unlink()
    assert TrainedModel.of_weights(copied) == TrainedModel(
        weights=copied,
        content=copied.read_bytes(),
        config_file=copied.parent / "config.yaml",
        record={},
        outputs=Path("inference"),
    )
    (copied.parent / "config.yaml").unlink()
    with pytest.raises(UserError, match=r"mine\.weights\.h5: has no mine\.yaml next to it; copy the config"):
        TrainedModel.of_weights(copied)


def test_weights_of_another_network_or_other_classes_are_refused(copied: Path) -> None:
    config = copied.with_name("mine.yaml")
    own = config.read_text()
    refused = {
        ("labels: road", "labels: all"): "data.labels: all; mine.weights.h5 was trained with road",
        ("skips: after_pooling", "skips: before_pooling"): "model.skips: before_pooling; .* with after_pooling",
        ("mask_values: null", "mask_values: [1, 0]"): r"data.mask_values: \[1, 0\]; .* was trained with None",
        ("dropout: 0.2", "dropout: 0.3"): None,  # of training only
    }
    for (before, now), text in refused.items():
        assert before in own
        config.write_text(own.replace(before, now))
        if text is None:
            load_predictor(copied)
            continue
        with pytest.raises(UserError, match=f"mine.yaml: {text}: restore the config of the weights"):
            load_predictor(copied)
    record = json.loads(copied.with_name("mine.json").read_text())
    del record["config"]  # as in version 0.1
    config.write_text(own)
    write_record(copied.with_name("mine.json"), copied, record)
    load_predictor(copied)


def test_changes_of_a_continued_run_are_lines(copied: Path) -> None:
    trained = TrainedModel.of_weights(copied)
    assert trained.changes() == []
    changes = [{"step": 4, "changed": {"train.seed": [0, 1], "code": ["a" * 64, "b" * 64]}}]
    assert replace(trained, record={"changes": changes}).changes() == [
        "step 4: continued with train.seed 1 instead of 0",
        f"step 4: continued with code {'b' * 40}... instead of {'a' * 40}...",
    ]
    for damaged in (3, [3], [{}], [{"step": 1, "changed": {"a": [1]}}], [{"step": 1, "changed": []}]):
        with pytest.raises(UserError, match="its record names the changes of the run wrongly"):
            replace(trained, record={"changes": damaged}).changes()


def test_other_files_than_the_recorded_weights_are_refused(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trained, "WAITS", (0,))
    assert load_predictor(copied).model.count_params() == TrainedModel.of_weights(copied).record["parameters"]
    for name in ("mine.yaml", "nothing.weights.h5"):
        with pytest.raises(UserError, match=r"is not a file NAME\.weights\.h5; name the best\.weights\.h5 of a run"):
            TrainedModel.of_weights(copied.with_name(name))
    with pytest.raises(UserError, match=r"nothing\.weights\.h5: is not a file"):  # not taken for the folder of a run
        load_predictor(copied.with_name("nothing.weights.h5"))
    data = bytearray(copied.read_bytes())
    data[len(data) // 2] ^= 1
    copied.write_bytes(data)
    with pytest.raises(UserError, match=r"is damaged \(its SHA-256 is not the one in mine\.json\); restore both files"):
        TrainedModel.of_weights(copied)


def test_what_is_named_goes_before_the_newest_run_and_that_before_what_is_shipped(
    smoke_run: Path, copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = copied.parent / "runs"
    for time in (1, 2, 3):  # run 2 is on real frames
        shutil.copytree(smoke_run, runs / str(time), ignore=shutil.ignore_patterns("checkpoints"))
        file = runs / str(time) / "config.yaml"
        if time == 2:
            data = DataConfig(kind="folder", root="nowhere", class_names=("background", "road"))
            file.write_text(dump_config(replace(load_config(file, stored=True), data=data)))
        os.utime(file, (time, time))
    monkeypatch.chdir(copied.parent)
    assert TrainedModel.find(weights=copied).weights == copied
    assert TrainedModel.find(smoke_run).weights == smoke_run / "best.weights.h5"
    shipped = f"{SHIPPED} (step 12000, the network that comes with fcn)"
    run_3 = "runs/3/best.weights.h5 (step 80, newest run)"
    run_2 = "runs/2/best.weights.h5 (step 80, newest run on real frames)"
    for newest, newest_real, removed in ((run_3, run_2, "runs/2"), (run_3, shipped, "runs"), (shipped, shipped, None)):
        assert TrainedModel.find().description() == newest
        assert TrainedModel.find(real_frames=True).description() == newest_real
        if removed:
            shutil.rmtree(removed)
    with pytest.raises(UserError, match=r"runs/: holds no trained run; start one with"):
        TrainedModel.find(shipped=False)


def test_photo_is_segmented_out_of_the_box(smoke_run: Path, script: Script, tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "toy").symlink_to(smoke_run)  # on synthetic frames, as after `make demo`
    write_image(tmp_path / "photo.jpg", np.random.default_rng(0).integers(0, 256, (600, 70, 3), dtype=np.uint8))
    done = script("infer", "photo.jpg", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"weights: {SHIPPED} (step 12000, the network that comes with fcn)\n")
    assert done.stdout.endswith("\nmasks and overlays: inference\n")
    assert "segmented at a height of 360 pixels and resized to full size: 1 of 1 (see `at height`); " in done.stderr
    assert read_label(tmp_path / "inference" / "photo_mask.png").shape == (600, 70)
    assert read_image(tmp_path / "inference" / "photo_overlay.jpg").shape == (600, 70, 3)
    (tmp_path / "runs" / "toy").unlink()
    done = script("infer", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.endswith("or name images: fcn infer photo.jpg\n")


def test_shipped_network_is_whole_and_documented() -> None:
    shipped = TrainedModel.of_weights(SHIPPED)
    predictor = load_predictor(shipped)
    assert predictor.model.count_params() == shipped.record["parameters"] <= 1_500_000
    assert predictor.frame_height == 360
    card = SHIPPED.with_name("README.md").read_text()
    assert f"mIoU {shipped.record['miou']:.3f}." in card
    for name, iou in shipped.record["iou"].items():
        assert f"| {name} | {iou:.3f} |" in card
    claim = rf"evaluate --weights \S*/{SHIPPED.name}.* prints {shipped.record['miou']:.4f} again"
    assert re.search(claim, (ROOT / "docs" / "recipes.md").read_text())


@pytest.mark.slow
@pytest.mark.skipif(not (ROOT / "data/CamVid").is_dir(), reason="data/CamVid is missing (see data/README.md)")
def test_shipped_network_has_the_score_of_its_record(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)  # data.root is relative to the current folder
    shipped = TrainedModel.of_weights(SHIPPED)
    scores = evaluate(open_split(shipped.config().data, "val"), load_predictor(shipped, max_height=None).labels)
    assert scores["miou"] == pytest.approx(shipped.record["miou"], abs=5e-4)  # another processor rounds otherwise


def test_weights_are_scored_in_place_of_a_run_and_flipped(copied: Path, script: Script, tmp_path: Path) -> None:
    done = script("evaluate", "--weights", copied, "--tta", "flip", "--json", tmp_path / "scores.json")
    assert done.returncode == 0, done.stderr
    assert "WARNING:tensorflow" not in done.stderr
    assert " 16 frames of val, test-time augmentation: flip\n" in done.stdout
    assert " parameters; a frame: " in done.stdout
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert scores["tta"] == ["flip"]
    gain = scores["miou"] - TrainedModel.of_weights(copied).record["miou"]
    assert 0 < abs(gain) < 0.1
