"""Every setting: name, default, meaning, unit, valid values. Sizes are (height, width) in pixels.

The text under a field is its documentation, which `--print-config` prints. Rules are part of the field's type, as in
`Annotated[int, at_least(1)]`; types and rules are checked when a section is made, from a file or in Python.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Annotated, Any, ClassVar, Literal

from fcn.config.fields import MAY_CHANGE, Rule, Section, above, at_least, below

ODD_WINDOW = Rule(
    lambda value: value in (1, 3, 5, 7), "must be 1, 3, 5 or 7; an even one shifts the feature map by half a cell"
)
ORDERED = Rule(lambda value: value[0] <= value[1], "must be [lowest, highest]; swap the two numbers")
BYTE = at_least(0), below(256)
ENCODER_STRIDE = 32  # pixels per cell of the last feature map: five poolings by 2
MAX_NAME = 64  # characters of a class name
MAX_CLASSES = 255  # a label map has 8 bits, and 255 is an ignored pixel


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

    split_lists: Annotated[str | None, MAY_CHANGE] = None
    """Folder with train.txt, val.txt and test.txt, one frame name per line; null: the data set's own split."""

    held_out: str | None = None
    """Frames of train and val whose names begin with this become val, the others train: a whole drive, 0001TP, 0006R0
    or 0016E5; only for `camvid`."""

    kitti_truth: Literal["road", "um_lane"] = "road"
    """Ground truth: `road` in all frames, or `um_lane`, the ego lane, in those of um; only for `kitti_road`."""

    images: Annotated[str, MAY_CHANGE] = "images"
    """Folder of the images in `data.root`; this and all fields down to `ignore_colors` are only for `folder`."""

    masks: Annotated[str, MAY_CHANGE] = "masks"
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

    synthetic_frames: Annotated[tuple[int, int, int], at_least(1)] = (160, 24, 24)
    """Number of generated frames in train, val and test; only for `synthetic`."""

    synthetic_size: Annotated[tuple[int, int], at_least(32)] = (96, 320)
    """(height, width) in pixels of the generated frames; only for `synthetic`."""

    cache_megabytes: Annotated[int, at_least(0), MAY_CHANGE] = 2048
    """Decoded frames are kept in memory up to this many megabytes, those of train and val together; 0 decodes each
    frame every time."""

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


@dataclass(frozen=True, kw_only=True)
class AugmentConfig(Section):
    """Random changes of a training frame, sampled for each frame of each step from `train.seed`."""

    key: ClassVar[str] = "augment"

    crop_size: Annotated[tuple[int, int], at_least(1), below(2**15)] = (96, 320)
    """(height, width) in pixels of the training crops; smaller frames are padded with ignored pixels."""

    scale: Annotated[tuple[float, float], above(0.0), ORDERED] = (0.75, 1.5)
    """[lowest, highest] factor by which a frame is resized before the crop (Simonyan and Zisserman 2015)."""

    aspect: Annotated[float, at_least(0.0), below(1.0)] = 0.0
    """The width is resized by another factor from [1 - aspect, 1 + aspect] (Szegedy et al. 2015); 0: off."""

    flip: bool = True
    """Half of the frames are mirrored left to right."""

    brightness: Annotated[float, at_least(0.0), below(1.0)] = 0.0
    """Added: a fraction of the full range from [-brightness, brightness] (Howard 2013)."""

    contrast: Annotated[float, at_least(0.0), below(1.0)] = 0.0
    """Factor from [1 - contrast, 1 + contrast] on the differences from the mean color (Howard 2013)."""

    saturation: Annotated[float, at_least(0.0), below(1.0)] = 0.0
    """Factor from [1 - saturation, 1 + saturation] on the differences from gray (Howard 2013)."""

    hue: Annotated[float, at_least(0.0), below(0.5)] = 0.0
    """The hue is rotated by a fraction of the full circle from [-hue, hue] (SSD, Liu et al. 2016)."""

    gamma: Annotated[float, at_least(0.0), below(3.0)] = 0.0
    """Colors in [0, 1] are raised to the power e ** u with u from [-gamma, gamma]; our own."""


