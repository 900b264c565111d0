"""YAML text -> Config: what a scalar means is decided by its field; every mistake has its place."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from fcn.config import AugmentConfig, Config, DataConfig, ModelConfig, TrainConfig
from fcn.configfile import changed_keys, dump_config, load_config
from fcn.errors import UserError

EVEN = "an even one shifts the map by half a cell"


def load(tmp_path: Path, text: str, *overrides: str) -> Config:
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    return load_config(file, overrides)


def mistakes(tmp_path: Path, text: str, *overrides: str) -> list[str]:
    with pytest.raises(UserError) as caught:
        load(tmp_path, text, *overrides)
    return str(caught.value).replace(f"{tmp_path}/", "").splitlines()


def test_defaults_are_what_an_empty_file_gives(tmp_path: Path) -> None:
    assert (
        load(tmp_path, "")
        == load(tmp_path, "# nothing\n")
        == load(tmp_path, "train:\n")
        == load_config(None)
        == Config()
    )


@pytest.mark.parametrize(
    ("text", "value"), [("1e-3", 1e-3), ("1E-3", 1e-3), (".5", 0.5), ("2", 2.0), ("+1.", 1.0), ("1.0e-05", 1e-5)]
)
def test_numbers_are_read_as_people_write_them(text: str, value: float, tmp_path: Path) -> None:
    assert load(tmp_path, f"train: {{learning_rate: {text}}}").train.learning_rate == value


@pytest.mark.parametrize(
    "text", ["12:30", "'0.1'", "abc", "0x10", "1_000", ".inf", ".nan", "nan", "1e999", "[1]", "true", ""]
)
def test_what_is_no_number_is_refused_where_one_is_meant(text: str, tmp_path: Path) -> None:
    (line,) = mistakes(tmp_path, f"train:\n  learning_rate: {text}")
    assert line.startswith("mine.yaml:2:")
    assert "train.learning_rate: " in line


@pytest.mark.parametrize("text", ["010", "1.0", "1e3", "0b1", "1_000", "12:30", "'3'", "ten", "null"])
def test_what_is_no_whole_number_is_refused_where_one_is_meant(text: str, tmp_path: Path) -> None:
    (line,) = mistakes(tmp_path, f"train: {{steps: {text}}}")
    assert line.startswith("mine.yaml:1:16: train.steps: ")


@pytest.mark.parametrize("text", ["no", "off", "yes", "on", "False", "0", "'true'"])
def test_only_true_and_false_are_truth_values(text: str, tmp_path: Path) -> None:
    (line,) = mistakes(tmp_path, f"augment: {{flip: {text}}}")
    assert "write" in line


@pytest.mark.parametrize("text", ["no", "yes", "12:30", "1e-3", "010", "~user", "0"])
def test_words_stay_what_was_written_where_text_is_meant(text: str, tmp_path: Path) -> None:
    assert load(tmp_path, f"data: {{root: {text}}}").data.root == text


def test_null_is_nothing_and_quoted_null_is_a_word(tmp_path: Path) -> None:
    assert load(tmp_path, "data: {root: null}").data.root is None
    assert load(tmp_path, "data: {root: 'null'}").data.root == "null"


def test_all_mistakes_are_told_at_once_in_order_with_their_places(tmp_path: Path) -> None:
    text = """\
data:
  kind: camvidd
trian:
  steps: 3
model:
  head_window: 4
  widht: 0.5
augment:
  crop_size: [96]
  scale: [2, 1]
