"""The sections check themselves, whoever makes them, and no field is without documentation or use."""

from __future__ import annotations

import ast
import math
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, ClassVar

import pytest

from fcn.config.fields import Rule, Section, above, at_least, below, field_docs, fields_of
from fcn.config.settings import SECTIONS, AugmentConfig, Config, DataConfig, ModelConfig, TrainConfig, resolve_auto
from fcn.datasets import DATASETS
from fcn.errors import ConfigError

PACKAGE = Path(__file__).parents[1] / "fcn"


@dataclass(frozen=True, kw_only=True)
class Lists(Section):
    """Lists of any length."""

    key: ClassVar[str] = "lists"
    words: tuple[str, ...] = ()
    pairs: Annotated[tuple[tuple[int, int], ...] | None, below(9)] = None


def test_broken_rules_are_told_together_with_their_keys() -> None:
    with pytest.raises(ConfigError) as caught:
        TrainConfig(steps=0, warmup=1.0, learning_rate=0.0)
    assert caught.value.problems == {
        "train.steps": "0 is not allowed; it must be at least 1",
        "train.learning_rate": "0.0 is not allowed; it must be above 0.0",
        "train.warmup": "1.0 is not allowed; it must be below 1.0",
    }


@pytest.mark.parametrize(
    ("make", "text", "legal", "broken"),
    [
        (at_least, "must be at least 3", [3, 3.5, (4, 3)], [2, 2.9, (4, 2), (2, 4)]),
        (above, "must be above 3", [3.1, (4, 5)], [3, 2, (4, 3), (3, 4)]),
        (below, "must be below 3", [2.9, (1, 2)], [3, 4, (2, 3), (3, 2)]),
    ],
)
def test_rules_hold_of_every_number_up_to_their_bound(
    make: Callable[[float], Rule], text: str, legal: list[object], broken: list[object]
) -> None:
    rule = make(3)
    assert rule.text == text
    assert all(rule.holds(value) for value in legal)
    assert not any(rule.holds(value) for value in broken)


def test_numbers_that_no_file_can_hold_are_refused_in_python_too() -> None:
    with pytest.raises(ConfigError) as caught:
        TrainConfig(learning_rate=math.inf, clip_norm=math.nan, log_steps=2**32)
    assert caught.value.problems == {
        "train.learning_rate": "inf is not a finite number, such as 0.1 or 1e-3",
        "train.clip_norm": "nan is not a finite number, such as 0.1 or 1e-3",
        "train.log_steps": "4294967296 is too large; at most 4294967295 is allowed",
    }
    assert TrainConfig(learning_rate=1e300, log_steps=2**32 - 1).log_steps == 4294967295


@pytest.mark.parametrize("window", [0, 2, 4, 6, 8, 9])
def test_windows_other_than_1_3_5_7_are_refused(window: int) -> None:
    with pytest.raises(ConfigError, match="shifts the map by half a cell"):
        ModelConfig(head_window=window)


def test_networks_of_terabytes_are_refused() -> None:
    with pytest.raises(ConfigError) as caught:
        ModelConfig(width=1e6, head_units=99_999)
    assert caught.value.problems == {
        "model.width": "1000000.0 is not allowed; it must be below 3.0",
        "model.head_units": "99999 is not allowed; it must be below 16384",
    }


@pytest.mark.parametrize(
    ("window", "units", "width"),
    [(7, 4096, 1.0), (5, 8028, 1.0), (7, 8192, 0.5)],  # 25 x 8028 is just below 49 x 4096
)
def test_fc6_is_at_most_the_published_one(window: int, units: int, width: float) -> None:
    ModelConfig(head_window=window, head_units=units, width=width)
    with pytest.raises(ConfigError) as caught:
        ModelConfig(head_window=window, head_units=units + 1, width=width)
    assert caught.value.problems == {
        "model.head_units": "makes fc6 larger than as published (window 7, 4096 units, width 1); lower it or "
        "model.head_window"
    }


