"""Scores a run on the way: the rows of metrics.jsonl, the best weights, the pictures."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import keras
import tensorflow as tf
from tqdm import tqdm

from fcn.config.settings import ModelConfig
from fcn.datasets.dataset import Dataset, evenly_spaced
from fcn.errors import print_error
from fcn.evaluation.evaluate import evaluate, evaluate_color_table, shown
from fcn.images import Array, write_image
from fcn.inference.predictor import Predictor
from fcn.model.fcn import build_fcn
from fcn.model.weights import save_weights
from fcn.pictures import comparison
from fcn.runs.checkpoint import RunState
from fcn.runs.paths import RunFolder, write_record
from fcn.training.batch_norm import recompute_batch_norm_statistics


@dataclass(frozen=True)
class Scoring:
    """What a run is scored with. Nothing of the run's own is touched: its weights are copied.

    Attributes:
        predictor: with a float32 network of the run's shape, into which the weights to score are copied.
        training: frames that their statistics are taken over.
        statistics_frames: how many of them; 0 keeps the statistics that come with the weights.
        validation: frames to score.
        baseline: scores of the color table on them.
        pictures: how many of the frames are drawn.
        folder: of the run.
    """

    predictor: Predictor
    training: Dataset
    statistics_frames: int
    validation: Dataset
    baseline: dict[str, Any]
    pictures: int
    folder: RunFolder

    @classmethod
    def start(
        cls,
        config: ModelConfig,
        training: Dataset,
        statistics_frames: int,
        validation: Dataset,
        pictures: int,
        folder: RunFolder,
    ) -> Scoring:
        """Builds the network to score with, without dropout, and fits the color table on the frames to learn from."""
        model = build_fcn(replace(config, dropout=0.0), len(training.classes))
        baseline = evaluate_color_table(training, validation)
        predictor = Predictor(model, training.classes)
        return cls(predictor, training, statistics_frames, validation, baseline, pictures, folder)

    def evaluate(self, state: RunState, progress: tqdm[Any], poll: Callable[[], None]) -> None:
        """Scores the weights of a step on the whole split; keeps them, with pictures, where they are the best so far.

        Where the run averages its weights, the average is what is scored and kept, the raw ones beside it.

        Raises:
            RunInterruptedError: a signal came between two frames; nothing was written.
        """
        model = self.predictor.model

        def scores_of(weights: Sequence[keras.Variable | tf.Variable]) -> dict[str, Any]:
            model.set_weights([weight.numpy() for weight in weights])
            recompute_batch_norm_statistics(model, self.training, self.statistics_frames, poll)
            return evaluate(self.validation, predict)

        def predict(image: Array) -> Array:
            poll()
            return self.predictor.labels(image)

        started = time.perf_counter()
        scores = raw_scores = scores_of(state.model.weights)
        if state.averages:
            raw = model.get_weights()
            scores = {**scores_of(state.averages), "raw_miou": raw_scores["miou"]}
        seconds = time.perf_counter() - started
        if (scores["miou"] or 0.0) > float(state.best_score):
            state.best_score.assign(scores["miou"] or 0.0)
            about = {"step": int(state.step), "parameters": model.count_params(), "color_table": self.baseline}
            if state.averages:
                scored = model.get_weights()
                model.set_weights(raw)
                save_weights(model, self.folder.raw_weights)
                write_record(self.folder.raw_file, self.folder.raw_weights, {**about, **raw_scores})
                model.set_weights(scored)
            save_weights(model, self.folder.best_weights)
            write_record(self.folder.best_file, self.folder.best_weights, {**about, **scores})
            self.draw_pictures()
        state.evaluated.assign(state.step)
        table = self.baseline["miou"]
        report(self.folder, progress, step=int(state.step), **scores, color_table_miou=table, evaluate_seconds=seconds)

    def draw_pictures(self) -> None:
        """Writes image | truth | prediction of some frames, spread over the split."""
        dataset = self.validation
        for index in evenly_spaced(len(dataset), self.pictures):
            image, truth = dataset.read(index)
            picture = comparison(image, truth, self.predictor.labels(image), dataset.classes)
            write_image(self.folder.pictures / f"{dataset.names[index]}.png", picture)


def report(folder: RunFolder, progress: tqdm[Any], **row: Any) -> None:
    """Writes a row of metrics.jsonl and shows it: beside the bar on a terminal, else as a line."""
    folder.append_row(row)
    if "loss" in row:
        text = f"loss {row['loss']:.4f}, rate {row['learning_rate']:.2e}, {row['images_per_second']:.1f} images/s"
    else:
        known = {name: value for name, value in row["iou"].items() if value is not None}
        lowest = min(known, key=known.__getitem__, default="-")
        text = (
            f"{row['split']} mIoU {shown(row['miou'])} (color table {shown(row['color_table_miou'])}), "
            f"lowest {lowest} {shown(known.get(lowest))}, {row['evaluate_seconds']:.1f} s"
        )
    if progress.disable:
        print_error(f"step {row['step']}/{progress.total}: {text}")
    elif "loss" in row:
        progress.set_postfix_str(text)
    else:
        progress.write(f"step {row['step']}: {text}", file=sys.stderr)
