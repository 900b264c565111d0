"""Draws small maps as squares with numbers, all in one style, and makes animations of them."""

# Shapes: H x W cells
from __future__ import annotations

from io import BytesIO

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from fcn.images import Array

INK = (30, 30, 30)
POSITIVE = np.array([70, 130, 200])  # color of the largest value
NEGATIVE = np.array([225, 120, 50])  # and of the lowest
FRAME = (200, 30, 60)  # around the cells that a picture is about
LINE = (170, 170, 170)
TEXT = 15  # height of a title's letters in pixels
MARGIN = 16
STEP_MS = 900  # of an animation's frames
LAST_MS = 3500


class Sheet:
    """A white picture to draw on; places are (left, top) in pixels."""

    def __init__(self, width: int, height: int):
        self.image = Image.new("RGB", (width, height), "white")
        self.draw = ImageDraw.Draw(self.image)

    def text(self, place: tuple[float, float], text: str, size: int = TEXT, anchor: str = "lm") -> None:
        """One line of text; `anchor` as Pillow has it."""
        self.draw.text(place, text, fill=INK, font=ImageFont.load_default(size), anchor=anchor)

    def cells(
        self, place: tuple[int, int], values: Array, side: int, title: str = "", form: str = "{:g}", peak: float = 0
    ) -> None:
        """(H, W) as squares with their numbers below a title, the more colored the larger; `peak` has full color."""
        peak = peak or abs(values).max()
        self.text((place[0], place[1] - 20), title)
        for (row, column), value in np.ndenumerate(values):
            left, top = place[0] + column * side, place[1] + row * side
            strength = 0.75 * min(1, abs(value) / peak)
            color = 255 + strength * ((POSITIVE if value > 0 else NEGATIVE) - 255)
            self.draw.rectangle((left, top, left + side, top + side), tuple(color.astype(int)), LINE)
            text = form.format(value)
            font = min(TEXT - 2, int(1.7 * side / max(3, len(text))))
            self.text((left + side / 2, top + side / 2), text, font, "mm")

    def frame(self, place: tuple[int, int], part: tuple[int, int, int, int], side: int) -> None:
        """A thick line around `part`, (row, column, height, width) in cells, of the cells at `place`."""
        row, column, height, width = part
        left, top = place[0] + column * side, place[1] + row * side
        self.draw.rectangle((left, top, left + width * side, top + height * side), outline=FRAME, width=3)


def gif_of(frames: list[Image.Image]) -> bytes:
    """An animation with one palette for all its frames and without dithering, so that white stays white."""
    width, height = frames[0].size
    column = Image.fromarray(np.concatenate([np.asarray(frame) for frame in frames]))
    colored = column.quantize(dither=Image.Dither.NONE)
    first, *rest = (colored.crop((0, i * height, width, (i + 1) * height)) for i in range(len(frames)))
    content = BytesIO()
    durations = [*[STEP_MS] * len(rest), LAST_MS]
    first.save(content, "GIF", save_all=True, append_images=rest, duration=durations, loop=0)
    return content.getvalue()