def test_data_sets_on_disk_need_a_root() -> None:
    with pytest.raises(ConfigError, match=r"data\.root: is not set; `camvid` is read from a folder"):
        DataConfig(kind="camvid")


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: ModelConfig(stride=3), "model.stride: 3 is not one of 32, 16, 8, 4, 2; did you mean 32?"),
        (
            lambda: ModelConfig(head_units=2.5),
            "model.head_units: 2.5 is not a whole number, such as 100",
        ),
        (
            lambda: ModelConfig(head_units=True),
            "model.head_units: True is not a whole number, such as 100",
        ),
        (lambda: ModelConfig(width="1"), "model.width: '1' is not a finite number, such as 0.1 or 1e-3"),
        (lambda: DataConfig(root=3), "data.root: 3 is not text"),
        (lambda: AugmentConfig(crop_size=8), "augment.crop_size: 8 is not a list of 2 numbers, such as [100, 100]"),
        (
            lambda: AugmentConfig(crop_size=(8,)),
            "augment.crop_size: [8] is not a list of 2 numbers, such as [100, 100]",
        ),
        (
            lambda: AugmentConfig(crop_size=(8, 8.5)),
            "augment.crop_size: 8.5 is not a whole number, such as 100",
        ),
    ],
)
def test_types_are_checked_in_python_too(make: Callable[[], Section], expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make()
    assert str(caught.value) == expected
    assert ModelConfig(width=1).width == 1
    assert AugmentConfig(crop_size=[8, 8]).crop_size == (8, 8)  # type: ignore[arg-type]


def test_lists_of_any_length_keep_their_types_and_rules_down_to_the_last_number() -> None:
    assert Lists(words=("a",) * 256, pairs=((1, 2),)).pairs == ((1, 2),)
    with pytest.raises(ConfigError) as caught:
        Lists(words=("a",) * 257, pairs=((1, 2), (3, 9)))
    assert caught.value.problems == {
        "lists.words": "a list of 257 is too long; at most 256 items are allowed",
        "lists.pairs": "[[1, 2], [3, 9]] is not allowed; it must be below 9",
    }
    with pytest.raises(ConfigError) as caught:
        Lists(words=("a", 1), pairs=((1, 2), (3,)))
    assert caught.value.problems == {
        "lists.words": "1 is not text",
        "lists.pairs": "[3] is not a list of 2 numbers, such as [100, 100]",
    }


def test_threads_are_settled_once_and_stay() -> None:
    settled = resolve_auto(Config()).train
    assert settled.intra_op_threads == settled.inter_op_threads == len(os.sched_getaffinity(0))
    given = Config(train=TrainConfig(intra_op_threads=7))
    assert resolve_auto(given) == replace(given, train=replace(given.train, inter_op_threads=settled.inter_op_threads))
    assert resolve_auto(Config(), started=given).train.intra_op_threads == 7
    own, other = TrainConfig(intra_op_threads=3, inter_op_threads=5), TrainConfig(inter_op_threads=9)
    assert resolve_auto(Config(train=own), started=given).train.intra_op_threads == 3
    assert resolve_auto(Config(train=own), started=Config(train=other)).train.inter_op_threads == 5


def test_automatic_precision_of_a_continued_run_is_the_one_it_was_started_with() -> None:
    automatic, started = Config(train=TrainConfig(precision="auto")), Config(train=TrainConfig(precision="bfloat16"))
    assert resolve_auto(automatic).train.precision == "auto"
    assert resolve_auto(automatic, started=started).train.precision == "bfloat16"
    assert resolve_auto(Config(), started=started).train.precision == "float32"


def test_kinds_in_the_config_are_the_data_sets_there_are() -> None:
    assert set(fields_of(DataConfig)["kind"].type.__args__) == set(DATASETS)


@pytest.mark.parametrize("key", SECTIONS)
def test_every_field_is_documented(key: str) -> None:
    section = SECTIONS[key]
    assert list(field_docs(section)) == list(fields_of(section))


@pytest.mark.parametrize("key", SECTIONS)
def test_every_field_is_read_in_one_module(key: str) -> None:
    reads: dict[str, set[str]] = {name: set() for name in fields_of(SECTIONS[key])}
    kind = SECTIONS[key].__name__
    for file in PACKAGE.rglob("*.py"):
        room = file.relative_to(PACKAGE).parts[0]
        if room in ("config", "commands"):
            continue
        for function in (node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.FunctionDef)):
            sections = {argument.arg for argument in function.args.args if _named(argument.annotation, kind)}
            for node in ast.walk(function):
                if isinstance(node, ast.Attribute) and node.attr in reads and _is_section(node.value, key, sections):
                    reads[node.attr].add(room if room == "datasets" else str(file.relative_to(PACKAGE)))
    # a run has one data set, whose files each module finds in its own way, and KITTI's is scored in its own way;
    # the length of a run bounds the loop and stretches the schedule; `auto` is resolved before it is used; the seed is
    # that of the initial weights, of the order and of dropout; check-data compares the crops with the frames
    shared = {"kind", "max_megapixels", "steps", "precision", "seed", "crop_size", "share"}
    several = {name for name, files in reads.items() if len(files) > 1} - shared
    assert not [name for name, files in reads.items() if not files]
    assert not several


def _named(node: ast.expr | None, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name


def _is_section(node: ast.expr, key: str, arguments: set[str]) -> bool:
    """`config.KEY`, an argument of the section's type, or `recipe`, as the section `train` is called in the loop."""
    if isinstance(node, ast.Attribute):
        return node.attr == key
    return isinstance(node, ast.Name) and (node.id in arguments or (node.id, key) == ("recipe", "train"))
