"""Seeded road scenes as a car's camera sees them, drawn when they are read, with a label for every pixel.

The ground is a street in perspective; what stands on it is painted far to near, the same polygons in image
and label. Colours change from frame to frame and classes share them (asphalt, pavement, walls, cars, clouds
are of the same greys): they alone do not tell where the road is. Places are in metres: `side` to the right
of the road's centre line, `up` from the ground, `depth` ahead of the camera. Colours are float RGB, 0 to 255.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.random import RandomState
from numpy.typing import ArrayLike
from PIL import Image, ImageDraw, ImageFilter

from fcn.config import DataConfig
from fcn.datasets.dataset import Dataset
from fcn.images import IGNORE, Array, SegmentationClass

CLASSES = (
    SegmentationClass("sky", (70, 130, 180)),
    SegmentationClass("building", (70, 70, 70)),
    SegmentationClass("tree", (107, 142, 35)),
    SegmentationClass("terrain", (152, 251, 152)),
    SegmentationClass("pavement", (244, 35, 232)),
    SegmentationClass("road", (128, 64, 128), road=True),
    SegmentationClass("lane_mark", (255, 255, 255), road=True),
    SegmentationClass("car", (0, 0, 142)),
)
SKY, BUILDING, TREE, TERRAIN, PAVEMENT, ROAD, LANE_MARK, CAR = range(len(CLASSES))
ROUGHNESS = np.full(256, 0.05, np.float32)  # of a label: relative spread of its brightness
ROUGHNESS[: len(CLASSES)] = 0.01, 0.04, 0.2, 0.13, 0.05, 0.03, 0.03, 0.03

CAMERA_HEIGHT = 1.65  # metres, as KITTI's
FOCAL_LENGTH = 0.58  # of the image's width, as KITTI's
FAR = 120.0  # metres; the ground ends where a lane is a few pixels wide
HAZE = 250.0  # metres of air that leave 1/e of a colour
DEPTHS = np.geomspace(0.5, FAR, 200)  # where the ground's height is sampled

GREY = np.array([105, 105, 105])
WALLS = (GREY, (130, 90, 70), (140, 125, 95))
PAINTS = (GREY, GREY, (200, 200, 200), (40, 40, 45), (150, 30, 30), (40, 60, 130))
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


class Street(NamedTuple):
    """Camera, ground and road of one frame."""

    size: tuple[int, int]  # (height, width) in pixels
    rows: Array  # where the ground is seen at DEPTHS; never increasing, as a hill hides what is behind it
    bend: tuple[float, float, float]  # centre line: offset in metres, heading, curvature in 1/metre
    lines: Array  # sides of the lanes' borders, left to right
    half_width: float  # of the road in metres: the lanes and the room beside them
    pavements: Array  # width in metres on the left and on the right, 0 where there is none

    def place(self, depth: ArrayLike) -> tuple[Array, Array]:
        """The side straight ahead of the camera at a depth, and the pixels a metre there."""
        depth, (offset, heading, curvature) = np.asarray(depth), self.bend
        return -(offset + heading * depth + curvature / 2 * depth**2), FOCAL_LENGTH * self.size[1] / depth


class Thing(NamedTuple):
    """What stands on the ground: its label and its box in metres, by the middle of its near face."""

    kind: int
    side: float
    depth: float
    width: float
    length: float
    height: float


class Canvas(NamedTuple):
    """Image and label of a street, painted together."""

    street: Street
    image: ImageDraw.ImageDraw
    label: ImageDraw.ImageDraw
    haze: Array  # the colour that far things fade to

    def fill(self, kind: int, colours: Array, side: ArrayLike, up: ArrayLike, depth: ArrayLike) -> None:
        """Fills n polygons in the colours (n, 3), seen through haze; places broadcast to (n, corners)."""
        side, up, depth = np.broadcast_arrays(*np.atleast_2d(side, up, depth))
        ahead, scale = self.street.place(depth)
        x = self.street.size[1] / 2 + scale * (side - ahead)
        y = np.interp(depth, DEPTHS, self.street.rows) - scale * up
        clarity = np.exp(-depth.min() / HAZE)
        hues = (colours * clarity + self.haze * (1 - clarity)).clip(0, 255).astype(int).tolist()
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


def lay_street(size: tuple[int, int], random: RandomState) -> Street:
    """A bent street over a hill or through a dip, seen from one of its lanes."""
    height, width = size
    lift = random.uniform(-1, 1) * (1 - np.cos(2 * np.pi * DEPTHS / random.uniform(90, 250)))
    rows = height * random.uniform(0.36, 0.5) + FOCAL_LENGTH * width * (CAMERA_HEIGHT - lift) / DEPTHS
    lanes = random.choice([2, 2, 3, 4])
    lines = random.uniform(2.9, 3.8) * (np.arange(lanes + 1) - lanes / 2)
    offset = random.uniform(-0.4, 0.4) - lines[random.randint(lanes)] - lines[-1] / lanes
    bend = (offset, random.normal(0, 0.03), random.normal(0, 0.006))
    pavements = random.choice([0, 1, 1], 2) * random.uniform(1.2, 4, 2)
    half_width = lines[-1] + random.uniform(0.3, 2)
    return Street(size, np.minimum.accumulate(rows), bend, lines, half_width, pavements)


def place_things(street: Street, random: RandomState) -> list[Thing]:
    """A wood at the end, houses and trees beyond the pavements, cars in lanes and on kerbs; far to near."""
    built, green, traffic = random.uniform((0, 0.1, 0), (0.9, 0.9, 0.6))
    sides = street.place(FAR)[0] + np.arange(-120, 121, 15)
    things = [Thing(TREE, side, FAR, 24, 0, random.uniform(3, 12)) for side in sides]
    for sign, pavement in zip((-1, 1), street.pavements, strict=True):
        edge, setback = street.half_width + pavement, random.choice([0.5, 3, 8])
        for depth in np.arange(random.uniform(3, 14), FAR, 14):
            if random.rand() < built:
                width, length, height = random.uniform((8, 8, 4), (14, 14, 14))
                side = sign * (edge + setback + width / 2)
                things.append(Thing(BUILDING, side, depth, width, length, height))
            if random.rand() < green:
                side, height = sign * (edge + random.uniform(1.3, 8)), random.uniform(4, 10)
                nearest = depth + random.uniform(3, 12)
                things.append(Thing(TREE, side, nearest, height / 2, height / 2, height))
    kerb = street.half_width + 0.2
    for side in (-kerb, *(street.lines[1:] + street.lines[:-1]) / 2, kerb):
        for depth in np.arange(random.uniform(9, 25), FAR / 2, random.uniform(7, 30)):
            if random.rand() < traffic:
                things.append(Thing(CAR, side, depth, *random.uniform((1.6, 3.6, 1.4), (1.9, 4.8, 1.8))))
    return sorted(things, key=lambda thing: -thing.depth - thing.length)


def paint_sky(size: tuple[int, int], random: RandomState) -> Array:
    """Colours (H, W, 3): clear, cloudy or overcast, with the haze at the bottom."""
    cloud = pick((GREY,), 1.3, 2.3, random)
    clear = cloud * ((0.5, 0.75, 1.1), (0.6, 0.8, 1.1), (0.85, 0.85, 0.85))[random.randint(3)]
    noise = smooth_noise(size, size[0] // 5, random) + smooth_noise(size, size[0] // 12, random) / 2
    cover = (noise + random.uniform(-1.5, 1.5)).clip(0, 1)
    clarity = np.linspace(1, -0.6, size[0])[:, None].clip(0, 1) * (1 - cover)
    return cloud + clarity[..., None] * (clear - cloud)


def paint_ground(street: Street, things: list[Thing], random: RandomState) -> tuple[Array, Array]:
    """Colours (H, W, 3) and label uint8 (H, W) of terrain, pavement, road, marks, were nothing on them."""
    height, width = street.size
    depth = np.interp(np.arange(height) + 0.5, street.rows[::-1], DEPTHS[::-1])[:, None]
    ahead, scale = street.place(depth)
    side = ahead + (np.arange(width) + 0.5 - width / 2) / scale
    tile = smooth_noise((256, 256), 8, random) + smooth_noise((256, 256), 2, random)
    patches = tile[(depth * 8).astype(int) % 256, (side * 8).astype(int) % 256]  # repeated every 32 metres

    away = np.abs(side) - street.half_width
    label = np.full(street.size, TERRAIN, np.uint8)
    label[away < np.where(side < 0, *street.pavements)] = PAVEMENT
    label[away < 0] = ROAD
    label[find_marks(street, side, depth, random) & (patches > random.choice([-9, -0.8]))] = LANE_MARK

    palette = np.zeros((len(CLASSES), 3))
    palette[TERRAIN], palette[ROAD] = pick(GROUNDS, 0.8, 1.2, random), pick((GREY,), 0.85, 1.15, random)
    palette[PAVEMENT] = pick((palette[ROAD],), 0.95, 1.05, random) * random.choice([0.7, 1.3, 1.5])
    palette[LANE_MARK] = pick(MARKS, 0.8, 1.1, random)
    colours = palette[label] * (1 + 1.5 * ROUGHNESS[label] * patches)[..., None]
    colours[(label == PAVEMENT) & ((away % 1 < 0.06) | (depth % 1 < 0.06)) & (depth < 25)] *= 0.8  # joints
    kerb = (label == PAVEMENT) & (away < np.maximum(0.18, 1 / scale))
    colours[kerb] = palette[PAVEMENT] * random.choice([0.6, 1.3])
    start = random.uniform(4, 60)  # rubble or leaves along the edge: of no class
    litter = (depth > start) & (depth < start + 8) & (patches > -0.4)
    litter &= np.abs(away) < random.uniform(0.2, 1.5)
    colours[litter] = pick(WALLS, 0.4, 1.2, random) * (1 + 0.2 * patches[litter])[:, None]
    label[litter] = IGNORE
    return colours * find_light(things, side, depth, patches, random)[..., None], label


def find_marks(street: Street, side: Array, depth: Array, random: RandomState) -> Array:
    """Bool (H, W): solid and dashed lines between the lanes and a zebra crossing, each in some frames."""
    half = np.maximum(random.uniform(0.05, 0.09), 0.4 / street.place(depth)[1])  # metres; a pixel
    marks = np.zeros(side.shape, bool)
    dash, gap = random.uniform((2, 3), (5, 8))
    for line in street.lines[random.rand(len(street.lines)) < random.choice([0, 0.8, 1])]:
        solid = abs(line) == street.lines[-1] or random.rand() < 0.2
        marks |= (np.abs(side - line) < half) & (solid | (depth % (dash + gap) < dash))
    start = random.uniform(8, 100)
    marks |= (side % 1 < 0.5) & (np.abs(side) < street.lines[-1]) & (depth > start) & (depth < start + 3)
    return marks & (depth < FAR / 2)


def find_light(things: list[Thing], side: Array, depth: Array, patches: Array, random: RandomState) -> Array:
    """The fraction (H, W) of the light that soft-edged shadows leave; ragged ones under trees."""
    shift, along = random.uniform(-0.6, 0.6, 2)  # of a shadow's middle, in metres a metre of height
    sunshine = random.choice([0.05, 0.35, 0.55])
    light = np.ones(side.shape)
    for thing in things:
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
        parts, colours = CAR_PARTS, pick(PAINTS, 0.7, 1.2, random) * [[0.2], [1], [1], [0.2]]
    else:
        columns, floors = random.randint(3, 7), int(thing.height / 2.5)
        x, y = (grid.reshape(-1, 1) for grid in np.meshgrid(np.arange(columns), np.arange(floors)))
        edges, sills = np.array([0.25, 0.75, 0.75, 0.25]), np.array([0.3, 0.75])
        parts = np.vstack([(0, 1, 1, 0, 0, 1), np.hstack([(x + edges) / columns, (y + sills) / floors])])
        colours = pick(WALLS, 0.6, 1.6, random) * np.vstack([1, np.full(x.shape, random.uniform(0.3, 0.7))])
    x, up = parts[:, :4], parts[:, [4, 4, 5, 5]] * thing.height
    flank = thing.side + thing.width / 2 * np.sign(canvas.street.place(thing.depth)[0] - thing.side)
    canvas.fill(thing.kind, colours * random.uniform(0.7, 0.9), flank, up, thing.depth + x * thing.length)
    canvas.fill(thing.kind, colours, thing.side + (x - 0.5) * thing.width, up, thing.depth)


def draw_tree(canvas: Canvas, thing: Thing, random: RandomState) -> None:
    """A trunk, then a crown of round patches, lighter above."""
    x, y = thing.height * np.array([[-0.03, 0.03, 0.03, -0.03], [0, 0, 0.6, 0.6]])
    canvas.fill(TREE, pick((GREY,), 0.4, 0.7, random)[None], thing.side + x, y, thing.depth)
    x, y = random.uniform(-0.35, 0.35, (2, 12, 1))
    y.sort(axis=0)
    colours = pick(LEAVES, 0.5, 1.3, random) * (1 + 0.8 * y) * random.uniform(0.8, 1.2, (12, 1))
    angle, radius = np.linspace(0, 2 * np.pi, 12), random.uniform(0.15, 0.3, (12, 1))
    side = thing.side + thing.width * (x + radius * np.cos(angle))
    up = thing.height * (0.7 + 0.6 * (y + radius * np.sin(angle)))
    canvas.fill(TREE, colours, side, up, thing.depth)


def photograph(image: Image.Image, label: Array, random: RandomState) -> Array:
    """uint8 (H, W, 3): the painting with texture, in a light of some colour, through a lens, with noise."""
    texture = smooth_noise(label.shape, 2, random) + smooth_noise(label.shape, 6, random)
    y, x = (np.linspace(-1, 1, extent, dtype=np.float32) for extent in label.shape)
    vignette = 1 - random.uniform(0, 0.2) * (x**2 + y[:, None] ** 2)
    light = ((1 + ROUGHNESS[label] * texture) * vignette)[..., None] * pick((np.ones(3),), 0.85, 1.15, random)
    blurred = np.asarray(image.filter(ImageFilter.GaussianBlur(random.uniform(0, 0.7))))
    signal = (light * blurred / 255).clip(0, 1).astype(np.float32) ** np.float32(random.uniform(0.9, 1.1))
    noise = random.uniform(1, 5) * random.standard_normal(signal.shape)
    return (255 * signal + noise).clip(0, 255).astype(np.uint8)


def draw_scene(size: tuple[int, int], random: RandomState) -> tuple[Array, Array]:
    """Draws one frame of (height, width) pixels; all that differs from frame to frame comes from `random`.

    Returns:
        The image, uint8 RGB (H, W, 3), and the label, uint8 (H, W) of indices into CLASSES and IGNORE.
    """
    street = lay_street(size, random)
    things = place_things(street, random)
    colours = paint_sky(size, random)
    ground, values = paint_ground(street, things, random)
    horizon = int(street.rows[-1])
    haze = colours[horizon].mean(axis=0)
    values[:horizon], colours[horizon:] = SKY, ground[horizon:]
    image, label = Image.fromarray(colours.clip(0, 255).astype(np.uint8)), Image.fromarray(values)
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

    def read(index: int) -> tuple[Array, Array]:
        # The streams of RandomState are frozen over NumPy's versions, those of Generator are not.
        return draw_scene(config.synthetic_size, RandomState([config.synthetic_seed, number, index]))

    names = tuple(f"{split}_{index:06d}" for index in range(config.synthetic_frames[number]))
    return Dataset(split=split, classes=CLASSES, names=names, read=read)
