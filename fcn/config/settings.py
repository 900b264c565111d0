"""Every setting of fcn: name, default, meaning, unit, legal values. Sizes are (height, width) in pixels.

The text under a field is its documentation, shown by `--print-config`. Rules stand in the field's type:
`Annotated[int, at_least(1)]`. Types and rules are checked wherever a section is made, from a file or in Python.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from typing import Annotated, ClassVar, Literal

from fcn.config.data_settings import DataConfig
from fcn.config.fields import MAY_CHANGE, Rule, Section, above, at_least, below

ODD_WINDOW = Rule(
    lambda value: value in (1, 3, 5, 7),
    "must be 1, 3, 5 or 7; an even one shifts the map by half a cell",
)
ORDERED = Rule(lambda value: value[0] <= value[1], "must be [lowest, highest]; swap the two numbers")


@dataclass(frozen=True, kw_only=True)
class AugmentConfig(Section):
    """How a training frame is varied. Drawn anew for each frame of each step from `train.seed`."""

    key: ClassVar[str] = "augment"

    crop_size: Annotated[tuple[int, int], at_least(1), below(2**15)] = (96, 320)
    """(height, width) in pixels of what the network is trained on; smaller frames are padded with ignored pixels."""

    scale: Annotated[tuple[float, float], above(0.0), ORDERED] = (0.75, 1.5)
    """The frame is resized by a factor drawn uniformly from [lowest, highest] before the crop (Simonyan and Zisserman
    2015); [1, 1] is off."""

    aspect: Annotated[float, at_least(0.0), below(1.0)] = 0.0
    """The width is resized by one more factor drawn from [1 - aspect, 1 + aspect] (Szegedy et al. 2015); 0 is off."""

    flip: bool = True
    """Half of the frames are mirrored left to right."""

    brightness: Annotated[float, at_least(0.0), below(1.0)] = 0.0
    """A part of the full range (black 0, white 1) drawn from [-brightness, brightness] is added (Howard 2013)."""

    contrast: Annotated[float, at_least(0.0), below(1.0)] = 0.0
    """Distances from the mean color are multiplied by a factor from [1 - contrast, 1 + contrast] (Howard 2013)."""

    saturation: Annotated[float, at_least(0.0), below(1.0)] = 0.0
    """Distances from gray are multiplied by a factor drawn from [1 - saturation, 1 + saturation] (Howard 2013)."""

    hue: Annotated[float, at_least(0.0), below(0.5)] = 0.0
    """The hue is turned by a part of the circle of hues drawn from [-hue, hue] (SSD, Liu et al. 2016)."""

    gamma: Annotated[float, at_least(0.0), below(3.0)] = 0.0
    """Colors, as parts of the full range, are raised to the power e ** u with u from [-gamma, gamma]; our own."""


@dataclass(frozen=True, kw_only=True)
class ProgressiveConfig(Section):
    """The first steps of a run on many small, scaled-down crops (progressive resizing: Howard 2018), which are fast."""

    key: ClassVar[str] = "progressive"

    share: Annotated[float, at_least(0.0), below(1.0)] = 0.0
    """Share of the steps; 0 is off. A later change of `train.steps` moves the end of the phase with it."""

    batch_size: Annotated[int, at_least(1), below(2**16)] = 8
    """Frames a step, in place of `train.batch_size`."""

    crop_size: Annotated[tuple[int, int], at_least(1), below(2**15)] = (96, 160)
    """(height, width) in pixels, in place of `augment.crop_size`."""

    scale: Annotated[tuple[float, float], above(0.0), ORDERED] = (0.5, 1.0)
    """[lowest, highest] factor, in place of `augment.scale`."""


@dataclass(frozen=True, kw_only=True)
class ModelConfig(Section):
    """The network: a VGG-style classifier made fully convolutional, and its decoder."""

    key: ClassVar[str] = "model"

    encoder: Literal["vgg11", "vgg13", "vgg16", "vgg19"] = "vgg16"
    """Convolutions in the five blocks, by the names of Simonyan and Zisserman 2015, table 1 (A, B, D, E)."""

    width: Annotated[float, above(0.0), below(3.0)] = 0.25
    """Factor on the published numbers of channels (64 to 512)."""

    batch_norm: bool = True
    """Batch normalization after every convolution of the encoder and the head; not in the published VGG."""

    head_window: Annotated[int, ODD_WINDOW] = 3
    """Window of fc6 in cells of the last map: 1 is the 1x1 convolution, 7 is VGG16 at 224x224 pixels."""

    head_units: Annotated[int, at_least(1), below(2**14)] = 256
    """Units of the dense layers fc6 and fc7, 4096 as published; not scaled by `model.width`."""

    dropout: Annotated[float, at_least(0.0), below(1.0)] = 0.2
    """Share of the units that is dropped after fc6 and fc7 in training, 0.5 as published; 0 is off."""

    stride: Literal[32, 16, 8, 4, 2] = 8
    """Pixels a cell of the finest scores: 32, 16, 8 are FCN-32s, -16s, -8s; 4 and 2 continue with more skips."""

    skips: Literal["after_pooling", "before_pooling"] = "after_pooling"
    """The map of each stride that a skip scores: `after_pooling` what a block's pooling gives, as published;
    `before_pooling` the last map of the next block, as in U-Net (Ronneberger, Fischer and Brox 2015)."""

    learn_last_upsampling: bool = False
    """False: the last upsampling stays bilinear, as published; True: it is learned from there like the inner ones."""

    def conflicts(self) -> dict[str, str]:
        """Nothing is larger than the published fc6: a stranger's config is not to take all memory."""
        if self.head_window**2 * self.width * self.head_units > 7**2 * 1.0 * 4096:
            text = "makes fc6 larger than as published (window 7, 4096 units, width 1); lower it or model.head_window"
            return {"head_units": text}
        return {}


