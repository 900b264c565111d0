"""YAML text -> Config: the field decides what a scalar means; every mistake is reported with its place."""

from __future__ import annotations

import os
import time
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, get_args, get_origin

import pytest
import yaml
from conftest import ROOT
from hypothesis import example, given
from hypothesis import strategies as st

from fcn.config.fields import Section, fields_of
from fcn.config.settings import SECTIONS, Config, DataConfig, ModelConfig, TrainConfig
from fcn.config.yaml_file import NOT_PLAIN, changed_keys, dump_config, field_of, find_config, load_config
from fcn.errors import ConfigError, UserError

EVEN = "an even one shifts the feature map by half a cell"

KEYS = [f"{key}.{name}" for key, section in SECTIONS.items() for name in fields_of(section)]
WORDS = [*SECTIONS, *(key.split(".")[1] for key in KEYS), "true", "null", "vgg16", "0x1", "1e999", ".nan", "9" * 5000]
MARKS = [*"\t :,-?!&*#|>@%'\"[]{}", "\n", "\n  ", ": ", "- ", "---", "<<", "\ufeff", "\x00", "\x85", "\u202e"]
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()) | st.sampled_from(WORDS)
TREES = st.recursive(
    SCALARS,
    lambda part: st.lists(part, max_size=3) | st.dictionaries(st.sampled_from(WORDS) | st.text(), part, max_size=4),
)
TEXTS = st.one_of(
    st.text(st.characters()),
    st.lists(st.sampled_from(MARKS + WORDS) | st.characters()).map("".join),
    TREES.map(yaml.safe_dump),
    st.dictionaries(st.sampled_from(list(SECTIONS)), st.dictionaries(st.sampled_from(WORDS), TREES)).map(
        yaml.safe_dump
    ),
)


def values(kind: Any) -> st.SearchStrategy[Any]:
    """Values of a field's type that a file can hold; its rules are not checked yet."""
    if get_origin(kind) is Literal:
        return st.sampled_from(get_args(kind))
    if get_origin(kind) is tuple:
        first, *others = get_args(kind)
        return st.lists(values(first)).map(tuple) if Ellipsis in others else st.tuples(*map(values, (first, *others)))
    if get_origin(kind) is UnionType:
        return st.one_of(*map(values, get_args(kind)))
    return {
        bool: st.booleans(),
        int: st.sampled_from([1, 3]) | st.integers(0, 2**32 - 1),
        float: st.floats(0.1, 0.4) | st.floats(0, 1) | st.floats(0, allow_infinity=False),
        str: st.text(st.characters()),
        NoneType: st.none(),
    }[kind]


def legal(section: type[Section]) -> st.SearchStrategy[Section]:
    """Sections with any values in any fields; values that break a rule are left out."""
    fields = {name: values(field.type) for name, field in fields_of(section).items()}

    def build(chosen: dict[str, Any]) -> Section:
        try:
            return section(**chosen)
        except ConfigError as error:
            kept = {name: value for name, value in chosen.items() if f"{section.key}.{name}" not in error.problems}
            return build(kept) if len(kept) < len(chosen) else section()

    return st.fixed_dictionaries({}, optional=fields).map(build)


