"""Every setting of a data set: its kind, its folder, the meaning of its masks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from fcn.config.class_lists import class_problems
from fcn.config.fields import MAY_CHANGE, Section, above, at_least, below

BYTE = at_least(0), below(256)


@dataclass(frozen=True, kw_only=True)
class DataConfig(Section):
    """The frames for training and evaluation."""

    key: ClassVar[str] = "data"

    kind: Literal["synthetic", "camvid", "kitti_road", "folder"] = "synthetic"
    """The data set: `synthetic` (generated, nothing to download), `camvid` (the SegNet tree under `data.root`),
    `kitti_road` (the official tree) or `folder` (your own images and masks)."""

    root: Annotated[str | None, MAY_CHANGE] = None
    """Folder of the data set, absolute or relative to the current folder; not used by `synthetic`."""

    labels: Literal["all", "road"] = "road"
    """`all`: every class of the data set; `road`: two classes, background and road."""

    split_lists: str | None = None
    """Folder with train.txt, val.txt and test.txt, one frame name per line; null: the data set's own split."""

    held_out: str | None = None
    """Frames of train and val whose names begin with this become val, the others train: a whole drive, 0001TP, 0006R0
    or 0016E5; only for `camvid`."""

    kitti_truth: Literal["road", "um_lane"] = "road"
    """Ground truth: `road` in all frames, or `um_lane`, the ego lane, in those of um; only for `kitti_road`."""

    images: str = "images"
    """Folder of the images in `data.root`; this and all fields down to `split_seed` are only for `folder`."""

    masks: str = "masks"
    """Folder of the masks in `data.root`; the mask of the image NAME.jpg is mask_prefix + NAME + mask_suffix + .png."""

    mask_prefix: str = ""
    """Text before the image's name in the name of its mask, such as mask_."""

    mask_suffix: str = ""
    """Text between the image's name and .png in the name of its mask, such as _mask."""

    class_names: tuple[str, ...] = ()
    """The classes, such as [background, road]; their order is that of the network's channels."""

    class_colors: Annotated[tuple[tuple[int, int, int], ...] | None, *BYTE] = None
    """(red, green, blue) of each class in pictures and in masks of colors; null: the PASCAL VOC palette."""

    road_classes: tuple[str, ...] = ("road",)
    """Names of the classes that are road where data.labels is `road`; upper or lower case does not matter."""

    mask_kind: Literal["index", "color"] = "index"
    """`index`: gray or palette PNG of class values; `color`: RGB PNG of the class colors."""

    mask_values: Annotated[tuple[int, ...] | None, *BYTE] = None
    """Value of each class in a mask of indices, such as [0, 255]; null: 0, 1, 2 and so on."""

    ignore_values: Annotated[tuple[int, ...], *BYTE] = ()
    """Values of a mask of indices that neither loss nor scores count."""

    ignore_colors: Annotated[tuple[tuple[int, int, int], ...], *BYTE] = ()
    """Colors of a mask of colors that neither loss nor scores count."""

    validation_share: Annotated[float, above(0.0), below(1.0)] = 0.2
    """Share of val, in whole tenths of neighbors by name; used if neither folders nor lists split the frames."""

    split_seed: Annotated[int, at_least(0)] = 0
    """Seed of the tenths that go to val."""

    synthetic_frames: Annotated[tuple[int, int, int], at_least(1)] = (160, 24, 24)
    """Number of generated frames in train, val and test; only for `synthetic`."""

    synthetic_size: Annotated[tuple[int, int], at_least(32)] = (96, 320)
    """(height, width) in pixels of the generated frames; only for `synthetic`."""

    synthetic_seed: Annotated[int, at_least(0)] = 0
    """Seed of the generated frames: another seed, other roads; only for `synthetic`."""

    cache_megabytes: Annotated[int, at_least(0), MAY_CHANGE] = 2048
    """Decoded frames of a split are kept in memory up to this many megabytes; 0 decodes each frame every time."""

    max_megapixels: Annotated[int, at_least(1), MAY_CHANGE] = 128
    """Images of more than this many million pixels are refused, also by inference; decoding takes 10 bytes a pixel."""

    def conflicts(self) -> dict[str, str]:
        """A data set on disk needs its folder, `folder` its classes."""
        problems = class_problems(self) if self.kind == "folder" else {}
        if self.held_out is not None and self.kind != "camvid":
            problems["held_out"] = f"is not used where data.kind is {self.kind}; leave it out"
        if self.kind != "synthetic" and self.root is None:
            problems["root"] = f"is not set; `{self.kind}` is read from a folder: set data.root to it"
        return problems
