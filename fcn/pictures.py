"""Arrays -> pictures for people: overlays, and comparisons with titles and a legend."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from fcn.errors import printable
from fcn.images import IGNORE, Array, SegmentationClass, palette

GAP = 4  # pixels between pictures side by side
MIN_WIDTH = 320  # of comparisons, in pixels: narrower ones would cut off titles and legend
IGNORED = SegmentationClass("ignored", (0, 0, 0))  # as `palette` shows it


def overlay(image: Array, mask: Array, classes: Sequence[SegmentationClass], alpha: float = 0.5) -> Array:
    """An image uint8 RGB (H, W, 3), tinted with the colors of the labels uint8 (H, W), mixed in by `alpha` (0 to 1).

    IGNORE and a class named "background", in any case, are not tinted.
    """
    strengths = [0] * 256
    for index, one in enumerate(classes):
        if one.name.casefold() != "background":
            strengths[index] = round(255 * alpha)
    colors = Image.fromarray(mask)
    colors.putpalette(palette(classes).tobytes())
    tinted = Image.fromarray(image)
    tinted.paste(colors.convert("RGB"), mask=Image.fromarray(mask).point(strengths))
    return np.asarray(tinted)


def legend(classes: Sequence[SegmentationClass], width: int, shares: Array | None = None) -> Array:
    """A white strip uint8 RGB (h, `width`, 3) with color, name and, if given, share (0 to 1) of each class, in rows."""
    texts = [printable(one.name) for one in classes]
    if shares is not None:
        texts = [f"{text} {share:.1%}" for text, share in zip(texts, shares, strict=True)]
    swatch = _text_size(width)
    line = round(1.6 * swatch)
    font = ImageFont.load_default(swatch)
    cell = 3 * swatch + math.ceil(max(font.getlength(text) for text in texts))
    columns = max(1, width // cell)
    rows = math.ceil(len(texts) / columns)
    strip = Image.new("RGB", (width, rows * line + swatch), "white")
    draw = ImageDraw.Draw(strip)
    for index, (one, text) in enumerate(zip(classes, texts, strict=True)):
        left = GAP + index % columns * cell
        top = swatch // 2 + index // columns * line + (line - swatch) // 2
        draw.rectangle((left, top, left + swatch, top + swatch), fill=one.color, outline="gray")
        draw.text((left + 1.6 * swatch, top + swatch / 2), text, fill="black", font=font, anchor="lm")
    return np.asarray(strip)


def comparison(image: Array, label: Array, prediction: Array, classes: Sequence[SegmentationClass]) -> Array:
    """Image (H, W, 3) | ground truth (H, W) | overlay of the prediction (H, W), with titles and legend: uint8 RGB.

    Ignored pixels are black. The legend has the shares of the ground truth. The width depends only on W.
    """
    counts = np.bincount(label.reshape(-1), minlength=256)
    shares = counts[[*range(len(classes)), IGNORE]] / label.size
    pictures = {
        "image": image,
        "ground truth": palette(classes)[label],
        "prediction": overlay(image, prediction, classes),
    }
    column = max(MIN_WIDTH // len(pictures), image.shape[1] + GAP)
    width = max(MIN_WIDTH, len(pictures) * column - GAP)
    size = _text_size(width)
    canvas = Image.new("RGB", (width, 2 * size + len(image) + GAP), "white")
    draw = ImageDraw.Draw(canvas)
    for index, (title, picture) in enumerate(pictures.items()):
        left = index * column
        draw.text((left + GAP, size), title, fill="black", font=ImageFont.load_default(size), anchor="lm")
        canvas.paste(Image.fromarray(picture), (left, 2 * size))
    return np.concatenate([np.asarray(canvas), legend([*classes, IGNORED], width, shares)])


def confusion_picture(counts: Array, classes: Sequence[SegmentationClass]) -> Array:
    """A confusion matrix int64 (C, C) as a picture uint8 RGB: of each true class, a row, the percent predicted as each.

    Green is right, orange is wrong, the stronger the more.
    """
    font = ImageFont.load_default(14)
    names = [printable(one.name) for one in classes]
    left = 2 * GAP + math.ceil(max(font.getlength(name) for name in names))
    cell = 36
    side = cell * len(names)
    canvas = Image.new("RGB", (left + side + GAP, side + left + GAP), "white")
    draw = ImageDraw.Draw(canvas)
    turned = Image.new("RGB", (left, side), "white")  # the names below the columns
    names_draw = ImageDraw.Draw(turned)
    for row, name in enumerate(names):
        middle = cell * (row + 0.5)
        draw.text((left - GAP, middle), name, fill="black", font=font, anchor="rm")
        names_draw.text((left - GAP, middle), name, fill="black", font=font, anchor="rm")
        for column, count in enumerate(counts[row]):
            share = count / max(counts[row].sum(), 1)
            color = np.array((31, 157, 118) if row == column else (217, 115, 13))
            mixed = np.rint(255 + math.sqrt(share) * (color - 255)).astype(int)
            corner = (left + cell * column, cell * row)
            draw.rectangle((*corner, corner[0] + cell - 2, corner[1] + cell - 2), fill=tuple(mixed), outline="#dddddd")
            if share >= 0.005:
                place = (corner[0] + cell / 2, middle)
                draw.text(place, f"{100 * share:.0f}", fill="black", font=font, anchor="mm")
    canvas.paste(turned.transpose(Image.Transpose.ROTATE_90), (left, side))
    return np.asarray(canvas)


def _text_size(width: int) -> int:
    """Height of a font in pixels, larger in wide pictures, which are shown smaller."""
    return max(12, width // 90)
