"""The published training: each stage starts from the last one's scores, and can be stopped at any time."""

from __future__ import annotations

import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import ROOT, Script, make_run

from fcn.commands import train as train_command
from fcn.config.settings import Config, ModelConfig, StagesConfig
from fcn.config.yaml_file import load_config
from fcn.errors import ConfigError
from fcn.model.fcn import build_fcn
from fcn.model.pretrained import set_initial_weights
from fcn.model.weights import save_weights
from fcn.runs.checkpoint import list_checkpoints
from fcn.runs.paths import RunPaths
from fcn.runs.stages import stages_of

pytestmark = pytest.mark.filterwarnings("ignore:Even though the `tf.config.experimental_run_functions_eagerly`")
RANDOM = np.random.default_rng(0)
TINY = (
    *("data.kind=synthetic", "data.synthetic_frames=[2,1,1]", "data.synthetic_size=[32,64]", "data.labels=road"),
    *("augment.crop_size=[32,64]", "model.initial_weights=none", "model.width=0.04", "model.head_units=8"),
    *(
        "model.encoder=vgg11",
        "model.head_window=1",
        "train.steps=2",
        "train.evaluate_steps=2",
        "train.checkpoint_steps=1",
    ),
)


def test_fused_scores_of_a_stage_are_at_first_the_upsampled_scores_of_the_last(tmp_path: Path) -> None:
    model = ModelConfig(encoder="vgg11", width=1 / 32, head_units=7)
    plan = StagesConfig(strides=(32, 16, 8), learning_rates=(0.3, 0.2, 0.1))
    stages = stages_of(Config(model=model, stages=plan), RunPaths(Path("runs/a")))
    assert [str(run.directory) for _, run in stages] == ["runs/a-32s", "runs/a-16s", "runs/a-8s"]
    assert [stage.model.initial_weights for stage, _ in stages] == ["none", "runs/a-32s", "runs/a-16s"]
    assert [stage.train.learning_rate for stage, _ in stages] == [0.3, 0.2, 0.1]
    networks = [build_fcn(stage.model, 3) for stage, _ in stages]
    image = RANDOM.integers(0, 256, (1, 75, 110, 3), np.uint8)
    finest = ("score_fr", "fuse_pool4", "fuse_pool3")
    for number in (1, 2):
        last, network = networks[number - 1 : number + 1]
        last.set_weights([np.abs(RANDOM.normal(size=one.shape)) for one in last.weights])
        save_weights(last, tmp_path / "a.weights.h5")
        content = (tmp_path / "a.weights.h5").read_bytes()
        set_initial_weights(network, tmp_path / "a", content, trained=stages[number - 1][0].model, same_classes=True)
        scores = keras.Model(last.input, last.get_layer(finest[number - 1]).output)(image)
        fused = keras.Model(network.input, network.get_layer(finest[number]).output)(image)
        upsampled = tf.image.resize(scores, [2 * side for side in scores.shape[1:3]])
        expected = upsampled[:, : fused.shape[1], : fused.shape[2]]
        np.testing.assert_allclose(fused, expected, rtol=1e-4)


NETWORK = {"encoder": "vgg16", "width": 1.0, "head_window": 7, "head_units": 4096, "dropout": 0.5, "batch_norm": False}
CONSTANT = {"batch_size": 1, "warmup": 0.0, "decay_power": 0.0, "weight_decay": 5e-4, "decay_form": "l2"}
HEAVY = {**CONSTANT, "optimizer": "sgd", "momentum": 0.99, "bias_rate": 2.0, "loss": "sum", "clip_norm": None}
PUBLISHED = {
    "vgg16_stages": ({**NETWORK, "skip_scale": 1.0}, {**HEAVY, "steps": 100_000}),
    "vgg16_at_once": ({**NETWORK, "skip_scale": 0.01}, {**HEAVY, "steps": 300_000, "learning_rate": 1e-10}),
    "kittiseg": (NETWORK, {**CONSTANT, "optimizer": "adamw", "learning_rate": 1e-5, "clip_norm": 1.0, "steps": 12_000}),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_recipes_have_the_published_values(name: str) -> None:
    config = load_config(ROOT / "configs" / f"{name}.yaml")
    for section, expected in zip((config.model, config.train), PUBLISHED[name], strict=True):
        assert {key: getattr(section, key) for key in expected} == expected
    if name == "vgg16_stages":
        assert (config.stages.strides, config.stages.learning_rates) == ((32, 16, 8), (1e-10, 1e-12, 1e-14))


def test_stages_that_do_not_add_skips_or_lack_a_rate_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"\[8, 16\] does not fall"):
        StagesConfig(strides=(8, 16))
    with pytest.raises(ConfigError, match=r"has length 1 and stages\.strides 2"):
        StagesConfig(strides=(16, 8), learning_rates=(0.1,))
    with pytest.raises(ConfigError, match=r"set model\.learn_last_upsampling: false too"):
        ModelConfig(learn_upsampling=False, learn_last_upsampling=True)


def test_a_later_stage_that_exists_is_found_before_the_first_is_trained(script: Script, tmp_path: Path) -> None:
    make_run(tmp_path / "a-8s")
    done = script("train", "--run-dir", tmp_path / "a", "--set", "stages.strides=[16,8]")
    assert done.returncode == 2
    assert "a-8s: exists; continue it with --resume" in done.stderr
    done = script("train", "--run-dir", tmp_path / "a", "--resume")
    assert done.returncode == 2
    assert "a: has stages, such as " in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["a-8s"]


@pytest.mark.slow
@pytest.mark.usefixtures("uncompiled")
def test_stages_stopped_between_and_within_end_with_the_weights_of_an_uninterrupted_run(
    script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train_command, "resolve_auto", lambda config, _: config)  # the threads of this process are set

    def train(name: str) -> None:
        settings = [word for one in TINY for word in ("--set", one)]
        done = script("train", "--config", "vgg16_stages", "--run-dir", tmp_path / name, "--resume", *settings)
        assert done.returncode == 0, done.stderr

    train("whole")
    for stride in (32, 16):
        shutil.copytree(tmp_path / f"whole-{stride}s", tmp_path / f"stopped-{stride}s")
    newest = list_checkpoints(tmp_path / "stopped-16s" / "checkpoints")[-1]
    shutil.rmtree(newest)
    train("stopped")
    assert list_checkpoints(newest.parent)[-1].name == newest.name
    for stride in (16, 8):
        weights = [(tmp_path / f"{name}-{stride}s" / "best.weights.h5").read_bytes() for name in ("whole", "stopped")]
        assert weights[0] == weights[1]
