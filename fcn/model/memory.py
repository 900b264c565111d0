"""The memory that a training takes, computed from its config before TensorFlow is imported.

The parameters are exact, the rest is an estimate: decoded frames, batches that wait, and the scoring of whole frames
come on top.
"""

# Shapes: N images, H x W pixels of a crop, C classes
from __future__ import annotations

import math
from pathlib import Path

from fcn.config.settings import Config, ModelConfig
from fcn.errors import UserError
from fcn.model.architecture import encoder_blocks, skip_blocks

# the whole machine, then the limit of a container: cgroup version 2, version 1
MEMINFO = Path("/proc/meminfo")
DEVICES = Path("/dev")
CGROUP_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))

FLOAT32 = 4  # bytes
TENSORFLOW = 750_000_000  # bytes of TensorFlow, its graphs and threads


def count_parameters(config: ModelConfig, classes: int) -> tuple[int, int]:
    """Number of parameters of the network of `build_fcn`, and how many of them are trained if none is frozen."""
    # kernels of encoder and head: inputs of a unit, units
    blocks = encoder_blocks(config)
    channels = 3
    kernels = []
    for repeats, filters in blocks:
        kernels += [(9 * channels, filters), *[(9 * filters, filters)] * (repeats - 1)]
        channels = filters
    units = config.head_units
    kernels += [(config.head_window**2 * channels, units), (units, units)]
    outputs = sum(count for _, count in kernels)
    encoder = sum(inputs * count for inputs, count in kernels)
    statistics = 2 * outputs if config.batch_norm else 0  # mean and variance, which are not trained
    offsets = 2 * outputs if config.batch_norm else outputs  # scale and offset, or bias

    # scorers and upsamplings of the decoder
    shift = 0 if config.skips == "before_pooling" else 1
    scored = [units, *[blocks[block - shift][1] for block in skip_blocks(config.stride)]]
    scorers = sum((inputs + 1) * classes for inputs in scored)
    upsamplings = 4**2 * classes**2 * len(skip_blocks(config.stride))
    last = (2 * config.stride) ** 2 * classes**2
    total = encoder + statistics + offsets + scorers + upsamplings + last
    fixed = statistics + (0 if config.learn_upsampling else upsamplings) + (0 if config.learn_last_upsampling else last)
    return total, total - fixed


def activation_bytes(
    config: ModelConfig, classes: int, batch_size: int, crop_size: tuple[int, int], precision: str
) -> int:
    """Bytes of the outputs of all layers for one batch.

    The backward pass needs fewer of them, and its own gradients of maps take about what the others leave.
    """
    cells = [batch_size * math.prod(math.ceil(side / 2**block) for side in crop_size) for block in range(6)]
    maps = 3 if config.batch_norm else 2  # of a convolution, of its normalization, of its ReLU
    values = 3 * cells[0]
    for block, (repeats, filters) in enumerate(encoder_blocks(config), start=1):
        values += maps * repeats * filters * cells[block - 1] + filters * cells[block]
    values += 2 * (maps + 1) * config.head_units * cells[5] + classes * cells[5]  # each dense layer has its dropout
    for block in skip_blocks(config.stride):
        values += 5 * classes * cells[block]  # upsampled, cropped, scores of the skip, their sum, padded
    values += 2 * classes * cells[0]  # upsampled, cropped
    logits = 2 * classes * cells[0]  # as they come, and a row for each class
    return (2 if precision == "bfloat16" else FLOAT32) * values + FLOAT32 * logits


def memory_of_training(config: Config, classes: int, workers: int = 1) -> dict[str, int]:
    """What takes memory -> bytes, in one of so many processes.

    `auto` precision counts as float32, frozen weights as trained ones.
    """
    total, trained = count_parameters(config.model, classes)
    recipe = config.train
    slots = 2 if recipe.optimizer == "adamw" else int(recipe.momentum > 0)
    averages = total if recipe.ema_decay > 0 else 0
    batches = [(recipe.batch_size, config.augment.crop_size)]
    if round(config.progressive.share * recipe.steps) > 0:
        batches.append((config.progressive.batch_size, config.progressive.crop_size))
    parts = workers * recipe.accumulate_steps
    return {
        "parameters": FLOAT32 * total,
        "optimizer and averages": FLOAT32 * (slots * trained + averages),
        "gradients": FLOAT32 * 2 * trained,  # as they come and clipped
        "activations": max(
            activation_bytes(config.model, classes, math.ceil(frames / parts), crop_size, recipe.precision)
            for frames, crop_size in batches
        ),
        "building and scoring": FLOAT32 * 3 * total,  # the network that scores, a classifier, the initial values
        "TensorFlow": TENSORFLOW,
    }


def check_memory(config: Config, classes: int, workers: int = 1) -> str:
    """The memory of a training in one line.

    Raises UserError if this machine, or its container, has less and has no GPU: a step takes the memory of a GPU
    instead, whose size is not known before TensorFlow is imported.
    """
    memory = memory_of_training(config, classes, workers)
    needed = sum(memory.values())
    available = machine_memory()
    has_gpu = any(DEVICES.glob("nvidia[0-9]*"))
    if available is not None and needed > available and not has_gpu:
        fix = "lower train.batch_size or augment.crop_size, or those of progressive, or raise train.accumulate_steps"
        if memory["activations"] < needed / 2:
            fix = "lower model.head_units (4096 as published, 256 by default) or model.width"
        sizes = f"a training needs about {needed / 1e6:,.0f} MB, this machine has {available / 1e6:,.0f} MB"
        raise UserError(f"memory: {sizes}; {fix}")
    return "memory: " + ", ".join(f"{name} {size / 1e6:,.0f} MB" for name, size in memory.items())


def machine_memory() -> int | None:
    """Bytes of memory of this machine, or of the container if that has less; None if neither can be read."""
    found = []
    if MEMINFO.is_file():
        words = MEMINFO.read_text(encoding="ascii").split()
        found.append(1024 * int(words[words.index("MemTotal:") + 1]))
    for file in CGROUP_LIMITS:
        limit = file.read_text(encoding="ascii").strip() if file.is_file() else "max"
        if limit != "max":
            found.append(int(limit))
    return min(found, default=None)
