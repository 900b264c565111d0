"""A transposed convolution with the reader's numbers: its size, which cells reach which, and where windows overlap."""

# Letters: n cells a side, k kernel, s stride; cells are counted from 0
from __future__ import annotations

import numpy as np

from fcn.errors import UserError

MAX_NUMBER = 10_000
MAX_ROW = 40  # cells of an output that are printed one by one along an axis
MAX_MAP = 12  # cells a side of a map that is printed


def page_of_sizes(size: str | None, kernel: str | None, stride: str | None, padding: str | None) -> str:
    """What the layer of these arguments does, for a terminal; stride 1 and padding same where they are None.

    Raises UserError if no layer has them.
    """
    if size is None or kernel is None:
        missing = "--size" if size is None else "--kernel"
        raise UserError(f"{missing}: is not given; a layer needs both, such as --size 3 --kernel 5 --stride 2")
    if padding not in (None, "same", "valid"):
        raise UserError(f"--padding {padding[:30]}: is not a padding; name same or valid")
    n = _number("--size", size)
    k = _number("--kernel", kernel)
    s = _number("--stride", "1" if stride is None else stride)
    cut = 0
    if padding == "valid":
        after = (n - 1) * s + max(k, s)
        size_rule = f"(n - 1) * s + max(k, s) = ({n} - 1) * {s} + max({k}, {s})"
        cut_rule = "nothing"
        back_rule = f"floor(({after} - {k}) / {s}) + 1"
        smallest = (n - 1) * s + k
    else:
        after = n * s
        size_rule = f"n * s = {n} * {s}"
        cut = max(k - s, 0)
        cut_rule = f"max(k - s, 0) = max({k} - {s}, 0) = {cut} of all: {cut // 2} before, {cut - cut // 2} after"
        back_rule = f"ceil({after} / {s})"
        smallest = (n - 1) * s + 1
    fewest, rest = divmod(k, s)
    if rest:
        verdict = f"A checkerboard: k is not a multiple of s, so {fewest} and {fewest + 1} windows take turns"
    else:
        verdict = f"Even: k is a multiple of s, so {fewest} meet everywhere"
    return f"""\
Transposed convolution: n = {n} cells a side, kernel k = {k}, stride s = {s}, padding {(padding or "same").upper()}
Size of the output: {size_rule} = {after}
Along an axis input cell i has the window of k output cells that begins at i * s - {cut // 2}.
The padding cuts off {cut_rule}.
{_cells(range(-(cut // 2), n * s - cut // 2, s), k, after)}{verdict}, away from the border.
The convolution with these numbers makes {back_rule} = {n} of {after} again.
It makes the same of each size from {smallest} to {smallest + s - 1}.
"""


def _number(name: str, text: str) -> int:
    valid = text.isascii() and text.isdigit() and len(text) <= len(str(MAX_NUMBER))
    if not valid or not 1 <= int(text) <= MAX_NUMBER:
        raise UserError(f"{name} {text[:30]}: must be a whole number from 1 to {MAX_NUMBER:,}")
    return int(text)


def _cells(starts: range, k: int, after: int) -> str:
    """Of windows of k cells that begin at `starts`: where they lie in the output and how many meet in its cells."""
    if after > MAX_ROW:
        return ""
    text = ""
    counts = np.zeros(after, int)
    for cell, start in enumerate(starts):
        reached = range(after)[max(start, 0) : start + k]
        text += f"input {cell} -> output {reached[0]}..{reached[-1]}\n"
        counts[reached] += 1
    text += f"How many windows meet in each output cell, along an axis:\n{' '.join(map(str, counts))}\n"
    if after <= MAX_MAP:
        text += f"In the plane the numbers of both axes multiply:\n{np.outer(counts, counts)}\n"
    return text
