"""YAML text -> Config, every mistake with its position; Config -> YAML text.

YAML is only asked for the shape of the text; `configvalue` decides what a value means.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from fcn.config.fields import Section, field_docs, field_types
from fcn.config.settings import SECTIONS, Config
from fcn.config.values import convert, is_null
from fcn.errors import ConfigError, UserError

MAX_BYTES = 64 * 1024  # a hundred times the longest sensible file
RENAMED = {  # key of version 0.1 -> key and, where they have other names, values of today
    "data.view": ("data.labels", {"full": "all"}),
    "data.class_colours": ("data.class_colors", {}),
    "data.ignore_colours": ("data.ignore_colors", {}),
    "data.mask_kind": ("data.mask_kind", {"colour": "color"}),
    "early.share": ("progressive.share", {}),
    "early.batch_size": ("progressive.batch_size", {}),
    "early.crop_size": ("progressive.crop_size", {}),
    "early.scale": ("progressive.scale", {}),
    "train.average_decay": ("train.ema_decay", {}),
}
MAX_DEPTH = 5  # sections, their fields, lists in one, lists in these; one more, so that it is reported where it stands


@dataclass(frozen=True)
class Mistake:
    """One line of the report; sorted by where it stands."""

    where: str
    position: tuple[int, int]
    text: str


@dataclass
class _Reading:
    """What has been read so far: field values by dotted key, where each stands, and the mistakes."""

    values: dict[str, Any]
    places: dict[str, tuple[str, tuple[int, int]]]  # of fields, and of a section the last of its fields
    mistakes: list[Mistake]
    stored: bool = False

    def note(self, source: str, mark: Any, text: str) -> None:
        self.mistakes.append(Mistake(*_place(source, mark), text))


def load_config(path: Path | None, overrides: Sequence[str] = (), stored: bool = False) -> Config:
    """Reads a YAML file and lays the overrides over it.

    Args:
        path: the file; None for the defaults.
        overrides: texts `KEY=VALUE`, the key dotted, the value parsed as it would be in the file; the last one wins.
        stored: the config of a run, which may be of version 0.1 and have names of that; a user's file may not.

    Raises:
        UserError: all mistakes at once, a line each: `file:line:column: key: value, rule, mend`.
    """
    reading = _Reading({}, {}, [], stored)
    if path is not None:
        source = str(path)
        root = _compose(_text(path), source, reading)
        if root is not None:
            _read_sections(root, source, reading)
    for override in overrides:
        key, equals, text = override.partition("=")
        source = f"--set {override}"
        if not equals:
            raise UserError(f"{source}: has no '='; write --set KEY=VALUE, such as --set train.steps=100")
        node = _compose(text, source, reading)
        if node is not None:
            _read_field(key.strip(), node, source, node.start_mark, reading)
    config = _build(reading)
    if reading.mistakes:
        ordered = sorted(reading.mistakes, key=lambda mistake: mistake.position)
        raise UserError(*(f"{mistake.where}: {mistake.text}" for mistake in ordered))
    return config


def dump_config(config: Config) -> str:
    """The whole config as YAML that `load_config` reads back to an equal one, each field under its documentation."""
    lines = []
    for key, section in SECTIONS.items():
        lines.append(f"{key}:")
        docs = field_docs(section)
        for name in field_types(section):
            value = getattr(getattr(config, key), name)
            lines += [f"  # {line}" for line in docs[name].splitlines()]
            lines.append(f"  {name}: {_dump_value(value)}")
        lines.append("")
    return "\n".join(lines)


def changed_keys(one: Config, other: Config) -> list[str]:
    """Dotted keys whose values differ."""
    return [
        f"{key}.{name}"
        for key, section in SECTIONS.items()
        for name in field_types(section)
        if getattr(getattr(one, key), name) != getattr(getattr(other, key), name)
    ]


def require_setting(key: str, source: str) -> None:
    """Raises UserError, which names `source`, where a dotted key is no setting."""
    section, _, name = key.partition(".")
    if section not in SECTIONS or name not in field_types(SECTIONS[section]):
        raise UserError(f"{source} {key}: is no setting; {_hint(key)}")


def _dump_value(value: Any) -> str:
    text = yaml.safe_dump(_lists(value), default_flow_style=True, width=math.inf)
    return text.removesuffix("\n").removesuffix("\n...")


def _lists(value: Any) -> Any:
    """A tuple as a list, and each in it as one of its own: PyYAML would write one that stands twice as an alias."""
    return list(map(_lists, value)) if isinstance(value, tuple) else value


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    if len(data) > MAX_BYTES:
        raise UserError(
            f"{path}: is larger than {MAX_BYTES // 1024} KB; a config holds only what differs from the defaults"
        )
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise UserError(f"{path}:{line}: is not UTF-8; save the file as UTF-8 text") from error


def _compose(text: str, source: str, reading: _Reading) -> yaml.Node | None:
    """The tree of a YAML text without aliases, tags and deep nesting; None with a mistake noted where it is none."""
    depth = 0
    event: Any
    try:
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
                reading.note(source, event.start_mark, "anchors and aliases are not allowed; write the value out")
                return None
            if getattr(event, "tag", None) is not None:
                reading.note(source, event.start_mark, f"the tag {event.tag} is not allowed; write the plain value")
                return None
            if depth > MAX_DEPTH:
                reading.note(source, event.start_mark, "is nested too deeply; a config is sections of fields")
                return None
        node: yaml.Node | None = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        reading.note(source, error.problem_mark, f"is not YAML: {error.problem}")
        return None
    except yaml.reader.ReaderError as error:
        before = text[: error.position].split("\n")
        mark = yaml.Mark(source, error.position, len(before) - 1, len(before[-1]), None, 0)
        reading.note(source, mark, f"{error.reason}; remove them")
        return None
    except (ValueError, OverflowError):  # PyYAML passes these on to chr() and int() unchecked
        reading.note(source, event.end_mark, "is not YAML: an escape or a version number is out of range")
        return None
    return node or yaml.ScalarNode("", "")  # an empty text is an empty value


def _read_sections(root: yaml.Node, source: str, reading: _Reading) -> None:
    """Notes every field of a file's tree: a mapping of sections, each a mapping of fields."""
    for key, key_mark, node in _items(root, source, "the file", reading):
        if key not in SECTIONS and key != "early":
            reading.note(source, key_mark, f"{key}: is no section; {_hint(key)}")
            continue
        for name, name_mark, value in _items(node, source, key, reading):
            _read_field(f"{key}.{name}", value, source, name_mark, reading)


