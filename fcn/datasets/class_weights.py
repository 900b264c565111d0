"""What a pixel of each class counts in the loss, from how often the class is seen."""

from __future__ import annotations

from fcn.config.settings import TrainConfig
from fcn.datasets.dataset import Dataset
from fcn.datasets.frequency import count_classes, median_frequency
from fcn.errors import UserError


def class_weights(config: TrainConfig, training: Dataset) -> tuple[float, ...]:
    """The weight of each class as the config has it; for `median_frequency` every frame is read.

    Raises:
        UserError: the config gives another number of weights than there are classes.
    """
    classes = len(training.classes)
    if config.class_weights == "none":
        return (1.0,) * classes
    if config.class_weights == "given":
        if len(config.given_class_weights) != classes:
            given, names = len(config.given_class_weights), ", ".join(one.name for one in training.classes)
            raise UserError(f"train.given_class_weights: is {given} long; write one for each of {classes}: {names}")
        return config.given_class_weights
    counts, pixels = [], []
    for index in range(len(training)):
        label = training.read(index)[1]
        counts.append(count_classes(label, classes))
        pixels.append(label.size)
    return tuple(float(weight) for weight in median_frequency(counts, pixels) ** config.class_weight_power)
