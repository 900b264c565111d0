"""Exported files in their own runtimes: LiteRT, ONNX Runtime, OpenVINO and, for a SavedModel, TensorFlow.

A runtime parses a file in C++; take files only from people whom you would take a program from.
"""

from __future__ import annotations

import json
import os
import re
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import numpy as np

from fcn.config.fields import fit
from fcn.config.settings import Config
from fcn.config.yaml_file import load_config
from fcn.errors import UserError, printable
from fcn.files import read_file
from fcn.images import Array, SegmentationClass, palette
from fcn.inference.network import Output

Format = Literal["saved_model", "litert", "onnx", "openvino"]
ENDINGS: dict[str, Format] = {".tflite": "litert", ".onnx": "onnx", ".xml": "openvino", "": "saved_model"}
INSTALL = "pip install 'fcn-roads[export]'"
METADATA = "fcn"  # key of the metadata; with .json, the name of a file
MAX_METADATA_BYTES = 2**20
REPEATS = 4  # images of one size in a row, after which OpenVINO compiles for it: half a second, then a fifth faster
TYPES = {
    "format": str,
    "precision": str,
    "size": tuple[int, int] | None,
    "outputs": tuple[str, ...],
    "frame_height": int | None,
    "radius": int,
}

Call = Callable[[Array], dict[str, Array]]  # uint8 (1, H, W, 3) -> outputs by name


def format_of(path: Path) -> Format | None:
    """The format of an exported file, by its name; None for any other file."""
    if path.suffix.lower() in ENDINGS and path.suffix:
        return ENDINGS[path.suffix.lower()]
    return "saved_model" if (path / "saved_model.pb").is_file() else None


def import_package(name: str, purpose: str) -> Any:
    """A package of the extra `export`; UserError with the command that installs it."""
    try:
        return import_module(name)
    except ImportError as error:
        package = name.partition(".")[0]
        raise UserError(f"{purpose}: needs the package {package} ({error}); {INSTALL}") from error


@dataclass(frozen=True)
class ExportedModel:
    """An exported file and what its metadata says of it. It has the members of a `TrainedModel` that commands use."""

    path: Path
    call: Call = field(repr=False)
    metadata: dict[str, Any]

    @classmethod
    def open(cls, path: Path) -> ExportedModel:
        """Opens a file in its runtime.

        Raises:
            UserError: The package of the runtime is missing, or the file cannot be read or was not exported by fcn.
        """
        fix = "name a file of `fcn export`: .onnx, .tflite, .xml or the folder of a SavedModel"
        format_ = format_of(path)
        if not path.exists():
            raise UserError(f"{path}: no such file; {fix}")
        if format_ is None:
            raise UserError(f"{path}: is not an exported network; {fix}")
        try:
            call, text = OPEN[format_](path)
            exported = cls(path, call, json.loads(text))
            exported._check_metadata()
        except UserError:
            raise
        except Exception as error:  # each runtime has its own
            reason = printable(str(error).strip().splitlines()[0][:200]) if str(error).strip() else type(error).__name__
            raise UserError(f"{path}: cannot be read as an export of fcn: {reason}; {fix}") from error
        return exported

    def _check_metadata(self) -> None:
        """Raises an exception, of any kind, if a value is missing, of another type or out of range."""
        about = self.metadata
        for key, kind in TYPES.items():
            try:
                about[key] = fit(about[key], kind)
            except ValueError as error:
                raise ValueError(f"{key}: {error}") from error
        if min(*(about["size"] or (1, 1)), about["frame_height"] or 1, about["radius"] + 1) < 1:
            raise ValueError("size, frame_height or radius: is too small")
        for one in self.classes:
            fit(one.name, str)
            fit(one.color, tuple[int, int, int])
        palette(self.classes)  # refuses a color above 255, and too many classes
        fit(self.record.get("step", 0), int)
        try:
            self.config()
        except UserError as error:
            raise ValueError(f"settings: {error}") from error

    def config(self, overrides: Sequence[str] = ()) -> Config:
        """The settings of data and network that the file was exported with, then the overrides KEY=VALUE."""
        settings = [
            f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in self.metadata["settings"].items()
        ]
        return load_config(None, [*settings, *overrides])

    @property
    def classes(self) -> tuple[SegmentationClass, ...]:
        """The classes, by index."""
        return tuple(SegmentationClass(**{**one, "color": tuple(one["color"])}) for one in self.metadata["classes"])

    @property
    def frame_height(self) -> int | None:
        """Height in pixels of the training frames, if known."""
        height: int | None = self.metadata["frame_height"]
        return height

    @property
    def record(self) -> dict[str, Any]:
        """Step and digest of the weights, where they are known."""
        weights: dict[str, Any] = self.metadata["weights"]
        return weights

    @property
    def outputs(self) -> Path:
        """Default folder for masks and overlays."""
        return Path("inference")

    def changes(self) -> list[str]:
        """None are recorded."""
        return []

    def description(self) -> str:
        """File, format, precision, size and step of the weights, in one line."""
        about = self.metadata
        size = "{} x {}".format(*about["size"]) if about["size"] else "any size"
        step = f"step {self.record['step']}" if "step" in self.record else ""
        details = ", ".join(filter(None, (about["format"], about["precision"], size, step)))
        return printable(f"{self.path} ({details})")


