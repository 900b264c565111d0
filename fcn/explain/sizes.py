"""A transposed convolution with the reader's numbers: its size, which cells reach which, and where windows overlap."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from fcn.errors import UserError

MAX_NUMBER = 10_000
MAX_ROW = 30  # cells of a row that is printed whole; of a longer one both ends
MAX_MAP = 12  # cells a side of a map that is printed
END = 10  # cells of each end


@dataclass(frozen=True)
class TransposedConvolution:
    """A layer on `size` cells a side with a square kernel; padding is `same` or `valid`. Cells are counted from 0."""

    size: int
    kernel: int
    stride: int
    padding: str

    @property
    def output_size(self) -> int:
        """Cells a side, as Keras' Conv2DTranspose makes them."""
        if self.padding == "same":
            return self.size * self.stride
        return (self.size - 1) * self.stride + max(self.kernel, self.stride)

    @property
    def cut(self) -> tuple[int, int]:
        """Cells of the windows that SAME cuts off at the top and left, and at the bottom and right."""
        total = max(self.kernel - self.stride, 0) if self.padding == "same" else 0
        return total // 2, total - total // 2

    def reached(self, cell: int) -> range:
        """Output cells along an axis that an input cell reaches."""
        start = cell * self.stride - self.cut[0]
        return range(max(start, 0), min(start + self.kernel, self.output_size))

    def overlap(self, cells: Sequence[int]) -> np.ndarray:
        """How many windows meet in each of these output cells along an axis: int64 (cells,)."""
        places = np.asarray(cells) + self.cut[0]
        last = np.minimum(places // self.stride, self.size - 1)
        first = np.maximum(-((self.kernel - 1 - places) // self.stride), 0)  # rounded up
        return np.maximum(last - first + 1, 0)

    @property
    def sizes_back(self) -> range:
        """Sizes of which the convolution with the same numbers makes `size` cells; the output's is one of them."""
        first = (self.size - 1) * self.stride + (1 if self.padding == "same" else self.kernel)
        return range(first, first + self.stride)


def page_of_sizes(size: str | None, kernel: str | None, stride: str | None, padding: str | None) -> str:
    """What the layer of these arguments does, for a terminal; stride 1 and padding same where they are None.

    Raises UserError if no layer has them.
    """
    if size is None or kernel is None:
        missing = "--size" if size is None else "--kernel"
        raise UserError(f"{missing}: is not given; a layer needs both, such as --size 3 --kernel 5 --stride 2")
    if padding is not None and padding not in ("same", "valid"):
        raise UserError(f"--padding {padding[:MAX_ROW]}: is not a padding; name same or valid")
    layer = TransposedConvolution(
        size=_number("--size", size),
        kernel=_number("--kernel", kernel),
        stride=1 if stride is None else _number("--stride", stride),
        padding="same" if padding is None else padding,
    )
    return _page(layer)


def _number(name: str, text: str) -> int:
    valid = text.isascii() and text.isdigit() and len(text) <= len(str(MAX_NUMBER))
    if not valid or not 1 <= int(text) <= MAX_NUMBER:
        raise UserError(f"{name} {text[:MAX_ROW]}: must be a whole number from 1 to {MAX_NUMBER:,}")
    return int(text)


def _ends(count: int, show: Callable[[int], str]) -> list[str]:
    """What `show` says of 0 to count - 1, or of the first and last of them where they are many."""
    if count <= MAX_ROW:
        return [show(one) for one in range(count)]
    return [*map(show, range(END)), "...", *map(show, range(count - END, count))]


def _page(layer: TransposedConvolution) -> str:
    n, k, s = layer.size, layer.kernel, layer.stride
    after = layer.output_size
    before, behind = layer.cut
    if layer.padding == "same":
        size_rule = f"n * s = {n} * {s} = {after}"
        cut_rule = f"max(k - s, 0) = max({k} - {s}, 0) = {before + behind} of all: {before} before, {behind} after"
        back_rule = f"ceil({after} / {s}) = {n}"
    else:
        size_rule = f"(n - 1) * s + max(k, s) = ({n} - 1) * {s} + max({k}, {s}) = {after}"
        cut_rule = "nothing"
        back_rule = f"floor(({after} - {k}) / {s}) + 1 = {n}"

    def reach(cell: int) -> str:
        cells = layer.reached(cell)
        return f"input {cell} -> output {cells[0]}..{cells[-1]}"

    reaches = "\n".join(_ends(n, reach))
    overlaps = " ".join(_ends(after, lambda cell: str(layer.overlap([cell])[0])))
    row = layer.overlap(range(min(after, MAX_MAP)))
    plane = f"In the plane the numbers of both axes multiply:\n{np.outer(row, row)}\n" if after <= MAX_MAP else ""
    fewest, rest = divmod(k, s)
    if rest:
        verdict = f"A checkerboard: k is not a multiple of s, so {fewest} and {fewest + 1} windows take turns"
    else:
        verdict = f"Even: k is a multiple of s, so {fewest} meet everywhere"
    sizes = layer.sizes_back
    others = f"of each size from {sizes[0]} to {sizes[-1]}" if s > 1 else "of no other size"
    return f"""\
Transposed convolution: n = {n} cells a side, kernel k = {k}, stride s = {s}, padding {layer.padding.upper()}
Size of the output: {size_rule}
Along an axis each input cell has a window of k output cells; windows begin s cells apart.
The padding cuts off {cut_rule}.
{reaches}
How many windows meet in each output cell, along an axis:
{overlaps}
{plane}{verdict}, away from the border.
The convolution with these numbers makes {back_rule} of {after} again.
It makes the same {others}.
"""
