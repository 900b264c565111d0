"""A trained network is its weights, its config and what is known of both."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, Script

from fcn.datasets import open_split
from fcn.errors import UserError
from fcn.evaluation.evaluate import evaluate
from fcn.images import read_image, read_label, write_image
from fcn.inference.predictor import load_predictor
from fcn.runs.paths import RunPaths
from fcn.runs.trained import SHIPPED, TrainedModel


@pytest.fixture
def copied(smoke_run: Path, tmp_path: Path) -> Path:
    """NAME.weights.h5 with NAME.yaml and NAME.json."""
    for ending, source in (("weights.h5", "best.weights.h5"), ("yaml", "config.yaml"), ("json", "best.json")):
        shutil.copy(smoke_run / source, tmp_path / f"mine.{ending}")
    return tmp_path / "mine.weights.h5"


def test_weights_of_a_run_know_their_config_and_record(smoke_run: Path) -> None:
    best = TrainedModel.of_run(smoke_run)
    assert TrainedModel.of_weights(smoke_run / "best.weights.h5").weights == best.weights
    assert TrainedModel.of_weights(smoke_run / "best.weights.h5").record == best.record
    assert best.config() == RunPaths.of(smoke_run).load_config()


def test_config_of_the_same_name_goes_first_and_a_record_is_not_needed(copied: Path) -> None:
    (copied.parent / "config.yaml").write_text("train: {steps: 1}\n")
    assert TrainedModel.of_weights(copied).config_file.name == "mine.yaml"
    (copied.parent / "mine.yaml").unlink()
    (copied.parent / "mine.json").unlink()
    assert TrainedModel.of_weights(copied).config_file.name == "config.yaml"
    assert TrainedModel.of_weights(copied).record == {}
    (copied.parent / "config.yaml").unlink()
    with pytest.raises(UserError, match=r"mine\.weights\.h5: lacks mine\.yaml beside it, the config of the run; copy"):
        TrainedModel.of_weights(copied)


def test_weights_that_are_not_those_of_the_record_are_refused(copied: Path) -> None:
    data = bytearray(copied.read_bytes())
    data[len(data) // 2] ^= 1
    copied.write_bytes(data)
    with pytest.raises(UserError, match=r"is damaged \(its SHA-256 is not the one in mine\.json\); restore both files"):
        TrainedModel.of_weights(copied)


@pytest.mark.parametrize("name", ["mine.yaml", "nothing.weights.h5"])
def test_other_files_are_no_weights(name: str, copied: Path) -> None:
    with pytest.raises(UserError, match=r"is no file NAME\.weights\.h5; name the best\.weights\.h5 of a run"):
        TrainedModel.of_weights(copied.parent / name)


def test_name_tells_weights_from_a_run(copied: Path) -> None:
    assert load_predictor(copied).model.count_params() == TrainedModel.of_weights(copied).record["parameters"]
    with pytest.raises(UserError, match=r"mine2\.weights\.h5: is no file"):
        load_predictor(copied.with_name("mine2.weights.h5"))


def test_what_is_named_goes_before_the_newest_run_and_that_before_what_is_shipped(
    smoke_run: Path, copied: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(smoke_run.parents[1])
    assert TrainedModel.find(weights=copied).weights == copied
    assert TrainedModel.find(smoke_run).weights == smoke_run / "best.weights.h5"
    assert TrainedModel.find().weights == Path("runs/smoke/best.weights.h5")
    assert capsys.readouterr().err == ""
    monkeypatch.chdir(copied.parent)
    assert TrainedModel.find().weights == SHIPPED
    told = f"runs/: holds no trained run; taking {SHIPPED}, which knows frames of about 360 x 480 pixels\n"
    assert capsys.readouterr().err == told


def test_photo_is_segmented_out_of_the_box(script: Script, tmp_path: Path) -> None:
    write_image(tmp_path / "photo.jpg", np.random.default_rng(0).integers(0, 256, (500, 70, 3), dtype=np.uint8))
    done = script("infer", "photo.jpg", cwd=tmp_path)
    at = "higher images segmented at a height of 360"
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith(f"runs/: holds no trained run; taking {SHIPPED}")
    assert done.stdout.endswith(f"weights: {SHIPPED}  masks and overlays: inference  {at}\n")
    assert read_label(tmp_path / "inference" / "photo_mask.png").shape == (500, 70)
    assert read_image(tmp_path / "inference" / "photo_overlay.png").shape == (500, 70, 3)
    done = script("infer", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.endswith("or name images: python scripts/infer.py photo.jpg\n")


def test_shipped_network_is_whole_and_documented() -> None:
    shipped = TrainedModel.of_weights(SHIPPED)
    assert load_predictor(shipped).model.count_params() == shipped.record["parameters"] <= 1_500_000
    card = SHIPPED.with_name("README.md").read_text()
    assert f"mIoU {shipped.record['miou']:.3f}." in card
    for name, iou in shipped.record["iou"].items():
        assert f"| {name} | {iou:.3f} |" in card
    for document in ("README.md", "docs/recipes.md"):
        claim = rf"evaluate\.py --weights \S*/{SHIPPED.name}.* prints {shipped.record['miou']:.4f} again"
        assert re.search(claim, (ROOT / document).read_text())


@pytest.mark.slow
def test_shipped_network_has_the_score_of_its_record(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)  # data.root is relative to the current folder
    shipped = TrainedModel.of_weights(SHIPPED)
    data = shipped.config().data
    if not Path(data.root).is_dir():
        pytest.skip(f"{data.root} is not there (data/README.md tells how to get it)")
    scores = evaluate(open_split(data, "val"), load_predictor(shipped).labels)
    assert scores["miou"] == pytest.approx(shipped.record["miou"], abs=5e-4)  # another processor rounds otherwise


def test_weights_are_scored_in_place_of_a_run_and_flipped(copied: Path, script: Script, tmp_path: Path) -> None:
    done = script("evaluate", "--weights", copied, "--flip", "--json", tmp_path / "scores.json")
    assert done.returncode == 0, done.stderr
    assert "WARNING:tensorflow" not in done.stderr
    assert " 16 frames of val, averaged over the mirror images\n" in done.stdout
    assert " parameters; a frame: " in done.stdout
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert scores["flip"] is True
    gain = scores["miou"] - TrainedModel.of_weights(copied).record["miou"]
    assert 0 < abs(gain) < 0.1


def test_flip_averages_the_image_and_its_mirror_image(smoke_run: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (40, 70, 3), dtype=np.uint8)
    plain, flipped = load_predictor(smoke_run), load_predictor(smoke_run, flip=True)
    expected = (plain.probabilities(image) + plain.probabilities(image[:, ::-1])[:, ::-1]) / 2
    np.testing.assert_allclose(flipped.probabilities(image), expected, atol=1e-6)
    np.testing.assert_array_equal(flipped.labels(image), expected.argmax(-1))
    both = flipped.labels_and_confidence(image, 1)
    assert both.dtype == np.uint8
    np.testing.assert_array_equal(both[..., 0], expected.argmax(-1))
    np.testing.assert_allclose(both[..., 1], 255 * expected[..., 1], atol=0.51)
