"""Sections of the config: typed fields with rules. One function decides what fits a type, for YAML and for Python."""

from __future__ import annotations

import ast
import difflib
import inspect
import re
import textwrap
from collections.abc import Callable
from dataclasses import dataclass, fields
from itertools import pairwise
from types import UnionType
from typing import Annotated, Any, ClassVar, Literal, get_args, get_origin, get_type_hints

from fcn.errors import ConfigError

INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]{0,99})")  # of any size that int() takes; fit says what is too large
NUMBER = re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?")
MAX_INTEGER = 2**32 - 1
MAX_NUMBER = 1e30  # of either sign; TensorFlow computes with float32
MAX_TEXT = 1000  # characters; patterns and comparisons take long for more
MAX_ITEMS = 256  # of a list: as many as an 8-bit mask has values
MAX_SHOWN = 60  # characters of a wrong value in a message
NULLS = {"", "~", "null", "Null", "NULL"}
MEANINGS = {
    bool: "true or false",
    int: "a whole number, such as 100",
    float: f"a number of at most {MAX_NUMBER:g}, such as 0.1 or 1e-3",
    str: "text",
}


class Scalar(str):
    """Text of a value in a YAML file. The field that it is for decides what it means, not YAML.

    So `1e-3` is a number where a number is needed, `no` is a word where a word is needed, and `12:30` is never 750.
    """

    quoted: bool  # whether the text stands in quotes

    def __new__(cls, text: str, quoted: bool = False) -> Scalar:
        """Keeps the quotes next to the text."""
        scalar = super().__new__(cls, text)
        scalar.quoted = quoted
        return scalar


@dataclass(frozen=True)
class Rule:
    """A condition on a value, and the sentence that states it with the fix."""

    holds: Callable[[Any], bool]
    text: str


def at_least(low: float) -> Rule:
    """`low` or more; of a tuple every number, also in the tuples inside."""
    return Rule(lambda value: all(number >= low for number in _numbers(value)), f"must be at least {low}")


def above(low: float) -> Rule:
    """More than `low`; of a tuple every number."""
    return Rule(lambda value: all(number > low for number in _numbers(value)), f"must be above {low}")


def below(high: float) -> Rule:
    """Less than `high`; of a tuple every number."""
    return Rule(lambda value: all(number < high for number in _numbers(value)), f"must be below {high}")


def _numbers(value: Any) -> list[float]:
    if isinstance(value, tuple):
        return [number for item in value for number in _numbers(item)]
    return [value] if isinstance(value, int | float) else []


MAY_CHANGE = "may change in a continued run"  # mark of a field: no weight or score depends on it, but for rounding


@dataclass(frozen=True)
class Field:
    """A field of a section: its type, the rules on its value, and whether it may change in a continued run."""

    type: Any
    rules: tuple[Rule, ...]
    may_change: bool


@dataclass(frozen=True, kw_only=True)
class Section:
    """A part of the config. Types and rules are checked when it is made, from a file or in Python.

    Raises:
        ConfigError: Values do not fit their types or break rules; all of them are named.
    """

    key: ClassVar[str]

    def __post_init__(self) -> None:
        problems: dict[str, str] = {}
        for name, field in fields_of(type(self)).items():
            try:
                value = fit(getattr(self, name), field.type)
            except ValueError as error:
                problems[f"{self.key}.{name}"] = str(error)
                continue
            object.__setattr__(self, name, value)  # what was text in a file has its type now
            broken = [rule.text for rule in field.rules if not rule.holds(value)]
            if broken:
                problems[f"{self.key}.{name}"] = f"{_shown(value)} is not allowed; it {broken[0]}"
        if not problems:
            problems = {f"{self.key}.{name}": text for name, text in self.conflicts().items()}
        if problems:
            raise ConfigError(problems)

    def conflicts(self) -> dict[str, str]:
        """Field name -> problem, for values that are valid but contradict each other."""
        return {}


