"""What `auto` means is decided by the device that trains."""

from __future__ import annotations

import pytest
import tensorflow as tf

from fcn.config.settings import TrainConfig
from fcn.training import setup
from fcn.training.setup import resolve_precision


@pytest.mark.parametrize(
    ("capabilities", "processor", "expected"),
    [
        ([], True, "bfloat16"),
        ([], False, "float32"),
        ([(8, 0), (9, 0)], False, "bfloat16"),
        ([(9, 0), (7, 5)], True, "float32"),
    ],
)
def test_auto_is_bfloat16_if_the_device_that_trains_has_it(
    capabilities: list[tuple[int, int]], processor: bool, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(setup, "processor_has_bfloat16", lambda: processor)
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda _: capabilities)
    monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda one: {"compute_capability": one})
    assert resolve_precision(TrainConfig(precision="auto")).precision == expected
    assert resolve_precision(TrainConfig(precision="float32")) == TrainConfig(precision="float32")
