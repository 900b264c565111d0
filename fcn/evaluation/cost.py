"""What a prediction costs."""

from __future__ import annotations

import keras
import tensorflow as tf


def gigaflops(model: keras.Model, height: int, width: int) -> float:
    """Floating-point operations for one image, in 10**9; a multiplication and an addition are two."""
    image = tf.TensorSpec((1, height, width, 3), tf.uint8)
    graph = tf.function(model, autograph=False).get_concrete_function(image, training=False).graph
    profiler = tf.compat.v1.profiler
    options = profiler.ProfileOptionBuilder(profiler.ProfileOptionBuilder.float_operation()).with_empty_output()
    logger = tf.get_logger()
    logger.disabled = True  # the profiler itself calls a deprecated function, which would warn
    try:
        return profiler.profile(graph, options=options.build()).total_float_ops / 1e9
    finally:
        logger.disabled = False
