"""Scores of a run's weights during training, and what is kept of the best ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from fcn.config.settings import Config
from fcn.datasets.dataset import Dataset, evenly_spaced
from fcn.datasets.statistics import FrameStatistics
from fcn.evaluation.evaluate import add_frames, evaluate_color_table
from fcn.evaluation.metrics import ConfusionMatrix
from fcn.images import Array, write_image
from fcn.inference.keras_network import KerasNetwork
from fcn.inference.predictor import Predictor
from fcn.model.convolutionalize import copy_weights
from fcn.model.fcn import build_fcn
from fcn.model.weights import save_weights
from fcn.pictures import comparison
from fcn.runs.paths import RunPaths
from fcn.runs.trained import settings_of_weights, write_record
from fcn.runs.workers import ALONE, Worker
from fcn.training.batch_norm import recompute_batch_norm_statistics
from fcn.training.devices import devices_of, sum_over_workers
from fcn.training.optimizer import freeze_encoder


class Validation:
    """A float32 network without dropout to copy weights into, so that scoring touches no variable of the run.

    Each device of the strategy has a copy and scores its share of the frames.
    """

    def __init__(
        self,
        config: Config,
        training: Dataset,
        dataset: Dataset,
        strategy: tf.distribute.Strategy | None = None,
        worker: Worker = ALONE,
    ):
        strategy = strategy or tf.distribute.get_strategy()
        self.networks = []
        self.devices = devices_of(strategy)
        for device in self.devices:
            with tf.device(device):
                model = build_fcn(replace(config.model, dropout=0.0), len(training.classes))
                freeze_encoder(config.train, model)  # frozen layers keep their statistics
                self.networks.append(KerasNetwork(model))
        self.predictors = [Predictor(network, training.classes) for network in self.networks]
        self.strategy = strategy
        self.worker = worker
        self.training = training
        self.statistics_frames = config.train.statistics_frames
        self.dataset = dataset

    def evaluate_weights(
        self, weights: Sequence[keras.Variable | tf.Variable], poll: Callable[[], None]
    ) -> dict[str, Any]:
        """Scores of weights on the whole split, as `evaluate` returns them, and `confusion`, the counts.

        The network keeps these weights.

        Weights of a window classifier are scored as the FCN-32s that they are converted to.

        `poll` is called before each frame and may raise to stop.
        """
        first = self.predictors[0].model
        copy_weights(weights, first)
        recompute_batch_norm_statistics(first, self.training, frames=self.statistics_frames, poll=poll)
        for network in self.networks:
            copy_weights(first.weights, network.model)
            network.update()
        count = len(self.networks) * self.worker.count

        def count_share(number: int) -> ConfusionMatrix:
            def predict(image: Array) -> Array:
                poll()
                with tf.device(self.devices[number]):  # of this thread
                    return self.predictors[number].labels(image)

            matrix = ConfusionMatrix(self.dataset.classes)
            share = self.worker.index * len(self.networks) + number
            add_frames(matrix, self.dataset, range(share, len(self.dataset), count), predict)
            return matrix

        with ThreadPoolExecutor(len(self.networks)) as pool:
            matrices = list(pool.map(count_share, range(len(self.networks))))
        total = ConfusionMatrix(self.dataset.classes)
        total.counts = sum_over_workers(self.strategy, np.sum([matrix.counts for matrix in matrices], axis=0))
        scores = total.scores()
        return {"split": self.dataset.split, "frames": len(self.dataset), **scores, "confusion": total.counts.tolist()}


def describe_network(config: Config, model: keras.Model, statistics: FrameStatistics) -> dict[str, Any]:
    """What is recorded with the best weights besides their scores: the same for all evaluations of a run."""
    training, validation = statistics.splits
    return {
        "config": settings_of_weights(config),
        "parameters": model.count_params(),
        "frame_height": training.height,
        "color_table": evaluate_color_table(training, validation),
    }


def keep_best(run: RunPaths, validation: Validation, record: dict[str, Any], pictures: int) -> None:
    """Writes the weights that were just scored, their record, and pictures of a few frames."""
    save_weights(validation.networks[0].model, run.best_weights)
    write_record(run.best_record, run.best_weights, record)
    dataset = validation.dataset
    run.pictures.mkdir(exist_ok=True)
    for index in evenly_spaced(len(dataset), pictures):
        image, label = dataset.read(index)
        prediction = validation.predictors[0].labels(image)
        picture = comparison(image, label, prediction, dataset.classes)
        write_image(run.pictures / f"{dataset.names[index]}.png", picture)