class ExportedNetwork:
    """A `Network` that is an exported file."""

    model = None

    def __init__(self, exported: ExportedModel):
        self.path = exported.path
        self.radius: int = exported.metadata["radius"]
        self.size: tuple[int, int] | None = exported.metadata["size"]
        self.has_probabilities = not {"logits", "probabilities"}.isdisjoint(exported.metadata["outputs"])
        self._call = exported.call

    def run(self, pixels: Array, *outputs: Output) -> list[Array]:
        """As `Network.run`; probabilities are also made of a file's logits."""
        try:
            results = {name: values[0] for name, values in self._call(pixels[np.newaxis]).items()}
        except Exception as error:  # each runtime has its own
            if re.search("memory|alloc", str(error), re.IGNORECASE):
                raise MemoryError from error
            raise
        if "logits" in results and "probabilities" in outputs:
            odds = np.exp(results["logits"] - results["logits"].max(-1, keepdims=True))
            results["probabilities"] = odds / odds.sum(-1, keepdims=True)
        for name in outputs:
            if name not in results:
                raise UserError(f"{self.path}: has no {name}; export the network again with --output {name}")
        return [results[name] for name in outputs]


def _open_onnx(path: Path) -> tuple[Call, str]:
    onnxruntime = import_package("onnxruntime", str(path))
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]

    def call(image: Array) -> dict[str, Array]:
        return dict(zip(names, session.run(names, {"image": image}), strict=True))

    return call, session.get_modelmeta().custom_metadata_map[METADATA]


def _open_openvino(path: Path) -> tuple[Call, str]:
    openvino = import_package("openvino", str(path))
    core = openvino.Core()
    model = core.read_model(path)
    text = model.get_rt_info([METADATA]).astype(str)
    settings = {"PERFORMANCE_HINT": "LATENCY"}
    if json.loads(text)["precision"] != "float16":  # else bfloat16, on processors that have it
        settings["INFERENCE_PRECISION_HINT"] = "f32"

    def compiled() -> Any:
        return core.compile_model(model, "CPU", settings).create_infer_request()

    names = [output.get_any_name() for output in model.outputs]
    takes_any_size = model.is_dynamic()
    any_size = compiled()
    one_size = any_size
    compiled_shape: tuple[int, ...] = ()  # of `one_size`
    last_shape: tuple[int, ...] = ()
    repeats = 0

    def call(image: Array) -> dict[str, Array]:
        nonlocal one_size, compiled_shape, last_shape, repeats
        repeats = repeats + 1 if image.shape == last_shape else 0
        last_shape = image.shape
        if repeats == REPEATS and takes_any_size and compiled_shape != last_shape:
            model.reshape(image.shape)
            one_size = compiled()
            compiled_shape = last_shape
        request = one_size if image.shape == compiled_shape else any_size
        results = request.infer({"image": image})
        return {name: results[name].copy() for name in names}  # the next image overwrites them

    return call, text


def _open_litert(path: Path) -> tuple[Call, str]:
    litert = import_package("ai_edge_litert.interpreter", str(path))
    content = read_file(path, 2**31)
    # all threads are taken only if their number is given
    runner = litert.Interpreter(model_content=content, num_threads=_threads()).get_signature_runner()

    def call(image: Array) -> dict[str, Array]:
        results: dict[str, Array] = runner(image=image)
        return results

    with zipfile.ZipFile(path) as archive:  # follows the network in the same file
        member = archive.getinfo(f"{METADATA}.json")
        if member.file_size > MAX_METADATA_BYTES:
            raise ValueError("metadata too large")
        return call, archive.read(member).decode()


def _open_saved_model(path: Path) -> tuple[Call, str]:
    tensorflow = import_module("tensorflow")
    loaded = tensorflow.saved_model.load(str(path))
    signature = loaded.signatures["serving_default"]

    def call(image: Array) -> dict[str, Array]:
        results = signature(image=tensorflow.constant(image))
        return {name: values.numpy() for name, values in results.items()}

    return call, read_file(path / f"{METADATA}.json", MAX_METADATA_BYTES).decode()


OPEN: dict[Format, Callable[[Path], tuple[Call, str]]] = {
    "saved_model": _open_saved_model,
    "litert": _open_litert,
    "onnx": _open_onnx,
    "openvino": _open_openvino,
}


def _threads() -> int:
    """Number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
