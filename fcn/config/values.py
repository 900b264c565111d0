"""What a YAML value means is decided by the field that it is for, not by YAML.

So `1e-3` is a number where one is meant, `no` is a word where one is meant, and `12:30` is never 750.
"""

from __future__ import annotations

import difflib
import math
import re
import types
from itertools import repeat
from typing import Any, Literal, Union, get_args, get_origin

import yaml

INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*)")
NUMBER = re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?")
MAX_DIGITS = 10  # every setting stays below 2 ** 32
NULLS = {"", "~", "null", "Null", "NULL"}


def is_null(node: yaml.Node) -> bool:
    """Whether nothing stands there, or a word for nothing."""
    return isinstance(node, yaml.ScalarNode) and node.style is None and node.value in NULLS


def convert(node: yaml.Node, kind: Any) -> Any:
    """A node's value as a field's type asks for it.

    Args:
        node: what stands in the text.
        kind: bool, int, float, str, a Literal of words or numbers, a tuple of these, of one length or of any
            (`tuple[int, ...]`), or one of them or None.

    Raises:
        ValueError: the text is no value of the type; the message says what is.
    """
    if get_origin(kind) in (Union, types.UnionType):
        if is_null(node):
            return None
        return convert(node, get_args(kind)[0])
    if get_origin(kind) is tuple:
        members, any_length = get_args(kind), get_args(kind)[-1] is Ellipsis
        if not isinstance(node, yaml.SequenceNode) or not (any_length or len(node.value) == len(members)):
            length = "" if any_length else f" of {len(members)} numbers"
            raise ValueError(f"{_source_text(node)} is not a list{length}, such as {_example(kind)}")
        return tuple(map(convert, node.value, repeat(members[0]) if any_length else members))
    if not isinstance(node, yaml.ScalarNode):
        raise ValueError(f"{_source_text(node)} is not a single value")
    if node.style is not None and str not in {kind, *map(type, get_args(kind))}:
        raise ValueError(f"{node.value!r} is quoted text; write it without quotes")
    if get_origin(kind) is Literal:
        by_text = {str(choice): choice for choice in get_args(kind)}
        if node.value not in by_text:
            close = difflib.get_close_matches(node.value, by_text)
            mend = f"; did you mean {close[0]}?" if close else ""
            raise ValueError(f"{node.value!r} is not one of {', '.join(by_text)}{mend}")
        return by_text[node.value]
    if kind is str:
        return node.value
    return _plain(node.value, kind)


def _plain(text: str, kind: type) -> bool | int | float:
    if kind is bool:
        if text not in ("true", "false"):
            raise ValueError(f"{text!r} is neither true nor false; write one of these two words")
        return text == "true"
    if kind is int:
        if not INTEGER.fullmatch(text):
            raise ValueError(f"{text!r} is not a whole number in plain digits, such as 100")
        if len(text) > MAX_DIGITS:
            raise ValueError(f"{text[:MAX_DIGITS]!r}... is too large a number")
        return int(text)
    if not NUMBER.fullmatch(text) or math.isinf(float(text)):
        raise ValueError(f"{text!r} is not a finite number, such as 0.001 or 1e-3")
    return float(text)


def _source_text(node: yaml.Node) -> str:
    if isinstance(node, yaml.ScalarNode):
        return repr(node.value)
    return f"a list of {len(node.value)}" if isinstance(node, yaml.SequenceNode) else "a mapping"


def _example(kind: Any) -> str:
    if get_origin(kind) is tuple:
        first, *others = get_args(kind)
        return f"[{', '.join(map(_example, [first, *(first if other is Ellipsis else other for other in others)]))}]"
    return {int: "100", float: "0.5"}.get(kind, "road")
