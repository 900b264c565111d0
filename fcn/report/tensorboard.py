"""What TensorBoard shows of a run: scalars, pictures, the confusion matrix and the config."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from fcn.config.settings import Config
from fcn.config.yaml_file import dump_config
from fcn.datasets.dataset import Dataset, evenly_spaced
from fcn.images import Array
from fcn.pictures import comparison, confusion_picture


class TensorBoardLog:
    """Writes summaries into a folder; those of a continued run follow in a file of their own."""

    def __init__(self, folder: Path, config: Config, pictures: int):
        """`pictures` is the number of frames that are shown at each evaluation."""
        self._writer = tf.summary.create_file_writer(str(folder))
        self._pictures = pictures
        with self._writer.as_default(step=0):
            text = "".join(f"    {line}\n" for line in dump_config(config).splitlines())  # indented: code
            tf.summary.text("config", text)
        self._writer.flush()

    def add_training(self, step: int, row: dict[str, float]) -> None:
        """Adds the numbers of a step, such as its loss."""
        with self._writer.as_default(step=step):
            for name, value in row.items():
                tf.summary.scalar(f"training/{name}", value)
        self._writer.flush()

    def add_scores(
        self, step: int, scores: dict[str, Any], dataset: Dataset, predict: Callable[[Array], Array]
    ) -> None:
        """Adds the scores of an evaluation, its confusion matrix, and pictures of a few frames.

        `predict` maps an image uint8 (H, W, 3) to labels uint8 (H, W).
        """
        with self._writer.as_default(step=step):
            for name in ("miou", "pixel_accuracy", "mean_accuracy", "fw_iou"):
                if scores[name] is not None:
                    tf.summary.scalar(f"validation/{name}", scores[name])
            for name, iou in scores["iou"].items():
                if iou is not None:
                    tf.summary.scalar(f"validation iou/{name}", iou)
            matrix = confusion_picture(np.array(scores["confusion"]), dataset.classes)
            tf.summary.image("validation/confusion", matrix[np.newaxis])
            for index in evenly_spaced(len(dataset), self._pictures):
                image, label = dataset.read(index)
                picture = comparison(image, label, predict(image), dataset.classes)
                tf.summary.image(f"frames/{dataset.names[index]}", picture[np.newaxis])
        self._writer.flush()