@dataclass(frozen=True, kw_only=True)
class ProgressiveConfig(Section):
    """Progressive resizing (Howard 2018): the first steps use many small, scaled-down crops, which are fast."""

    key: ClassVar[str] = "progressive"

    share: Annotated[float, at_least(0.0), below(1.0)] = 0.0
    """Share of the steps; 0: off. If `train.steps` is changed later, the end of this phase moves with it."""

    batch_size: Annotated[int, at_least(1), below(2**16)] = 8
    """Frames a step, instead of `train.batch_size`."""

    crop_size: Annotated[tuple[int, int], at_least(1), below(2**15)] = (96, 160)
    """(height, width) in pixels, instead of `augment.crop_size`."""

    scale: Annotated[tuple[float, float], above(0.0), ORDERED] = (0.5, 1.0)
    """[lowest, highest] factor, instead of `augment.scale`."""


@dataclass(frozen=True, kw_only=True)
class ModelConfig(Section):
    """The network: a VGG-style classifier made fully convolutional, and its decoder."""

    key: ClassVar[str] = "model"

    encoder: Literal["vgg11", "vgg13", "vgg16", "vgg19"] = "vgg16"
    """Number of layers as in Simonyan and Zisserman 2015, table 1 (A, B, D, E)."""

    width: Annotated[float, above(0.0), below(3.0)] = 0.25
    """Factor on the published numbers of channels (64 to 512)."""

    initial_weights: Annotated[str, MAY_CHANGE] = "none"
    """Weights to start from: `none` (random); `camvid`, those that come with fcn; `imagenet`, VGG16 or VGG19 as Keras
    downloads them; the folder of a run; or a file: weights of fcn with their config next to them, or a VGG that Keras
    saved (.weights.h5, .h5). Scorers of other classes start at 0."""

    preprocessing: Literal["centered", "imagenet"] = "centered"
    """First layer, which belongs to the weights: `centered`, (pixel - 127.5) / 64, or `imagenet`, pixel - mean of
    ImageNet's channels, as VGG16 and VGG19 of Keras take it."""

    batch_norm: bool = True
    """Batch normalization after every convolution of the encoder and the head; not in the published VGG."""

    head_window: Annotated[int, ODD_WINDOW] = 3
    """Window of fc6 in cells of the last feature map: 1 is a 1x1 convolution, 7 is VGG16 at 224x224 pixels."""

    head_units: Annotated[int, at_least(1), below(2**14)] = 256
    """Units of the dense layers fc6 and fc7, 4096 as published; not scaled by `model.width`."""

    dropout: Annotated[float, at_least(0.0), below(1.0)] = 0.2
    """Dropout rate after fc6 and fc7, 0.5 as published; 0: off."""

    stride: Literal[32, 16, 8, 4, 2] = 8
    """Output stride, pixels a cell of the finest scores: 32, 16, 8 are FCN-32s, -16s, -8s; 4 and 2 have more skips."""

    skips: Literal["after_pooling", "before_pooling"] = "after_pooling"
    """Feature map that a skip scores: `after_pooling` the output of a block's pooling, as published; `before_pooling`
    the last map of the next block, of the same stride, as in U-Net (Ronneberger, Fischer and Brox 2015)."""

    skip_scale: Annotated[float, above(0.0)] = 1.0
    """Factor on the map of block 4 before its scorer, its square on that of block 3 and so on: 0.01 in the published
    FCN-8s that is trained at once."""

    learn_upsampling: bool = True
    """True: upsampling inside the decoder starts bilinear and is learned, as in the paper; False: it stays bilinear, as
    in the published code."""

    learn_last_upsampling: bool = False
    """False: the last upsampling stays bilinear, as published. True: it starts bilinear and is learned."""

    def conflicts(self) -> dict[str, str]:
        """No layer is larger than the published fc6: a config from elsewhere must not take all memory."""
        if self.head_window**2 * self.width * self.head_units > 7**2 * 1.0 * 4096:
            text = "makes fc6 larger than as published (window 7, 4096 units, width 1); lower it or model.head_window"
            return {"head_units": text}
        if self.learn_last_upsampling and not self.learn_upsampling:
            return {"learn_upsampling": "is false; set model.learn_last_upsampling: false too, or this to true"}
        problems = {}
        if self.initial_weights == "imagenet":
            fitting = {
                "encoder": self.encoder if self.encoder in ("vgg16", "vgg19") else "vgg16",
                "width": 1.0,
                "batch_norm": False,
                "preprocessing": "imagenet",
            }
            for name, value in fitting.items():
                if getattr(self, name) != value:
                    problems[name] = f"does not fit the weights of ImageNet; set model.{name}: {str(value).lower()}"
        return problems


