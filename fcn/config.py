"""Every setting of fcn: name, default, meaning, unit, legal values. Sizes are (height, width) in pixels.

The text under a field is its documentation, shown by `--print-config`. Rules stand in the field's type:
`Annotated[int, at_least(1)]`. Types and rules are checked wherever a section is made, from a file or in Python.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from typing import Annotated, ClassVar, Literal

from fcn.classlist import class_problems
from fcn.section import Rule, Section, above, at_least, below

ODD_WINDOW = Rule(
    lambda value: value in (1, 3, 5, 7),
    "must be 1, 3, 5 or 7; an even one shifts the map by half a cell",
)
BYTE = at_least(0), below(256)
ORDERED = Rule(lambda value: value[0] <= value[1], "must be [lowest, highest]; swap the two numbers")


@dataclass(frozen=True, kw_only=True)
class DataConfig(Section):
    """Which frames are learned from and scored."""

    key: ClassVar[str] = "data"

    kind: Literal["synthetic", "camvid", "kitti_road", "folder"] = "synthetic"
    """The data set: `synthetic` (drawn, nothing to download), `camvid` (the SegNet tree under `data.root`),
    `kitti_road` (the official tree) or `folder` (one's own images and masks)."""

    root: str | None = None
    """Folder of the data set, absolute or relative to the current folder; not used by `synthetic`."""

    view: Literal["full", "road"] = "road"
    """`full`: every class of the data set; `road`: two classes, background and road."""

    split_lists: str | None = None
    """Folder with train.txt, val.txt and test.txt, a frame's name a line; null: the data set's own split."""

    kitti_truth: Literal["road", "um_lane"] = "road"
    """What is looked for: `road` in all frames, or `um_lane`, the own lane, in those of um; only for `kitti_road`."""

    images: str = "images"
    """Folder of the images in `data.root`; this and all down to `split_seed` only for `folder`."""

    masks: str = "masks"
    """Folder of the masks in `data.root`: a PNG with the image's name and size for each image."""

    class_names: tuple[str, ...] = ()
    """The classes, such as [background, road]; their order is that of the network's channels."""

    class_colours: Annotated[tuple[tuple[int, int, int], ...] | None, *BYTE] = None
    """(red, green, blue) of each class in pictures, and in masks of colours; null: different ones."""

    road_classes: tuple[str, ...] = ("road",)
    """Names of the classes that the view `road` counts as road."""

    mask_kind: Literal["index", "colour"] = "index"
    """`index`: grey or palette PNG, a value stands for a class; `colour`: RGB PNG of the class colours."""

    mask_values: Annotated[tuple[int, ...] | None, *BYTE] = None
    """Value of each class in a mask of indices, such as [0, 255]; null: 0, 1, 2 and so on."""

    ignore_values: Annotated[tuple[int, ...], *BYTE] = ()
    """Values of a mask of indices that are not learned and not scored."""

    ignore_colours: Annotated[tuple[tuple[int, int, int], ...], *BYTE] = ()
    """Colours of a mask of colours that are not learned and not scored."""

    validation_share: Annotated[float, above(0.0), below(1.0)] = 0.2
    """Share of val, in whole tenths of neighbours by name; where neither folders nor lists split the frames."""

    split_seed: Annotated[int, at_least(0)] = 0
    """Seed of the tenths that go to val."""

    synthetic_frames: Annotated[tuple[int, int, int], at_least(1)] = (160, 24, 24)
    """Number of drawn frames in train, val and test; only for `synthetic`."""

    synthetic_size: Annotated[tuple[int, int], at_least(32)] = (96, 320)
    """(height, width) in pixels of the drawn frames; only for `synthetic`."""

    synthetic_seed: Annotated[int, at_least(0)] = 0
    """Seed of the drawn frames: another seed, other roads; only for `synthetic`."""

    cache_megabytes: Annotated[int, at_least(0)] = 2048
    """Decoded frames of a split are kept in memory up to this many megabytes; 0 decodes each frame every time."""

    max_megapixels: Annotated[int, at_least(1)] = 128
    """Images of more than this many million pixels are refused, also by inference; decoding takes 10 bytes a pixel."""

    def conflicts(self) -> dict[str, str]:
        """A data set on disk needs its folder, one's own its classes."""
        problems = class_problems(self) if self.kind == "folder" else {}
        if self.kind != "synthetic" and self.root is None:
            problems["root"] = f"is not set; `{self.kind}` is read from a folder: set data.root to it"
        return {f"{self.key}.{name}": text for name, text in problems.items()}


@dataclass(frozen=True, kw_only=True)
class AugmentConfig(Section):
    """How a training frame is varied. Drawn anew for each frame of each step from `train.seed`."""

    key: ClassVar[str] = "augment"

    crop_size: Annotated[tuple[int, int], at_least(1), below(2**15)] = (96, 320)
    """(height, width) in pixels of what the network is trained on; smaller frames are padded with ignored pixels."""

    scale: Annotated[tuple[float, float], above(0.0), ORDERED] = (0.75, 1.5)
    """The frame is resized by a factor drawn uniformly from [lowest, highest] before the crop; [1, 1] is off."""

    flip: bool = True
    """Half of the frames are mirrored left to right."""


@dataclass(frozen=True, kw_only=True)
class ModelConfig(Section):
    """The network: a VGG-style classifier made fully convolutional, and its decoder."""

    key: ClassVar[str] = "model"

    encoder: Literal["vgg11", "vgg13", "vgg16", "vgg19"] = "vgg16"
    """Convolutions in the five blocks, by the names of Simonyan and Zisserman 2015, table 1 (A, B, D, E)."""

    width: Annotated[float, above(0.0), below(3.0)] = 0.25
    """Factor on the published numbers of channels (64 to 512)."""

    batch_norm: bool = True
    """Batch normalisation after every convolution of the encoder and the head; not in the published VGG."""

    head_window: Annotated[int, ODD_WINDOW] = 3
    """Window of fc6 in cells of the last map: 1 is the 1x1 convolution, 7 is VGG16 at 224x224 pixels."""

    head_units: Annotated[int, at_least(1), below(2**14)] = 256
    """Units of the dense layers fc6 and fc7, 4096 as published; not scaled by `model.width`."""

    dropout: Annotated[float, at_least(0.0), below(1.0)] = 0.2
    """Share of the units that is dropped after fc6 and fc7 in training, 0.5 as published; 0 is off."""

    stride: Literal[32, 16, 8, 4, 2] = 8
    """Pixels a cell of the finest scores: 32, 16, 8 are FCN-32s, -16s, -8s; 4 and 2 continue with more skips."""

    learn_last_upsampling: bool = False
    """False: the last upsampling stays bilinear, as published; True: it is learned from there like the inner ones."""

    def conflicts(self) -> dict[str, str]:
        """Nothing is larger than the published fc6: a stranger's config is not to take all memory."""
        if self.head_window**2 * self.width * self.head_units > 7**2 * 1.0 * 4096:
            text = (
                "makes fc6 larger than the published one (window 7, 4096 units, width 1); lower it or model.head_window"
            )
            return {f"{self.key}.head_units": text}
        return {}


@dataclass(frozen=True, kw_only=True)
class TrainConfig(Section):
    """The recipe of a run."""

    key: ClassVar[str] = "train"

    steps: Annotated[int, at_least(1), below(2**31)] = 300
    """Training steps; the schedule is stretched over them. The last step is always evaluated and saved."""

    batch_size: Annotated[int, at_least(1), below(2**16)] = 4
    """Frames a step."""

    learning_rate: Annotated[float, above(0.0)] = 2e-3
    """Highest learning rate of AdamW (Loshchilov and Hutter 2019), reached after the warm-up."""

    warmup: Annotated[float, at_least(0.0), below(1.0)] = 0.05
    """Share of the steps in which the learning rate rises linearly."""

    decay_power: Annotated[float, at_least(0.0)] = 0.9
    """After the warm-up the rate falls as (1 - progress) ** decay_power (the poly schedule of DeepLab); 0 keeps it."""

    weight_decay: Annotated[float, at_least(0.0)] = 0.05
    """Decoupled decay of kernels; biases and normalisation are exempt. Each step takes rate x decay of a kernel."""

    clip_norm: Annotated[float, above(0.0)] = 5.0
    """Gradients are scaled down to this global norm where theirs is larger."""

    seed: Annotated[int, at_least(0), below(2**31)] = 0
    """Seed of the initial weights, the order of the frames, the augmentation and dropout."""

    deterministic: bool = True
    """Only ops whose result is the same in each run on the same machine; False may be faster on a GPU."""

    intra_op_threads: Annotated[int | None, at_least(1), below(2**10)] = None
    """Threads that share the work of one op; null: the cores that the process may use. The last bits depend on it."""

    inter_op_threads: Annotated[int | None, at_least(1), below(2**10)] = None
    """Threads that run ops beside each other; null: the cores that the process may use."""

    log_steps: Annotated[int, at_least(1)] = 20
    """Steps between two rows of loss, learning rate and speed in metrics.jsonl."""

    evaluate_steps: Annotated[int, at_least(1)] = 100
    """Steps between two evaluations on the whole split val, at native resolution."""

    checkpoint_steps: Annotated[int, at_least(1)] = 100
    """Steps between two checkpoints to resume from."""

    checkpoint_minutes: Annotated[float, above(0.0)] = 10.0
    """A step is also saved where the last checkpoint is older than this."""

    keep_checkpoints: Annotated[int, at_least(1)] = 2
    """Newest checkpoints that are kept."""

    pictures: Annotated[int, at_least(0)] = 4
    """Frames of val that are drawn as image | truth | prediction when the score is the best so far; 0: none."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """All sections of a run. Only the training loop and the scripts take the whole."""

    data: DataConfig = field(default_factory=DataConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    train: TrainConfig = field(default_factory=TrainConfig)


def resolved(config: Config, like: Config | None = None) -> Config:
    """`null` threads become numbers: those of `like`, else the number of cores that the process may use.

    So what is decided at the start of a run is stored with it, and holds on another machine.
    """
    cores = len(os.sched_getaffinity(0))
    recipe, before = config.train, like.train if like else config.train
    recipe = replace(
        recipe,
        intra_op_threads=recipe.intra_op_threads or before.intra_op_threads or cores,
        inter_op_threads=recipe.inter_op_threads or before.inter_op_threads or cores,
    )
    return replace(config, train=recipe)


SECTIONS: dict[str, type[Section]] = {
    section.key: section for section in (DataConfig, AugmentConfig, ModelConfig, TrainConfig)
}