def fit(value: Any, kind: Any) -> Any:
    """The value in the type of its field.

    Args:
        value: A Python value, or what a YAML file holds: a Scalar, a tuple of these, or a dict.
        kind: bool, int, float, str, a Literal of words or numbers, a tuple of these of fixed or of any length, or one
            of them or None.

    Raises:
        ValueError: The value is not of the type; the message says what is.
    """
    origin = get_origin(kind)
    members = get_args(kind)
    text = value if isinstance(value, Scalar) else None
    if origin is UnionType:
        is_null = value is None or (text in NULLS and not text.quoted)
        return None if is_null else fit(value, members[0])
    if origin is tuple:
        return _fit_tuple(value, members, example=_example(kind))
    if isinstance(value, tuple | list | dict):
        raise ValueError(f"{_shown(value)} is not a single value")
    if isinstance(value, str) and len(value) > MAX_TEXT:
        raise ValueError(f"{_shown(value)} is too long; at most {MAX_TEXT} characters are allowed")
    if text is not None and text.quoted and not (kind is str or isinstance((*members, 0)[0], str)):
        raise ValueError(f"{_shown(value)} is quoted text; write it without quotes")
    if origin is Literal:
        for choice in members:
            if text == str(choice) or (type(value) is type(choice) and value == choice):
                return choice
        words = [str(choice) for choice in members]
        close = difflib.get_close_matches(str(value), words)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise ValueError(f"{_shown(value)} is not one of {', '.join(words)}{hint}")
    if text is not None:
        if kind is bool and text in ("true", "false"):
            value = text == "true"
        elif kind is int and INTEGER.fullmatch(text):
            value = int(text)
        elif kind is float and NUMBER.fullmatch(text):
            value = float(text)
    if kind is int and type(value) is int and abs(value) > MAX_INTEGER:
        raise ValueError(f"{_shown(value)} is too large; at most {MAX_INTEGER} is allowed")
    if kind is float and type(value) in (int, float) and abs(value) <= MAX_NUMBER:
        return value
    if kind is not float and (type(value) is kind or (kind is str and isinstance(value, str))):
        return kind(value)
    raise ValueError(f"{_shown(value)} is not {MEANINGS[kind]}")


def _fit_tuple(value: Any, members: tuple[Any, ...], example: str) -> tuple[Any, ...]:
    any_length = members[-1] is Ellipsis
    if not isinstance(value, tuple | list) or not (any_length or len(value) == len(members)):
        length = "" if any_length else f" of {len(members)} numbers"
        raise ValueError(f"{_shown(value)} is not a list{length}, such as {example}")
    if len(value) > MAX_ITEMS:
        raise ValueError(f"{_shown(value)} is too long; at most {MAX_ITEMS} items are allowed")
    kinds = members[:1] * len(value) if any_length else members
    return tuple(fit(item, member) for item, member in zip(value, kinds, strict=True))


def _shown(value: Any) -> str:
    """A wrong value in a message: a list as in YAML, text in quotes; a long one shortened."""
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, tuple | list):
        items = [str(item) if isinstance(item, str) else _shown(item) for item in value]
        text = f"[{', '.join(items)}]"
        return text if len(text) <= MAX_SHOWN else f"a list of {len(value)}"
    text = repr(str(value)) if isinstance(value, str) else str(value)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."


def _example(kind: Any) -> str:
    if get_origin(kind) is tuple:
        first, *others = get_args(kind)
        members = [first, *(first if other is Ellipsis else other for other in others)]
        return f"[{', '.join(_example(member) for member in members)}]"
    return {int: "100", float: "0.5"}.get(kind, "road")


def fields_of(section: type[Section]) -> dict[str, Field]:
    """Field name -> field, in the order of definition."""
    hints = get_type_hints(section, include_extras=True)
    result: dict[str, Field] = {}
    for field in fields(section):
        hint = hints[field.name]
        kind, *marks = get_args(hint) if get_origin(hint) is Annotated else (hint,)
        rules = tuple(mark for mark in marks if isinstance(mark, Rule))
        result[field.name] = Field(kind, rules, may_change=MAY_CHANGE in marks)
    return result


def field_docs(section: type[Section]) -> dict[str, str]:
    """Field name -> the text under it in its source file."""
    definition: Any = ast.parse(textwrap.dedent(inspect.getsource(section))).body[0]
    docs: dict[str, str] = {}
    for lines in pairwise(definition.body):
        match lines:
            case ast.AnnAssign(target=ast.Name(name)), ast.Expr(ast.Constant(str(text))):
                docs[name] = inspect.cleandoc(text)
    return docs
