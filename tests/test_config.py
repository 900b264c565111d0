"""Sections check their values wherever they come from; every field is documented and used."""

from __future__ import annotations

import ast
import math
import os
from dataclasses import replace

import pytest
from conftest import ROOT

from fcn.config.fields import Rule, Section, above, at_least, below, field_docs, fields_of
from fcn.config.settings import SECTIONS, AugmentConfig, Config, DataConfig, ModelConfig, TrainConfig, resolve_auto
from fcn.datasets import DATASETS
from fcn.errors import ConfigError

WINDOW = "must be 1, 3, 5 or 7; an even one shifts the feature map by half a cell"


@pytest.mark.parametrize(
    ("rule", "text", "valid", "broken"),
    [
        (at_least(3), "must be at least 3", [3, 3.5, (4, 3)], [2, 2.9, (4, 2), (2, 4)]),
        (above(3), "must be above 3", [3.1, (4, 5)], [3, 2, (4, 3), (3, 4)]),
        (below(3), "must be below 3", [2.9, (1, 2), ((1, 2),)], [3, 4, (2, 3), (3, 2), ((1, 2), (2, 3))]),
    ],
)
def test_rules_hold_for_every_number_up_to_their_bound(
    rule: Rule, text: str, valid: list[object], broken: list[object]
) -> None:
    assert rule.text == text
    assert all(rule.holds(value) for value in valid)
    assert not any(rule.holds(value) for value in broken)


@pytest.mark.parametrize(
    ("section", "values", "problems"),
    [
        (
            TrainConfig,
            {"steps": 0, "learning_rate": 0.0, "warmup": 1.0},
            {
                "steps": "0 is not allowed; it must be at least 1",
                "learning_rate": "0.0 is not allowed; it must be above 0.0",
                "warmup": "1.0 is not allowed; it must be below 1.0",
            },
        ),
        (
            TrainConfig,
            {"learning_rate": math.inf, "clip_norm": math.nan, "log_steps": 2**32},  # no file can hold them
            {
                "learning_rate": "inf is not a number of at most 1e+30, such as 0.1 or 1e-3",
                "clip_norm": "nan is not a number of at most 1e+30, such as 0.1 or 1e-3",
                "log_steps": "4294967296 is too large; at most 4294967295 is allowed",
            },
        ),
        (
            ModelConfig,
            {"width": 1e6, "head_units": 99_999},  # terabytes
            {
                "width": "1000000.0 is not allowed; it must be below 3.0",
                "head_units": "99999 is not allowed; it must be below 16384",
            },
        ),
        *(
            (ModelConfig, {"head_window": window}, {"head_window": f"{window} is not allowed; it {WINDOW}"})
            for window in (0, 2, 4, 6, 8, 9)
        ),
        (ModelConfig, {"stride": 3}, {"stride": "3 is not one of 32, 16, 8, 4, 2; did you mean 32?"}),
        (ModelConfig, {"head_units": 2.5}, {"head_units": "2.5 is not a whole number, such as 100"}),
        (ModelConfig, {"head_units": True}, {"head_units": "True is not a whole number, such as 100"}),
        (ModelConfig, {"width": "1"}, {"width": "'1' is not a number of at most 1e+30, such as 0.1 or 1e-3"}),
        (DataConfig, {"kind": "camvid"}, {"root": "is not set; `camvid` is read from a folder: set data.root to it"}),
        (DataConfig, {"root": 3}, {"root": "3 is not text"}),
        (AugmentConfig, {"crop_size": 8}, {"crop_size": "8 is not a list of 2 numbers, such as [100, 100]"}),
        (AugmentConfig, {"crop_size": (8, 8.5)}, {"crop_size": "8.5 is not a whole number, such as 100"}),
        (
            DataConfig,
            {"class_names": ("a",) * 257, "ignore_colors": ((1, 2, 3), (3, 256, 3)), "road_classes": ("a", 1)},
            {
                "class_names": "a list of 257 is too long; at most 256 items are allowed",
                "ignore_colors": "[[1, 2, 3], [3, 256, 3]] is not allowed; it must be below 256",
                "road_classes": "1 is not text",
            },
        ),
    ],
)
def test_types_and_rules_are_checked_in_python_too_and_all_broken_ones_reported(
    section: type[Section], values: dict[str, object], problems: dict[str, str]
) -> None:
    with pytest.raises(ConfigError) as caught:
        section(**values)
    assert caught.value.problems == {f"{section.key}.{name}": text for name, text in problems.items()}


