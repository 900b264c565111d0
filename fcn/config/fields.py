"""What the sections of the config are made of: typed fields, their rules and their documentation."""

from __future__ import annotations

import ast
import inspect
import math
import textwrap
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import cache
from itertools import pairwise
from types import UnionType
from typing import Annotated, Any, ClassVar, Literal, get_args, get_origin, get_type_hints

from fcn.errors import ConfigError


@dataclass(frozen=True)
class Rule:
    """A condition on a value and the sentence that states it with the mend."""

    holds: Callable[[Any], bool]
    text: str


def at_least(low: float) -> Rule:
    """`low` or more; for a tuple, each of its numbers, also those of tuples in it."""
    return Rule(lambda value: all(v >= low for v in _numbers(value)), f"must be at least {low}")


def above(low: float) -> Rule:
    """More than `low`; for a tuple, each of its numbers."""
    return Rule(lambda value: all(v > low for v in _numbers(value)), f"must be above {low}")


def below(high: float) -> Rule:
    """Less than `high`; for a tuple, each of its numbers."""
    return Rule(lambda value: all(v < high for v in _numbers(value)), f"must be below {high}")


def _numbers(value: Any) -> list[float]:
    """The numbers in a value; a word has none."""
    if isinstance(value, tuple):
        return [number for one in value for number in _numbers(one)]
    return [value] if isinstance(value, int | float) else []


MAX_ITEMS = 256  # of a list: as many as an 8-bit mask has values

STORABLE = (  # rules of every setting, so that a file can hold it: configvalue takes whole numbers of up to ten digits
    below(math.inf),
    Rule(lambda value: all(v < 2**32 for v in _numbers(value) if isinstance(v, int)), f"must be below {2**32}"),
    Rule(lambda value: not isinstance(value, tuple) or len(value) <= MAX_ITEMS, f"must have {MAX_ITEMS} items at most"),
)


class Section:
    """What all sections share: a name in the YAML file and the check of every field's rules."""

    key: ClassVar[str]

    def __post_init__(self) -> None:
        problems: dict[str, str] = {}
        for name, rules in field_rules(type(self)).items():
            value, kind = getattr(self, name), field_types(type(self))[name]
            if not _fits(value, kind):
                problems[f"{self.key}.{name}"] = f"{value!r} is not of the type {inspect.formatannotation(kind)}"
            elif broken := [rule.text for rule in (*rules, *STORABLE) if not rule.holds(value)]:
                problems[f"{self.key}.{name}"] = f"{_shown(value)} is not allowed; it {broken[0]}"
        if problems := problems or self.conflicts():
            raise ConfigError(problems)

    def conflicts(self) -> dict[str, str]:
        """Dotted key -> text for fields that are legal alone and wrong together."""
        return {}


def _fits(value: Any, kind: Any) -> bool:
    """Whether a value is of a field's type; a whole number may stand for a float."""
    if get_origin(kind) is Literal:
        return value in get_args(kind)
    if get_origin(kind) is tuple:
        members = get_args(kind)
        if isinstance(value, tuple) and members[-1] is Ellipsis:
            members = members[:1] * len(value)
        return isinstance(value, tuple) and len(value) == len(members) and all(map(_fits, value, members))
    if get_origin(kind) is UnionType:
        return any(_fits(value, member) for member in get_args(kind))
    return type(value) is kind or (kind is float and type(value) is int)


def _shown(value: Any) -> str:
    if not isinstance(value, tuple):
        return str(value)
    return f"[{', '.join(map(_shown, value))}]" if len(value) <= MAX_ITEMS else f"a list of {len(value)}"


def field_types(section: type[Section]) -> dict[str, Any]:
    """Field name -> its type without the rules, in the order of definition."""
    hints = _hints(section)  # type: ignore[arg-type] # mypy takes a class for unhashable
    return {name: get_args(hint)[0] if get_origin(hint) is Annotated else hint for name, hint in hints.items()}


def field_rules(section: type[Section]) -> dict[str, tuple[Rule, ...]]:
    """Field name -> its rules, in the order of definition."""
    hints = _hints(section)  # type: ignore[arg-type] # mypy takes a class for unhashable
    return {name: get_args(hint)[1:] if get_origin(hint) is Annotated else () for name, hint in hints.items()}


@cache
def _hints(section: Any) -> dict[str, Any]:
    hints = get_type_hints(section, include_extras=True)
    return {one.name: hints[one.name] for one in fields(section)}


def field_docs(section: type[Section]) -> dict[str, str]:
    """Field name -> the text that stands under it in this file."""
    body = ast.parse(textwrap.dedent(inspect.getsource(section))).body[0].body  # type: ignore[attr-defined]
    docs = {}
    for lines in pairwise(body):
        match lines:
            case ast.AnnAssign(target=ast.Name(name)), ast.Expr(ast.Constant(str(text))):
                docs[name] = inspect.cleandoc(text)
    return docs