@dataclass(frozen=True, kw_only=True)
class TrainConfig(Section):
    """The recipe of a run."""

    key: ClassVar[str] = "train"

    steps: Annotated[int, at_least(1), below(2**31)] = 300
    """Training steps; the schedule is stretched over them. The last step is always evaluated and saved."""

    batch_size: Annotated[int, at_least(1), below(2**16)] = 4
    """Frames a step, those of all devices together."""

    accumulate_steps: Annotated[int, at_least(1), below(2**16)] = 1
    """Parts into which a device splits its share of a batch, one after another, to save memory. The step is that of the
    whole batch, except that batch normalization sees one part."""

    strategy: Annotated[Literal["auto", "one", "mirrored", "multi_worker"], MAY_CHANGE] = "auto"
    """Devices: `one`; `mirrored`, all GPUs of this machine; `multi_worker`, those of the processes that TF_CONFIG or a
    SLURM step names; `auto`, `multi_worker` if there are such processes, else the GPUs of this machine, at most one for
    each frame of a step, else `one`."""

    batch_norm: Literal["local", "synchronized"] = "local"
    """With several devices, batch normalization over the frames of each (`local`), or of all (`synchronized`)."""

    xla: bool = False
    """Compile the forward and backward pass with XLA. On a processor it takes twice as long; not tried on a GPU."""

    target: Literal["pixels", "window_center"] = "pixels"
    """What is learned: the class of every pixel of a crop, or of the pixel at its center only. For the latter the
    classifier is trained before its conversion, on crops of 32 x model.head_window pixels (`fcn train-classifier`)."""

    precision: Literal["float32", "bfloat16", "auto"] = "float32"
    """Compute dtype of training; weights, statistics, loss and inference stay float32 (mixed precision: Micikevicius
    et al. 2018). `auto`: bfloat16 if the processor or GPU has instructions for it."""

    optimizer: Literal["adamw", "sgd"] = "adamw"
    """`adamw` (Loshchilov and Hutter 2019), or `sgd` with momentum."""

    momentum: Annotated[float, at_least(0.0), below(1.0)] = 0.9
    """Momentum of `sgd`: 0.9 in Long et al. 2015, 0.99 with one image a batch in Shelhamer et al. 2017."""

    learning_rate: Annotated[float, above(0.0)] = 2e-3
    """Highest learning rate, reached after the warm-up."""

    warmup: Annotated[float, at_least(0.0), below(1.0)] = 0.05
    """Share of the steps in which the learning rate rises linearly (Goyal et al. 2017)."""

    schedule: Literal["poly", "cosine"] = "poly"
    """Decay of the learning rate after the warm-up: `poly`, (1 - progress) ** decay_power (DeepLab), or `cosine`
    (Loshchilov and Hutter 2017)."""

    decay_power: Annotated[float, at_least(0.0)] = 0.9
    """Exponent of `poly`; 0 keeps the learning rate."""

    weight_decay: Annotated[float, at_least(0.0)] = 0.05
    """Weight decay of kernels, not of biases and batch normalization."""

    decay_form: Literal["decoupled", "l2"] = "decoupled"
    """`decoupled`: a step subtracts rate x decay x w; `l2`: decay x w is added to the gradient before the optimizer
    takes it, as in Caffe, so that momentum adds it up."""

    encoder_rate: Annotated[float, above(0.0), below(100.0)] = 1.0
    """Factor on the learning rate of the encoder (blocks 1 to 5), below 1 for initial weights that know much."""

    bias_rate: Annotated[float, above(0.0), below(100.0)] = 1.0
    """Factor on the learning rate of biases, 2 in the published training."""

    freeze: Literal["none", "block1", "block2", "block3", "block4", "encoder"] = "none"
    """Part of the encoder that keeps its initial weights and statistics: none, the blocks up to this one, or all."""

    loss: Literal["mean", "sum"] = "mean"
    """What a step lowers: the mean loss of the valid pixels, or their sum, as published. With a sum over P pixels, the
    learning rate is to be P times lower and an `l2` decay P times higher for the same step."""

    clip_norm: Annotated[float | None, above(0.0)] = 5.0
    """Gradients with a larger global norm are scaled down to it (Pascanu et al. 2013); null: never."""

    class_weights: Literal["none", "median_frequency"] = "none"
    """Per-class loss weights: `none`, or `median_frequency`, more for rare classes (Eigen and Fergus 2015)."""

    class_weight_power: Annotated[float, at_least(0.0), below(4.0)] = 1.0
    """Exponent of the `median_frequency` weights: 1 as published; less balances partly, our own."""

    ema_decay: Annotated[float, at_least(0.0), below(1.0)] = 0.0
    """Decay of an exponential moving average of the weights (Polyak and Juditsky 1992), which is then what is scored
    and kept; 0: off. At step t, from 0, it is at most (1 + t) / (10 + t), as in TensorFlow."""

    statistics_frames: Annotated[int, at_least(0)] = 0
    """Training frames, not augmented, over which batch-normalization statistics are recomputed for scoring ("precise
    BN": Wu and Johnson 2021); 0 keeps the running statistics of the augmented crops."""

    seed: Annotated[int, at_least(0), below(2**31)] = 0
    """Seed of the initial weights, the order of the frames, augmentation and dropout."""

    deterministic: bool = True
    """Use only ops that give the same result in every run on one machine; False may be faster on a GPU."""

    intra_op_threads: Annotated[int | None, at_least(1), below(2**10), MAY_CHANGE] = None
    """Threads within one op; null: one for each core of the process. The last bits depend on it."""

    inter_op_threads: Annotated[int | None, at_least(1), below(2**10), MAY_CHANGE] = None
    """Ops that run at the same time; null: one for each core of the process."""

    log_steps: Annotated[int, at_least(1), MAY_CHANGE] = 20
    """Steps between two rows of loss, learning rate and speed in metrics.jsonl."""

    evaluate_steps: Annotated[int, at_least(1)] = 100
    """Steps between two evaluations on the whole validation split, at native resolution."""

    patience: Annotated[int | None, at_least(1), below(2**31)] = None
    """Evaluations in a row without a better score after which the training ends before its last step, so with a
    learning rate that has not fallen to its end; null: never."""

    checkpoint_steps: Annotated[int, at_least(1), MAY_CHANGE] = 100
    """Steps between two checkpoints."""

    checkpoint_minutes: Annotated[float, above(0.0), MAY_CHANGE] = 10.0
    """Another checkpoint is saved after a step if the last one is older than this."""

    keep_checkpoints: Annotated[int, at_least(1), MAY_CHANGE] = 2
    """Newest checkpoints that are kept."""

    pictures: Annotated[int, at_least(0), MAY_CHANGE] = 4
    """Validation frames shown as image | ground truth | prediction when the score is the best so far; 0: none."""

    tensorboard: Annotated[bool, MAY_CHANGE] = False
    """Write loss, learning rate, scores, confusion matrix, pictures and config for TensorBoard, too, into the folder
    `tensorboard` of the run (needs the extra `tensorboard`)."""

    def conflicts(self) -> dict[str, str]:
        """A batch has a frame for each part that it is computed in; normalization over all of it needs it whole."""
        if self.accumulate_steps > self.batch_size:
            text = f"{self.accumulate_steps} is more than the frames of train.batch_size: {self.batch_size}; lower it"
            return {"accumulate_steps": text}
        if self.batch_norm == "synchronized" and (self.accumulate_steps > 1 or self.xla):
            text = "synchronized needs the whole batch at once; set train.accumulate_steps: 1 and train.xla: false"
            return {"batch_norm": text}
        if self.xla and self.deterministic:
            return {"xla": "has no deterministic gradient of pooling; set train.deterministic: false"}
        return {}