@dataclass(frozen=True, kw_only=True)
class TrainConfig(Section):
    """The recipe of a run."""

    key: ClassVar[str] = "train"

    steps: Annotated[int, at_least(1), below(2**31)] = 300
    """Training steps; the schedule is stretched over them. The last step is always evaluated and saved."""

    batch_size: Annotated[int, at_least(1), below(2**16)] = 4
    """Frames a step."""

    precision: Literal["float32", "bfloat16", "auto"] = "float32"
    """Number type of maps and products in training; weights, statistics, loss and inference stay float32 (mixed
    precision: Micikevicius et al. 2018). `auto` is bfloat16 where the processor or GPU has it."""

    optimizer: Literal["adamw", "sgd"] = "adamw"
    """`adamw` (Loshchilov and Hutter 2019), or `sgd` with momentum; the decay of both is decoupled, unlike Caffe's."""

    momentum: Annotated[float, at_least(0.0), below(1.0)] = 0.9
    """Of `sgd`; Long et al. 2015 have 0.9, Shelhamer et al. 2017 0.99 with batches of one image. Not for `adamw`."""

    learning_rate: Annotated[float, above(0.0)] = 2e-3
    """Highest learning rate, reached after the warm-up."""

    warmup: Annotated[float, at_least(0.0), below(1.0)] = 0.05
    """Share of the steps in which the learning rate rises linearly (Goyal et al. 2017)."""

    schedule: Literal["poly", "cosine"] = "poly"
    """How the rate falls after the warm-up: `poly` as (1 - progress) ** decay_power (DeepLab), or as half a cosine
    (Loshchilov and Hutter 2017)."""

    decay_power: Annotated[float, at_least(0.0)] = 0.9
    """Of the schedule `poly`; 0 keeps the rate."""

    weight_decay: Annotated[float, at_least(0.0)] = 0.05
    """Decoupled decay of kernels; biases and normalization are exempt. Each step takes rate x decay of a kernel."""

    clip_norm: Annotated[float, above(0.0)] = 5.0
    """Gradients are scaled down to this global norm where theirs is larger (Pascanu et al. 2013)."""

    class_weights: Literal["none", "median_frequency", "given"] = "none"
    """What a pixel of each class counts in the loss: `none` all alike, `median_frequency` rare classes more (Eigen and
    Fergus 2015), `given` as in given_class_weights."""

    class_weight_power: Annotated[float, at_least(0.0), below(4.0)] = 1.0
    """The weights of `median_frequency` are raised to this power: 1 as published; less, our own, balances in part."""

    given_class_weights: Annotated[tuple[float, ...], at_least(0.0), below(1e6)] = ()
    """The weights where class_weights is `given`, a number for each class."""

    ema_decay: Annotated[float, at_least(0.0), below(1.0)] = 0.0
    """Decay of an exponential moving average (EMA) of the weights (Polyak and Juditsky 1992), which is scored and kept
    beside the raw ones; 0 is off. In step t, from 0, it is at most (1 + t) / (10 + t), as TensorFlow's own."""

    statistics_frames: Annotated[int, at_least(0)] = 0
    """Frames of train, not varied, over which batch normalization's statistics are taken anew for scoring ("precise
    BN": Wu and Johnson 2021); 0 keeps the running ones, which are of varied crops."""

    seed: Annotated[int, at_least(0), below(2**31)] = 0
    """Seed of the initial weights, the order of the frames, the augmentation and dropout."""

    deterministic: bool = True
    """Only ops whose result is the same in each run on the same machine; False may be faster on a GPU."""

    intra_op_threads: Annotated[int | None, at_least(1), below(2**10), MAY_CHANGE] = None
    """Threads that share the work of one op; null: the cores that the process may use. The last bits depend on it."""

    inter_op_threads: Annotated[int | None, at_least(1), below(2**10), MAY_CHANGE] = None
    """Threads that run ops beside each other; null: the cores that the process may use."""

    log_steps: Annotated[int, at_least(1), MAY_CHANGE] = 20
    """Steps between two rows of loss, learning rate and speed in metrics.jsonl."""

    evaluate_steps: Annotated[int, at_least(1)] = 100
    """Steps between two evaluations on the whole split val, at native resolution."""

    checkpoint_steps: Annotated[int, at_least(1), MAY_CHANGE] = 100
    """Steps between two checkpoints to resume from."""

    checkpoint_minutes: Annotated[float, above(0.0), MAY_CHANGE] = 10.0
    """A step is also saved where the last checkpoint is older than this."""

    keep_checkpoints: Annotated[int, at_least(1), MAY_CHANGE] = 2
    """Newest checkpoints that are kept."""

    pictures: Annotated[int, at_least(0), MAY_CHANGE] = 4
    """Frames of val that are drawn as image | truth | prediction when the score is the best so far; 0: none."""

    def conflicts(self) -> dict[str, str]:
        """Class weights are given where they are asked for, and only there."""
        if self.class_weights == "given" and not any(self.given_class_weights):
            text = "holds no weight above 0; write one for each class, or set train.class_weights to another"
        elif self.class_weights != "given" and self.given_class_weights:
            text = f"is not read where train.class_weights is {self.class_weights}; set that to given, or leave it out"
        else:
            return {}
        return {"given_class_weights": text}


@dataclass(frozen=True, kw_only=True)
class Config:
    """All sections of a run. Only the training loop and the scripts take the whole."""

    data: DataConfig = field(default_factory=DataConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    progressive: ProgressiveConfig = field(default_factory=ProgressiveConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    train: TrainConfig = field(default_factory=TrainConfig)


def resolved(config: Config, like: Config | None = None) -> Config:
    """`null` threads become numbers: those of `like`, else the number of cores that the process may use.

    So what is decided at the start of a run is stored with it, and holds on another machine. A precision `auto` becomes
    that of `like`; without one TensorFlow has to be asked (`training.start.with_precision`).
    """
    cores = len(os.sched_getaffinity(0))
    recipe, before = config.train, like.train if like else config.train
    recipe = replace(
        recipe,
        intra_op_threads=recipe.intra_op_threads or before.intra_op_threads or cores,
        inter_op_threads=recipe.inter_op_threads or before.inter_op_threads or cores,
        precision=before.precision if recipe.precision == "auto" else recipe.precision,
    )
    return replace(config, train=recipe)


SECTIONS: dict[str, type[Section]] = {
    section.key: section for section in (DataConfig, AugmentConfig, ProgressiveConfig, ModelConfig, TrainConfig)
}
