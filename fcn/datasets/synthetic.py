"""Seeded road scenes as a car's camera sees them, drawn when they are read, with a label for every pixel.

The ground is a street in perspective; what stands on it is painted far to near, the same polygons in image
and label. Colors change from frame to frame and classes share them (asphalt, pavement, walls, cars, clouds
are of the same grays): they alone do not tell where the road is. Colors are float RGB, 0 to 255; places are
those of `street`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.random import RandomState
from numpy.typing import ArrayLike
from PIL import Image, ImageDraw, ImageFilter

from fcn.config.data_settings import DataConfig
from fcn.datasets.dataset import Dataset
from fcn.datasets.street import (
    CAR,
    CLASSES,
    DEPTHS,
    FAR,
    LANE_MARK,
    PAVEMENT,
    ROAD,
    SKY,
    TERRAIN,
    TREE,
    Street,
    Thing,
    lay_street,
    place_things,
)
from fcn.images import IGNORE, Array

ROUGHNESS = np.full(256, 0.05, np.float32)  # of a label: relative spread of its brightness
ROUGHNESS[: len(CLASSES)] = 0.01, 0.04, 0.2, 0.15, 0.07, 0.02, 0.03, 0.03

HAZE = 250.0  # meters of air that leave 1/e of a color

GRAY = np.array([105, 105, 105])
WALLS = (GRAY, (130, 90, 70), (140, 125, 95))
PAINTS = (GRAY, GRAY, (200, 200, 200), (40, 40, 45), (150, 30, 30), (40, 60, 130))
LEAVES = ((60, 90, 40), (90, 90, 40), (75, 80, 60))
GROUNDS = ((70, 100, 40), (110, 90, 65), (95, 105, 60))
MARKS = ((220, 220, 215), (220, 220, 215), (210, 190, 90))
CAR_PARTS = np.array(  # of a face: left and right below, right and left above, bottom, top, as fractions
    [
        (0.05, 0.95, 0.95, 0.05, 0.00, 0.30),  # wheels and what is between
        (0.00, 1.00, 1.00, 0.00, 0.16, 0.60),  # body
        (0.02, 0.98, 0.94, 0.06, 0.60, 1.00),  # cabin
        (0.08, 0.92, 0.88, 0.12, 0.64, 0.93),  # glass
    ]
)


class Canvas(NamedTuple):
    """Image and label of a street, painted together."""

    street: Street
    image: ImageDraw.ImageDraw
    label: ImageDraw.ImageDraw
    haze: Array  # the color that far things fade to

    def fill(self, kind: int, colors: Array, side: ArrayLike, up: ArrayLike, depth: ArrayLike) -> None:
        """Fills n polygons in the colors (n, 3), seen through haze; places broadcast to (n, corners)."""
        side, up, depth = np.broadcast_arrays(*np.atleast_2d(side, up, depth))
        ahead, scale = self.street.place(depth)
        x = self.street.size[1] / 2 + scale * (side - ahead)
        y = np.interp(depth, DEPTHS, self.street.rows) - scale * up
        clarity = np.exp(-depth.min() / HAZE)
        hues = (colors * clarity + self.haze * (1 - clarity)).clip(0, 255).astype(int).tolist()
        for hue, corners in zip(hues, np.stack([x, y], axis=-1).reshape(len(x), -1).tolist(), strict=True):
            self.image.polygon(corners, tuple(hue))
            self.label.polygon(corners, kind)


def smooth_noise(shape: tuple[int, int], cell: int, random: RandomState) -> Array:
    """float32 of the shape, roughly standard normal: a random value a cell of pixels, bicubic in between."""
    values = random.standard_normal((shape[0] // cell + 2, shape[1] // cell + 2)).astype(np.float32)
    return np.asarray(Image.fromarray(values).resize(shape[::-1], Image.Resampling.BICUBIC))


def pick(hues: Sequence[Array | tuple[float, ...]], low: float, high: float, random: RandomState) -> Array:
    """One of the hues, between low and high times as bright, each channel off by up to 5 %."""
    brightness = random.uniform(low, high) * random.uniform(0.95, 1.05, 3)
    return brightness * hues[random.randint(len(hues))]


def paint_sky(size: tuple[int, int], random: RandomState) -> Array:
    """Colors (H, W, 3): clear, cloudy or overcast, with the haze at the bottom."""
    cloud = pick((GRAY,), 1.3, 2.3, random)
    clear = cloud * ((0.5, 0.75, 1.1), (0.6, 0.8, 1.1), (0.85, 0.85, 0.85))[random.randint(3)]
    noise = smooth_noise(size, size[0] // 5, random) + smooth_noise(size, size[0] // 12, random) / 2
    cover = (noise + random.uniform(-1.5, 1.5)).clip(0, 1)
    clarity = np.linspace(1, -0.6, size[0])[:, None].clip(0, 1) * (1 - cover)
    return cloud + clarity[..., None] * (clear - cloud)


def paint_ground(street: Street, things: list[Thing], random: RandomState) -> tuple[Array, Array]:
    """Colors (H, W, 3) and label uint8 (H, W) of terrain, pavement, road, marks, were nothing on them."""
    height, width = street.size
    depth = np.interp(np.arange(height) + 0.5, street.rows[::-1], DEPTHS[::-1])[:, None]
    ahead, scale = street.place(depth)
    side = (ahead + (np.arange(width) + 0.5 - width / 2) / scale).astype(np.float32)
    tile = smooth_noise((256, 256), 8, random) + smooth_noise((256, 256), 2, random)
    patches = tile[(depth * 8).astype(int) % 256, (side * 8).astype(int) % 256]  # repeated every 32 meters

    away = np.abs(side) - street.half_width
    label = np.full(street.size, TERRAIN, np.uint8)
    label[away < np.where(side < 0, *street.pavements)] = PAVEMENT
    label[away < 0] = ROAD
    label[find_marks(street, side, depth, random) & (patches > random.choice([-9, -0.8]))] = LANE_MARK

    palette = np.zeros((len(CLASSES), 3), np.float32)
    palette[TERRAIN], palette[ROAD] = pick(GROUNDS, 0.8, 1.1, random), pick((GRAY,), 0.85, 1.15, random)
    palette[PAVEMENT] = pick((palette[ROAD],), 1.35, 1.7, random)
    palette[LANE_MARK] = pick(MARKS, 0.8, 1.1, random)
    colors = palette[label] * (1 + 1.5 * ROUGHNESS[label] * patches)[..., None]
    colors[(label == PAVEMENT) & ((away % 1 < 0.06) | (depth % 1 < 0.06)) & (depth < 25)] *= 0.65  # joints
    kerb = (label == PAVEMENT) & (away < np.maximum(0.2, 1.5 / scale))  # meters; pixels
    colors[kerb] = palette[ROAD] * random.uniform(1.8, 2.2)
    start = random.uniform(4, 60)  # meters; rubble or leaves along the edge: of no class
    litter = (depth > start) & (depth < start + 8) & (np.abs(away) < random.uniform(0.2, 1) + 0.1 * patches)
    colors[litter] = pick(WALLS, 0.4, 1.2, random) * (1 + 0.2 * patches[litter])[:, None]
    label[litter] = IGNORE
    return colors * find_light(things, side, depth, patches, random)[..., None], label


def find_marks(street: Street, side: Array, depth: Array, random: RandomState) -> Array:
    """Bool (H, W): solid and dashed lines between the lanes and a zebra crossing, each in some frames."""
    half = np.maximum(random.uniform(0.05, 0.09), 0.4 / street.place(depth)[1])  # meters; a pixel
    marks = np.zeros(side.shape, bool)
    dash, gap = random.uniform((2, 3), (5, 8))  # meters
    for line in street.lines[random.rand(len(street.lines)) < random.choice([0, 0.8, 1])]:
        solid = abs(line) == street.lines[-1] or random.rand() < 0.2
        marks |= (np.abs(side - line) < half) & (solid | (depth % (dash + gap) < dash))
    start = random.uniform(8, 100)
    marks |= (side % 1 < 0.5) & (np.abs(side) < street.lines[-1]) & (depth > start) & (depth < start + 3)
    return marks & (depth < FAR / 2)


def find_light(things: list[Thing], side: Array, depth: Array, patches: Array, random: RandomState) -> Array:
    """The fraction (H, W) of the light that soft-edged shadows leave; ragged ones under trees."""
    shift, along = random.uniform(-0.6, 0.6, 2)  # of a shadow's middle, in meters a meter of height
    sunshine = random.choice([0.05, 0.2, 0.4])
    light = np.ones(side.shape, np.float32)
    for thing in (one for one in things if one.depth < FAR / 2):
        height, shade = (0, 0.65) if thing.kind == CAR else (thing.height, sunshine)
        z = np.abs(depth - thing.depth - thing.length / 2 - along * height)
        z /= thing.length / 2 + abs(along) * height + 0.3
        near = np.flatnonzero(z < 1.5)
        x = np.abs(side[near] - thing.side - shift * height) / (thing.width / 2 + abs(shift) * height + 0.1)
        inside = 1.1 - np.maximum(x, z[near]) + (0.3 * patches[near] if thing.kind == TREE else 0)
        light[near] = np.minimum(light[near], 1 - shade * (inside * 4).clip(0, 1))
    return light


def draw_box(canvas: Canvas, thing: Thing, random: RandomState) -> None:
    """A building or a car: the face along the street towards the camera, then the face across the street."""
    if thing.kind == CAR:
        parts, colors = CAR_PARTS, pick(PAINTS, 0.7, 1.2, random) * [[0.2], [1], [1], [0.2]]
    else:
        columns, floors = random.randint(3, 7), int(thing.height / 2.5)
        x, y = (grid.reshape(-1, 1) for grid in np.meshgrid(np.arange(columns), np.arange(floors)))
        edges, sills = np.array([0.25, 0.75, 0.75, 0.25]), np.array([0.3, 0.75])
        parts = np.vstack([(0, 1, 1, 0, 0, 1), np.hstack([(x + edges) / columns, (y + sills) / floors])])
        colors = pick(WALLS, 0.6, 1.6, random) * np.vstack([1, np.full(x.shape, random.uniform(0.3, 0.7))])
    x, up = parts[:, :4], parts[:, [4, 4, 5, 5]] * thing.height
    flank = thing.side + thing.width / 2 * np.sign(canvas.street.place(thing.depth)[0] - thing.side)
    canvas.fill(thing.kind, colors * random.uniform(0.7, 0.9), flank, up, thing.depth + x * thing.length)
    canvas.fill(thing.kind, colors, thing.side + (x - 0.5) * thing.width, up, thing.depth)


def draw_tree(canvas: Canvas, thing: Thing, random: RandomState) -> None:
    """A trunk, then a crown of round patches, lighter above."""
    x, y = thing.height * np.array([[-0.03, 0.03, 0.03, -0.03], [0, 0, 0.6, 0.6]])
    canvas.fill(TREE, pick((GRAY,), 0.4, 0.7, random)[None], thing.side + x, y, thing.depth)
    x, y = random.uniform(-0.35, 0.35, (2, 10, 1))
    y.sort(axis=0)
    colors = pick(LEAVES, 0.5, 1.3, random) * (1 + 0.8 * y) * random.uniform(0.8, 1.2, (10, 1))
    angle, radius = np.linspace(0, 2 * np.pi, 10), random.uniform(0.15, 0.3, (10, 1))
    side = thing.side + thing.width * (x + radius * np.cos(angle))
    up = thing.height * (0.7 + 0.6 * (y + radius * np.sin(angle)))
    canvas.fill(TREE, colors, side, up, thing.depth)


def photograph(image: Image.Image, label: Array, random: RandomState) -> Array:
    """uint8 (H, W, 3): the painting with texture, in a light of some color, through a lens, with noise."""
    texture = smooth_noise(label.shape, 2, random) + smooth_noise(label.shape, 6, random)
    y, x = (np.linspace(-1, 1, extent, dtype=np.float32) for extent in label.shape)
    vignette = 1 - random.uniform(0, 0.2) * (x**2 + y[:, None] ** 2)
    light = ((1 + ROUGHNESS[label] * texture) * vignette)[..., None]
    exposure = pick((np.ones(3),), 0.85, 1.15, random).astype(np.float32) / 255
    blurred = np.asarray(image.filter(ImageFilter.GaussianBlur(random.uniform(0, 0.7))))
    signal = (blurred * light * exposure).clip(0, 1) ** np.float32(random.uniform(0.9, 1.1))
    noise = random.uniform(2, 8) * random.uniform(-1, 1, signal.shape)
    return (255 * signal + noise).clip(0, 255).astype(np.uint8)


def draw_scene(size: tuple[int, int], random: RandomState) -> tuple[Array, Array]:
    """Draws one frame of (height, width) pixels; all that differs from frame to frame comes from `random`.

    Returns:
        The image, uint8 RGB (H, W, 3), and the label, uint8 (H, W) of indices into CLASSES and IGNORE.
    """
    street = lay_street(size, random)
    things = place_things(street, random)
    colors = paint_sky(size, random)
    ground, values = paint_ground(street, things, random)
    horizon = min(int(street.rows[-1]), size[0] - 1)  # a very wide frame may see sky alone
    haze = colors[horizon].mean(axis=0)
    values[:horizon], colors[horizon:] = SKY, ground[horizon:]
    image, label = Image.fromarray(colors.clip(0, 255).astype(np.uint8)), Image.fromarray(values)
    canvas = Canvas(street, ImageDraw.Draw(image), ImageDraw.Draw(label), haze)
    for thing in things:
        (draw_tree if thing.kind == TREE else draw_box)(canvas, thing, random)
    if random.rand() < 0.3:  # the bonnet of the camera's own car
        x, y = size[1] * random.uniform(0.4, 0.7), size[0] * random.uniform(0.06, 0.14)
        box = (size[1] / 2 - x, size[0] - y, size[1] / 2 + x, size[0] + y)
        canvas.image.ellipse(box, tuple(pick(PAINTS, 0.7, 1.2, random).astype(int)))
        canvas.label.ellipse(box, IGNORE)
    return photograph(image, np.asarray(label), random), np.array(label)


def open_split(config: DataConfig, split: str) -> Dataset:
    """The frames of "train", "val" or "test": frame i is the same for ever, however many there are."""
    number = ("train", "val", "test").index(split)
    names = tuple(f"{split}_{index:06d}" for index in range(config.synthetic_frames[number]))

    def read(index: int) -> tuple[Array, Array]:
        # The streams of RandomState are frozen over NumPy's versions, those of Generator are not.
        return draw_scene(config.synthetic_size, RandomState([config.synthetic_seed, number, index]))

    return Dataset(split=split, classes=CLASSES, names=names, read=read)
