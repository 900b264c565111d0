"""A Keras network of `build_fcn` as a predictor runs it."""

from __future__ import annotations

import keras
import tensorflow as tf

from fcn.images import Array
from fcn.inference.network import Output
from fcn.model.inference_form import InferenceForm, receptive_radius


class KerasNetwork:
    """A `Network` in TensorFlow. Where the weights of `model` change, `update` must follow."""

    size: tuple[int, int] | None = None
    has_probabilities = True

    def __init__(self, model: keras.Model):
        self.model = model
        self.radius = receptive_radius(model)
        self._form = InferenceForm(model)
        self._graphs: dict[tuple[Output, ...], tf.types.experimental.PolymorphicFunction] = {}

    def update(self) -> None:
        """Takes the weights that `model` has now."""
        self._form.update()

    def run(self, pixels: Array, *outputs: Output) -> list[Array]:
        """As `Network.run`."""
        if outputs not in self._graphs:
            self._graphs[outputs] = self._graph(*outputs)
        try:
            results = self._graphs[outputs](pixels)
        except tf.errors.ResourceExhaustedError as error:
            raise MemoryError from error
        return [results[name].numpy() for name in outputs]

    def _graph(self, *outputs: Output) -> tf.types.experimental.PolymorphicFunction:
        """One graph for images of any size."""

        @tf.function(input_signature=[tf.TensorSpec((None, None, 3), tf.uint8)], autograph=False)
        def network(image: tf.Tensor) -> dict[str, tf.Tensor]:
            return {name: values[0] for name, values in self._form(image[tf.newaxis], *outputs).items()}

        return network
