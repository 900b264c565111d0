"""The color-lookup baseline that a network must beat: the majority class of each RGB bin."""

from __future__ import annotations

import numpy as np

from fcn.datasets.statistics import SplitStatistics
from fcn.evaluation.metrics import ConfusionMatrix
from fcn.images import Array


def fit_color_table(training: SplitStatistics) -> Array:
    """The majority class of each RGB bin over a split, uint8 (4096,); of all pixels where a bin is empty."""
    counts = training.bins
    majority = np.where(counts.any(axis=0), counts.argmax(axis=0), counts.sum(axis=1).argmax())
    return majority.astype(np.uint8)


def score_color_table(table: Array, scored: SplitStatistics) -> ConfusionMatrix:
    """The confusion matrix of a table on a split: a prediction depends on the bin alone, so no frame is read."""
    matrix = ConfusionMatrix(scored.classes)
    matrix.counts += scored.bins @ np.eye(len(scored.classes), dtype=np.int64)[table]
    return matrix
