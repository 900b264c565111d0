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


def encoder_blocks(config: ModelConfig) -> list[tuple[int, int]]:
    """(3x3 convolutions, channels at the config's width) of each block."""
    channels = [max(1, round(published * config.width)) for published in CHANNELS]
    return list(zip(CONVOLUTIONS[config.encoder], channels, strict=True))


def skip_blocks(stride: int) -> list[int]:
    """Blocks that a skip scores for the output stride `stride`, in the order of the decoder."""
    return [block for block in (4, 3, 2, 1) if 2**block >= stride]
