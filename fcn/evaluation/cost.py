"""What a prediction costs."""

from __future__ import annotations

import keras
import tensorflow as tf


def gigaflops(model: keras.Model, height: int, width: int) -> float:
    """Floating-point operations for one image, in 10**9; a multiplication and an addition are two."""

    @tf.function(input_signature=[tf.TensorSpec((1, height, width, 3), tf.uint8)], autograph=False)
    def logits(images: tf.Tensor) -> tf.Tensor:
        return model(images, training=False)

    profiler = tf.compat.v1.profiler
    options = profiler.ProfileOptionBuilder(profiler.ProfileOptionBuilder.float_operation()).with_empty_output()
    logger = tf.get_logger()
    level = logger.level
    logger.setLevel("ERROR")  # the profiler calls a deprecated function of its own, and warns about it
    try:
        return profiler.profile(logits.get_concrete_function().graph, options=options.build()).total_float_ops / 1e9
    finally:
        logger.setLevel(level)
