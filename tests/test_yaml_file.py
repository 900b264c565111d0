"""YAML text -> Config: what a scalar means is decided by its field; every mistake has its place."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, get_args, get_origin

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from fcn.config.fields import Scalar, Section, fields_of, fit
from fcn.config.settings import SECTIONS, AugmentConfig, Config, DataConfig, ModelConfig, TrainConfig
from fcn.config.yaml_file import NOT_PLAIN, changed_keys, dump_config, field_of, load_config
from fcn.errors import ConfigError, UserError

EVEN = "an even one shifts the map by half a cell"

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
    """Values of a field's type that a file can hold; its rules not yet asked."""
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
    """Sections of which any fields have any values; those that break a rule are left out."""
    fields = {name: values(field.type) for name, field in fields_of(section).items()}
    changed = st.fixed_dictionaries({}, optional=fields)

    def made(chosen: dict[str, Any]) -> Section:
        try:
            return section(**chosen)
        except ConfigError as error:
            wrong = {key.partition(".")[2] for key in error.problems}
            wrong |= {"class_weights"} if "given_class_weights" in wrong else set()
            kept = {name: value for name, value in chosen.items() if name not in wrong}
            if "root" in wrong:
                return made({**kept, "root": "folder"})
            return made(kept if len(kept) < len(chosen) else {**kept, "kind": "synthetic"})

    return changed.map(made)


