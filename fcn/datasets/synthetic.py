"""Synthetic road scenes in perspective with a label for every pixel, generated from a seed when they are read.

Classes share colors, and the light changes: color alone does not show where the road is. Places are in meters: `side`
to the right of the road's center line, `up` from the ground, `depth` from the camera.
"""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from fcn.config.settings import DataConfig
from fcn.datasets.dataset import Dataset
from fcn.images import IGNORE, Array, SegmentationClass

HUES = {  # class -> colors in the images: a thing has one of them, 0.75 to 1.25 times as bright
    SegmentationClass("sky", (70, 130, 180)): ((120, 160, 215), (150, 170, 200), (140, 140, 145)),
    SegmentationClass("building", (70, 70, 70)): ((95, 95, 95), (110, 110, 115), (130, 90, 70), (140, 125, 95)),
    SegmentationClass("tree", (107, 142, 35)): ((60, 90, 40), (90, 90, 40), (75, 80, 60)),
    SegmentationClass("terrain", (152, 251, 152)): ((70, 100, 40), (110, 95, 80), (95, 105, 60)),
    SegmentationClass("pavement", (244, 35, 232)): ((155, 155, 155), (165, 160, 150)),
    SegmentationClass("road", (128, 64, 128), road=True): ((105, 105, 105),),
    SegmentationClass("lane_mark", (255, 255, 255), road=True): ((220, 220, 215), (210, 190, 90)),
    SegmentationClass("car", (0, 0, 142)): (
        (105, 105, 105),
        (200, 200, 200),
        (40, 40, 45),
        (150, 30, 30),
        (40, 60, 130),
    ),
}
CLASSES = tuple(HUES)
SKY, BUILDING, TREE, TERRAIN, PAVEMENT, ROAD, LANE_MARK, CAR = range(len(CLASSES))
ROUGHNESS = np.array([0.01, 0.05, 0.2, 0.2, 0.1, 0.06, 0.05, 0.03] + [0.1] * 248)  # label -> spread of its brightness

CAMERA_HEIGHT = 1.65  # meters, as in KITTI
FOCAL_LENGTH = 1.9  # of the image's height, as in KITTI
FAR = 100.0  # meters; ground farther away is too small to label


