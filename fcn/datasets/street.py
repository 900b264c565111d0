"""A street and what stands on it, before anything is painted: where the synthetic data set's scenes come from.

Places are in meters: `side` to the right of the road's center line, `up` from the ground, `depth` ahead of the camera.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.random import RandomState
from numpy.typing import ArrayLike

from fcn.images import Array, SegmentationClass

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

CAMERA_HEIGHT = 1.65  # meters, as KITTI's
FOCAL_LENGTH = 0.58  # of the image's width, as KITTI's
FAR = 120.0  # meters; the ground ends where a lane is a few pixels wide
DEPTHS = np.geomspace(0.5, FAR, 200)  # where the ground's height is sampled


class Street(NamedTuple):
    """Camera, ground and road of one frame."""

    size: tuple[int, int]  # (height, width) in pixels
    rows: Array  # where the ground is seen at DEPTHS; never increasing, as a hill hides what is behind it
    bend: tuple[float, float, float]  # center line: offset in meters, heading, curvature in 1/meter
    lines: Array  # sides of the lanes' borders, left to right
    half_width: float  # of the road in meters: the lanes and the room beside them
    pavements: Array  # width in meters on the left and on the right, 0 where there is none

    def place(self, depth: ArrayLike) -> tuple[Array, Array]:
        """The side straight ahead of the camera at a depth, and the pixels a meter there."""
        depth, (offset, heading, curvature) = np.asarray(depth), self.bend
        return -(offset + heading * depth + curvature / 2 * depth**2), FOCAL_LENGTH * self.size[1] / depth


class Thing(NamedTuple):
    """What stands on the ground: its label and its box in meters, by the middle of its near face."""

    kind: int
    side: float
    depth: float
    width: float
    length: float
    height: float


def lay_street(size: tuple[int, int], random: RandomState) -> Street:
    """A bent street over a hill or through a dip, seen from one of its lanes."""
    height, width = size
    lift = random.uniform(-0.7, 0.7) * (1 - np.cos(2 * np.pi * DEPTHS / random.uniform(90, 250)))
    rows = height * random.uniform(0.4, 0.48) + FOCAL_LENGTH * width * (CAMERA_HEIGHT - lift) / DEPTHS
    lanes = random.choice([2, 2, 3, 4])
    lines = random.uniform(2.9, 3.8) * (np.arange(lanes + 1) - lanes / 2)
    offset = random.uniform(-0.4, 0.4) - lines[random.randint(lanes)] - lines[-1] / lanes
    bend = (offset, random.normal(0, 0.02), random.normal(0, 0.003))
    pavements = random.choice([0, 1, 1], 2) * random.uniform(1.2, 4, 2)
    return Street(size, np.minimum.accumulate(rows), bend, lines, lines[-1] + random.uniform(0.2, 1), pavements)


def place_things(street: Street, random: RandomState) -> list[Thing]:
    """A wood at the end, houses and trees beyond the pavements, cars in lanes and on kerbs; far to near."""
    built, green, traffic = random.uniform((0, 0.1, 0), (0.9, 0.9, 0.3))
    wood = street.place(FAR)[0] + np.arange(-120, 121, 15)  # as wide as the view at that depth
    things = [Thing(TREE, side, FAR, 24, 0, random.uniform(3, 12)) for side in wood]
    for sign, pavement in zip((-1, 1), street.pavements, strict=True):
        edge, setback = street.half_width + pavement, random.choice([0.5, 3, 8])
        for depth in np.arange(random.uniform(3, 14), FAR, 14):
            if random.rand() < built:
                width, length, height = random.uniform((8, 8, 4), (14, 14, 14))
                side = sign * (edge + setback + width / 2)
                things.append(Thing(BUILDING, side, depth, width, length, height))
            if random.rand() < green:
                side, height = sign * (edge + random.uniform(1.3, 8)), random.uniform(4, 10)
                things.append(Thing(TREE, side, depth + random.uniform(3, 12), height / 2, height / 2, height))
    kerb = street.half_width + 0.2
    for side in (-kerb, *(street.lines[1:] + street.lines[:-1]) / 2, kerb):
        for depth in np.arange(random.uniform(9, 25), FAR / 2, random.uniform(7, 30)):
            if random.rand() < traffic:
                things.append(Thing(CAR, side, depth, *random.uniform((1.6, 3.6, 1.4), (1.9, 4.8, 1.8))))
    return sorted(things, key=lambda thing: -thing.depth - thing.length)