CONFIGS = st.builds(Config, **{key: legal(section) for key, section in SECTIONS.items()})


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that many texts may be written to."""
    return tmp_path_factory.mktemp("configs") / "mine.yaml"


def load(tmp_path: Path, text: str, *overrides: str) -> Config:
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    return load_config(file, overrides)


def mistakes(tmp_path: Path, text: str, *overrides: str) -> list[str]:
    with pytest.raises(UserError) as caught:
        load(tmp_path, text, *overrides)
    return str(caught.value).replace(f"{tmp_path}/", "").splitlines()


def lines_told(path: Path | None, *overrides: str) -> list[str]:
    """The mistakes; none where it is a config."""
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
    for line in lines_told(file):
        assert line.startswith(f"{file}:")
        assert line.isprintable()


@given(st.sampled_from(KEYS) | st.text(st.characters()), TEXTS)
@example("data.root", '"\\U00110000"')
@example("train.steps", "\x1b[2J")
def test_any_override_is_a_config_or_a_mistake_that_begins_with_it(key: str, text: str) -> None:
    override = f"{key}={text}"
    for line in lines_told(None, override):
        assert line.startswith(f"{UserError('--set ' + override)}: ")
        assert line.isprintable()


@given(CONFIGS)
@example(Config(data=DataConfig(root="a long name " * 200)))
@example(Config(data=DataConfig(class_names=("no", "no"), class_colors=((0, 0, 0),) * 2, mask_values=())))
def test_any_legal_config_is_the_same_after_a_file_and_after_overrides(file: Path, config: Config) -> None:
    text = dump_config(config)
    file.write_text(text)
    assert load_config(file) == config
    said = [line.strip() for line in text.splitlines() if line.startswith("  ") and not line.startswith("  #")]
    overrides = [f"{key}={line.split(': ', 1)[1]}" for key, line in zip(KEYS, said, strict=True)]
    assert load_config(None, overrides) == config


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
    assert "is not true or false" in line or "is quoted text" in line


@pytest.mark.parametrize("text", ["no", "yes", "12:30", "1e-3", "010", "~user", "0"])
def test_words_stay_what_was_written_where_text_is_meant(text: str, tmp_path: Path) -> None:
    assert load(tmp_path, f"data: {{root: {text}}}").data.root == text


def test_null_is_nothing_and_quoted_null_is_a_word(tmp_path: Path) -> None:
    for text in ("null", "Null", "NULL", "~", ""):
        assert load(tmp_path, f"data: {{root: {text}}}").data.root is None
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
        "mine.yaml:2:9: data.kind: 'camvidd' is not one of synthetic, camvid, kitti_road, folder; did you mean camvid?",
        "mine.yaml:3:1: trian: is not a section; did you mean train?",
        "mine.yaml:6:16: model.head_window: 4 is not allowed; it must be 1, 3, 5 or 7; " + EVEN,
        "mine.yaml:7:3: model.widht: is not a setting; did you mean model.width?",
        "mine.yaml:9:14: augment.crop_size: [96] is not a list of 2 numbers, such as [100, 100]",
        "mine.yaml:10:10: augment.scale: [2.0, 1.0] is not allowed; it must be [lowest, highest]; swap the two numbers",
        "--set train.stepps=3: train.stepps: is not a setting; did you mean train.steps?",
    ]


@pytest.mark.parametrize(
    ("override", "hint"),
    [
        ("train.lr=1", "use train.learning_rate"),
        ("epochs=3", "use train.steps"),
        ("data.view=all", "it is called data.labels now"),
        ("data.labels=full", "'full' is called all now"),
        ("train.solver=1", "known here: steps, batch_size"),
        ("train=3", "it is a section; name a setting of it, such as train.steps"),
        ("solver=3", "known here: data, augment, progressive, model"),
        ("crop_size=3", "did you mean augment.crop_size?"),
        ("flip=true", "did you mean augment.flip?"),
        ("train.steps.x=3", "did you mean train.steps?"),
    ],
)
def test_hints_stay_on_the_level_asked_for(override: str, hint: str, tmp_path: Path) -> None:
    (line,) = mistakes(tmp_path, "", override)
    assert hint in line


def test_a_dotted_key_in_a_file_is_sent_under_its_section(tmp_path: Path) -> None:
    assert mistakes(tmp_path, "model.width: 0.5") == [
        "mine.yaml:1:1: model.width: is not a section; write `width:` in a line under `model:`"
    ]


def test_a_missing_setting_is_placed_where_it_became_one(tmp_path: Path) -> None:
    assert mistakes(tmp_path, "train:\n  steps: 3\ndata:\n  kind: camvid") == [
        "mine.yaml:4:9: data.root: is not set; `camvid` is read from a folder: set data.root to it"
    ]
    (only,) = mistakes(tmp_path, "data: {kind: camvid, root: [1]}")
    assert only == "mine.yaml:1:28: data.root: [1] is not a single value"


def test_a_broken_rule_is_told_at_its_own_place_and_once(tmp_path: Path) -> None:
    assert mistakes(tmp_path, "train:\n  steps: 0\n  seed: 1") == [
        "mine.yaml:2:10: train.steps: 0 is not allowed; it must be at least 1"
    ]
    (only,) = mistakes(tmp_path, "train: {steps: 0}", "train.steps=x")
    assert only.startswith("--set train.steps=x: train.steps: 'x' is not")


def test_overrides_are_told_after_the_file_however_long_it_is(tmp_path: Path) -> None:
    first, second = mistakes(tmp_path, "\n" * 60_000 + "x: 1", "x=1")
    assert first.startswith("mine.yaml:60001:1: ")
    assert second.startswith("--set x=1: ")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("data: {kind: zebra}", "data.kind: 'zebra' is not one of synthetic, camvid, kitti_road, folder"),
        ("data: {root: {a: 1}}", "data.root: a mapping is not a single value"),
        ("augment: {flip: 1}", "augment.flip: '1' is not true or false"),
        ("augment: {crop_size: 96}", "augment.crop_size: '96' is not a list of 2 numbers, such as [100, 100]"),
        ("augment: {scale: {a: 1}}", "augment.scale: a mapping is not a list of 2 numbers, such as [0.5, 0.5]"),
        ("model: {stride: '8'}", "model.stride: '8' is quoted text; write it without quotes"),
        ("train: {steps: ten}", "train.steps: 'ten' is not a whole number, such as 100"),
        ("train: {steps: 99999999999}", "train.steps: 99999999999 is too large; at most 4294967295 is allowed"),
        ("train: {seed: 2147483648}", "train.seed: 2147483648 is not allowed; it must be below 2147483648"),
        ("train: {warmup: ten}", "train.warmup: 'ten' is not a finite number, such as 0.1 or 1e-3"),
    ],
)
def test_what_a_field_cannot_be_is_told_with_what_it_can(text: str, told: str, tmp_path: Path) -> None:
    (line,) = mistakes(tmp_path, text)
    assert line.split(": ", 1)[1] == told


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [
        ((), tuple[str, ...], ()),
        ((Scalar("no"), Scalar("null", quoted=True), Scalar("1e3")), tuple[str, ...], ("no", "null", "1e3")),
        (((Scalar("1"), Scalar("2")), (3, 4)), tuple[tuple[int, int], ...] | None, ((1, 2), (3, 4))),
        (Scalar(""), tuple[int, ...] | None, None),
    ],
)
def test_lists_of_any_length_are_read_item_by_item(value: Any, kind: Any, expected: Any) -> None:
    assert fit(value, kind) == expected


@pytest.mark.parametrize(
    ("value", "kind", "problem"),
    [
        (Scalar("road"), tuple[str, ...], "'road' is not a list, such as [road, road]"),
        ((1, (Scalar("2"),)), tuple[int, ...], "[2] is not a single value"),
        (((1, 2), (3,)), tuple[tuple[int, int], ...], "[3] is not a list of 2 numbers, such as [100, 100]"),
        (7, tuple[tuple[int, int], ...], "7 is not a list, such as [[100, 100], [100, 100]]"),
    ],
)
def test_a_value_that_is_not_a_list_is_answered_with_an_example(value: Any, kind: Any, problem: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(problem)}$"):
        fit(value, kind)


def test_words_may_be_quoted_where_words_are_meant(tmp_path: Path) -> None:
    assert load(tmp_path, "model: {encoder: 'vgg11'}").model.encoder == "vgg11"


@pytest.mark.parametrize("text", ["99999999999", "9" * 5000])
def test_numbers_beyond_every_setting_are_refused(text: str, tmp_path: Path) -> None:
    (line,) = mistakes(tmp_path, f"train: {{steps: {text}}}")
    assert line.endswith("is too large; at most 4294967295 is allowed") or "is not a whole number" in line


def test_thousands_of_mistakes_are_told_at_once(tmp_path: Path) -> None:
    started = time.process_time()
    assert len(mistakes(tmp_path, "train:\n" + "".join(f"  x{i}: 1\n" for i in range(6000)))) == 6000
    assert time.process_time() - started < 2


def test_a_setting_in_the_wrong_section_is_sent_to_the_right_one(tmp_path: Path) -> None:
    assert mistakes(tmp_path, "model: {steps: 3}") == [
        "mine.yaml:1:9: model.steps: is not a setting; did you mean train.steps?"
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "train: {steps: 1}\ntrain: {steps: 2}",
            "mine.yaml:2:1: the file: train occurs twice, first in line 1; keep one",
        ),
        ("train:\n  steps: 1\n  steps: 1", "mine.yaml:3:3: train: steps occurs twice, first in line 2; keep one"),
        ("train: &a {steps: 1}", f"mine.yaml:1:8: {NOT_PLAIN}"),
        ("a: *b", f"mine.yaml:1:4: {NOT_PLAIN}"),
        ("train: {steps: !!python/name:os.system x}", f"mine.yaml:1:16: {NOT_PLAIN}"),
        ("[" * 5000, f"mine.yaml:1:6: {NOT_PLAIN}"),
        ("- train", "mine.yaml:1:1: the file: must be `key: value` lines"),
        ("train: 3", "mine.yaml:1:8: train: must be `key: value` lines"),
        ("? [a]\n: 3", "mine.yaml:1:3: the file: a key must be a plain word"),
        ("train: {steps: 1", "mine.yaml:1:17: is not YAML: "),
        ("\ttrain:", "mine.yaml:1:1: is not YAML: "),
        ("--- {}\n--- {}", "mine.yaml:2:1: is not YAML: "),
        ('train: "\\U00110000"', f"mine.yaml:1:6: {NOT_PLAIN}"),
        ("\ntrain: \x01\n", "mine.yaml:2:8: special characters are not allowed"),
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
    os.truncate(file, 2**40)  # with holes: reading it whole would ask for a terabyte
    with pytest.raises(UserError, match="larger than 64 KB"):
        load_config(file)
    file.write_bytes(b"\ntrain:\n  \xff\n")
    with pytest.raises(UserError, match=r"big.yaml:3: is not UTF-8"):
        load_config(file)
    file.write_bytes(b"\xef\xbb\xbftrain: {steps: 5}")
    assert load_config(file).train.steps == 5
    with pytest.raises(UserError, match="cannot be read: Is a directory"):
        load_config(tmp_path)


def test_overrides_follow_the_rules_of_the_file_and_the_last_wins(tmp_path: Path) -> None:
    config = load(
        tmp_path, "train: {steps: 5, seed: 1}", "train.steps=6", "train.steps=7", "augment.crop_size=[256,512]"
    )
    assert (config.train.steps, config.train.seed) == (7, 1)
    assert config.augment.crop_size == (256, 512)
    assert load_config(None, ["data.root=a=b"]).data.root == "a=b"
    for override in ("train.steps", "train.steps=1.5", "steps=3", "train=3", "data.root=&a b", "train.steps=", "=3"):
        (line,) = mistakes(tmp_path, "", override)
        assert line.startswith(f"--set {override}: ")


def test_dump_is_read_back_equal_with_the_documentation_in_it(tmp_path: Path) -> None:
    config = Config(
        data=DataConfig(kind="camvid", root="no: [it's] #1", labels="all"),
        augment=AugmentConfig(crop_size=(1, 2), scale=(0.1, 1e9), flip=False),
        model=ModelConfig(width=1e-5, stride=2),
        train=TrainConfig(learning_rate=1e-10, seed=2**31 - 1),
    )
    text = dump_config(config)
    assert load(tmp_path, text) == config
    assert "  # Window of fc6 in cells of the last feature map" in text


def test_changed_keys_names_each_difference_once() -> None:
    other = Config(train=TrainConfig(steps=1), model=ModelConfig(width=0.5))
    assert changed_keys(Config(), other) == ["model.width", "train.steps"]
    assert changed_keys(other, other) == []


@pytest.mark.parametrize("path", sorted((Path(__file__).parents[1] / "configs").glob("*.yaml")), ids=lambda p: p.stem)
def test_shipped_configs_load_and_say_only_what_differs(path: Path) -> None:
    config = load_config(path)
    said = {line.strip().split(":")[0] for line in path.read_text().splitlines() if line.startswith("  ")}
    assert {key.split(".")[1] for key in changed_keys(Config(), config)} == said


def test_names_of_settings_are_known_and_others_hinted_at() -> None:
    field_of("train.steps", "--option")
    for key, hint in {
        "train.stepps": "did you mean train.steps?",
        "steps": "did you mean train.steps?",
        "train": "it is a section; name a setting of it, such as train.steps",
        "train.steps.more": "did you mean train.steps?",
        "trains.steps": "did you mean train.steps?",
    }.items():
        with pytest.raises(UserError) as caught:
            field_of(key, "--option")
        assert str(caught.value).startswith(f"--option {key}: is not a setting; {hint}")