class Scene:
    """One frame: a street seen by a camera, painted far to near into image and label at once."""

    def __init__(self, size: tuple[int, int], random: np.random.RandomState):
        self.height, self.width = size
        self.random = random
        self.focal = FOCAL_LENGTH * self.height  # pixels
        self.horizon = self.height * random.uniform(0.4, 0.48)
        lanes = random.choice([2, 2, 3, 4])
        self.lines = random.uniform(2.9, 3.8) * (np.arange(lanes + 1) - lanes / 2)  # sides of the lane borders
        self.lanes = (self.lines[:-1] + self.lines[1:]) / 2  # sides of the lane centers
        self.road_edge = self.lines[-1] + random.uniform(0.2, 1)
        self.pavement_edge = self.road_edge + random.choice([0, 1, 1]) * random.uniform(1.2, 4)
        self.offset = random.uniform(-0.4, 0.4) - random.choice(self.lanes)
        self.curvature = random.normal(0, 0.003)  # 1 / meter
        self.paint_background()
        self.draw_things()

    def center_line(self, depth: Array | float) -> Array:
        """Meters from straight ahead of the camera to the road's center line, to the right."""
        return self.offset + self.curvature / 2 * np.square(depth)

    def color(self, kind: int) -> Array:
        """A color for one thing of a class: float RGB, 0 to 255."""
        hues = HUES[CLASSES[kind]]
        hue = np.array(hues[self.random.randint(len(hues))])
        return hue * self.random.uniform(0.75, 1.25) * self.random.uniform(0.95, 1.05, 3)

    def noise(self, cell: int) -> Array:
        """(H, W), roughly standard normal: a random value every `cell` pixels, bicubic in between."""
        values = self.random.standard_normal((self.height // cell + 2, self.width // cell + 2)).astype(np.float32)
        return np.asarray(Image.fromarray(values).resize((self.width, self.height), Image.Resampling.BICUBIC))

    def paint_background(self) -> None:
        """Sky, woods on the horizon, and the ground, where a pixel's label follows from the place that it shows."""
        row, column = np.mgrid[: self.height, : self.width] + 0.5
        depth = CAMERA_HEIGHT * self.focal / np.maximum(row - self.horizon, 0.01)
        side = (column - self.width / 2) * depth / self.focal - self.center_line(depth)
        label = np.full(row.shape, TERRAIN, np.uint8)
        label[np.abs(side) < self.pavement_edge] = PAVEMENT
        label[np.abs(side) < self.road_edge] = ROAD
        half_line = np.maximum(0.07, 0.4 * depth / self.focal)  # meters; a line has at least 0.8 pixels
        for line in self.lines[self.random.rand(len(self.lines)) < self.random.choice([0, 0.8, 1])]:
            dash = (depth % 9 < 3) | (abs(line) == self.lines[-1])  # the outer lines are solid
            label[(np.abs(side - line) < half_line) & dash] = LANE_MARK
        label[row < self.horizon] = TREE
        label[row < self.horizon - self.height * (0.05 + 0.02 * self.noise(6))] = SKY
        colors = np.array([self.color(kind) for kind in range(len(CLASSES))])[label]
        label[(row > self.horizon) & (depth > FAR)] = IGNORE
        self.image = Image.fromarray(colors.clip(0, 255).astype(np.uint8))
        self.label = Image.fromarray(label)

    def draw_things(self) -> None:
        """Buildings and trees beyond the pavements, cars in the lanes and along the curbs."""
        random = self.random
        built, green, traffic = random.uniform((0, 0.1, 0), (0.9, 0.9, 0.4))  # probabilities
        for depth in np.arange(random.uniform(3, 14), FAR, 14)[::-1]:  # far to near
            for sign in (-1, 1):
                if random.rand() < built:
                    self.draw_building(sign * (self.pavement_edge + 8), depth)
                if random.rand() < green:
                    self.draw_tree(sign * (self.pavement_edge + random.uniform(1, 8)), depth + random.uniform(1, 10))
            for side in (-self.road_edge, *self.lanes, self.road_edge):
                if random.rand() < traffic:
                    self.draw_car(side, depth + random.uniform(5, 9))

    def draw_building(self, side: float, depth: float) -> None:
        """Walls with rows of windows."""
        width, length, height = self.random.uniform((8, 8, 4), (14, 14, 14))
        box = (side, depth, width, length, height)
        color = self.color(BUILDING)
        self.draw_box(BUILDING, color, box)
        for low in np.arange(0.8, height - 1.5, 2.5) / height:
            for start in np.arange(0.05, 0.9, 0.2):
                self.draw_box(BUILDING, color / 2, box, part=(low, low + 1.3 / height, start, start + 0.1))

    def draw_car(self, side: float, depth: float) -> None:
        """Wheels, body and windows."""
        box = (side, depth, *self.random.uniform((1.6, 3.6, 1.4), (1.9, 4.8, 1.8)))
        color = self.color(CAR)
        self.draw_box(CAR, color / 5, box)
        self.draw_box(CAR, color, box, part=(0.2, 1, 0, 1))
        self.draw_box(CAR, color / 4, box, part=(0.6, 0.9, 0.1, 0.9))

    def draw_tree(self, side: float, depth: float) -> None:
        """A trunk and a crown."""
        height = self.random.uniform(4, 10)
        color = self.color(TREE)
        self.draw_box(TREE, color / 2, (side, depth, 0.06 * height, 0, 0.6 * height))
        angle = np.linspace(0, 2 * np.pi, 12, endpoint=False)
        radius = height * self.random.uniform(0.2, 0.3, 12)
        self.fill(TREE, color, side + radius * np.cos(angle), 0.7 * height + radius * np.sin(angle), depth)

    def draw_box(self, kind: int, color: Array, box: tuple[float, ...], part: tuple[float, ...] = (0, 1, 0, 1)) -> None:
        """Fills the near face and the visible flank of a box, or the same part of both, in fractions of the size."""
        side, depth, width, length, height = box
        bottom, top, start, end = part
        up = height * np.array([bottom, bottom, top, top])
        along = np.array([start, end, end, start])
        flank = np.clip(-self.center_line(depth), side - width / 2, side + width / 2)
        self.fill(kind, 0.75 * color, flank, up, depth + along * length)
        self.fill(kind, color, side + (along - 0.5) * width, up, depth)

    def fill(self, kind: int, color: Array, side: Array, up: Array, depth: Array | float) -> None:
        """Fills a polygon in image and label; one side or depth may stand for all corners."""
        scale = self.focal / depth
        x = self.width / 2 + scale * (side + self.center_line(depth))
        y = self.horizon + scale * (CAMERA_HEIGHT - up)
        corners = np.stack([x, y], axis=1).ravel().tolist()
        ImageDraw.Draw(self.image).polygon(corners, tuple(color.clip(0, 255).astype(int)))
        ImageDraw.Draw(self.label).polygon(corners, kind)

    def photograph(self) -> Array:
        """uint8 (H, W, 3): the image with texture, in a light of some color, a little blurred, with noise."""
        texture = 1 + ROUGHNESS[np.asarray(self.label)] * (self.noise(2) + self.noise(6))
        light = self.random.uniform(0.65, 1.35) * self.random.uniform(0.95, 1.05, 3)
        blurred = np.asarray(self.image.filter(ImageFilter.GaussianBlur(self.random.uniform(0, 0.7))))
        noise = self.random.uniform(2, 8) * self.random.uniform(-1, 1, blurred.shape)
        return (blurred * texture[..., None] * light + noise).clip(0, 255).astype(np.uint8)


def open_split(config: DataConfig, split: str) -> Dataset:
    """The frames of "train", "val" or "test"; frame i is always the same, however many there are."""
    number = ("train", "val", "test").index(split)
    names = tuple(f"{split}_{index:06d}" for index in range(config.synthetic_frames[number]))

    def read(index: int) -> tuple[Array, Array]:
        # NumPy never changes the streams of RandomState, but may change those of Generator.
        scene = Scene(config.synthetic_size, np.random.RandomState([0, number, index]))
        return scene.photograph(), np.array(scene.label)

    return Dataset(split=split, classes=CLASSES, names=names, read=read)
