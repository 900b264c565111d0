"""Whether a network is right as often as its probabilities say."""

from __future__ import annotations

from typing import Any

import numpy as np

from fcn.datasets.statistics import count_pairs
from fcn.images import IGNORE, Array

BINS = 15  # of equal width, as in Guo et al. 2017
LEVELS = 255 // BINS  # of the 8-bit confidence in a bin; that of 0 counts in the first


class Calibration:
    """Counts pixels by (wrong or right, confidence x 255): `counts`, int64 (2, 256)."""

    def __init__(self) -> None:
        self.counts = np.zeros((2, 256), np.int64)

    def add(self, label: Array, prediction: Array, confidence: Array) -> None:
        """Adds a frame: label, predicted label, and 255 x the probability of the latter, all uint8 (H, W)."""
        is_right = np.where(label == IGNORE, IGNORE, label == prediction)
        self.counts += count_pairs(is_right, confidence, self.counts.shape)

    def scores(self) -> dict[str, Any]:
        """Fractions, None where nothing was counted.

        ece: expected calibration error (Guo et al. 2017, equation 3), the mean over pixels of the difference between
            mean confidence and accuracy in the pixel's bin; 0.05 says that the confidence is 5 percentage points off.
        reliability: a row for each bin `from`, `to` of confidence: `share` of the pixels, their mean `confidence` and
            `accuracy`.
        """
        bin_of = np.maximum(np.arange(256) - 1, 0) // LEVELS
        total = self.counts.sum()
        ece = 0.0
        rows = []
        for number in range(BINS):
            counts = self.counts[:, bin_of == number]
            pixels = counts.sum()
            row = {"from": number / BINS, "to": (number + 1) / BINS, "share": float(pixels / total) if total else None}
            confidence = None
            accuracy = None
            if pixels:
                confidence = float(counts.sum(axis=0) @ np.flatnonzero(bin_of == number) / 255 / pixels)
                accuracy = float(counts[1].sum() / pixels)
                ece += float(pixels / total) * abs(confidence - accuracy)
            rows.append({**row, "confidence": confidence, "accuracy": accuracy})
        return {"ece": ece if total else None, "reliability": rows}