CONFIGS = st.builds(Config, **{key: legal(section) for key, section in SECTIONS.items()})


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file to write to again and again."""
    return tmp_path_factory.mktemp("configs") / "mine.yaml"


def load(tmp_path: Path, text: str, *overrides: str) -> Config:
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    return load_config(file, overrides)


def mistakes(tmp_path: Path, text: str, *overrides: str) -> list[str]:
    with pytest.raises(UserError) as caught:
        load(tmp_path, text, *overrides)
    return str(caught.value).replace(f"{tmp_path}/", "").splitlines()


def reported_lines(path: Path | None, *overrides: str) -> list[str]:
    """The mistakes; none if it is a config."""
    try:
        load_config(path, overrides)
    except UserError as error:
        return str(error).split("\n")
    return []


@given(TEXTS)
@example('train: {"ste\\nps": 1, "\\u202e": 2, \'steps\': "\\x1b[2J"}')
@example('"\\U00110000"')
@example('"\\UFFFFFFFF"')
@example(f"%YAML 1.{'1' * 5000}\n---")
@example("[" * 5000)
@example("\ud800")
def test_any_text_is_a_config_or_mistakes_of_one_printable_line_each(file: Path, text: str) -> None:
    file.write_bytes(text.encode(errors="surrogatepass"))
    for line in reported_lines(file):
        assert line.startswith(f"{file}:")
        assert line.isprintable()


@given(st.sampled_from(KEYS) | st.text(st.characters()), TEXTS)
@example("data.root", '"\\U00110000"')
@example("train.steps", "\x1b[2J")
def test_any_override_is_a_config_or_a_mistake_that_begins_with_it(key: str, text: str) -> None:
    override = f"{key}={text}"
    for line in reported_lines(None, override):
        assert line.startswith(f"{UserError('--set ' + override)}: ")
        assert line.isprintable()


MANY = tuple("\U0001f6e3" * 61 + f"{number:03}" for number in range(255))  # the longest names, ten bytes a character


@pytest.mark.slow
@given(CONFIGS)
@example(Config(data=DataConfig(root="a long name " * 80)))
@example(Config(data=DataConfig(kind="folder", root="\U0001f6e3" * 1000, class_names=MANY, road_classes=MANY)))
@example(Config(data=DataConfig(kind="camvid", root="no: [it's] #1"), train=TrainConfig(learning_rate=1e-10)))
@example(Config(data=DataConfig(class_names=("no", "no"), class_colors=((0, 0, 0),) * 2, mask_values=())))
def test_any_legal_config_is_the_same_after_a_documented_file_and_after_overrides(file: Path, config: Config) -> None:
    text = dump_config(config)
    assert "  # Window of fc6 in cells of the last feature map" in text
    file.write_text(text)
    assert load_config(file) == config
    settings = [line.strip() for line in text.splitlines() if line.startswith("  ") and not line.startswith("  #")]
    overrides = [f"{key}={line.split(': ', 1)[1]}" for key, line in zip(KEYS, settings, strict=True)]
    assert load_config(None, overrides) == config


def test_empty_files_give_the_defaults(tmp_path: Path) -> None:
    for text in ("", "# nothing\n", "train:\n"):
        assert load(tmp_path, text) == load_config(None) == Config()


NOT_NUMBERS = ["12:30", "'0.1'", "abc", "0x10", "1_000", ".inf", ".nan", "nan", "1e999", "[1]", "true", ""]
NOT_INTEGERS = ["010", "1.0", "1e3", "0b1", "1_000", "12:30", "'3'", "ten", "null", "99999999999", "9" * 5000]
NOT_BOOLEANS = ["no", "off", "yes", "on", "False", "0", "'true'"]


@pytest.mark.parametrize(
    ("section", "name", "text"),
    [
        *(("train", "learning_rate", text) for text in NOT_NUMBERS),
        *(("train", "steps", text) for text in NOT_INTEGERS),
        *(("augment", "flip", text) for text in NOT_BOOLEANS),
    ],
)
def test_value_of_another_type_is_refused_at_its_place(section: str, name: str, text: str, tmp_path: Path) -> None:
    (line,) = mistakes(tmp_path, f"{section}:\n  {name}: {text}")
    column = len(f"  {name}: ") + bool(text)
    assert line.startswith(f"mine.yaml:2:{column}: {section}.{name}: ")


WORDS_FOR_YAML = ["no", "yes", "12:30", "1e-3", "010", "~user", "0"]
NUMBERS = {"1e-3": 1e-3, "1E-3": 1e-3, ".5": 0.5, "2": 2.0, "+1.": 1.0, "1.0e-05": 1e-5}


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        *(("train.learning_rate", text, value) for text, value in NUMBERS.items()),
        *(("data.root", word, word) for word in WORDS_FOR_YAML),
        *(("data.root", f"'{word}'", word) for word in [*WORDS_FOR_YAML, "null"]),
        *(("data.root", text, None) for text in ("null", "Null", "NULL", "~", "")),
        *(("data.class_names", f"[{word}, 'null']", (word, "null")) for word in WORDS_FOR_YAML),
        ("model.encoder", "'vgg11'", "vgg11"),
    ],
)
def test_field_decides_what_a_scalar_means(key: str, text: str, value: object, tmp_path: Path) -> None:
    section, name = key.split(".")
    assert getattr(getattr(load(tmp_path, f"{section}: {{{name}: {text}}}"), section), name) == value


def test_all_mistakes_are_reported_at_once_in_order_with_their_places(tmp_path: Path) -> None:
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
        "mine.yaml:2:9: data.kind: 'camvidd' is not one of synthetic, camvid, kitti_road, folder; did you mean camvid?",
        "mine.yaml:3:1: trian: is not a section; did you mean train?",
        "mine.yaml:6:16: model.head_window: 4 is not allowed; it must be 1, 3, 5 or 7; " + EVEN,
        "mine.yaml:7:3: model.widht: is not a setting; did you mean model.width?",
        "mine.yaml:9:14: augment.crop_size: [96] is not a list of 2 numbers, such as [100, 100]",
        "mine.yaml:10:10: augment.scale: [2.0, 1.0] is not allowed; it must be [lowest, highest]; swap the two numbers",
        "--set train.stepps=3: train.stepps: is not a setting; did you mean train.steps?",
    ]


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("train.lr", "use train.learning_rate"),
        ("epochs", "use train.steps"),
        ("data.view", "it is called data.labels now"),
        ("data.split_seed", "it was removed; split the frames by data.split_lists"),
        ("train.solver", "known here: steps, batch_size"),
        ("train", "it is a section; name a setting of it, such as train.steps"),
        ("solver", "known here: data, augment, progressive, model"),
        ("crop_size", "did you mean augment.crop_size?"),
        ("flip", "did you mean augment.flip?"),
        ("train.stepps", "did you mean train.steps?"),
        ("trains.steps", "did you mean train.steps?"),
        ("train.steps.x", "did you mean train.steps?"),
    ],
)
def test_unknown_names_are_refused_with_a_hint_on_the_level_asked_for(key: str, hint: str, tmp_path: Path) -> None:
    (line,) = mistakes(tmp_path, "", f"{key}=3")
    assert line.startswith(f"--set {key}=3: {key}: is not a setting; {hint}")
    field_of("train.steps", "--option")
    with pytest.raises(UserError) as caught:
        field_of(key, "--option")
    assert str(caught.value).startswith(f"--option {key}: is not a setting; {hint}")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("data: {kind: zebra}", "1:14: data.kind: 'zebra' is not one of synthetic, camvid, kitti_road, folder"),
        ("data: {labels: full}", "1:16: data.labels: 'full' is called all now"),
        ("data: {root: {a: 1}}", "1:14: data.root: a mapping is not a single value"),
        ("data: {kind: camvid, root: [1]}", "1:28: data.root: [1] is not a single value"),
        (
            "train:\n  steps: 3\ndata:\n  kind: camvid",
            "4:9: data.root: is not set; `camvid` is read from a folder: set data.root to it",
        ),
        ("data: {class_names: road}", "1:21: data.class_names: 'road' is not a list, such as [road, road]"),
        ("data: {mask_values: [1, [2]]}", "1:21: data.mask_values: [2] is not a single value"),
        (
            "data: {class_colors: [[1, 2, 3], [3]]}",
            "1:22: data.class_colors: [3] is not a list of 3 numbers, such as [100, 100, 100]",
        ),
        ("augment: {flip: 1}", "1:17: augment.flip: '1' is not true or false"),
        ("augment: {scale: {a: 1}}", "1:18: augment.scale: a mapping is not a list of 2 numbers, such as [0.5, 0.5]"),
        ("model: {stride: '8'}", "1:17: model.stride: '8' is quoted text; write it without quotes"),
        ("model: {steps: 3}", "1:9: model.steps: is not a setting; did you mean train.steps?"),
        ("model.width: 0.5", "1:1: model.width: is not a section; write `width:` in a line under `model:`"),
        ("train: {steps: ten}", "1:16: train.steps: 'ten' is not a whole number, such as 100"),
        ("train: {steps: 99999999999}", "1:16: train.steps: 99999999999 is too large; at most 4294967295 is allowed"),
        ("train:\n  steps: 0\n  seed: 1", "2:10: train.steps: 0 is not allowed; it must be at least 1"),
    ],
)
def test_mistake_is_reported_once_with_its_place_and_the_rule(text: str, expected: str, tmp_path: Path) -> None:
    assert mistakes(tmp_path, text) == [f"mine.yaml:{expected}"]


def test_overrides_are_reported_after_the_file_and_hide_its_mistakes(tmp_path: Path) -> None:
    (only,) = mistakes(tmp_path, "train: {steps: 0}", "train.steps=x")
    assert only.startswith("--set train.steps=x: train.steps: 'x' is not")
    first, second = mistakes(tmp_path, "\n" * 60_000 + "x: 1", "x=1")
    assert first.startswith("mine.yaml:60001:1: ")
    assert second.startswith("--set x=1: ")


def test_thousands_of_mistakes_are_reported_at_once(tmp_path: Path) -> None:
    started = time.process_time()
    assert len(mistakes(tmp_path, "train:\n" + "".join(f"  x{i}: 1\n" for i in range(6000)))) == 6000
    assert time.process_time() - started < 5


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("train:\ntrain:", "2:1: the file: train occurs twice, first in line 1; keep one"),
        ("train:\n  steps: 1\n  steps: 1", "3:3: train: steps occurs twice, first in line 2; keep one"),
        ("train: &a {steps: 1}", f"1:8: {NOT_PLAIN}"),
        ("a: *b", f"1:4: {NOT_PLAIN}"),
        ("train: {steps: !!python/name:os.system x}", f"1:16: {NOT_PLAIN}"),
        ("[" * 5000, f"1:6: {NOT_PLAIN}"),
        ('train: "\\U00110000"', f"1:6: {NOT_PLAIN}"),
        ("- train", "1:1: the file: must be `key: value` lines"),
        ("train: 3", "1:8: train: must be `key: value` lines"),
        ("? [a]\n: 3", "1:3: the file: a key must be a plain word"),
        ("train: {steps: 1", "1:17: is not YAML: "),
        ("\ttrain:", "1:1: is not YAML: "),
        (f"train: [{'1,' * 20_000}]", "1:30001: is too long; a config has at most 15000 keys and values"),
        ("--- {}\n--- {}", "2:1: is not YAML: "),
        ("\ntrain: \x01\n", "2:8: special characters are not allowed"),
    ],
)
def test_what_is_not_a_plain_config_is_refused(text: str, expected: str, tmp_path: Path) -> None:
    (line,) = mistakes(tmp_path, text)
    assert line.startswith(f"mine.yaml:{expected}")


def test_large_files_and_other_encodings_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "big.yaml"
    for content, problem in (
        (b"#" * 524_289, "has 524,289 bytes, more than 524,288; a config is"),
        (b"\ntrain:\n  \xff\n", "big.yaml:3: is not UTF-8"),
    ):
        file.write_bytes(content)
        with pytest.raises(UserError, match=problem):
            load_config(file)
    os.truncate(file, 2**40)  # with holes: reading it whole would ask for a terabyte
    with pytest.raises(UserError, match="has 1,099,511,627,776 bytes, more than 524,288"):
        load_config(file)
    with pytest.raises(UserError, match="is a folder; a config is a YAML file"):
        load_config(tmp_path)
    for content in (b"\xef\xbb\xbftrain: {steps: 5}", b"train: {steps: 5}".ljust(65_536)):
        file.write_bytes(content)
        assert load_config(file).train.steps == 5


def test_overrides_follow_the_rules_of_the_file_and_the_last_wins(tmp_path: Path) -> None:
    overrides = ("train.steps=6", "train.steps=7", "augment.crop_size=[256,512]", "data.root=a=b")
    config = load(tmp_path, "train: {steps: 5, seed: 1}", *overrides)
    assert (config.train.steps, config.train.seed) == (7, 1)
    assert config.augment.crop_size == (256, 512)
    assert config.data.root == "a=b"
    for override in ("train.steps", "train.steps=1.5", "data.root=&a b", "train.steps=", "=3"):
        (line,) = mistakes(tmp_path, "", override)
        assert line.startswith(f"--set {override}: ")


def test_changed_keys_names_each_difference_once() -> None:
    other = Config(train=TrainConfig(steps=1), model=ModelConfig(width=0.5))
    assert changed_keys(Config(), other) == ["model.width", "train.steps"]
    assert changed_keys(other, other) == []


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_configs_load_and_say_only_what_differs(path: Path) -> None:
    named = {line.strip().split(":")[0] for line in path.read_text().splitlines() if line.startswith("  ")}
    assert {key.split(".")[1] for key in changed_keys(Config(), load_config(path))} == named


def test_configs_are_found_by_path_and_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "camvid").mkdir()  # such as a folder of data
    (tmp_path / "mine.yaml").touch()
    assert find_config("camvid").name == "camvid.yaml"
    assert find_config("mine.yaml") == Path("mine.yaml")
    with pytest.raises(UserError, match=r"nosuch: no such file; name a YAML file, or a config of fcn: camvid, "):
        find_config("nosuch")


def test_names_of_version_0_1_are_read_in_stored_configs_only(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("data: {view: full, mask_kind: index}\nearly: {share: 0.5}\ntrain: {average_decay: 0.9}\n")
    config = load_config(file, stored=True)
    assert (config.data.labels, config.progressive.share, config.train.ema_decay) == ("all", 0.5, 0.9)
    with pytest.raises(UserError, match=r"early\.share: is not a setting; it is called progressive\.share now"):
        load_config(file)
    with pytest.raises(UserError, match=r"--set data\.labels=full: data\.labels: 'full' is called all now"):
        load_config(file, ["data.labels=full"], stored=True)


def test_removed_settings_are_passed_over_in_stored_configs_that_have_their_old_defaults(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    old = "data: {split_seed: 0, validation_share: 0.2}\ntrain: {given_class_weights: [], seed: 3}\n"
    file.write_text(old)
    assert load_config(file, stored=True) == Config(train=TrainConfig(seed=3))
    file.write_text(old.replace("split_seed: 0", "split_seed: 1"))
    with pytest.raises(UserError, match=r":1:8: data\.split_seed: is not a setting; it was removed; split the frames"):
        load_config(file, stored=True)
