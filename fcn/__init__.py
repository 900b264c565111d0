"""fcn: train and run small fully convolutional networks for road scenes.

The names below are imported when they are first used, so that `import fcn` loads no TensorFlow.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.2.0"

PUBLIC = {  # name -> module
    "Config": "fcn.config.settings",
    "Predictor": "fcn.inference.predictor",
    "UserError": "fcn.errors",
    "build_fcn": "fcn.model.fcn",
    "load_config": "fcn.config.yaml_file",
    "load_predictor": "fcn.inference.predictor",
    "open_split": "fcn.datasets",
    "read_image": "fcn.images",
}
__all__ = ["__version__", *PUBLIC]


def __getattr__(name: str) -> Any:
    if name not in PUBLIC:
        raise AttributeError(f"module 'fcn' has no attribute {name!r}")
    return getattr(import_module(PUBLIC[name]), name)
