"""Operations of a network compared with the products of its kernels."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest

from fcn.config.settings import ModelConfig
from fcn.datasets import open_split
from fcn.evaluation.cost import gigaflops
from fcn.evaluation.evaluate import evaluate_trained
from fcn.model.fcn import build_fcn
from fcn.runs.trained import TrainedModel


@pytest.mark.parametrize("stride", [32, 2])
@pytest.mark.parametrize(("width", "classes"), [(1 / 4, 2), (1 / 32, 11)])  # the encoder's are most, then the decoder's
def test_gigaflops_are_those_of_the_products_and_little_more(stride: int, width: float, classes: int) -> None:
    model = build_fcn(
        ModelConfig(encoder="vgg11", width=width, head_units=64, stride=stride, batch_norm=False), classes
    )
    kernels = [layer for layer in model.layers if hasattr(layer, "kernel")]
    inputs = keras.Model(model.input, [layer.input for layer in kernels])(np.zeros((1, 96, 160, 3), np.uint8))
    # every position of a feature map meets the whole kernel, of a convolution and of a transposed one
    products = sum(
        features.shape[1] * features.shape[2] * math.prod(layer.kernel.shape)
        for features, layer in zip(inputs, kernels, strict=True)
    )
    assert 1 < gigaflops(model, 96, 160) * 1e9 / (2 * products) < 1.05


def test_flip_averaging_costs_twice(smoke_run: Path) -> None:
    trained = TrainedModel.of_run(smoke_run)
    dataset = open_split(trained.config().data, "val")
    dataset = replace(dataset, names=dataset.names[:1])
    plain, flipped = (evaluate_trained(trained, trained.config(), dataset, flip)[0] for flip in (False, True))
    assert flipped["gigaflops"] == 2 * plain["gigaflops"]