def _items(node: yaml.Node, source: str, what: str, reading: _Reading) -> list[tuple[str, yaml.Mark, yaml.Node]]:
    """Key, its position, value: of a mapping, without duplicates. Empty is an empty mapping."""
    if is_null(node):
        return []
    if not isinstance(node, yaml.MappingNode):
        reading.note(source, node.start_mark, f"{what}: must be `key: value` lines")
        return []
    items: dict[str, tuple[str, yaml.Mark, yaml.Node]] = {}
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            reading.note(source, key.start_mark, f"{what}: a key must be a plain word")
        elif key.value in items:
            first = items[key.value][1].line + 1
            reading.note(source, key.start_mark, f"{what}: {key.value} stands twice, first in line {first}; keep one")
        else:
            items[key.value] = (key.value, key.start_mark, value)
    return list(items.values())


def _read_field(key: str, node: yaml.Node, source: str, key_mark: yaml.Mark, reading: _Reading) -> None:
    if key in RENAMED:
        new, values = RENAMED[key]
        if not reading.stored and new != key:
            reading.note(source, key_mark, f"{key}: is now called {new}; rename it")
            return
        key = new
        if reading.stored and isinstance(node, yaml.ScalarNode):
            node.value = values.get(node.value, node.value)
    section, _, name = key.partition(".")
    types_of = field_types(SECTIONS[section]) if section in SECTIONS else {}
    if name not in types_of:
        reading.note(source, key_mark, f"{key}: is no setting; {_hint(key)}")
        return
    reading.places[key] = reading.places[section] = _place(source, node.start_mark)
    try:
        reading.values[key] = convert(node, types_of[name])
    except ValueError as error:
        reading.values.pop(key, None)
        reading.note(source, node.start_mark, f"{key}: {error}")


def _build(reading: _Reading) -> Config:
    """The config of the values read. A broken rule is noted at the field's place; the section keeps its defaults."""
    sections: dict[str, Section] = {}
    for key, section in SECTIONS.items():
        values = {
            name: reading.values[f"{key}.{name}"] for name in field_types(section) if f"{key}.{name}" in reading.values
        }
        try:
            sections[key] = section(**values)
        except ConfigError as error:
            for dotted, text in error.problems.items():
                if dotted not in reading.places or dotted in reading.values:  # else it was refused already
                    where, position = reading.places.get(dotted, reading.places[key])
                    reading.mistakes.append(Mistake(where, position, f"{dotted}: {text}"))
    return Config(**sections)  # type: ignore[arg-type]


def _hint(key: str) -> str:
    """The nearest valid name, or all of the level."""
    section, _, name = key.rpartition(".")
    dotted = [f"{other}.{field}" for other in SECTIONS for field in field_types(SECTIONS[other])]
    if key in dotted:
        return f"write `{name}:` in a line under `{section}:`"
    if key in SECTIONS:
        return f"it is a section; name a setting of it, such as {key}.{next(iter(field_types(SECTIONS[key])))}"
    close = [one for one in dotted if one.endswith(f".{name}")]
    if section in SECTIONS:
        level = list(field_types(SECTIONS[section]))
        close += [f"{section}.{one}" for one in difflib.get_close_matches(name, level)]
    else:
        level = list(SECTIONS)
        close += difflib.get_close_matches(key, [*level, *dotted])
    return f"did you mean {close[0]}?" if close else f"known here: {', '.join(level)}"


def _place(source: str, mark: yaml.Mark) -> tuple[str, tuple[int, int]]:
    """`file:line:column`, counted from 1; of an override only the override, which has one line."""
    if source.startswith("--set"):
        return source, (MAX_BYTES, 0)  # behind every line of a file
    return f"{source}:{mark.line + 1}:{mark.column + 1}", (mark.line, mark.column)
