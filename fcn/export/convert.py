"""Converts a network to a file of another runtime: `python -m fcn.export.convert FOLDER OUT`.

In a process of its own, as the converters leak memory, print and warn. `FOLDER` holds `config.yaml`,
`model.weights.h5`, `request.json` and `frames.npz`, the frames that int8 is calibrated on.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fcn.images import Array

if TYPE_CHECKING:
    from fcn.inference.network import Output
    from fcn.model.inference_form import InferenceForm

OPSET = 18  # the newest that tf2onnx writes


def convert(folder: Path, out: Path) -> None:
    """Writes the network that `folder` describes to `out`; OpenVINO's weights next to it."""
    from fcn.config.yaml_file import load_config
    from fcn.model.fcn import build_fcn
    from fcn.model.inference_form import InferenceForm
    from fcn.model.weights import load_weights

    request = json.loads((folder / "request.json").read_text())
    size = tuple(request["size"]) if request["size"] else None
    config = load_config(folder / "config.yaml", stored=True)
    model = build_fcn(config.model, request["classes"])
    load_weights(model, folder / "model.weights.h5")
    if request["format"] == "saved_model":
        save_form(InferenceForm(model), out, request["outputs"], size)
        return
    saved = folder / "saved_model"
    save_form(InferenceForm(model), saved, request["outputs"], size)
    with np.load(folder / "frames.npz") as archive:
        frames = [archive[name] for name in archive.files]
    CONVERT[request["format"]](saved, out, request["precision"], frames)


def save_form(form: InferenceForm, path: Path, outputs: Sequence[Output], size: tuple[int, int] | None = None) -> None:
    """Writes a SavedModel with one signature: `image` uint8 (N, H, W, 3) -> the outputs by name.

    Without a size, N, H and W are free; with one, N is 1. The weights are constants of the graph: as variables they are
    refused by OpenVINO's converter, and LiteRT's leaves them out without a word.
    """
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    shape = (None, None, None, 3) if size is None else (1, *size, 3)
    signature = [tf.TensorSpec(shape, tf.uint8, name="image")]

    def network(image: tf.Tensor) -> dict[str, tf.Tensor]:
        results = form(image, *outputs)
        if size is not None:  # else LiteRT takes the size of the results for free
            results = {name: tf.ensure_shape(values, (1, *size, *values.shape[3:])) for name, values in results.items()}
        return results

    traced = tf.function(network, input_signature=signature, autograph=False)
    frozen = convert_variables_to_constants_v2(traced.get_concrete_function())
    module = tf.Module()

    def constant_network(image: tf.Tensor) -> dict[str, tf.Tensor]:
        return dict(zip(sorted(outputs), frozen(image), strict=True))  # results are in the order of their names

    module.network = tf.function(constant_network, input_signature=signature, autograph=False)
    tf.saved_model.save(module, str(path), signatures=module.network)


def _to_litert(saved: Path, out: Path, precision: str, frames: Sequence[Array]) -> None:
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_saved_model(str(saved))
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    if precision == "float16":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.target_spec.supported_types = [tf.float16]
    if precision == "int8":

        def representative() -> Iterator[list[Array]]:
            for frame in frames:
                yield [frame[np.newaxis]]

        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = representative
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    out.write_bytes(converter.convert())


def _to_onnx(saved: Path, out: Path, precision: str, frames: Sequence[Array]) -> None:
    import onnx
    import tensorflow as tf
    import tf2onnx

    network = tf.saved_model.load(str(saved)).signatures["serving_default"]
    _, inputs = network.structured_input_signature
    function = tf.function(lambda image: network(image=image), autograph=False)
    model, _ = tf2onnx.convert.from_function(function, [inputs["image"]], opset=OPSET)
    if precision == "float16":
        _store_as_float16(model.graph)
    onnx.save(model, out)
    if precision == "int8":
        from onnxruntime.quantization import CalibrationDataReader, quantize_static

        class Reader(CalibrationDataReader):
            images = iter(frames)

            def get_next(self) -> dict[str, Array] | None:
                """The next frame, or None at the end."""
                frame = next(self.images, None)
                return None if frame is None else {"image": frame[np.newaxis]}

        # weights of 7 bits: with 8, processors without VNNI overflow in the sums, and classes change
        quantize_static(out, out, Reader(), per_channel=True, reduce_range=True)


def _store_as_float16(graph: Any) -> None:
    """Stores the weights as float16; a runtime casts them to float32 when it loads the file, and computes in that."""
    from onnx import TensorProto, helper, numpy_helper

    for weight in list(graph.initializer):
        values = numpy_helper.to_array(weight)
        if values.dtype == np.float32 and values.ndim == 4:  # kernels, which are nearly all
            name = weight.name
            weight.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}_float16"))
            graph.node.insert(0, helper.make_node("Cast", [weight.name], [name], to=TensorProto.FLOAT))


def _to_openvino(saved: Path, out: Path, precision: str, frames: Sequence[Array]) -> None:
    import openvino

    model = openvino.convert_model(str(saved))
    if precision == "int8":
        import nncf

        dataset = nncf.Dataset(frames, lambda frame: frame[np.newaxis])
        model = nncf.quantize(model, dataset, subset_size=len(frames))
    openvino.save_model(model, out, compress_to_fp16=precision == "float16")


CONVERT = {"litert": _to_litert, "onnx": _to_onnx, "openvino": _to_openvino}


if __name__ == "__main__":
    convert(Path(sys.argv[1]), Path(sys.argv[2]))
