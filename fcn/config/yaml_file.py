"""YAML text -> Config, every mistake with its line and column; Config -> YAML text.

YAML is asked only for the shape of the text; the field that a value is for decides what it means (`fields.fit`).
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Sequence
from functools import cache
from operator import attrgetter
from pathlib import Path
from typing import Any

import yaml

from fcn.config.fields import NULLS, Field, Scalar, Section, field_docs, fields_of
from fcn.config.settings import SECTIONS, Config
from fcn.errors import ConfigError, UserError
from fcn.files import read_file

MAX_BYTES = 2**19  # more than the longest config that `dump_config` writes
MAX_EVENTS = 15_000  # keys, values, beginnings and ends; four times as many as a config can have
MAX_DEPTH = 5  # sections, settings, lists, lists in lists; one more, so that the type check reports it at its line
NOT_PLAIN = "is not plain YAML; write `key: value` lines and lists, without anchors, aliases, tags or deep nesting"
PACKAGE = Path(__file__).parents[1]

RENAMED = {  # key of version 0.1 -> key
    "data.view": "data.labels",
    "data.class_colours": "data.class_colors",
    "data.ignore_colours": "data.ignore_colors",
    "early.share": "progressive.share",
    "early.batch_size": "progressive.batch_size",
    "early.crop_size": "progressive.crop_size",
    "early.scale": "progressive.scale",
    "train.average_decay": "train.ema_decay",
}
REMOVED = {  # key of version 0.1 that is gone -> its default, which stored configs have; what to do
    "data.validation_share": ("0.2", "split the frames by data.split_lists"),
    "data.split_seed": ("0", "split the frames by data.split_lists"),
    "data.synthetic_seed": ("0", "leave it out"),
    "train.given_class_weights": ((), "set train.class_weights: median_frequency"),
}
RENAMED_VALUES = {("data.labels", "full"): "all", ("data.mask_kind", "colour"): "color"}  # (key, word of 0.1) -> word
SYNONYMS = {  # words that people type -> key
    "amp": "train.precision",
    "backbone": "model.encoder",
    "classes": "data.class_names",
    "data_dir": "data.root",
    "dataset": "data.kind",
    "dtype": "train.precision",
    "epochs": "train.steps",
    "image_size": "augment.crop_size",
    "input_size": "augment.crop_size",
    "ignore_index": "data.ignore_values",
    "lr": "train.learning_rate",
    "max_iters": "train.steps",
    "num_classes": "data.class_names",
    "num_workers": "train.inter_op_threads",
    "output_stride": "model.stride",
    "path": "data.root",
}

Place = tuple[int, int, str]  # line and column from 0, to sort by; the place in words, with both from 1


def find_config(name: str) -> Path:
    """The path of a config, or the file of one that comes with fcn, such as `camvid`. Raises UserError for neither."""
    folders = (PACKAGE.parent / "configs", PACKAGE / "configs")  # in a checkout; in an installed package
    shipped = {file.stem: file for folder in folders for file in sorted(folder.glob("*.yaml"))}
    if not Path(name).is_file() and name in shipped:
        return shipped[name]
    if not Path(name).exists():
        raise UserError(f"{name}: no such file; name a YAML file, or a config of fcn: {', '.join(shipped)}")
    return Path(name)


def load_config(path: Path | None, overrides: Sequence[str] = (), stored: bool = False) -> Config:
    """Reads a YAML file and applies the overrides.

    Args:
        path: The file; None for the defaults.
        overrides: Texts `KEY=VALUE` with a dotted key; the value is parsed as in the file. The last one wins.
        stored: The file is the config of a run, which may have names and keys of version 0.1.

    Raises:
        UserError: All mistakes at once, one line each: `file:line:column: key: value; rule; fix`.
    """
    reader = _Reader()
    if path is not None:
        reader.read_file(path, stored)
    for override in overrides:
        reader.read_override(override)
    config = reader.build()
    if reader.mistakes:
        reader.mistakes.sort(key=lambda mistake: mistake[0][:2])
        raise UserError(*(f"{place}: {text}" for (_, _, place), text in reader.mistakes))
    return config


def dump_config(config: Config) -> str:
    """The whole config as YAML that `load_config` reads back, every setting under its documentation."""
    lines: list[str] = []
    for key, section in SECTIONS.items():
        lines.append(f"{key}:")
        for name, doc in field_docs(section).items():
            lines += [f"  # {line}" for line in doc.splitlines()]
            value = _without_tuples(getattr(getattr(config, key), name))
            text = yaml.safe_dump(value, default_flow_style=True, width=math.inf)
            text = text.removesuffix("\n").removesuffix("\n...")
            lines.append(f"  {name}: {text}")
        lines.append("")
    return "\n".join(lines)


def _without_tuples(value: Any) -> Any:
    """Tuples as separate lists: PyYAML would write one that occurs twice as an alias."""
    return [_without_tuples(item) for item in value] if isinstance(value, tuple) else value


def changed_keys(one: Config, other: Config) -> list[str]:
    """Dotted keys whose values differ."""
    return [key for key in settings() if attrgetter(key)(one) != attrgetter(key)(other)]


def field_of(key: str, source: str = "") -> Field:
    """The field of a dotted key. Raises UserError, which begins with `source`, if it is not a setting."""
    if key not in settings():
        raise UserError(f"{source} {key}: is not a setting; {_hint(key)}")
    return settings()[key]


@cache
def settings() -> dict[str, Field]:
    """Dotted key -> field, in the order of definition."""
    return {f"{key}.{name}": field for key, section in SECTIONS.items() for name, field in fields_of(section).items()}


def _hint(key: str) -> str:
    """What to write instead of a wrong key: the setting that was meant, or the names on its level."""
    section, _, name = key.rpartition(".")
    if key in settings():
        return f"write `{name}:` in a line under `{section}:`"
    if key in RENAMED:
        return f"it is called {RENAMED[key]} now"
    if key in REMOVED:
        _, fix = REMOVED[key]
        return f"it was removed; {fix}"
    if key in SECTIONS:
        return f"it is a section; name a setting of it, such as {next(_settings_of(key))}"
    if name in SYNONYMS:
        return f"use {SYNONYMS[name]}"
    close = [setting for setting in settings() if setting.endswith(f".{name}")]
    close.sort(key=lambda setting: setting.startswith("progressive."))  # the main phase is meant more often
    level = [setting.removeprefix(f"{section}.") for setting in _settings_of(section)]
    if level:
        close += [f"{section}.{match}" for match in difflib.get_close_matches(name, level)]
    else:
        level = list(SECTIONS)
        close += difflib.get_close_matches(key, [*level, *settings()])
    return f"did you mean {close[0]}?" if close else f"known here: {', '.join(level)}"


def _settings_of(section: str) -> Iterator[str]:
    return (key for key in settings() if key.startswith(f"{section}."))


class _Reader:
    """Settings read so far: values by section and name, the place of each, and mistakes."""

    def __init__(self) -> None:
        self.source = ""
        self.values: dict[str, dict[str, Any]] = {key: {} for key in SECTIONS}
        self.places: dict[str, Place] = {}  # of a setting; of a section that of its last setting
        self.mistakes: list[tuple[Place, str]] = []

    def read_file(self, path: Path, stored: bool) -> None:
        """Reads sections of settings."""
        self.source = str(path)
        for section, mark, node in self._items(self._compose(_text_of(path)), "the file"):
            if section not in SECTIONS and not any(key.startswith(f"{section}.") for key in RENAMED):
                self._note(mark, f"{section}: is not a section; {_hint(section)}")
                continue
            for name, name_mark, value in self._items(node, section):
                self._read_setting(f"{section}.{name}", name_mark, value, stored=stored)

    def read_override(self, override: str) -> None:
        """Reads a text KEY=VALUE."""
        key, equals, text = override.partition("=")
        self.source = f"--set {override}"
        if not equals:
            raise UserError(f"{self.source}: has no '='; write --set KEY=VALUE, such as --set train.steps=100")
        node = self._compose(text)
        if node is not None:
            self._read_setting(key.strip(), node.start_mark, node)

    def build(self) -> Config:
        """The config of the values read. A section with a mistake keeps its defaults."""
        sections: dict[str, Section] = {}
        for key, section in SECTIONS.items():
            try:
                sections[key] = section(**self.values[key])
            except ConfigError as error:
                for setting, problem in error.problems.items():
                    place = self.places.get(setting) or self.places[key]
                    self.mistakes.append((place, f"{setting}: {problem}"))
        return Config(**sections)  # type: ignore[arg-type]

    def _read_setting(self, key: str, mark: yaml.Mark, node: yaml.Node, stored: bool = False) -> None:
        if stored:
            key = RENAMED.get(key, key)
        section, _, name = key.partition(".")
        value = _value_of(node)
        if stored and key in REMOVED and value == REMOVED[key][0]:
            return
        if key not in settings():
            self._note(mark, f"{key}: is not a setting; {_hint(key)}")
            return
        renamed = RENAMED_VALUES.get((key, value)) if isinstance(value, Scalar) else None
        if renamed is not None and not stored:
            self._note(node.start_mark, f"{key}: {str(value)!r} is called {renamed} now")
            return
        self.values[section][name] = value if renamed is None else Scalar(renamed)
        self.places[key] = self._place(node.start_mark)
        self.places[section] = self.places[key]

    def _items(self, node: yaml.Node | None, what: str) -> Iterator[tuple[str, yaml.Mark, yaml.Node]]:
        """Key, its position and value in a mapping, without duplicates. Nothing, or null, is an empty mapping."""
        if node is None or (isinstance(node, yaml.ScalarNode) and node.style is None and node.value in NULLS):
            return
        if not isinstance(node, yaml.MappingNode):
            self._note(node.start_mark, f"{what}: must be `key: value` lines")
            return
        lines: dict[str, int] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self._note(key.start_mark, f"{what}: a key must be a plain word")
            elif key.value in lines:
                text = f"{what}: {key.value} occurs twice, first in line {lines[key.value]}; keep one"
                self._note(key.start_mark, text)
            else:
                lines[key.value] = key.start_mark.line + 1
                yield key.value, key.start_mark, value

    def _compose(self, text: str) -> yaml.Node | None:
        """The tree of a text; None, with the mistake noted, if it is not plain YAML."""
        depth = 0
        event: Any = None
        try:
            for number, event in enumerate(yaml.parse(text, Loader=yaml.BaseLoader)):
                if number > MAX_EVENTS:
                    self._note(event.start_mark, f"is too long; a config has at most {MAX_EVENTS} keys and values")
                    return None
                depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
                if getattr(event, "anchor", None) or getattr(event, "tag", None) or depth > MAX_DEPTH:
                    self._note(event.start_mark, NOT_PLAIN)
                    return None
            tree = yaml.compose(text, Loader=yaml.BaseLoader)
            return yaml.ScalarNode("", "") if tree is None else tree  # an empty text is an empty value
        except yaml.MarkedYAMLError as error:
            self._note(error.problem_mark, f"is not YAML: {error.problem}")
        except yaml.reader.ReaderError as error:
            before = text[: error.position].split("\n")
            mark = yaml.Mark(self.source, error.position, len(before) - 1, len(before[-1]), None, 0)
            self._note(mark, f"{error.reason}; remove them")
        except (ValueError, OverflowError):  # PyYAML passes escapes and version numbers to chr() and int() unchecked
            self._note(event.end_mark, NOT_PLAIN)
        return None

    def _note(self, mark: Any, text: str) -> None:
        self.mistakes.append((self._place(mark), text))

    def _place(self, mark: Any) -> Place:
        if self.source.startswith("--set"):
            return MAX_BYTES, 0, self.source  # behind every line of a file
        return mark.line, mark.column, f"{self.source}:{mark.line + 1}:{mark.column + 1}"


def _value_of(node: yaml.Node) -> Any:
    if isinstance(node, yaml.ScalarNode):
        return Scalar(node.value, quoted=node.style is not None)
    if isinstance(node, yaml.SequenceNode):
        return tuple(_value_of(item) for item in node.value)
    return {}


def _text_of(path: Path) -> str:
    data = read_file(path, MAX_BYTES, fix="a config is a YAML file of what differs from the defaults")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise UserError(f"{path}:{line}: is not UTF-8; save the file as UTF-8 text") from error
