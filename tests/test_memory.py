"""What a training takes is known before TensorFlow is imported, and refused if the machine has less."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import Script

from fcn.config.settings import AugmentConfig, Config, ModelConfig, ProgressiveConfig, TrainConfig
from fcn.errors import UserError
from fcn.model import memory
from fcn.model.fcn import build_fcn
from fcn.model.memory import activation_bytes, check_memory, count_parameters, machine_memory, memory_of_training
from fcn.training.optimizer import build_optimizer

SLIM = ModelConfig(encoder="vgg11", width=1 / 32, head_units=4)
PUBLISHED = ModelConfig(width=1.0, head_window=7, head_units=4096, batch_norm=False)


@pytest.mark.parametrize("classes", [2, 11])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"encoder": "vgg13", "stride": 32, "learn_last_upsampling": True},
        {"encoder": "vgg16", "batch_norm": False, "head_window": 7, "head_units": 64, "stride": 16},
        {"encoder": "vgg19", "stride": 4, "skips": "before_pooling", "width": 0.001},
        {"encoder": "vgg16", "stride": 2, "skips": "before_pooling", "head_window": 1, "learn_last_upsampling": True},
        {"stride": 2, "batch_norm": False, "learn_upsampling": False},
    ],
)
def test_parameters_and_slots_are_those_of_the_network(settings: dict, classes: int) -> None:
    config = ModelConfig(**{"encoder": "vgg11", "width": 0.1, "head_units": 8, **settings})
    model = build_fcn(config, classes)
    trained = sum(weight.value.shape.num_elements() for weight in model.trainable_variables)
    assert count_parameters(config, classes) == (model.count_params(), trained)
    for recipe in (
        TrainConfig(),
        TrainConfig(optimizer="sgd", momentum=0.5),
        TrainConfig(optimizer="sgd", momentum=0.0),
    ):
        variables = build_optimizer(recipe, model.trainable_variables).variables
        expected = sum(one.value.shape.num_elements() for one in variables if len(one.shape) > 0)  # not the step count
        assert memory_of_training(Config(model=config, train=recipe), classes)["optimizer and averages"] == 4 * expected


def test_published_head_is_counted_as_published() -> None:
    total, trained = count_parameters(PUBLISHED, classes=21)
    vgg16_without_last_layer = 138_357_544 - 4097 * 1000  # of 1000 classes, as Simonyan and Zisserman count them
    decoder = (4096 + 1 + 512 + 1 + 256 + 1) * 21 + (2 * 4**2 + 16**2) * 21**2
    assert total == vgg16_without_last_layer + decoder
    assert trained == total - 16**2 * 21**2  # the last upsampling stays bilinear


def test_activations_are_the_outputs_of_all_layers() -> None:
    # one crop of 32x32 pixels has 1024, 256, 64, 16, 4 and 1 cells; 2, 4, 8, 16, 16 channels; stride 32, no skip
    encoder = 3 * 1024 + 3 * (2 * 1024 + 4 * 256 + 2 * 8 * 64 + 2 * 16 * 16 + 2 * 16 * 4)
    pooled = 2 * 256 + 4 * 64 + 8 * 16 + 16 * 4 + 16
    head = 2 * 4 * 4 + 5
    decoder = 2 * 5 * 1024
    config = ModelConfig(encoder="vgg11", width=1 / 32, head_units=4, stride=32)
    for precision, size in (("float32", 4), ("bfloat16", 2)):
        expected = size * (encoder + pooled + head + decoder) + 4 * 2 * 5 * 1024
        assert activation_bytes(config, 5, batch_size=1, crop_size=(32, 32), precision=precision) == expected


def test_largest_phase_counts() -> None:
    small = memory_of_training(Config(model=SLIM), 2)
    progressive = ProgressiveConfig(share=0.5, batch_size=8, crop_size=(96, 320))
    large = memory_of_training(Config(model=SLIM, progressive=progressive), 2)
    assert large["activations"] == 2 * small["activations"]


@pytest.mark.parametrize(
    ("config", "fix"),
    [
        (Config(model=PUBLISHED), "model.head_units (4096 as published, 256 by default) or model.width"),
        (
            Config(augment=AugmentConfig(crop_size=(4000, 4000))),
            "train.batch_size or augment.crop_size, or those of progressive, or raise train.accumulate_steps",
        ),
    ],
)
def test_training_that_cannot_fit_is_refused_with_its_fix(
    config: Config, fix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "machine_memory", lambda: 2_000_000_000)
    problem = r"^memory: a training needs about \S+ MB, this machine has 2,000 MB; "
    with pytest.raises(UserError, match=problem) as error:
        check_memory(config, 2)
    assert str(error.value).endswith(f"lower {fix}")
    monkeypatch.setattr(memory, "DEVICES", tmp_path)
    (tmp_path / "nvidia0").touch()
    assert check_memory(config, 2).startswith("memory: parameters ")
    (tmp_path / "nvidia0").rename(tmp_path / "nvidiactl")
    monkeypatch.setattr(memory, "machine_memory", lambda: None)
    assert check_memory(config, 2).startswith("memory: parameters ")


def test_parts_and_workers_share_the_activations() -> None:
    def activations(parts: int, workers: int) -> int:
        config = Config(model=SLIM, train=TrainConfig(batch_size=8, accumulate_steps=parts))
        return memory_of_training(config, 2, workers)["activations"]

    assert activations(1, 1) == 8 * activations(8, 1) == 8 * activations(2, 4) == 4 * activations(2, 2)
    assert activations(3, 1) == 3 * activations(8, 1)  # three parts of 8 frames: the largest has 3


def test_train_refuses_before_it_writes_anything(
    script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "machine_memory", lambda: 10_000_000)
    done = script("train", "--run-dir", tmp_path / "run", "--set", "data.synthetic_frames=[1,1,1]")
    assert done.returncode == 2
    assert done.stderr.startswith("memory: a training needs about")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("version_2", "version_1", "expected"),
    [(None, None, 8192), ("max\n", None, 8192), ("4000\n", None, 4000), (None, "9223372036854771712\n", 8192)],
)
def test_memory_is_that_of_the_machine_or_of_its_container(
    version_2: str | None, version_1: str | None, expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = (tmp_path / "memory.max", tmp_path / "memory.limit_in_bytes")
    for file, text in zip(files, (version_2, version_1), strict=True):
        if text is not None:
            file.write_text(text)
    monkeypatch.setattr(memory, "CGROUP_LIMITS", files)
    monkeypatch.setattr(memory, "MEMINFO", tmp_path / "meminfo")
    (tmp_path / "meminfo").write_text("MemTotal:       8 kB\nMemFree:        1 kB\n")
    assert machine_memory() == expected


def test_memory_that_cannot_be_read_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "CGROUP_LIMITS", ())
    monkeypatch.setattr(memory, "MEMINFO", tmp_path / "meminfo")
    assert machine_memory() is None