def test_largest_numbers_and_lists_are_accepted() -> None:
    assert TrainConfig(learning_rate=1e30, log_steps=2**32 - 1).log_steps == 4294967295
    assert len(DataConfig(road_classes=("a",) * 256).road_classes) == 256
    assert ModelConfig(width=1).width == 1
    assert AugmentConfig(crop_size=[8, 8]).crop_size == (8, 8)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("window", "units", "width"),
    [(7, 4096, 1.0), (5, 8028, 1.0), (7, 8192, 0.5)],  # 25 x 8028 is just below 49 x 4096
)
def test_fc6_is_at_most_the_published_one(window: int, units: int, width: float) -> None:
    ModelConfig(head_window=window, head_units=units, width=width)
    with pytest.raises(ConfigError, match=r"head_units: makes fc6 larger than as published \(window 7, 4096 units"):
        ModelConfig(head_window=window, head_units=units + 1, width=width)


def test_automatic_threads_and_precision_are_settled_once_and_stay_in_a_resumed_run() -> None:
    cores = len(os.sched_getaffinity(0))
    settled = resolve_auto(Config(train=TrainConfig(precision="auto"))).train
    assert (settled.intra_op_threads, settled.inter_op_threads, settled.precision) == (cores, cores, "auto")
    started = Config(train=TrainConfig(intra_op_threads=7, precision="bfloat16"))
    assert resolve_auto(started) == replace(started, train=replace(started.train, inter_op_threads=cores))
    resumed = resolve_auto(Config(train=TrainConfig(precision="auto")), started=started).train
    assert (resumed.intra_op_threads, resumed.precision) == (7, "bfloat16")
    explicit = Config(train=TrainConfig(intra_op_threads=3, inter_op_threads=5, precision="float32"))
    for other in (started, Config(train=TrainConfig(inter_op_threads=9))):
        assert resolve_auto(explicit, started=other) == explicit


def test_kinds_in_the_config_are_the_existing_data_sets() -> None:
    assert set(fields_of(DataConfig)["kind"].type.__args__) == set(DATASETS)


def test_every_field_is_documented() -> None:
    for section in SECTIONS.values():
        assert list(field_docs(section)) == list(fields_of(section))


@pytest.mark.parametrize("key", SECTIONS)
def test_every_field_is_read_in_one_module(key: str) -> None:
    reads: dict[str, set[str]] = {name: set() for name in fields_of(SECTIONS[key])}
    for file in (ROOT / "fcn").rglob("*.py"):
        package, *rest = file.relative_to(ROOT / "fcn").parts
        # memory.py adds up what others take, and a benchmark repeats in PyTorch what others do
        if package in ("config", "commands", "explain") or file.name.startswith(("memory", "benchmark")):
            continue
        module = package if package == "datasets" else "/".join([package, *rest])
        for function in (node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.FunctionDef)):
            # names of the section: those of arguments of its type, and `recipe`, as the loop calls the section `train`
            arguments = [one for one in function.args.args if one.annotation]
            names = {one.arg for one in arguments if ast.unparse(one.annotation) == SECTIONS[key].__name__}
            names |= {"recipe"} if key == "train" else set()
            for node in ast.walk(function):
                if isinstance(node, ast.Attribute) and node.attr in reads:
                    owner = ast.unparse(node.value)
                    if owner in names or owner.endswith(f".{key}"):
                        reads[node.attr].add(module)
    # a run has one data set, whose files each module finds in its own way, and KITTI's is scored in its own way;
    # the length of a run bounds the loop and stretches the schedule; `auto` is resolved before it is used; the seed is
    # that of the initial weights, of the order and of dropout; check-data compares the crops with the frames
    shared = {"kind", "max_megapixels", "steps", "precision", "seed", "crop_size", "share"}
    assert not [name for name, modules in reads.items() if not modules]
    assert not [name for name, modules in reads.items() if len(modules) > 1 and name not in shared]
