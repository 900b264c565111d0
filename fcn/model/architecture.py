"""The network in numbers that are known before it is built; encoders as in Simonyan and Zisserman 2015, table 1."""

from __future__ import annotations

from fcn.config.settings import ModelConfig

# 3x3 convolutions in each of the five blocks
CONVOLUTIONS = {
    "vgg11": (1, 1, 2, 2, 2),
    "vgg13": (2, 2, 2, 2, 2),
    "vgg16": (2, 2, 3, 3, 3),
    "vgg19": (2, 2, 4, 4, 4),
}
CHANNELS = (64, 128, 256, 512, 512)

# (mean, of red, green and blue; standard deviation). He's initial weights expect about zero mean and unit standard
# deviation; street frames have one near 64. ImageNet's means are those of `keras.applications.vgg16`.
PREPROCESSING = {"centered": (127.5, 64.0), "imagenet": ((123.68, 116.779, 103.939), 1.0)}

# 0.95 forgets the initial statistics (0 and 1) within 100 steps; with Keras' 0.99 a run of 300 would end with bad ones
STATISTICS_MOMENTUM = 0.95

# Names of the upsampling layers as published for strides 32, 16 and 8, and continued for 4 and 2.
# Block -> the upsampling by 2 up to the size of its pooled map
UPSAMPLING_TO_BLOCK = {4: "upscore2", 3: "upscore_pool4", 2: "upscore_pool3", 1: "upscore_pool2"}
# Output stride -> the last upsampling, up to the size of the image; for 2 the regular name `upscore2` is taken
UPSAMPLING_TO_IMAGE = {32: "upscore", 16: "upscore16", 8: "upscore8", 4: "upscore4", 2: "upscore_pool1"}


def encoder_blocks(config: ModelConfig) -> list[tuple[int, int]]:
    """(3x3 convolutions, channels at the config's width) of each block."""
    channels = [max(1, round(published * config.width)) for published in CHANNELS]
    return list(zip(CONVOLUTIONS[config.encoder], channels, strict=True))


def skip_blocks(stride: int) -> list[int]:
    """Blocks that a skip scores for the output stride `stride`, in the order of the decoder."""
    return [block for block in (4, 3, 2, 1) if 2**block >= stride]
