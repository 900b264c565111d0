"""The form for inference is the same function as the network that it was made of."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from fcn.config.settings import ModelConfig
from fcn.model.fcn import build_fcn
from fcn.model.inference_form import InferenceForm, subpixel_kernel


def randomize(model: keras.Model, seed: int) -> None:
    random = np.random.default_rng(seed)
    for weight in model.weights:
        noise = random.normal(size=weight.shape)
        if "variance" in weight.path:
            noise = 0.5 + noise**2
        elif "kernel" in weight.path:
            noise *= np.sqrt(1 / np.prod(weight.shape[:-1]))
        weight.assign(noise)


@pytest.mark.parametrize("stride", [32, 8, 2])
@pytest.mark.parametrize("batch_norm", [True, False])
def test_form_has_the_logits_and_labels_of_the_network_at_every_size(stride: int, batch_norm: bool) -> None:
    config = ModelConfig(encoder="vgg11", width=1 / 32, head_units=8, stride=stride, batch_norm=batch_norm)
    model = build_fcn(config, 5)
    form = InferenceForm(model)
    for seed in (0, 1):  # the second time the weights change below the form
        randomize(model, seed)
        form.update()
        for size in ((1, 1), (37, 49), (64, 33)):
            image = np.random.default_rng(seed).integers(0, 256, (2, *size, 3), dtype=np.uint8)
            expected = model(image, training=False).numpy()
            results = {
                name: values.numpy() for name, values in form(image, "labels", "logits", "probabilities").items()
            }
            np.testing.assert_allclose(results["logits"], expected, atol=1e-4 * np.abs(expected).max())
            np.testing.assert_allclose(results["probabilities"].sum(-1), 1, atol=1e-5)
            np.testing.assert_array_equal(results["labels"], results["logits"].argmax(-1))
            assert results["labels"].dtype == np.uint8
            assert size == (1, 1) or len(np.unique(results["labels"])) > 1


def test_subpixel_kernel_of_one_class_by_hand() -> None:
    kernel = np.arange(16.0).reshape(4, 4, 1, 1)  # stride 2
    # the pixel below and right of the center of cell (0, 0) sees it through the third row and column, and its neighbors
    # through the first
    assert subpixel_kernel(kernel)[..., 0, 0].tolist() == [[10, 8], [2, 0]]