@dataclass(frozen=True, kw_only=True)
class StagesConfig(Section):
    """Training in stages (Long et al. 2015): one run after another, each from the best weights of the one before."""

    key: ClassVar[str] = "stages"

    strides: tuple[Literal[32, 16, 8, 4, 2], ...] = ()
    """`model.stride` of each stage, such as [32, 16, 8]; []: one run. The runs lie in RUN-DIR-32s, RUN-DIR-16s and so
    on."""

    learning_rates: Annotated[tuple[float, ...], above(0.0)] = ()
    """`train.learning_rate` of each stage; []: the same for all."""

    def conflicts(self) -> dict[str, str]:
        """Strides fall, so that each stage adds skips, and each has its learning rate or none has."""
        if any(first <= second for first, second in pairwise(self.strides)):
            return {"strides": f"{list(self.strides)} does not fall; write the largest stride first"}
        if self.learning_rates and len(self.learning_rates) != len(self.strides):
            text = f"has length {len(self.learning_rates)} and stages.strides {len(self.strides)}; write one for each"
            return {"learning_rates": text}
        return {}


@dataclass(frozen=True, kw_only=True)
class Config:
    """All sections of a run. Only commands, the training loop and the estimate of its memory take the whole."""

    data: DataConfig = field(default_factory=DataConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    progressive: ProgressiveConfig = field(default_factory=ProgressiveConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    stages: StagesConfig = field(default_factory=StagesConfig)


SECTIONS: dict[str, type[Section]] = {
    section.key: section
    for section in (DataConfig, AugmentConfig, ProgressiveConfig, ModelConfig, TrainConfig, StagesConfig)
}


def resolve_target(config: Config) -> Config:
    """What `train.target: window_center` decides: the crop is one window, the network that is scored FCN-32s."""
    if config.train.target == "pixels":
        return config
    side = ENCODER_STRIDE * config.model.head_window
    return replace(
        config,
        augment=replace(config.augment, crop_size=(side, side)),
        progressive=ProgressiveConfig(),
        model=replace(config.model, stride=32, learn_last_upsampling=False),
        stages=StagesConfig(),
    )


def resolve_auto(config: Config, started: Config | None = None) -> Config:
    """`null` threads and the precision `auto` get the values that the run was started with, threads else one per core.

    So what is decided at the start of a run is stored with it, and holds on another machine. Without `started` the
    precision stays `auto` until TensorFlow can be asked (`training.setup.resolve_precision`).
    """
    train = config.train
    before = started.train if started else train
    cores = len(os.sched_getaffinity(0))
    train = replace(
        train,
        intra_op_threads=train.intra_op_threads or before.intra_op_threads or cores,
        inter_op_threads=train.inter_op_threads or before.inter_op_threads or cores,
        precision=before.precision if train.precision == "auto" else train.precision,
    )
    return replace(config, train=train)


def class_named(name: str, class_names: Sequence[str]) -> str | None:
    """The class of a name, which may differ in case where only one class fits; None if it is ambiguous or unknown."""
    if name in class_names:
        return name
    same = [one for one in class_names if one.casefold() == name.casefold()]
    return same[0] if len(same) == 1 else None


def class_problems(data: DataConfig) -> dict[str, str]:
    """Field name -> what is wrong with it and how to fix it; for `data.kind: folder`."""
    names = data.class_names
    if not 2 <= len(names) <= MAX_CLASSES:
        count = "1 name" if len(names) == 1 else f"{len(names)} names"
        return {"class_names": f"has {count}; write 2 to {MAX_CLASSES}, such as [background, road]"}
    problems: dict[str, str] = {}
    for name in names:
        if not name.isprintable() or not 0 < len(name) <= MAX_NAME:
            problems["class_names"] = f"{name[:MAX_NAME]!r} must be text of 1 to {MAX_NAME} printable characters"
    if data.mask_kind == "index" and data.ignore_colors:
        problems["ignore_colors"] = "is for data.mask_kind: color; a mask of indices has data.ignore_values"
    if data.mask_kind == "color":
        text = "is for data.mask_kind: index; a mask of colors has data.class_colors and data.ignore_colors"
        problems |= {name: text for name in ("mask_values", "ignore_values") if getattr(data, name)}
        if data.class_colors is None:
            problems["class_colors"] = "is not set; write the color that each class has in the masks"
    indices = range(len(names))
    colors = indices if data.class_colors is None else data.class_colors
    values = indices if data.mask_values is None else data.mask_values
    for name, ignored_name, items, ignored in (
        ("class_names", "class_names", names, ()),
        ("class_colors", "ignore_colors", colors, data.ignore_colors),
        ("mask_values", "ignore_values", values, data.ignore_values),
    ):
        if len(items) != len(names):
            text = f"has length {len(items)} and data.class_names {len(names)}; write one for each class"
            problems.setdefault(name, text)
        everything: list[Any] = [*items, *ignored]
        repeated = [item for number, item in enumerate(everything) if item in everything[:number]]
        if repeated:
            item = list(repeated[0]) if isinstance(repeated[0], tuple) else repeated[0]
            if repeated[0] in ignored:
                problems.setdefault(ignored_name, f"{item} is listed twice; a pixel is of a class or ignored")
            else:
                problems.setdefault(name, f"{item} is listed twice; each class needs a different one")
    if data.labels == "road":
        unknown = [name for name in data.road_classes if class_named(name, names) is None]
        if unknown or not data.road_classes:
            text = f"{unknown[0]} is not one of data.class_names" if unknown else "is empty"
            rule = f"name those of {', '.join(names)} that are road, or set data.labels: all"
            problems["road_classes"] = f"{text}; {rule}"
    return problems