"""
    assert mistakes(tmp_path, text, "train.stepps=3") == [
        "mine.yaml:2:9: data.kind: 'camvidd' is not one of synthetic, camvid; did you mean camvid?",
        "mine.yaml:3:1: trian: is no section; did you mean train?",
        "mine.yaml:6:16: model.head_window: 4 is not allowed; it must be 1, 3, 5 or 7; " + EVEN,
        "mine.yaml:7:3: model.widht: is no setting; did you mean model.width?",
        "mine.yaml:9:14: augment.crop_size: a list of 1 is not a list of 2 numbers, such as [100, 100]",
        "mine.yaml:10:10: augment.scale: [2.0, 1.0] is not allowed; it must be [lowest, highest]; swap the two numbers",
        "--set train.stepps=3: train.stepps: is no setting; did you mean train.steps?",
    ]


@pytest.mark.parametrize(
    ("override", "hint"),
    [
        ("train.lr=1", "known here: steps, batch_size"),
        ("train=3", "it is a section; name a setting of it, such as train.steps"),
        ("optimizer=3", "known here: data, augment, model, train"),
        ("crop_size=3", "did you mean augment.crop_size?"),
    ],
)
def test_hints_stay_on_the_level_asked_for(override: str, hint: str, tmp_path: Path) -> None:
    (line,) = mistakes(tmp_path, "", override)
    assert hint in line


def test_a_dotted_key_in_a_file_is_sent_under_its_section(tmp_path: Path) -> None:
    assert mistakes(tmp_path, "model.width: 0.5") == [
        "mine.yaml:1:1: model.width: is no section; write `width:` in a line under `model:`"
    ]


def test_a_missing_setting_is_placed_where_it_became_one(tmp_path: Path) -> None:
    assert mistakes(tmp_path, "train:\n  steps: 3\ndata:\n  kind: camvid") == [
        "mine.yaml:4:9: data.root: is not set; `camvid` is read from a folder: set data.root to it"
    ]
    (only,) = mistakes(tmp_path, "data: {kind: camvid, root: [1]}")
    assert only == "mine.yaml:1:28: data.root: a list of 1 is not a single value"


@pytest.mark.parametrize("text", ["99999999999", "9" * 5000])
def test_numbers_beyond_every_setting_are_refused(text: str, tmp_path: Path) -> None:
    (line,) = mistakes(tmp_path, f"train: {{steps: {text}}}")
    assert "is too large a number" in line


def test_thousands_of_mistakes_are_told_at_once(tmp_path: Path) -> None:
    started = time.perf_counter()
    assert len(mistakes(tmp_path, "train:\n" + "".join(f"  x{i}: 1\n" for i in range(6000)))) == 6000
    assert time.perf_counter() - started < 2


def test_a_setting_in_the_wrong_section_is_sent_to_the_right_one(tmp_path: Path) -> None:
    assert mistakes(tmp_path, "model: {steps: 3}") == [
        "mine.yaml:1:9: model.steps: is no setting; did you mean train.steps?"
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "train: {steps: 1}\ntrain: {steps: 2}",
            "mine.yaml:2:1: the file: train stands twice, first in line 1; keep one",
        ),
        ("train:\n  steps: 1\n  steps: 1", "mine.yaml:3:3: train: steps stands twice, first in line 2; keep one"),
        ("train: &a {steps: 1}", "mine.yaml:1:8: anchors and aliases are not allowed; write the value out"),
        ("a: *b", "mine.yaml:1:4: anchors and aliases are not allowed; write the value out"),
        (
            "train: {steps: !!python/name:os.system x}",
            "mine.yaml:1:16: the tag tag:yaml.org,2002:python/name:os.system",
        ),
        ("[" * 5000, "mine.yaml:1:5: is nested too deeply"),
        ("- train", "mine.yaml:1:1: the file: must be `key: value` lines"),
        ("train: 3", "mine.yaml:1:8: train: must be `key: value` lines"),
        ("? [a]\n: 3", "mine.yaml:1:3: the file: a key must be a plain word"),
        ("train: {steps: 1", "mine.yaml:1:17: is not YAML: "),
        ("\ttrain:", "mine.yaml:1:1: is not YAML: "),
        ("--- {}\n--- {}", "mine.yaml:2:1: is not YAML: "),
        ("\ntrain: \x01", "mine.yaml:2: special characters are not allowed"),
    ],
)
def test_what_is_no_plain_config_is_refused(text: str, expected: str, tmp_path: Path) -> None:
    (line,) = mistakes(tmp_path, text)
    assert line.startswith(expected)


def test_large_files_and_other_encodings_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "big.yaml"
    file.write_bytes(b"#" * 65_537)
    with pytest.raises(UserError, match="larger than 64 KB"):
        load_config(file)
    file.write_bytes(b"#" * 65_536)
    assert load_config(file) == Config()
    file.write_bytes(b"train: \xff")
    with pytest.raises(UserError, match=r"big.yaml:1: is not UTF-8"):
        load_config(file)
    with pytest.raises(UserError, match="cannot be read: Is a directory"):
        load_config(tmp_path)


def test_overrides_follow_the_rules_of_the_file_and_the_last_wins(tmp_path: Path) -> None:
    config = load(
        tmp_path, "train: {steps: 5, seed: 1}", "train.steps=6", "train.steps=7", "augment.crop_size=[256,512]"
    )
    assert (config.train.steps, config.train.seed) == (7, 1)
    assert config.augment.crop_size == (256, 512)
    for override in ("train.steps", "train.steps=1.5", "steps=3", "train=3", "data.root=&a b", "train.steps=", "=3"):
        (line,) = mistakes(tmp_path, "", override)
        assert line.startswith(f"--set {override}: ")


def test_dump_is_read_back_equal_with_the_documentation_in_it(tmp_path: Path) -> None:
    config = Config(
        data=DataConfig(kind="camvid", root="no: [it's] #1", view="full"),
        augment=AugmentConfig(crop_size=(1, 2), scale=(0.1, 1e9), flip=False),
        model=ModelConfig(width=1e-5, stride=2),
        train=TrainConfig(learning_rate=1e-10, seed=2**31 - 1),
    )
    text = dump_config(config)
    assert load(tmp_path, text) == config
    assert "  # Window of fc6 in cells of the last map" in text


def test_changed_keys_names_each_difference_once() -> None:
    other = Config(train=TrainConfig(steps=1), model=ModelConfig(width=0.5))
    assert changed_keys(Config(), other) == ["model.width", "train.steps"]
    assert changed_keys(other, other) == []


@pytest.mark.parametrize("path", sorted((Path(__file__).parents[1] / "configs").glob("*.yaml")), ids=lambda p: p.stem)
def test_shipped_configs_load_and_say_only_what_differs(path: Path) -> None:
    config = load_config(path)
    said = {line.strip().split(":")[0] for line in path.read_text().splitlines() if line.startswith("  ")}
    assert {key.split(".")[1] for key in changed_keys(Config(), config)} == said
