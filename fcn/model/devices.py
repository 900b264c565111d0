"""GPU memory settings, made before the first op."""

from __future__ import annotations

import tensorflow as tf


def allow_memory_growth() -> None:
    """Lets TensorFlow take memory on a GPU as it needs it, not all of it: another process may use the GPU too."""
    for gpu in tf.config.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(gpu, True)
